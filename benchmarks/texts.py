"""Texts: MiniLM on 20newsgroups (official test part) beside its probe and TF-IDF, and continued pretraining.

    python benchmarks/texts.py                  # runs what is missing, then prints the table
    python benchmarks/texts.py --table          # prints what is stored
    python benchmarks/texts.py --only "2,000"   # rows whose name holds this

Each row is `headstart fit sample:20newsgroups --model ... --strategy ... --seed K` in a process of its own, everything
else at its default. Continued pretraining is `headstart pretrain sample:20newsgroups --model
sample:all-minilm-l6-v2` (masked words of the training part, labels unread); the fit after it starts from `run:`.
Results: results/texts.json.
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

STORE = Path(__file__).parent / "results" / "texts.json"
DATA, MINILM = "sample:20newsgroups", "sample:all-minilm-l6-v2"
CONTINUED = Path("runs/minilm-on-newsgroups")
ROWS: dict[str, tuple[str, str, int | None, int]] = {
    # name: model, strategy, labelled samples, seeds
    "2,000 labels, auto": (MINILM, "auto", 2000, 1),
    "2,000 labels, lp-ft": (MINILM, "lp-ft", 2000, 1),
    "2,000 labels, lp-ft, after continued pretraining": (f"run:{CONTINUED}", "lp-ft", 2000, 1),
    "all labels, auto": (MINILM, "auto", None, 1),
}


def stored() -> dict[str, Any]:
    return json.loads(STORE.read_text()) if STORE.exists() else {"pretraining": None, "rows": []}


def headstart(*arguments: str) -> dict[str, Any]:
    call = [sys.executable, "-m", "headstart.cli", *arguments, "--json"]
    return json.loads(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout)


def run(model: str, strategy: str, samples: int | None, seed: int) -> dict[str, Any]:
    how = ["--strategy", strategy] + ([] if samples is None else ["--train-size", str(samples)])
    with tempfile.TemporaryDirectory() as folder:
        d = headstart("fit", DATA, "--model", model, "--seed", str(seed), *how, "--out", f"{folder}/run")
    blend = d.get("blend")
    value = {name: d["baselines"][name]["test"]["accuracy"]["value"] for name in ("raw_features", "linear_probe")}
    test = d["metrics"]["test"]["accuracy"]
    return {
        "accuracy": test["value"],
        "low": test["low"],
        "high": test["high"],
        "chosen": d["strategy"]["name"] + (f" + {blend['weight']:.0%} {blend['with']}" if blend else ""),
        "last_layer_probe": value["linear_probe"],
        "tfidf": value["raw_features"],
        "guard": d["guard"]["verdict"],
        "max_length": d["model"].get("max_length"),
        "seconds": d["cost"]["seconds"],
        "peak_memory_mb": d["cost"]["peak_memory_mb"],
        "precision": d["cost"].get("precision"),
        "versions": d["versions"],
    }


def pretrained() -> dict[str, Any]:
    if (CONTINUED / "report.json").exists():
        d = json.loads((CONTINUED / "report.json").read_text())
    else:
        d = headstart("pretrain", DATA, "--model", MINILM, "--out", str(CONTINUED))
    made = d["pretraining"]
    return {"first": made["first"], "best": made["best"], "epochs": made["epochs"], "seconds": d["cost"]["seconds"]}


def table(kept: dict[str, Any]) -> str:
    lines = [
        "| 20newsgroups, MiniLM | chosen | seeds | test accuracy | range | last-layer probe | TF-IDF | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ROWS:
        found = [r for r in kept["rows"] if r["row"] == name]
        if not found:
            continue
        values = np.array([r["accuracy"] for r in found])
        mean = {key: np.mean([r[key] for r in found]) for key in ("last_layer_probe", "tfidf", "seconds")}
        lines.append(
            f"| {name} | {', '.join(sorted({r['chosen'] for r in found}))} | {len(found)} | {values.mean():.3f} "
            f"| {values.min():.3f}–{values.max():.3f} | {mean['last_layer_probe']:.3f} | {mean['tfidf']:.3f} "
            f"| {mean['seconds']:.0f} |"
        )
    if made := kept["pretraining"]:
        lines += [
            "",
            f"Continued pretraining: {made['epochs']} epochs, perplexity of hidden words {made['first']:.1f} after the "
            f"first, {made['best']:.1f} at best, {made['seconds'] / 60:.0f} min.",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--only", default="", help="run the rows whose name holds this")
    asked = parser.parse_args()
    kept = stored()
    todo = [(seed, name) for name, (*_, seeds) in ROWS.items() for seed in range(seeds) if asked.only in name]
    have = {(r["seed"], r["row"]) for r in kept["rows"]}
    for seed, name in [] if asked.table else sorted(todo, key=lambda t: t[0]):
        model, strategy, samples, _ = ROWS[name]
        if (seed, name) in have:
            continue
        if model.startswith("run:"):
            kept["pretraining"] = pretrained()
        row = run(model, strategy, samples, seed)
        kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        kept["rows"].append({"row": name, "seed": seed, **row})
        STORE.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{name}, seed {seed}: {row['accuracy']:.3f} in {row['seconds']:.0f} s", file=sys.stderr)
    print(table(kept))


if __name__ == "__main__":
    main()
