"""Losses of the deep methods: reference values, gradients, properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from headstart.adapt.deep.adversarial import certainty, conditioned, disagreement, margin_disparity
from headstart.adapt.deep.answers import centroid_labels, class_confusion, sure_labels
from headstart.adapt.deep.method import entropy, ramp, reverse_gradient
from headstart.adapt.deep.moments import spectral_penalty, stepwise_norm

ROW, COLUMN = np.arange(12)[:, None], np.arange(4)[None]
L = torch.from_numpy(np.cos((ROW + 1) * (COLUMN + 1.0)))
OTHER = torch.from_numpy(np.sin((ROW + 1) * (COLUMN + 0.5)))


class TestReference:
    def test_ramp(self):
        assert [ramp(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0, 0.848284, 0.986614, 0.999909], abs=1e-6)

    def test_class_confusion(self):
        assert float(class_confusion(L, 1.0)) == pytest.approx(0.657405, abs=1e-6)
        assert float(class_confusion(L, 2.5)) == pytest.approx(0.734115, abs=1e-6)

    def test_disagreement(self):
        assert float(disagreement(L.double(), OTHER.double())) == pytest.approx(0.155303, abs=1e-6)

    def test_margin_disparity(self):
        said = L.argmax(1)
        value = margin_disparity(OTHER[:6], said[:6], OTHER[6:], said[6:], 4.0)
        assert float(value) == pytest.approx(9.764369, abs=1e-6)

    def test_certainty(self):
        p = L.softmax(1)
        w = 1 + torch.exp(-entropy(p))
        torch.testing.assert_close(certainty(p), w / w.sum() * 12)
        assert float(entropy(p).mean()) == pytest.approx(1.208535, abs=1e-6)

    def test_stepwise_norm(self):
        """Always step²; the gradient is -2 step / B times the direction."""
        x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
        value = stepwise_norm(x, 1.5)
        assert float(value.detach()) == pytest.approx(2.25)
        value.backward()
        torch.testing.assert_close(x.grad, -2 * 1.5 / 5 * x.detach() / x.detach().norm(dim=1, keepdim=True))


class TestGradients:
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def test_entropy(self):
        assert gradcheck(lambda z: entropy(z.softmax(1)), (self.x.clone().requires_grad_(),))

    def test_entropy_of_certain_answers(self):
        """Softmax underflows to 0 there: 0 log 0 is 0, and so must be its gradient."""
        z = (torch.eye(3) * 500).requires_grad_()
        value = entropy(z.softmax(1)).sum()
        value.backward()
        assert float(value.detach()) == 0
        assert torch.isfinite(z.grad).all()

    def test_margin_disparity(self):
        said = torch.tensor([0, 1, 2])
        a, b = self.x[:3].clone().requires_grad_(), self.x[3:].clone().requires_grad_()
        assert gradcheck(lambda a, b: margin_disparity(a, said, b, said, 4.0), (a, b))

    def test_margin_disparity_of_certain_answers_is_finite(self):
        z = (torch.eye(3) * 200).requires_grad_()
        value = margin_disparity(z, torch.arange(3), z, torch.arange(3), 4.0)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(z.grad).all()

    def test_conditioned(self):
        f, p = self.x.clone().requires_grad_(), self.x.softmax(1).clone()
        assert gradcheck(lambda f: conditioned(f, p), (f,))
        torch.testing.assert_close(conditioned(f, p)[0], torch.outer(p[0], f[0]).flatten())

    def test_class_confusion_without_its_weights(self):
        """Weights are taken as given, so equal ones make it a plain function."""
        z = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda z: class_confusion(z, 2.5), (z,))

    def test_reversed(self):
        x = torch.ones(3, requires_grad=True)
        reverse_gradient(x * 2, 0.3).sum().backward()
        assert x.grad.tolist() == pytest.approx([-0.6] * 3)

    def test_spectral_penalty(self):
        x = self.x.clone()
        assert float(spectral_penalty(x)) == pytest.approx(float(torch.linalg.svdvals(x)[0]) ** 2, rel=1e-5)


class TestProperties:
    def test_confusion_is_least_for_sure_and_varied_answers(self):
        sure, unsure = torch.eye(3).repeat(4, 1) * 50, torch.zeros(12, 3)
        assert float(class_confusion(sure, 1.0)) == pytest.approx(0, abs=1e-6)
        assert float(class_confusion(unsure, 1.0)) == pytest.approx(2 / 3)
        assert float(class_confusion(L, 2.5)) == pytest.approx(float(class_confusion(L.flip(0), 2.5)))

    def test_a_class_that_nobody_says(self):
        logits = torch.tensor([[50.0, 0, -1e4]] * 4)
        assert torch.isfinite(class_confusion(logits, 1.0))

    def test_no_disagreement_with_oneself(self):
        assert float(disagreement(L, L)) == 0

    def test_sure_labels_take_a_share_of_each_class(self):
        p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
        assert sure_labels(p, 0.34).tolist() == [0, -1, -1, 1]
        assert sure_labels(p, 0.7).tolist() == [0, -1, 0, 1]
        assert sure_labels(p, 1.0).tolist() == [0, 0, 0, 1]

    def test_centroids_correct_answers(self):
        r = torch.Generator().manual_seed(0)
        y = torch.arange(60) % 3
        x = torch.eye(3)[y] * 4 + 0.3 * torch.randn(60, 3, generator=r)
        chances = torch.full((60, 3), 0.2)
        wrong = torch.arange(60) < 12
        chances[torch.arange(60), torch.where(wrong, (y + 1) % 3, y)] = 0.6
        assert (centroid_labels(chances, x) == y).all()

    def test_centroids_of_classes_that_vanish(self):
        x = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
        chances = torch.zeros(10, 5)
        chances[:, 2] = 1
        labels = centroid_labels(chances, x)
        assert labels.shape == (10,)
        assert ((labels >= 0) & (labels < 5)).all()
