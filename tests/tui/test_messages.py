"""The message line of all screens."""

from __future__ import annotations

import pytest

from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.screens.base import MAX_MESSAGE_LINES

SENTENCE = (
    "The Pods are rejected: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: "
    "requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8; ask for more quota."
)


def last_lines(app: object, count: int) -> list[str]:
    """The lines above the footer."""
    return screen_text(app).splitlines()[-1 - count : -1]


@pytest.mark.parametrize("page", [False, True])
async def test_a_long_message_is_shown_on_several_lines_until_the_next_key(page: bool) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        if page:
            await pilot.press("enter")
            await wait_for_text(pilot, "Overview")
        app.screen.show_message(SENTENCE, "error")
        await wait_for_text(pilot, "ask for more quota.")
        shown = " ".join(line.strip() for line in last_lines(app, 3))
        assert SENTENCE in shown
        await pilot.press("j")
        await wait_for(pilot, lambda: "quota" not in screen_text(app), "the message cleared")
        assert app.screen.message_line.size.height == 1


async def test_the_cursor_stays_in_view_above_a_long_message() -> None:
    app = make_app()
    async with app.run_test(size=(80, 12)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("G")
        name = app.servings.selected_serving.key.name
        app.screen.show_message(SENTENCE, "error")
        await wait_for(pilot, lambda: app.screen.message_line.size.height == 2, "two lines")
        await wait_for_text(pilot, name)


async def test_a_message_that_is_too_long_is_cut_visibly() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        app.screen.show_message("word " * 200)
        await wait_for_text(pilot, "…")
        assert app.screen.message_line.size.height == MAX_MESSAGE_LINES
        assert last_lines(app, 1)[0].rstrip().endswith("…")


async def test_a_message_that_is_cut_has_no_two_blanks() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        app.screen.show_message(f"{'x' * 45} " * 9)
        await wait_for_text(pilot, "…")
        for line in last_lines(app, MAX_MESSAGE_LINES):
            assert "  " not in line.strip()


async def test_a_message_is_wrapped_anew_for_another_size() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        app.screen.show_message(SENTENCE)
        await wait_for(pilot, lambda: app.screen.message_line.size.height == 3, "three lines")
        await pilot.resize_terminal(200, 24)
        await wait_for(pilot, lambda: app.screen.message_line.size.height == 1, "one line")
        assert SENTENCE in screen_text(app)
