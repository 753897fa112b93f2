"""LogME: how long, beside the authors' code, on 10,000 x 1,280 features of ten classes.

    python benchmarks/scores.py --authors LogME.py    # their file (github.com/thuml/LogME; needs numba); stores, prints
    python benchmarks/scores.py --table               # prints what is stored

Features are EfficientNet-Lite0's last layer on mnist5k (as they are and in two drawn views). Both in turns, one
process, the first call of each (compilation) not counted; memory is the peak of a process that calls one of them. The
values differ by the authors' eleven rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "scores.json"
ROUNDS = 5

Way = Callable[[np.ndarray, np.ndarray], float]


def ways(authors: Path) -> dict[str, Way]:
    from headstart.measure.transferability import logme

    spec = importlib.util.spec_from_file_location("authors", authors)
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    return {"headstart": logme, "authors": lambda x, y: theirs.LogME(regression=False).fit(x, y)}


def peak(name: str, authors: Path, path: Path) -> int:
    """MB of this process, at the most while it calls one of them on the features that lie there."""
    from probe_path import watched

    way = ways(authors)[name]
    with np.load(path) as kept:
        x, y = kept["x"], kept["y"]
    with watched() as most:
        way(x, y)
    return most[0]


def peaks(authors: Path, x: np.ndarray, y: np.ndarray) -> dict[str, int]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npz"
        np.savez(path, x=x, y=y)
        for name in ("headstart", "authors"):
            call = [sys.executable, __file__, "--authors", str(authors), "--peak", name, "--features", str(path)]
            found[name] = int(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def measure(authors: Path) -> dict[str, Any]:
    from headstart.measure.transferability import SCORES
    from probe_path import features

    x, y, *_ = features()
    x, y = x.numpy().astype(np.float64), np.asarray(y)
    tried = ways(authors)
    values = {name: float(way(x, y)) for name, way in tried.items()}
    seconds: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(ROUNDS):
        for name, way in tried.items():
            start = time.perf_counter()
            way(x, y)
            seconds[name].append(time.perf_counter() - start)
    others = {}
    some = np.arange(0, len(y), 10)
    for name, score in SCORES.items():
        if score.needs == "features":
            start = time.perf_counter()
            score.function(x[some], y[some])
            others[name] = time.perf_counter() - start
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {
        "machine": machine,
        "shape": list(x.shape),
        "values": values,
        "seconds": seconds,
        "peak_memory_mb": peaks(authors, x, y),
        "of_1000": others,
    }


def table(kept: dict[str, Any]) -> str:
    n, d = kept["shape"]
    lines = [f"| LogME, {n:,} × {d:,}, ten classes | seconds | value | memory |", "|---|---|---|---|"]
    for name, times in kept["seconds"].items():
        memory = f"{kept['peak_memory_mb'][name]:,} MB"
        lines.append(f"| {name} | {np.median(times):.2f} | {kept['values'][name]:.4f} | {memory} |")
    ratio = np.median(np.array(kept["seconds"]["authors"]) / kept["seconds"]["headstart"])
    lines += ["", f"Ratio: {ratio:.1f}× (median of {len(kept['seconds']['authors'])} pairs in turns)."]
    lines += ["", "| score, of 1,000 samples | seconds |", "|---|---|"]
    lines += [f"| {name} | {s:.2f} |" for name, s in kept["of_1000"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--authors", type=Path, help="the authors' LogME.py")
    parser.add_argument("--peak", choices=["headstart", "authors"], help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        print(peak(asked.peak, asked.authors, asked.features))
        return
    if not asked.table:
        if asked.authors is None:
            parser.error("--authors LogME.py is needed to measure")
        STORE.write_text(json.dumps(measure(asked.authors), indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
