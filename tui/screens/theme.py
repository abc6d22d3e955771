"""Choosing a theme: the screen has the colors of the one under the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from textual.theme import Theme
from textual.widgets import Input

from styles.themes import THEMES
from tui.screens.pick import Choice, PickScreen


def theme_choices(themes: Sequence[Theme]) -> list[Choice]:
    """The themes of servedeck, then those of Textual by name; the setting `theme` takes their
    names."""
    own = [one.name for one in THEMES]
    rest = sorted(one.name for one in themes if one.name not in own)
    kinds = {one.name: _kind(one) for one in themes}
    return [Choice(name, name, kinds[name]) for name in (*own, *rest)]


def _kind(theme: Theme) -> str:
    if theme.ansi:
        return "the terminal's own colors"
    return "dark" if theme.dark else "light"


class ThemePicker(PickScreen):
    """Its result is the name of a theme; with None the one before is shown again."""

    def __init__(self, themes: Sequence[Theme], current: str) -> None:
        super().__init__("Theme", theme_choices(themes), current)
        self._initial_theme = current

    def on_input_changed(self, event: Input.Changed) -> None:
        super().on_input_changed(event)
        self._preview()

    def do_move(self, key: str) -> None:
        super().do_move(key)
        self._preview()

    def _preview(self) -> None:
        if self.table.cursor_key is not None:
            self.app.theme = str(self.table.cursor_key)

    def do_close(self) -> None:
        self.app.theme = self._initial_theme
        super().do_close()
