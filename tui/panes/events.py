"""The tab Events: those of the serving and its objects, newest at the end and followed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.message import Message
from textual.widgets import Input

from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.detail.detail_service import EventWatch
from servedeck.detail.serving_events import EventSelection, event_objects
from servedeck.fleet.views import NamespacedName, ServingView, changed_pods
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.objects.records import Event
from servedeck.serving.query_terms import QueryError
from servedeck.serving.status.event_history import EventEntry, EventKey, count_warnings
from servedeck.serving.status.event_query import EventQuery, parse_event_query
from servedeck.serving.status.events import event_sort_time
from servedeck.serving.text import format_count
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.clipboard import copy_with_message
from tui.deployment_watch import watch_deployment
from tui.panes.base import Pane
from tui.ports.serving_source import SourceChanges
from widgets.columns import Row
from widgets.event_rows import EVENT_COLUMNS, TIME_MIN_WIDTH, build_event_row, event_text
from widgets.filter_line import FilterLine
from widgets.styled_line import Line, Span, wrap
from widgets.table import KeyedTable
from widgets.text_view import StatusLine

MAX_HEADING_LINES = 4
MAX_MESSAGE_LINES = 3
"""Lines of the message of the Event under the cursor."""
PORTION = 200
"""Events that are added at once, in about 10 ms: no key waits until thousands are added."""
PORTION_PAUSE_SECONDS = 0.005
"""Seconds between two portions: keys are handled and painted."""


class EventsPane(Pane):
    """Follows the Events of one serving. While the cursor is not on the last line the list is
    paused: new Events are added at its end, and no line moves."""

    TITLE = "Events"
    SCOPE = "events"
    BINDINGS: ClassVar[list[BindingType]] = bindings("events")
    heading = query_one("#events-heading", StatusLine)
    filter_line = query_one(FilterLine)
    table = query_one("#events", KeyedTable)
    message_view = query_one("#event-message", StatusLine)

    @dataclass
    class Opened(Message):
        """An Event was opened."""

        pane: EventsPane
        serving_uid: str
        key: EventKey

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._last_view: ServingView | None = None
        """What is shown: the Events of a deleted serving stay."""
        self._event_watch: EventWatch | None = None
        self._deployment_watch: DeploymentWatch | None = None
        self._selection = EventSelection()
        self._events_to_add: list[Event] = []
        """The oldest first."""
        self._query = EventQuery("")
        self._warnings_only = False
        self._is_following = True
        self._paused_entries: dict[EventKey, EventEntry] = {}
        """The entries when the list was paused: all others are new."""
        self._paused_order: dict[EventKey, None] = {}
        """Order of the lines while the list is paused."""
        self._all_entries: list[EventEntry] = []
        self._shown_entries: list[EventEntry] = []
        """The entries that match, in the order of the lines."""
        self._rows: dict[EventKey, tuple[EventEntry, Row]] = {}
        self._rows_date: date | None = None
        """The day on which the rows were built: times of other days have a date."""

    def compose(self) -> ComposeResult:
        yield StatusLine(id="events-heading")
        yield FilterLine("/", "text  !text  type:warning  kind:pod  reason:back  object:name")
        yield KeyedTable(
            EVENT_COLUMNS, format_age=format_signed_duration, clock=self._now, id="events"
        )
        yield StatusLine(id="event-message")

    def on_mount(self) -> None:
        self.filter_line.display = False

    def _now(self) -> datetime:
        return self.app_context.clock() if self.is_attached else datetime.now(UTC)

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._last_view = None
        self._event_watch = self._deployment_watch = None
        self._forget_lines()

    def _forget_lines(self) -> None:
        """Another serving is shown."""
        self._selection = EventSelection()
        self._events_to_add = []
        self._is_following = True
        self._paused_entries, self._paused_order = {}, {}
        self._all_entries, self._shown_entries = [], []
        self._rows = {}
        if self.is_attached:
            self.table.set_rows([])
            self.table.reset_cursor()

    def activate(self) -> None:
        super().activate()
        self.table.focus()
        self._open_watches_of_serving()
        self._refresh()

    def _open_watches_of_serving(self) -> None:
        service = self.app_context.detail_service
        self._selection = EventSelection()
        self._events_to_add = []
        self._event_watch = self.add_watch(
            service.watch_events(self.key.namespace, self._refresh_if_active)
        )
        self._deployment_watch = self.add_watch(
            watch_deployment(self.app_context, self.key, self._refresh_if_active)
        )

    def _refresh_if_active(self) -> None:
        if self.is_active:
            self._refresh()

    def on_changes(self, changes: SourceChanges) -> None:
        if self._event_watch is None and changes.state_changed:
            self.close_watches()
            self._open_watches_of_serving()
            self._refresh()
        elif self.key in changes.keys:
            if self._has_same_events(self.view):
                self._last_view = self.view
            else:
                self._refresh()

    def _has_same_events(self, view: ServingView | None) -> bool:
        """Whether only the state of Pods has changed, so that the Events are the same: of thousands
        of Pods one always changes."""
        before = self._last_view
        return (
            before is not None
            and view is not None
            and len(before.pods) == len(view.pods)
            and before.events == view.events
            and before.without_pods() == view.without_pods()
            and all(
                earlier is not None and earlier.events == pod.events
                for earlier, pod in changed_pods(before.pods, view.pods)
            )
        )

    def _refresh(self) -> None:
        """Events or objects of the serving have changed."""
        view = self.view
        if view is not None:
            if self._last_view is not None and self._last_view.uid != view.uid:
                self._forget_lines()  # it was made again under the same name
            self._last_view = view
        if (view := self._last_view) is None:
            return
        if self._event_watch is not None:
            fleet, watch = self.app_context.source.fleet, self._deployment_watch
            deployment = watch.deployment if watch is not None else None
            objects = event_objects(
                view,
                deployment.value if deployment is not None else {},
                watch.replicasets if watch is not None else (),
                fleet.related_objects(view.key),
                (one.key for one in fleet.views()),
            )
            found = self._selection.select(self._event_watch.records, objects)
            is_adding = bool(self._events_to_add)
            self._events_to_add += sorted(found, key=event_sort_time)
            if is_adding:
                return
        self._add_portion()

    def _add_portion(self) -> None:
        """Add the next Events to the history, and show them once all are added."""
        view = self._last_view
        if view is None or not self.is_active:
            return
        history, now = self.app_context.history.events, self._now()
        portion, self._events_to_add = self._events_to_add[:PORTION], self._events_to_add[PORTION:]
        changed = history.record(view.uid, portion)
        if not self._events_to_add:
            self._update()
            return
        self._forget_rows_of_other_days(now)
        for key in changed:
            if (entry := history.entry(view.uid, key)) is not None:
                self._row_of(entry, view, now)
        self.set_timer(PORTION_PAUSE_SECONDS, self._add_portion)

    # -- what is shown ------------------------------------------------------------------------

    def _update(self) -> None:
        """Show the entries that match."""
        view = self._last_view
        if view is None or not self.is_active:
            return
        if self._events_to_add and not self._all_entries:
            self.table.set_placeholder(self._placeholder())
            return  # else the older ones would be added between the lines, or below a paused list
        self._all_entries = list(self.app_context.history.events.entries(view.uid))
        matching = self._all_entries
        if self._warnings_only or self._query.predicates:
            matching = [one for one in matching if self._matches(one)]
        if self._is_following:
            self._shown_entries = matching
        else:
            by_key = {entry.key: entry for entry in matching}
            self._paused_order |= dict.fromkeys(by_key)  # those that are new are last
            self._shown_entries = [by_key[key] for key in self._paused_order if key in by_key]
        self.table.set_placeholder(self._placeholder())
        rows = self._build_rows(view)
        self.table.set_rows(rows)
        if self._is_following and rows:
            self.table.select(rows[-1].key)
        self._update_texts()
        self.post_message(self.ActionsChanged())

    def _matches(self, entry: EventEntry) -> bool:
        return (entry.is_warning or not self._warnings_only) and self._query.matches(entry)

    def _build_rows(self, view: ServingView) -> list[Row]:
        """The rows of the entries that are shown; those of unchanged entries are reused."""
        now = self._now()
        self._forget_rows_of_other_days(now)
        rows = [self._row_of(entry, view, now) for entry in self._shown_entries]
        if len(self._rows) > 2 * len(self._all_entries) + 100:
            self._rows = {entry.key: self._rows[entry.key] for entry in self._shown_entries}
        return rows

    def _forget_rows_of_other_days(self, now: datetime) -> None:
        if (today := now.astimezone().date()) != self._rows_date:
            self._rows, self._rows_date = {}, today

    def _row_of(self, entry: EventEntry, view: ServingView, now: datetime) -> Row:
        known = self._rows.get(entry.key)
        if known is None or known[0] is not entry:
            known = self._rows[entry.key] = (entry, build_event_row(entry, view.key.name, now))
        return known[1]

    def _placeholder(self) -> tuple[Line, ...]:
        watch = self._event_watch
        if self._all_entries:
            text = "No Event matches the filter."
            if self._warnings_only and self._query.predicates:
                text = "No Warning matches the filter."
            elif self._warnings_only:
                key = self.app_context.key_display_for("events.warnings")
                text = f"No Warning matches; {key} shows all types."
        elif watch is None:
            text = "Not connected to the API server."
        elif watch.missing_permission:
            text = watch.missing_permission
        elif not self._is_settled:
            text = "Loading…"
        else:
            text = "No Events in the last hour."
        return (((f"  {text}", "muted"),),)

    @property
    def _is_settled(self) -> bool:
        """Whether the Events, and the objects that they may be about, are known."""
        watches = (self._event_watch, self._deployment_watch)
        return not self._events_to_add and all(
            watch is not None and watch.is_settled for watch in watches
        )

    def _update_texts(self) -> None:
        if not self.is_attached or not (width := self.heading.inner_width):
            return
        lines = wrap(self._heading_line(), width, indent=1)
        for problem in self._problems():
            lines += wrap(((" ", ""), (problem, "warning")), width, indent=1)
        lines = lines[:MAX_HEADING_LINES]
        self.heading.styles.height = len(lines)
        self.heading.set_lines(*lines)
        self._update_message_view(width)

    def _heading_line(self) -> Line:
        """How many Events there are, whether they are followed, and what is filtered."""
        total, shown = len(self._all_entries), len(self._shown_entries)
        dropped = (
            self.app_context.history.events.dropped_count(self._last_view.uid)
            if self._last_view is not None
            else 0
        )
        spans: list[Span] = [(" ", "")]
        if shown < total:
            spans.append((f"{shown:,} of {format_count(total, 'Event')}", "strong"))
        else:
            spans.append((format_count(total, "Event"), "strong"))
        if warnings := count_warnings(self._all_entries):
            spans += [("  ", ""), (format_count(warnings, "Warning"), "warning")]
        if self._warnings_only:
            spans += [("  ", ""), ("Warnings only", "accent")]
        if not self._is_following:
            new = sum(
                self._paused_entries.get(entry.key) is not entry for entry in self._shown_entries
            )
            spans += [("  ", ""), (f"paused, {new:,} new", "pending")]
        elif self._event_watch is not None and self._is_settled:
            spans += [("  ", ""), ("✓ following", "ready")]
        if dropped:
            spans += [("  ", ""), (f"{dropped:,} older dropped", "muted")]
        return tuple(spans)

    def _problems(self) -> list[str]:
        """Sentences about what cannot be shown."""
        event_watch, watch = self._event_watch, self._deployment_watch
        problems: list[str] = []
        if event_watch is not None and event_watch.missing_permission and self._all_entries:
            problems.append(f"Only Events seen before: {event_watch.missing_permission}")
        if watch is not None and watch.missing_permission:
            problems.append(
                f"Events of ReplicaSets, PVCs and deleted Pods are missing: "
                f"{watch.missing_permission}"
            )
        return problems

    def _update_message_view(self, width: int) -> None:
        """Show the message of the Event under the cursor; its lines stay the same in number, so
        that no row moves with the cursor."""
        height = self.size.height
        room = MAX_MESSAGE_LINES if height >= 16 else 1 if height >= 10 else 0
        entry = self._selected_entry
        self.message_view.display = bool(room and self._shown_entries)
        if room and entry is not None:
            lines = wrap(((" ", ""), (entry.message or "No message.", "")), width - 1, indent=1)
            self.message_view.styles.height = room
            self.message_view.set_lines(*lines[:room])

    def on_resize(self) -> None:
        narrow = self.size.width < TIME_MIN_WIDTH
        self.table.configure_columns(hidden_columns=frozenset({"time"} if narrow else ()))
        self.call_after_refresh(self._update_texts)

    def update_ages(self) -> None:
        self.table.update_ages()

    @property
    def _selected_entry(self) -> EventEntry | None:
        """The Event under the cursor."""
        at = self.table.cursor
        return self._shown_entries[at] if at < len(self._shown_entries) else None

    # -- following ----------------------------------------------------------------------------

    def on_keyed_table_highlighted(self, message: KeyedTable.Highlighted) -> None:
        message.stop()
        rows = self.table.rows
        at_end = not rows or self.table.cursor == len(rows) - 1
        if at_end != self._is_following:
            self._set_following(at_end)
        else:
            self._update_texts()

    def _set_following(self, following: bool) -> None:
        self._is_following = following
        self._paused_entries = {} if following else {one.key: one for one in self._all_entries}
        self._paused_order = {} if following else {one.key: None for one in self._shown_entries}
        self._update()

    def do_follow(self) -> None:
        self._set_following(not self._is_following)

    # -- filter -------------------------------------------------------------------------------

    def scopes(self) -> tuple[str, ...]:
        if self.is_mounted and self.filter_line.input.has_focus:
            return ("filter",)
        return super().scopes()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.post_message(self.ActionsChanged())

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        self.post_message(self.ActionsChanged())

    def do_filter(self) -> None:
        self.filter_line.display = True
        self.filter_line.input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        problem = ""
        try:
            self._query = parse_event_query(event.value)
        except QueryError as error:
            problem = str(error)
        self.filter_line.show_error(problem)
        self._show_other_entries()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.table.focus()
        self.filter_line.display = bool(self.filter_line.text.strip())

    def on_filter_line_cleared(self, message: FilterLine.Cleared) -> None:
        message.stop()
        self.table.focus()
        self.filter_line.display = False

    def go_back(self) -> bool:
        if not self.filter_line.text.strip():
            return False
        self.filter_line.input.value = ""
        self.filter_line.display = False
        self.table.focus()
        return True

    def do_warnings(self) -> None:
        self._warnings_only = not self._warnings_only
        self._show_other_entries()

    def _show_other_entries(self) -> None:
        """Other entries match. A paused list is put in order, as it has other lines anyway."""
        self._paused_order = {}
        self._update()

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name in ("open", "copy") and self._selected_entry is None:
            return "There is no Event under the cursor."
        return ""

    def do_open(self) -> None:
        entry = self._selected_entry
        if entry is not None and self._last_view is not None:
            self.post_message(self.Opened(self, self._last_view.uid, entry.key))

    def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        message.stop()
        if message.is_double_click:
            self.do_open()

    async def do_copy(self) -> None:
        if (entry := self._selected_entry) is None:
            return
        shown = f"{entry.reason} of {entry.kind} {entry.name}"
        self.show_message(
            *await copy_with_message(event_text(entry), self.app_context.write_to_terminal, shown)
        )
