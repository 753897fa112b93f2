"""How fast on texts: MiniLM's features and its fine-tuning, beside the peers, side by side in one run.

    python benchmarks/speed_texts.py --peer PEERS/bin/python     # runs all, prints the table, stores results
    python benchmarks/speed_texts.py --table                     # prints what is stored

20newsgroups at 128 tokens, the same weights everywhere. Features: all 2,000 labelled and 2,000 test texts; the peers
are a plain loop (transformers, batches of 32 in the order of the data) and SetFit's body by its own `encode`; the
accuracy is that of a linear head on them. Fine-tuning: transformers' Trainer at its documented best on processors
(bfloat16, grouped by length) for four epochs against the training of `headstart fit --strategy lp-ft --epochs 4`.
Headstart's clock includes the choice of the engine. PEERS is an environment with benchmarks/peers/requirements.txt and
this package. Every row is a process of its own.
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
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
STORE = HERE / "results" / "speed_texts.json"
MINILM, DATA = "sample:all-minilm-l6-v2", "sample:20newsgroups"
TOKENS, LABELS, TESTED, ROUNDS = 128, 2_000, 2_000, 2


def chosen() -> Any:
    """The data of every row: 2,000 training and 2,000 test texts."""
    import headstart as hs

    data = hs.load_data(DATA)
    parts, r = data.given_parts, np.random.default_rng(0)
    rows = [np.sort(r.permutation(parts[name])[:n]) for name, n in (("train", LABELS), ("test", TESTED))]
    return data.subset(np.concatenate(rows))


def features() -> dict[str, Any]:
    import torch

    from headstart.core.memory import peak_memory_mb
    from headstart.features.engines import Engines
    from headstart.features.extract import extract
    from headstart.features.probe import fit_probe
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.reader import Reader

    data = chosen()
    backbone = open_model(MINILM, Wanted(size=TOKENS, channels=3, modality="text")).eval()
    last, task, engines = [(list(backbone.stages)[-1], 1)], data.schema.tasks[0], Engines("auto")
    start = time.perf_counter()
    reader = Reader({"all": data}, backbone, 0)
    x = extract(backbone, reader, "all", last, engines=engines, count=len(data))[last[0]]
    seconds = time.perf_counter() - start
    peak = round(peak_memory_mb())
    y, parts = data.labels(task.name), data.given_parts
    folds = torch.arange(LABELS) % 5
    probe = fit_probe(x[parts["train"]], y[parts["train"]], task, "accuracy", folds, None)
    right = probe.logits(x[parts["test"]]).argmax(1).numpy() == y[parts["test"]]
    return {"seconds": seconds, "accuracy": float(right.mean()), "engine": engines.notes, "peak_memory_mb": peak}


def training() -> dict[str, Any]:
    import headstart as hs

    with tempfile.TemporaryDirectory() as folder:
        run = hs.fit(
            chosen(), model=MINILM, strategy="lp-ft", epochs=4, max_length=TOKENS, batch_size=16, seed=0,
            examples=False, out=Path(folder) / "run",
        )  # fmt: skip
        log = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
        d = run.data
    epochs: dict[tuple[int, int], list[float]] = {}
    for r in log:
        if r["kind"] == "step":
            epochs.setdefault((r["phase"], r["epoch"]), []).append(r["seconds"])
    # From the first step's end to the last one's, scaled to all steps and to all labelled texts.
    whole = [(s[-1] - s[0]) * len(s) / (len(s) - 1) for s in epochs.values()]
    return {
        "seconds": d["cost"]["seconds"],
        "epoch": float(np.median(whole)) * LABELS / d["data"]["parts"]["train"],
        "accuracy": d["metrics"]["test"]["accuracy"]["value"],
        "precision": d["cost"]["precision"],
        "peak_memory_mb": d["cost"]["peak_memory_mb"],
    }


def last_line(call: list[str], **environment: str) -> dict[str, Any]:
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment})
    row = json.loads(done.stdout.splitlines()[-1])
    print(f"{' '.join(Path(c).name for c in call[1:])}: {row}", file=sys.stderr)
    return row


def here(what: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        return last_line([sys.executable, __file__, "--one", what], HEADSTART_CACHE=cache)


def measure(python: str, only: str, kept: dict[str, Any]) -> dict[str, Any]:
    from headstart.models.weights import fetch_sample_text

    data = chosen()
    texts = {
        "texts": [data.read(i).inputs for i in range(len(data))],
        "labels": [int(y) for y in data.labels(data.schema.tasks[0].name)],
        **{name: [int(i) for i in rows] for name, rows in data.given_parts.items()},
    }
    body = str(fetch_sample_text(MINILM.removeprefix("sample:")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts))

        def peer(what: str) -> dict[str, Any]:
            return last_line([python, str(HERE / "peers" / "sentence_texts.py"), body, str(path), what])

        kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        if only in ("", "features"):
            rows: dict[str, list[dict[str, Any]]] = {"plain": [], "setfit": [], "headstart": []}
            for _ in range(ROUNDS):  # in turns
                for name, found in rows.items():
                    found.append(here("features") if name == "headstart" else peer(name))
            kept["features"] = rows
        if only in ("", "training"):
            kept["training"] = {"trainer": peer("trainer"), "headstart": here("training")}
        return kept


NAMES = {
    "plain": "plain loop (transformers)",
    "setfit": "SetFit's body, `encode`",
    "headstart": "Headstart",
    "trainer": "Trainer (transformers)",
}


def table(kept: dict[str, Any]) -> str:
    lines = [
        f"| MiniLM, {TOKENS} tokens, {LABELS:,} + {TESTED:,} texts | seconds | linear head, test | memory "
        "| Headstart's ratio |",
        "|---|---|---|---|---|",
    ]
    own = [r["seconds"] for r in kept["features"]["headstart"]]
    for name, found in kept["features"].items():
        times = [r["seconds"] for r in found]
        ratio = np.median(np.array(times) / own)
        said = "" if name == "headstart" else f"{ratio:.1f}×"
        lines.append(f"| {NAMES[name]} | {min(times):.1f} | {found[0]['accuracy']:.3f} | {_memory(found)} | {said} |")
    if both := kept.get("training"):
        lines += [
            "",
            "| fine-tuning, 2,000 texts, four epochs | an epoch, s | test accuracy | memory | Headstart's ratio |",
            "|---|---|---|---|---|",
        ]
        for name, r in both.items():
            ratio = "" if name == "headstart" else f"{r['epoch'] / both['headstart']['epoch']:.2f}×"
            lines.append(f"| {NAMES[name]} | {r['epoch']:.1f} | {r['accuracy']:.3f} | {_memory([r])} | {ratio} |")
    lines += ["", *kept["features"]["headstart"][0]["engine"]]
    return "\n".join(lines)


def _memory(rows: list[dict[str, Any]]) -> str:
    """The most that a process of these had."""
    return f"{max(row['peak_memory_mb'] for row in rows):,} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--peer", default=sys.executable, help="the Python of an environment that has the peers")
    parser.add_argument("--only", default="", choices=["", "features", "training"], help="what to measure anew")
    parser.add_argument("--one", choices=["features", "training"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(features() if asked.one == "features" else training()))
        return
    if not asked.table:
        kept = json.loads(STORE.read_text()) if STORE.exists() and asked.only else {}
        STORE.write_text(json.dumps(measure(asked.peer, asked.only, kept), indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
