"""Choosing one of the filters that are saved in the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from servedeck.serving.text import one_line, sanitize
from tui.screens.base import ActionScreen
from tui.screens.pick import Choice, PickScreen

NO_FILTERS = (
    'No filter is saved; add [filters] with lines such as broken = "status:error" to the settings.'
)


def pick_filter(
    screen: ActionScreen[Any], filters: Mapping[str, str], on_chosen: Callable[[str], None]
) -> None:
    """Let the operator choose; `on_chosen` gets the text of the filter."""
    if not filters:
        screen.show_message(NO_FILTERS, "warning")
        return

    def on_closed(name: str | None) -> None:
        if name is not None:
            on_chosen(filters[name])

    choices = [
        Choice(name, one_line(sanitize(name)), one_line(text)) for name, text in filters.items()
    ]
    screen.app.push_screen(PickScreen("Saved Filters", choices), on_closed)
