"""What attention in parts saves of a training step: forward and backward, with and without it, in turns.

    python benchmarks/attention.py            # runs all, stores results, prints the table
    python benchmarks/attention.py --table    # prints what is stored

"In parts" is all that `attention_in_parts` does: attention, and how dropout of any layer draws its numbers. Random
tokens or pixels; texts of a batch are from half as long as the longest on. Norms get float32 and freed memory is kept,
as in training. Memory is the most that a process had that did nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "attention.json"
TEXT, PICTURES = "sample:all-minilm-l6-v2", "scratch:timm:vit_tiny_patch16_224"
ROWS = [
    # network, tokens or pixels, samples, format
    (TEXT, 32, 16, "bfloat16"),
    (TEXT, 64, 16, "bfloat16"),
    (TEXT, 128, 16, "bfloat16"),
    (TEXT, 256, 16, "bfloat16"),
    (TEXT, 128, 16, "float32"),
    (TEXT, 256, 16, "float32"),
    (PICTURES, 96, 32, "bfloat16"),
    (PICTURES, 224, 32, "bfloat16"),
]
STEPS = 5


def step(row: list[Any], steps: int, ways: list[str]) -> dict[str, Any]:
    """Median seconds of a step each way, in turns."""
    import torch

    from headstart.core.allocator import freed_memory_kept
    from headstart.core.memory import peak_memory_mb
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.attention import attention_in_parts
    from headstart.train.precision import autocast, norms_in_float32

    name, size, count, dtype = row
    device, kind = torch.device("cpu"), getattr(torch, dtype)
    if name == TEXT:
        backbone = open_model(name, Wanted(size, 3, modality="text"))
        lengths = torch.linspace(size // 2, size, count).round().long()
        begun = {"ids": torch.randint(5, 20_000, (count, size)), "mask": torch.arange(size) < lengths[:, None]}
    else:
        backbone = open_model(name, Wanted(size, 3))
        begun = backbone.begin({"x": torch.rand(count, 3, size, size)})
    backbone.train()
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with freed_memory_kept():
        for _ in range(steps + 1):
            for way in ways:
                start = time.perf_counter()
                inside = attention_in_parts(backbone, device) if way == "parts" else nullcontext()
                with norms_in_float32(backbone, kind, device):
                    with autocast(kind, device), inside:
                        loss = backbone.pool(backbone.run(begun)).float().square().mean()
                    loss.backward()
                backbone.zero_grad()
                seconds[way].append(time.perf_counter() - start)
    return {way: float(np.median(s[1:])) for way, s in seconds.items()} | {"mb": round(peak_memory_mb())}


def run(row: tuple, steps: int, ways: list[str]) -> dict[str, Any]:
    call = [sys.executable, __file__, "--one", json.dumps([row, steps, ways])]
    return json.loads(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def table(kept: dict[str, Any]) -> str:
    lines = ["| a training step of | format | PyTorch, s | in parts, s | ratio | memory |", "|---" * 6 + "|"]
    for r in kept["rows"]:
        name, size, count, dtype = r["row"]
        what = f"MiniLM, {count} texts of {size} tokens" if name == TEXT else f"ViT-tiny, {count} pictures of {size} px"
        ratio, memory = r["pytorch"] / r["parts"], f"{r['mb']['parts']:,} MB ({r['mb']['pytorch']:,})"
        lines.append(f"| {what} | {dtype} | {r['pytorch']:.3f} | {r['parts']:.3f} | {ratio:.2f}× | {memory} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(step(*json.loads(asked.one))))
        return
    if not asked.table:
        rows = []
        for row in ROWS:
            both = run(row, STEPS, ["pytorch", "parts"])
            memory = {way: run(row, 1, [way])["mb"] for way in ("pytorch", "parts")}
            rows.append({"row": row, **both, "mb": memory})
            print(row, rows[-1], file=sys.stderr, flush=True)
        kept = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "rows": rows}
        STORE.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
