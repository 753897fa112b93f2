"""Are there enough labelled samples of every class, and are classes equally frequent?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.words import counted, is_are, listed
from headstart.inspect.findings import Finding, finding

FEW = {"image": 20, "text": 50, "sequence": 10}
"""Samples of a class under which its own results are a matter of luck: rules of thumb, no theorem.

A share measured on 20 samples has an interval of 40 points at worst; benchmarks/sizes.py shows .93 with ten digits of a
class and .98 with fifty. Texts vary more; the small sets of the UCR archive of series have 10 to 30 of a class.
"""

UNEQUAL = 10.0
"""Ratio of the largest to the smallest class from which accuracy alone misleads."""


FEW_NUMBERS = 100
"""Labelled samples under which a regression is a matter of luck: R² of .5 on 100 has an interval .3 wide."""


ABSURD = 2.0
"""Gap beyond which values belong to another world, on the scale of asinh: seven times as far from the median.

So of 100 draws of 1,000 log-normal numbers (deviation 2 of the logarithm) three have one, of Pareto's (index 2) two, of
Student's (3 degrees of freedom) none; of draws of 100 numbers five, three and one.
"""

FEW_ABSURD = 0.05
"""Share of values beyond such a gap from which they are a group of their own."""


def examine_numbers(labels: np.ndarray, ids: Sequence[str]) -> list[Finding]:
    """Findings about the (n,) known numbers of the training part: how many there are, and those that cannot be."""
    found = []
    if len(absurd := _absurd(labels)):
        others = np.delete(labels, absurd)
        named = listed([f"{labels[i]:.6g} ({ids[i]})" for i in absurd])
        found.append(
            finding(
                "labels", "worth a look",
                f"{counted(len(absurd), 'training value')} {is_are(len(absurd))} far outside: {named}; all others lie "
                f"between {others.min():.6g} and {others.max():.6g}.",
                "Look at them. A value that is wrong has to be corrected or left out: a single one decides what is "
                "learned.",
                [ids[i] for i in absurd],
            )
        )  # fmt: skip
    if len(labels) < FEW_NUMBERS:
        text = f"There are only {len(labels):,} labelled training samples to learn a number from."
        found.append(finding("labels", "worth a look", text, f"Label more: {FEW_NUMBERS} at least."))
    return found


def _absurd(labels: np.ndarray) -> np.ndarray:
    """Positions of the few values beyond a wide gap, the farthest first.

    Distances from the median are measured in interquartile ranges, and beyond these by their logarithm: prices and
    counts have long tails, and no gaps in them.
    """
    low, middle, high = np.quantile(labels, [0.25, 0.5, 0.75]) if len(labels) else (0.0, 0.0, 0.0)
    if not high > low:
        return np.array([], dtype=np.int64)
    place = np.arcsinh((labels - middle) / (high - low))
    values = np.unique(place)
    gaps = np.flatnonzero(np.diff(values) > ABSURD)
    far = np.zeros(len(labels), dtype=bool)
    for end in [values[i + 1] for i in gaps if values[i + 1] > 0][:1]:
        far |= place >= end
    for end in [values[i] for i in gaps if values[i] < 0][-1:]:
        far |= place <= end
    if far.sum() > FEW_ABSURD * len(labels):
        return np.array([], dtype=np.int64)
    rows = np.flatnonzero(far)
    return rows[np.argsort(-np.abs(labels[rows] - middle), kind="stable")]


def examine_classes(counts: np.ndarray, names: Sequence[str], modality: str) -> list[Finding]:
    """Findings about the labelled training samples of each class.

    Parameters
    ----------
    counts
        (C,) samples of each class in the training part.
    names
        The classes.
    modality
        "image", "text" or "sequence".
    """
    found = []
    absent = [n for n, c in zip(names, counts, strict=True) if c == 0]
    if absent:
        found.append(
            finding(
                "classes", "serious",
                f"{len(absent)} of {len(names)} classes have no training sample: {listed(absent)}.",
                "Label some, or leave these classes out; until then every one of their samples counts as an error.",
            )
        )  # fmt: skip
    few = [f"{n} ({c})" for n, c in zip(names, counts, strict=True) if 0 < c < FEW[modality]]
    if few:
        found.append(
            finding(
                "classes", "worth a look",
                f"{len(few)} of {len(names)} classes have fewer than {FEW[modality]} training samples: {listed(few)}.",
                "Label more of them first; `--metric macro_f1` makes them count.",
            )
        )  # fmt: skip
    there = counts[counts > 0]
    if len(there) > 1 and (ratio := float(there.max() / there.min())) >= UNEQUAL:
        found.append(
            finding(
                "classes", "worth a look",
                f"The largest class has {ratio:,.0f} times as many samples as the smallest.",
                "Decide by `--metric balanced_accuracy` or macro_f1, which also weights classes in training.",
            )
        )  # fmt: skip
    return found
