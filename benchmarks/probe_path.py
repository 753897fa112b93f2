"""The exact probe against scikit-learn: ten strengths, five folds, 10,000 x 1,280 features, ten classes.

    python benchmarks/probe_path.py            # measures in turns, stores results/probe_path.json, prints the table
    python benchmarks/probe_path.py --table    # prints what is stored

Features are EfficientNet-Lite0's last layer on mnist5k's training digits (as they are, and in two drawn views each),
standardised for both; accuracy is on the 1,000 test digits. scikit-learn gets its documented best: LogisticRegressionCV
with lbfgs, the same ten strengths (C = 1 / (s n)), the same folds, both cores by n_jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "probe_path.json"
SAMPLES, ROUNDS = 10_000, 2


def features() -> tuple[Any, ...]:
    import torch

    import headstart as hs
    from headstart.data.augment import POLICIES
    from headstart.features.engines import Engines
    from headstart.features.extract import extract
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.reader import Reader

    data = hs.load_data("sample:mnist5k")
    parts = {"train": data.part("train"), "test": data.part("test")}
    backbone = open_model("sample:efficientnet_lite0", Wanted(96, 1)).to(memory_format=torch.channels_last).eval()
    backbone.augmentations = {"a": POLICIES["light"], "b": POLICIES["strong"]}
    last = (list(backbone.stages)[-1], 1)
    reader, engines = Reader(parts, backbone, 0), Engines("auto")
    views = [extract(backbone, reader, "train", [last], view, engines)[last] for view in ("plain", "a", "b")]
    x, y = torch.cat(views)[:SAMPLES], np.tile(parts["train"].labels("label"), 3)[:SAMPLES]
    return x, y, extract(backbone, reader, "test", [last], engines=engines)[last], parts["test"].labels("label"), data


def whole_path(x: Any, y: np.ndarray, task: Any, folds: Any, x_test: Any) -> tuple[float, Any]:
    """All ten strengths in all folds to the solver's full tolerance, the best refitted on all samples."""
    import torch

    from headstart.features.probe import STRENGTHS
    from headstart.features.solver import design_of, fit_paths, fold_weights_of, out_of_fold, predict

    design, target = design_of(x), torch.as_tensor(y)
    path = fit_paths(design, target, task.kind, task.outputs, list(STRENGTHS), fold_weights_of(folds, 5))
    right = (out_of_fold(path, x, folds).argmax(2) == target).float().mean(1)
    best = STRENGTHS[int(right.argmax())]
    final = fit_paths(design, target, task.kind, task.outputs, [best], torch.ones(1, len(y)))
    return best, predict(final, x_test)[0, 0]


def shortened(x: Any, y: np.ndarray, task: Any, folds: Any, x_test: Any) -> tuple[float, Any]:
    """Strongest first, ending where it has become worse; the strength by loss within a standard error."""
    from headstart.features.probe import fit_probe

    probe = fit_probe(x, y, task, "accuracy", folds, None)
    return probe.strength, probe.logits(x_test)


def measure() -> dict[str, Any]:
    import torch
    from sklearn.linear_model import LogisticRegressionCV

    from headstart.features.probe import STRENGTHS

    x, y, x_test, y_test, data = features()
    task = data.schema.tasks[0]
    folds = np.random.default_rng(0).permutation(len(y)) % 5
    cuts = [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in range(5)]
    mean, scale = x.mean(0), x.std(0).clamp(min=1e-6)
    z, z_test = ((x - mean) / scale).numpy(), ((x_test - mean) / scale).numpy()
    os.environ["HEADSTART_CACHE_LIMIT"] = "0"  # nothing that was solved before is read
    names = ("headstart", "headstart, as a fit does it", "scikit-learn")
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, way in (("headstart", whole_path), ("headstart, as a fit does it", shortened)):
            start = time.perf_counter()
            strength, logits = way(x, y, task, torch.as_tensor(folds), x_test)
            seconds = time.perf_counter() - start
            value = float((logits.argmax(1).numpy() == y_test).mean())
            rows[name].append({"seconds": seconds, "accuracy": value, "strength": strength})
        start = time.perf_counter()
        theirs = LogisticRegressionCV(
            Cs=[1 / (s * len(y)) for s in STRENGTHS],
            cv=cuts,
            max_iter=1000,
            n_jobs=os.cpu_count(),
            l1_ratios=(0.0,),
            scoring="accuracy",
            use_legacy_attributes=False,
        ).fit(z, y)
        seconds = time.perf_counter() - start
        value = float(theirs.score(z_test, y_test))
        rows["scikit-learn"].append(
            {"seconds": seconds, "accuracy": value, "strength": float(1 / (theirs.C_ * len(y)))}
        )
    return {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "shape": list(x.shape), "rows": rows}


def table(kept: dict[str, Any]) -> str:
    lines = [
        f"| 10 strengths × 5 folds, {kept['shape'][0]:,} × {kept['shape'][1]:,} | seconds | test accuracy |",
        "|---|---|---|",
    ]
    best = {}
    for name, runs in kept["rows"].items():
        best[name] = min(r["seconds"] for r in runs)
        lines.append(f"| {name} | {best[name]:.1f} | {runs[0]['accuracy']:.3f} |")
    own, theirs = kept["rows"]["headstart"], kept["rows"]["scikit-learn"]
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(own, theirs, strict=True)]
    return "\n".join([*lines, "", f"Ratio: {np.median(ratios):.1f}× (median of {len(ratios)} pairs in turns)."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    if not parser.parse_args().table:
        STORE.write_text(json.dumps(measure(), indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
