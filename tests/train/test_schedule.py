"""Schedules: bounded, one peak, no jumps, and the values of their sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import ConfigError
from headstart.core.registry import methods
from headstart.train.schedule import make_schedule

NAMES = [m.name for m in methods("schedule")]
warmups = st.one_of(st.none(), st.floats(0.01, 0.9))


def test_all_are_registered() -> None:
    assert set(NAMES) == {"constant", "cosine", "one-cycle", "slanted-triangular"}


@pytest.mark.parametrize("name", NAMES)
@given(warmup=warmups)
def test_shape(name: str, warmup: float | None) -> None:
    factor = make_schedule(name, warmup)
    values = np.array([factor(t) for t in np.linspace(0, 1, 401)])
    assert values.min() >= 0
    assert values.max() <= 1 + 1e-9
    assert values.max() > 0.95
    peak = int(values.argmax())
    assert (np.diff(values[: peak + 1]) >= -1e-9).all()
    assert (np.diff(values[peak:]) <= 1e-9).all()
    # No jump: between neighbours at most the slope of the steepest warm-up.
    assert np.abs(np.diff(values)).max() <= 2 * (1 / 400) / min(warmup or 0.1, 1 - (warmup or 0.25))


@pytest.mark.parametrize("name", NAMES)
@given(warmup=st.floats(0.01, 0.9))
def test_peak_is_where_the_warm_up_ends(name: str, warmup: float) -> None:
    factor = make_schedule(name, warmup)
    assert math.isclose(factor(warmup), 1.0, abs_tol=1e-9)
    assert factor(warmup / 2) < 1


@pytest.mark.parametrize("name", NAMES)
def test_no_warm_up(name: str) -> None:
    factor = make_schedule(name, 0.0)
    assert factor(0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("warmup", [None, 0.5])
def test_a_phase_of_one_step_takes_the_full_rate(name: str, warmup: float | None) -> None:
    assert make_schedule(name, warmup, 1)(0.0) == 1
    for t in (0.0, 0.3, 0.5):
        assert make_schedule(name, warmup, 2)(t) == make_schedule(name, warmup)(t)


@given(t=st.floats(0, 1))
def test_slanted_triangular_is_equation_3(t: float) -> None:
    """Howard & Ruder, eq. 3, with T steps, cut_frac .1, ratio 32."""
    steps, cut_frac, ratio = 1000, 0.1, 32
    cut, step = math.floor(steps * cut_frac), t * steps
    p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / cut_frac - 1))
    assert make_schedule("slanted-triangular")(t) == pytest.approx((1 + p * (ratio - 1)) / ratio, abs=1e-9)


def test_unknown_names_give_near_ones() -> None:
    with pytest.raises(ConfigError, match="'cosine'"):
        make_schedule("cosin")
