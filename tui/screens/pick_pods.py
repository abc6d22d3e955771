"""The picker of the Pods whose logs are shown: all, one, or several marked ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import BindingType

from servedeck.fleet.views import PodView
from servedeck.serving.text import format_count
from tui.actions import bindings
from tui.screens.pick import Choice, PickScreen
from widgets.columns import Row

ALL_PODS = "*"
"""Key of the choice of all Pods; no Pod has that name."""

_SEPARATOR = " "


def chosen_names(result: str) -> frozenset[str] | None:
    """The names in the result of the picker; None for all Pods."""
    return None if result == ALL_PODS else frozenset(result.split(_SEPARATOR))


class PodPicker(PickScreen):
    """Its result is for `chosen_names`; None for no choice."""

    SCOPE = "pick_pods"
    BINDINGS: ClassVar[list[BindingType]] = bindings("pick", "pick_pods")

    def __init__(self, pods: Sequence[PodView], chosen: frozenset[str] | None) -> None:
        choices = [Choice(ALL_PODS, "All Pods", "merged by time, new ones too")]
        choices += [Choice(pod.name, pod.name, f"{pod.status}  {pod.message}") for pod in pods]
        names = [pod.name for pod in pods]
        first = next((name for name in names if chosen is not None and name in chosen), ALL_PODS)
        super().__init__("Logs of Pods", choices, first)
        self._marked = {name for name in names if chosen is not None and name in chosen}
        if len(self._marked) < 2:
            self._marked.clear()

    def scopes(self) -> tuple[str, ...]:
        return ("pick", *super().scopes())

    def build_row(self, choice: Choice) -> Row:
        row = super().build_row(choice)
        mark = "✓ " if choice.key in self._marked else "  " if self._marked else ""
        return replace(row, cells=(f"{mark}{choice.label}", *row.cells[1:]))

    def do_mark(self) -> None:
        key = self.table.cursor_key
        if isinstance(key, str) and key != ALL_PODS:
            self._marked ^= {key}
            self.update_choices()
            self.show_message(f"{format_count(len(self._marked), 'Pod')} marked.")

    def do_choose(self) -> None:
        if self._marked and self.table.cursor_key in self._marked:
            self.dismiss(_SEPARATOR.join(sorted(self._marked)))
        else:
            super().do_choose()
