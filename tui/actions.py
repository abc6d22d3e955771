"""The registry of actions: id, keys, label, help. Key bindings, footer, help, command line and the
user's keymap are derived from it. The actions themselves are in `tui/action_tables`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from textual.binding import Binding, BindingType

from tui.action_tables.action import DIGIT_KEYS, POD_KEYS, SECTION_KEYS, TAB_COUNT, TAB_KEYS, Action
from tui.action_tables.form_actions import FORM_ACTIONS
from tui.action_tables.inference_actions import INFERENCE_ACTIONS
from tui.action_tables.list_actions import LIST_ACTIONS
from tui.action_tables.metrics_actions import METRICS_ACTIONS
from tui.action_tables.operation_actions import OPERATION_ACTIONS
from tui.action_tables.page_actions import PAGE_ACTIONS
from tui.action_tables.pane_actions import PANE_ACTIONS
from tui.action_tables.queue_actions import QUEUE_ACTIONS
from tui.action_tables.scaling_actions import SCALING_ACTIONS
from tui.action_tables.shared_actions import SHARED_ACTIONS
from tui.action_tables.task_actions import TASK_ACTIONS
from tui.action_tables.task_dialog_actions import TASK_DIALOG_ACTIONS
from tui.action_tables.traffic_actions import TRAFFIC_ACTIONS

SCOPE_TITLES: Mapping[str, str] = {
    "servings": "Serving list",
    "filter": "Filter",
    "list_filter": "Filter of the serving list",
    "status": "Status popover",
    "connect": "Connect",
    "inference": "Test request",
    "serving": "Page of a serving",
    "describe": "Description",
    "overview": "Overview",
    "pod": "Pod",
    "value": "Value",
    "task": "One task of an async queue",
    "metrics": "Metrics",
    "query": "Queries of a graph",
    "objectives": "Objectives",
    "what_if": "What if: other settings of auto scaling",
    "log": "Logs",
    "queue": "Async Queue",
    "settings": "Settings",
    "events": "Events",
    "event": "One Event",
    "rollouts": "Rollouts",
    "difference": "Difference between revisions",
    "yaml": "YAML",
    "search": "Search",
    "timeline": "Timeline",
    "bundle": "Incident bundle",
    "forward": "Start a port-forward",
    "forwards": "Port-forwards",
    "run": "Command in a container",
    "output": "Output of a command",
    "create": "Create a serving",
    "form": "Create and edit: the fields",
    "edit": "Edit a serving",
    "review": "Create: review and deploy",
    "file": "File dialog",
    "save": "Save Changes",
    "confirm": "Dialog",
    "operation": "Dialog of an operation",
    "adoption": "Dialog of an adoption",
    "task_action": "Action on tasks",
    "concurrency": "Concurrency of an async queue",
    "test_request": "Test request to an async queue",
    "queue_on": "Turn an async queue on, or change its limits",
    "queue_limits": "Limits of an async queue",
    "traffic": "Traffic of an endpoint",
    "traffic_weight": "Weight of a traffic split",
    "traffic_plan": "Change of a traffic split",
    "pick": "Picker",
    "pick_pods": "Picker of Pods",
    "table": "List navigation",
    "help": "Help",
    "app": "Everywhere",
}
"""Title of each scope in the help, in the order of the help."""

ACTIONS: tuple[Action, ...] = (
    *LIST_ACTIONS,
    *FORM_ACTIONS,
    *OPERATION_ACTIONS,
    *TASK_DIALOG_ACTIONS,
    *INFERENCE_ACTIONS,
    *PAGE_ACTIONS,
    *TASK_ACTIONS,
    *PANE_ACTIONS,
    *METRICS_ACTIONS,
    *SCALING_ACTIONS,
    *QUEUE_ACTIONS,
    *TRAFFIC_ACTIONS,
    *SHARED_ACTIONS,
)

ACTIONS_BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}


def actions_in_scope(scope: str) -> tuple[Action, ...]:
    """Actions of a scope, in the order of the table."""
    return tuple(action for action in ACTIONS if action.scope == scope)


def bindings(*scopes: str) -> list[BindingType]:
    """Textual's bindings for the actions of the scopes; each calls `action_do`."""
    return list(scope_bindings(*scopes))


def action_bindings(action_id: str) -> list[BindingType]:
    """Textual's bindings for one action."""
    return list(_iter_bindings(ACTIONS_BY_ID[action_id]))


def scope_bindings(*scopes: str) -> list[Binding]:
    """The same as Binding objects, for callers that change them."""
    return [
        binding
        for scope in scopes
        for action in actions_in_scope(scope)
        for binding in _iter_bindings(action)
    ]


def _iter_bindings(action: Action) -> Iterator[Binding]:
    if action.bound_by_widget:
        return
    if not action.passes_key:
        yield Binding(action.keys, f"do('{action.id}')", action.label, id=action.id)
        return
    for key in action.keys.split(","):
        yield Binding(key, f"do('{action.id}', '{key}')", action.label, id=f"{action.id}.{key}")


_KEY_DISPLAY = {
    "slash": "/",
    "ampersand": "&",
    "comma": ",",
    "full_stop": ".",
    "at": "@",
    "equals_sign": "=",
    "colon": ":",
    "question_mark": "?",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
}


def key_display(key: str) -> str:
    """A key as it is shown to the operator."""
    return _KEY_DISPLAY.get(key, key)


def action_key_display(action: Action, keymap: Mapping[str, str], *, all_keys: bool = False) -> str:
    """The action's first key, or all of them, as shown to the operator, with the keymap applied."""
    keys = keymap.get(action.id, action.keys).split(",")
    if action.keys == DIGIT_KEYS:
        return "0-9"
    if action.keys == SECTION_KEYS:
        return "1-7"
    if action.keys == TAB_KEYS:
        return f"1-{TAB_COUNT}"
    if action.keys == POD_KEYS:
        return "1-9 a-z"
    if action.passes_key and not all_keys:
        return "/".join(map(key_display, keys[:2]))
    return " ".join(map(key_display, keys if all_keys else keys[:1]))
