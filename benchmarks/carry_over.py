"""What a language model is worth: AWD-LSTM, pretrained on 20newsgroups, on reuters-r8 with 10 labels per class.

    python benchmarks/carry_over.py                      # pretrains once, runs what is missing, prints the table
    python benchmarks/carry_over.py --table              # prints what is stored
    python benchmarks/carry_over.py --model runs/lm      # with a network that `headstart pretrain` made already

Seed k draws its own 10 texts per class from the training part (so that seeds are paired across rows) and its own
weights; the test part is the official one; texts are cut at 128 tokens. Each row is a fit in a process of its own.
Results are kept in results/carry_over.json. The table of freezing x discriminative rates x gradual unfreezing follows
Howard & Ruder 2018 (arXiv 1801.06146), table 7.
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

STORE = Path(__file__).parent / "results" / "carry_over.json"
CORPUS, TARGET, PER_CLASS = "sample:20newsgroups", "sample:reuters-r8", 10
SCRATCH = "scratch:awd-lstm"
TOKENS = 128
"""Where texts are cut off, in every row: the study's cost is in proportion."""
CELLS: dict[str, tuple[bool, dict[str, Any], int]] = {
    # name: pretrained, options of fit, seeds
    "scratch, all layers": (False, {"strategy": "full"}, 8),
    "pretrained, gradual + discriminative": (True, {"strategy": "gradual"}, 8),
    "pretrained, all layers + discriminative": (True, {"strategy": "full"}, 4),
    "pretrained, ulmfit (target texts first)": (True, {"strategy": "ulmfit"}, 4),
    "pretrained, gradual": (True, {"strategy": "gradual", "layer_decay": 1.0}, 4),
    "pretrained, all layers": (True, {"strategy": "full", "layer_decay": 1.0}, 4),
    "pretrained, frozen but the last layer": (True, {"strategy": "partial", "last_k": 1}, 4),
    "pretrained, frozen (probe)": (True, {"strategy": "probe"}, 8),
    "scratch, frozen (probe)": (False, {"strategy": "probe"}, 8),
    "pretrained, lp-ft": (True, {"strategy": "lp-ft"}, 8),
    "scratch, lp-ft": (False, {"strategy": "lp-ft"}, 8),
}


def stored() -> dict[str, Any]:
    return json.loads(STORE.read_text()) if STORE.exists() else {"pretraining": None, "rows": []}


def one(model: str, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """One fit; run in a process of its own by `run`."""
    import headstart as hs

    data = hs.load_data(TARGET)
    parts = data.given_parts
    labels = np.asarray(data.labels("label"))
    r = np.random.default_rng(seed)
    rows = np.sort(
        np.concatenate(
            [
                r.permutation(train)[:PER_CLASS]
                for c in range(len(data.schema.tasks[0].classes))
                if len(train := parts["train"][labels[parts["train"]] == c])
            ]
        )
    )
    some = data.subset(np.concatenate([rows, parts["test"]]))
    with tempfile.TemporaryDirectory() as folder:
        run = hs.fit(
            some, model=model, seed=seed, max_length=TOKENS, examples=False, out=Path(folder) / "run", **options
        )
        d = run.data
    value = {name: d["baselines"][name]["test"]["accuracy"]["value"] for name in ("raw_features", "linear_probe")}
    return {
        "parts": d["cost"]["parts"],
        "accuracy": d["metrics"]["test"]["accuracy"]["value"],
        "macro_f1": d["metrics"]["test"]["macro_f1"]["value"],
        "tfidf": value["raw_features"],
        "probe": value["linear_probe"],
        "vocabulary": d["model"]["vocabulary"],
        "labels": len(rows),
        "seconds": d["cost"]["seconds"],
    }


def run(model: str, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    call = [sys.executable, __file__, "--one", json.dumps([model, seed, options])]
    return json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def pretrained(folder: Path) -> dict[str, Any]:
    """Pretrain with Headstart's defaults; what it cost and reached."""
    call = [sys.executable, "-m", "headstart.cli", "pretrain", CORPUS, "--model", SCRATCH, "--out", str(folder)]
    if not (folder / "report.json").exists():
        subprocess.run(call, check=True)
    return about(folder)


def about(folder: Path) -> dict[str, Any]:
    d = json.loads((folder / "report.json").read_text())
    return {
        "corpus": CORPUS,
        "epochs": d["pretraining"]["epochs"],
        "perplexity": d["pretraining"]["best"],
        "tokens_of_vocabulary": d["model"]["tokens"],
        "seconds": d["cost"]["seconds"],
        "threads": d["cost"]["threads"],
    }


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95% interval by Student's t."""
    from scipy import stats

    half = (
        stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    )
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def table(kept: dict[str, Any]) -> str:
    rows = kept["rows"]
    by = {name: {r["seed"]: r for r in rows if r["cell"] == name} for name in CELLS}
    scratch = by["scratch, all layers"]
    lines = [
        "| reuters-r8, 10 labels a class | seeds | test accuracy (95%) | macro F1 | over scratch, paired (95%) "
        "| seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in by.items():
        if not found:
            continue
        mean, low, high = interval(np.array([r["accuracy"] for r in found.values()]))
        f1 = np.mean([r["macro_f1"] for r in found.values()])
        gain = ""
        both = [s for s in found if s in scratch]
        if both and found is not scratch:
            m, a, b = interval(np.array([found[s]["accuracy"] - scratch[s]["accuracy"] for s in both]))
            gain = f"{m:+.3f} ({a:+.3f} to {b:+.3f})"
        cost = np.mean([r["seconds"] for r in found.values()])
        lines.append(
            f"| {name} | {len(found)} | {mean:.3f} ({low:.3f} to {high:.3f}) | {f1:.3f} | {gain} | {cost:.0f} |"
        )
    words = {r["seed"]: r["tfidf"] for r in rows}
    if words:
        mean, low, high = interval(np.array(list(words.values())))
        lines.append(f"| TF-IDF + logistic regression | {len(words)} | {mean:.3f} ({low:.3f} to {high:.3f}) | | | |")
    if kept["pretraining"]:
        p = kept["pretraining"]
        lines.append("")
        lines.append(
            f"Pretraining: {p['corpus']}, {p['epochs']} epochs, perplexity {p['perplexity']:.1f} on held-out text, "
            f"{p['seconds'] / 60:.0f} min on {p['threads']} thread(s)."
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--model", type=Path, help="the folder of a pretraining that is there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*json.loads(asked.one))))
        return
    kept = stored()
    if not asked.table:
        folder = (asked.model or Path("runs/carry-over-lm")).absolute()
        kept["pretraining"] = pretrained(folder)
        kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        have = {(r["cell"], r["seed"]) for r in kept["rows"]}
        # Rows of many seeds first: they carry the claim.
        todo = [(-seeds, seed, name) for name, (*_, seeds) in CELLS.items() for seed in range(seeds)]
        for _, seed, name in sorted(todo, key=lambda t: t[:2]):
            carried, options, _ = CELLS[name]
            if (name, seed) not in have:
                row = run(f"run:{folder}" if carried else SCRATCH, seed, options)
                kept["rows"].append({"cell": name, "seed": seed, **row})
                STORE.write_text(json.dumps(kept, indent=1) + "\n")
                print(f"{name}, seed {seed}: {row['accuracy']:.3f} in {row['seconds']:.0f} s", file=sys.stderr)
    print(table(kept))


if __name__ == "__main__":
    main()
