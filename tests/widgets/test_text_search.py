"""Searching lines, and cutting a line at cells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from servedeck.serving.text import sanitize
from widgets import text_search
from widgets.text_search import (
    Hit,
    cells_before,
    display_text,
    find_hits,
    measure_width,
    slice_cells,
)

TEXTS = st.text(st.sampled_from("ab …가한e\u0301👍\t\x1b\u202e"), max_size=40).map(display_text)


def test_case_matters_only_if_the_searched_text_has_upper_case():
    lines = ["Model model", "", "a MODEL"]
    assert find_hits(lines, "model") == [Hit(0, 0, 5), Hit(0, 6, 11), Hit(2, 2, 7)]
    assert find_hits(lines, "Model") == [Hit(0, 0, 5)]
    assert find_hits(lines, "") == []
    assert find_hits(["a.c abc"], "a.c") == [Hit(0, 0, 3)]


def test_the_number_of_hits_is_limited(monkeypatch):
    monkeypatch.setattr(text_search, "MAX_HITS", 3)
    assert find_hits(["aa", "aa"], "a") == [Hit(0, 0, 1), Hit(0, 1, 2), Hit(1, 0, 1)]


def test_a_line_is_displayed_without_what_controls_a_terminal():
    assert display_text("a\tb") == "a    b"
    assert display_text("\x1b[31ma\nb\u202e") == "a b"


@given(TEXTS, st.integers(0, 50), st.integers(0, 30))
def test_a_slice_fits_and_nothing_is_lost(text: str, x: int, width: int):
    part = slice_cells(text, x, width)
    shown = cell_len(text[part.start : part.end])
    assert part.blanks_before + shown + part.blanks_after <= width
    before = cell_len(text[: part.start])
    assert before - part.blanks_before == min(x, cell_len(text)) or part.blanks_before == width
    if part.end < len(text):
        assert part.blanks_before + shown + part.blanks_after == width


@given(st.lists(TEXTS, max_size=5))
def test_the_widest_line(lines: list[str]):
    assert measure_width(lines) == max(map(cell_len, lines), default=0)


def test_a_long_line_of_wide_characters():
    text = "가" * 10_000
    assert cells_before(text, 5_000) == 10_000
    assert slice_cells(text, 10_001, 10) == (5_001, 5_005, 1, 1)
    assert slice_cells(text, 30_000, 10).start == len(text)


def test_sanitized_text_is_displayed_as_it_is():
    text = sanitize("e\u0301 가 👍")
    assert display_text(text) == text
