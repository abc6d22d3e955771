"""The input of a form's focused field."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Input

from servedeck.serving.text import sanitize
from widgets.form_rows import TextField
from widgets.line_input import PlainInput

MAX_VALUE_LENGTH = 16_384
"""Maximum number of characters; longer text belongs in a ConfigMap or a Secret."""

_LINE_BREAK_MARK, _TAB_MARK = "⏎", "⇥"
"""How line breaks and tabs of a value are shown in a one-line input."""


def to_display(text: str) -> str:
    """A value as it is shown in an input; `from_display` reads it back."""
    if text.isprintable():
        return text
    marked = text.replace("\r\n", "\n").replace("\n", _LINE_BREAK_MARK).replace("\t", _TAB_MARK)
    return sanitize(marked)


def from_display(text: str) -> str:
    """The value of the text in an input."""
    return text.replace(_LINE_BREAK_MARK, "\n").replace(_TAB_MARK, "\t")


class FieldInput(PlainInput):
    """Edits one field after another. `path` is that of the field."""

    @dataclass
    class Edited(Message):
        """Something was typed."""

        input: FieldInput

    @dataclass
    class LinesPasted(Message):
        """Several lines, or an assignment, were pasted into the field of a variable at `path`."""

        path: str
        text: str

    def __init__(self) -> None:
        super().__init__(length_limit=MAX_VALUE_LENGTH)
        self.path = ""
        self._accepts_lines = False
        self._placeholder = ""
        self._original_text = ""

    def edit(self, field: TextField) -> None:
        """Show the text of another field, with its cursor."""
        self.path = field.path
        self._accepts_lines = field.accepts_lines
        self._placeholder = field.placeholder
        self._original_text = field.text
        self.password = field.masked
        with self.prevent(Input.Changed):
            self.value = to_display(field.text)
        end = len(self.value)
        self.cursor_position = end if field.cursor is None else min(field.cursor, end)
        self._update_placeholder()
        self._scroll_to_cursor(from_start=True)

    def on_resize(self) -> None:
        self._update_placeholder()
        self._scroll_to_cursor()

    def _update_placeholder(self) -> None:
        self.placeholder = self._placeholder or empty_text(self.size.width, self.app.no_color)

    def _scroll_to_cursor(self, *, from_start: bool = False) -> None:
        """Scroll to the cursor: the text, or the width, is another one."""
        if from_start:
            self.scroll_to(x=0, animate=False)
        column = self.cursor_screen_offset.x - self.content_region.x + self.scroll_offset.x
        self.scroll_to_region(Region(column, 0, 1, 1), force=True, animate=False)

    def index_at(self, column: int) -> int:
        """The character in a column of the input."""
        cells = column + self.scroll_offset.x
        for index, character in enumerate(self.value):
            cells -= 1 if self.password else cell_len(character)
            if cells < 0:
                return index
        return len(self.value)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """An equals sign ends a name; the screen binds it."""
        ends = key == "equals_sign" and self.path.endswith(".name")
        return not ends and super().check_consume_key(key, character)

    @property
    def text(self) -> str:
        """The value of the typed text; a value that cannot be shown counts until it is edited."""
        return (
            self._original_text
            if self.value == to_display(self._original_text)
            else from_display(self.value)
        )

    def show_text(self, text: str) -> None:
        """Show another value; the cursor stays where it is."""
        if text == self.text:
            return
        self._original_text = text
        cursor = self.cursor_position
        with self.prevent(Input.Changed):
            self.value = to_display(text)
        self.cursor_position = min(cursor, len(self.value))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self))

    def on_paste(self, event: events.Paste) -> None:
        lines = event.text.strip("\r\n")
        if self._accepts_lines and ("\n" in lines or (not self.value and "=" in lines)):
            event.stop()
            event.prevent_default()
            self.post_message(self.LinesPasted(self.path, event.text))


def empty_text(width: int, no_color: bool) -> str:
    """What marks an empty input of so many cells: an underline where there are no colors."""
    return "_" * max(width - 1, 0) if no_color else ""
