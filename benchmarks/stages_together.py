"""A probe on several stages together: does it beat the one at the best stage?

    python benchmarks/stages_together.py             # runs what is missing, then prints the table
    python benchmarks/stages_together.py --table     # prints the table of what is stored

The stages of the default network are ordered by `fit`'s own screening, out of fold; the features of the best one, two
and three (each at its best grid) stand side by side in one probe, which is fitted as `fit` does: strength by
cross-validation, then on all training samples. Accuracy is that on the test part, over three splits, each of which
draws its own samples (mnist5k, the newsgroups and Reuters have their own test part: there training samples differ).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "stages_together.json"
SETTINGS = (
    ("sample:mnist5k", 100),
    ("sample:mnist5k", 500),
    ("sample:optdigits", None),
    ("sample:faces", None),
    ("sample:20newsgroups", 500),
    ("sample:reuters-r8", 500),
)
SEEDS, MOST = (0, 1, 2), 3


def one(data: str, size: int | None, seed: int) -> dict[str, Any]:
    """Test accuracy with the best stage, the best two and the best three."""
    import torch

    from headstart.features.probe import fit_probe
    from headstart.store.runfolder import RunFolder
    from headstart.verbs.frozen import run_screening
    from headstart.verbs.job import open_job
    from headstart.verbs.options import make_options

    with tempfile.TemporaryDirectory() as folder:
        job = open_job(RunFolder(Path(folder)), make_options({"train_size": size, "split_seed": seed}), data)
        screening = run_screening(job)
        best = {}
        for row in sorted(screening.rows, key=lambda row: -row.score):
            if row.size == screening.chosen.size:
                best.setdefault(row.stage, (row.stage, row.grid))
        chosen = (screening.chosen.stage, screening.chosen.grid)
        places = [chosen, *(place for stage, place in best.items() if stage != chosen[0])][:MOST]
        found = {part: job.features(screening.chosen.size, part, places) for part in ("train", "test")}
        accuracies = []
        for count in range(1, MOST + 1):
            x, test = (torch.cat([found[part][place] for place in places[:count]], 1) for part in ("train", "test"))
            probe = fit_probe(x, job.labels("train"), job.task, "accuracy", job.folds)
            accuracies.append(float((probe.logits(test).numpy().argmax(1) == job.labels("test")).mean()))
    return {"stages": [stage for stage, _ in places], "accuracy": accuracies}


def stored() -> list[dict[str, Any]]:
    return json.loads(STORE.read_text()) if STORE.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| test accuracy | best stage | best two | best three |", "|---|---|---|---|"]
    for data, size in SETTINGS:
        mine = [row["accuracy"] for row in rows if (row["data"], row["size"]) == (data, size)]
        if mine:
            mean, name = np.mean(mine, axis=0), data.removeprefix("sample:") + ("" if size is None else f", {size}")
            lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in mean) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    asked = parser.parse_args()
    rows = stored()
    have = {(row["data"], row["size"], row["seed"]) for row in rows}
    for data, size in SETTINGS:
        for seed in SEEDS:
            if not asked.table and (data, size, seed) not in have:
                rows.append({"data": data, "size": size, "seed": seed, **one(data, size, seed)})
                STORE.write_text(json.dumps(rows, indent=1) + "\n")
                print(f"{data}, {size}, seed {seed}: {rows[-1]['accuracy']}", file=sys.stderr)
    print(table(rows))


if __name__ == "__main__":
    main()
