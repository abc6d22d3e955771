from __future__ import annotations

import sys

import pytest
from textual import events

from tests.tui.terminal import Terminal
from tui.pasting import END, START, PasteParser

HOSTILE = "one\r\ntwo\x1bnq\x1b[31mred\x1b]0;title\x07\x1b[20\x1b[A 모델 " + "x" * 5000 + "\x1bq"


def told(data: str, size: int) -> list[str]:
    """The keys and pastes of `data` that comes in pieces of `size`."""
    parser = PasteParser()
    found = []
    for at in range(0, len(data), size):
        for event in parser.feed(data[at : at + size]):
            assert isinstance(event, (events.Key, events.Paste)), event
            found.append(event.key if isinstance(event, events.Key) else f"paste {event.text}")
    return found


@pytest.mark.parametrize("size", [1, 2, 5, 7, 4096, 100_000])
def test_what_is_pasted_is_one_text_and_presses_no_key(size: int) -> None:
    data = f"a\x1b[A{START}{HOSTILE}{END}b{START}{END}{START}c\0d{END}\x1b[Be"
    assert told(data, size) == [
        *("a", "up", f"paste {HOSTILE}", "b", "paste ", "paste cd", "down", "e"),
    ]


def test_a_paste_of_a_megabyte_is_read_at_once() -> None:
    assert told(f"{START}{'llama ' * 170_000}{END}", 4096) == ["paste " + "llama " * 170_000]


def test_an_escape_key_is_not_held_back() -> None:
    parser = PasteParser()
    assert list(parser.feed("\x1b")) == []
    assert [event.key for event in parser.feed("\x1b[A") if isinstance(event, events.Key)] == [
        "escape",
        "up",
    ]


def test_the_app_takes_what_is_pasted_for_text() -> None:
    code = "from tests.tui import terminal_app; from tui import pasting; pasting.guard();"
    terminal = Terminal([sys.executable, "-c", f"{code} terminal_app.main('fleet')"], (100, 30))
    try:
        terminal.wait(lambda: "servings" in terminal.text, "the list")
        terminal.press("/")
        terminal.wait(lambda: "enter keep" in terminal.text, "the filter")
        terminal.press(f"{START}lla\0ma\r\x1b[31m \x1b]0;t\x07 -\x1b\x11\x1bqwen{END}")
        terminal.wait(lambda: "/ llama -wen" in terminal.text, "what was pasted")
    finally:
        terminal.close()
