"""What a language model is worth: AWD-LSTM, pretrained on 20newsgroups, on reuters-r8 with 10 labels per class.

    python benchmarks/carry_over.py                      # pretrains once, runs what is missing, prints the table
    python benchmarks/carry_over.py --table              # prints what is stored

"Target texts too" goes on with language modelling on the 5,485 training texts of reuters-r8, labels unread, before the
80 labels are used (ULMFiT's second step). Both language models are made once, in runs/.

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
LM, TARGET_LM = "runs/carry-over-lm", "runs/carry-over-target"
CELLS: dict[str, tuple[str, dict[str, Any], int]] = {
    # name: where it starts, options of fit, seeds
    "scratch, lp-ft": ("scratch", {"strategy": "lp-ft"}, 8),
    "scratch, frozen (probe)": ("scratch", {"strategy": "probe"}, 8),
    "scratch, all layers": ("scratch", {"strategy": "full"}, 8),
    "pretrained, lp-ft": ("pretrained", {"strategy": "lp-ft"}, 8),
    "pretrained, frozen (probe)": ("pretrained", {"strategy": "probe"}, 8),
    "target texts too, lp-ft": ("target", {"strategy": "lp-ft"}, 8),
    "target texts too, frozen (probe)": ("target", {"strategy": "probe"}, 8),
    "pretrained, all layers + discriminative": ("pretrained", {"strategy": "full"}, 3),
    "target texts too, all layers + discriminative": ("target", {"strategy": "full"}, 3),
    "pretrained, gradual + discriminative": ("pretrained", {"strategy": "gradual"}, 3),
    "target texts too, gradual + discriminative": ("target", {"strategy": "gradual"}, 3),
    "pretrained, gradual": ("pretrained", {"strategy": "gradual", "layer_decay": 1.0}, 3),
    "pretrained, all layers": ("pretrained", {"strategy": "full", "layer_decay": 1.0}, 3),
    "pretrained, frozen but the last layer": ("pretrained", {"strategy": "partial", "last_k": 1}, 3),
    "pretrained, ulmfit (the 80 texts first)": ("pretrained", {"strategy": "ulmfit"}, 3),
}
BASES = ("scratch, all layers", "scratch, lp-ft", "scratch, frozen (probe)")
"""The ways from random weights; every row is compared with the one of its own strategy and with the best."""


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
            some,
            model=model,
            seed=seed,
            max_length=TOKENS,
            examples=False,
            guard="off",
            out=Path(folder) / "run",
            **options,
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


def pretrained(folder: Path, corpus: str, model: str, *more: str) -> dict[str, Any]:
    """Pretrain with Headstart's defaults; what it cost and reached."""
    call = [sys.executable, "-m", "headstart.cli", "pretrain", corpus, "--model", model, "--out", str(folder), *more]
    if not (folder / "report.json").exists():
        subprocess.run(call, check=True)
    return about(folder, corpus)


def about(folder: Path, corpus: str) -> dict[str, Any]:
    d = json.loads((folder / "report.json").read_text())
    return {
        "corpus": corpus,
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


def base_of(name: str) -> str:
    """The row from random weights with the same strategy; training of all layers where there is none."""
    same = [b for b in BASES if b.partition(", ")[2] == name.partition(", ")[2]]
    return same[0] if same else BASES[0]


def gain(found: dict[int, Any], base: dict[int, Any]) -> str:
    both = [s for s in found if s in base]
    if not both or found is base:
        return ""
    m, a, b = interval(np.array([found[s]["accuracy"] - base[s]["accuracy"] for s in both]))
    doubt = f" ({a:+.3f} to {b:+.3f})" if len(both) > 1 else ""
    return f"{m:+.3f}{doubt}"


def shown(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f}" if np.isnan(low) else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def table(kept: dict[str, Any]) -> str:
    rows = kept["rows"]
    by = {name: {r["seed"]: r for r in rows if r["cell"] == name} for name in CELLS}
    whole = [b for b in BASES if by[b]]
    best = max(whole, key=lambda b: np.mean([r["accuracy"] for r in by[b].values()])) if whole else BASES[0]
    lines = [
        "| reuters-r8, 10 labels a class | seeds | test accuracy (95%) | macro F1 | over the same from scratch (95%) "
        f"| over {best} | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in by.items():
        if not found:
            continue
        mean, low, high = interval(np.array([r["accuracy"] for r in found.values()]))
        f1 = np.mean([r["macro_f1"] for r in found.values()])
        cost = np.mean([r["seconds"] for r in found.values()])
        lines.append(
            f"| {name} | {len(found)} | {shown(mean, low, high)} | {f1:.3f} "
            f"| {gain(found, by[base_of(name)])} | {gain(found, by[best])} | {cost:.0f} |"
        )
    words = {r["seed"]: r["tfidf"] for r in rows}
    if words:
        mean, low, high = interval(np.array(list(words.values())))
        lines.append(f"| TF-IDF + logistic regression | {len(words)} | {mean:.3f} ({low:.3f} to {high:.3f}) | | | | |")
    for p in [kept["pretraining"], kept.get("target")]:
        if p:
            lines += [
                "",
                f"Pretraining: {p['corpus']}, {p['epochs']} epochs, perplexity {p['perplexity']:.1f} on held-out text, "
                f"{p['seconds'] / 60:.0f} min on {p['threads']} thread(s).",
            ]
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
        lm, target = Path(LM).absolute(), Path(TARGET_LM).absolute()
        kept["pretraining"] = pretrained(lm, CORPUS, SCRATCH)
        kept["target"] = pretrained(target, TARGET, f"run:{lm}", "--epochs", "4")
        starts = {"scratch": SCRATCH, "pretrained": f"run:{lm}", "target": f"run:{target}"}
        kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        have = {(r["cell"], r["seed"]) for r in kept["rows"]}
        # Rows of many seeds first: they carry the claim.
        todo = [(-seeds, seed, name) for name, (*_, seeds) in CELLS.items() for seed in range(seeds)]
        for _, seed, name in sorted(todo, key=lambda t: t[:2]):
            start, options, _ = CELLS[name]
            if (name, seed) not in have:
                row = run(starts[start], seed, options)
                kept["rows"].append({"cell": name, "seed": seed, **row})
                STORE.write_text(json.dumps(kept, indent=1) + "\n")
                print(f"{name}, seed {seed}: {row['accuracy']:.3f} in {row['seconds']:.0f} s", file=sys.stderr)
    print(table(kept))


if __name__ == "__main__":
    main()
