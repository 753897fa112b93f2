from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from headstart.report.formats import clean, duration, label_text, number, setting, short_count

ANY = st.text(st.characters(codec=None), max_size=60)


@given(ANY, st.integers(3, 40))
def test_a_cleaned_name_is_short_printable_and_can_be_written(text, most):
    shown = clean(text, most)
    assert len(shown) <= most
    shown.encode("utf-8")
    assert not set(shown) & {"\n", "\x00", "\u202e", "\u2066"}


@given(ANY)
def test_cleaning_twice_changes_nothing(text):
    assert clean(clean(text)) == clean(text)


@given(st.floats(0, 1e9))
def test_durations_never_show_sixty_of_anything(seconds):
    shown = duration(seconds)
    assert "60 s" not in shown.split(" min ")[-1:]
    assert not shown.startswith("60.0")


@given(st.one_of(st.none(), st.floats()))
def test_numbers_never_say_nan(value):
    assert "nan" not in number(value)
    assert "inf" not in number(value)


def test_values_at_the_borders():
    assert number(math.nan) == "–"
    assert number(999.96) == "1000"
    assert duration(3599.6) == "1 h 0 min"
    assert short_count(9_999) == "9,999"
    assert label_text("[not json") == "[not json"
    assert label_text("3") == "3"
    assert setting({"a": {"b": None}}) == "a: b: –"
