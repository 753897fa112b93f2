"""Weak slices in a fit: a column of the table with bad labels for one camera is named in the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.verbs.words_and_curves import CURVES, WORDS, curves, label, text

import headstart as hs


def test_a_site_that_spoils_labels_is_named(tmp_path: Path) -> None:
    r = np.random.default_rng(0)
    site = r.choice(["north", "south"], 500)
    flipped = (site == "south") & (r.random(500) < 0.4)
    labels = [label(i + int(wrong)) for i, wrong in enumerate(flipped)]
    frame = pd.DataFrame({"review": [text(i) for i in range(500)], "label": labels, "site": site})
    options = dict(zip(("model", "arch", "epochs", "max_length", "guard"), WORDS[1::2], strict=True))
    data = hs.load_data(frame, label="label", text="review")
    run = hs.fit(data, **options | {"epochs": 1, "max_length": 32}, strategy="probe", out=tmp_path / "run")
    found = run.data["slices"]
    assert (found["outcome"], found["part"]) == ("errors", "test")
    assert [w["name"] for w in found["weak"]] == ["site = south"]
    assert found["tested"] >= 5
    wrong = set(pd.read_parquet(run.path / "predictions.parquet").query("part == 'test' and label != predicted").id)
    assert set(found["weak"][0]["ids"]) <= wrong
    page = (run.path / "report.html").read_text()
    assert "Where it does worse" in page
    assert "site = south" in page
    assert data.metadata["site"] == site.tolist()
    assert data.subset([3, 1]).metadata["site"] == [site[3], site[1]]


def test_columns_are_kept_apart_from_the_fingerprint_and_joined_over_parts(tmp_path: Path) -> None:
    def frame(start: int) -> pd.DataFrame:
        numbers = np.arange(start, start + 20)
        texts = [f"word{n} and word{n % 3}" for n in numbers]
        return pd.DataFrame({"text": texts, "label": np.where(numbers % 2, "a", "b"), "site": numbers % 4})

    one, two = frame(0), frame(100)
    data = hs.load_data(one, test=two.assign(more=1), text="text", label="label")
    assert set(data.metadata) == {"site"}
    assert data.metadata["site"] == [*one.site, *two.site]
    plain = hs.load_data(one.drop(columns="site"), test=two.drop(columns="site"), text="text", label="label")
    assert data.fingerprint() == plain.fingerprint()


@pytest.mark.parametrize("kind", ["regression", "multi-label"])
def test_other_tasks_compare_losses(kind: str, tmp_path: Path) -> None:
    x, y = curves(120)
    labels = y + 0.5 if kind == "regression" else np.stack([y, 1 - y], axis=1)
    options = dict(zip(("model", "arch", "epochs", "guard"), CURVES[1::2], strict=True)) | {"epochs": 1}
    data = hs.load_data((x, labels.astype(np.float32)), modality="sequence", task=kind)
    run = hs.fit(data, **options, strategy="probe", out=tmp_path / "run")
    assert run.data["slices"]["outcome"] == {"regression": "squared error", "multi-label": "log loss"}[kind]
