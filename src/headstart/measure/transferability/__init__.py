"""Transferability scores: how well will a pretrained network do on these data, judged without training it?

Every function is pure, takes what the frozen network says of N labelled samples and returns a number; higher is better
in all of them. Scores of different models are comparable only on the same samples. They rank; they do not predict an
accuracy, and a probe costs seconds more and says more (`SCORES` gives what each needs and where it comes from).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from headstart.measure.transferability.arrays import in_components
from headstart.measure.transferability.evidence import logme
from headstart.measure.transferability.geometry import gbc, parc, transrate
from headstart.measure.transferability.leep import leep, nce, nleep
from headstart.measure.transferability.scatter import h_score, shrunk_h_score

__all__ = [
    "SCORES",
    "Score",
    "gbc",
    "h_score",
    "in_components",
    "leep",
    "logme",
    "nce",
    "nleep",
    "parc",
    "shrunk_h_score",
    "transrate",
]


@dataclass(frozen=True)
class Score:
    """A transferability score.

    Attributes
    ----------
    function
        Takes what `needs` says, and labels.
    needs
        "features" (N, D), "probabilities" or "predictions" of the network's own head.
    regression
        Whether it is defined for numbers as labels.
    source
        Where it was published.
    """

    function: Callable[..., float]
    needs: Literal["features", "probabilities", "predictions"]
    regression: bool
    source: str


SCORES: dict[str, Score] = {
    "logme": Score(logme, "features", True, "You et al. 2021, arXiv 2102.11005"),
    "shrunk_h_score": Score(shrunk_h_score, "features", False, "Ibrahim et al. 2022, arXiv 2110.06893"),
    "h_score": Score(h_score, "features", False, "Bao et al. 2019, ICIP"),
    "transrate": Score(transrate, "features", False, "Huang et al. 2022, arXiv 2106.09362"),
    "gbc": Score(lambda x, y: gbc(in_components(x), y), "features", False, "Pándy et al. 2022, arXiv 2111.12780"),
    "nleep": Score(nleep, "features", False, "Li et al. 2021, arXiv 2011.11200"),
    "parc": Score(parc, "features", False, "Bolya et al. 2021, arXiv 2111.06977"),
    "leep": Score(leep, "probabilities", False, "Nguyen et al. 2020, arXiv 2002.12462"),
    "nce": Score(nce, "predictions", False, "Tran et al. 2019, arXiv 1908.08142"),
}
