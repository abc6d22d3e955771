"""Actions of the screen of one task of an async queue."""

from __future__ import annotations

from tui.action_tables.action import Action

TASK_ACTIONS: tuple[Action, ...] = (
    Action("task.close", "escape,q", "close", "Go back to the list of tasks.", footer_order=1),
    Action(
        "task.section",
        "1,2,3,4",
        "section",
        "Show the section with that number: summary, attempts, request or response.",
        footer_order=2,
        passes_key=True,
    ),
    Action("task.next_section", "tab", "next section", "Show the next section."),
    Action("task.previous_section", "shift+tab", "previous section", "Show the section before."),
    Action(
        "task.view",
        "v",
        "view",
        "Show the body as a conversation, as JSON or as it was sent.",
        footer_order=3,
    ),
    Action(
        "task.fold",
        "enter,space,z",
        "fold",
        "Fold or unfold the list or object of the JSON under the cursor.",
        footer_order=4,
    ),
    Action("task.fold_all", "Z", "fold all", "Fold all lists and objects, or unfold them."),
    Action("task.headers", "h", "headers", "Hide the headers, or show them."),
    Action(
        "task.more",
        "m",
        "more",
        "Show more of a large body, up to 4 MiB.",
        footer_order=11,
    ),
    Action(
        "task.logs",
        "l",
        "logs",
        "Show the log of the Pod of the attempt under the cursor, elsewhere of the last attempt, "
        "at the time when it began.",
        footer_order=5,
    ),
    Action(
        "task.cancel",
        "X",
        "cancel",
        "Cancel the task if it is pending or processing.",
        footer_order=6,
    ),
    Action("task.retry", "n", "retry", "Try the failed task again.", footer_order=7),
    Action(
        "task.front",
        "T",
        "to front",
        "Move the pending task before all others that wait.",
        footer_order=8,
    ),
    Action(
        "task.submit",
        "a",
        "test request",
        "Submit an asynchronous request, edited from that of this task.",
    ),
    Action(
        "task.save",
        "ctrl+s,s",
        "save",
        "Save the whole body of the response, or in the section Request of the request, to a file "
        "that only you can read.",
        footer_order=9,
    ),
    Action(
        "task.curl",
        "c",
        "curl",
        "Copy the curl command that sends the request again, as an asynchronous one.",
        footer_order=10,
    ),
    Action(
        "task.copy",
        "C",
        "copy",
        "Copy the body as far as it is shown, up to 56 kB; elsewhere, the value under the cursor.",
        footer_order=12,
    ),
    Action("task.copy_id", "i", "copy id", "Copy the id of the task.", footer_order=12),
    Action(
        "task.next",
        "right_square_bracket",
        "next",
        "Show the next task of the list.",
        footer_order=13,
    ),
    Action(
        "task.previous",
        "left_square_bracket",
        "previous",
        "Show the task before in the list.",
        footer_order=13,
    ),
    Action(
        "task.scroll",
        "j,k,down,up,pagedown,pageup,g,G,home,end",
        "scroll",
        "Move the cursor.",
        passes_key=True,
        bound_by_widget=True,
    ),
)
