"""Shallow adaptation on Office-Caltech10 (SURF features): twelve tasks, every method, beside published averages.

    python benchmarks/office_caltech.py --data FOLDER     # runs every method, prints the table
    python benchmarks/office_caltech.py --table           # prints what is stored

FOLDER holds caltech_SURF_L10.mat and its like (amazon, webcam, dslr; Gong et al. 2012); HEADSTART_OFFICE_CALTECH names
it, too. The files have no licence and are not part of this project. Protocol: the whole source with labels, the whole
target without; rows scaled to sum 1, each domain standardised (ddof 1); accuracy on the target. Methods that map
features end in a nearest neighbour, as in the papers. Results are kept in results/office_caltech.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

STORE = Path(__file__).parent / "results" / "office_caltech.json"
NAMES = {"C": "caltech", "A": "amazon", "W": "webcam", "D": "dslr"}
TASKS = ("CA", "CW", "CD", "AC", "AW", "AD", "WC", "WA", "WD", "DC", "DA", "DW")
NEAREST = {"classifier": "nearest"}
METHODS: dict[str, tuple[str, dict[str, Any], float | None]] = {
    # shown: method, options, published (or recomputed) average
    "1NN": ("source-only", NEAREST, 31.4),
    "logistic regression": ("source-only", {}, None),
    "PCA-30": ("pca", {"dimension": 30, **NEAREST}, 43.6),
    "SA-30": ("sa", {"dimension": 30, **NEAREST}, 45.4),
    "GFK-20": ("gfk", {"dimension": 20, **NEAREST}, 44.7),
    "TCA-30": ("tca", {"dimension": 30, **NEAREST}, 46.6),
    "JDA-30": ("jda", {"dimension": 30, **NEAREST}, 46.9),
    "BDA-30": ("bda", {"dimension": 30, **NEAREST}, None),
    "CORAL, 1NN": ("coral", NEAREST, 35.8),
    "CORAL, logistic regression": ("coral", {}, None),
    "EasyTL": ("easytl", {}, 50.5),
    "EasyTL without CORAL": ("easytl", {"align": False}, None),
    "MEDA": ("meda", {}, 52.7),
    "each domain standardised": ("standardize", {}, None),
    "KMM": ("kmm", {}, None),
    "discriminator's weights": ("discriminator-weights", {}, None),
    "OT, exact, 1NN": ("ot-emd", NEAREST, None),
    "OT, Sinkhorn, 1NN": ("ot-sinkhorn", NEAREST, None),
    "OT, class-regularised, 1NN": ("ot-class", NEAREST, None),
    "OT, linear, logistic regression": ("ot-linear", {}, None),
    "OT, labels": ("ot-labels", {}, None),
    "JDOT": ("jdot", {}, None),
    "label propagation": ("label-propagation", {}, None),
    "self-training": ("self-training", {}, None),
}


def domains(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Letter -> standardised features and labels from 0."""
    found = {}
    for letter, name in NAMES.items():
        path = folder / f"{name}_SURF_L10.mat"
        if not path.exists():
            sys.exit(f"There is no {path}. Name the folder of the four .mat files with --data.")
        content = scipy.io.loadmat(path)
        x = content["fts"].astype(float)
        x /= x.sum(1, keepdims=True)
        spread = x.std(0, ddof=1)
        x = (x - x.mean(0)) / np.where(spread == 0, 1.0, spread)
        found[letter] = x, content["labels"].ravel().astype(np.int64) - 1
    return found


def accuracies(method: str, options: dict[str, Any], data: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """On the twelve tasks, in points."""
    from headstart.adapt.shallow import Domains, build

    values = []
    for source, target in TASKS:
        (xs, ys), (xt, yt) = data[source], data[target]
        found = build(method, **options).fit(Domains(xs, ys, xt, 10))
        values.append(100 * float((found.probabilities.argmax(1) == yt).mean()))
    return values


def table(rows: dict[str, Any]) -> str:
    lines = ["| | " + " | ".join(TASKS) + " | mean | known | seconds |", "|---" * (len(TASKS) + 4) + "|"]
    for shown, (_, _, known) in METHODS.items():
        if shown in rows:
            row = rows[shown]
            cells = [f"{v:.1f}" for v in (*row["accuracies"], np.mean(row["accuracies"]))]
            told = "" if known is None else f"{known:.1f}"
            lines.append(f"| {shown} | " + " | ".join(cells) + f" | {told} | {row['seconds']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--data", default=os.environ.get("HEADSTART_OFFICE_CALTECH", ""), help="folder of the files")
    parser.add_argument("--only", default="", help="methods whose name contains this")
    asked = parser.parse_args()
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else {}
    if not asked.table:
        data = domains(Path(asked.data))
        for shown, (method, options, _) in METHODS.items():
            if asked.only not in shown:
                continue
            start = time.perf_counter()
            values = accuracies(method, options, data)
            rows[shown] = {"accuracies": values, "seconds": round(time.perf_counter() - start, 2)}
            print(f"{shown}: {np.mean(values):.1f} in {rows[shown]['seconds']:.1f} s", file=sys.stderr, flush=True)
        STORE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
