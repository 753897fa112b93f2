"""The exact probe against scikit-learn: ten strengths, five folds, 10,000 x 1,280 features, ten classes.

    python benchmarks/probe_path.py            # measures in turns, stores results/probe_path.json, prints the table
    python benchmarks/probe_path.py --table    # prints what is stored

Features are EfficientNet-Lite0's last layer on mnist5k's training digits (as they are, and in two drawn views each),
standardised for both; accuracy is on the 1,000 test digits. scikit-learn gets its documented best: LogisticRegressionCV
with lbfgs, the same ten strengths (C = 1 / (s n)), the same folds, both cores by n_jobs. Every measurement is a process
of its own; memory is that of the process and its workers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    from headstart.features.following import follow, joined

    return _best(x, y, task, folds, x_test, lambda *given: joined(follow(*given)))


def at_once(x: Any, y: np.ndarray, task: Any, folds: Any, x_test: Any) -> tuple[float, Any]:
    """The same with every strength begun at zero, all fifty problems together."""
    from headstart.features.solver import fit_paths

    return _best(x, y, task, folds, x_test, fit_paths)


def _best(x: Any, y: np.ndarray, task: Any, folds: Any, x_test: Any, solve: Any) -> tuple[float, Any]:
    import torch

    from headstart.features.probe import STRENGTHS
    from headstart.features.solver import design_of, fit_paths, fold_weights_of, out_of_fold, predict

    design, target = design_of(x), torch.as_tensor(y)
    path = solve(design, target, task.kind, task.outputs, STRENGTHS, fold_weights_of(folds, 5))
    right = (out_of_fold(path, x, folds).argmax(2) == target).float().mean(1)
    best = STRENGTHS[int(right.argmax())]
    final = fit_paths(design, target, task.kind, task.outputs, [best], torch.ones(1, len(y)))
    return best, predict(final, x_test)[0, 0]


def shortened(x: Any, y: np.ndarray, task: Any, folds: Any, x_test: Any) -> tuple[float, Any]:
    """Strongest first, ending where it has become worse; the strength by loss within a standard error."""
    from headstart.features.probe import fit_probe

    probe = fit_probe(x, y, task, "accuracy", folds, None)
    return probe.strength, probe.logits(x_test)


def scikit_learn(x: Any, y: np.ndarray, task: Any, folds: Any, x_test: Any) -> tuple[float, Any]:
    from sklearn.linear_model import LogisticRegressionCV

    from headstart.features.probe import STRENGTHS

    number = folds.numpy()
    theirs = LogisticRegressionCV(
        Cs=[1 / (s * len(y)) for s in STRENGTHS],
        cv=[(np.flatnonzero(number != f), np.flatnonzero(number == f)) for f in range(5)],
        max_iter=1000,
        n_jobs=os.cpu_count(),
        l1_ratios=(0.0,),
        scoring="accuracy",
        use_legacy_attributes=False,
    ).fit(x.numpy(), y)
    return float(1 / (theirs.C_ * len(y))), theirs.decision_function(x_test.numpy())


WAYS = {
    "headstart": whole_path,
    "headstart, as a fit does it": shortened,
    "headstart, all strengths from zero": at_once,
    "scikit-learn": scikit_learn,
}


def one(name: str, path: Path) -> dict[str, float]:
    """A way on features that lie there, and the most memory of its process and of the workers that it started."""
    import torch

    import headstart as hs

    with np.load(path) as kept:
        x, y, x_test, y_test = (kept[k] for k in ("x", "y", "x_test", "y_test"))
    task = hs.load_data("sample:mnist5k").schema.tasks[0]
    folds = torch.from_numpy(np.random.default_rng(0).permutation(len(y)) % 5)
    if name == "scikit-learn":  # which does not standardise; the others do so within their time
        mean, scale = x.mean(0), np.maximum(x.std(0), 1e-6)
        x, x_test = (x - mean) / scale, (x_test - mean) / scale
    with watched() as most:
        start = time.perf_counter()
        strength, logits = WAYS[name](torch.from_numpy(x), y, task, folds, torch.from_numpy(x_test))
        seconds = time.perf_counter() - start
    value = float((np.asarray(logits).argmax(1) == y_test).mean())
    return {"seconds": seconds, "accuracy": value, "strength": strength, "peak_memory_mb": most[0]}


@contextmanager
def watched() -> Iterator[list[int]]:
    """Resident memory in MB of this process and its workers, the most of what was seen ten times a second."""
    import psutil

    most, over, me = [0], threading.Event(), psutil.Process()

    def watch() -> None:
        while True:
            total = 0
            for process in (me, *me.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
            most[0] = max(most[0], round(total / 2**20))
            if over.wait(0.1):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def measure() -> dict[str, Any]:
    x, y, x_test, y_test, _ = features()
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npz"
        np.savez(path, x=x.numpy(), y=y, x_test=x_test.numpy(), y_test=y_test)
        for _ in range(ROUNDS):
            for name, runs in rows.items():
                call = [sys.executable, __file__, "--one", name, "--features", str(path)]
                # Nothing that was solved before is read.
                environment = {**os.environ, "HEADSTART_CACHE_LIMIT": "0"}
                done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True, env=environment)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{name}: {runs[-1]}", file=sys.stderr, flush=True)
    return {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "shape": list(x.shape), "rows": rows}


def table(kept: dict[str, Any]) -> str:
    lines = [
        f"| 10 strengths × 5 folds, {kept['shape'][0]:,} × {kept['shape'][1]:,} | seconds | test accuracy | memory |",
        "|---|---|---|---|",
    ]
    for name, runs in kept["rows"].items():
        seconds, most = min(r["seconds"] for r in runs), max(r["peak_memory_mb"] for r in runs)
        lines.append(f"| {name} | {seconds:.1f} | {runs[0]['accuracy']:.3f} | {most:,.0f} MB |")
    theirs = kept["rows"]["scikit-learn"]
    said = []
    for name in list(kept["rows"])[:-1]:
        ratios = [b["seconds"] / a["seconds"] for a, b in zip(kept["rows"][name], theirs, strict=True)]
        said.append(f"{np.median(ratios):.1f}×")
    return "\n".join([*lines, "", f"Ratios: {', '.join(said)} (medians of {len(theirs)} pairs in turns)."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--one", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one, asked.features)))
        return
    if not asked.table:
        STORE.write_text(json.dumps(measure(), indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
