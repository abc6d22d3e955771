"""The text of a gateway's settings, whatever anybody has put there."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.settings_text import (
    MAX_LENGTH,
    SettingsTextError,
    parse_settings_text,
)

NO_YAML = "it is not YAML"
FRAGMENTS = (
    *("[", "]", "{", "}", ": ", "- ", "? ", "\n", " ", "&a ", "*a", "<<", "'", '"', "\\U7fffffff"),
    *("!!int ", "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!!pairs ", "|", "#"),
    *("0x", "0b_", "9" * 50, "1:", ".inf", ".nan", "1e999", "2001-99-99", "max_depth", "a"),
)
hostile_texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join),
    st.tuples(st.sampled_from(FRAGMENTS), st.integers(1, 3000)).map(lambda one: one[0] * one[1]),
)


@given(hostile_texts)
def test_any_text_is_settings_or_cannot_be_read(text: str) -> None:
    try:
        found = parse_settings_text(text)
    except SettingsTextError as error:
        assert str(error)
        return
    assert str(found) and yaml.safe_dump(found, sort_keys=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("a: 1\nb: 2.5\nc: x", {"a": 1, "b": 2.5, "c": "x"}),
        ("a: 2001-02-03\nd: [x, 9]", {"a": date(2001, 2, 3), "d": ["x", 9]}),
        ("a: 2001-99-99", {"a": "2001-99-99"}),
        ("a: " + "9" * 5000, {"a": "9" * 5000}),
        ("a: 0x" + "f" * 5000, {"a": "0x" + "f" * 5000}),
        ("a: 0b_", {"a": "0b_"}),
        ("a: !!timestamp x", {"a": "x"}),
        ('a: !!int ""', {"a": ""}),
    ],
)
def test_what_cannot_be_made_of_a_text_stays_text(text: str, found: dict[str, Any]) -> None:
    assert parse_settings_text(text) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 3000, "it is nested too deeply"),
        ("a: " + "[" * 50 + "]" * 50, "it is nested too deeply"),
        ("a: &x [1]\nb: *x", "it has an alias (*), in place of which write the value"),
        ("a: &x {c: 1}\nb: {<<: *x}", "it has an alias (*), in place of which write the value"),
        ("#" * (MAX_LENGTH + 1), "it has more than 16,384 characters"),
        ("- a", "it must have one setting a line, as in port: 8080"),
        ("3", "it must have one setting a line, as in port: 8080"),
        ("{", NO_YAML),
        ('a: "\\U7fffffff"', NO_YAML),
        ("a: !!bool x", NO_YAML),
        ("a: !!python/object:os.system x", NO_YAML),
        ("? [a]\n: 1", NO_YAML),
        ("\0", NO_YAML),
    ],
)
def test_why_a_text_cannot_be_read(text: str, reason: str) -> None:
    with pytest.raises(SettingsTextError) as caught:
        parse_settings_text(text)
    assert str(caught.value) == reason
