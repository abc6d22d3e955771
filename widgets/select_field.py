"""A field of a form that holds one of several values: drawn on one line, chosen by keys."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message

from widgets.form_parts import FormBar


class ChoiceBox(FormBar, can_focus=True):
    """Shows the chosen value. Left and right take its neighbours, space or a letter asks for the
    whole list."""

    can_focus = True

    @dataclass
    class Stepped(Message):
        """The value beside this one is wanted."""

        box: ChoiceBox
        step: int

        @property
        def control(self) -> ChoiceBox:
            return self.box

    @dataclass
    class Wanted(Message):
        """The list is wanted, narrowed to what was typed already."""

        box: ChoiceBox
        typed: str

        @property
        def control(self) -> ChoiceBox:
            return self.box

    def __init__(self, path: str, shown: str = "", detail: str = "") -> None:
        super().__init__()
        self.path = path
        self._shown = shown
        self._detail = detail
        self._focused = False

    def on_mount(self) -> None:
        self._draw()

    def show(self, shown: str, detail: str = "") -> None:
        """Show another value."""
        if (shown, detail) != (self._shown, self._detail):
            self._shown, self._detail = shown, detail
            self._draw()

    def _draw(self) -> None:
        mark, tone = ("◂▸", "key") if self._focused else ("▾ ", "muted")
        detail = ((f"  {self._detail}", "muted"),) if self._detail else ()
        self.set_lines(((self._shown, ""), (f" {mark}", tone), *detail))

    def on_focus(self) -> None:
        self._focused = True
        self._draw()

    def on_blur(self) -> None:
        self._focused = False
        self._draw()

    def on_click(self) -> None:
        self.post_message(self.Wanted(self, ""))

    def on_key(self, event: events.Key) -> None:
        if event.key in ("left", "right"):
            self.post_message(self.Stepped(self, -1 if event.key == "left" else 1))
        elif event.key == "space":
            self.post_message(self.Wanted(self, ""))
        elif event.character and event.character.isprintable():
            self.post_message(self.Wanted(self, event.character))
        else:
            return
        event.stop()
        event.prevent_default()
