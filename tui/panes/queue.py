"""The tab Async Queue: the state of the queue and its tasks, the newest first and followed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from time import monotonic
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Input

from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.task_filter import check_typed_filter
from servedeck.async_queue.tasks import Task, TaskState
from servedeck.fleet.views import NamespacedName
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.moment import date_of
from servedeck.serving.query_terms import QueryError
from tui.actions import bindings
from tui.async_queue.action_pane import TaskActionPane
from tui.async_queue.heading import heading_lines, shown_time
from tui.async_queue.task_texts import list_info, placeholder_lines, task_note
from tui.ports.serving_source import SourceChanges
from widgets.filter_line import FilterLine
from widgets.styled_line import Line, align_left_right
from widgets.table import KeyedTable
from widgets.task_rows import SORT_COLUMNS, TASK_COLUMNS, sort_tasks
from widgets.task_states import STATES, TaskStates
from widgets.task_table import TaskTable
from widgets.text_view import StatusLine

AGE_COLUMN = SORT_COLUMNS[0]
MIN_NOTE_HEIGHT = 10
"""Lines of the tab from which the last one says more about the task under the cursor."""


class QueuePane(TaskActionPane):
    """Follows the async queue of one serving. While the cursor is not on the first line the list is
    paused: new tasks are counted, and no line moves."""

    TITLE = "Async Queue"
    BINDINGS: ClassVar[list[BindingType]] = bindings("queue")
    heading = query_one("#queue-heading", StatusLine)
    states = query_one(TaskStates)
    filter_line = query_one(FilterLine)
    note = query_one("#task-note", StatusLine)

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._had_queue = False
        """Whether the gateway was there when the serving changed last."""
        self._sort_column, self._is_sort_reversed = AGE_COLUMN, False
        self._wants_end = False
        """Whether the cursor goes to the last task as soon as that is loaded."""
        self._keeps_line = False
        """Whether the cursor stays on its line in the next list: it was moved in one that had been
        replaced, so that its task may be far from there."""
        self._possible: object = None
        """What the actions that are possible depend on, as it was last."""

    def compose(self) -> ComposeResult:
        yield StatusLine(id="queue-heading")
        yield TaskStates(id="queue-states")
        yield FilterLine("/", "text  !text  path:/v1  error:timeout  status:503  age:>10m")
        yield TaskTable(
            TASK_COLUMNS, format_age=format_signed_duration, clock=self._clock, id="tasks"
        )
        yield StatusLine(id="task-note")

    def on_mount(self) -> None:
        self.filter_line.display = False
        self.table.configure_columns(sorted_by=(self._sort_column, self._is_sort_reversed))

    def _clock(self) -> datetime:
        """The time that the ages refer to, by the clock of the store."""
        return date_of(self._now)

    @property
    def _now(self) -> float:
        if self._live is not None:
            return shown_time(self._live)
        return self.app_context.clock().timestamp() if self.is_attached else 0.0

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._set_marks({})
        self._wants_end = False
        if self.is_attached:
            self.table.set_rows([])
            self.table.reset_cursor()

    def activate(self) -> None:
        super().activate()
        self.table.focus()
        self._open()
        self._update()

    def deactivate(self) -> None:
        super().deactivate()
        self._disconnect()

    def _open(self) -> None:
        view = self.view
        self._had_queue = view is not None and view.has_async_queue
        self._connect()
        if self._live is not None:
            self._live.visible = self._visible_ids
        self._ask()

    def on_changes(self, changes: SourceChanges) -> None:
        if self._live is None:
            if changes.state_changed:
                self._open()
                self._update()
            return
        view = self.view
        has_queue = view is not None and view.has_async_queue
        if has_queue and not self._had_queue and self._live.phase is not LivePhase.LIVE:
            self._live.retry_now()
        self._had_queue = has_queue

    @property
    def is_loading(self) -> bool:
        live = self._live
        return live is not None and live.phase is LivePhase.CONNECTING

    # -- what is shown ------------------------------------------------------------------------

    @property
    def _is_shown(self) -> bool:
        # While it is removed, its parts are gone before it is, and it is displayed no more.
        return self.is_active and self.is_mounted and self.display

    def _on_live_change(self) -> None:
        if self._is_shown:
            self._update()

    def _show_marks(self) -> None:
        self._update()

    def _update(self) -> None:
        """Tasks, or the state of the queue, have changed."""
        live, table = self._live, self.table
        if self.view is None and live is not None and live.phase is LivePhase.OFF and table.rows:
            table.set_class(True, "-stale")  # the serving was deleted: its last tasks stay
            self._note_possible()
            return
        self._note_cursor()
        before = table.cursor_key
        tasks = self.listed_tasks()
        if self._marked:
            self._marked |= {one.id: one for one in tasks if one.id in self._marked}
        marked = {one.id for one in tasks} if self._has_marked_all else self._marked
        rows = self._rows.build_rows(tasks, marked)
        table.set_placeholder(
            placeholder_lines(live, self._problem, self.app_context.key_display_for)
        )
        line = table.cursor
        is_followed = live is not None and live.is_following and not self._wants_end
        if is_followed or self._keeps_line:
            table.reset_cursor()
        table.set_rows(rows)
        if rows and self._keeps_line and not is_followed:
            table.select(rows[min(line, len(rows) - 1)].key)
        self._keeps_line = False
        if live is not None and rows and self._wants_end and not live.is_loading:
            self._wants_end = False
            table.select(rows[-1].key)
        if live is not None:
            self._load_if_needed(live)
        if before not in (None, table.cursor_key):
            self._moved_at = monotonic()
        table.set_class(live is not None and live.lost_at is not None, "-stale")
        self._update_texts()
        self._note_possible()

    def listed_tasks(self) -> Sequence[Task]:
        live = self._live
        if live is None:
            return ()
        if self._is_by_age:
            return live.tasks
        return sort_tasks(
            live.tasks, self._sort_column, is_reversed=self._is_sort_reversed, now=self._now
        )

    @property
    def _is_by_age(self) -> bool:
        """Whether the lines are in the order in which pages are loaded."""
        return self._sort_column == AGE_COLUMN

    def _update_texts(self) -> None:
        width, height = self.size.width, self.size.height
        if not self.is_attached or not width:
            return
        live, status = self._live, self._status
        most = 4 if height >= 30 else 2 if height >= 14 else 1
        is_utf8 = self.app_context.is_utf8
        lines: list[Line] = []
        if live is not None:
            lines = heading_lines(live, self.key.name, width, most, is_utf8=is_utf8)
        self.heading.display = bool(lines)
        if lines:
            self.heading.styles.height = len(lines)
            self.heading.set_lines(*lines)
        self.states.display = status is not None or bool(self.table.rows)
        counts = None
        if status is not None:
            counts = {state: int(getattr(status.counts, state.value)) for state in TaskState}
        self.states.set_counts(counts, self._query.state)
        self._update_note(live, width, height)

    def _update_note(self, live: LiveQueue | None, width: int, height: int) -> None:
        """What became of the task under the cursor, and what the list shows."""
        rows = self.table.rows
        self.note.display = bool(rows) and height >= MIN_NOTE_HEIGHT
        if live is None or not self.note.display:
            return
        line = task_note(self.selected_task)
        key = self.app_context.key_display_for
        info = list_info(live, len(rows), self._marks_text, key, is_by_age=self._is_by_age)
        self.note.set_lines(align_left_right(line, (*info, (" ", "")), width) if info else line)

    def _note_possible(self) -> None:
        """Update the footer if other actions are possible; that takes longer than a change of the
        tasks."""
        live, task, status = self._live, self.selected_task, self._status
        possible = (
            live.phase if live is not None else None,
            task is not None and (task.id, task.state, task.pod),
            tuple(self._marked),
            frozenset(self._target_states),
            self._has_marked_all,
            status is not None and (not status.counts.failed, not status.counts.pending),
        )
        if possible != self._possible:
            self._possible = possible
            self.post_message(self.ActionsChanged())

    def on_resize(self) -> None:
        if self.is_active:
            self.call_after_refresh(self._show_resized)

    def _show_resized(self) -> None:
        if self.is_active:
            self._update_texts()

    def update_ages(self) -> None:
        self.table.update_ages()
        self._update_texts()

    # -- moving -------------------------------------------------------------------------------

    def _visible_ids(self) -> Sequence[str]:
        if not self._is_shown:
            return ()
        keys = [row.key for row in self.table.visible_rows]
        # The cursor may be where it is not scrolled to yet.
        return [str(one) for one in (*keys, self.table.cursor_key) if one]

    def _note_cursor(self) -> None:
        """Pause the list as soon as the cursor has left the first line."""
        live, table = self._live, self.table
        if live is not None and live.is_following and table.cursor > 0:
            top = str(table.rows[0].key)
            self._keeps_line = live.find(str(table.cursor_key)) is None
            live.set_following(False, newest=top if self._is_by_age else "")

    def on_keyed_table_highlighted(self, message: KeyedTable.Highlighted) -> None:
        message.stop()
        live, table = self._live, self.table
        if live is None or not table.rows:
            return
        self._note_cursor()
        if not live.is_following and table.cursor == 0 and self._is_start_shown(live):
            live.set_following(True)
        self._load_if_needed(live)
        self._update_texts()
        self._note_possible()

    def _is_start_shown(self, live: LiveQueue) -> bool:
        """Whether the first line is the start of the list. Pages may be loaded that are not shown
        yet: the first line is then in the midst of them."""
        if not self._is_by_age:
            return True
        if not live.tasks or live.tasks[0].id != self.table.rows[0].key:
            return False
        return live.is_paused_at_start or not live.has_before

    def _load_if_needed(self, live: LiveQueue) -> None:
        """Load the next page before the cursor comes to the first or last line, however fast it is
        moved by pages."""
        table = self.table
        is_paused = self._is_by_age and not (live.is_following or live.is_paused_at_start)
        if is_paused and table.rows and table.cursor < table.body_height:
            live.load_before()
        screens = 2 if live.is_following else 4
        if table.cursor + screens * table.body_height >= len(table.rows):
            live.load_after()

    def on_task_table_edge_requested(self, message: TaskTable.EdgeRequested) -> None:
        message.stop()
        live = self._live
        if live is None:
            return
        self._wants_end = False
        if message.at_end:
            if self._is_by_age and live.has_after:
                self._wants_end = True
                live.go_to_end()
        else:
            if live.has_before:
                live.go_to_start()
            else:
                live.set_following(True)

    # -- which tasks --------------------------------------------------------------------------

    def scopes(self) -> tuple[str, ...]:
        if self.is_mounted and self.filter_line.input.has_focus:
            return ("filter",)
        return super().scopes()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.post_message(self.ActionsChanged())

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        self.post_message(self.ActionsChanged())

    def _ask(self) -> None:
        """Ask for the tasks that match, from the first on."""
        self._wants_end = False
        if self._live is not None:
            oldest_first = self._is_by_age and self._is_sort_reversed
            self._live.set_query(self._query, oldest_first=oldest_first)

    def _ask_other(self) -> None:
        """Other tasks match, or in another order: the cursor goes to the top."""
        self._has_marked_all = False
        if self.table.rows:
            self.table.select(self.table.rows[0].key)
        self.table.reset_cursor()
        self._ask()
        self._update()

    def do_filter(self) -> None:
        self.filter_line.display = True
        self.filter_line.input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        problem, text = "", event.value.strip()
        try:
            check_typed_filter(text)
        except QueryError as error:
            problem = str(error)
        self.filter_line.show_error(problem)
        if not problem and text != self._query.text:
            self._query = self._query._replace(text=text)
            self._ask_other()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.table.focus()
        self.filter_line.display = bool(self.filter_line.text.strip())

    def on_filter_line_cleared(self, message: FilterLine.Cleared) -> None:
        message.stop()
        self.table.focus()
        self.filter_line.display = False

    def go_back(self) -> bool:
        if self._marked or self._has_marked_all:
            self._set_marks({})
        elif self.filter_line.text.strip():
            self.filter_line.input.value = ""
            self.filter_line.display = False
            self.table.focus()
        elif self._query.state is not None:
            self._choose_state(None)
        else:
            return False
        return True

    def do_state(self) -> None:
        self._move_state(1)

    def do_previous_state(self) -> None:
        self._move_state(-1)

    def _move_state(self, step: int) -> None:
        self._choose_state(STATES[(STATES.index(self._query.state) + step) % len(STATES)])

    def on_task_states_chosen(self, message: TaskStates.Chosen) -> None:
        message.stop()
        self._choose_state(message.state)

    def _choose_state(self, state: TaskState | None) -> None:
        self._query = TaskQuery(state, self._query.text)
        self._ask_other()

    def do_sort_next(self) -> None:
        self._move_sort_column(1)

    def do_sort_previous(self) -> None:
        self._move_sort_column(-1)

    def _move_sort_column(self, step: int) -> None:
        at = (SORT_COLUMNS.index(self._sort_column) + step) % len(SORT_COLUMNS)
        self._sort_by(SORT_COLUMNS[at])

    def do_sort_reverse(self) -> None:
        self._set_sort(self._sort_column, not self._is_sort_reversed)

    def _sort_by(self, column: str) -> None:
        """The newest first, or what is longest or most."""
        self._set_sort(column, column != AGE_COLUMN)

    def _set_sort(self, column: str, is_reversed: bool) -> None:
        self._sort_column, self._is_sort_reversed = column, is_reversed
        self.table.configure_columns(sorted_by=(column, is_reversed))
        live = self._live
        if live is not None and live.oldest_first != (self._is_by_age and is_reversed):
            self._ask_other()
        else:
            self._update()

    def on_keyed_table_header_clicked(self, message: KeyedTable.HeaderClicked) -> None:
        message.stop()
        if message.column == self._sort_column:
            self.do_sort_reverse()
        elif message.column in SORT_COLUMNS:
            self._sort_by(message.column)

    def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        message.stop()
        if message.is_double_click:
            self.do_open()

    def do_wide(self) -> None:
        self._rows.is_wide = not self.table.wide
        self.table.configure_columns(wide=self._rows.is_wide)
        self._update()
        self.table.reset_widths()
