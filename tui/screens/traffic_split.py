"""The dialog of a traffic split: how the requests of a serving's endpoint are divided, what the
metrics say of both sides, and the keys that change it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.getters import query_one
from textual.timer import Timer

from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.plan import TrafficAction, TrafficOptions
from servedeck.changes.traffic_split.revisions import find_takeover_problem
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import TrafficState
from servedeck.cluster import resources
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.detail.detail_service import ObjectWatch
from servedeck.detail.object_watch import ObjectQuery
from servedeck.fleet.views import NamespacedName
from servedeck.serving.text import one_line, sanitize
from tui.action_tables.action import Action
from tui.actions import bindings
from tui.metrics.live_figures import LiveFigures
from tui.ports.serving_source import SourceChanges
from tui.ports.traffic_service import TrafficService
from tui.revision_flow import RevisionFlow
from tui.screens.base import Overlay
from tui.screens.pick import PickScreen
from tui.screens.planned_change import marked
from tui.screens.scrolling import scroll_by_key
from tui.screens.traffic_plan import TrafficPlanDialog
from tui.screens.traffic_text import (
    LABEL_WIDTH,
    list_choices,
    rule_paragraphs,
    step_paragraphs,
    table_paragraphs,
)
from tui.screens.traffic_weight import FIRST_WEIGHT, TrafficWeightDialog
from tui.workers import Worker
from widgets.styled_line import Line
from widgets.text_view import Paragraph, StatusLine, TextView

if TYPE_CHECKING:
    from servedeck.changes.traffic_split.plan import TrafficResult

_WATCHED = (
    resources.HTTP_ROUTE,
    resources.VIRTUAL_SERVICE,
    resources.OPENSHIFT_ROUTE,
    resources.INGRESS,
    resources.SERVICE,
)
"""Any of the namespace may send to the serving, or be what it sends to."""
RETRY_SECONDS = 2.0
"""Seconds until a state that the API server did not answer is read again."""
_READONLY = "servedeck runs with --readonly; restart it without that option to make changes."


class TrafficSplitScreen(Overlay[None]):
    """Kept up to date by watches of the routes and of the servings."""

    SCOPE = "traffic"
    BINDINGS: ClassVar[list[BindingType]] = bindings("traffic", "app")
    text_view = query_one(TextView)

    def __init__(
        self, key: NamespacedName, service: TrafficService, *, context: str = "", warning: str = ""
    ) -> None:
        """`warning` is said with each plan."""
        super().__init__()
        self._key = key
        self._service = service
        self._revision_flow = RevisionFlow(self, key, service, on_created=self._on_revision_created)
        self._context_name = context
        self._warning = warning
        self._state: TrafficState | None = None
        """None before it is read."""
        self._chosen = ""
        """The serving that may get a share, as the API server has it; "" for none."""
        self._error = ""
        """Why the state could not be read."""
        self._result: TrafficResult | None = None
        """Of the last change."""
        self._figures: dict[str, LiveFigures] = {}
        """By the name of the serving, while they are followed."""
        self._figure_workers: dict[str, Worker[None]] = {}
        self._watches: dict[ObjectQuery, ObjectWatch] = {}
        self._reading = asyncio.Lock()
        """Held while the state is read."""
        self._read_worker: Worker[None] | None = None
        self._must_read_again = False
        """Whether something has changed since the reading that is in progress began."""
        self._retry_timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        yield StatusLine(id="title")
        yield TextView()

    def on_mount(self) -> None:
        super().on_mount()
        self.text_view.focus()
        self._watch()
        self._read()
        self._update()

    async def on_unmount(self) -> None:
        for watch in self._watches.values():
            await watch.close()

    def adapt_to_size(self, size: Size) -> None:
        super().adapt_to_size(size)
        where = f"  context {self._context_name}" if self._context_name else ""
        line: Line = ((" ", ""), (f"Traffic of {self._key}", "title"), (where, "muted"))
        self.query_one("#title", StatusLine).set_text(line, max(size.height // 4, 1), 1)
        self._update()

    # -- the state ----------------------------------------------------------------------------

    def _read(self) -> None:
        """Read the state. A reading in progress is not canceled, but followed by another one: with
        changes in quick succession none would ever end."""
        self._must_read_again = True
        if self._read_worker is None or self._read_worker.is_finished:
            self._read_worker = self.start_worker(self._read_while_it_changes(), "state")

    async def _read_while_it_changes(self) -> None:
        while self._must_read_again:
            self._must_read_again = False
            async with self._reading:
                await self._read_state()

    async def _read_state(self) -> None:
        try:
            state = await self._service.read(self._key, self._chosen)
            if state.is_split and self._chosen:
                # Who has a share counts, not who was chosen before.
                self._chosen = ""
                state = await self._service.read(self._key)
            self._state, self._error = state, ""
        except ClusterError as error:
            self._error = str(error)
            self._retry_later()
        except Exception as error:  # any error: else the dialog would wait for ever
            self._error = describe_error(error)
        self._watch()
        self._follow()
        self._update()

    def _retry_later(self) -> None:
        if self._retry_timer is not None:
            self._retry_timer.stop()
        self._retry_timer = self.set_timer(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        if self.is_attached and self._error:
            self._read()

    def _watch(self) -> None:
        """Watch what a route, also one that is created later, is found by; without a connection,
        the next time."""
        if not self.is_attached:
            return
        for resource in _WATCHED:
            query = ObjectQuery(resource, self._key.namespace)
            if query in self._watches:
                continue
            watch = self.app_context.detail_service.watch_objects(query, self._on_object_change)
            if watch is not None:
                self._watches[query] = watch

    def _follow(self) -> None:
        """Read the metrics of both sides."""
        state = self._state
        if state is None or not self.is_attached:
            return
        service = self.app_context.metrics_service
        names = {one.name for one in self._sides}
        for name in [one for one in self._figures if one not in names]:
            del self._figures[name]
            self._figure_workers.pop(name).cancel()
        for side in self._sides:
            if service is None or not side.is_serving or side.name in self._figures:
                continue
            key = NamespacedName(state.namespace, side.name)
            figures = self._figures[side.name] = LiveFigures(service, key, self._update)
            worker = self.start_worker(figures.follow(), f"figures {side.name}")
            self._figure_workers[side.name] = worker

    def _on_object_change(self) -> None:
        if self.is_attached:
            self._read()

    def on_changes(self, changes: SourceChanges) -> None:
        names = {self._key.name, *(one.name for one in self._sides)}
        if any(one.namespace == self._key.namespace and one.name in names for one in changes.keys):
            self._read()

    @property
    def _sides(self) -> list[Side]:
        state = self._state
        if state is None:
            return []
        return [state.main, *([state.other] if state.other is not None else [])]

    # -- what is shown ------------------------------------------------------------------------

    def _update(self) -> None:
        if self.is_attached:
            self.text_view.set_paragraphs([Paragraph(), *self._build_paragraphs()])
            self.update_footer()

    def _build_paragraphs(self) -> Iterator[Paragraph]:
        if self._result is not None:
            good = self._result.outcome is Outcome.DONE
            mark, style_name = ("✓", "ready") if good else ("✗", "error")
            yield marked(mark, style_name, self._result.message)
            yield Paragraph()
        if self._error:
            yield marked("✗", "error", self._error)
        state = self._state
        if state is None:
            if not self._error:
                yield marked("↻", "starting", "Asking the API server…")
            return
        if not state.live.objects:
            yield marked("✗", "error", "There is no Deployment of that name any more.")
            return
        if state.rules:
            yield from self._table(state)
            yield from rule_paragraphs(state)
        for sentence in state.conditions:
            yield marked("!", "warning", sentence)
        if state.problem:
            yield Paragraph()
            yield marked("✗" if not state.rules else "!", "warning", state.problem)
        elif state.is_asked_missing:
            yield Paragraph()
            yield marked("!", "warning", f"There is no serving {one_line(self._chosen)} any more.")
        elif state.gone:
            yield Paragraph()
            yield marked("!", "warning", state.gone)
        yield from step_paragraphs(state, self.app_context.key_display_for)

    def _table(self, state: TrafficState) -> Iterator[Paragraph]:
        """The two sides beside each other."""
        # Both sides are on the screen; beside them are the text's edges and its scroll bar.
        half = (self.app.size.width - LABEL_WIDTH - 5) // 2
        known = [self._figures.get(one.name) for one in self._sides]
        yield from table_paragraphs(state, self._sides, known, half)

    # -- actions ------------------------------------------------------------------------------

    def disabled_reason(self, action: Action) -> str:
        if action.name not in ("weight", "promote", "finish", "abort", "new", "other"):
            return ""
        state = self._state
        if self.app_context.readonly:
            return _READONLY
        if state is None:
            return "How the requests are divided is not known yet."
        if not state.live.objects:
            return "The serving was deleted."
        if state.problem:
            return state.problem
        match action.name:
            case "new":
                if first := state.main.revision_of:
                    return f"This is itself a revision of {first}; begin one of {first} instead."
                return self._revision_flow.start_disabled_reason()
            case "finish":
                return find_takeover_problem(state) or self._revision_flow.finish_disabled_reason()
        if action.name == "other" and state.is_split:
            return "Another serving has a share; abort that first."
        if action.name in ("weight", "promote") and state.gone:
            return state.gone
        if action.name in ("promote", "abort") and not state.is_split:
            return "All requests go to the serving itself; send a share to another one first."
        return ""

    def do_weight(self) -> None:
        state = self._state
        assert state is not None
        if state.other is None:
            self._pick(then_weight=True)
        else:
            self._ask_weight(state, state.other)

    def do_other(self) -> None:
        self._pick(then_weight=False)

    def _pick(self, *, then_weight: bool) -> None:
        choices = list_choices(self.app_context.source.fleet.views(), self._key)
        if not choices:
            self.show_message(
                f"Namespace {self._key.namespace} has no other serving; create one first.",
                "warning",
            )
            return

        def closed(name: str | None) -> None:
            if name is not None:
                label = f"Reading {one_line(sanitize(name))}"
                work = self._choose(name, then_weight=then_weight)
                self.start_worker(work, "choice", busy_label=label)

        self.app.push_screen(PickScreen("Send a share to", choices), closed)

    async def _choose(self, name: str, *, then_weight: bool) -> None:
        async with self._reading:
            before, self._chosen = self._chosen, name
            try:
                await self._read_state()
            except asyncio.CancelledError:
                self._chosen = before
                raise
        state = self._state
        if then_weight and state is not None and state.other is not None and not self._error:
            self._ask_weight(state, state.other)

    def _ask_weight(self, state: TrafficState, other: Side) -> None:
        present = round(state.weights[0]) if state.weights else FIRST_WEIGHT

        def closed(weight: int | None) -> None:
            if weight is not None:
                # Of what was shown with the question: it may be divided with another one now.
                self._open_plan(state, TrafficAction.SPLIT, weight)

        names = (state.main.label, other.label)
        self.app.push_screen(TrafficWeightDialog(*names, present, is_split=state.is_split), closed)

    def do_promote(self) -> None:
        assert self._state is not None
        self._open_plan(self._state, TrafficAction.PROMOTE)

    def do_new(self) -> None:
        self._revision_flow.start()

    def _on_revision_created(self, key: NamespacedName) -> None:
        if self._state is None or not self._state.is_split:
            self._chosen = key.name
        self._read()

    def do_finish(self) -> None:
        self._revision_flow.finish()

    def do_abort(self) -> None:
        assert self._state is not None
        self._open_plan(self._state, TrafficAction.ABORT)

    def _open_plan(
        self, state: TrafficState, action: TrafficAction, weight: int | None = None
    ) -> None:
        """Plan a change of what `state` shows."""
        shown, other = state.other_side, state.other
        asked = other.name if shown is None and other is not None else ""
        key = self._key
        options = TrafficOptions(action, key.namespace, key.name, asked, weight, shown=shown)

        def closed(result: TrafficResult | None) -> None:
            if result is not None:
                self._result = result
            self._read()
            self._update()

        dialog = TrafficPlanDialog(
            options,
            self._service,
            other=other.label if other is not None else "",
            context=self._context_name,
            warning=self._warning,
        )
        self.app.push_screen(dialog, closed)

    def do_scroll(self, key: str) -> None:
        scroll_by_key(self.text_view, key)

    def do_close(self) -> None:
        self.dismiss(None)
