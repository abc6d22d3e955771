"""A question with a few options, which stay in sight below a text that is longer than the
screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one

from tui.actions import bindings
from tui.screens.base import Overlay
from widgets.footer import KeyFooter, KeyHint
from widgets.styled_line import Line
from widgets.text_view import Paragraph, StatusLine, TextView

MAX_OPTION_HINTS = 3
"""With more options the footer has no room for their letters beside the other keys."""
_OPTION = "option:"


class DialogOption(NamedTuple):
    """One option."""

    key: str
    """The letter that chooses it; also the result."""
    label: str
    detail: str = ""


class ConfirmDialog(Overlay[str]):
    """The dialog; its result is the key of the option, "" for none."""

    SCOPE = "confirm"
    HAS_HELP = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("confirm")
    text_view = query_one(TextView)

    def __init__(self, title: str, lines: Sequence[str], options: Sequence[DialogOption]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._options = options
        self._cursor = 0

    def compose_body(self) -> ComposeResult:
        title = StatusLine(id="title")
        title.set_lines(((" ", ""), (self._title, "title")))
        yield title
        text_view = TextView()
        text_view.can_focus = False  # with the focus it would take the arrows, to scroll
        yield text_view
        yield StatusLine(id="options")

    def on_mount(self) -> None:
        super().on_mount()
        self._update_text()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self._update_text()

    def _update_text(self) -> None:
        text = [Paragraph()]
        for line in self._lines:
            text += [Paragraph(((line, ""),), 2), Paragraph()]
        lines = [self._option_line(at) for at in range(len(self._options))]
        size = self.app.size
        room = size.height - 1 - self.message_line.display - self.key_footer.display
        together = [*text, *(Paragraph(line, 25) for line in lines)]
        needed = self.text_view.wrapped_height(size.width - 3, together)
        # At most so many that some of the text stays in sight, too.
        height = min(len(lines), max(room - 3, 1)) if needed > room else 0
        options = self.query_one("#options", StatusLine)
        options.display = bool(height)
        if height:
            first = max(0, self._cursor - height + 1)
            options.styles.height = height
            options.set_lines(*lines[first : first + height])
        self.text_view.set_paragraphs(text if height else together)
        self.update_message()

    def _option_line(self, at: int) -> Line:
        option, here = self._options[at], at == self._cursor
        return (
            ("▌ " if here else "  ", "accent"),
            (f"{option.key}  ", "key"),
            (f"{option.label:<18}  ", "strong" if here else ""),
            (option.detail, "muted"),
        )

    def default_message(self) -> Line:
        if not self.query_one("#options", StatusLine).display:
            return ()
        return ((" ", ""), ("The text is longer than the screen; page keys scroll it.", "muted"))

    def footer_hints(self) -> list[KeyHint]:
        """The letters of the options, if there are few, before the keys that every dialog has."""
        options = self._options if len(self._options) <= MAX_OPTION_HINTS else ()
        letters = [KeyHint(f"{_OPTION}{one.key}", one.key, one.label) for one in options]
        return [*letters, *super().footer_hints()]

    async def on_key_footer_pressed(self, message: KeyFooter.Pressed) -> None:
        # For an action, Textual calls the base class's own handler after this one.
        if message.action.startswith(_OPTION):
            message.prevent_default()
            self.dismiss(message.action.removeprefix(_OPTION))

    def on_key(self, event: events.Key) -> None:
        if any(event.key == answer.key for answer in self._options):
            event.stop()
            self.dismiss(event.key)

    def do_choose(self) -> None:
        self.dismiss(self._options[self._cursor].key)

    def do_close(self) -> None:
        self.dismiss("")

    def do_move(self, key: str) -> None:
        if key in ("pagedown", "pageup"):
            self.text_view.scroll_pages(1 if key == "pagedown" else -1)
            return
        self._cursor = (self._cursor + (1 if key in ("down", "j", "tab") else -1)) % len(
            self._options
        )
        self._update_text()
