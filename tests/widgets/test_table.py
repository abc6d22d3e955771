from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from styles.themes import DARK, DEFAULT_VARIABLES
from widgets.columns import AgeCell, Column, Row, layout_columns, with_widths
from widgets.styled_line import STYLE_CLASSES
from widgets.table import KeyedTable

COLUMNS = (
    Column("name", "NAME", min_width=8, max_width=20, priority=0),
    Column("status", "STATUS", min_width=8, max_width=20, priority=1),
    Column("note", "NOTE", min_width=10, max_width=30, priority=6),
    Column("age", "AGE", min_width=4, max_width=6, priority=2, align_right=True),
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class TableApp(App[None]):
    COMPONENT_CLASSES = STYLE_CLASSES
    CSS_PATH = ["../../styles/base.tcss", "../../styles/servings.tcss"]

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.messages: list[object] = []
        self.register_theme(DARK)
        self.theme = DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULT_VARIABLES)

    def compose(self) -> ComposeResult:
        yield KeyedTable(
            COLUMNS, format_age=lambda seconds: f"{int(seconds // 60)}m", clock=lambda: self.now
        )

    def on_mount(self) -> None:
        self.query_one(KeyedTable).focus()

    def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        self.messages.append((message.key, message.column))

    def on_keyed_table_header_clicked(self, message: KeyedTable.HeaderClicked) -> None:
        self.messages.append(message.column)

    def on_keyed_table_cell_hovered(self, message: KeyedTable.CellHovered) -> None:
        self.messages.append(("hover", message.key, message.column))

    @property
    def table(self) -> KeyedTable:
        return self.query_one(KeyedTable)

    def line_text(self, y: int) -> str:
        return self.table.render_line(y).text.rstrip()


def make_row(name: str, status: str = "Ready", note: str = "", minutes: int = 5) -> Row:
    return Row(name, (name, status, note, AgeCell(NOW - timedelta(minutes=minutes))))


def make_rows(*names: str) -> list[Row]:
    return [make_row(name) for name in names]


@pytest.fixture
def repaints(monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """Regions that the table asks to be drawn again; None for all of it."""
    asked: list[Region] = []
    original = KeyedTable.refresh

    def refresh(self: KeyedTable, *regions: Region, **options: bool) -> KeyedTable:
        if options.get("repaint", True) and not options.get("layout"):
            asked.extend(regions or [Region(0, 0, 999, 999)])
        return original(self, *regions, **options)

    monkeypatch.setattr(KeyedTable, "refresh", refresh)
    return asked


async def test_only_the_cells_that_differ_are_drawn_again(repaints):
    async with TableApp().run_test(size=(80, 10)) as pilot:
        table = pilot.app.table
        table.set_rows(make_rows("a", "b", "c"))
        await pilot.pause()
        repaints.clear()
        assert table.set_rows(make_rows("a", "b", "c")) == 0
        assert repaints == []
        assert table.set_rows([make_row("a"), make_row("b", "Error"), make_row("c")]) == 1
        (region,) = repaints
        assert (region.y, region.height) == (2, 1)
        assert region.width <= 20


async def test_the_cursor_stays_on_its_row_while_rows_move():
    async with TableApp().run_test(size=(80, 10)) as pilot:
        table = pilot.app.table
        table.set_rows(make_rows("a", "b", "c"))
        await pilot.press("j")
        assert table.cursor_key == "b"
        table.set_rows(make_rows("c", "x", "y", "b", "a"))
        assert (table.cursor_key, table.cursor) == ("b", 3)


async def test_an_unused_cursor_stays_on_its_row_unless_that_leaves_the_screen():
    async with TableApp().run_test(size=(80, 10)) as pilot:
        table = pilot.app.table
        table.set_rows([])
        table.set_rows(make_rows("b"))
        table.set_rows(make_rows("a", "b"))
        assert table.cursor_key == "b"
        table.set_rows(make_rows(*(f"x{number}" for number in range(20)), "b"))
        assert (table.cursor_key, table.scroll_offset.y) == ("x0", 0)
        table.keep_cursor_row()
        table.set_rows(make_rows(*(f"y{number}" for number in range(20)), "x0"))
        assert table.cursor_key == "x0"
        table.reset_cursor()
        table.set_rows(make_rows("a", "x0"))
        assert table.cursor_key == "a"


async def test_a_cursor_whose_row_is_gone_stays_on_its_line():
    async with TableApp().run_test(size=(80, 10)) as pilot:
        table = pilot.app.table
        table.set_rows(make_rows("a", "b", "c"))
        await pilot.press("j")
        table.set_rows(make_rows("a", "c"))
        assert table.cursor_key == "c"
        table.set_rows([])
        assert table.cursor_key is None


async def test_the_row_under_the_cursor_stays_in_sight():
    async with TableApp().run_test(size=(80, 6)) as pilot:
        table = pilot.app.table
        names = [f"n{number:02}" for number in range(40)]
        table.set_rows(make_rows(*names))
        await pilot.press("G")
        await pilot.pause()
        assert "n39" in pilot.app.line_text(5)
        table.set_rows(make_rows("n39", *names[:-1]))
        await pilot.pause()
        assert any("n39" in pilot.app.line_text(y) for y in range(1, 6))
        await pilot.press("g")
        await pilot.pause()
        assert pilot.app.line_text(1).split()[0] == "n39"


async def test_ages_tick_only_where_their_text_changes(repaints):
    async with TableApp().run_test(size=(80, 10)) as pilot:
        app = pilot.app
        app.table.set_rows([make_row("a", minutes=5), make_row("b", minutes=7)])
        await pilot.pause()
        repaints.clear()
        app.now = NOW + timedelta(seconds=30)
        assert app.table.update_ages() == 0
        assert repaints == []
        app.now = NOW + timedelta(seconds=61)
        assert app.table.update_ages() == 2
        assert all(region.width <= 6 for region in repaints)
        await pilot.pause()
        assert app.line_text(1).endswith("6m")


async def test_wide_characters_and_emoji_keep_the_columns_in_line():
    async with TableApp().run_test(size=(60, 10)) as pilot:
        app = pilot.app
        app.table.set_rows(
            [make_row("서빙-모델", "Ready"), make_row("🚀🚀", "Ready"), make_row("plain", "Ready")]
        )
        await pilot.pause()
        starts = set()
        for y in (1, 2, 3):
            strip = app.table.render_line(y)
            before = strip.text[: strip.text.index("Ready")]
            starts.add(sum(2 if ord(char) > 0x1100 else 1 for char in before))
        assert len(starts) == 1


async def test_columns_give_way_by_rank_and_wide_shows_all_with_the_name_pinned():
    async with TableApp().run_test(size=(30, 10)) as pilot:
        app = pilot.app
        app.table.set_rows([make_row("some-name", "Degraded", "a note that is long")])
        await pilot.pause()
        assert "NOTE" not in app.line_text(0)
        assert "AGE" in app.line_text(0)
        app.table.configure_columns(wide=True)
        await pilot.pause()
        for _ in range(5):
            await pilot.press("right")
        await pilot.pause()
        assert app.line_text(1).split()[0] == "some-name"
        assert "5m" in app.line_text(1)


async def test_the_sorted_column_is_marked():
    async with TableApp().run_test(size=(80, 10)) as pilot:
        app = pilot.app
        app.table.configure_columns(sorted_by=("name", True))
        app.table.set_rows(make_rows("a"))
        await pilot.pause()
        assert "NAME ▾" in app.line_text(0)


async def test_the_sorted_column_is_shown_where_others_have_no_room():
    """Without it nobody could see what the order is."""
    async with TableApp().run_test(size=(38, 10)) as pilot:
        table = pilot.app.table
        table.set_rows([Row("a", ("a long name of a task", "Ready", "note", "1m"), "Ready")])
        await pilot.pause()
        assert "note" not in table.visible_columns
        table.configure_columns(sorted_by=("note", False))
        await pilot.pause()
        assert "note" in table.visible_columns


async def test_clicks_and_hovers_name_the_row_and_the_column():
    app = TableApp()
    async with app.run_test(size=(80, 10)) as pilot:
        app.table.set_rows(make_rows("a", "b"))
        await pilot.pause()
        x = app.line_text(2).index("Ready")
        await pilot.hover(KeyedTable, offset=(x, 2))
        await pilot.click(KeyedTable, offset=(x, 2))
        await pilot.click(KeyedTable, offset=(1, 0))
        await pilot.pause()
        assert ("hover", "b", "status") in app.messages
        assert ("b", "status") in app.messages
        assert app.messages[-1] == "name"
        assert app.table.cursor_key == "b"


async def test_the_wheel_scrolls_and_keeps_the_cursor_in_sight():
    app = TableApp()
    async with app.run_test(size=(80, 6)) as pilot:
        app.table.set_rows(make_rows(*[f"n{number:02}" for number in range(40)]))
        await pilot.pause()
        await pilot._post_mouse_events([_scroll_down()], KeyedTable, offset=(3, 3), button=0)
        await pilot.pause()
        assert app.line_text(1).split()[0] == "n03"
        assert app.table.cursor_key == "n03"


def _scroll_down():
    from textual import events

    return events.MouseScrollDown


async def test_the_placeholder_stands_where_there_are_no_rows():
    app = TableApp()
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.set_placeholder(((("Nothing here.", "strong"),), (), (("Do this.", ""),)))
        await pilot.pause()
        shown = [app.line_text(y).strip() for y in range(10)]
        assert "Nothing here." in shown
        app.table.set_rows(make_rows("a"))
        await pilot.pause()
        assert "Nothing here." not in [app.line_text(y).strip() for y in range(10)]


def test_a_layout_never_leaves_the_width_it_has():
    for width in range(1, 120):
        places = layout_columns(COLUMNS, (40, 30, 50, 5), width)
        if places:
            last = places[-1]
            assert last.x + last.width <= max(width, 2)
            assert places[0].column == 0


def test_chosen_widths_are_those_of_the_columns():
    columns = with_widths(COLUMNS, {"status": 4, "note": 25, "age": 9})
    for wide in (False, True):
        places = layout_columns(columns, (8, 30, 3, 5), 100, wide=wide)
        assert [one.width for one in places] == [8, 4, 25, 9]
    narrow = layout_columns(columns, (40, 30, 50, 5), 30)
    assert [one.column for one in narrow] == [0, 1, 3]
    assert narrow[-1].x + narrow[-1].width <= 30
    for width in range(1, 120):
        chosen = with_widths(COLUMNS, {"name": 50, "status": 3})
        places = layout_columns(chosen, (40, 30, 50, 5), width)
        assert not places or places[-1].x + places[-1].width <= max(width, 2)


def test_a_changed_row_compares_by_value():
    assert replace(make_row("a")) == make_row("a")


async def test_another_theme_draws_every_cell_again(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(DARK, name="other", variables=DARK.variables | {"status-error": "#123456"})
    app = TableApp()
    async with app.run_test(size=(60, 10)) as pilot:
        app.register_theme(other)
        app.table.set_rows(
            [make_row("b"), Row("a", ((("a", "error"),), "Ready", "", AgeCell(NOW)))]
        )
        await pilot.pause()

        def colors() -> set[object]:
            return {part.style.color.name for part in app.table.render_line(2) if part.style}

        assert "#ff6b6b" in colors()
        refreshed: list[object] = []
        monkeypatch.setattr(app.table, "refresh", lambda *regions, **_: refreshed.append(regions))
        app.theme = other.name
        await pilot.pause()
        assert "#123456" in colors()
        assert () in refreshed
