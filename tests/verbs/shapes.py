"""Tiny pictures that a tiny network can learn: a filled disc, a filled box, a thin line, on dark noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("box", "disc", "line")
SIDE = 20
QUICK = {"model": "scratch:timm:test_resnet", "image_size": 32, "stage": "last", "epochs": 1}
"""Options of a fit that takes a second or two."""


def draw(kind: str, number: int, side: int = SIDE) -> Image.Image:
    """Picture `number` of a kind: the same on every call."""
    rng = np.random.default_rng([number, KINDS.index(kind)])
    picture = Image.fromarray(rng.integers(0, 90, (side, side, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(picture)
    x, y = (int(v) for v in rng.integers(1, side // 3, 2))
    size = int(rng.integers(side // 3, side // 2))
    box, colour = (x, y, x + size, y + size), tuple(int(v) for v in rng.integers(120, 255, 3))
    if kind == "disc":
        pen.ellipse(box, fill=colour)
    elif kind == "box":
        pen.rectangle(box, fill=colour)
    else:
        pen.line(box, fill=colour, width=2)
    return picture


def folder(root: Path, count: int = 16, kinds: Sequence[str] = KINDS[:2], start: int = 0) -> Path:
    """A folder by class with `count` pictures of each kind."""
    for kind in kinds:
        (root / kind).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            draw(kind, i).save(root / kind / f"{i:03}.png")
    return root


def arrays(count: int = 16, kinds: Sequence[str] = KINDS[:2], start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, SIDE, SIDE, 3) pictures and (N,) names of their kinds, kinds in turn."""
    rows = [(kind, i) for i in range(start, start + count) for kind in kinds]
    return np.stack([np.asarray(draw(*row)) for row in rows]), np.array([kind for kind, _ in rows])
