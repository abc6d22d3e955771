import tracemalloc

from textual.app import App, ComposeResult

from styles.themes import DARK, DEFAULT_VARIABLES
from tests.tui.helpers import wait_for
from widgets.stream_log import StreamLog
from widgets.styled_line import STYLE_CLASSES


class StreamLogApp(App[None]):
    COMPONENT_CLASSES = STYLE_CLASSES
    CSS_PATH = ["../../styles/base.tcss", "../../styles/overlays.tcss"]

    def __init__(self, capacity: int = 1000) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_theme(DARK)
        self.theme = DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULT_VARIABLES)

    def compose(self) -> ComposeResult:
        yield StreamLog(self.capacity, marker="── ")

    def on_mount(self) -> None:
        self.log_view.focus()

    @property
    def log_view(self) -> StreamLog:
        return self.query_one(StreamLog)

    def visible_lines(self) -> list[str]:
        view = self.log_view
        return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


def numbered_lines(start: int, stop: int) -> list[str]:
    return [f"line {number}" for number in range(start, stop)]


async def test_it_follows_the_end_until_the_reader_scrolls_up_and_again_at_the_end():
    app = StreamLogApp()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        view.write_lines(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.press("k")
        assert not view.following
        held = app.visible_lines()
        view.write_lines(numbered_lines(100, 200))
        await wait_for(pilot, lambda: len(view.lines) == 200, "the lines")
        assert app.visible_lines() == held
        assert view.lines_below == 101
        await pilot.press("G")
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 199", "the end")
        assert view.following


async def test_a_reader_keeps_the_line_while_the_ring_drops_older_ones():
    app = StreamLogApp(capacity=100)
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.log_view
        view.write_lines(numbered_lines(0, 100))
        await wait_for(pilot, lambda: app.visible_lines()[-1] == "line 99", "the end")
        await pilot.press("pageup")
        await pilot.pause()
        held = app.visible_lines()
        view.write_lines(numbered_lines(100, 130))
        await wait_for(pilot, lambda: view.dropped_count == 30, "the ring to turn")
        assert app.visible_lines() == held


async def test_wrapping_shows_all_of_a_long_line_and_keeps_the_place():
    app = StreamLogApp()
    async with app.run_test(size=(20, 10)) as pilot:
        view = app.log_view
        view.write_lines([f"{number} " + "word " * 10 for number in range(30)])
        await wait_for(pilot, lambda: view.lines, "the lines")
        await pilot.press("g")
        view.set_wrapping(True)
        await pilot.pause()
        assert "".join(app.visible_lines()).count("word") > 10
        assert app.visible_lines()[0].startswith("0 word")
        view.set_wrapping(False)
        await pilot.pause()
        assert app.visible_lines()[0].endswith("…")


async def test_a_wrapped_log_keeps_its_position_when_old_lines_are_dropped():
    app = StreamLogApp(capacity=50)
    async with app.run_test(size=(20, 10)) as pilot:
        view = app.log_view
        view.set_wrapping(True)
        view.write_lines([f"{number:03} " + "word " * 8 for number in range(50)])
        await wait_for(pilot, lambda: len(view.lines) == 50, "the lines")
        await pilot.press("pageup")
        await pilot.pause()
        held = app.visible_lines()
        view.write_lines([f"{number:03} " + "word " * 8 for number in range(50, 60)])
        await wait_for(pilot, lambda: view.dropped_count == 10, "the ring to turn")
        assert app.visible_lines() == held


async def test_a_long_line_can_be_read_sideways():
    app = StreamLogApp()
    async with app.run_test(size=(20, 5)) as pilot:
        app.log_view.write_lines(["".join(f"{number:02}" for number in range(40))])
        await wait_for(pilot, lambda: app.log_view.lines, "the line")
        await pilot.press("right")
        await pilot.pause()
        assert app.visible_lines()[0].startswith("10111213")


async def test_of_fifty_thousand_lines_at_once_none_is_lost():
    app = StreamLogApp(capacity=60_000)
    async with app.run_test(size=(120, 40)) as pilot:
        view = app.log_view
        line = "INFO 11-23 02:57:41 [loggers.py:118] Engine 000: Avg prompt throughput: 12.4" * 2
        for start in range(0, 50_000, 500):
            view.write_lines([f"{number} {line}" for number in range(start, start + 500)])
            await pilot.pause(0)
        await wait_for(pilot, lambda: len(view.lines) == 50_000, "all lines")
        assert view.lines[0].startswith("0 ") and view.lines[-1].startswith("49999 ")
        assert view.dropped_count == 0


async def test_a_full_ring_does_not_grow():
    app = StreamLogApp(capacity=2_000)
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.log_view
        view.write_lines(["x" * 100] * 4_000)
        await wait_for(pilot, lambda: len(view.lines) == 2_000, "the ring to fill")
        tracemalloc.start()
        for _ in range(20):
            view.write_lines(["y" * 100] * 2_000)
            await pilot.pause(0)
        await wait_for(pilot, lambda: view.lines[0][0] == "y", "the ring to turn")
        current, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert current < 3_000_000
