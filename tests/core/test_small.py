"""Errors, notes and seeds: the small types that everything stands on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core import errors
from headstart.core.errors import HeadstartError, did_you_mean, near_names
from headstart.core.notes import Notes
from headstart.core.seeding import derive

parts = st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4)


def test_errors_carry_a_message_and_a_hint() -> None:
    error = errors.DataError("The folder is empty.", "Give another.")
    assert isinstance(error, HeadstartError)
    assert (error.what, error.hint, error.exit_code) == ("The folder is empty.", "Give another.", 2)
    assert str(error) == "The folder is empty.\nGive another."
    assert str(errors.ModelError("What.")) == "What."


@pytest.mark.parametrize(
    ("name", "known", "first"),
    [
        ("resnet5O", ["vgg16", "resnet50", "resnet18"], "resnet50"),
        ("lpft", ["probe", "lp-ft"], "lp-ft"),
        ("lite0", ["efficientnet_lite0", "efficientnet_lite1"], "efficientnet_lite0"),
    ],
)
def test_near_names(name: str, known: list[str], first: str) -> None:
    assert near_names(name, known)[0] == first
    assert repr(first) in did_you_mean(name, known)


def test_nothing_near() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b."
    assert did_you_mean("zzz", [str(i) for i in range(100)]) == ""
    assert did_you_mean("zzz", []) in ("", "Known: .")


@given(st.integers(0, 2**31), parts, parts)
def test_seeds_depend_on_every_part(seed: int, a: list[object], b: list[object]) -> None:
    assert 0 <= derive(seed, *a) < 2**63
    assert derive(seed, *a) == derive(seed, *a)
    kinds = [(type(p), p) for p in a] == [(type(p), p) for p in b]
    assert (derive(seed, *a) == derive(seed, *b)) == kinds
    assert derive(seed, *a) != derive(seed + 1, *a)
    assert derive(seed, 1) != derive(seed, "1")


def test_seeds_are_the_same_in_another_process() -> None:
    """Python's own hash is salted per process; these must not be."""
    code = "from headstart.core.seeding import derive; print(derive(3, 'view', 1, 'a/b.png'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == derive(3, "view", 1, "a/b.png")


def test_notes_do_not_repeat() -> None:
    notes, more = Notes(), Notes()
    notes.info("split", "15% held out.")
    notes.info("split", "15% held out.")
    notes.warn("split", "15% held out.")
    more.info("split", "15% held out.")
    more.warn("bn", "Frozen.")
    notes.extend(more)
    assert [(n.level, n.topic) for n in notes.items] == [("info", "split"), ("warning", "split"), ("warning", "bn")]
    assert Notes.from_json(notes.as_json()) == notes
