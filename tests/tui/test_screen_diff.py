import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip

from tui.internals.screen_diff import ScreenBuffer, strip_cells
from tui.internals.textual_private import LayoutUpdate

SIZE = Size(24, 4)
STYLES = [
    None,
    Style(),
    Style(bold=True),
    Style(color="red"),
    Style(bgcolor="blue", italic=True),
    Style(color="#102030", bgcolor="#405060", bold=True, underline=True),
    Style(color="#102030", bgcolor="#405060", reverse=True),
    Style(color="default", bgcolor="blue"),
]
CONSOLE = Console(color_system="truecolor", force_terminal=True)


def make_strip(parts, width):
    """A strip of exactly `width` cells; `parts` are pairs of text and style."""
    whole = Strip([Segment(text, style) for text, style in parts])
    return whole.adjust_cell_length(width, STYLES[1])


def make_update(y, *strips):
    return LayoutUpdate([[each] for each in strips], Region(0, y, SIZE.width, len(strips)))


def visible_cells(screen):
    """Every cell of the terminal: its text and its look."""
    return [[screen.buffer[y][x] for x in range(screen.columns)] for y in range(screen.lines)]


def make_terminal():
    screen = pyte.Screen(*SIZE)
    return screen, pyte.Stream(screen)


texts = st.text("ab ×│🚀서", max_size=30)
lines = st.lists(st.tuples(texts, st.sampled_from(STYLES)), max_size=4)


@given(st.lists(st.tuples(st.integers(0, SIZE.height - 1), lines), min_size=1, max_size=6))
def test_patches_leave_the_terminal_as_if_all_had_been_sent(changes):
    frame = ScreenBuffer()
    patched, by_patches = make_terminal()
    whole, by_lines = make_terminal()
    for y, parts in changes:
        line = make_strip(parts, SIZE.width)
        by_patches.feed(frame.make_patch(make_update(y, line), SIZE).render_segments(CONSOLE))
        by_lines.feed(f"\x1b[{y + 1};1H{line.render(CONSOLE)}")
    assert visible_cells(patched) == visible_cells(whole)


def test_what_is_shown_already_is_not_sent_again():
    frame = ScreenBuffer()
    line = make_strip([("srv-001  ", STYLES[2]), ("Ready", STYLES[3])], SIZE.width)
    assert frame.make_patch(make_update(0, line), SIZE).runs
    again = make_strip([("srv-001  ", Style(bold=True)), ("Ready", Style(color="red"))], SIZE.width)
    assert not frame.make_patch(make_update(0, again), SIZE).runs


def test_only_the_columns_that_differ_are_sent():
    frame = ScreenBuffer()
    frame.make_patch(
        make_update(0, make_strip([("srv-001     Ready     3", None)], SIZE.width)), SIZE
    )
    patch = frame.make_patch(
        make_update(0, make_strip([("srv-002     Ready     4", None)], SIZE.width)), SIZE
    )
    assert [(x, "".join(text for text, _ in cells)) for x, _, cells in patch.runs] == [
        (6, "2"),
        (22, "4"),
    ]


def test_all_is_sent_again_once_the_terminal_may_show_anything():
    frame = ScreenBuffer()
    line = make_strip([("a", None)], SIZE.width)
    frame.make_patch(make_update(0, line), SIZE)
    frame.invalidate()
    assert frame.make_patch(make_update(0, line), SIZE).runs


def test_all_is_sent_again_for_another_size():
    frame = ScreenBuffer()
    line = make_strip([("a", None)], SIZE.width)
    frame.make_patch(make_update(0, line), SIZE)
    assert frame.make_patch(make_update(0, line), Size(SIZE.width, SIZE.height + 1)).runs


def test_a_combined_character_takes_the_cells_that_the_terminal_gives_it():
    cells = strip_cells(Strip([Segment("e\u0301x서", None)]))
    assert [text for text, _style in cells] == ["e\u0301", "x", "서", ""]


def test_only_what_differs_from_the_style_before_is_sent():
    frame = ScreenBuffer()
    parts = [
        ("a", Style(color="#102030", bgcolor="#405060")),
        ("b", Style(color="#112233", bgcolor="#405060")),
        ("c", Style(color="#112233", bgcolor="#405060", bold=True)),
        ("d", Style(color="#112233", bgcolor="#405060")),
    ]
    line = Strip([Segment(text, style) for text, style in parts])
    sent = frame.make_patch(make_update(0, line), SIZE).render_segments(CONSOLE)
    assert sent == (
        "\x1b[1;1H"
        "\x1b[38;2;16;32;48;48;2;64;80;96ma"
        "\x1b[38;2;17;34;51mb"
        "\x1b[1mc"
        "\x1b[0;38;2;17;34;51;48;2;64;80;96md"
        "\x1b[m"
    )


def test_no_link_is_sent():
    frame = ScreenBuffer()
    line = Strip([Segment("docs", Style(link="https://example.com", bold=True))])
    sent = frame.make_patch(make_update(0, line), SIZE).render_segments(CONSOLE)
    assert sent == "\x1b[1;1H\x1b[1mdocs\x1b[m"
