"""Samples of time series: of the UCR and UEA archives, with their official splits."""

from __future__ import annotations

from functools import partial

from headstart.data.raw import Raw
from headstart.data.sample_info import SampleInfo
from headstart.data.series_files import join_ts, read_ts
from headstart.store.wheels import Wheel, fetch_members, is_fetched

AEON = Wheel("aeon", "1.6.0", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409")


def _members(problem: str) -> tuple[str, str]:
    return tuple(f"aeon/datasets/data/{problem}/{problem}_{part}.ts" for part in ("TRAIN", "TEST"))  # type: ignore[return-value]


def _read(problem: str) -> Raw:
    train, test = _members(problem)
    paths = fetch_members(AEON, {train: None, test: None})
    return join_ts([read_ts(paths[train]), read_ts(paths[test])], problem)


def _sample(name: str, problem: str, samples: int, classes: int, what: str) -> SampleInfo:
    train, test = _members(problem)
    return SampleInfo(
        name,
        "sequence",
        "single-label",
        samples,
        classes,
        f"{what}; official split, from the wheel aeon 1.6.0",
        "unknown (UCR/UEA archive, free for research)",
        partial(_read, problem),
        lambda: is_fetched(AEON, train) and is_fetched(AEON, test),
    )


SERIES_SAMPLES = (
    _sample("japanese-vowels", "JapaneseVowels", 640, 9, "nine speakers' vowels (Kudo et al. 1999), 12 channels"),
    _sample("gunpoint", "GunPoint", 200, 2, "hand movements with and without a gun (Ratanamahatana 2003)"),
    _sample("arrowhead", "ArrowHead", 211, 3, "outlines of projectile points (Ye, Keogh 2009)"),
    _sample("basic-motions", "BasicMotions", 80, 4, "smart watch, four motions, 6 channels (UEA archive)"),
    _sample("osuleaf", "OSULeaf", 442, 6, "outlines of leaves (Gandhi 2002)"),
    _sample("italy-power-demand", "ItalyPowerDemand", 1096, 2, "power demand of days by season (Keogh et al. 2006)"),
)
