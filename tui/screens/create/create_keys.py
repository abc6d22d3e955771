"""Which actions of the create form are possible and shown, by its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual.binding import BindingType

from servedeck.changes.deployer import DeployState
from tui.action_tables.action import Action
from tui.actions import scope_bindings

DEPLOYING_MESSAGE = "Deploying is in progress; wait for its result."

NOT_WHILE_DEPLOYING = (
    "deploy",
    "delete_created",
    "dry_run",
    "close",
    "previous",
    "load",
    "edit",
    "section",
)


def screen_bindings() -> list[BindingType]:
    """Bindings of all steps. Those of the fields take priority over the focused widget: text typed
    right after a key that moves the focus then goes to the new focus, however fast it comes."""
    form = (replace(one, priority=True) for one in scope_bindings("create", "form"))
    # Not the command line: it switches contexts, and letters are text here.
    others = (
        one for one in scope_bindings("review", "app") if one.id not in ("app.command", "app.help")
    )
    return [*form, *others]


def scopes(step: int) -> tuple[str, ...]:
    """Scopes of the actions of a step."""
    return ("create", "review" if step == 3 else "form")


def disabled_reason(
    action: Action,
    *,
    step: int,
    shows_yaml: bool,
    deploy_state: DeployState,
    deploy_disabled_reason: Callable[[], str],
) -> str:
    """Why the action is not possible, in a sentence; "" if it is."""
    name = action.name
    if name == "deploy" and step != 3:
        return "Step 3 deploys; ctrl+n goes to the next step."
    if name == "delete_created" and not deploy_state.created:
        return "Nothing to delete: nothing was created."
    if name in NOT_WHILE_DEPLOYING and (deploy_state.running or deploy_state.deployed):
        return DEPLOYING_MESSAGE
    if name == "deploy":
        return deploy_disabled_reason()
    if name == "edit" and shows_yaml:
        return "The YAML is read-only; y returns to the review, where lines can be edited."
    return ""


def in_footer(action: Action, *, step: int, shows_yaml: bool) -> bool:
    """Whether the action belongs to the step and the view."""
    if action.id == "create.deploy":
        return step == 3
    if action.id == "create.next":
        return step != 3
    if action.id in ("review.edit", "review.section"):
        return not shows_yaml
    return bool(action.footer_order)


def applies(action: Action, *, step: int, focused_path: str) -> bool:
    """Whether the action's key is bound: those of the fields are not in the review, nor those of
    the review in the fields."""
    if action.id == "form.edit_value":
        return step != 3 and focused_path.endswith(".name")
    return action.scope in (*scopes(step), "app")
