"""Costs of texts: does memory stay flat as the corpus grows, and what are batches by length worth?

    python benchmarks/text_costs.py            # measures both and stores results/text_costs.json
    python benchmarks/text_costs.py --table    # prints what is stored

Memory: `headstart pretrain` of a small AWD-LSTM for one epoch on N and on 10 N made-up texts of 100 words, each in a
process of its own (peak resident memory of the process). Length: MiniLM's features of 2,000 texts of 20newsgroups,
cut at 256 tokens, by `extract` (batches of similar length) and by the same sweep in the order of the data, in turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "text_costs.json"
FEW, TIMES, WORDS = 10_000, 10, 100
ROUNDS, TEXTS, TOKENS = 3, 1_000, 256


def corpus(path: Path, count: int) -> None:
    """Texts of words drawn by Zipf's law out of 5,000."""
    r = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(5_000)])
    share = 1 / np.arange(1, len(words) + 1)
    with open(path, "w") as file:
        file.write("text\n")
        for start in range(0, count, 1_000):
            drawn = words[r.choice(len(words), (min(1_000, count - start), WORDS), p=share / share.sum())]
            file.writelines(" ".join(row) + "\n" for row in drawn)


def memory(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        corpus(Path(folder) / "corpus.csv", count)
        call = [
            sys.executable, "-m", "headstart.cli", "pretrain", f"{folder}/corpus.csv", "--text", "text",
            "--model", "scratch:awd-lstm", "--arch", "layers=1,width=32,words=1000",
            "--epochs", "1", "--batch-size", "64", "--out", f"{folder}/run", "--json",
        ]  # fmt: skip
        d = json.loads(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return {"texts": count, "peak_memory_mb": d["cost"]["peak_memory_mb"], "seconds": d["cost"]["seconds"]}


def lengths() -> dict[str, Any]:
    import torch

    from headstart import load_data
    from headstart.features.extract import extract
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.reader import Reader

    data = load_data("sample:20newsgroups")
    data = data.subset(np.random.default_rng(0).permutation(len(data))[:TEXTS])
    backbone = open_model("sample:all-minilm-l6-v2", Wanted(size=TOKENS, channels=3, modality="text"))
    reader = Reader({"all": data}, backbone, 0)
    tokens = reader.lengths("all")  # settles the texts: both ways start from token numbers
    last = [(list(backbone.stages)[-1], 1)]
    seconds: dict[str, list[float]] = {"by length": [], "in order": []}
    made = {}
    for _ in range(ROUNDS):
        for way, times in seconds.items():
            backbone.by_length = way == "by length"
            start = time.perf_counter()
            made[way] = next(iter(extract(backbone, reader, "all", last).values()))
            times.append(time.perf_counter() - start)
    gap = (made["by length"] - made["in order"]).norm() / made["in order"].norm()
    return {
        "texts": TEXTS,
        "tokens": int(tokens.sum()),
        "batch": backbone.batch_size(),
        "seconds": seconds,
        "ratio": float(np.median(np.array(seconds["in order"]) / np.array(seconds["by length"]))),
        "relative_gap": float(gap),
        "threads": torch.get_num_threads(),
    }


def table(kept: dict[str, Any]) -> str:
    few, many = kept["memory"]
    way = kept["lengths"]
    lines = ["| corpus | peak memory | seconds |", "|---|---|---|"]
    lines += [f"| {m['texts']:,} texts | {m['peak_memory_mb']:,} MB | {m['seconds']:.0f} |" for m in (few, many)]
    lines += [
        "",
        f"Ratio of memory at {many['texts'] // few['texts']}× the data: "
        f"{many['peak_memory_mb'] / few['peak_memory_mb']:.2f}.",
        "",
        f"MiniLM's features of {way['texts']:,} texts (at most {TOKENS} tokens), batches of {way['batch']}: by length "
        f"{np.median(way['seconds']['by length']):.1f} s, in order {np.median(way['seconds']['in order']):.1f} s: "
        f"{way['ratio']:.2f}× (median of {len(way['seconds']['in order'])} pairs; features differ by "
        f"{way['relative_gap']:.0e}, relative).",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    if not parser.parse_args().table:
        kept = {"memory": [memory(FEW), memory(FEW * TIMES)], "lengths": lengths()}
        STORE.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
