"""The serving list: every serving with its status and the failure reason of its errors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.widgets import Input

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.fleet.query import (
    Query,
    QueryError,
    count_by_status,
    keeps_sort_position,
    parse_query,
    sort_views,
    toggle_status,
)
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.text import one_line
from tui import status_text
from tui.action_tables.action import POD_KEYS, Action
from tui.actions import ACTIONS_BY_ID, bindings
from tui.list_metrics import MAX_SORTED, ListMetrics
from tui.list_queues import ListQueues
from tui.log_permission import LogPermission
from tui.logs.target import LogTarget
from tui.namespace_shortcuts import NamespaceShortcuts
from tui.operation_flow import OPERATION_ACTIONS, OperationFlow
from tui.port_forward_flow import forwards_text
from tui.ports.serving_source import SourceChanges, SourceState
from tui.screens.create.flow import CreateFlow
from tui.screens.edit.edit_flow import EditFlow
from tui.screens.new_serving_progress import NewServingProgress
from tui.screens.serving_actions import ServingActionScreen
from tui.screens.serving_status_popover import ServingStatusPopover
from widgets.columns import with_widths
from widgets.figure_cells import FIGURE_KEYS
from widgets.header import HeaderData, ListHeader
from widgets.history_line import HistoryLine
from widgets.serving_rows import COLUMNS, KIND_COLUMN, ServingRowBuilder, status_span
from widgets.status_popover import StatusPopover
from widgets.styled_line import Line, Span
from widgets.table import TICK_SECONDS, KeyedTable
from widgets.text_view import StatusLine

if TYPE_CHECKING:
    from tui.screens.serving import ServingScreen

DEFAULT_SORT = "status"
ROLLOUT_KINDS = frozenset(
    {
        OperationKind.SCALE,
        OperationKind.RESTART,
        OperationKind.START,
        OperationKind.RESUME,
    }
)
"""Operations whose progress is shown below the list."""
DESCENDING_COLUMNS = frozenset({"restarts", *FIGURE_KEYS})
"""Columns that are sorted in descending order at first."""

SERVING_ACTIONS = frozenset(
    {
        "open",
        "status",
        "logs",
        "yaml",
        "describe",
        "connect",
        "clone",
        "mark",
        "unblock",
        *OPERATION_ACTIONS,
    }
)
"""Actions on the serving under the cursor."""


class ServingsScreen(ServingActionScreen[None]):
    """The list, its filter, and the status of the serving under the cursor."""

    SCOPE = "servings"
    BINDINGS: ClassVar[list[BindingType]] = bindings("servings", "list_filter", "app")
    AUTO_FOCUS = ""
    """The table gets the focus; before it has a size, the hidden filter would."""

    header = query_one(ListHeader)
    banner = query_one("#banner", StatusLine)
    filter_line = query_one("#filter", HistoryLine)
    table = query_one("#list", KeyedTable)
    popover = query_one(ServingStatusPopover)
    rollout_progress = query_one(NewServingProgress)

    def __init__(self) -> None:
        super().__init__()
        self.namespace = ""
        """The namespace that is shown; "" for all."""
        self.filter_query = parse_query("")
        """The current filter: the last valid one."""
        self.sort_column = DEFAULT_SORT
        self.sort_reverse = False
        self._metrics = ListMetrics(
            lambda: self.app_context.metrics_service,
            self.start_worker,
            self._on_metrics,
            is_utf8=lambda: self.app_context.is_utf8,
        )
        self._queues = ListQueues(lambda: self.app_context.async_queue_service, self._on_queues)
        self._row_builder = ServingRowBuilder(self._metrics.find, self._queues.find)
        self.create_flow = CreateFlow(
            self,
            shown_namespace=self._namespace_for_new,
            on_created=self.follow_progress,
            namespace_note=self._namespace_note,
        )
        self.operation_flow = OperationFlow(self, on_done=self._on_operations_done)
        self._log_permission = LogPermission(self, self.update_footer)
        self.edit_flow = EditFlow(
            self, self.operation_flow, on_saved=lambda key: self.rollout_progress.start(key)
        )
        self._namespace_shortcuts = NamespaceShortcuts()
        self._shortcuts_context: str | None = None
        """The context of these namespaces."""
        self._views: list[ServingView] = []
        self._positions: dict[NamespacedName, int] = {}
        """Where each of them is in the list."""
        self._is_outdated = False
        """Whether servings have changed while another screen was over the list."""
        self._page: ServingScreen | None = None
        """The page of the serving that was opened last, which is shown again for the next one."""

    def compose_body(self) -> ComposeResult:
        yield ListHeader()
        yield StatusLine(id="banner")
        yield HistoryLine("/", "text  !text  status:error  ns:team  -l key=value", id="filter")
        columns = with_widths(COLUMNS, self.app_context.column_widths)
        yield KeyedTable(columns, format_age=format_signed_duration, clock=self.now, id="list")
        yield NewServingProgress(
            lambda key: self.app_context.source.fleet.view(key), on_appeared=self._select_serving
        )
        yield ServingStatusPopover(
            POD_KEYS.split(","),
            self.now,
            row_position=lambda key: self.table.row_position(key),
            focus_list=lambda: self.table.focus(),
        )

    def on_mount(self) -> None:
        super().on_mount()
        self.filter_line.display = False
        self.banner.display = False
        self.table.configure_columns(
            sorted_by=(self.sort_column, False), wide=self.app_context.wide
        )
        self.table.focus()
        self.set_interval(TICK_SECONDS, self._tick)
        self.watch(self.table, "scroll_y", self.popover.reposition, init=False)
        self.update_all()

    def now(self) -> datetime:
        """The time that ages refer to."""
        return self.app_context.clock() if self.is_attached else datetime.now(UTC)

    # -- what it shows ------------------------------------------------------------------------

    def on_changes(self, changes: SourceChanges) -> None:
        """Servings, or the state of the connection, have changed."""
        if not self.is_attached:
            return
        changed = None if changes.state_changed else self._update_views(changes.keys)
        if not self.is_current:
            # Only the order, which the screen above may show, is kept up to date.
            self._is_outdated = True
            if changed is None:
                self._sort_views()
        elif changed is None:
            self.update_all()
        else:
            self._update_rows(changed)
            if len(changed) < len(changes.keys):
                self._update_surroundings()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        super().on_screen_resume(event)  # twice, as Textual calls that one too: no matter
        if not self.is_mounted:
            return
        if self._is_outdated:
            self.update_all()
        self._tick()

    def _update_views(self, keys: Collection[NamespacedName]) -> list[ServingView] | None:
        """Replace servings by what they are now if the order and the number of rows do not change,
        which holds for nearly all of a hundred Pod changes per second; returns those that are
        shown. Otherwise returns None, and replaces nothing."""
        fleet = self.app_context.source.fleet
        found: list[tuple[int, ServingView]] = []
        for key in keys:
            at, view = self._positions.get(key), fleet.view(key)
            if at is None:
                if not self._views or (view is not None and self._is_shown(view)):
                    return None
            elif view is None or not self._keeps_position(self._views[at], view):
                return None
            else:
                found.append((at, view))
        for at, view in found:
            self._views[at] = view
        return [view for _at, view in found]

    def _update_rows(self, views: list[ServingView]) -> None:
        self.table.update_rows([self._row_builder.rebuild_row(view) for view in views])
        self.popover.update_status()
        self.rollout_progress.update_progress()
        if any(view.key == self.table.cursor_key for view in views):
            self.update_message()
            self.update_footer()

    def _is_shown(self, view: ServingView) -> bool:
        return self.namespace in ("", view.key.namespace) and self.filter_query.matches(view)

    def _update_surroundings(self) -> None:
        """Update the header and the columns, which depend on all servings of the namespace."""
        source = self.app_context.source
        all_views = source.fleet.views()
        here = [view for view in all_views if self.namespace in ("", view.key.namespace)]
        self._namespace_shortcuts.assign_free(view.key.namespace for view in all_views)
        self._update_columns(here)
        self._update_header(here, source.state)

    def _keeps_position(self, before: ServingView, after: ServingView) -> bool:
        """Whether the counts, the filter and the order treat it as before."""
        return (
            before.status is after.status
            and self.filter_query.matches(after)
            and (self._is_sorted_by_figure or keeps_sort_position(before, after, self._sort_key))
        )

    def _sort_views(self) -> list[ServingView]:
        """Filter and sort the servings; returns all of the namespace that is shown."""
        all_views = self.app_context.source.fleet.views()
        if marked := self._row_builder.marked:
            # A serving of the same name that is created later is another one.
            self._row_builder.marked = marked & {view.key for view in all_views}
        here = [view for view in all_views if self.namespace in ("", view.key.namespace)]
        matching = self.filter_query.filter(here)
        if self._is_sorted_by_figure:
            self._views = self._metrics.sort(matching, self.sort_column, self.sort_reverse)
        else:
            self._views = sort_views(matching, self._sort_key, self.sort_reverse)
        self._positions = {view.key: at for at, view in enumerate(self._views)}
        return here

    def update_all(self) -> None:
        """Update list, header, banner and status; repaints only what differs."""
        self._is_outdated = False
        source = self.app_context.source
        state = source.state
        all_views = source.fleet.views()
        if self._shortcuts_context != source.context:
            self._row_builder.marked = frozenset()  # names are those of another cluster
            self._metrics.clear()
            self._queues.clear()
        here = self._sort_views()
        if self._shortcuts_context != source.context:
            self._namespace_shortcuts = NamespaceShortcuts(self.app_context.favorites)
            self._shortcuts_context = source.context
        self.table.set_placeholder(
            status_text.placeholder_lines(
                state,
                self.app_context.key_display_for,
                namespace=self.namespace or source.namespace,
                filter_text=self.filter_query.text,
                total=len(here),
                other_namespaces_total=len(all_views) - len(here),
                context=source.context,
            )
        )
        self.table.set_rows(self._row_builder.build_rows(self._views))
        self._update_surroundings()
        self._update_banner(state)
        self.popover.update_status()
        self.rollout_progress.update_progress()
        self.update_message()
        self.update_footer()

    @property
    def _sort_key(self) -> str:
        """The sort key of the column in `servedeck.fleet.query`."""
        return "" if self.sort_column == DEFAULT_SORT else self.sort_column

    @property
    def _is_sorted_by_figure(self) -> bool:
        return self.sort_column in FIGURE_KEYS

    def _update_columns(self, here: list[ServingView]) -> None:
        """The namespace column is hidden if all servings are in one namespace, that of the kind if
        all are Deployments, those of figures without a cluster."""
        app = self.app_context
        hidden = {c.key for c in COLUMNS if app.columns and c.key not in app.columns} - {"name"}
        if self.namespace or app.source.namespace:
            hidden.add("namespace")
        if all(view.key.is_deployment for view in here):
            hidden.add(KIND_COLUMN)
        if app.metrics_service is None:
            hidden |= FIGURE_KEYS
        self.table.configure_columns(hidden_columns=frozenset(hidden))

    def _update_header(self, here: list[ServingView], state: SourceState) -> None:
        app = self.app_context
        self.header.set_data(
            HeaderData(
                context=app.source.context,
                namespace=self.namespace or app.source.namespace,
                connection=status_text.connection_line(state),
                counts=count_by_status(here),
                shown_count=len(self._views),
                total_count=len(here),
                namespaces=self._namespace_shortcuts.namespaces,
                readonly=app.readonly,
                forwards=forwards_text(app),
            )
        )

    def _update_banner(self, state: SourceState) -> None:
        self.banner.set_text(
            status_text.banner_line(state, self.app_context.key_display_for, empty=not self._views),
            max_lines=3,
            indent=3,
        )
        self.table.set_class(state.stale_for is not None, "-stale")

    def on_port_forwards_changed(self) -> None:
        if self.is_attached:
            self._update_surroundings()

    def _tick(self) -> None:
        """Once per second: update ages, and the age of stale data."""
        if not self.is_current:
            self._queues.pause()
            return
        self.table.update_ages()
        self.popover.update_ages()
        source = self.app_context.source
        state = source.state
        if state.phase.name == "LIVE":
            self._check_metrics()
            self._follow_queues()
        if state.stale_for is not None:
            views = source.fleet.views()
            self._update_header(
                [v for v in views if self.namespace in ("", v.key.namespace)], state
            )

    # -- figures ------------------------------------------------------------------------------

    def _check_metrics(self, *, is_new_order: bool = False) -> None:
        """Read the figures that are on the screen; those of all servings of the list if they are
        sorted by one, as who is first needs all."""
        shown = self.table.visible_columns & FIGURE_KEYS
        if self._is_sorted_by_figure:
            if not (is_new_order or self._metrics.is_due):
                return
            # a serving without a Ready Pod has none
            ordered = sorted(self._views, key=lambda view: (not view.ready, view.key))
            wanted = [view.key for view in ordered[:MAX_SORTED]]
        elif shown:
            wanted = [cast(NamespacedName, row.key) for row in self.table.visible_rows]
        else:
            return
        self._metrics.check(wanted, with_recent="trend" in shown)

    def _on_metrics(self, keys: Collection[NamespacedName]) -> None:
        if not self.is_attached:
            return
        if not self.is_current:
            self._is_outdated = True
        elif self._is_sorted_by_figure:
            self._sort_views()
            self.table.set_rows(self._row_builder.build_rows(self._views))
        else:
            shown = [self._views[self._positions[key]] for key in keys if key in self._positions]
            self.table.update_rows([self._row_builder.rebuild_row(view) for view in shown])
        if self.is_current and self.table.cursor_key in keys:
            self.update_message()

    def _follow_queues(self) -> None:
        """Follow the async queues that are on the screen."""
        fleet = self.app_context.source.fleet
        shown = [fleet.view(cast(NamespacedName, row.key)) for row in self.table.visible_rows]
        self._queues.follow(view.key for view in shown if view and view.has_async_queue)

    def _on_queues(self, keys: Collection[NamespacedName]) -> None:
        if not self.is_attached:
            return
        if not self.is_current:
            self._is_outdated = True
        else:
            shown = [self._views[self._positions[key]] for key in keys if key in self._positions]
            self.table.update_rows([self._row_builder.rebuild_row(view) for view in shown])

    async def on_unmount(self) -> None:
        await self._queues.close()

    @property
    def selected_serving(self) -> ServingView | None:
        """The serving under the cursor."""
        key = self.table.cursor_key
        return (
            self.app_context.source.fleet.view(cast(NamespacedName, key))
            if key is not None
            else None
        )

    def default_message(self) -> Line:
        """The failure reason of the selected serving's state, or its endpoint."""
        if marked := self._marked_views:
            key = self.app_context.key_display_for("servings.back")
            hidden = len(self._row_builder.marked) - len(marked)
            more = f", {hidden} more not shown here" if hidden else ""
            what = f"{len(marked)} marked{more}"
            return ((" ", ""), (what, "accent"), (f"; {key} removes the marks.", "muted"))
        view = self.selected_serving
        if view is None:
            return ()
        spans: list[Span] = [(" ", ""), status_span(view.status), ("  ", "")]
        if view.message:
            spans.append((one_line(view.message), ""))
        elif view.endpoint.url:
            spans.append((view.endpoint.url, ""))
        elif view.endpoint.issue:
            spans.append((view.endpoint.issue, "muted"))
        if self.table.visible_columns & FIGURE_KEYS and (note := self._metrics.note(view.key)):
            spans += [("   Metrics: ", "muted"), (note, "muted")]
        return tuple(spans)

    def on_keyed_table_highlighted(self) -> None:
        self.update_message()
        self.update_footer()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        self._update_header_height()
        self.call_after_refresh(self.popover.reposition)

    def _update_header_height(self) -> None:
        """Number of lines of the header; the filter replaces the last one, so that no row moves."""
        height = self.size.height
        lines = 3 if height >= 18 else 2 if height >= 12 else 1
        self.header.styles.height = max(1, lines - 1) if self.filter_line.display else lines

    # -- actions ------------------------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        super().on_descendant_focus(event)  # twice, as Textual calls that one too: no matter
        self.update_footer()

    def scopes(self) -> tuple[str, ...]:
        if self.filter_line.input.has_focus:
            return ("filter", "list_filter")
        return ("status",) if self.popover.accepts_keys else (self.SCOPE,)

    def disabled_reason(self, action: Action) -> str:
        view = self.selected_serving
        if action.name in SERVING_ACTIONS and view is None:
            return "There is no serving under the cursor."
        if action.name == "clone" and view is not None and view.readonly_reason:
            return view.readonly_reason
        if action.name in ("create", "clone"):
            return self.create_flow.disabled_reason()
        if action.name == "mark" and view is not None:
            return view.readonly_reason
        if action.name == "rollback":  # shows the page of the serving under the cursor
            return self.operation_flow.serving_disabled_reason(OperationKind.ROLLBACK, view)
        if action.name in ("logs", "pod_log") and view is not None:
            if not view.pods:
                return view.no_pods_text
            return self._log_permission.disabled_reason(view.key.namespace)
        return self.change_disabled_reason(action)

    async def action_do(self, action_id: str, *arguments: str) -> None:
        if ACTIONS_BY_ID[action_id].name in SERVING_ACTIONS:
            self.table.keep_cursor_row()
        await super().action_do(action_id, *arguments)

    def do_connect(self) -> None:
        from tui.screens.connect import ConnectScreen

        if view := self.selected_serving:
            self.app.push_screen(ConnectScreen(view))

    def do_describe(self) -> None:
        from tui.screens.describe import DescribeScreen

        if view := self.selected_serving:
            self.app.push_screen(DescribeScreen(view))

    def do_open(self) -> None:
        if view := self.selected_serving:
            self._open_page(view)

    def do_logs(self) -> None:
        """The log of the first failing Pod; of all Pods where none fails."""
        if view := self.selected_serving:
            first = view.pods[0]  # failing Pods are first
            if first.health is PodHealth.OK:
                self._open_page(view, tab="logs")
            else:
                self._open_page(view, LogTarget(first.name, first.container))

    def open_page(self, view: ServingView, tab: str = "", log: LogTarget | None = None) -> None:
        """Open the page of a serving on the tab with that title, "" for the first, or on a log."""
        self.table.select(view.key)
        self._open_page(view, log, tab=tab)

    def do_yaml(self) -> None:
        if view := self.selected_serving:
            self._open_page(view, tab="yaml")

    def _open_page(self, view: ServingView, log: LogTarget | None = None, *, tab: str = "") -> None:
        from tui.panes.logs import LogsPane
        from tui.screens.serving import PANES, ServingScreen, find_pane

        pane = find_pane(tab) or PANES[0] if log is None else LogsPane
        page = self._page
        if page is None:
            page = ServingScreen(view, pane=pane, log=log, find_neighbor=self._find_neighbor)
            self._page = page
            self.app.install_screen(page, "serving")
        elif page in self.app.screen_stack:
            return  # it is open already
        else:
            page.reopen(view, pane=pane, log=log)
        self.app.push_screen(page, self._select_shown)

    def _select_shown(self, key: NamespacedName | None) -> None:
        """The page was closed: the cursor is on the serving that it showed last."""
        if key is not None:
            self.table.select(key)

    def _find_neighbor(self, key: NamespacedName, step: int) -> NamespacedName | None:
        """The serving before (-1) or after (1) another one in the list; None at its ends."""
        at = self._positions.get(key)
        to = -1 if at is None else at + step
        return self._views[to].key if 0 <= to < len(self._views) else None

    def do_create(self) -> None:
        self.start_worker(
            self.create_flow.start_new(), "create", busy_label="Checking your permissions"
        )

    def _namespace_for_new(self) -> str:
        if shown := self.namespace or self.app_context.source.namespace:
            return shown
        return self.selected_serving.key.namespace if self.selected_serving is not None else ""

    def _namespace_note(self) -> str:
        """Where the namespace of a new serving comes from, if nothing on the list shows it."""
        if self.namespace or self.app_context.source.namespace or self.selected_serving is None:
            return ""
        key = self.selected_serving.key
        return f"All namespaces are shown: the namespace {key.namespace} is that of {key.name}."

    def follow_progress(self, key: NamespacedName) -> None:
        """Show the progress of a new serving, with the cursor on it as soon as it is there."""
        if self.namespace not in ("", key.namespace):
            self.set_namespace(key.namespace)
        self.rollout_progress.start(key, is_new=True)

    def _select_serving(self, key: NamespacedName) -> None:
        if not self.table.select(key):
            self.clear_filter()
            self.table.select(key)

    def do_clone(self) -> None:
        if view := self.selected_serving:
            self.start_worker(
                self.create_flow.clone(view.key), "create", busy_label=f"Reading {view.key}"
            )

    # -- operations ---------------------------------------------------------------------------

    def do_mark(self) -> None:
        if view := self.selected_serving:
            self._set_marks(self._row_builder.marked ^ {view.key})

    def do_mark_all(self) -> None:
        shown = frozenset(view.key for view in self._views if not view.readonly_reason)
        self._set_marks(frozenset() if shown <= self._row_builder.marked else shown)

    def _set_marks(self, keys: frozenset[NamespacedName]) -> None:
        self._row_builder.marked = keys
        if not self.is_current:
            self._is_outdated = True  # drawn when the list is shown again
            return
        self.table.set_rows(self._row_builder.build_rows(self._views))
        self.update_message()
        self.update_footer()

    @property
    def _marked_views(self) -> list[ServingView]:
        """The marked servings that are shown, in the order of the list."""
        marked = self._row_builder.marked
        return [view for view in self._views if view.key in marked] if marked else []

    @property
    def operated_servings(self) -> Sequence[ServingView]:
        """The marked servings, or the one under the cursor."""
        return self._marked_views or super().operated_servings

    def do_rollback(self) -> None:
        if view := self.selected_serving:
            self._open_page(view, tab="rollouts")

    def _on_operations_done(self, operations: Sequence[Operation]) -> None:
        """The marks have served their purpose; the progress of a single rollout is shown. A serving
        that is scaled to 0 has none."""
        done = {NamespacedName(one.namespace, one.name): one for one in operations}
        if self._row_builder.marked & done.keys():
            self._set_marks(self._row_builder.marked - done.keys())
        for key, operation in done.items():
            if len(done) == 1 and operation.kind in ROLLOUT_KINDS and operation.replicas != 0:
                self.rollout_progress.start(key)

    def do_wide(self) -> None:
        self.table.configure_columns(wide=not self.table.wide)
        if self.table.wide and self.table.max_scroll_x > 0:
            self.show_message("All columns; left and right scroll, w goes back.")

    def do_sort_next(self) -> None:
        self._move_sort_column(1)

    def do_sort_previous(self) -> None:
        self._move_sort_column(-1)

    def _move_sort_column(self, step: int) -> None:
        # Hidden columns are skipped: the order would not be visible.
        every = [column.key for column in COLUMNS]
        names = [
            key for key in every if key in self.table.visible_columns or key == self.sort_column
        ]
        at = (names.index(self.sort_column) + step) % len(names)
        self._set_sort(names[at], names[at] in DESCENDING_COLUMNS)

    def do_sort_reverse(self) -> None:
        self._set_sort(self.sort_column, not self.sort_reverse)

    def _set_sort(self, column: str, reverse: bool) -> None:
        self.sort_column, self.sort_reverse = column, reverse
        self.table.configure_columns(sorted_by=(column, reverse))
        self.update_all()
        if self._is_sorted_by_figure:
            self._check_metrics(is_new_order=True)
            if len(self._views) > MAX_SORTED:
                some = f"{MAX_SORTED} of {len(self._views):,} servings"
                self.show_message(f"Sorted by the metrics of {some}; a filter compares others.")

    def on_keyed_table_header_clicked(self, message: KeyedTable.HeaderClicked) -> None:
        if message.column == self.sort_column:
            self.do_sort_reverse()
        else:
            self._set_sort(message.column, message.column in DESCENDING_COLUMNS)

    async def do_retry(self) -> None:
        self.app_context.source.retry_now()
        self.show_message("Retrying the API server.")

    def do_back(self) -> None:
        if self.popover.is_open:
            self.popover.close()
        elif self._marked_views:
            self._set_marks(frozenset())
        elif self.filter_line.display:
            self.clear_filter()
        elif not self.rollout_progress.hide():
            quit_key = self.app_context.key_display_for("servings.quit")
            self.show_message(f"Nothing to close or clear; {quit_key} quits.")

    async def do_quit(self) -> None:
        await self.app_context.do_quit()

    # -- namespaces ---------------------------------------------------------------------------

    async def do_namespace_key(self, key: str) -> None:
        name = self._namespace_shortcuts.namespace_for(int(key))
        if name is None:
            lists = self.app_context.key_display_for("servings.namespace")
            self.show_message(
                f"No namespace has the digit {key}; {lists} lists them all.", "warning"
            )
        else:
            await self.app_context.show_namespace(name)

    async def on_list_header_namespace_clicked(self, message: ListHeader.NamespaceClicked) -> None:
        await self.do_namespace_key(str(message.digit))

    def do_namespace(self) -> None:
        self.app_context.pick_namespace()

    def do_context(self) -> None:
        self.app_context.pick_context()

    def set_namespace(self, namespace: str) -> None:
        """Show one namespace, or all with ""."""
        self.namespace = namespace
        self.update_all()
        self.table.reset_widths()

    # -- filter -------------------------------------------------------------------------------

    def do_filter(self) -> None:
        self._set_filter_visible(True)
        self.filter_line.input.focus()

    def do_filters(self) -> None:
        from tui.saved_filters import pick_filter

        pick_filter(self, self.app_context.saved_filters, self._use_filter)

    def do_saved(self) -> None:
        self.do_filters()

    def _use_filter(self, text: str) -> None:
        self.filter_line.use(text)
        self.table.focus()
        self._set_filter_visible(bool(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        problem = ""
        try:
            self.filter_query = parse_query(event.value)
        except QueryError as error:
            problem = str(error)
        self.filter_line.show_error(problem)
        if self.selected_serving is None or not self.filter_query.matches(self.selected_serving):
            self.table.reset_cursor()
        self.update_all()

    def on_input_submitted(self) -> None:
        self.table.focus()
        self._set_filter_visible(bool(self.filter_line.text.strip()))

    def _set_filter_visible(self, shown: bool) -> None:
        self.filter_line.display = shown
        self._update_header_height()

    def clear_filter(self) -> None:
        self.filter_query = Query("", ())
        self.filter_line.input.value = ""
        self._set_filter_visible(False)
        self.table.focus()
        self.update_all()

    def on_list_header_status_clicked(self, message: ListHeader.StatusClicked) -> None:
        text = toggle_status(self.filter_line.text, message.status)
        self.filter_line.input.value = text  # handled as if it were typed
        if not self.filter_line.input.has_focus:
            self._set_filter_visible(bool(text))

    # -- status -------------------------------------------------------------------------------

    def do_status(self) -> None:
        if view := self.selected_serving:
            self.popover.open(view)

    def on_keyed_table_cell_clicked(self, message: KeyedTable.CellClicked) -> None:
        if message.is_double_click:
            self.do_open()
        elif message.column == "status":
            self.do_status()
        elif self.popover.is_open:
            self.popover.close()

    def on_keyed_table_cell_hovered(self, message: KeyedTable.CellHovered) -> None:
        self.popover.handle_hover(
            cast(NamespacedName, message.key) if message.column == "status" else None
        )

    def on_status_popover_closed(self) -> None:
        self.popover.close()

    def on_status_popover_unknown_key_pressed(
        self, message: StatusPopover.UnknownKeyPressed
    ) -> None:
        count = len(self.popover.view.pods) if self.popover.view is not None else 0
        self.show_message(f"{message.key}: the serving has {count} Pod{'' if count == 1 else 's'}.")

    def on_status_popover_log_requested(self, message: StatusPopover.LogRequested) -> None:
        if self.popover.view is not None:
            self._open_page(self.popover.view, LogTarget(message.pod.name, message.pod.container))
