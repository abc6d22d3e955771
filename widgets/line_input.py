"""A one-line input after a prompt, with one sentence about an error below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingsMap
from textual.containers import Horizontal
from textual.geometry import Size
from textual.getters import query_one
from textual.message import Message
from textual.reactive import Reactive
from textual.screen import Screen
from textual.signal import Signal
from textual.widget import Widget
from textual.widgets import Input

from servedeck.serving.text import one_line, sanitize
from widgets.text_view import StatusLine

EDITING_ACTIONS = {
    key: bindings[0].action
    for key, bindings in BindingsMap(Input.BINDINGS).key_to_bindings.items()
    if key not in ("ctrl+c", "super+c")  # the terminal copies what is selected with the mouse
}
"""Keys that move the cursor or change the text -> their action."""


def problem_mark(style_name: str) -> str:
    """The mark before a sentence under an input."""
    return " ✗ " if style_name == "error" else " ! "


DEFAULT_LENGTH_LIMIT = 1000
"""Maximum number of characters of a filter, a choice or a path."""


class PlainInput(Input):
    """An input that handles keys in their order, removes escapes and control characters from pasted
    text, and takes at most `length_limit` characters: each key takes time for all of them, and a
    document pasted by mistake would block the screen for minutes."""

    # The size of the text, which changes with each key. Textual's own lays the whole screen out
    # then, which takes longer than all else that a key does; no input here is as wide as its text.
    virtual_size = Reactive(Size(0, 0), layout=False)

    _selection_signal: Signal[Screen[Any]] | None = None
    """That of the screen, to which Textual's Input subscribes."""

    @dataclass
    class LimitReached(Message):
        """Text that exceeds the limit was ignored."""

        length_limit: int

        @property
        def text(self) -> str:
            return f"At most {self.length_limit:,} characters are allowed; the input was ignored."

    def __init__(
        self,
        placeholder: str = "",
        id: str | None = None,
        *,
        length_limit: int = DEFAULT_LENGTH_LIMIT,
    ) -> None:
        super().__init__(placeholder=placeholder, select_on_focus=False, validate_on=(), id=id)
        # Textual's own setter applies all styles, which are applied again when it is mounted.
        self.set_reactive(Input.compact, True)
        self.add_class("-textual-compact", update=False)
        self.cursor_blink = False
        self.length_limit = length_limit

    def on_mount(self) -> None:
        self._selection_signal = self.screen.text_selection_started_signal

    def on_unmount(self) -> None:
        # Textual subscribes with a function that holds the input (textual/signal.py: a weak key
        # does not help where its value refers to it), so that a screen that stays would keep it.
        if (signal := self._selection_signal) is not None:
            signal.unsubscribe(self)

    async def on_key(self, event: events.Key) -> None:
        # Textual runs a binding once the key has gone up through all parents; letters of the same
        # packet overtake it then, and a backspace takes away what was typed after it.
        if action := EDITING_ACTIONS.get(event.key):
            event.stop()
            event.prevent_default()
            await self.run_action(action)

    def replace(self, text: str, start: int, end: int) -> None:
        # Not Textual's max_length: that one keeps a value that is too long from being shortened.
        more = len(text) - len(self.value[min(start, end) : max(start, end)])
        if more > 0 and len(self.value) + more > self.length_limit:
            self.post_message(self.LimitReached(self.length_limit))
        else:
            super().replace(text, start, end)

    def on_paste(self, event: events.Paste) -> None:
        if len(event.text) > self.length_limit:
            event.stop()
            event.prevent_default()
            self.post_message(self.LimitReached(self.length_limit))
            return
        # Textual calls the handler of Input after this one, which takes the text.
        event.text = one_line(sanitize(event.text))


class LineInput(Widget):
    """Prompt and input on one line, and an error below it if there is one."""

    DEFAULT_CSS = """
    LineInput {
        height: auto;
        & > Horizontal { height: 1; }
        & Horizontal > StatusLine { width: 3; }
        & PlainInput { width: 1fr; }
        & > #problem { display: none; }
    }
    """
    input = query_one(PlainInput)

    def __init__(self, prompt: str, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._prompt = prompt
        self._placeholder = placeholder

    def compose(self) -> ComposeResult:
        prompt = StatusLine()
        prompt.set_lines(((" ", ""), (self._prompt, "key")))
        with Horizontal():
            yield prompt
            yield PlainInput(self._placeholder)
        yield StatusLine(id="problem")

    @property
    def text(self) -> str:
        return self.input.value

    def show_error(self, message: str, style_name: str = "error") -> None:
        """Show the sentence under the input, marked as the form marks it; "" shows none. The style
        "warning" is for what enter does all the same."""
        problem = self.query_one("#problem", StatusLine)
        line = ((problem_mark(style_name), style_name), (message, style_name)) if message else ()
        problem.set_text(line, max_lines=3, indent=3)
