"""Actions of the dialogs of an async queue: what is done to tasks, the concurrency, a test request,
turning the queue on, and its limits."""

from __future__ import annotations

from tui.action_tables.action import Action

_CHOOSE_KEYS = "down,up,tab,shift+tab,j,k,pagedown,pageup"

TASK_DIALOG_ACTIONS: tuple[Action, ...] = (
    Action("task_action.confirm", "enter", "confirm", "Do what is chosen.", footer_order=1),
    Action(
        "task_action.move",
        _CHOOSE_KEYS,
        "choose",
        "Choose the action or Back; y and n do so at once. Page keys scroll the text.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "task_action.credentials",
        "w",
        "without credentials",
        "Retry the tasks without credentials, even those that had some; or only those without.",
        footer_order=3,
    ),
    Action(
        "task_action.close",
        "escape",
        "back",
        "Do nothing; while it is done, stop after the tasks that were asked for.",
        footer_order=4,
    ),
    Action("concurrency.save", "enter,ctrl+s", "set", "Set the concurrency.", footer_order=1),
    Action(
        "concurrency.move",
        "down,up,tab,shift+tab,pagedown,pageup",
        "field",
        "Go to the next or the previous field; page keys scroll the text.",
        footer_order=2,
        passes_key=True,
    ),
    Action("concurrency.close", "escape", "cancel", "Change nothing.", footer_order=3),
    Action("test_request.send", "ctrl+s", "send", "Submit the request as a task.", footer_order=1),
    Action(
        "test_request.move",
        "tab,shift+tab,down,up",
        "field",
        "Go to the next or the previous field.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "test_request.close",
        "escape",
        "close",
        "Send nothing; what was typed is discarded if it is pressed twice.",
        footer_order=3,
    ),
    Action("queue_on.confirm", "enter", "confirm", "Do what is chosen.", footer_order=1),
    Action(
        "queue_on.move",
        _CHOOSE_KEYS,
        "choose",
        "Choose Turn on or Back; y and n do so at once. Page keys scroll the plan.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "queue_on.force",
        "o",
        "overwrite",
        "Plan to overwrite the fields that other managers have set.",
        footer_order=3,
    ),
    Action(
        "queue_on.limits",
        "L",
        "limits",
        "Change the limits of the queue before it is turned on.",
        footer_order=4,
    ),
    Action("queue_on.close", "escape", "back", "Change nothing.", footer_order=5),
    Action(
        "queue_limits.save",
        "enter,ctrl+s",
        "save",
        "Use the limits: the plan is shown, and confirmed, before anything is changed.",
        footer_order=1,
    ),
    Action(
        "queue_limits.move",
        "down,up,tab,shift+tab,pagedown,pageup",
        "field",
        "Go to the next or the previous field; page keys go further.",
        footer_order=2,
        passes_key=True,
    ),
    Action(
        "queue_limits.default",
        "ctrl+o",
        "default",
        "Put the default into the field; an empty field means it, too.",
        footer_order=3,
    ),
    Action(
        "queue_limits.close",
        "escape",
        "back",
        "Change nothing; what was typed is discarded if it is pressed twice.",
        footer_order=4,
    ),
)
