"""An input of several lines."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingsMap, BindingType
from textual.widgets import TextArea

from servedeck.serving.text import sanitize
from widgets.line_input import PlainInput

_EDITING_ACTIONS = {
    key: bindings[0].action
    for key, bindings in BindingsMap(TextArea.BINDINGS).key_to_bindings.items()
    if key not in ("ctrl+c", "super+c")  # the terminal copies what is selected with the mouse
}
"""Keys that move the cursor or change the text -> their action."""


class TextEditor(TextArea, inherit_bindings=False):
    """Handles keys in their order, removes escapes and control characters from pasted text, and
    takes at most `length_limit` characters. Tab leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = """
    TextEditor {
        background: $background;
        color: $foreground;
        padding: 0 0 0 1;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & .text-area--cursor-line { background: $background; }
        &:focus .text-area--cursor-line { background: $panel; }
        &:ansi .text-area--cursor-line { background: ansi_default; }
    }
    """

    def __init__(self, text: str = "", id: str | None = None, *, length_limit: int) -> None:
        super().__init__(sanitize(text), id=id, compact=True)
        self.cursor_blink = False
        self.length_limit = length_limit

    async def on_key(self, event: events.Key) -> None:
        # As in PlainInput: a binding would run after later keys of the same packet.
        if action := _EDITING_ACTIONS.get(event.key):
            event.stop()
            event.prevent_default()
            await self.run_action(action)
        elif (event.is_printable or event.key == "enter") and not self._has_room(1):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self._has_room(len(event.text)):
            # Textual calls the handler of TextArea after this one, which takes the text.
            event.text = sanitize(event.text)
        else:
            event.stop()
            event.prevent_default()

    def _has_room(self, more: int) -> bool:
        """Whether so many characters can be added, which is said if not."""
        if len(self.text) - len(self.selected_text) + more <= self.length_limit:
            return True
        self.post_message(PlainInput.LimitReached(self.length_limit))
        return False
