"""What operators do to an async queue and its tasks: the question that each action deserves, the
action, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from servedeck.async_queue.bulk import BulkRun
from servedeck.async_queue.curl import HIDDEN
from servedeck.async_queue.errors import UnreachableError
from servedeck.async_queue.queue_api import QueueApi, Side, TaskQuery
from servedeck.async_queue.request_text import (
    MAX_BODY,
    RequestError,
    RequestText,
    body_text,
    example_request,
    headers_text,
)
from servedeck.async_queue.tasks import QueueStatus, Task, TaskAction, TaskState
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import format_count, format_size, one_line, sanitize
from tui.async_queue.action_text import (
    action_label,
    query_paragraphs,
    task_paragraphs,
    unsuitable_query_reason,
    unsuitable_reason,
)
from tui.screens.confirm_dialog import ConfirmDialog, DialogOption
from tui.screens.operation_input import TypedName
from tui.screens.task_action import TaskActionDialog
from widgets.text_view import Paragraph

if TYPE_CHECKING:
    from servedeck.changes.async_queue.plan import AsyncQueueResult
    from tui.screens.base import ActionScreen

_AT_ONCE = (TaskAction.RETRY, TaskAction.FRONT)
"""Actions that are done to one task without a question: they take nothing away."""
_DESTRUCTIVE = (TaskAction.CANCEL, TaskAction.FORGET)


class TaskActionFlow:
    """Of the async queue of one serving, over a screen."""

    def __init__(
        self,
        screen: ActionScreen[Any],
        key: NamespacedName,
        api: QueueApi,
        *,
        now: Callable[[], float],
        on_done: Callable[[str, str], None],
    ) -> None:
        """`now` is the time that ages in a filter refer to, by the store's clock. `on_done` takes a
        message and its style name, at the end of what was asked for, done or not."""
        self._screen = screen
        self._key = key
        self._api = api
        self._now = now
        self._on_done = on_done

    # -- whether it can be done -----------------------------------------------------------------

    def disabled_reason(self) -> str:
        """Why nothing can be changed, in a sentence; "" if it can, as far as known without a
        request."""
        app = self._screen.app_context
        if app.readonly:
            return "servedeck runs with --readonly; restart it without that option to make changes."
        if app.async_queue_service is None:
            return "Not connected to the API server."
        return ""

    def _may_start(self) -> bool:
        """Whether nothing is in the way; what is, is shown."""
        reason = self.disabled_reason()
        if reason:
            self._screen.show_message(reason, "warning")
        return not reason

    @property
    def _production_text(self) -> str:
        app = self._screen.app_context
        return f"{app.source.context} is a production context." if app.is_production else ""

    # -- tasks ----------------------------------------------------------------------------------

    def start(self, action: TaskAction, tasks: Sequence[Task], *, asks: bool = False) -> None:
        """Do it to these tasks: the marked ones, or that under the cursor. With `asks` a question
        names them first in any case."""
        if not self._may_start():
            return
        if reason := unsuitable_reason(action, tasks):
            self._screen.show_message(reason, "warning")
            return
        run = BulkRun(self._api, action, [one.id for one in tasks])
        if len(tasks) == 1 and action in _AT_ONCE and not asks:
            self._run_in_background(self._run_at_once(run, tasks[0]), f"{action} {tasks[0].id}")
        else:
            self._ask(run, tasks)

    async def _run_at_once(self, run: BulkRun, task: Task) -> None:
        await run.run()
        is_retry = run.action is TaskAction.RETRY
        if run.refused and is_retry and await self._has_credentials(task):
            # Without them it can be retried, which is asked.
            again = BulkRun(self._api, run.action, [task.id])
            self._ask(again, [task], error=run.summary())
        else:
            self._report(run)

    async def _has_credentials(self, task: Task) -> bool:
        """Whether it was submitted with credentials, as far as that can be read."""
        try:
            return (await self._api.task_detail(task.id)).has_credentials
        except ClusterError:
            return False

    def _ask(self, run: BulkRun, tasks: Sequence[Task], *, error: str = "") -> None:
        action = run.action
        what = "the task" if len(tasks) == 1 else format_count(len(tasks), "task")
        is_lossy = any(one.state is TaskState.PROCESSING for one in tasks)
        self._open(
            run,
            what,
            list(task_paragraphs(action, tasks)),
            asks_first=action is TaskAction.FORGET or (action is TaskAction.CANCEL and is_lossy),
            typed_reason=self._production_text.rstrip(".") if len(tasks) > 1 else "",
            error=error,
        )

    def start_matching(self, action: TaskAction, query: TaskQuery, count: int | None) -> None:
        """Do it to all tasks that match, loaded or not; `count` is how many, as far as that is
        known."""
        if not self._may_start():
            return
        if reason := unsuitable_query_reason(action, query):
            self._screen.show_message(reason, "warning")
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

    def _report(self, run: BulkRun) -> None:
        style_name = "error" if run.has_failed else "ready"
        if not (run.has_failed or (run.changed and run.is_complete)):
            style_name = "warning"
        self._on_done(run.summary(), style_name)

    # -- the queue ------------------------------------------------------------------------------

    def pause_or_resume(self, status: QueueStatus) -> None:
        """Resume at once, or ask whether to pause."""
        if not self._may_start():
            return
        if status.paused:
            self._run_in_background(self._resume(), "resume")
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
                self._run_in_background(self._pause(), "pause")

        self._screen.app.push_screen(dialog, closed)

    async def _pause(self) -> None:
        done = f"The async queue of {self._key} is paused: no task is taken until it is resumed."
        await self._change(self._api.pause(), "paused", done)

    async def _resume(self) -> None:
        await self._change(
            self._api.resume(), "resumed", f"The async queue of {self._key} is resumed."
        )

    async def _change(self, request: Coroutine[Any, Any, None], word: str, done: str) -> None:
        try:
            await request
        except UnreachableError as error:
            self._on_done(f"{error} It may have been {word}.", "error")
        except ClusterError as error:
            self._on_done(f"It was not {word}: {error}", "error")
        else:
            self._on_done(done, "ready")

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
                self._on_done(message, "ready")

        self._screen.app.push_screen(dialog, closed)

    # -- a test request -------------------------------------------------------------------------

    def submit_test(self, last: Task | None) -> None:
        """Edit a request, that of `last` or an example, and submit it."""
        if self._may_start():
            self._screen.start_worker(
                self._open_editor(last), "test request", busy_label="Reading the last request"
            )

    async def _open_editor(self, last: Task | None) -> None:
        from tui.screens.test_request import RequestEditorScreen

        text, note = await self._propose(last)
        if warning := self._production_text:
            note = f"{warning} {note}"

        def closed(id: str | None) -> None:
            if id:
                shown = one_line(sanitize(id))
                self._on_done(f"The test request was stored as task {shown}.", "ready")

        self._screen.app.push_screen(
            RequestEditorScreen(self._key, self._api, text, note=note), closed
        )

    async def _propose(self, last: Task | None) -> tuple[RequestText, str]:
        """The request that is edited, and what it is, in sentences."""
        if last is None:
            return self._example(), "An example for this serving."
        try:
            found = await self._read_request(last)
        except RequestError as error:
            return self._example(), f"An example: the last request cannot be edited. {error}"
        except ClusterError as error:
            return self._example(), f"An example: the last request cannot be read. {error}"
        return found

    def _example(self) -> RequestText:
        view = self._screen.app_context.source.fleet.view(self._key)
        if view is None:
            return example_request("vllm", "")
        return example_request(view.template, view.model)

    async def _read_request(self, last: Task) -> tuple[RequestText, str]:
        """Raises RequestError and ClusterError."""
        if last.request_bytes > MAX_BODY:
            raise RequestError(
                f"Its body has {format_size(last.request_bytes)}, which is too much to edit."
            )
        head = await self._api.request_head(last.id)
        part = await self._api.read_body(last.id, Side.REQUEST, 0, MAX_BODY + 1)
        headers, hidden = headers_text(head.headers)
        line = one_line(sanitize(f"{head.method} {head.path}"))
        note = f"The request of task {one_line(sanitize(last.id))}."
        if hidden:
            s = "" if hidden == 1 else "s"
            note += f" {hidden} header{s} with a hidden value {'is' if not s else 'are'} left out."
        if HIDDEN in head.path:
            note += f" Write the value that is {HIDDEN} in its path."
        return RequestText(line, headers, body_text(part.data)), note

    # -- turning it on --------------------------------------------------------------------------

    def turn_on(self) -> None:
        """Show what turning the queue on, or on again, would do, and do it if that is confirmed."""
        service = self._screen.app_context.async_queue_service
        if not self._may_start() or service is None:
            return
        from tui.screens.async_queue_on import AsyncQueueOnDialog

        def closed(result: AsyncQueueResult | None) -> None:
            if result is None:
                return
            is_done = result.outcome is Outcome.DONE
            self._on_done(result.message, "ready" if is_done else "error")

        dialog = AsyncQueueOnDialog(
            self._key,
            service,
            context=self._screen.app_context.source.context,
            warning=self._production_text,
        )
        self._screen.app.push_screen(dialog, closed)

    # -- background work ------------------------------------------------------------------------

    def _run_in_background(self, work: Coroutine[None, None, None], group: str) -> None:
        """Keys are not queued meanwhile: esc would cancel what may be done already."""
        self._screen.start_worker(work, f"async queue: {group}")
