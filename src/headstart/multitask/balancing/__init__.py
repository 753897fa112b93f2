"""Balancing methods: how much each task's loss or gradient counts. Importing this registers them.

The default is `equal`: with plain regularisation it matches or beats the special optimisers in V. Kurin et al., "In
defense of the unitary scalarization for deep multi-task learning", NeurIPS 2022, arXiv 2201.04122.
"""

from __future__ import annotations

import inspect
from typing import Any

from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.registry import get
from headstart.multitask.balancing import (
    aligned_mtl,
    cagrad,
    dwa,
    equal,
    famo,
    fixed,
    gls,
    gradnorm,
    gradvac,
    imtl_g,
    imtl_l,
    mgda,
    nash_mtl,
    pcgrad,
    rlw,
    uncertainty,
    upgrad,
)
from headstart.multitask.balancing.balancer import Balancer, Reduction, Seen

__all__ = [
    "Balancer",
    "Reduction",
    "Seen",
    "aligned_mtl",
    "cagrad",
    "dwa",
    "equal",
    "famo",
    "fixed",
    "gls",
    "gradnorm",
    "gradvac",
    "imtl_g",
    "imtl_l",
    "make_balancer",
    "mgda",
    "nash_mtl",
    "pcgrad",
    "rlw",
    "uncertainty",
    "upgrad",
]


def make_balancer(name: str, **options: Any) -> Balancer:
    """A balancing method by name.

    Parameters
    ----------
    name
        As `headstart methods --kind balancing` lists it.
    options
        What differs from the method's defaults, such as `reduction="mean"`.

    Raises
    ------
    ConfigError
        If there is no such method, it has no such option, or an option is out of range.

    Examples
    --------
    >>> make_balancer("dwa", temperature=1.0).reduction
    'sum'
    """
    build = get("balancing", name).build
    known = list(inspect.signature(build).parameters)
    for option in options:
        if option not in known:
            raise ConfigError(f"The balancing method {name!r} has no option {option!r}.", did_you_mean(option, known))
    balancer: Balancer = build(**options)
    return balancer
