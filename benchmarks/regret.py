"""What `auto` loses against every single fixed strategy, and what it costs.

    python benchmarks/regret.py                   # runs what is missing, cheap settings first, prints the table
    python benchmarks/regret.py --table           # prints what is stored
    python benchmarks/regret.py --only mnist5k    # settings whose name contains this

Regret of a way is the test accuracy of the fixed strategy with the best mean over seeds minus its own, in points, per
setting. Seeds are those of training; at a given size the split is the same for all (faces: five folds are taken as test
parts in turn, with three split seeds). Everything is at its default but the strategy: fixed ones have no guard, no
blending and no interpolating. Each fit is a process of its own with an empty cache, and times are compared in seconds
of the processor, so that what else the machine does counts for none of them. Results are kept in results/regret.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "regret.json"
WAYS = ("auto", "probe", "lp-ft", "full", "partial", "gradual")
SETTINGS: dict[str, tuple[str, int | None]] = {
    # name: data, labelled samples
    "japanese-vowels": ("sample:japanese-vowels", None),
    "faces": ("sample:faces", None),
    "mnist5k, 100": ("sample:mnist5k", 100),
    "optdigits": ("sample:optdigits", None),
    "mnist5k, 500": ("sample:mnist5k", 500),
    "20newsgroups, 500": ("sample:20newsgroups", 500),
    "mnist5k, 4,000": ("sample:mnist5k", None),
    "20newsgroups, 2,000": ("sample:20newsgroups", 2000),
    "reuters-r8": ("sample:reuters-r8", None),
}
SEEDS = 3
SPENT = "processor_seconds"
FOLDS = 5
"""Of faces, whose 200 samples would make too small a test part."""


def one(setting: str, way: str, seed: int) -> dict[str, Any]:
    """One fit (of faces: five); run in a process of its own by `run`."""
    import headstart as hs
    from headstart.data import Dataset

    data, size = SETTINGS[setting]
    loaded = hs.load_data(data)
    options: dict[str, Any] = {"strategy": way, "seed": seed, "train_size": size, "examples": False}
    options |= {} if way == "auto" else {"guard": "off"}
    accuracies, seconds, chosen = [], 0.0, []
    start = time.process_time()
    for fold in range(FOLDS) if setting == "faces" else [None]:
        some = loaded
        if fold is not None:
            parts = np.full(len(loaded), "train", dtype=object)
            parts[np.random.default_rng(seed).permutation(len(loaded))[fold::FOLDS]] = "test"
            some = Dataset(loaded.name, loaded.schema, replace(loaded.content, parts=parts))
        with tempfile.TemporaryDirectory() as folder:
            d = hs.fit(some, **options, out=Path(folder) / "run").data
        accuracies.append(d["metrics"]["test"]["accuracy"]["value"])
        seconds += d["cost"]["seconds"]
        chosen.append(d["strategy"]["name"] + (f" + {d['blend']['weight']:.0%}" if d.get("blend") else ""))
    spent = time.process_time() - start
    return {
        "accuracy": float(np.mean(accuracies)),
        "seconds": round(seconds, 1),
        "processor_seconds": round(spent, 1),
        "chosen": chosen,
    }


def run(setting: str, way: str, seed: int) -> dict[str, Any]:
    call = [sys.executable, __file__, "--one", json.dumps([setting, way, seed])]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "HEADSTART_CACHE": cache}
        done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def table(kept: dict[str, Any]) -> str:
    """Accuracy by setting and way, then regrets and times over the settings in which every way was run."""
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in kept["rows"]:
        cells.setdefault((r["setting"], r["way"]), []).append(r)
    lines = ["| test accuracy | seeds | " + " | ".join(WAYS) + " | chosen by auto |", "|---" * (len(WAYS) + 3) + "|"]
    whole = []
    for setting in SETTINGS:
        found = {w: cells.get((setting, w), []) for w in WAYS}
        if not any(found.values()):
            continue
        counts = {len(rows) for rows in found.values()}
        if 0 not in counts:
            whole.append(setting)
        means = {w: np.mean([r["accuracy"] for r in rows]) if rows else None for w, rows in found.items()}
        chosen = sorted({c for r in found["auto"] for c in r["chosen"]})
        shown = " | ".join("" if m is None else f"{m:.4f}" for m in means.values())
        span = f"{min(counts)}–{max(counts)}" if len(counts) > 1 else f"{max(counts)}"
        lines.append(f"| {setting} | {span} | {shown} | {', '.join(chosen)} |")
    if not whole:
        return "\n".join(lines)

    def mean(way: str, setting: str, key: str) -> float:
        return float(np.mean([r[key] for r in cells[setting, way]]))

    best = {s: max(mean(w, s, "accuracy") for w in WAYS if w != "auto") for s in whole}
    lines += ["", f"| over {len(whole)} settings | " + " | ".join(WAYS) + " |", "|---" * (len(WAYS) + 1) + "|"]
    regrets = [np.mean([100 * (best[s] - mean(w, s, "accuracy")) for s in whole]) for w in WAYS]
    times = [np.exp(np.mean([np.log(mean(w, s, SPENT) / mean("lp-ft", s, SPENT)) for s in whole])) for w in WAYS]
    lines.append("| mean regret, points | " + " | ".join(f"{r:.2f}" for r in regrets) + " |")
    lines.append("| time over that of lp-ft (geometric mean) | " + " | ".join(f"{t:.2f}" for t in times) + " |")
    return "\n".join(lines)


def stored() -> dict[str, Any]:
    return json.loads(STORE.read_text()) if STORE.exists() else {"rows": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*json.loads(asked.one))))
        return
    kept = stored()
    kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    have = {(r["setting"], r["way"], r["seed"]) for r in kept["rows"]}
    for seed in range(asked.seeds):
        for setting in SETTINGS:
            for way in WAYS:
                if (setting, way, seed) in have or asked.only not in setting or asked.table:
                    continue
                row = run(setting, way, seed)
                kept["rows"].append({"setting": setting, "way": way, "seed": seed, **row})
                STORE.write_text(json.dumps(kept, indent=1) + "\n")
                said = f"{setting}, {way}, seed {seed}: {row['accuracy']:.4f} in {row['seconds']:.0f} s"
                print(said, file=sys.stderr, flush=True)
    print(table(kept))


if __name__ == "__main__":
    main()
