"""The frozen part of a network is run once where that pays, and the notes say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.models import Wanted, open_vision, parse_reference
from headstart.train.phase import Phase
from headstart.verbs.prefix import Costs, cut_of, decide, views_for


def phase(*stages: str, epochs: int = 6) -> Phase:
    return Phase("last", dict.fromkeys([*stages, "head"], 1e-3), epochs)


def test_the_cut_is_the_last_before_what_is_trained() -> None:
    backbone = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=64))
    names = list(backbone.stages)
    assert cut_of(backbone, phase(names[-1])) == (names[-2], names[:-1])
    assert cut_of(backbone, phase(*names)) == (None, [])
    backbone.cuts = (names[0],)
    assert cut_of(backbone, phase(names[-1])) == (names[0], names[:-1])
    backbone.cuts = (names[-1],)
    assert cut_of(backbone, phase(names[-1]))[0] is None


@pytest.mark.parametrize(
    ("asked", "epochs", "drawn", "budget", "views"),
    [
        ("auto", 3, True, 10**6, 3),
        ("auto", 60, True, 10**6, 20),
        ("auto", 60, True, 500, 5),
        ("auto", 60, True, 300, None),
        ("auto", 60, False, 300, 1),
        ("auto", 60, False, 50, None),
        (1, 60, True, 10**6, 1),
        (8, 6, True, 10**6, 6),
        ("fresh", 60, True, 10**6, None),
    ],
)
def test_how_many_views(asked: int | str, epochs: int, drawn: bool, budget: int, views: int | None) -> None:
    assert views_for(asked, epochs, drawn, 100, budget) == views


def test_what_pays_is_kept_and_what_does_not_is_not() -> None:
    dear = Costs(frozen=0.01, kept=0.01, trained=0.002, size=1000)
    planned, why = decide(phase("b"), "a", dear, 100, 1, False)
    assert (planned.cut, planned.views) == ("a", 1)
    assert "about 2 s instead of 7 s" in why
    cheap = Costs(frozen=0.0001, kept=0.0001, trained=0.01, size=1000)
    planned, why = decide(phase("b"), "a", cheap, 100, 1, False)
    assert planned.cut is None
    assert "would save" in why
    assert decide(phase("b"), "a", cheap, 100, 1, True)[0].cut == "a"  # asked for
    # As many views as epochs save nothing.
    assert decide(phase("b"), "a", dear, 100, 6, False)[0].cut is None
    assert decide(phase("b"), "a", dear, 100, None, False)[0].cut is None


@pytest.fixture
def data() -> hs.Dataset:
    r = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pictures = r.integers(0, 60, (60, 32, 32, 3), dtype=np.uint8) + 60 * labels[:, None, None, None].astype(np.uint8)
    return hs.load_data((pictures, labels))


def fitted(data: hs.Dataset, out: Path, **options: object) -> tuple[hs.Run, str]:
    run = hs.fit(
        data, model="scratch:timm:test_resnet", strategy="partial", last_k=1, epochs=4, image_size=64, out=out,
        stage="last", **options,
    )  # fmt: skip
    return run, " ".join(run.data["strategy"]["reasons"])


def test_partial_keeps_what_was_asked(data: hs.Dataset, tmp_path: Path) -> None:
    run, why = fitted(data, tmp_path / "a", views=2)
    assert "activations of 2 views" in why
    assert run.data["strategy"]["phases"][0]["views"] == 2
    assert run.data["strategy"]["phases"][0]["cut"]
    assert not (tmp_path / "a" / "checkpoints").exists()


def test_without_augmentation_one_view_gives_what_fresh_views_give(data: hs.Dataset, tmp_path: Path) -> None:
    common = {"augment": "none", "precision": "float32"}
    kept, why = fitted(data, tmp_path / "a", views=1, **common)
    fresh, _ = fitted(data, tmp_path / "b", views="fresh", **common)
    assert "activations of each sample" in why
    assert fresh.data["strategy"]["phases"][0]["cut"] is None
    value = [r.data["metrics"]["test"]["log_loss"]["value"] for r in (kept, fresh)]
    assert value[0] == pytest.approx(value[1], rel=1e-2)


def test_one_view_is_said_to_be_no_augmentation(data: hs.Dataset, tmp_path: Path) -> None:
    _, why = fitted(data, tmp_path / "a", views=1, augment="light")
    assert "no augmentation" in why
