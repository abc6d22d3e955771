"""Buttons on one line, beside the keys that do the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.message import Message
from textual.strip import Strip

from widgets.styled_line import Span
from widgets.text_view import StatusLine


class BarButton(NamedTuple):
    """A button, which does what a key does."""

    action: str
    label: str
    disabled: bool = False
    """It cannot be pressed now; it is shown struck through, and a press says why."""


class ButtonBar(StatusLine, can_focus=True, inherit_bindings=False):
    """As wide as its buttons. With the focus, left and right choose one, enter and space press it;
    keys of what is above the buttons are passed on to it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"buttons--button", "buttons--focused"}
    can_focus = True

    @dataclass
    class Pressed(Message):
        """A button was pressed."""

        action: str

    class ChoiceChanged(Message):
        """Enter now does something else: another button is chosen, or the focus came or went."""

    @dataclass
    class KeyPassed(Message):
        """A key of what is above the buttons was pressed."""

        key: str

    def __init__(self, passed_keys: Collection[str] = (), id: str | None = None) -> None:
        """`passed_keys` are those of what is above the buttons."""
        super().__init__(id=id)
        self._passed_keys = frozenset(passed_keys)
        self.display = False
        self._buttons: tuple[BarButton, ...] = ()
        self._at = 0
        """The button that enter presses."""
        self._regions: list[tuple[int, int]] = []

    @property
    def buttons(self) -> Sequence[BarButton]:
        return self._buttons

    @property
    def chosen(self) -> BarButton | None:
        """The button that enter presses; None without the focus."""
        return self._buttons[self._at] if self.has_focus and self._buttons else None

    def set_buttons(self, buttons: Sequence[BarButton]) -> None:
        """Show the buttons; none takes no space."""
        if tuple(buttons) == self._buttons:
            return
        self._buttons = tuple(buttons)
        self._at = min(self._at, max(len(buttons) - 1, 0))
        self._regions = []
        x = 0
        for one in buttons:
            end = x + cell_len(_shown(one))
            self._regions.append((x, end))
            x = end + 1
        self.display = bool(buttons)
        self.styles.width = x
        self._update_lines()

    @property
    def width_of_buttons(self) -> int:
        """Cells that they take, with one after the last."""
        return self._regions[-1][1] + 1 if self._regions else 0

    def choose(self, at: int) -> None:
        """Choose the button that enter presses."""
        self._at = at % max(len(self._buttons), 1)
        self._show_choice()

    def choose_next(self, step: int) -> bool:
        """Choose the next button or the previous one; False at the end."""
        at = self._at + step
        if not 0 <= at < len(self._buttons):
            return False
        self.choose(at)
        return True

    def _show_choice(self) -> None:
        self._update_lines()
        self.post_message(self.ChoiceChanged())

    def _update_lines(self) -> None:
        spans: list[Span] = []
        for at, one in enumerate(self._buttons):
            chosen = self.has_focus and at == self._at
            style_name = "struck" if one.disabled else "strong" if chosen else "key"
            spans += [(_shown(one), style_name), (" ", "")]
        self.set_lines(tuple(spans))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        if y or not self._regions:
            return strip
        parts: list[Strip] = []
        x = 0
        for at, (start, end) in enumerate(self._regions):
            name = "focused" if self.has_focus and at == self._at else "button"
            style = self.component_style(f"buttons--{name}", partial=True)
            parts += [strip.crop(x, start), strip.crop(start, end).apply_style(style)]
            x = end
        return Strip.join([*parts, strip.crop(x, strip.cell_length)])

    def on_click(self, event: events.Click) -> None:
        for one, (start, end) in zip(self._buttons, self._regions, strict=True):
            if start <= event.x < end:
                self.post_message(self.Pressed(one.action))

    def on_key(self, event: events.Key) -> None:
        match event.key:
            case "left" | "right":
                self.choose_next(-1 if event.key == "left" else 1)
            case "enter" | "space":
                if self._buttons:
                    self.post_message(self.Pressed(self._buttons[self._at].action))
            case key if key in self._passed_keys:
                self.post_message(self.KeyPassed(key))
            case _:
                return
        event.stop()
        event.prevent_default()

    def on_focus(self) -> None:
        self._show_choice()

    def on_blur(self) -> None:
        self._show_choice()


def _shown(button: BarButton) -> str:
    """The button with an outline that is seen without colors, too."""
    return f"[ {button.label} ]"
