"""Examinations of data, each with a planted fault that it has to find and clean data in which it must find nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.inspect.classes import FEW, examine_classes
from headstart.inspect.findings import LEVELS, finding, ranked
from headstart.inspect.labels import suspicious_labels
from headstart.inspect.neighbourhood import copies_between, distances_to_neighbours, outlying
from headstart.inspect.shift import discriminate


def cloud(n: int, d: int = 20, seed: int = 0, at: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)) + at).float()


def test_findings_stand_by_importance_and_then_by_samples() -> None:
    some = [
        finding("a", "note", "1"),
        finding("b", "serious", "2", samples=["x"]),
        finding("c", "serious", "3", samples=["x", "y"]),
    ]
    assert [f.text for f in ranked(some)] == ["3", "2", "1"]
    assert LEVELS[0] == "serious"
    many = finding("a", "note", "", samples=[str(i) for i in range(1000)])
    assert (many.count, len(many.samples)) == (1000, 200)


def test_classes_absent_few_and_unequal() -> None:
    names = ["a", "b", "c"]
    assert examine_classes(np.array([100, 90, 95]), names, "image") == []
    assert "no training sample: b" in examine_classes(np.array([100, 0, 95]), names, "image")[0].text
    few = examine_classes(np.array([100, FEW["image"] - 1, 95]), names, "image")
    assert [f.topic for f in few] == ["classes"]
    assert f"b ({FEW['image'] - 1})" in few[0].text
    assert "50 times" in examine_classes(np.array([2500, 50, 500]), names, "image")[0].text


def test_flipped_labels_are_the_most_doubtful() -> None:
    r = np.random.default_rng(0)
    truth = r.integers(0, 4, 600)
    p = np.full((600, 4), 0.05) + 0.8 * np.eye(4)[truth] + 0.05 * r.random((600, 4))
    p /= p.sum(1, keepdims=True)
    labels = truth.copy()
    wrong = r.permutation(600)[:60]
    labels[wrong] = (labels[wrong] + r.integers(1, 4, 60)) % 4
    doubt = suspicious_labels(labels, p)
    assert set(doubt.order[:60]) == set(wrong)
    assert len(set(doubt.issues) & set(wrong)) >= 57
    assert len(set(doubt.issues) - set(wrong)) <= 3
    assert len(suspicious_labels(truth, p).issues) == 0


def test_samples_like_no_others_lie_far_from_them() -> None:
    x = cloud(300)
    x[:, 0] += 5  # something common, so that cosines mean something
    x[7] = -20 * torch.ones(20) * torch.sign(cloud(1, seed=5)[0])
    far = outlying(distances_to_neighbours(x))
    assert 7 not in outlying(distances_to_neighbours(cloud(300, seed=1))).tolist()
    assert len(far) <= 3
    assert distances_to_neighbours(x).shape == (300,)
    assert distances_to_neighbours(x[:1]).tolist() == [0.0]


def test_outliers_are_found_in_clusters() -> None:
    centres = 10 * cloud(4, seed=3)
    x = centres.repeat_interleave(50, 0) + 0.5 * cloud(200, seed=4)
    x[17] = 10 * cloud(1, seed=9)[0]
    assert outlying(distances_to_neighbours(x)).tolist()[:1] == [17]


def test_copies_between_parts_are_found_in_spite_of_a_little_noise() -> None:
    train, test = cloud(200), cloud(50, seed=1)
    assert copies_between(test, train) == []
    test[3] = train[11] * 1.0001
    test[8] = train[20] + 1e-3 * cloud(1, seed=2)[0]
    assert [(i, j) for i, j, _ in copies_between(test, train)] in ([(3, 11), (8, 20)], [(8, 20), (3, 11)])
    # Training that is full of copies itself does not hide them.
    for times in (2, 5):
        doubled = torch.cat([train + 0.01 * i * torch.randn_like(train) for i in range(times)])
        assert {(i, j % len(train)) for i, j, _ in copies_between(test, doubled)} == {(3, 11), (8, 20)}


def test_what_all_looks_alike_is_no_copy() -> None:
    """A network that nobody trained sees hardly a difference between series."""
    torch.manual_seed(0)
    common = torch.randn(1, 20)
    train, test = (torch.randn(100, 1) @ common * 5 + 0.3 * torch.randn(100, 20) for _ in range(2))
    assert copies_between(test, train) == []


@pytest.mark.parametrize("d", [10, 400])
def test_a_shift_is_found_and_none_where_there_is_none(d: int) -> None:
    same = discriminate(cloud(150, d), cloud(120, d, seed=1))
    assert same.p > 0.01
    moved = discriminate(cloud(150, d), cloud(120, d, seed=1, at=0.6))
    assert moved.p == pytest.approx(1 / 200)
    assert moved.auc > 0.85
    assert moved.outputs[150:].mean() > moved.outputs[:150].mean()


def test_p_values_of_no_shift_are_uniform() -> None:
    p = np.array([discriminate(cloud(30, 8, s), cloud(30, 8, 1000 + s), seed=s, permutations=19).p for s in range(300)])
    assert 0.02 <= (p <= 0.05).mean() <= 0.09
    assert 0.43 <= (p <= 0.5).mean() <= 0.57
