"""Actions of the tab Async Queue."""

from __future__ import annotations

from tui.action_tables.action import Action

QUEUE_ACTIONS: tuple[Action, ...] = (
    Action(
        "queue.turn_on",
        "O",
        "turn on",
        "Turn the async queue of the serving on, or update its gateway: shows first what that "
        "changes.",
        footer_order=2,
    ),
    Action(
        "queue.open",
        "enter",
        "open",
        "Show the task: its request, response, attempts and timings.",
        footer_order=2,
    ),
    Action(
        "queue.state",
        "f",
        "status",
        "Show only Pending tasks, then Processing, Completed, Failed and Cancelled ones, then all.",
        footer_order=3,
    ),
    Action("queue.previous_state", "b", "previous status", "Show the status before."),
    Action(
        "queue.filter",
        "slash",
        "filter",
        "Show only tasks that match: text, !text, path:/v1/chat, model:llama, error:timeout, "
        "reason:expired, pod:name, user:hash, status:503, attempts:>1, age:>10m, id:end.",
        footer_order=4,
    ),
    Action(
        "queue.mark",
        "space,m",
        "mark",
        "Mark the task, or remove its mark: an action is done for all marked tasks.",
        footer_order=9,
    ),
    Action(
        "queue.mark_all",
        "M",
        "mark all",
        "Mark all tasks that match the status and the filter, loaded or not, or remove all marks.",
    ),
    Action(
        "queue.cancel",
        "X",
        "cancel",
        "Cancel the task, or the marked ones, that are pending or processing.",
        footer_order=5,
    ),
    Action(
        "queue.retry",
        "n",
        "retry",
        "Try the failed task, or the marked ones, again: a new attempt.",
        footer_order=6,
    ),
    Action(
        "queue.retry_failed",
        "N",
        "retry failed",
        "Try all failed tasks again.",
        footer_order=8,
    ),
    Action(
        "queue.front",
        "T",
        "to front",
        "Move the pending task, or the marked ones, before all others that wait.",
        footer_order=10,
    ),
    Action(
        "queue.logs",
        "l",
        "logs",
        "Show the log of the Pod of the last attempt, at the time when it began.",
        footer_order=7,
    ),
    Action(
        "queue.purge",
        "D",
        "purge",
        "Cancel all pending tasks, after the name of the serving is typed.",
    ),
    Action(
        "queue.pause_queue",
        "p",
        "pause/resume",
        "Pause the queue, so that no task is started, or resume it.",
        footer_order=10,
    ),
    Action(
        "queue.concurrency",
        "equals_sign",
        "concurrency",
        "Change how many tasks are processed at once, of all Pods and of each Pod.",
        footer_order=11,
    ),
    Action(
        "queue.limits",
        "L",
        "limits",
        "Change the limits of the queue: depth, attempts, times and sizes; shows the plan first.",
        footer_order=11,
    ),
    Action(
        "queue.submit",
        "a",
        "test request",
        "Submit an asynchronous request, edited from that of the task under the cursor.",
        footer_order=11,
    ),
    Action(
        "queue.sort_next",
        "greater_than_sign",
        "sort",
        "Sort by the next column: age, waiting time, run time, attempts or tokens. By age all "
        "tasks are sorted, by the others those that are loaded.",
        footer_order=12,
    ),
    Action("queue.sort_previous", "less_than_sign", "sort previous", "Sort by the column before."),
    Action(
        "queue.sort_reverse",
        "o",
        "reverse",
        "Reverse the order; by age, show the oldest tasks first or the newest.",
        footer_order=12,
    ),
    Action("queue.copy", "C", "copy id", "Copy the id of the task.", footer_order=13),
    Action(
        "queue.wide",
        "w",
        "wide",
        "Show every column at full width, with the whole ids; left and right scroll.",
        footer_order=14,
    ),
    Action(
        "queue.reconnect",
        "ctrl+r",
        "retry now",
        "Connect to the gateway again at once instead of waiting.",
    ),
)
