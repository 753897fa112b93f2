"""Recurrent networks on japanese-vowels (official split), and what learning without labels is worth there.

    python benchmarks/series.py            # runs what is missing, then prints the tables
    python benchmarks/series.py --table    # prints what is stored

First table: `headstart fit sample:japanese-vowels --seed K`, everything at its default, five seeds. Second: 5 labels
per class, seed K drawing its own; the network from random weights beside the one that learned to fill in hidden
stretches of the whole training part (270 series, no labels) before. Results are kept in results/series.json.
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

from carry_over import interval

STORE = Path(__file__).parent / "results" / "series.json"
DATA, PER_CLASS = "sample:japanese-vowels", 5
SEEDS, FEW_SEEDS = 5, 8
FEW = {
    "scratch:gru, auto": ("scratch:gru", "auto"),
    "pretrained, auto": ("run:", "auto"),
    "scratch:gru, all layers": ("scratch:gru", "full"),
    "pretrained, all layers": ("run:", "full"),
}


def stored() -> dict[str, Any]:
    return json.loads(STORE.read_text()) if STORE.exists() else {"full": [], "few": []}


def one(kind: str, seed: int, model: str, strategy: str) -> dict[str, Any]:
    """One fit; run in a process of its own by `run`."""
    import headstart as hs

    data = hs.load_data(DATA)
    with tempfile.TemporaryDirectory() as folder:
        if kind == "few":
            parts, labels = data.given_parts, np.asarray(data.labels("label"))
            r = np.random.default_rng(seed)
            rows = [r.permutation(parts["train"][labels[parts["train"]] == c])[:PER_CLASS] for c in np.unique(labels)]
            few = data.subset(np.concatenate([np.sort(np.concatenate(rows)), parts["test"]]))
            if model == "run:":
                hs.pretrain(DATA, model="scratch:gru", seed=seed, out=Path(folder) / "pretrained")
                model = f"run:{folder}/pretrained"
            data = few
        run = hs.fit(
            data, model=model, strategy=strategy, seed=seed, examples=False, guard="off", out=Path(folder) / "run"
        )
        d = run.data
    return {
        "accuracy": d["metrics"]["test"]["accuracy"]["value"],
        "summary": d["baselines"]["raw_features"]["test"]["accuracy"]["value"],
        "chosen": d["strategy"]["name"],
        "seconds": d["cost"]["seconds"],
    }


def run(*what: Any) -> dict[str, Any]:
    call = [sys.executable, __file__, "--one", json.dumps(what)]
    return json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def tables(kept: dict[str, Any]) -> str:
    full = np.array([r["accuracy"] for r in kept["full"]])
    lines = ["| japanese-vowels, 270 labelled | seeds | test accuracy | range | seconds |", "|---|---|---|---|---|"]
    if len(full):
        chosen = ", ".join(sorted({r["chosen"] for r in kept["full"]}))
        summary = np.mean([r["summary"] for r in kept["full"]])
        cost = np.mean([r["seconds"] for r in kept["full"]])
        lines.append(
            f"| auto ({chosen}) | {len(full)} | {full.mean():.3f} | {full.min():.3f}–{full.max():.3f} | {cost:.0f} |"
        )
        lines.append(f"| logistic regression, mean/std/min/max | | {summary:.3f} | | |")
    lines += ["", "| japanese-vowels, 5 labels a class | seeds | test accuracy (95%) | over scratch, paired (95%) |"]
    lines += ["|---|---|---|---|"]
    by = {name: {r["seed"]: r for r in kept["few"] if r["cell"] == name} for name in FEW}
    for name, found in by.items():
        if not found:
            continue
        mean, low, high = interval(np.array([r["accuracy"] for r in found.values()]))
        base, gain = by[name.replace("pretrained", "scratch:gru")], ""
        if base is not found and (both := [s for s in found if s in base]):
            m, a, b = interval(np.array([found[s]["accuracy"] - base[s]["accuracy"] for s in both]))
            gain = f"{m:+.3f} ({a:+.3f} to {b:+.3f})"
        lines.append(f"| {name} | {len(found)} | {mean:.3f} ({low:.3f} to {high:.3f}) | {gain} |")
    if kept["few"]:
        words = np.array(list({r["seed"]: r["summary"] for r in kept["few"]}.values()))
        mean, low, high = interval(words)
        lines.append(
            f"| logistic regression, mean/std/min/max | {len(words)} | {mean:.3f} ({low:.3f} to {high:.3f}) | |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*json.loads(asked.one))))
        return
    kept = stored()
    if not asked.table:
        kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        todo: list[tuple[str, str, int, tuple[str, str]]] = [
            ("full", "auto", seed, ("auto", "auto")) for seed in range(SEEDS)
        ] + [("few", name, seed, how) for seed in range(FEW_SEEDS) for name, how in FEW.items()]
        for kind, name, seed, how in todo:
            if any(r["cell"] == name and r["seed"] == seed for r in kept[kind]):
                continue
            row = run(kind, seed, *how)
            kept[kind].append({"cell": name, "seed": seed, **row})
            STORE.write_text(json.dumps(kept, indent=1) + "\n")
            print(f"{kind}, {name}, seed {seed}: {row['accuracy']:.3f} in {row['seconds']:.0f} s", file=sys.stderr)
    print(tables(kept))


if __name__ == "__main__":
    main()
