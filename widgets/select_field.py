"""A form field with one of several values: drawn on one line, chosen by keys."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message

from widgets.form_parts import FormLine


class SelectField(FormLine, can_focus=True):
    """Shows the chosen value. Left and right select the previous or the next, space or a letter
    opens the list."""

    can_focus = True

    @dataclass
    class NeighborRequested(Message):
        """The previous or the next value was requested."""

        select_field: SelectField
        step: int

        @property
        def control(self) -> SelectField:
            return self.select_field

    @dataclass
    class OptionsRequested(Message):
        """The list was requested, narrowed by what was typed already."""

        select_field: SelectField
        typed: str

        @property
        def control(self) -> SelectField:
            return self.select_field

    def __init__(self, path: str, display_text: str = "", detail: str = "") -> None:
        super().__init__()
        self.path = path
        self._display_text = display_text
        self._detail = detail
        self._focused = False

    def on_mount(self) -> None:
        self._update_line()

    def set_display(self, display_text: str, detail: str = "") -> None:
        """Show another value."""
        if (display_text, detail) != (self._display_text, self._detail):
            self._display_text, self._detail = display_text, detail
            self._update_line()

    def _update_line(self) -> None:
        mark, style_name = ("◂▸", "key") if self._focused else ("▾ ", "muted")
        detail = ((f"  {self._detail}", "muted"),) if self._detail else ()
        self.set_lines(((self._display_text, ""), (f" {mark}", style_name), *detail))

    def on_focus(self) -> None:
        self._focused = True
        self._update_line()

    def on_blur(self) -> None:
        self._focused = False
        self._update_line()

    def on_click(self) -> None:
        self.post_message(self.OptionsRequested(self, ""))

    def on_key(self, event: events.Key) -> None:
        if event.key in ("left", "right"):
            self.post_message(self.NeighborRequested(self, -1 if event.key == "left" else 1))
        elif event.key == "space":
            self.post_message(self.OptionsRequested(self, ""))
        elif event.character and event.character.isprintable():
            self.post_message(self.OptionsRequested(self, event.character))
        else:
            return
        event.stop()
        event.prevent_default()
