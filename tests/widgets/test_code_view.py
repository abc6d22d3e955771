"""The widget of highlighted text: what is drawn, hits, and scrolling in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.strip import Strip

from servedeck.serving.text import sanitize
from servedeck.serving.yaml_text import object_lines
from styles.themes import ANSI, DARK, DEFAULT_VARIABLES
from tests.serving.test_yaml_text import HOSTILE
from widgets.code_view import MAX_DRAWN_LINES, CodeView
from widgets.styled_line import STYLE_CLASSES
from widgets.text_search import display_text, find_hits, measure_width


class KeyLine(NamedTuple):
    """A line "key: value"."""

    text: str

    def tokens(self) -> Iterator[tuple[int, str]]:
        yield self.text.find(":") + 1, "key"
        yield len(self.text), "string"


class CodeViewApp(App[None]):
    COMPONENT_CLASSES = STYLE_CLASSES
    CSS_PATH = ["../../styles/base.tcss"]

    def __init__(self, theme: str = DARK.name) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(ANSI)
        self.theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULT_VARIABLES)

    def compose(self) -> ComposeResult:
        yield CodeView()

    def on_mount(self) -> None:
        self.view.focus()

    @property
    def view(self) -> CodeView:
        return self.query_one(CodeView)

    def show(self, *texts: str, **options: object) -> None:
        width = measure_width(map(display_text, texts))
        self.view.set_lines([KeyLine(text) for text in texts], width=width, **options)

    def rows(self) -> list[str]:
        return [self.view.render_line(y).text for y in range(self.view.size.height)]

    def search(self, needle: str, current: int | None = None) -> None:
        lines = [self.view.displayed_line(at) for at in range(len(self.view.lines))]
        self.view.set_hits(find_hits(lines, needle), current)


async def test_lines_are_cut_at_both_edges_and_scroll_sideways():
    app = CodeViewApp()
    async with app.run_test(size=(32, 4)) as pilot:
        app.show("key: " + "0123456789" * 10, "short: 1")
        assert app.rows()[0][:31] == "  key: 01234567890123456789012…"
        await pilot.press("right")
        assert app.rows()[0][:31] == "  …678901234567890123456789012…"
        assert app.rows()[1].rstrip() == "  …"
        await pilot.press(*["right"] * 5)
        assert app.rows()[0].rstrip() == "  …" + ("0123456789" * 10)[-28:]
        await pilot.press(*["left"] * 6)
        assert app.rows()[1].rstrip() == "  short: 1"


async def test_wide_and_hostile_text_keeps_the_cells_of_a_row():
    app = CodeViewApp()
    texts = ("가나다" * 20, "a" + "한" * 40, "\x1b[2Jx\u202e\ty" * 10, "e\u0301" * 60, "")
    async with app.run_test(size=(31, 6)) as pilot:
        app.show(*texts)
        for _ in range(6):
            for row in app.rows():
                assert cell_len(row) == app.view.inner_width
                assert row.isprintable()
            await pilot.press("right")


async def test_every_row_of_a_hostile_object_is_harmless_and_aligned():
    app = CodeViewApp()
    lines = object_lines({text: [text, {"name": text, "value": text}] for text in HOSTILE})
    width = measure_width(display_text(line.text) for line in lines)
    async with app.run_test(size=(41, 50)) as pilot:
        for left in (0, 1, 2, 7, 20):
            for top in range(0, len(lines), 50):
                app.view.set_lines(lines, width=width, top=top, left=left)
                for row in app.rows():
                    assert cell_len(row) == app.view.inner_width
                    assert row.isprintable()
                    assert sanitize(row) == row
        await pilot.pause()


async def test_a_line_of_a_million_characters():
    app = CodeViewApp()
    async with app.run_test(size=(40, 4)):
        app.show("key: " + "x" * 1_000_000 + "needle" + "y" * 100)
        app.search("needle")
        app.view.show_hit(0)
        assert "xneedley" in app.rows()[0]


def styles_of(app: CodeViewApp, row: int) -> dict[str, str]:
    """Text -> its style, of the pieces of a row."""
    return {one.text: str(one.style) for one in app.view.render_line(row) if one.text.strip()}


@pytest.mark.parametrize("theme", [DARK.name, ANSI.name])
async def test_tokens_hits_and_changes_look_different(theme: str):
    app = CodeViewApp(theme)
    async with app.run_test(size=(40, 4)):
        app.show("key: value value", "other: value", changed=[1])
        app.search("value", 1)
        first, second = styles_of(app, 0), app.view.render_line(1)
        assert list(first) == ["key:", "value"]
        pieces = [(one.text, one.style) for one in app.view.render_line(0)]
        texts = [text for text, _style in pieces]
        assert texts[:5] == ["  ", "key:", " ", "value", " "]
        assert texts[5] == "value"
        assert pieces[3][1] != pieces[5][1] != pieces[2][1]
        assert pieces[5][1].reverse
        assert pieces[1][1] != pieces[2][1]
        assert second.text.startswith("~ other: value")
        assert not app.rows()[2].strip()


async def test_a_hit_is_scrolled_to_only_if_it_is_not_visible():
    app = CodeViewApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.show(*[f"line: {number}" for number in range(100)])
        app.search("line: 5")
        app.view.show_hit(0)
        assert app.view.top == 0
        app.view.show_hit(1)
        assert app.view.top == 45
        assert app.view.current_hit == 1
        app.view.show_hit(2)
        assert app.view.top == 45
        await pilot.press("g")
        assert app.view.top == 0
        await pilot.press("G")
        assert app.view.top == 90
        await pilot.press("pageup", "k")
        assert app.view.top == 80


async def test_new_lines_keep_the_given_place_and_lose_the_hits():
    app = CodeViewApp()
    async with app.run_test(size=(40, 10)):
        app.show(*[f"line: {number}" for number in range(100)], top=30)
        app.search("line")
        assert app.view.top == 30
        app.show(*[f"line: {number}" for number in range(50)], top=49, left=7)
        assert app.view.top == 40
        assert not app.view.hits
        app.show("a: b", top=49)
        assert app.view.top == 0


async def test_a_key_draws_the_lines_that_were_not_drawn_before(monkeypatch: pytest.MonkeyPatch):
    app = CodeViewApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.show(*(f"key: {number} {'x' * 60}" for number in range(2 * MAX_DRAWN_LINES)))
        await pilot.pause()
        drawn, original = [], app.view.render_line

        def render_line(y: int) -> Strip:
            drawn.append(app.view.top + y)
            return original(y)

        monkeypatch.setattr(app.view, "render_line", render_line)

        async def drawn_by(*keys: str) -> list[int]:
            drawn.clear()
            await pilot.press(*keys)
            await pilot.pause()
            # What is kept is what would be drawn now.
            region = app.view.size.region
            for y, strip in enumerate(app.view.render_lines(region)):
                assert strip.text.rstrip() == original(y).text.rstrip()
            return drawn

        assert await drawn_by("j") == [10]
        assert await drawn_by("j", "k", "k") == [11]
        assert await drawn_by("right") == list(range(10))
        assert await drawn_by("left") == list(range(10))
        app.search("5", 0)
        assert await drawn_by() == list(range(10)), "the hits"
        app.show("other: 1", "lines: 2")
        assert await drawn_by() == list(range(10))
        drawn.clear()
        await pilot.resize_terminal(30, 5)
        await pilot.pause()
        assert set(drawn) == set(range(5))
        app.show(*(f"key: {number}" for number in range(2 * MAX_DRAWN_LINES)))
        for _ in range(2 * MAX_DRAWN_LINES // 4):
            await drawn_by("pagedown")
            assert len(app.view._drawn) <= MAX_DRAWN_LINES + 5


@pytest.mark.parametrize("theme", [ANSI.name, DARK.name])
async def test_another_theme_draws_the_lines_again(theme: str):
    other = DARK.name if theme == ANSI.name else ANSI.name
    app = CodeViewApp(theme)
    async with app.run_test(size=(40, 10)) as pilot:
        app.show("key: value")
        await pilot.pause()
        before = app.view.render_lines(app.view.size.region)
        app.theme = other
        await pilot.pause()
        after = app.view.render_lines(app.view.size.region)
        assert [strip.text for strip in after] == [strip.text for strip in before]
        assert [one.style for one in after[0]] != [one.style for one in before[0]]


async def test_a_resize_keeps_the_first_line():
    app = CodeViewApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.show(*[f"line: {number}" for number in range(100)], top=30)
        await pilot.resize_terminal(20, 5)
        assert app.view.top == 30
        await pilot.resize_terminal(80, 90)
        assert app.view.top == 10
