"""The input of several lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual import events
from textual.app import App, ComposeResult
from textual.keys import _character_to_key
from textual.pilot import Pilot

from servedeck.serving.text import sanitize
from widgets.line_input import PlainInput
from widgets.text_editor import TextEditor


class EditorApp(App[None]):
    def __init__(self, text: str, length_limit: int) -> None:
        super().__init__()
        self.editor = TextEditor(text, length_limit=length_limit)
        self.refusals = 0

    def compose(self) -> ComposeResult:
        yield PlainInput()
        yield self.editor

    def on_mount(self) -> None:
        self.editor.focus()

    def on_plain_input_limit_reached(self) -> None:
        self.refusals += 1


@asynccontextmanager
async def run_editor(
    text: str = "", length_limit: int = 100
) -> AsyncIterator[tuple[EditorApp, Pilot[None]]]:
    app = EditorApp(text, length_limit)
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        yield app, pilot


def post_keys(app: App[None], *keys: str) -> None:
    for key in keys:
        character = key if len(key) == 1 else None
        name = _character_to_key(key) if character else key
        app.post_message(events.Key(name, character))


async def test_keys_of_one_packet_have_their_effect_in_their_order() -> None:
    async with run_editor() as (app, pilot):
        post_keys(app, *"abc", "left", "backspace", *"d", "enter", *"e", "up", "end", *"f")
        await pilot.pause()
        assert app.editor.text == "adf\nec"
        post_keys(app, "ctrl+z", "f7", "delete", *"x")
        await pilot.pause()
        assert app.editor.text == "x"


async def test_escapes_of_its_text_and_of_what_is_pasted_are_removed() -> None:
    text = "a\x1b[31mb\u202e\x07\n\tc"
    async with run_editor(text) as (app, pilot):
        assert app.editor.text == sanitize(text)
        app.editor.text = ""
        app.post_message(events.Paste(text))
        await pilot.pause()
        assert app.editor.text == sanitize(text) == "ab\n    c"


async def test_no_text_is_taken_beyond_the_limit() -> None:
    async with run_editor("123456789", 10) as (app, pilot):
        post_keys(app, "ctrl+end", "end", "a", "b", "enter")
        await pilot.pause()
        assert app.editor.text == "123456789a"
        assert app.refusals == 2
        app.post_message(events.Paste("xy"))
        await pilot.pause()
        assert app.editor.text == "123456789a" and app.refusals == 3
        post_keys(app, "backspace")  # what is taken away makes room
        app.post_message(events.Paste("z"))
        await pilot.pause()
        assert app.editor.text == "123456789z"
        app.editor.select_all()
        app.post_message(events.Paste("0123456789"))
        await pilot.pause()
        assert app.editor.text == "0123456789"


async def test_tab_and_esc_are_left_to_the_screen() -> None:
    async with run_editor("a") as (app, pilot):
        await pilot.press("tab")
        assert not app.editor.has_focus
        assert app.editor.text == "a"
