"""How good and how long: mnist5k by number of labelled samples, strategy and seed.

    python benchmarks/sizes.py                    # runs what is missing, then prints the table
    python benchmarks/sizes.py --table            # prints the table of what is stored
    python benchmarks/sizes.py --only 500:auto    # one cell, all seeds

Each cell is `headstart fit sample:mnist5k --train-size N --strategy S --seed K` in a process of its own, everything
else at its default; the fixed test part of 1,000 digits is read once per run. Results are kept in
results/sizes.json, one row per run, so that an interrupted benchmark continues.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "sizes.json"
LITE = "sample:efficientnet_lite0"
SCRATCH = f"scratch:{LITE}"
CELLS: list[tuple[int, str, str, int]] = [
    # samples, strategy, model, seeds
    *((n, "auto", LITE, 3) for n in (100, 500, 4000)),
    *((n, "probe", LITE, 1) for n in (100, 500, 4000)),
    (500, "auto", SCRATCH, 1),
    (4000, "auto", SCRATCH, 1),
    *((500, s, LITE, 1) for s in ("partial", "full", "gradual")),
    (500, "full", SCRATCH, 1),
    (4000, "full", SCRATCH, 1),
]


def stored() -> list[dict[str, Any]]:
    return json.loads(STORE.read_text()) if STORE.exists() else []


def key(row: dict[str, Any]) -> tuple[int, str, str, int]:
    return row["samples"], row["strategy"], row["model"], row["seed"]


def run(samples: int, strategy: str, model: str, seed: int) -> dict[str, Any]:
    """One fit in a fresh process; its row."""
    with tempfile.TemporaryDirectory() as folder:
        size = [] if samples >= 4000 else ["--train-size", str(samples)]
        command = [
            sys.executable, "-m", "headstart.cli", "fit", "sample:mnist5k", "--model", model, "--strategy", strategy,
            "--seed", str(seed), *size, "--out", str(Path(folder) / "run"), "--json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    baselines = report["baselines"]
    return {
        "samples": samples,
        "strategy": strategy,
        "model": model,
        "seed": seed,
        "chosen": report["strategy"]["name"],
        "stage": report["model"]["stage"],
        "grid": report["model"]["grid"],
        "image_size": report["model"]["image_size"],
        "accuracy": report["metrics"]["test"]["accuracy"]["value"],
        "last_layer_probe": baselines["linear_probe"]["test"]["accuracy"]["value"],
        "pixels": baselines["raw_features"]["test"]["accuracy"]["value"],
        "seconds": report["cost"]["seconds"],
        "peak_memory_mb": report["cost"]["peak_memory_mb"],
        "versions": report["versions"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line per cell, mean over seeds and range."""
    lines = [
        "| labelled | strategy | model | seeds | test accuracy | range | errors in 1,000 | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cells: dict[tuple[int, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["samples"], row["strategy"], row["model"]), []).append(row)
    for (n, strategy, model), runs in sorted(cells.items(), key=lambda c: (c[0][2], c[0][0], c[0][1])):
        values = np.array([r["accuracy"] for r in runs])
        chosen = sorted({r["chosen"] for r in runs})
        name = f"auto ({', '.join(chosen)})" if strategy == "auto" else strategy
        lines.append(
            f"| {n} | {name} | {model} | {len(runs)} | {values.mean():.4f} | {values.min():.3f}–{values.max():.3f} "
            f"| {1000 * (1 - values.mean()):.0f} | {np.mean([r['seconds'] for r in runs]):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--only", help="N:STRATEGY, such as 500:auto")
    asked = parser.parse_args()
    rows = stored()
    have = {key(r) for r in rows}
    for n, strategy, model, seeds in [] if asked.table else CELLS:
        if asked.only and asked.only != f"{n}:{strategy}":
            continue
        for seed in range(seeds):
            if (n, strategy, model, seed) in have:
                continue
            row = run(n, strategy, model, seed)
            rows.append(row)
            STORE.parent.mkdir(exist_ok=True)
            STORE.write_text(json.dumps(rows, indent=1) + "\n")
            print(
                f"{n} {strategy} {model} seed {seed}: {row['accuracy']:.3f} in {row['seconds']:.0f} s", file=sys.stderr
            )
    print(table(rows))


if __name__ == "__main__":
    main()
