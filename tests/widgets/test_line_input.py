from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tests.tui.helpers import burst, wait_for
from widgets.line_input import LineInput


class Harness(App[None]):
    def compose(self) -> ComposeResult:
        yield LineInput(">")

    def on_mount(self) -> None:
        self.query_one(LineInput).input.focus()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ((*"abcx", "backspace", "d"), "abcd"),
        ((*"old", "ctrl+u", *"new"), "new"),
        ((*"bc", "home", "a", "end", "d"), "abcd"),
        ((*"one two", "ctrl+w", *"three"), "one three"),
        ((*"ac", "left", "b", "right", "d"), "abcd"),
        ((*"ab", "left", "delete", "c"), "ac"),
    ],
)
async def test_keys_of_one_packet_take_effect_in_their_order(
    keys: tuple[str, ...], text: str
) -> None:
    app = Harness()
    async with app.run_test() as pilot:
        line = app.query_one(LineInput)
        await wait_for(pilot, lambda: line.input.has_focus, "the focus")
        burst(pilot, *keys)
        await wait_for(pilot, lambda: line.text == text, f"{text}", timeout=3)
        await pilot.pause()
        assert line.text == text
