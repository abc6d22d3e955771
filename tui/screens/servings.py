"""The serving list: every serving with its true status, and why the broken ones are broken."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.widgets import Input

from servedeck.fleet.query import Query, QueryError, counts, parse, same_place, sort, toggled_status
from servedeck.fleet.views import Key, PodView, ServingView
from servedeck.serving.text import one_line
from servedeck.serving.units import signed_age
from tui import status_text
from tui.actions import BY_ID, POD_KEYS, Action, bindings
from tui.namespace_shortcuts import Digits
from tui.screens.base import ActionScreen
from tui.screens.create.flow import Creating
from tui.screens.status import StatusPane
from tui.source import Changes, State
from widgets.header import FleetHeader, Heading
from widgets.line_input import LineInput
from widgets.rollout_progress import LadderStrip
from widgets.serving_rows import COLUMNS, Rows, status_word
from widgets.status_popover import StatusPopover
from widgets.styled_line import Line, Span
from widgets.table import TICK, FleetTable
from widgets.text_view import Bar

DEFAULT_SORT = "status"
MOST_FIRST = frozenset({"restarts"})
"""Columns whose greatest values are of interest."""

OF_THE_SELECTED = frozenset({"status", "logs", "connect", "clone"})
"""Actions on the serving under the cursor."""


class ServingsScreen(ActionScreen[None]):
    """The list, its filter, and the status of the serving under the cursor."""

    SCOPE = "servings"
    BINDINGS: ClassVar[list[BindingType]] = bindings("servings", "app")
    AUTO_FOCUS = ""
    """The table takes it; where that has no room yet, the hidden filter would."""

    header = query_one(FleetHeader)
    banner = query_one("#banner", Bar)
    filter_line = query_one("#filter", LineInput)
    table = query_one("#list", FleetTable)
    popover = query_one(StatusPopover)
    ladder = query_one(LadderStrip)

    def __init__(self) -> None:
        super().__init__()
        self.namespace = ""
        """The namespace that is shown; "" for all."""
        self.filter_query = parse("")
        """The filter in force: the last one that could be read."""
        self.sort_column = DEFAULT_SORT
        self.sort_reverse = False
        self._rows = Rows()
        self.creating = Creating(self)
        self._digits = Digits()
        self._digits_of: str | None = None
        """The context whose namespaces they stand for."""
        self._views: list[ServingView] = []
        self._places: dict[Key, int] = {}
        """Where each of them is in the list."""
        self.status = StatusPane(self)

    def compose_body(self) -> ComposeResult:
        yield FleetHeader()
        yield Bar(id="banner")
        yield LineInput("/", "text  !text  status:error  ns:team  -l key=value", id="filter")
        yield FleetTable(COLUMNS, format_age=signed_age, clock=self.now, id="list")
        yield LadderStrip()
        yield StatusPopover(POD_KEYS.split(","), self.now)

    def on_mount(self) -> None:
        super().on_mount()
        self.filter_line.display = False
        self.banner.display = False
        self.table.set_view(sort=(self.sort_column, False), wide=self.servedeck.wide)
        self.table.focus()
        self.set_interval(TICK, self._tick)
        self.watch(self.table, "scroll_y", self.status.place, init=False)
        self.show_all()

    def now(self) -> datetime:
        """The time that ages are counted to."""
        return self.servedeck.clock() if self.is_attached else datetime.now(UTC)

    # -- what it shows ------------------------------------------------------------------------

    def on_changes(self, changes: Changes) -> None:
        """Something of the picture, or of the connection, is other than before."""
        if self.is_attached and (changes.state or not self._show_in_place(changes.keys)):
            self.show_all()

    def _show_in_place(self, keys: Collection[Key]) -> bool:
        """Show later views of servings that stay where they are in a list that stays as long as it
        is: with a hundred changes of Pods a second these are nearly all. False where they may not,
        and nothing was shown."""
        fleet = self.servedeck.source.fleet
        found: list[tuple[int, ServingView]] = []
        for key in keys:
            at, view = self._places.get(key), fleet.view(key)
            if at is None or view is None or not self._stays(self._views[at], view):
                return False
            found.append((at, view))
        for at, view in found:
            self._views[at] = view
        self.table.renew_rows([self._rows.renewed(view) for _at, view in found])
        self.status.refresh()
        self.creating.show()
        if cast(Key, self.table.cursor_key) in keys:
            self.show_message()
            self.show_hints()
        return True

    def _stays(self, before: ServingView, after: ServingView) -> bool:
        """Whether the header counts it, the filter finds it and the order has it as before."""
        return (
            before.status is after.status
            and self.filter_query.matches(after)
            and same_place(before, after, self._sorted_by)
        )

    def show_all(self) -> None:
        """Bring list, header, banner and status up to date; repaints only what differs."""
        source = self.servedeck.source
        state = source.state
        all_views = source.fleet.views()
        here = [view for view in all_views if self.namespace in ("", view.key.namespace)]
        matching = self.filter_query.filter(here)
        self._views = sort(matching, self._sorted_by, self.sort_reverse)
        self._places = {view.key: at for at, view in enumerate(self._views)}
        if self._digits_of != source.context:
            self._digits = Digits(self.servedeck.favourites)
            self._digits_of = source.context
        self._digits.learn(view.key.namespace for view in all_views)
        self.table.set_placeholder(
            status_text.placeholder(
                state,
                self.servedeck.key_of,
                namespace=self.namespace or source.namespace,
                filter_text=self.filter_query.text,
                total=len(here),
                elsewhere=len(all_views) - len(here),
                context=source.context,
            )
        )
        self.table.set_rows(self._rows.of(self._views))
        self._show_columns()
        self._show_heading(here, state)
        self._show_banner(state)
        self.status.refresh()
        self.creating.show()
        self.show_message()
        self.show_hints()

    @property
    def _sorted_by(self) -> str:
        """The column as `servedeck.fleet.query.sort` knows it."""
        return "" if self.sort_column == DEFAULT_SORT else self.sort_column

    def _show_columns(self) -> None:
        """The project is no news where all servings are of one."""
        app = self.servedeck
        hidden = {c.key for c in COLUMNS if app.columns and c.key not in app.columns} - {"name"}
        if self.namespace or app.source.namespace:
            hidden.add("project")
        self.table.set_view(hidden=frozenset(hidden))

    def _show_heading(self, here: list[ServingView], state: State) -> None:
        app = self.servedeck
        self.header.show(
            Heading(
                context=app.source.context,
                namespace=self.namespace or app.source.namespace,
                connection=status_text.connection(state),
                counts=counts(here),
                shown=len(self._views),
                total=len(here),
                namespaces=self._digits.names,
                readonly=app.readonly,
            )
        )

    def _show_banner(self, state: State) -> None:
        self.banner.set_text(
            status_text.banner(state, self.servedeck.key_of, empty=not self._views),
            most=3,
            hanging=3,
        )
        self.table.set_class(state.stale_for is not None, "-stale")

    def _tick(self) -> None:
        """A second went by: ages, and the age of data that are old."""
        self.table.tick()
        self.popover.tick()
        source = self.servedeck.source
        state = source.state
        if state.stale_for is not None:
            views = source.fleet.views()
            self._show_heading([v for v in views if self.namespace in ("", v.key.namespace)], state)

    @property
    def selected(self) -> ServingView | None:
        """The serving under the cursor."""
        key = self.table.cursor_key
        return self.servedeck.source.fleet.view(cast(Key, key)) if key is not None else None

    def standing_message(self) -> Line:
        """The cause of the selected serving's state, or where it is reached."""
        view = self.selected
        if view is None:
            return ()
        spans: list[Span] = [(" ", ""), status_word(view.status), ("  ", "")]
        if view.message:
            spans.append((one_line(view.message), ""))
        elif view.endpoint.url:
            spans.append((view.endpoint.url, ""))
        elif view.endpoint.problem:
            spans.append((view.endpoint.problem, "muted"))
        return tuple(spans)

    def on_fleet_table_highlighted(self) -> None:
        self.show_message()
        self.show_hints()

    def fit(self, size: Size) -> None:
        super().fit(size)
        self._fit_header()
        self.call_after_refresh(self.status.place)

    def _fit_header(self) -> None:
        """Lines of the header; the filter takes the place of the last, so that no row moves."""
        height = self.size.height
        lines = 3 if height >= 18 else 2 if height >= 12 else 1
        self.header.styles.height = max(1, lines - 1) if self.filter_line.display else lines

    # -- actions ------------------------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        super().on_descendant_focus(event)  # twice, as Textual calls that one too: no matter
        self.show_hints()

    def scopes(self) -> tuple[str, ...]:
        if self.filter_line.input.has_focus:
            return ("filter",)
        return ("status",) if self.status.has_keys else (self.SCOPE,)

    def why_not(self, action: Action) -> str:
        view = self.selected
        if action.name in OF_THE_SELECTED and view is None:
            return "There is no serving under the cursor."
        if action.name in ("create", "clone"):
            return self.creating.why_not()
        if action.name == "logs" and view is not None and not view.pods:
            return f"{view.key} has no Pods, so there is no log."
        return ""

    async def action_do(self, action_id: str, *arguments: str) -> None:
        if BY_ID[action_id].name in OF_THE_SELECTED:
            self.table.hold()
        await super().action_do(action_id, *arguments)

    def do_connect(self) -> None:
        from tui.screens.connect import ConnectScreen

        if view := self.selected:
            self.app.push_screen(ConnectScreen(view))

    def do_logs(self) -> None:
        if view := self.selected:
            self._open_log(view.key, view.pods[0])

    def _open_log(self, key: Key, pod: PodView) -> None:
        from tui.screens.log import LogScreen

        self.app.push_screen(LogScreen(key, pod.name, pod.container))

    def do_create(self) -> None:
        self.start(self.creating.new(), "create", holds="Asking what you may create")

    def do_clone(self) -> None:
        if view := self.selected:
            self.start(self.creating.clone(view.key), "create", holds=f"Reading {view.key}")

    def do_wide(self) -> None:
        self.table.set_view(wide=not self.table.wide)
        if self.table.wide and self.table.max_scroll_x > 0:
            self.say("All columns; left and right scroll, w goes back.")

    def do_sort_next(self) -> None:
        self._sort_by(1)

    def do_sort_previous(self) -> None:
        self._sort_by(-1)

    def _sort_by(self, step: int) -> None:
        # Those that the width leaves no room for are skipped: nobody would see the order.
        every = [column.key for column in COLUMNS]
        names = [key for key in every if key in self.table.shown or key == self.sort_column]
        at = (names.index(self.sort_column) + step) % len(names)
        self._set_sort(names[at], names[at] in MOST_FIRST)

    def do_sort_reverse(self) -> None:
        self._set_sort(self.sort_column, not self.sort_reverse)

    def _set_sort(self, column: str, reverse: bool) -> None:
        self.sort_column, self.sort_reverse = column, reverse
        self.table.set_view(sort=(column, reverse))
        self.show_all()

    def on_fleet_table_header_clicked(self, message: FleetTable.HeaderClicked) -> None:
        if message.column == self.sort_column:
            self.do_sort_reverse()
        else:
            self._set_sort(message.column, message.column in MOST_FIRST)

    async def do_retry(self) -> None:
        self.servedeck.source.retry_now()
        self.say("Trying the API server again.")

    def do_back(self) -> None:
        if self.status.is_open:
            self.status.close()
        elif self.filter_line.display:
            self.clear_filter()
        elif not self.creating.dismiss():
            self.say(
                f"Nothing to close or to clear; {self.servedeck.key_of('servings.quit')} quits."
            )

    async def do_quit(self) -> None:
        await self.servedeck.do_quit()

    # -- namespaces ---------------------------------------------------------------------------

    async def do_namespace_key(self, key: str) -> None:
        name = self._digits.name_of(int(key))
        if name is None:
            lists = self.servedeck.key_of("servings.namespace")
            self.say(f"No namespace has the digit {key}; {lists} lists them all.", "warning")
        else:
            await self.servedeck.show_namespace(name)

    async def on_fleet_header_namespace_clicked(
        self, message: FleetHeader.NamespaceClicked
    ) -> None:
        await self.do_namespace_key(str(message.digit))

    def do_namespace(self) -> None:
        self.servedeck.pick_namespace()

    def do_context(self) -> None:
        self.servedeck.pick_context()

    def set_namespace(self, namespace: str) -> None:
        """Show one namespace, or all with ""."""
        self.namespace = namespace
        self.show_all()
        self.table.forget_widths()

    # -- filter -------------------------------------------------------------------------------

    def do_filter(self) -> None:
        self._show_filter(True)
        self.filter_line.input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        problem = ""
        try:
            self.filter_query = parse(event.value)
        except QueryError as error:
            problem = str(error)
        self.filter_line.show_problem(problem)
        if self.selected is None or not self.filter_query.matches(self.selected):
            self.table.release()
        self.show_all()

    def on_input_submitted(self) -> None:
        self.table.focus()
        self._show_filter(bool(self.filter_line.text.strip()))

    def _show_filter(self, shown: bool) -> None:
        self.filter_line.display = shown
        self._fit_header()

    def clear_filter(self) -> None:
        self.filter_query = Query("", ())
        self.filter_line.input.value = ""
        self._show_filter(False)
        self.table.focus()
        self.show_all()

    def on_fleet_header_status_clicked(self, message: FleetHeader.StatusClicked) -> None:
        text = toggled_status(self.filter_line.text, message.status)
        self.filter_line.input.value = text  # reads it as if it were typed
        if not self.filter_line.input.has_focus:
            self._show_filter(bool(text))

    # -- status -------------------------------------------------------------------------------

    def do_status(self) -> None:
        if view := self.selected:
            self.status.open(view)

    def on_fleet_table_cell_clicked(self, message: FleetTable.CellClicked) -> None:
        if message.column == "status" or message.double:
            self.do_status()
        elif self.status.is_open:
            self.status.close()

    def on_fleet_table_cell_hovered(self, message: FleetTable.CellHovered) -> None:
        self.status.hovered(cast(Key, message.key) if message.column == "status" else None)

    def on_status_popover_closed(self) -> None:
        self.status.close()

    def on_status_popover_missed(self, message: StatusPopover.Missed) -> None:
        count = len(self.popover.view.pods) if self.popover.view is not None else 0
        self.say(f"{message.key}: the serving has {count} Pod{'' if count == 1 else 's'}.")

    def on_status_popover_log_requested(self, message: StatusPopover.LogRequested) -> None:
        if self.popover.view is not None:
            self._open_log(self.popover.view.key, message.pod)
