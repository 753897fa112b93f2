"""Newsgroups, "rec or talk": MiniLM itself is fine-tuned and adapted, also after pretraining on the target.

    python benchmarks/domain_texts_tuned.py             # runs what is missing, prints the table
    python benchmarks/domain_texts_tuned.py --table     # prints what is stored

1,500 labelled posts of the source's subgroups and 1,500 unlabelled ones of the target's (those of domain_texts.py), 64
tokens. `headstart adapt`, once from MiniLM as it comes, once from MiniLM after masked-word pretraining on the target's
posts (`headstart pretrain`, three epochs). Accuracy on the target. Results are kept in results/domain_texts_tuned.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from domain_texts import task_of

STORE = Path(__file__).parent / "results" / "domain_texts_tuned.json"
TASK, COUNT, MODEL = "rec, talk", 1500, "sample:all-minilm-l6-v2"
METHODS = ("coral", "self-training", "meda", "dan", "dann", "mcc", "shot")
STARTS = ("MiniLM as it comes", "after pretraining on the target")


def write(folder: Path) -> tuple[str, str]:
    """Tables of source and target."""
    import pandas as pd

    import headstart as hs

    data = hs.load_data("sample:20newsgroups")
    source, target, group = task_of(TASK, data.labels(), data.schema.task().classes)
    random, paths = np.random.default_rng(0), []
    for name, rows in (("source", source), ("target", target)):
        some = random.permutation(rows)[:COUNT]
        texts = [data.read(int(i)).inputs for i in some]
        labels = np.array(TASK.split(", "))[group[some]]
        paths.append(str(folder / f"{name}.csv"))
        pd.DataFrame({"text": texts, "label": labels}).to_csv(paths[-1], index=False)
    return paths[0], paths[1]


def one(start: str) -> list[dict[str, Any]]:
    import headstart as hs

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source, target = write(folder)
        began = time.perf_counter()
        model = MODEL
        if start == STARTS[1]:
            run = hs.pretrain(target, model=MODEL, text="text", epochs=3, max_length=64, out=folder / "pretrained")
            model = f"run:{run.path}"
        spent = time.perf_counter() - began
        d = hs.adapt(
            source, target, model=model, text="text", label="label", max_length=64, method=METHODS, strategy="partial",
            last_k=2, epochs=3, precision="float32", examples=False, out=folder / "run",
        ).data  # fmt: skip
    return [
        {
            "start": start, "method": a["method"], "target": a["oracle"]["value"], "scores": a["scores"],
            "seconds": a["seconds"], "pretraining": spent,
        }
        for a in d["adaptation"]["attempts"]
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| | " + " | ".join(STARTS) + " |", "|---" * (len(STARTS) + 1) + "|"]
    for method in dict.fromkeys(r["method"] for r in rows):
        found = [[r["target"] for r in rows if r["method"] == method and r["start"] == s] for s in STARTS]
        lines.append(f"| {method} | " + " | ".join(f"{f[0]:.3f}" if f else "" for f in found) + " |")
    picks = []
    for start in STARTS:
        mine = [r for r in rows if r["start"] == start and r["scores"].get("infomax") is not None]
        picks.append(max(mine, key=lambda r: r["scores"]["infomax"]) if mine else None)
    said = [f"{p['target']:.3f} ({p['method']})" if p else "" for p in picks]
    return "\n".join([*lines, "| picked by infomax | " + " | ".join(said) + " |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    asked = parser.parse_args()
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else []
    for start in STARTS:
        if asked.table or any(r["start"] == start for r in rows):
            continue
        print(start, file=sys.stderr, flush=True)
        rows += one(start)
        STORE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
