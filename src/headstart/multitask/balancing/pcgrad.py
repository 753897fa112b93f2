"""Gradient surgery."""

from __future__ import annotations

from headstart.core.registry import register
from headstart.multitask.balancing.from_torchjd import FromTorchJD


@register(
    "balancing",
    "pcgrad",
    summary="every gradient loses its part against each other one, then their sum",
    source="Yu et al. 2020, arXiv 2001.06782, by TorchJD",
    defaults={"any": {"reduction": "sum"}},
    needs=("gramian", "torchjd"),
)
class PCGrad(FromTorchJD):
    """For each i, over j != i in random order: where g_i·g_j < 0, g_i loses (g_i·g_j / |g_j|²) g_j; then the sum.

    Published as a sum. Projections use the other tasks' original gradients.

    Source: T. Yu et al., "Gradient surgery for multi-task learning", NeurIPS 2020, arXiv 2001.06782, algorithm 1.
    """

    weighting = "PCGradWeighting"
