from collections.abc import Callable

from textual.app import App, ComposeResult

from styles.themes import DARK, DEFAULT_VARIABLES
from tests.tui.helpers import wait_for
from widgets.log_view import LogView, Mark
from widgets.log_viewport import LogRow
from widgets.recent_lines import RecentLines
from widgets.styled_line import STYLE_CLASSES


class LogApp(App[None]):
    COMPONENT_CLASSES = STYLE_CLASSES
    CSS_PATH = ["../../styles/base.tcss", "../../styles/overlays.tcss"]

    def __init__(self, capacity: int = 1000) -> None:
        super().__init__()
        self.lines = RecentLines(capacity)
        self.register_theme(DARK)
        self.theme = DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULT_VARIABLES)

    def compose(self) -> ComposeResult:
        yield LogView()

    def on_mount(self) -> None:
        self.log_view.show(self.lines, self.lines.row)
        self.log_view.focus()

    @property
    def log_view(self) -> LogView:
        return self.query_one(LogView)

    def add(self, lines: list[str]) -> None:
        self.lines.extend(lines)
        self.log_view.note_appended()

    def visible_lines(self) -> list[str]:
        view = self.log_view
        return [view.render_line(y).text[:-1].rstrip() for y in range(view.size.height)]

    def bar(self) -> str:
        """The column at the right edge."""
        view = self.log_view
        return "".join(view.render_line(y).text[-1] for y in range(view.size.height))


def marks_at(row: int) -> Callable[[int], list[Mark | None]]:
    """A mark beside one row."""
    return lambda height: [Mark("!", "error") if y == row else None for y in range(height)]


def numbered_lines(start: int, stop: int) -> list[str]:
    return [f"line {number}" for number in range(start, stop)]


async def test_it_follows_the_end_until_the_reader_scrolls_up_and_again_at_the_end():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.press("k")
        assert not view.following
        held = app.visible_lines()
        app.add(numbered_lines(100, 200))
        await wait_for(pilot, lambda: view.lines_below == 100, "the lines")
        assert app.visible_lines() == held
        assert view.new_count == 100
        await pilot.press("G")
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 199", "the end")
        assert view.following


async def test_a_reader_keeps_the_line_while_the_ring_drops_older_ones():
    app = LogApp(capacity=100)
    async with app.run_test(size=(40, 10)) as pilot:
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.press("pageup")
        await pilot.pause()
        held = app.visible_lines()
        app.add(numbered_lines(100, 130))
        await wait_for(pilot, lambda: app.lines.dropped_count == 30, "the ring to turn")
        assert app.visible_lines() == held


async def test_wrapping_shows_all_of_a_long_line_and_keeps_the_place():
    app = LogApp()
    async with app.run_test(size=(20, 10)) as pilot:
        view = app.log_view
        app.add([f"{number} " + "word " * 10 for number in range(30)])
        await wait_for(pilot, lambda: app.lines.count, "the lines")
        await pilot.press("g")
        view.set_wrapping(True)
        await pilot.pause()
        assert "".join(app.visible_lines()).count("word") > 10
        assert app.visible_lines()[0].startswith("0 word")
        view.set_wrapping(False)
        await pilot.pause()
        assert app.visible_lines()[0].endswith("…")


async def test_a_wrapped_log_keeps_its_position_when_old_lines_are_dropped():
    app = LogApp(capacity=50)
    async with app.run_test(size=(20, 10)) as pilot:
        view = app.log_view
        view.set_wrapping(True)
        app.add([f"{number:03} " + "word " * 8 for number in range(50)])
        await wait_for(pilot, lambda: app.visible_lines()[-1], "the lines")
        await pilot.press("pageup")
        await pilot.pause()
        held = app.visible_lines()
        app.add([f"{number:03} " + "word " * 8 for number in range(50, 60)])
        await wait_for(pilot, lambda: app.lines.dropped_count == 10, "the ring to turn")
        assert app.visible_lines() == held


async def test_a_long_line_can_be_read_sideways():
    app = LogApp()
    async with app.run_test(size=(20, 5)) as pilot:
        app.add(["".join(f"{number:02}" for number in range(40))])
        await wait_for(pilot, lambda: app.visible_lines()[0], "the line")
        await pilot.press("right")
        await pilot.pause()
        assert app.visible_lines()[0].startswith("10111213")


async def test_the_cursor_moves_and_the_view_with_it():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        assert view.cursor is None
        await pilot.press("k", "k")
        assert view.cursor == 97
        assert app.visible_lines()[-1] == "line 99"  # still where they were
        await pilot.press(*["k"] * 8)
        assert (view.cursor, app.visible_lines()[0]) == (89, "line 89")
        await pilot.press("g")
        assert (view.cursor, app.visible_lines()[0]) == (0, "line 0")
        await pilot.press("j")
        assert (view.cursor, app.visible_lines()[0]) == (1, "line 0")


async def test_a_selection_goes_from_where_it_began_to_the_cursor():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.press("k")
        view.toggle_selection()
        await pilot.press("k", "k")
        assert view.selected == (96, 98)
        view.toggle_selection()
        assert view.selected == (96, 96)


async def test_the_mouse_selects_lines():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.mouse_down(view, offset=(3, 2))
        await pilot.hover(view, offset=(3, 5))
        await pilot.mouse_up(view, offset=(3, 5))
        assert view.selected == (92, 95)
        assert not view.following


class EvenLines:
    """Every other line of a hundred, the first ones."""

    end = 100

    def __init__(self, count: int = 50) -> None:
        self.count = count

    def numbers(self, start: int, stop: int) -> list[int]:
        return [2 * at for at in range(max(start, 0), min(stop, self.count))]

    def position(self, number: int) -> int:
        return max(0, min((number + 1) // 2, self.count))

    def holder(self, number: int) -> int:
        return self.position(number)


async def test_lines_that_are_left_out_keep_the_place():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        view.go_to(50)
        before = app.visible_lines().index("line 50")
        view.set_lines(EvenLines())
        assert app.visible_lines()[before - 1 : before + 2] == ["line 48", "line 50", "line 52"]
        view.set_lines(app.lines)
        assert app.visible_lines()[before - 1 : before + 2] == ["line 49", "line 50", "line 51"]


async def test_lines_that_were_left_out_before_the_pause_are_not_new():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        view.set_lines(EvenLines(40))
        view.set_following(False)
        view.set_lines(app.lines)
        assert view.new_count == 0
        app.add(numbered_lines(100, 103))
        assert view.new_count == 3


async def test_what_the_log_contains_is_marked_beside_it():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))

        view.show(app.lines, app.lines.row, marks_at(3))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        assert app.bar() == "│││!│││││█"
        await pilot.press("g")
        assert app.bar() == "█││!││││││"


async def test_marks_and_the_visible_part_of_few_wrapped_lines_are_beside_each_other():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add([f"line {number} " + "word " * 40 for number in range(6)])

        view.show(app.lines, app.lines.row, marks_at(5))
        view.set_wrapping(True)
        await wait_for(pilot, lambda: app.visible_lines()[-1].startswith("  word"), "the end")
        await pilot.press("g")
        assert app.visible_lines()[0].startswith("line 0")
        assert app.bar() == "██│││!││││"


async def test_a_pause_right_after_a_resize_keeps_the_end_in_view():
    app = LogApp()
    async with app.run_test(size=(40, 20)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        view._viewport.height = 30  # of the last paint; the terminal is smaller now
        view._viewport.invalidate()
        view._viewport.rows()
        view.set_following(False)
        assert app.visible_lines()[-1] == "line 99"


async def test_the_head_of_a_line_stays_when_the_rest_is_read_sideways():
    app = LogApp()
    async with app.run_test(size=(30, 5)) as pilot:
        text = "".join(f"{number:02}" for number in range(40))
        app.log_view.show(app.lines, lambda _: LogRow((("pod ", ""),), ((text, ""),)))
        app.add(["x"])
        await wait_for(pilot, lambda: app.visible_lines()[0], "the line")
        await pilot.press("right")
        await pilot.pause()
        assert app.visible_lines()[0].startswith("pod 101112")


async def test_a_line_of_a_million_characters_is_shown_in_part():
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.add(["x" * 1_000_000])
        await wait_for(pilot, lambda: app.visible_lines()[0], "the line")
        app.log_view.set_wrapping(True)
        assert all(len(line) <= 39 for line in app.visible_lines())


async def test_a_selection_reaches_to_the_end() -> None:
    app = LogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.press("g")
        view.toggle_selection()
        await pilot.press("G")
        assert view.selected == (0, 99)
        assert not view.following


async def test_all_of_a_wrapped_line_that_is_taller_than_the_screen_can_be_read() -> None:
    app = LogApp()
    async with app.run_test(size=(21, 5)) as pilot:
        view = app.log_view
        view.set_wrapping(True)
        app.add(["first", " ".join(f"{number:04}" for number in range(100)), "last"])
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "last", "the end")
        await pilot.press("g", "j")
        seen = set(" ".join(app.visible_lines()).split())
        for _ in range(60):
            await pilot.press("j")
            seen |= set(" ".join(app.visible_lines()).split())
        assert {f"{number:04}" for number in range(100)} <= seen
        assert app.visible_lines()[-1] == "last"


async def test_the_cursor_stays_in_view_when_there_is_less_space() -> None:
    app = LogApp()
    async with app.run_test(size=(40, 20)) as pilot:
        app.add(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.press("k")
        await pilot.resize_terminal(40, 8)
        await wait_for(pilot, lambda: app.log_view.size.height <= 8, "the new size")
        assert "line 98" in app.visible_lines()
