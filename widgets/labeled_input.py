"""A label and an input on one line, with a hint beside them, and an error below."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widget import Widget

from widgets.line_input import PlainInput, problem_mark
from widgets.text_view import StatusLine

MAX_PROBLEM_LINES = 3


class LabeledInput(Widget):
    """As narrow as its place; the label is short where the whole one does not fit."""

    DEFAULT_CSS = """
    LabeledInput {
        height: auto;
        & > Horizontal { height: 1; }
        & PlainInput { width: 1fr; }
        & Horizontal > #hint { width: 1fr; display: none; }
        & > #problem { display: none; }
    }
    """
    input = query_one(PlainInput)

    def __init__(self, label: str, short_label: str, hint: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._hint = hint
        self._labels = (label, short_label)
        self._label_line = StatusLine()
        self._problem = ""
        self._style_name = "warning"

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._label_line
            yield PlainInput()
            yield StatusLine(id="hint")
        yield StatusLine(id="problem")

    @property
    def text(self) -> str:
        return self.input.value

    def show_text(self, text: str) -> None:
        """Show another value, with the cursor at its end."""
        self.input.value = text
        self.input.cursor_position = len(text)

    def show_label(self, width: int, *, is_short: bool) -> None:
        """Show the label in `width` cells."""
        self._label_line.styles.width = width
        self._label_line.set_lines(((" ", ""), (self._labels[is_short], "strong")))

    def show_hint(self, input_width: int) -> None:
        """Show the hint beside an input of so many cells; 0 hides it."""
        hint = self.query_one("#hint", StatusLine)
        hint.display = bool(input_width)
        self.input.styles.width = input_width or "1fr"
        hint.set_lines(((" ", ""), (self._hint, "muted")))

    def show_error(self, message: str, style_name: str = "error") -> None:
        """Show the sentence under the input; "" shows none."""
        if (message, style_name) == (self._problem, self._style_name):
            return
        self._problem, self._style_name = message, style_name
        line = ((problem_mark(style_name), style_name), (message, style_name)) if message else ()
        problem = self.query_one("#problem", StatusLine)
        problem.set_text(line, max_lines=MAX_PROBLEM_LINES, indent=3)

    def on_resize(self) -> None:
        if message := self._problem:
            self._problem = ""
            self.show_error(message, self._style_name)
        if self.input.has_focus:
            self.scroll_visible(animate=False)  # what is wrong is below it
