from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from servedeck.serving.text import sanitise
from widgets.styled_line import cut, fitted, harmless, line_width, plain, spread, wrap

TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=120).map(sanitise)
LINE = st.lists(st.tuples(TEXT.map(harmless), st.sampled_from(["", "error"])), max_size=5).map(
    tuple
)


@given(LINE, st.integers(1, 60), st.integers(0, 20))
def test_wrapped_lines_fit_and_lose_no_word(line, width, hanging):
    lines = wrap(line, width, hanging)
    widest = max([cell_len(char) for char in plain(line)], default=1)
    assert all(line_width(each) <= max(width, widest) for each in lines)
    kept = "".join(plain(each).replace(" ", "") for each in lines)
    assert kept == plain(line).replace(" ", "")


@given(LINE, st.integers(0, 60))
def test_a_fitted_line_has_exactly_its_width(line, width):
    assert line_width(fitted(line, width)) == width


@given(TEXT.map(harmless), st.integers(0, 40))
def test_a_cut_text_has_exactly_its_width(text, width):
    assert cell_len(cut(text, width)) == width


def test_words_are_not_broken_where_a_blank_is_near():
    line = (("Back-off restarting failed container", "muted"),)
    assert [plain(each).rstrip() for each in wrap(line, 20, hanging=2)] == [
        "Back-off restarting",
        "  failed container",
    ]


def test_the_right_part_keeps_its_place_when_the_left_is_too_long():
    assert plain(spread((("a long left part", ""),), (("right", ""),), 14)) == "a long … right"


def test_escapes_that_reach_a_widget_do_not_reach_the_screen():
    assert harmless("a\x1b]52;c;UE9D\x07b\nc\x9b31m") == "ab c"
