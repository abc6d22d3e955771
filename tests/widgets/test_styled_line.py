from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from servedeck.serving.text import sanitize
from widgets.styled_line import (
    align_left_right,
    fit_line,
    fit_text,
    line_width,
    plain_text,
    sanitized,
    wrap,
)

TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=120).map(sanitize)
LINE = st.lists(st.tuples(TEXT.map(sanitized), st.sampled_from(["", "error"])), max_size=5).map(
    tuple
)


@given(LINE, st.integers(1, 60), st.integers(0, 20))
def test_wrapped_lines_fit_and_lose_no_word(line, width, hanging):
    lines = wrap(line, width, hanging)
    widest = max([cell_len(char) for char in plain_text(line)], default=1)
    assert all(line_width(each) <= max(width, widest) for each in lines)
    kept = "".join(plain_text(each).replace(" ", "") for each in lines)
    assert kept == plain_text(line).replace(" ", "")


@given(LINE, st.integers(0, 60))
def test_a_fitted_line_has_exactly_its_width(line, width):
    assert line_width(fit_line(line, width)) == width


def test_a_line_that_is_cut_between_two_parts_says_so() -> None:
    line = (("Requests ● ", "title"), ("requests ", ""), (" ", ""), ("1.07", "strong"))
    assert plain_text(fit_line(line, 20)) == "Requests ● requests…"
    assert plain_text(fit_line(line, 21)) == "Requests ● requests …"
    assert plain_text(fit_line(line, 11)) == "Requests ●…"
    assert plain_text(fit_line((*line[:2], ("   ", "")), 20)) == "Requests ● requests "


@given(TEXT.map(sanitized), st.integers(0, 40))
def test_a_cut_text_has_exactly_its_width(text, width):
    assert cell_len(fit_text(text, width)) == width


def test_a_text_that_is_cut_after_an_ellipsis_has_one() -> None:
    assert fit_text("Reading chat/qwen…; esc cancels it.", 19) == "Reading chat/qwen… "
    assert fit_text("Reading chat/qwen…; esc cancels it.", 18) == "Reading chat/qwen…"


def test_words_are_not_broken_where_a_blank_is_near():
    line = (("Back-off restarting failed container", "muted"),)
    assert [plain_text(each).rstrip() for each in wrap(line, 20, indent=2)] == [
        "Back-off restarting",
        "  failed container",
    ]


def test_the_right_part_keeps_its_place_when_the_left_is_too_long():
    assert (
        plain_text(align_left_right((("a long left part", ""),), (("right", ""),), 14))
        == "a long … right"
    )


def test_escapes_that_reach_a_widget_do_not_reach_the_screen():
    assert sanitized("a\x1b]52;c;UE9D\x07b\nc\x9b31m") == "ab c"
