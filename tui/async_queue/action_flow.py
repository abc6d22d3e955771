"""What operators do to an async queue and its tasks: the question that each action deserves, the
action, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from servedeck.async_queue.bulk import DONE_WORDS, BulkRun, unsuitable_reason
from servedeck.async_queue.errors import UnreachableError
from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.request_text import RequestText, example_request
from servedeck.async_queue.tasks import QueueStatus, Task, TaskAction, TaskState
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import format_count, one_line, sanitize
from tui.async_queue.action_text import (
    NO_TASK,
    action_label,
    known_states,
    query_paragraphs,
    task_paragraphs,
)
from tui.async_queue.change_reason import change_disabled_reason, production_text
from tui.async_queue.limits_flow import open_limits
from tui.async_queue.proposed_request import propose_request
from tui.async_queue.turn_on_flow import open_turn_on
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.operation_input import TypedName
from tui.screens.task_action import TaskActionDialog
from tui.sent_requests import SentRequest, Work
from widgets.text_view import Paragraph

if TYPE_CHECKING:
    from tui.screens.base import ActionScreen

_AT_ONCE = (TaskAction.RETRY, TaskAction.FRONT)
"""Actions that are done to one task without a question: they take nothing away."""
_DESTRUCTIVE = (TaskAction.CANCEL, TaskAction.FORGET)
_PAUSE = "pause or resume"
"""The name of the request that does either."""


class TaskActionFlow:
    """Of the async queue of one serving, over a screen."""

    def __init__(
        self,
        screen: ActionScreen[Any],
        key: NamespacedName,
        api: QueueApi,
        *,
        now: Callable[[], float],
        on_done: Callable[[str, str], bool],
    ) -> None:
        """`now` is the time that ages in a filter refer to, by the store's clock. `on_done` takes a
        message and its style name, at the end of what was asked for, done or not; it returns False
        if what was to show it is closed."""
        self._screen = screen
        self._key = key
        self._api = api
        self._now = now
        self._on_done = on_done

    # -- whether it can be done -----------------------------------------------------------------

    def disabled_reason(self) -> str:
        """Why nothing can be changed, in a sentence; "" if it can, as far as known without a
        request."""
        return change_disabled_reason(self._screen.app_context)

    def _may_start(self, unsuitable: str = "", name: str = "") -> bool:
        """Whether nothing is in the way; what is, is shown: the reason `unsuitable`, or a request
        of this name that is not answered yet."""
        reason = self.disabled_reason() or unsuitable
        if name and not reason:
            reason = self._screen.app_context.sent_requests.refusal(self._full_name(name))
        if reason:
            self._screen.show_message(reason, "warning")
        return not reason

    @property
    def _production_text(self) -> str:
        return production_text(self._screen.app_context)

    # -- tasks ----------------------------------------------------------------------------------

    def start(
        self,
        action: TaskAction,
        tasks: Sequence[Task],
        *,
        asks: bool = False,
        not_listed: Collection[str] = (),
    ) -> None:
        """Do it to these tasks: the marked ones, or that under the cursor. With `asks` a question
        names them first in any case. `not_listed` are the ids of those whose state is not known."""
        states = known_states(tasks, not_listed)
        reason = unsuitable_reason(action, states) if states else NO_TASK
        name = f"{action} {tasks[0].id}" if len(tasks) == 1 else ""
        if not self._may_start(reason, name):
            return
        run = BulkRun(self._api, action, [one.id for one in tasks])
        if len(tasks) == 1 and action in _AT_ONCE and not asks:
            what, done = self._describe(tasks[0]), DONE_WORDS[action]
            request = SentRequest(
                f"The task is being {done}", f"Whether {what} was {done} is not known."
            )
            self._send(name, request, lambda: self._run_at_once(run, tasks[0]))
        else:
            self._ask(run, tasks, not_listed)

    def _describe(self, task: Task) -> str:
        return f"task {one_line(sanitize(task.id))} of {self._key}"

    async def _run_at_once(self, run: BulkRun, task: Task) -> None:
        await run.run()
        is_retry = run.action is TaskAction.RETRY
        may_ask = is_retry and run.refused and self._screen.is_current
        if may_ask and await self._has_credentials(task) and self._screen.is_current:
            # Without them it can be retried, which is asked.
            again = BulkRun(self._api, run.action, [task.id])
            self._ask(again, [task], error=run.summary())
        else:
            self._report(run, action_label(run.action, self._describe(task)))

    async def _has_credentials(self, task: Task) -> bool:
        """Whether it was submitted with credentials, as far as that can be read."""
        try:
            return (await self._api.task_detail(task.id)).has_credentials
        except ClusterError:
            return False

    def _ask(
        self,
        run: BulkRun,
        tasks: Sequence[Task],
        not_listed: Collection[str] = (),
        *,
        error: str = "",
    ) -> None:
        action = run.action
        what = "the task" if len(tasks) == 1 else format_count(len(tasks), "task")
        states = known_states(tasks, not_listed)
        may_lose = TaskState.PROCESSING in states or None in states
        self._open(
            run,
            what,
            list(task_paragraphs(action, tasks, not_listed)),
            asks_first=action is TaskAction.FORGET or (action is TaskAction.CANCEL and may_lose),
            typed_reason=self._production_text.rstrip(".") if len(tasks) > 1 else "",
            error=error,
        )

    def start_matching(self, action: TaskAction, query: TaskQuery, count: int | None) -> None:
        """Do it to all tasks that match, loaded or not; `count` is how many, as far as that is
        known."""
        if not self._may_start(unsuitable_reason(action, [query.state], who="all that match are")):
            return
        run = BulkRun(self._api, action, query, now=self._now(), count=count)
        self._open(
            run,
            "all matching tasks" if count is None else format_count(count, "task"),
            list(query_paragraphs(action, query, count)),
            asks_first=action in _DESTRUCTIVE,
            typed_reason=self._production_text.rstrip("."),
        )

    def retry_all_failed(self, failed: int | None) -> None:
        """`failed` is how many there are; None if that is not known."""
        if failed == 0:
            self._screen.show_message("No task has failed.", "warning")
        else:
            self.start_matching(TaskAction.RETRY, TaskQuery(TaskState.FAILED), failed)

    def purge_pending(self, pending: int | None) -> None:
        """Cancel all that wait, once the name of the serving is typed."""
        if not self._may_start():
            return
        if pending == 0:
            self._screen.show_message("No task is pending.", "warning")
            return
        query = TaskQuery(TaskState.PENDING)
        run = BulkRun(self._api, TaskAction.CANCEL, query, count=pending)
        self._open(
            run,
            "all pending tasks" if pending is None else format_count(pending, "pending task"),
            list(query_paragraphs(TaskAction.CANCEL, query, pending)),
            asks_first=True,
            typed_reason=self._production_text.rstrip(".") or "what waits is never delivered",
        )

    def _open(
        self,
        run: BulkRun,
        what: str,
        paragraphs: Sequence[Paragraph],
        *,
        asks_first: bool,
        typed_reason: str,
        error: str = "",
    ) -> None:
        """`typed_reason` is why the name of the serving must be typed first, if what is done takes
        something away."""
        app = self._screen.app_context
        typed = None
        if typed_reason and run.action in _DESTRUCTIVE:
            typed = TypedName(self._key.name, typed_reason)
        dialog = TaskActionDialog(
            action_label(run.action, f"{what} of {self._key}"),
            action_label(run.action, what),
            paragraphs,
            run,
            context=app.source.context,
            warning="" if typed else self._production_text,
            asks_first=asks_first or bool(self._production_text),
            typed_name=typed,
            error=error,
        )
        self._screen.app.push_screen(dialog, self._on_closed)

    def _on_closed(self, run: BulkRun | None) -> None:
        if run is not None and not self._screen.app_context.exiting:
            self._report(run)

    def _report(self, run: BulkRun, title: str = "") -> None:
        style_name = "error" if run.has_failed else "ready"
        if not (run.has_failed or (run.changed and run.is_complete)):
            style_name = "warning"
        self._finish(run.summary(), style_name, title)

    def _finish(self, text: str, style_name: str, title: str = "") -> None:
        """Show what became of it. Elsewhere than where it was asked for, `title` says what it is
        about."""
        app = self._screen.app_context
        if not app.exiting and not (self._on_done(text, style_name) and self._screen.is_current):
            app.show_message(f"{title}: {text}" if title else text, style_name)

    # -- the queue ------------------------------------------------------------------------------

    def pause_or_resume(self, status: QueueStatus) -> None:
        """Resume at once, or ask whether to pause."""
        if not self._may_start(name=_PAUSE):
            return
        if status.paused:
            self._send_pause("resumed", self._resume)
            return
        lines = [
            "No task is taken until the queue is resumed. What is being processed is finished.",
            "New tasks are accepted and wait, until the queue is full; deadlines go on.",
        ]
        options = [
            DialogOption("p", "Pause", f"{format_count(status.counts.pending, 'task')} wait now"),
            DialogOption("n", "Back"),
        ]
        if self._production_text:
            lines.insert(0, self._production_text)
            options.reverse()
        dialog = ConfirmDialog(f"Pause the async queue of {self._key}", lines, options)

        def closed(answer: str | None) -> None:
            if answer == "p":
                self._send_pause("paused", self._pause)

        self._screen.app.push_screen(dialog, closed)

    def _send_pause(self, word: str, work: Work) -> None:
        what = f"the async queue of {self._key}"
        request = SentRequest(
            f"The async queue is being {word}", f"Whether {what} was {word} is not known."
        )
        self._send(_PAUSE, request, work)

    async def _pause(self) -> None:
        done = f"The async queue of {self._key} is paused: no task is taken until it is resumed."
        await self._change(self._api.pause(), "paused", done)

    async def _resume(self) -> None:
        await self._change(
            self._api.resume(), "resumed", f"The async queue of {self._key} is resumed."
        )

    async def _change(self, request: Coroutine[Any, Any, None], word: str, done: str) -> None:
        title = f"The async queue of {self._key}"
        try:
            await request
        except UnreachableError as error:
            self._finish(f"{error} It may have been {word}.", "error", title)
        except ClusterError as error:
            self._finish(f"It was not {word}: {error}", "error", title)
        else:
            self._finish(done, "ready")

    def change_concurrency(self, status: QueueStatus) -> None:
        """Read what operators have set, and open the dialog."""
        if self._may_start():
            self._screen.start_worker(
                self._open_concurrency(status), "concurrency", busy_label="Reading the concurrency"
            )

    async def _open_concurrency(self, status: QueueStatus) -> None:
        from tui.screens.queue_concurrency import ConcurrencyDialog

        try:
            control = await self._api.control()
        except ClusterError as error:
            self._screen.show_message(f"The concurrency cannot be read: {error}", "error", 20)
            return
        dialog = ConcurrencyDialog(
            self._key, self._api, status, control, warning=self._production_text
        )

        def closed(message: str | None) -> None:
            if message:
                self._finish(message, "ready")

        self._screen.app.push_screen(dialog, closed)

    # -- a test request -------------------------------------------------------------------------

    def submit_test(self, task: Task | None) -> None:
        """Edit a request, that of `task` or an example, and submit it."""
        if self._may_start():
            label = "Reading the request of the task" if task is not None else "Opening the request"
            self._screen.start_worker(self._open_editor(task), "test request", busy_label=label)

    async def _open_editor(self, task: Task | None) -> None:
        from tui.screens.test_request import RequestEditorScreen

        text, note = await propose_request(self._api, task, self._example)
        if warning := self._production_text:
            note = f"{warning} {note}"

        def closed(id: str | None) -> None:
            if id:
                shown = one_line(sanitize(id))
                self._finish(f"The test request was stored as task {shown}.", "ready")

        self._screen.app.push_screen(
            RequestEditorScreen(self._key, self._api, text, note=note), closed
        )

    @property
    def _example(self) -> RequestText:
        view = self._screen.app_context.source.fleet.view(self._key)
        if view is None:
            return example_request("vllm", "")
        return example_request(view.template, view.model)

    # -- turning it on --------------------------------------------------------------------------

    def turn_on(self) -> None:
        """Show what turning the queue on, or on again, would do, and do it if that is confirmed."""
        open_turn_on(self._screen, self._key, self._finish)

    def change_limits(self) -> None:
        """Show the limits of the queue, and change them after the plan is confirmed."""
        open_limits(self._screen, self._key, self._finish)

    # -- background work ------------------------------------------------------------------------

    def _full_name(self, name: str) -> str:
        """Of a request on this queue, among those of all queues."""
        return f"{self._screen.app_context.source.context} {self._key} {name}"

    def _send(self, name: str, request: SentRequest, work: Work) -> None:
        """Keys are not queued meanwhile: esc would cancel what may be done already. It goes on if
        the screen is closed."""
        self._screen.app_context.sent_requests.send(self._full_name(name), request, work)
