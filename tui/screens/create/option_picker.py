"""Choosing the value of a field, or typing another one."""

from __future__ import annotations

from collections.abc import Sequence

from tui.screens.pick import Choice, PickScreen

CUSTOM_VALUE_KEY = "\0"
"""Key of the choice for the typed text; no value can contain this character."""


class OptionPicker(PickScreen):
    """A list narrowed by typing; if custom values are allowed, the typed text can be chosen as it
    is."""

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        selected_key: str,
        *,
        typed: str = "",
        allow_custom: bool = False,
    ) -> None:
        super().__init__(title, choices, selected_key)
        self._typed = typed
        self._allow_custom = allow_custom

    def on_mount(self) -> None:
        super().on_mount()
        if self._typed:
            self.line_input.input.value = self._typed
            self.line_input.input.cursor_position = len(self._typed)

    def update_choices(self) -> None:
        super().update_choices()
        if not self._choices and not self.line_input.text:
            text = (
                "There is nothing to choose from; type the value."
                if self._allow_custom
                else "Nothing."
            )
            self.table.set_placeholder((((text, "muted"),),))

    def insert_text(self, text: str) -> None:
        """Handle letters that were meant for the input."""
        if self.is_mounted:
            self.line_input.input.insert_text_at_cursor(text)
        else:
            self._typed += text

    def matching_choices(self) -> list[Choice]:
        found = super().matching_choices()
        typed = self.line_input.text.strip()
        if self._allow_custom and typed and all(typed not in (one.key, one.label) for one in found):
            found.append(Choice(CUSTOM_VALUE_KEY, typed, "as typed"))
        return found

    def do_choose(self) -> None:
        if self.table.cursor_key == CUSTOM_VALUE_KEY:
            self.dismiss(self.line_input.text.strip())
        else:
            super().do_choose()
