"""Methods and validators that read the target alone."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.adapt.deep import Setting, build, names, without_source
from headstart.adapt.validators import Evidence, validate
from headstart.adapt.validators import names as validators
from headstart.core.errors import ConfigError

SETTING = Setting("label", 3, "plain")


def test_which_they_are() -> None:
    assert without_source() == ["pseudo-labels", "shot", "adabn", "tent"]


@pytest.mark.parametrize("name", ["shot", "pseudo-labels"])
def test_their_only_feed_is_the_target_without_labels(name: str) -> None:
    recipe = build(name, SETTING, source=False)
    feeds = [feed for objective in recipe.objectives for feed in objective.feeds]
    assert [(f.part, f.labels, f.paces) for f in feeds] == [("target", False, True)]
    assert recipe.alone


def test_beside_a_source_pseudo_labels_have_both() -> None:
    recipe = build("pseudo-labels", SETTING)
    assert {f.part for o in recipe.objectives for f in o.feeds} == {"train", "target"}
    assert not recipe.alone


@pytest.mark.parametrize("name", sorted(set(names()) - set(without_source())))
def test_others_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="needs source data"):
        build(name, SETTING, source=False)


def test_joined_ones_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be joined"):
        build("pseudo-labels+shot", SETTING, source=False)


@pytest.mark.parametrize("name", validators(source=False))
def test_validators_need_no_source(name: str) -> None:
    """They give a number without any source sample; those that look at answers only, the same as with some."""
    random = np.random.default_rng(0)
    p, q = random.dirichlet(np.ones(3), 20), random.dirichlet(np.ones(3), 40)
    x, z = random.normal(size=(20, 5)), random.normal(size=(40, 5))
    alone = validate(name, Evidence(p[:0], np.empty(0, np.int64), x[:0], q, z))
    assert np.isfinite(alone)
    if name != "class-ami":  # its axes are of both domains
        assert alone == validate(name, Evidence(p, np.arange(20) % 3, x, q, z))


def test_validators_that_need_one_are_not_named() -> None:
    assert set(validators()) - set(validators(source=False)) == {"iwcv", "dev", "reverse", "source-accuracy"}
