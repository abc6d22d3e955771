"""What is done to the tasks of the tab Async Queue: those that are marked, or the one under the
cursor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.getters import query_one
from textual.message import Message

from servedeck.async_queue.bulk import SUITABLE_STATES, unsuitable_reason
from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.tasks import QueueStatus, Task, TaskAction, TaskState
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import one_line
from tui.action_tables.action import Action
from tui.async_queue.action_text import NO_TASK, known_states
from tui.async_queue.change_reason import refresh_permissions, turn_on_disabled_reason
from tui.async_queue.task_texts import queue_disabled_reason
from tui.clipboard import copy_with_message
from tui.log_permission import LogPermission
from tui.panes.base import Pane
from tui.ports.task_actions import TaskActions, TaskActionsFactory
from widgets.task_rows import TaskRowBuilder
from widgets.task_table import TaskTable

MOVED_SECONDS = 1.0
"""After which a key is for the task that has come under the cursor."""


class TaskActionPane(Pane):
    """A pane with tasks. A subclass shows them."""

    SCOPE = "queue"
    table = query_one(TaskTable)

    @dataclass
    class TaskRequested(Message):
        """The details of a task were requested."""

        task: Task
        live: LiveQueue
        api: QueueApi
        listed: Callable[[], Sequence[Task]]
        """The tasks that are loaded, in the order of the list."""

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self.create_actions: TaskActionsFactory | None = None
        """Set by who has the pane."""
        self._live: LiveQueue | None = None
        """None while the pane is not active, and where there is nothing to connect to."""
        self._api: QueueApi | None = None
        self._actions: TaskActions | None = None
        self._actions_on_marks: TaskActions | None = None
        """Those after which nothing is marked any longer."""
        self._problem = ""
        """Why there is no `_live`, in a sentence."""
        self._query = TaskQuery()
        """Of the tasks that are shown; its filter is a valid one."""
        self._rows = TaskRowBuilder()
        self._log_permission = LogPermission(self, lambda: self.post_message(self.ActionsChanged()))
        self._marked: dict[str, Task] = {}
        """By id, as they were when they were seen last; they stay while other tasks are shown."""
        self._has_marked_all = False
        """Whether all that match are marked, loaded or not."""
        self._moved_at = -math.inf
        """When another task came under the cursor without a move of it, by the clock of the
        input."""

    def _connect(self) -> None:
        """Connect to the queue of the serving, if it can have one."""
        service = self.app_context.async_queue_service
        if not self.key.is_deployment:
            self._problem = f"A {self.key.kind} has no async queue; a Deployment can have one."
            return
        if service is None:
            self._problem = "Not connected to the API server."
            return
        try:
            self._api = service.queue_api(self.key)
        except ClusterError as error:
            self._problem = str(error)
            return
        live = LiveQueue(
            self._api, self._on_live_change, is_held=self.app_context.has_unpainted_input
        )
        self._live, self._problem = live, ""
        self._actions = self._create_actions(live, self._api, self._on_action_done)
        self._actions_on_marks = self._create_actions(live, self._api, self._on_marks_done)
        live.start()
        self.add_watch(LiveWatch(live))
        self.start_worker(self._refresh_permissions(), "queue permissions")

    async def _refresh_permissions(self) -> None:
        await refresh_permissions(self.app_context, self.key)
        self.post_message(self.ActionsChanged())

    def _create_actions(
        self, live: LiveQueue, api: QueueApi, on_done: Callable[[LiveQueue, str, str], None]
    ) -> TaskActions | None:
        if self.create_actions is None:
            return None
        key = self.key

        def done(text: str, style_name: str) -> bool:
            if not self.is_attached or self.key != key:
                return False  # the page was closed meanwhile, or shows another serving
            on_done(live, text, style_name)
            return True

        return self.create_actions(
            key,
            api,
            # What is changed are the tasks that were shown, however long ago ages were typed.
            now=lambda: live.asked_at,
            on_done=done,
        )

    def _disconnect(self) -> None:
        self._live = self._api = self._actions = self._actions_on_marks = None

    def _on_live_change(self) -> None:
        """Tasks, or the state of the queue, have changed."""

    def _show_marks(self) -> None:
        """The marks have changed."""

    def listed_tasks(self) -> Sequence[Task]:
        """The tasks that are loaded, in the order of the list."""
        return self._live.tasks if self._live is not None else ()

    @property
    def _status(self) -> QueueStatus | None:
        return self._live.status if self._live is not None else None

    @property
    def selected_task(self) -> Task | None:
        """The task under the cursor."""
        key = self.table.cursor_key
        return self._rows.task(key) if isinstance(key, str) else None

    # -- marks --------------------------------------------------------------------------------

    def do_mark(self) -> None:
        task = self.selected_task
        if task is not None:
            marked = dict(self._marked)
            if marked.pop(task.id, None) is None:
                marked[task.id] = task
            self._set_marks(marked)

    def do_mark_all(self) -> None:
        has_marks = bool(self._marked) or self._has_marked_all
        self._set_marks({}, has_all=not has_marks)

    def _set_marks(self, marked: dict[str, Task], *, has_all: bool = False) -> None:
        self._marked, self._has_marked_all = marked, has_all
        if self.is_active:
            self._show_marks()

    @property
    def _marks_text(self) -> str:
        if self._has_marked_all:
            return "all that match are marked"
        return f"{len(self._marked):,} marked" if self._marked else ""

    # -- whether it can be done ---------------------------------------------------------------

    def in_footer(self, action: Action) -> bool:
        return self._can_turn_on == (action.name == "turn_on")

    @property
    def _can_turn_on(self) -> bool:
        """Whether the queue is off, or its gateway too old."""
        live = self._live
        return live is not None and live.phase in (LivePhase.OFF, LivePhase.TOO_OLD)

    def disabled_reason(self, action: Action) -> str:
        match action.name:
            case "open" | "copy":
                return "" if self.selected_task else NO_TASK
            case "mark":
                if self._has_marked_all:
                    key = self.app_context.key_display_for("queue.mark_all")
                    return f"All that match are marked; {key} removes the marks."
                return "" if self.selected_task else NO_TASK
            case "mark_all":
                return "" if self.table.rows or self._marked else "There is no task to mark."
            case "logs":
                return self._logs_disabled_reason(self.selected_task)
            case "reconnect":
                return "" if self._live is not None else self._problem
            case "turn_on":
                return self._turn_on_disabled_reason()
            case "limits":
                return self._limits_disabled_reason()
            case "cancel" | "retry" | "front":
                return self._change_disabled_reason() or self._targets_disabled_reason(
                    TaskAction(action.name)
                )
            case "retry_failed" | "purge" | "pause_queue" | "concurrency" | "submit":
                return self._change_disabled_reason() or queue_disabled_reason(
                    action.name, self._status
                )
        return ""

    def _change_disabled_reason(self) -> str:
        """Why nothing can be changed."""
        live = self._live
        if live is None or self._actions is None:
            return self._problem or "Not connected to the API server."
        if live.phase is LivePhase.OFF:
            key = self.app_context.key_display_for("queue.turn_on")
            return f"The async queue is off; {key} turns it on."
        return self._actions.disabled_reason()

    def _turn_on_disabled_reason(self) -> str:
        view = self.view
        if self._live is None or self._actions is None:
            return self._problem or "Not connected to the API server."
        if not self._can_turn_on:
            on = self._live.status is not None
            return "The async queue is on." if on else "It is not known whether the queue is on."
        if view is None:
            return "The serving was deleted."
        return (
            view.readonly_reason
            or self._actions.disabled_reason()
            or turn_on_disabled_reason(self.app_context, self.key)
        )

    def _limits_disabled_reason(self) -> str:
        view = self.view
        if reason := self._change_disabled_reason():
            return reason
        if view is None:
            return "The serving was deleted."
        return view.readonly_reason or turn_on_disabled_reason(self.app_context, self.key)

    def _targets_disabled_reason(self, action: TaskAction) -> str:
        if self._has_marked_all:
            return ""
        states = self._target_states
        return unsuitable_reason(action, states) if states else NO_TASK

    def _logs_disabled_reason(self, task: Task | None) -> str:
        view = self.view
        if task is None:
            return NO_TASK
        if not task.pod:
            return "The task has had no attempt, so there is no log."
        if view is None or all(pod.name != task.pod for pod in view.pods):
            return f"Pod {one_line(task.pod)} does not exist any longer."
        return self._log_permission.disabled_reason(self.key.namespace)

    # -- actions on tasks ---------------------------------------------------------------------

    @property
    def _targets(self) -> Sequence[Task]:
        """The marked tasks, or the one under the cursor."""
        if self._marked:
            return list(self._marked.values())
        task = self.selected_task
        return [task] if task is not None else []

    @property
    def _not_listed(self) -> set[str]:
        """Ids of the marked tasks that are not loaded: what became of them is not known here."""
        live = self._live
        return {id for id in self._marked if live is None or live.find(id) is None}

    @property
    def _target_states(self) -> Sequence[TaskState | None]:
        """Of the marked tasks, or the one under the cursor; None where it is not known."""
        return known_states(self._targets, self._not_listed)

    def do_open(self) -> None:
        task = self.selected_task
        if task is not None and self._live is not None and self._api is not None:
            self.post_message(self.TaskRequested(task, self._live, self._api, self.listed_tasks))

    def do_logs(self) -> None:
        if (task := self.selected_task) is not None:
            began = int(task.started * 1e9) if task.started is not None else None
            self.post_message(self.LogRequested(task.pod, time_ns=began))

    async def do_copy(self) -> None:
        if (task := self.selected_task) is not None:
            id = one_line(task.id)
            message = await copy_with_message(id, self.app_context.write_to_terminal, id)
            self.show_message(*message)

    def do_cancel(self) -> None:
        self._start(TaskAction.CANCEL)

    def do_retry(self) -> None:
        self._start(TaskAction.RETRY)

    def do_front(self) -> None:
        self._start(TaskAction.FRONT)

    def _start(self, action: TaskAction) -> None:
        if self._actions is None or self._actions_on_marks is None:
            return
        if self._has_marked_all:
            count = self._match_count(action)
            self._actions_on_marks.start_matching(action, self._query, count)
        elif self._marked:
            self._actions_on_marks.start(action, self._targets, not_listed=self._not_listed)
        else:
            self._actions.start(action, self._targets, asks=self._was_moved)

    @property
    def _was_moved(self) -> bool:
        """Whether the task came under the cursor so late that the key may be for the one before."""
        return self.app_context.input_read_at < self._moved_at + MOVED_SECONDS

    def _match_count(self, action: TaskAction) -> int | None:
        """How many of the tasks that match it is done to; None where a filter makes that
        unknown."""
        status, (state, text) = self._status, self._query
        if status is None or text:
            return None
        states = SUITABLE_STATES[action] if state is None else (state,)
        return sum(int(getattr(status.counts, one.value)) for one in states)

    def do_retry_failed(self) -> None:
        if self._actions is not None:
            status = self._status
            self._actions.retry_all_failed(status.counts.failed if status is not None else None)

    # -- actions on the queue -----------------------------------------------------------------

    def do_purge(self) -> None:
        if self._actions is not None:
            status = self._status
            self._actions.purge_pending(status.counts.pending if status is not None else None)

    def do_pause_queue(self) -> None:
        if self._actions is not None and (status := self._status) is not None:
            self._actions.pause_or_resume(status)

    def do_concurrency(self) -> None:
        if self._actions is not None and (status := self._status) is not None:
            self._actions.change_concurrency(status)

    def do_submit(self) -> None:
        if self._actions is not None:
            self._actions.submit_test(self.selected_task)

    def do_turn_on(self) -> None:
        if self._actions is not None:
            self._actions.turn_on()

    def do_limits(self) -> None:
        if self._actions is not None:
            self._actions.change_limits()

    def do_reconnect(self) -> None:
        live = self._live
        if live is not None and live.phase is LivePhase.LIVE:
            self.show_message("It is connected.")
        elif live is not None:
            live.retry_now()
            self.show_message("Connecting to the gateway.")

    def _on_action_done(self, live: LiveQueue, text: str, style_name: str) -> None:
        self.show_message(text, style_name)
        if live is self._live and live.phase is not LivePhase.LIVE:
            live.retry_now()

    def _on_marks_done(self, live: LiveQueue, text: str, style_name: str) -> None:
        """The marks have served their purpose, unless it is to be done again."""
        self._on_action_done(live, text, style_name)
        if live is self._live and style_name != "error":
            self._set_marks({})


class LiveWatch:
    """A LiveQueue as a watch that ends with the tab."""

    missing_permission = ""

    def __init__(self, live: LiveQueue) -> None:
        self._live = live

    @property
    def is_settled(self) -> bool:
        return self._live.phase is not LivePhase.CONNECTING

    async def close(self) -> None:
        await self._live.close()
