"""One task of an async queue: why it is as it is, its attempts, its request and its response."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one

from servedeck.async_queue.bulk import SUITABLE_STATES
from servedeck.async_queue.live_queue import LiveQueue
from servedeck.async_queue.queue_api import QueueApi, Side
from servedeck.async_queue.rates import seconds_until_start
from servedeck.async_queue.tasks import Task, TaskAction
from servedeck.fleet.views import NamespacedName
from tui import status_text
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.log_permission import LogPermission
from tui.logs.target import LogTarget
from tui.ports.serving_source import SourceChanges
from tui.screens.task_exports import TaskExports
from tui.task_view.changes import TaskFlow, cancel_result, change_disabled_reason
from tui.task_view.follower import TaskFollower
from tui.task_view.heading import problem_line, section_line, title_line
from tui.task_view.reader import TaskReader
from tui.task_view.section_view import BODY_PART, SECTIONS, Section, SectionView
from tui.task_view.summary import AttemptRow, TaskPicture, attempt_rows
from widgets.document_view import DocumentView
from widgets.styled_line import Line, plain_text
from widgets.table import TICK_SECONDS
from widgets.text_view import StatusLine

FlowFactory = Callable[["TaskScreen"], TaskFlow]


class TaskScreen(TaskExports):
    """It follows the task until it is closed; the last state of a deleted one stays. Its result is
    the log that was requested, None for none."""

    SCOPE = "task"
    BINDINGS: ClassVar[list[BindingType]] = bindings("task", "app")
    title_view = query_one("#serving-title", StatusLine)
    view = query_one(DocumentView)

    def __init__(
        self,
        key: NamespacedName,
        live: LiveQueue,
        api: QueueApi,
        task: Task,
        *,
        listed: Callable[[], Sequence[Task]] | None = None,
        create_flow: FlowFactory | None = None,
    ) -> None:
        """`task` is shown at once, before the rest is read. `listed` gives the tasks of the list in
        its order, by default those of `live`. `create_flow` gives what runs actions
        on tasks, by default a TaskActionFlow."""
        super().__init__(key, api)
        self.live = live
        self._listed = listed or (lambda: live.tasks)
        self._create_flow = create_flow or _create_action_flow
        self._flow: TaskFlow | None = None
        self._section = Section.SUMMARY
        self._follower = TaskFollower(
            live,
            api,
            task,
            on_change=self._update,
            start_worker=lambda work: self.start_worker(work, "read"),
        )
        self._sections = self._new_sections()
        self._log_permission = LogPermission(self, self.update_footer)
        self._cancelled_id = ""
        """The task whose cancellation was asked for last."""
        self._target = ("", "")
        """Context and namespace that the list of tasks is from."""

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="serving-title")
        yield DocumentView()

    def on_mount(self) -> None:
        super().on_mount()
        self.view.focus()
        self._target = self._current_target
        self.set_interval(TICK_SECONDS, self._tick)
        self.update_message()
        self._update()
        self._follower.start()

    async def on_unmount(self) -> None:
        self._follower.close()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._update)

    @property
    def _current_target(self) -> tuple[str, str]:
        source = self.app_context.source
        return source.context, source.namespace

    def on_changes(self, changes: SourceChanges) -> None:
        if self._current_target != self._target:
            self.dismiss(None)  # the queue is no longer followed, and another cluster's is not it
        elif changes.state_changed:
            self._update_title()

    @property
    def shown_task(self) -> Task:
        """The task as it was last."""
        return self.reader.task

    @property
    def reader(self) -> TaskReader:
        return self._follower.reader

    @property
    def _shown_side(self) -> Side | None:
        return self._section.side

    def _text_under_cursor(self) -> str:
        document, item = self.view.document, self.view.place.item
        lines = (
            document.line(at) for at in range(len(document)) if document.place(at).item == item
        )
        return " ".join(plain_text(line).strip() for line in lines)

    def _new_sections(self) -> SectionView:
        def start(work: Coroutine[None, None, None], group: str) -> object:
            return self.start_worker(work, group)

        return SectionView(self.reader, lambda id: self.app_context.key_display_for(id), start)

    def _tick(self) -> None:
        """Ages go on; what could not be read is tried again."""
        if self._follower.tick(is_shown=self.is_current):
            self.update_message()
        if self.is_current and self._section.side is None:
            self._update_section()
        self._update_title()

    # -- what is shown ------------------------------------------------------------------------

    def default_message(self) -> Line:
        return problem_line(self.reader, self.live)

    def _update(self) -> None:
        """Show the task as it is known now."""
        if not self.is_attached or not self.is_mounted:
            return
        self._update_title()
        self._update_section()
        self.update_message()
        self.update_footer()

    def _update_title(self) -> None:
        task = self.shown_task
        width = self.title_view.inner_width or self.app.size.width
        title = title_line(task, is_deleted=self.reader.is_deleted)
        state = self.app_context.source.state
        self.title_view.set_lines(
            status_text.line_with_connection(title, state, width),
            section_line(task, self._section),
        )

    def _picture(self) -> TaskPicture:
        reader, live = self.reader, self.live

        def until_start(position: int) -> float | None:
            if live.status is None:
                return None
            return seconds_until_start(live.status, live.rates(), position)

        return TaskPicture(
            reader.task,
            reader.detail,
            reader.attempts,
            live.now(),
            until_start,
            is_blocked=live.status is not None and bool(live.status.blocked_by),
        )

    def _update_section(self) -> None:
        if not self.is_attached or not (width := self.view.inner_width):
            return
        if len(self.view.document):
            self._sections.places[self._section] = self.view.place
        self._show_section(width)

    def _show_section(self, width: int) -> None:
        sections = self._sections
        document = sections.document(self._section, self._picture(), width, self._update_section)
        self.view.set_document(document, sections.places.get(self._section))

    def on_document_view_cursor_moved(self) -> None:
        self.update_footer()

    async def on_document_view_clicked(self) -> None:
        await self.action_do("task.fold")

    # -- sections and bodies ------------------------------------------------------------------

    def _select_section(self, section: Section) -> None:
        if section is self._section:
            return
        if len(self.view.document):
            self._sections.places[self._section] = self.view.place
        self._section = section
        self._update_title()
        if width := self.view.inner_width:
            self._show_section(width)
        self.update_footer()

    def do_section(self, key: str) -> None:
        self._select_section(SECTIONS[int(key) - 1])

    def do_next_section(self) -> None:
        self._move_section(1)

    def do_previous_section(self) -> None:
        self._move_section(-1)

    def _move_section(self, step: int) -> None:
        at = SECTIONS.index(self._section) + step
        self._select_section(SECTIONS[at % len(SECTIONS)])

    def do_view(self) -> None:
        side = self._section.side
        if side is None or (text := self.reader.bodies[side].text) is None:
            return
        self._sections.bodies[side].next_view(text)
        place = self.view.place
        if place.part == BODY_PART:  # another view has other lines
            self._sections.places[self._section] = place._replace(item=0, line=0)
            self._show_section(self.view.inner_width)
        else:
            self._update_section()
        self.update_footer()

    def do_fold(self) -> None:
        side, place = self._section.side, self.view.place
        if side is None or (text := self.reader.bodies[side].text) is None:
            return
        item = self._sections.bodies[side].fold(text, place.item)
        self._sections.places[self._section] = place._replace(item=item, line=0)
        self._show_section(self.view.inner_width)

    def do_fold_all(self) -> None:
        side = self._section.side
        if side is not None and (text := self.reader.bodies[side].text) is not None:
            self._sections.bodies[side].fold_all(text)
            self._update_section()

    def do_headers(self) -> None:
        self._sections.shows_headers = not self._sections.shows_headers
        self._update_section()

    def do_more(self) -> None:
        if (side := self._section.side) is not None:
            self.start_worker(self.reader.read_more(side), "more")

    # -- actions ------------------------------------------------------------------------------

    def in_footer(self, action: Action) -> bool:
        name = action.name
        if name in ("view", "fold", "more"):
            return self._sections.offers(name, self._section)
        if name in ("cancel", "retry", "front"):
            return self.shown_task.state in SUITABLE_STATES[TaskAction(name)]
        return super().in_footer(action)

    def disabled_reason(self, action: Action) -> str:
        match action.name:
            case "view" | "fold" | "fold_all" | "headers" | "more":
                return self._sections.disabled_reason(action.name, self._section, self.view.place)
            case "cancel" | "retry" | "front":
                return self._change_disabled_reason(TaskAction(action.name))
            case "submit":
                return self._action_flow().disabled_reason()
            case "logs":
                if self._log_attempt() is None:
                    return "No attempt was made in a Pod."
                return self._log_permission.disabled_reason(self.key.namespace)
            case "save":
                return self._save_disabled_reason()
            case "curl":
                return self._curl_disabled_reason()
        return ""

    def _change_disabled_reason(self, change: TaskAction) -> str:
        reader = self.reader
        reason = change_disabled_reason(reader.task, change, is_deleted=reader.is_deleted)
        return reason or self._action_flow().disabled_reason()

    def _action_flow(self) -> TaskFlow:
        if self._flow is None:
            self._flow = self._create_flow(self)
        return self._flow

    def do_cancel(self) -> None:
        self._cancelled_id = self.shown_task.id
        self._action_flow().start(TaskAction.CANCEL, [self.shown_task])

    def do_retry(self) -> None:
        self._cancelled_id = ""
        self._action_flow().start(TaskAction.RETRY, [self.shown_task])

    def do_front(self) -> None:
        self._cancelled_id = ""
        self._action_flow().start(TaskAction.FRONT, [self.shown_task])

    def do_submit(self) -> None:
        self._cancelled_id = ""
        self._action_flow().submit_test(self.shown_task)

    def on_action_done(self, text: str, style_name: str) -> bool:
        """An action was done, or was not possible any longer: `text` says so. Returns whether it
        can be shown."""
        if self not in self.app.screen_stack:
            return False
        self.show_message(text, style_name)
        self.start_worker(self._show_winner(text), "winner")
        return True

    async def _show_winner(self, text: str) -> None:
        """After a cancellation: say so if the task ended before it."""
        reader, cancelled_id = self.reader, self._cancelled_id
        self._cancelled_id = ""
        await reader.read_task()
        if reader is self.reader and reader.task.id == cancelled_id:
            result = cancel_result(text, reader.task, self.live.now())
            if result != text:
                self.show_message(result, "warning")
        self._follower.read_again()

    # -- the log ------------------------------------------------------------------------------

    def _log_attempt(self) -> AttemptRow | None:
        """The attempt under the cursor, or the last one; None if none was made in a Pod."""
        task = self.shown_task
        rows = attempt_rows(task, self.reader.attempts or ())
        if not rows and task.started is not None:
            rows = [AttemptRow(task.attempt, task.pod, task.started)]
        if not rows:
            return None
        item = self.view.place.item if self._section is Section.ATTEMPTS else len(rows) - 1
        row = rows[min(item, len(rows) - 1)]
        return row if row.pod else None

    def do_logs(self) -> None:
        if (row := self._log_attempt()) is not None:
            self.dismiss(LogTarget(row.pod, time_ns=int(row.began * 1e9)))

    # -- other tasks --------------------------------------------------------------------------

    def do_next(self) -> None:
        self._show_neighbor(1)

    def do_previous(self) -> None:
        self._show_neighbor(-1)

    def _show_neighbor(self, step: int) -> None:
        live, tasks = self.live, self._listed()
        at = next((at for at, one in enumerate(tasks) if one.id == self.shown_task.id), None)
        if at is None:
            self.show_message("The task is not in the list any longer.", "warning")
        elif 0 <= at + step < len(tasks):
            self._set_task(tasks[at + step])
        elif live.has_after if step > 0 else live.has_before:
            (live.load_after if step > 0 else live.load_before)()
            self.show_message("More tasks are being loaded; press the key again.")
        else:
            which = "last" if step > 0 else "first"
            self.show_message(f"It is the {which} task of the list.")

    def _set_task(self, task: Task) -> None:
        """Show another task, in the same section."""
        shows_headers = self._sections.shows_headers
        self._follower.show(task)
        self._sections = self._new_sections()
        self._sections.shows_headers = shows_headers
        self._show_section(self.view.inner_width)
        self._update()

    def do_close(self) -> None:
        if self._is_saving and not self._is_leaving:
            self._is_leaving = True
            self.show_message("The body is being saved; press esc again to stop that.", "warning")
        else:
            self.dismiss(None)


def _create_action_flow(screen: TaskScreen) -> TaskFlow:
    from tui.async_queue.action_flow import TaskActionFlow

    return TaskActionFlow(
        screen, screen.key, screen.api, now=screen.live.now, on_done=screen.on_action_done
    )
