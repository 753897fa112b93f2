"""A task whose labels are noise, beside a healthy one: is it noticed, and is the healthy one unharmed?

    python benchmarks/planted_conflict.py             # runs what is missing (three seeds), prints the table
    python benchmarks/planted_conflict.py --table     # prints what is stored

MultiMNIST with the labels of the right digit permuted, in every part; `headstart fit` as it comes (`--baselines full`,
so that the healthy task is trained alone as well), a small CNN from random weights at 36 px. What counts is accuracy
of the left digit on the test part: shared, alone, and of what is handed back. Results are kept in
results/planted_conflict.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from multitask import SCRATCH
from small_network import small_cnn

STORE = Path(__file__).parent / "results" / "planted_conflict.json"
SEEDS = 3


def write(folder: Path, seed: int) -> None:
    """Pictures, and a table of both labels for each part."""
    import pandas as pd
    from PIL import Image

    import headstart as hs

    data = hs.load_data("sample:multi-mnist")
    random = np.random.default_rng(seed)
    for name in ("train", "test"):
        part = data.part(name)
        for i in range(len(part)):
            Image.fromarray(np.asarray(part.read(i).inputs).squeeze()).save(folder / f"{name}-{i}.png")
        columns = {t.name: [t.classes[int(y)] for y in part.labels(t.name)] for t in part.schema.tasks}
        frame = pd.DataFrame({"image": [f"{name}-{i}.png" for i in range(len(part))]} | columns)
        frame["right"] = random.permutation(frame["right"])
        frame.to_csv(folder / f"{name}.csv", index=False)


def one(seed: int) -> dict[str, Any]:
    import headstart as hs

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder, seed)
        d = hs.fit(
            folder / "train.csv", test=str(folder / "test.csv"), image="image", labels=("left", "right"),
            model=small_cnn(36), augment="none", ema=False, examples=False, baselines="full", seed=seed,
            out=folder / "run", **SCRATCH,
        ).data  # fmt: skip
    found: dict[str, Any] = {"seed": seed, "reasons": d["strategy"]["reasons"], "tasks": {}}
    for task in d["tasks"]:
        accuracy = {name: b["test"]["accuracy"]["value"] for name, b in task["baselines"].items() if "test" in b}
        found["tasks"][task["name"]] = {
            "handed back": task["metrics"]["test"]["accuracy"]["value"],
            "kept": task["sharing"]["kept"],
            "verdict": task["sharing"]["verdict"],
            "text": task["sharing"]["text"],
            **accuracy,
        }
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """A row per seed, and the means."""
    lines = ["| seed | left alone | left shared | left handed back | by | noise: handed back | by |", "|---" * 7 + "|"]
    for r in rows:
        left, right = r["tasks"]["left"], r["tasks"]["right"]
        lines.append(
            f"| {r['seed']} | {left['own_model']:.3f} | {left['shared']:.3f} | {left['handed back']:.3f} "
            f"| {left['kept']} | {right['handed back']:.3f} | {right['kept']} |"
        )
    means = [np.mean([r["tasks"]["left"][k] for r in rows]) for k in ("own_model", "shared", "handed back")]
    lines.append(f"| mean | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.3f} | | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(one(args.one)))
        return
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else []
    for seed in range(SEEDS):
        if args.table or any(r["seed"] == seed for r in rows):
            continue
        call = [sys.executable, __file__, "--one", str(seed)]
        done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        STORE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
