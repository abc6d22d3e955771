from __future__ import annotations

import gc
import weakref

import pytest
from textual import events
from textual.app import App, ComposeResult

from tests.tui.helpers import post_keys, wait_for
from widgets.line_input import DEFAULT_LENGTH_LIMIT, LineInput, PlainInput


class LineInputApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LineInput(">")

    full = 0

    def on_plain_input_limit_reached(self) -> None:
        self.full += 1

    def on_mount(self) -> None:
        self.query_one(LineInput).input.focus()


async def test_what_does_not_fit_is_left_out_whole_and_what_is_there_can_be_shortened() -> None:
    app = LineInputApp()
    async with app.run_test() as pilot:
        line = app.query_one(LineInput)
        await wait_for(pilot, lambda: line.input.has_focus, "the focus")
        line.input.post_message(events.Paste("llama " * 200_000))
        line.input.post_message(events.Paste("a" * DEFAULT_LENGTH_LIMIT))
        await wait_for(pilot, lambda: app.full == 1, "the rejection")
        await wait_for(pilot, lambda: line.text == "a" * DEFAULT_LENGTH_LIMIT, "what fits")
        await pilot.press("b")
        await wait_for(pilot, lambda: app.full == 2, "the rejection of one more")
        assert line.text == "a" * DEFAULT_LENGTH_LIMIT
        line.input.value = "c" * (DEFAULT_LENGTH_LIMIT + 5)  # a draft may hold more
        await pilot.press("end", "backspace")
        assert line.text == "c" * (DEFAULT_LENGTH_LIMIT + 4)


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
    app = LineInputApp()
    async with app.run_test() as pilot:
        line = app.query_one(LineInput)
        await wait_for(pilot, lambda: line.input.has_focus, "the focus")
        post_keys(pilot, *keys)
        await wait_for(pilot, lambda: line.text == text, f"{text}")
        await pilot.pause()
        assert line.text == text


async def test_the_screen_keeps_no_input_that_was_removed() -> None:
    app: App[None] = App()
    async with app.run_test() as pilot:
        removed = []
        for _ in range(20):
            one = PlainInput()
            removed.append(weakref.ref(one))
            await app.mount(one)
            await one.remove()
            del one

        def is_released() -> bool:
            gc.collect()
            # Textual keeps what was last in its messages.
            return sum(each() is not None for each in removed) <= 3

        await wait_for(pilot, is_released, "the removed inputs to be released")
