"""Tiny texts and series that tiny networks can learn, as a person would have them on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

GOOD = ("good", "great", "lovely", "bright", "happy", "warm", "kind")
BAD = ("bad", "awful", "dark", "cold", "sad", "cruel", "sour")
PLAIN = ("the", "film", "was", "story", "about", "people", "and", "felt", "as", "they", "had", "been", "in", "town")

WORDS = ("--model", "scratch:gru", "--arch", "layers=1,width=12,embedding=12", "--epochs", "1", "--max-length", "32")
WORDS += ("--guard", "off")
"""Options of a fit of texts that takes a second or two, and hands its network back however good it is."""
CURVES = ("--model", "scratch:gru", "--arch", "layers=1,width=12", "--epochs", "1", "--guard", "off")
"""Of a fit of series."""


def text(number: int, length: int = 9) -> str:
    """Text `number`: odd ones are good. The same on every call."""
    rng = np.random.default_rng(number)
    of = GOOD if number % 2 else BAD
    words = [str(rng.choice(of if rng.random() < 0.4 else PLAIN)) for _ in range(length)]
    return " ".join([str(rng.choice(of)), *words, f"n{number}"])


def label(number: int) -> str:
    return "pos" if number % 2 else "neg"


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV file."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def reviews(path: Path, count: int = 48, start: int = 0) -> Path:
    """A table of texts with a number, a label and a writer of each."""
    rows = [(i, text(i), label(i), f"w{i % 8}") for i in range(start, start + count)]
    return table(path, ("nr", "review", "sentiment", "writer"), rows)


def curves(count: int = 40, steps: int = 24, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, steps, 2) series, a slow or a fast wave beside noise, and (N,) which."""
    rng = np.random.default_rng(start)
    kinds = np.arange(start, start + count) % 2
    t = np.linspace(0, 2 * np.pi, steps)
    wave = np.sin((1 + 4 * kinds[:, None]) * t + rng.uniform(0, 6, (count, 1)))
    made = np.stack([wave, rng.normal(size=wave.shape)], 2) + 0.2 * rng.normal(size=(count, steps, 2))
    return made.astype(np.float32), kinds


def arrays(path: Path, count: int = 40, start: int = 0) -> Path:
    """An .npz file of series."""
    x, y = curves(count, start=start)
    np.savez(path, x=x, y=np.array(["slow", "fast"])[y])
    return path


def recordings(path: Path, people: int = 6, steps: int = 120, start: int = 0) -> Path:
    """A long table: two recordings of each person, 25 rows a second, one slow and one fast."""
    rows = []
    for person in range(start, start + people):
        x, y = curves(2, steps, start=2 * person)
        for series, kind in zip(x, y, strict=True):
            name = f"r{2 * person + int(kind)}"
            for i, (a, b) in enumerate(series):
                rows.append((name, i / 25, float(a), float(b), ("slow", "fast")[kind], f"p{person}"))
    return table(path, ("rec", "time", "ax", "ay", "activity", "person"), rows)
