"""What the review says of its buttons, Edit and Deploy, and of what enter does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui.action_tables.action import Action
from tui.actions import ACTIONS_BY_ID, key_display
from widgets.button_bar import BarButton
from widgets.footer import KeyHint

_BUTTONS = (("review.edit", "Edit"), ("create.deploy", "Deploy"))
"""Action and label of each."""

_YAML_HELP = "Press ctrl+s to deploy. y shows objects, file and review in turn."
_REVIEW_HELP = "Press ctrl+s to deploy. Enter on a line, or a section's digit, edits."


def build_buttons(disabled_reason: Callable[[Action], str]) -> list[BarButton]:
    """The buttons at the bottom right of the review."""
    return [
        BarButton(name, label, bool(disabled_reason(ACTIONS_BY_ID[name])))
        for name, label in _BUTTONS
    ]


def pressed_action(name: str, *, path: str, shows_yaml: bool) -> Action:
    """The action of a button, where `path` is the field of the line under the cursor."""
    if name == "review.edit" and not path and not shows_yaml:
        return ACTIONS_BY_ID["create.previous"]  # no line is chosen: the whole step
    return ACTIONS_BY_ID[name]


def with_chosen_button(
    hints: Sequence[KeyHint], chosen: BarButton | None, action: Action | None
) -> list[KeyHint]:
    """The hints of the footer with what enter does first, if a button has the focus; `action` is
    what pressing it does."""
    if chosen is None or action is None:
        return list(hints)
    press = KeyHint(action.id, key_display("enter"), chosen.label.lower(), chosen.disabled)
    return [press, *(one for one in hints if one.action != "review.edit")]


def help_text(
    action: Action | None, disabled_reason: Callable[[Action], str], *, shows_yaml: bool
) -> str:
    """The help below the review: what a press of the chosen button does, or why it cannot be
    pressed; with None no button has the focus."""
    if action is None:
        return _YAML_HELP if shows_yaml else _REVIEW_HELP
    does = {
        "review.edit": "goes to the field of the line under the cursor.",
        "create.previous": "goes back to step 2.",
        "create.deploy": "deploys.",
    }[action.id]
    enter = disabled_reason(action) or f"Enter {does}"
    return f"{enter} Left and right choose a button; up and down go back to the review."
