"""How cost and memory of extraction grow: with samples, with stages, with views.

    python benchmarks/growth.py            # measures, stores results/growth.json, prints the table
    python benchmarks/growth.py --table    # prints what is stored

Made-up pictures of 32 px (drawn when they are read, so that the data take no memory), EfficientNet-Lite0 at 64 px, the
engine named (trying several costs memory and time that do not grow with the samples), features onto disk; each row is
a process of its own and tells its peak resident memory.
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

STORE = Path(__file__).parent / "results" / "growth.json"
ENGINE = "openvino"
ROWS: dict[str, tuple[int, str, int]] = {
    # name: samples, places, views
    "1,000 samples": (1_000, "last", 1),
    "10,000 samples": (10_000, "last", 1),
    "100,000 samples": (100_000, "last", 1),
    "1,000 samples, every stage": (1_000, "every", 1),
    "1,000 samples, 4 views": (1_000, "last", 4),
}


class Pictures:
    """A torch-style data set of pictures that are drawn when they are read."""

    classes = ("a", "b")

    def __init__(self, count: int) -> None:
        self.count = count
        self.targets = np.arange(count) % 2

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        if not 0 <= i < self.count:
            raise IndexError(i)
        return np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8), int(self.targets[i])


def one(count: int, places: str, views: int) -> dict[str, Any]:
    import torch
    import torch.utils.data

    import headstart as hs
    from headstart.core.memory import peak_memory_mb
    from headstart.data.augment import POLICIES
    from headstart.features.engines import Engines
    from headstart.features.extract import extract, keep
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.reader import Reader

    class Own(Pictures, torch.utils.data.Dataset):
        pass

    data = hs.load_data(Own(count))
    backbone = open_model("sample:efficientnet_lite0", Wanted(64, 1)).to(memory_format=torch.channels_last).eval()
    backbone.augmentations = {f"view{k}": POLICIES["light"] for k in range(1, views)}
    reader, engines = Reader({"all": data}, backbone, 0, room=0), Engines(ENGINE)
    where = [(list(backbone.stages)[-1], 1)]
    before = peak_memory_mb()
    start = time.perf_counter()
    if places == "every":
        extract(backbone, reader, "all", None, engines=engines)
    else:
        for k in range(views):
            keep(backbone, reader, "all", where, f"view{k}" if k else "plain", engines)
    return {
        "seconds": time.perf_counter() - start,
        "before_mb": round(before),
        "peak_memory_mb": round(peak_memory_mb()),
        "engine": engines.notes,
    }


def run(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        call = [sys.executable, __file__, "--one", name]
        done = subprocess.run(
            call, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "HEADSTART_CACHE": cache}
        )
    return json.loads(done.stdout.splitlines()[-1])


def table(kept: dict[str, Any]) -> str:
    lines = ["| extraction | seconds | samples a second | peak memory |", "|---|---|---|---|"]
    for name, r in kept["rows"].items():
        count, _, views = ROWS[name]
        lines.append(
            f"| {name} | {r['seconds']:.1f} | {count * views / r['seconds']:,.0f} | {r['peak_memory_mb']:,} MB |"
        )
    few, many = (kept["rows"][n]["peak_memory_mb"] for n in ("10,000 samples", "100,000 samples"))
    return "\n".join([*lines, "", f"Peak memory at 100,000 samples is {many / few:.2f} times that at 10,000."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--one", choices=list(ROWS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*ROWS[asked.one])))
        return
    if not asked.table:
        kept = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "rows": {n: run(n) for n in ROWS}}
        STORE.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
