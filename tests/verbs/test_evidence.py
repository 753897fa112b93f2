"""The numbers can be trusted: the test part changes nothing, and a useless network is not praised."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import headstart as hs


@pytest.mark.parametrize("strategy", ["auto", "probe"])
def test_permuting_the_labels_of_the_test_changes_only_what_is_said_of_the_test(
    strategy: str, shapes: ModuleType
) -> None:
    train, (x, y) = shapes.arrays(16), shapes.arrays(8, start=60)
    options = {**shapes.QUICK, "stage": "auto", "strategy": strategy, "lr": 1e-3, "batch_size": 8}
    options |= {"precision": "float32", "engine": "torch"}  # what is timed may differ from run to run
    other = np.where(y == "box", "disc", "box")
    honest, lied = (
        hs.fit(hs.load_data(train, test=(x, labels)), **options, out=Path(name))
        for labels, name in ((y, "honest"), (other, "lied"))
    )
    for name in ("model.safetensors", "head.safetensors"):
        assert (honest.path / "bundle" / name).read_bytes() == (lied.path / "bundle" / name).read_bytes()
    a, b = honest.data, lied.data
    assert a["metrics"]["validation"] == b["metrics"]["validation"]
    assert a["calibration"]["temperature"] == b["calibration"]["temperature"]
    for key in ("strategy", "model", "screen", "findings", "curve"):
        assert a[key] == b[key]
    assert [{**t, "seconds": 0} for t in a["tried"]] == [{**t, "seconds": 0} for t in b["tried"]]
    p, q = (pd.read_parquet(run.path / "predictions.parquet") for run in (honest, lied))
    drop = ["label", "loss"]
    pd.testing.assert_frame_equal(p.drop(columns=drop), q.drop(columns=drop), check_exact=True)
    # All labels are swapped, so what was right is wrong: the test labels were really read, at the end.
    assert a["metrics"]["test"]["accuracy"]["value"] == pytest.approx(1 - b["metrics"]["test"]["accuracy"]["value"])


def test_a_useless_network_is_replaced_by_the_baseline(shapes: ModuleType, tmp_path: Path) -> None:
    """One pixel decides: pixels see it, random deep features of a whole network, averaged, hardly do."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 2
    x = rng.integers(0, 255, (240, 16, 16, 1), dtype=np.uint8)
    x[:, 2:4, 2:4] = (200 * y)[:, None, None, None]
    run = hs.fit((x, y), **shapes.QUICK, strategy="probe", out=tmp_path / "run")
    pixels = run.data["baselines"]["raw_features"]["test"]["accuracy"]["value"]
    network = run.data["baselines"]["network"]["test"]["accuracy"]["value"]
    assert pixels > 0.95
    assert network < pixels
    assert run.metrics["test"]["accuracy"]["value"] == pixels
    assert run.data["fallback"]["to"] == "raw_features"
    guard = run.data["guard"]
    assert guard["compared_with"] == "raw_features"
    assert guard["verdict"] == "negative"
    assert guard["gap"]["value"] == pytest.approx(network - pixels)
    assert "hurts: on the test part the network is" in guard["text"]
    page = (run.path / "report.html").read_text()
    assert "A baseline took the network" in page
    assert "The network, not taken" in page
    said = hs.predict(run.path, x[:50])
    assert np.mean([row["predicted"] == str(t) for row, t in zip(said, y[:50], strict=True)]) > 0.9
