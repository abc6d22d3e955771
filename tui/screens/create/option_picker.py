"""Choosing the value of a field, or writing another one."""

from __future__ import annotations

from collections.abc import Sequence

from tui.screens.pick import Choice, PickScreen

FREE = "\0"
"""Key of the choice that stands for what was typed; no value can hold this character."""


class ChooseScreen(PickScreen):
    """A list narrowed by typing; with `free`, what was typed can be taken as it is."""

    def __init__(
        self, title: str, choices: Sequence[Choice], at: str, *, typed: str = "", free: bool = False
    ) -> None:
        super().__init__(title, choices, at)
        self._typed = typed
        self._free = free

    def on_mount(self) -> None:
        super().on_mount()
        if self._typed:
            self.line.input.value = self._typed
            self.line.input.cursor_position = len(self._typed)

    def show_choices(self) -> None:
        super().show_choices()
        if not self._choices and not self.line.text:
            text = "There is nothing to choose from here; write it." if self._free else "Nothing."
            self.table.set_placeholder((((text, "muted"),),))

    def type(self, text: str) -> None:
        """Take letters that were meant for the input."""
        if self.is_mounted:
            self.line.input.insert_text_at_cursor(text)
        else:
            self._typed += text

    def choices(self) -> list[Choice]:
        found = super().choices()
        typed = self.line.text.strip()
        if self._free and typed and all(typed not in (one.key, one.label) for one in found):
            found.append(Choice(FREE, typed, "as it was typed"))
        return found

    def do_choose(self) -> None:
        if self.table.cursor_key == FREE:
            self.dismiss(self.line.text.strip())
        else:
            super().do_choose()
