"""IMTL-G: equal projections on every task's gradient."""

from __future__ import annotations

from headstart.core.registry import register
from headstart.multitask.balancing.from_torchjd import FromTorchJD


@register(
    "balancing",
    "imtl-g",
    summary="the combination with equal projections on all gradients",
    source="Liu et al. 2021, Towards impartial multi-task learning (ICLR), by TorchJD",
    defaults={"any": {"reduction": "sum"}},
    needs=("gramian", "torchjd"),
)
class IMTLG(FromTorchJD):
    """w = v / sum(v) with v = G⁺ √diag(G): wᵀJ has the same projection on every g_i / |g_i|. Published as a mean.

    Weights may be negative. Scaling one task's gradient does not turn the direction.

    Source: L. Liu et al., "Towards impartial multi-task learning", ICLR 2021, section 3.1, in the closed form of P.
    Quinton, V. Rey, arXiv 2406.16232, appendix, which holds for gradients that depend on each other, too.
    """

    published = "mean"
    weighting = "IMTLGWeighting"
