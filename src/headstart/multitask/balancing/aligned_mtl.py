"""Independent component alignment."""

from __future__ import annotations

from headstart.core.registry import register
from headstart.multitask.balancing.from_torchjd import FromTorchJD


@register(
    "balancing",
    "aligned-mtl",
    summary="gradients made orthogonal and of one length, that of the smallest component",
    source="Senushkin et al. 2023, arXiv 2305.19000, by TorchJD",
    defaults={"any": {"reduction": "sum"}},
    needs=("gramian", "torchjd"),
)
class AlignedMTL(FromTorchJD):
    """w = √λ_min V Λ^(-1/2) Vᵀ 1/T with G = V Λ Vᵀ, over the eigenvalues that are not zero.

    Published as a mean by TorchJD; LibMTL's and the authors' code give the sum, T times as much.

    Source: D. Senushkin et al., "Independent component alignment for multi-task learning", CVPR 2023, arXiv
    2305.19000, algorithm 1.
    """

    published = "mean"
    weighting = "AlignedMTLWeighting"
