"""The statistics that a series model normalises by: of the training part alone, and kept in the bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs

SMALL: dict[str, Any] = {"model": "scratch:gru", "arch": "layers=1,width=8", "epochs": 1, "strategy": "full"}


def test_the_bundle_keeps_the_statistics_of_the_training_part_alone(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = (random.normal(size=(24, 10, 2)) * [2, 5] + [7, -3]).astype(np.float32)
    x[3, 2:6, 0] = np.nan
    y = np.arange(24) % 2
    # What is held out lies far off: a single sample of it would show.
    far = (x + 20).astype(np.float32)
    data = hs.load_data((x, y), modality="sequence", valid=(far[:8], y[:8]), test=(far[8:], y[8:]))
    hs.fit(data, **SMALL, out=tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())["input"]
    steps = x.reshape(-1, 2).astype(np.float64)
    assert kept["mean"] == pytest.approx(np.nanmean(steps, 0).tolist(), rel=1e-6)
    assert kept["std"] == pytest.approx(np.nanstd(steps, 0).tolist(), rel=1e-6)
