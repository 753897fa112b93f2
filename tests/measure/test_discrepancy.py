"""Discrepancies: reference values, and what must hold for any samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.measure.discrepancy import (
    coral_distance,
    gaussian_kernel,
    joint_mmd,
    linear_mmd,
    local_mmd,
    mmd,
    multi_kernel,
    proxy_a_distance,
    sliced_wasserstein,
)

ROW, COLUMN = np.arange(12)[:, None], np.arange(3)[None]
X = torch.from_numpy(np.sin((ROW + 1) * (COLUMN + 1.0)) + 1.0 * (COLUMN == (ROW % 3)))
A, B = X[:6], X[6:]
LABELS = torch.arange(12) % 3


def random_pair(n: int = 9, m: int = 14, d: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    r = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, d, generator=r, dtype=torch.float64),
        torch.randn(m, d, generator=r, dtype=torch.float64) * 1.5 + 0.3,
    )


DISTANCES = {
    "mmd": mmd,
    "mmd, one kernel": lambda x, y: mmd(x, y, 0.5),
    "joint mmd": lambda x, y: joint_mmd([(x, y), (x[:, :2] * 2, y[:, :2] * 2)]),
    "coral": coral_distance,
    "sliced wasserstein": sliced_wasserstein,
}


class TestReference:
    def test_mmd(self):
        assert float(mmd(A, B, 0.5)) == pytest.approx(0.101208, abs=1e-6)
        assert float(mmd(A, B, 0.5, "unbiased")) == pytest.approx(-0.173279, abs=1e-6)
        assert float(linear_mmd(A, B, 0.5)) == pytest.approx(0.013037, abs=1e-6)

    def test_mmd_of_a_published_example(self):
        a = torch.arange(1.0, 10.0).reshape(3, 3)
        b = torch.tensor([[7.0, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]])
        assert float(mmd(a, b, 1.0)) == pytest.approx(0.5822, abs=5e-5)
        assert float((a.mean(0) - b.mean(0)).square().sum()) == pytest.approx(6.0, abs=1e-5)

    def test_coral(self):
        assert float(coral_distance(A, B)) == pytest.approx(0.026821, abs=1e-6)

    def test_local_mmd(self):
        logits = torch.cos((torch.arange(6.0)[:, None] + 1) * (torch.arange(3.0)[None] + 1)).double()
        onehot = torch.eye(3, dtype=torch.float64)[LABELS[:6]]
        assert float(local_mmd(A, B, onehot, logits.softmax(1), 0.5)) == pytest.approx(0.550499, abs=1e-6)

    def test_the_bandwidths_are_multiples_of_the_mean_squared_distance(self):
        n = len(X)
        d = torch.cdist(X, X).square()
        scale = d.sum() / (n * n - n)
        expected = torch.stack([torch.exp(-d / (scale * m)) for m in (0.25, 0.5, 1, 2, 4)]).mean(0)
        torch.testing.assert_close(multi_kernel(X), expected)


@pytest.mark.parametrize("name", DISTANCES)
class TestProperties:
    def test_equal_samples_are_no_distance_apart(self, name):
        x, _ = random_pair()
        assert float(DISTANCES[name](x, x)) == pytest.approx(0, abs=1e-9)

    def test_symmetric(self, name):
        x, y = random_pair()
        assert float(DISTANCES[name](x, y)) == pytest.approx(float(DISTANCES[name](y, x)), rel=1e-9)

    def test_order_does_not_matter(self, name):
        x, y = random_pair()
        mixed = DISTANCES[name](x[torch.randperm(len(x))], y.flip(0))
        assert float(mixed) == pytest.approx(float(DISTANCES[name](x, y)), rel=1e-9)

    def test_not_negative_and_grows_with_a_shift(self, name):
        x, y = random_pair()
        # Covariances do not see a shift.
        values = [float(DISTANCES[name](x, y * (1 + s) if name == "coral" else y + s)) for s in (0, 1, 2)]
        assert 0 <= values[0] < values[1] < values[2]

    def test_gradient(self, name):
        x, y = random_pair(4, 5, 3)
        # The bandwidth is taken as given, so the multi-kernel is checked at one.
        fixed = {"mmd": lambda x, y: mmd(x, y, 0.3), "joint mmd": lambda x, y: mmd(x, y, 0.3)}
        function = fixed.get(name, DISTANCES[name])
        assert torch.autograd.gradcheck(function, (x.requires_grad_(), y.requires_grad_()))


class TestEdges:
    def test_no_gradient_through_the_bandwidth(self):
        x, y = random_pair()
        x.requires_grad_()
        mmd(x, y).backward()
        first = x.grad.clone()
        z = torch.cat([x.detach(), y])
        d = torch.cdist(z, z).square()
        scale = float(d.sum() / (len(z) ** 2 - len(z)))
        x.grad = None
        sum(mmd(x, y, 1 / (scale * m)) for m in (0.25, 0.5, 1, 2, 4)).div(5).backward()
        torch.testing.assert_close(first, x.grad)

    def test_the_unbiased_estimator_is_zero_on_average(self):
        r = torch.Generator().manual_seed(0)
        draws = [
            float(mmd(torch.randn(20, 3, generator=r), torch.randn(30, 3, generator=r), 0.2, "unbiased"))
            for _ in range(400)
        ]
        assert abs(np.mean(draws)) < 3 * np.std(draws) / 20

    def test_an_absent_class_is_left_out(self):
        x, y = random_pair(6, 6, 3)
        onehot = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 0, 0, 1, 1, 1])]
        target = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 0, 2, 2, 2, 2])]
        kernel = gaussian_kernel(torch.cat([x, y]), torch.cat([x, y]), 0.5)
        a, b = torch.tensor([1, 1, 1, 0, 0, 0.0]).double() / 3, torch.tensor([1, 1, 0, 0, 0, 0.0]).double() / 2
        expected = a @ kernel[:6, :6] @ a + b @ kernel[6:, 6:] @ b - 2 * a @ kernel[:6, 6:] @ b
        assert float(local_mmd(x, y, onehot, target, 0.5)) == pytest.approx(float(expected))

    def test_no_class_in_common(self):
        x, y = random_pair(3, 3, 3)
        eye = torch.eye(2, dtype=torch.float64)
        assert float(local_mmd(x, y, eye[[0, 0, 0]], eye[[1, 1, 1]])) == 0

    def test_sliced_wasserstein_of_a_shift(self):
        x, _ = random_pair(400, 3, 2)
        moved = sliced_wasserstein(x, x + torch.tensor([3.0, 0.0]).double(), 4000)
        assert float(moved) == pytest.approx(3 / 2**0.5, rel=0.05)

    def test_proxy_a_distance(self):
        assert [proxy_a_distance(e) for e in (0, 0.25, 0.5, 0.7)] == [2, 1, 0, 0]

    def test_too_few_samples(self):
        with pytest.raises(ValueError, match="two samples"):
            mmd(A[:1], B, 0.5, "unbiased")
        with pytest.raises(ValueError, match="two samples"):
            linear_mmd(A[:1], B)
        with pytest.raises(ValueError, match="no layer"):
            joint_mmd([])
