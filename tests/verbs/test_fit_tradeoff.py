"""fit --tradeoff: short trainings at fixed weights, on held-out data, off by default."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import headstart as hs
from headstart.core.errors import ConfigError
from headstart.verbs.tasks import tradeoff
from headstart.verbs.tasks.tradeoff import SHARES


def table(shapes: ModuleType, root: Path, count: int = 16) -> Path:
    """Pictures with a kind, a brightness that some lack, and whether the number is even."""
    from PIL import Image

    x, kinds = shapes.arrays(count)
    for i, picture in enumerate(x):
        Image.fromarray(picture).save(root / f"{i}.png")
    numbers = np.arange(len(x))
    frame = pd.DataFrame({"file": [f"{i}.png" for i in numbers], "kind": kinds, "even": numbers // 2 % 2})
    frame["bright"] = np.where(numbers % 5 == 1, np.nan, x.mean(axis=(1, 2, 3)).round(3))
    frame.to_csv(root / "people.csv", index=False)
    return root / "people.csv"


def quick(shapes: ModuleType, **options: Any) -> dict[str, Any]:
    common = {"labels": "kind,bright", "image": "file", "augment": "none", "precision": "float32", "guard": "off"}
    return {**shapes.QUICK, **common, "lr": 3e-3, "epochs": 2, "batch_size": 8, "tradeoff": True, **options}


@pytest.mark.parametrize("count", sorted(SHARES))
def test_shares_are_shares_and_every_task_leads_once(count: int) -> None:
    for share in SHARES[count]:
        assert len(share) == count
        assert sum(share) == pytest.approx(1)
        assert min(share) > 0
    assert {int(np.argmax(share)) for share in SHARES[count]} == set(range(count))


def test_every_share_is_trained_and_judged(shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    draw = tradeoff._Picture.draw

    def watched(self: Any) -> Any:
        seen.append(self)
        return draw(self)

    weights: list[Any] = []
    make = tradeoff.make_balancer

    def weighed(name: str, **options: Any) -> Any:
        weights.append((name, options["weights"]))
        return make(name, **options)

    monkeypatch.setattr(tradeoff._Picture, "draw", watched)
    monkeypatch.setattr(tradeoff, "make_balancer", weighed)
    # A calm rate: at ten times this one, so few steps end anywhere.
    run = hs.fit(table(shapes, tmp_path), **quick(shapes, lr=3e-4))
    found = run.data["tradeoff"]
    assert [tuple(p["weights"].values()) for p in found["points"]] == list(SHARES[2])
    by_weight = {p["weights"]["bright"]: p["values"]["bright"] for p in found["points"]}
    assert by_weight[0.95] < by_weight[0.05]  # an error; with tasks that do not compete it also depends on the seed
    # Each share in both folds, as weights whose mean is 1. That given weights decide between tasks that compete is
    # tested in tests/multitask.
    assert weights == [("fixed", [2 * s for s in share]) for share in SHARES[2] for _ in range(2)]
    assert len(set(by_weight.values())) == len(SHARES[2])
    assert set(found["alone"]) == {"kind", "bright"}
    assert found["held"] == run.data["data"]["parts"]["train"]  # every sample, by one of two folds
    assert found["alone"]["bright"] == pytest.approx(by_weight[0.95], rel=0.5)

    # Nothing of the test, and folds that know nothing of what they are judged on.
    (picture,) = seen
    for fold, reader, held in picture.folds:
        assert set(reader.parts) == {"train", "held"}
        assert not set(reader.parts["train"].ids) & set(reader.parts["held"].ids)
        assert (picture.job.halves.numpy()[held] == fold).all()
        assert reader.cut == found["after"]
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "What other weights would do" in page
    assert "Trade-off between kind, bright" in page

    # A resumed run does not draw it again.
    (run.path / "report.json").unlink()
    again = hs.resume(run.path)
    assert len(seen) == 1
    assert again.data["tradeoff"] == found


def test_kept_activations_change_nothing(shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings on kept activations are trainings of the same stages on the samples."""
    given = quick(shapes, epochs=1, architecture="adapters")
    kept = hs.fit(table(shapes, tmp_path), **given, out=tmp_path / "a").data["tradeoff"]
    monkeypatch.setattr(tradeoff, "CachedReader", lambda reader, *_, **__: reader)
    fresh = hs.fit(tmp_path / "people.csv", **given, out=tmp_path / "b").data["tradeoff"]
    for a, b in zip(kept["points"], fresh["points"], strict=True):
        assert a["values"]["bright"] == pytest.approx(b["values"]["bright"], rel=1e-3)


def test_it_is_off_unless_asked_for_and_three_tasks_have_it(shapes: ModuleType, tmp_path: Path) -> None:
    labels = "kind,bright,even:single-label"
    run = hs.fit(table(shapes, tmp_path), **quick(shapes, labels=labels))
    assert len(run.data["tradeoff"]["points"]) == len(SHARES[3])
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert page.count("even alone") >= 2
    plain = hs.fit(tmp_path / "people.csv", **quick(shapes, tradeoff=False), out=tmp_path / "plain")
    assert plain.data["tradeoff"] is None
    assert "What other weights" not in (plain.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": "kind,bright,even:single-label,odd"}, "two or three tasks; these are 4"),
        ({"strategy": "probe"}, "no trade-off"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    options: dict[str, Any], said: str, shapes: ModuleType, tmp_path: Path
) -> None:
    frame = pd.read_csv(table(shapes, tmp_path, 10)).assign(odd=lambda f: f["even"].map({0: "x", 1: "y"}))
    frame.to_csv(tmp_path / "people.csv", index=False)
    with pytest.raises(ConfigError, match=said):
        hs.fit(tmp_path / "people.csv", **quick(shapes, **options))
