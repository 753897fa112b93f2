"""What engines make of the same network, and what folding its batch norms saves: bare loops in float32, in turns.

    python benchmarks/engines.py            # measures, prints the table, stores results/engines.json
    python benchmarks/engines.py --table    # prints what is stored

Each way runs the same batch of 64 noisy pictures, pooled after the last stage. Ways take turns; of each, the ratio is
the median over rounds of PyTorch's time with its norms as they are to the way's own. Preparing an engine is not in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

STORE = Path(__file__).parent / "results" / "engines.json"
NETWORKS = (
    ("sample:efficientnet_lite0", 96),
    ("sample:efficientnet_lite0", 224),
    ("scratch:timm:resnet18", 96),
    ("scratch:timm:mobilenetv3_small_100", 96),
    ("scratch:timm:regnety_002", 96),
)
BATCH, ROUNDS, CALLS = 64, 9, 4
PLAIN = "PyTorch, norms as they are"


def measure(name: str, size: int) -> dict[str, Any]:
    from headstart.core.allocator import freed_memory_kept
    from headstart.features.engines import OpenVino, Torch
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.folding import SettledNorms

    class Plain(Torch):
        """The norms in passes of their own."""

        def prepare(self, state: dict[str, torch.Tensor]) -> None:
            self._norms = SettledNorms(None)

    backbone = open_model(name, Wanted(size)).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    place = (list(backbone.stages)[-1], 1)
    x = {"x": torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(0))}
    engines = {
        way: kind(backbone, [place], x)
        for way, kind in ((PLAIN, Plain), ("PyTorch, norms folded", Torch), ("OpenVINO", OpenVino))
    }
    seconds: dict[str, list[float]] = {way: [] for way in engines}
    made = {}
    with freed_memory_kept():
        for turn in range(ROUNDS + 1):
            for way, engine in engines.items():
                start = time.perf_counter()
                for _ in range(CALLS):
                    made[way] = engine.run(x)[place]
                if turn:  # the first fills memory and caches
                    seconds[way].append((time.perf_counter() - start) / CALLS)
    truth = made[PLAIN]
    return {
        "network": name.rpartition(":")[2],
        "size": size,
        "ways": {
            way: {
                "a second": BATCH / statistics.median(times),
                "ratio": statistics.median(a / b for a, b in zip(seconds[PLAIN], times, strict=True)),
                "relative gap": float((made[way] - truth).norm() / truth.norm()),
            }
            for way, times in seconds.items()
        },
    }


def table(rows: list[dict[str, Any]]) -> str:
    ways = list(rows[0]["ways"])
    lines = ["| pictures a second, float32 | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|"]
    for row in rows:
        cells = [
            f"{w['a second']:,.0f}" + ("" if way == PLAIN else f" ({w['ratio']:.2f}×)")
            for way, w in row["ways"].items()
        ]
        lines.append(f"| {row['network']}, {row['size']} px | " + " | ".join(cells) + " |")
    gap = max(w["relative gap"] for row in rows for w in row["ways"].values())
    return "\n".join([*lines, "", f"Features differ by at most {gap:.0e}, relative."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    if not parser.parse_args().table:
        rows = [measure(*network) for network in NETWORKS]
        STORE.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
