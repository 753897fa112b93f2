"""Digits of one kind to digits of another: mnist5k → optdigits and back, without labels of the target.

    python benchmarks/domain_digits.py                    # runs what is missing, prints the tables
    python benchmarks/domain_digits.py --table            # prints what is stored
    python benchmarks/domain_digits.py --only "small"     # studies whose name contains this

Three studies, each with `headstart adapt` itself; labels of the target serve the oracle columns only.

small CNN: three convolutions with batch norms, random weights, 32 px; every deep method, one configuration: 24 epochs
of the source, then 24 of the method, AdamW at 2e-3, float32, batches of 64, strong augmentation of both domains. Floor:
the network of the source. Ceiling: the same network trained on the target's labels, as long.
lite0: sample:efficientnet_lite0 at 64 px, cut off where the source probes best; six methods, rates of lp-ft.
shallow: methods on the frozen features of the same place at 96 px.

Accuracy is on the target's test part, which nothing adapted to; scores of validators are on the part that was. Each
study, pair and seed is a process of its own. Results are kept in results/domain_digits.json.
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

from small_network import small_cnn

STORE = Path(__file__).parent / "results" / "domain_digits.json"
PAIRS = (("sample:mnist5k", "sample:optdigits"), ("sample:optdigits", "sample:mnist5k"))
DEEP = (
    "dan", "jan", "deep-coral", "dann", "adda", "cdan", "cdan-e", "mcd", "mdd", "afn", "bsp", "mcc", "dsan",
    "deep-jdot", "pseudo-labels", "shot", "dann+mcc", "cdan-e+mcc+pseudo-labels",
)  # fmt: skip
SIX = ("dan", "dann", "cdan-e", "mcc", "shot", "cdan-e+mcc+pseudo-labels")
SHALLOW = (
    "pca", "sa", "gfk", "coral", "tca", "jda", "bda", "easytl", "meda", "kmm", "discriminator-weights", "ot-emd",
    "ot-sinkhorn", "ot-class", "ot-linear", "ot-labels", "jdot", "label-propagation", "self-training",
    "bbse", "em-shares",
)  # fmt: skip
METHODS = {"shallow": SHALLOW, "small CNN": DEEP, "lite0": SIX}
CEILING = "target-supervised"
SEEDS = 3
SIZE = 32
TRAINING = {
    "strategy": "full",
    "stage": "last",
    "epochs": 24,
    "batch_size": 64,
    "lr": 2e-3,
    "layer_decay": 1.0,
    "bn": "adapt",
    "augment": "strong",
}


def one(study: str, pair: int, seed: int, folder: str) -> list[dict[str, Any]]:
    """One adaptation with every method of a study; continues where it was killed. A row per method."""
    import headstart as hs

    source, target = PAIRS[pair]
    model = small_cnn(SIZE) if study == "small CNN" else None
    out = Path(folder) / f"{study}-{pair}-{seed}".replace(" ", "-")
    options: dict[str, Any] = {"seed": seed, "examples": False, "precision": "float32", "model": model, "out": out}
    options |= {"small CNN": TRAINING, "lite0": {"image_size": 64}, "shallow": {}}[study]
    if (out / "config.yaml").exists():
        run = hs.resume(out, model=model)
    else:
        run = hs.adapt(source, target, method=METHODS[study], **options)
    rows = [
        {
            "method": a["method"],
            "target": a["oracle"]["value"],
            "test": a["unseen"]["value"],
            "scores": a["scores"],
            "seconds": a["seconds"],
        }
        for a in run.data["adaptation"]["attempts"]
    ]
    if study != "shallow":
        beside = {**options, "out": None, "guard": "off", "interpolate": False, "blend": False}
        with tempfile.TemporaryDirectory() as temporary:
            beside["out"] = Path(temporary) / "run"
            d = hs.fit(target, **beside).data
        value = d["metrics"]["test"]["accuracy"]["value"]
        rows.append({"method": CEILING, "target": None, "test": value, "scores": {}, "seconds": d["cost"]["seconds"]})
    return rows


def run(study: str, pair: int, seed: int, folder: str) -> list[dict[str, Any]]:
    call = [sys.executable, __file__, "--one", json.dumps([study, pair, seed, folder])]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def cells(seeds: int) -> list[tuple[str, int, int]]:
    """(study, pair, seed), cheap ones first."""
    every = [("shallow", pair, 0) for pair in range(len(PAIRS))]
    for study in ("small CNN", "lite0"):
        every += [(study, pair, seed) for seed in range(seeds) for pair in range(len(PAIRS))]
    return every


def table(rows: list[dict[str, Any]]) -> str:
    """A table per study: mean accuracy on the target's test part over seeds, and what each validator would pick."""
    lines: list[str] = []
    for study in METHODS:
        names = list(dict.fromkeys(r["method"] for r in rows if r["study"] == study))
        if not names:
            continue
        lines += ["", f"| {study} | " + " | ".join(f"{_short(a)} → {_short(b)}" for a, b in PAIRS) + " |"]
        lines.append("|---" * (len(PAIRS) + 1) + "|")
        for name in names:
            cells_ = [_cell([r["test"] for r in _of(rows, study, p) if r["method"] == name]) for p in range(len(PAIRS))]
            lines.append(f"| {name} | " + " | ".join(cells_) + " |")
        lines += ["", f"| {study}: picked by | " + " | ".join(f"{_short(a)} → {_short(b)}" for a, b in PAIRS) + " |"]
        lines.append("|---" * (len(PAIRS) + 1) + "|")
        validators = next(list(r["scores"]) for r in rows if r["study"] == study and r["scores"])
        for validator in validators:
            lines.append(
                f"| {validator} | " + " | ".join(_picked(rows, study, p, validator) for p in range(len(PAIRS))) + " |"
            )
    return "\n".join(lines)


def _of(rows: list[dict[str, Any]], study: str, pair: int) -> list[dict[str, Any]]:
    return [r for r in rows if r["study"] == study and r["pair"] == pair]


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def _picked(rows: list[dict[str, Any]], study: str, pair: int, validator: str) -> str:
    """Mean over seeds of the test accuracy of what the validator scores best, and the share of the gap recovered."""
    own, values, shares = _of(rows, study, pair), [], []
    for seed in sorted({r["seed"] for r in own}):
        tried = [r for r in own if r["seed"] == seed and r["scores"]]
        values.append(max(tried, key=lambda r: r["scores"][validator])["test"])
        floors = [r["test"] for r in tried if r["method"] in ("source-only", "source-network")]
        ceiling = [r["test"] for r in own if r["seed"] == seed and r["method"] == CEILING]
        if ceiling:
            shares.append((values[-1] - max(floors)) / (ceiling[0] - max(floors)))
    return _cell(values) + (f" ({np.mean(shares):.0%} of the gap)" if shares else "")


def _short(name: str) -> str:
    return name.removeprefix("sample:")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--only", default="", help="studies whose name contains this")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--folder", default="", help="where runs are kept while they last, to be continued")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*json.loads(asked.one))))
        return
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else []
    have = {(r["study"], r["pair"], r["seed"]) for r in rows}
    with tempfile.TemporaryDirectory() as temporary:
        for study, pair, seed in cells(asked.seeds):
            if (study, pair, seed) in have or asked.only not in study or asked.table:
                continue
            found = run(study, pair, seed, asked.folder or temporary)
            rows += [{"study": study, "pair": pair, "seed": seed, **row} for row in found]
            STORE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
            print(f"{study}, {PAIRS[pair][0]} → {PAIRS[pair][1]}, seed {seed}", file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
