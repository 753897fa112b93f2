"""The registry: every method says what it is; names are unique; near names are given."""

from __future__ import annotations

import pytest

import headstart.finetune
import headstart.train.schedule  # noqa: F401  registers schedules
from headstart.core import registry
from headstart.core.errors import ConfigError
from headstart.core.registry import FAMILIES, get, methods, register


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_methods", {})


@pytest.mark.usefixtures("empty")
def test_registration() -> None:
    @register(
        "schedule",
        "flat",
        summary="s",
        source="p",
        defaults={"any": {"a": 1, "b": 1}, "cnn": {"b": 2}},
        needs=["teacher"],
    )
    def flat() -> int:
        return 7

    method = get("schedule", "flat")
    assert method.build is flat
    assert method.build() == 7
    assert method.needs == {"teacher"}
    assert method.defaults_for("cnn") == {"a": 1, "b": 2}
    assert method.defaults_for("rnn") == {"a": 1, "b": 1}


@pytest.mark.usefixtures("empty")
def test_what_is_refused() -> None:
    def one() -> None: ...

    def two() -> None: ...

    enter = register("update", "x", summary="s", source="p")
    enter(one)
    enter(one)  # the same, as a module that is imported anew does
    with pytest.raises(ValueError, match="registered twice"):
        enter(two)
    register("schedule", "x", summary="s", source="p")(two)  # another kind is another name
    with pytest.raises(ValueError, match="unknown families"):
        register("update", "y", summary="s", source="p", defaults={"mlp": {}})
    with pytest.raises(ValueError, match="a summary and a source"):
        register("update", "y", summary="s", source="")
    with pytest.raises(ConfigError, match=r"Unknown update 'z'"):
        get("update", "z")


def test_every_method_says_what_it_is() -> None:
    found = methods()
    assert len({(m.kind, m.name) for m in found}) == len(found) >= 9
    for method in found:
        assert method.summary
        assert method.source
        assert callable(method.build)
        assert method.name == method.name.lower()
        for family in FAMILIES:
            assert isinstance(method.defaults_for(family), dict)
    kinds = [m.kind for m in found]
    assert kinds == sorted(kinds, key=kinds.index), "methods of a kind stand together"
    assert {m.kind for m in methods("strategy")} == {"strategy"}
