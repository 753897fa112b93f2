"""Do two sets of samples come from the same place? A discriminator's leave-one-out ranking, tested by permutation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headstart.features.ridge import fit_ridge
from headstart.measure.ranking import area_under_roc

PERMUTATIONS = 199
PENALTY = 0.1
"""Of the discriminator, in units of the number of samples: standardised features, moderate."""


@dataclass(frozen=True)
class Shift:
    """How well a linear discriminator tells two sets apart.

    Attributes
    ----------
    auc
        Area under the ROC of its leave-one-out outputs: 0.5 for sets that look the same.
    p
        Share of permutations of the sets (itself included) that are told apart as well.
    outputs
        (N + M,) leave-one-out outputs, high for the second set.
    """

    auc: float
    p: float
    outputs: np.ndarray


def discriminate(a: Tensor, b: Tensor, seed: int = 0, permutations: int = PERMUTATIONS) -> Shift:
    """Test whether features (N, D) and (M, D) come from one distribution.

    A ridge discriminator is fitted to the true membership and to permuted ones at once: the decomposition of the
    features is the same, so 199 permutations cost a matrix product. The p-value is exact for any number of samples.

    Notes
    -----
    Classifier two-sample test: D. Lopez-Paz, M. Oquab, ICLR 2017 (arXiv 1610.06545); p-values that count the true
    membership among the permutations: B. Phipson, G. Smyth 2010.
    """
    x = torch.cat([a, b]).float()
    member = torch.zeros(len(x))
    member[len(a) :] = 1
    order = np.random.default_rng(seed)
    columns = torch.stack(
        [member, *(member[torch.as_tensor(order.permutation(len(x)))] for _ in range(permutations))], 1
    )
    held = fit_ridge(x, 2 * columns - 1, [PENALTY * len(x)]).held_out.numpy()
    one = np.ones((1, len(x)))
    values = np.array([area_under_roc(held[:, i], columns[:, i].numpy(), one)[0] for i in range(columns.shape[1])])
    return Shift(float(values[0]), float((values >= values[0]).mean()), held[:, 0])
