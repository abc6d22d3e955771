"""Cards: their lines, the scrollbar and the cursor when they change."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.strip import Strip

from tests.tui.helpers import screen_text
from widgets.card_view import Block, CardLine, CardView


class CardApp(App[None]):
    def compose(self) -> ComposeResult:
        yield CardView()


def card(count: int) -> list[Block]:
    lines = [CardLine(((f"line {number}", ""),), number) for number in range(count)]
    return [Block("card", lambda _width: lines)]


async def test_another_number_of_lines_needs_no_layout_and_moves_the_scrollbar() -> None:
    app = CardApp()
    async with app.run_test(size=(40, 10)) as pilot:
        cards = app.query_one(CardView)
        cards.set_blocks(card(20))
        await pilot.pause()
        layouts = cards._layout_updates
        cards.set_blocks(card(100))
        assert cards._layout_updates == layouts
        await pilot.pause()
        assert cards.vertical_scrollbar.window_virtual_size == cards.virtual_size.height == 100
        assert cards.max_scroll_y == 90


async def test_fewer_lines_are_scrolled_into_view() -> None:
    app = CardApp()
    async with app.run_test(size=(40, 10)) as pilot:
        cards = app.query_one(CardView)
        cards.set_blocks(card(100))
        await pilot.pause()
        cards.focus()
        await pilot.press("end")
        await pilot.pause()
        assert "line 99" in screen_text(app)
        cards.set_blocks(card(12))
        await pilot.pause()
        assert cards.scroll_offset.y == 2 and cards.cursor_key == 11
        assert "line 2" in screen_text(app) and "line 11" in screen_text(app)
        cards.set_blocks(card(3))
        await pilot.pause()
        assert cards.scroll_offset.y == 0 and cards.cursor_key == 2
        assert screen_text(app).split() == ["line", "0", "line", "1", "line", "2"]


async def test_only_the_lines_that_differ_are_repainted() -> None:
    app = CardApp()
    async with app.run_test(size=(40, 10)) as pilot:
        cards = app.query_one(CardView)
        cards.set_blocks(card(8))
        await pilot.pause()
        drawn: list[int] = []
        render_line = cards.render_line

        def record(y: int) -> Strip:
            drawn.append(y)
            return render_line(y)

        cards.render_line = record  # type: ignore[method-assign]
        lines = card(8)[0].build(40)
        changed = [
            CardLine(((f"changed {number}", ""),), number) if number in (2, 3, 6) else line
            for number, line in enumerate(lines)
        ]
        cards.set_blocks([Block("card", lambda _width: changed)])
        await pilot.pause()
        assert sorted(set(drawn)) == [2, 3, 6]
        assert "changed 3" in screen_text(app) and "line 4" in screen_text(app)
        drawn.clear()
        cards.set_blocks([Block("card", lambda _width: changed)])
        await pilot.pause()
        assert not drawn
