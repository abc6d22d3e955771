"""The tab Metrics: figures of the moment, and graphs of the requests of one serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.message import Message

from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.fleet.views import NamespacedName
from servedeck.metrics.graphs import POD_GRAPHS, GraphKey
from servedeck.metrics.period import PERIODS, Period, TimeGrid
from servedeck.metrics.serving_objectives import present_values
from servedeck.serving.objectives import ObjectiveKind
from tui.actions import bindings
from tui.deployment_watch import watch_deployment
from tui.metrics.charts import chart_marks, chart_of, message_chart
from tui.metrics.feed import MetricsFeed
from tui.metrics.figures import CARD_LINES, NOW, figure_lines, objective_lines
from tui.metrics.grid import ChartGrid
from tui.metrics.heading import heading_line, period_at
from tui.panes.base import Pane
from tui.ports.serving_source import SourceChanges
from tui.timeline_entries import timeline_entries
from widgets.chart_data import ChartMark, TimeRange
from widgets.chart_plot import to_ascii
from widgets.styled_line import Line, fit_line
from widgets.text_view import StatusLine

if TYPE_CHECKING:
    from servedeck.metrics.serving_metrics import ShownGraph

BY_POD_HINT = "p shows the graph of the whole serving and the other graphs again."
"""For keys that have nothing to do while all Pods are shown."""
LARGE_STEP = 10
"""Columns that the cursor moves with shift or ctrl."""
MAX_OBJECTIVE_LINES = 3
"""Lines of the objectives at most, in a pane of at least TALL_LINES; else one."""
TALL_LINES = 24
MIN_RANGE_SECONDS = 120.0
"""Of the shortest time that can be zoomed into."""
UPDATES_AT_ONCE = 3
"""Graphs that are painted together: in ten milliseconds, in which no key is handled."""
PAINT_PAUSE = 0.02
"""Seconds to the next ones, in which these are painted."""
LIVE_PAUSE = 0.06
"""Seconds in which graphs that are read from Pods are awaited, to be painted together."""
UPDATE_PAUSE = 0.01
"""Seconds after which is asked again whether a key has had its effect."""


class MetricsPane(Pane):
    """Asks for what is on the screen, and again when there is something new."""

    TITLE = "Metrics"
    SCOPE = "metrics"
    BINDINGS: ClassVar[list[BindingType]] = bindings("metrics")
    heading = query_one("#metrics-heading", StatusLine)
    cards = query_one("#metrics-cards", StatusLine)
    objectives = query_one("#metrics-objectives", StatusLine)
    grid = query_one(ChartGrid)

    @dataclass
    class QueriesRequested(Message):
        """The queries behind a graph were requested."""

        title: str
        queries: tuple[str, ...]
        link: str
        """Of a dashboard; "" for none."""

    @dataclass
    class ObjectivesRequested(Message):
        """The objectives of the serving are to be changed."""

        values: Mapping[ObjectiveKind, float | None]
        """What they limit, at the moment."""

    def __init__(self, key: NamespacedName) -> None:
        super().__init__(key)
        self._period: Period = PERIODS[0]
        self._range: TimeRange | None = None
        """The time that was zoomed into; None for the period up to now."""
        self._feed: MetricsFeed | None = None
        self._is_feed_open = False
        self._watch: DeploymentWatch | None = None
        self._marks: tuple[ChartMark, ...] = ()
        self._asked: tuple[GraphKey, ...] = ()
        """The graphs that were asked for last."""
        self._arrived: dict[GraphKey | None, None] = {}
        """What has arrived and is to be shown."""
        self._is_update_timed = False

    def compose(self) -> ComposeResult:
        yield StatusLine(id="metrics-heading")
        yield StatusLine(id="metrics-cards")
        yield StatusLine(id="metrics-objectives")
        yield ChartGrid(self._show_graph, is_utf8=self.app_context.is_utf8)

    def on_mount(self) -> None:
        self.cards.styles.height = CARD_LINES
        self.objectives.display = False

    # -- start and end ------------------------------------------------------------------------

    def set_serving(self, key: NamespacedName) -> None:
        super().set_serving(key)
        self._feed, self._marks = None, ()
        if self.is_attached:
            self.grid.clear()

    def reset(self) -> None:
        self._period, self._range = PERIODS[0], None
        if self.is_attached:
            self.grid.reset()

    def activate(self) -> None:
        super().activate()
        self.grid.focus()
        self._watch = self.add_watch(
            watch_deployment(self.app_context, self.key, self._update_marks)
        )
        self._update_marks()
        self._start()

    def deactivate(self) -> None:
        self.workers.cancel_group(self, "metrics")
        super().deactivate()
        self._watch = None
        self._is_feed_open = False

    def on_changes(self, changes: SourceChanges) -> None:
        if changes.state_changed and self._feed is None:
            self._start()
        if self.key in changes.keys:
            self._update_marks()
            if self._feed is not None and self._feed.objectives_changed:
                self._start()

    def on_resize(self) -> None:
        if self.is_active:
            self.call_after_refresh(self._show_resized)

    def update_ages(self) -> None:
        self._show_heading()

    @property
    def is_loading(self) -> bool:
        return self._feed is None or not self._feed.has_loaded

    # -- reading ------------------------------------------------------------------------------

    def _start(self) -> None:
        """Ask for everything again; what is still asked for is cancelled."""
        service = self.app_context.metrics_service
        if service is None:
            self._show_all()
            return
        if self._feed is None:
            self._feed = MetricsFeed(service, self.key, self._show_feed, self.app_context.clock)
        if not self._is_feed_open:
            self._is_feed_open = True
            self.add_watch(self._feed)
        feed = self._feed
        feed.set_time(self._period, self._range)
        if not self.size.width:
            self._asked = ()  # until it is laid out, and what fits is known
            return
        self.start_worker(feed.follow(self._wanted), "metrics")
        self._show_all()

    def _wanted(self) -> tuple[tuple[GraphKey, ...], bool, int]:
        """The graphs on the screen, whether they are by Pod, and how many points they can show."""
        self._asked = self.grid.shown_keys
        return self.grid.shown_keys, self.grid.is_by_pod, self.grid.point_count

    def _show_feed(self, key: GraphKey | None) -> None:
        """A graph has arrived, or with None anything else."""
        self._arrived[key] = None
        if self._is_update_timed:
            return
        if self._is_live:
            # all of it is new every few seconds, in a tenth of one: in few paints
            self._is_update_timed = True
            self.set_timer(LIVE_PAUSE, self._show_updates)
        else:
            self._show_updates()

    @property
    def _is_live(self) -> bool:
        """Whether graphs that are read from Pods are shown."""
        feed = self._feed
        return feed is not None and feed.has_loaded and bool(feed.live_note)

    def _show_updates(self) -> None:
        """Show what has arrived, but not together with the effect of a key, which it would
        delay."""
        self._is_update_timed = False
        if not self.is_active:
            self._arrived.clear()
            return
        if self.app_context.has_unpainted_input():
            self._is_update_timed = True
            self.set_timer(UPDATE_PAUSE, self._show_updates)
            return
        if None in self._arrived:
            del self._arrived[None]
            self._show_heading()
            self._show_cards()
            if self._feed is not None and self._feed.problem:
                # graphs that were not read say why
                self._arrived |= dict.fromkeys(self.grid.shown_keys)
        at_once = len(self._arrived) if self.is_loading else UPDATES_AT_ONCE
        for key in list(self._arrived)[:at_once]:
            del self._arrived[key]
            if key is not None:
                self._show_graph(key)
        if self._arrived:
            self._is_update_timed = True
            self.set_timer(PAINT_PAUSE, self._show_updates)

    # -- showing ------------------------------------------------------------------------------

    def _show_all(self) -> None:
        self._show_heading()
        self._show_cards()
        for key in self.grid.shown_keys:
            self._show_graph(key)

    def _show_resized(self) -> None:
        if not self.is_active:
            return
        if set(self.grid.shown_keys) <= set(self._asked):
            self._show_all()
        else:
            self._start()

    def _show_heading(self) -> None:
        width = self.heading.inner_width or self.app.size.width
        line = heading_line(self._feed, self._period, self._range, self.grid.place, width)
        self.heading.set_lines(self._shown_line(line, width))

    def _show_cards(self) -> None:
        width = self.cards.inner_width or self.app.size.width
        figures = self._feed.figures if self._feed is not None else None
        name = self._feed.period_name if self._feed is not None else self._period.name
        objectives = self._feed.objectives if self._feed is not None else ()
        moment = self._feed.moment if self._feed is not None else NOW
        lines = figure_lines(figures, name, width, objectives, moment)
        self.cards.set_lines(*(self._shown_line(one, width) for one in lines))
        most = MAX_OBJECTIVE_LINES if self.size.height >= TALL_LINES else 1
        sentences = objective_lines(objectives, most, width, moment)
        self.objectives.display = bool(sentences)
        if sentences:
            self.objectives.styles.height = len(sentences)
            self.objectives.set_lines(*(self._shown_line(one, width) for one in sentences))

    def _shown_line(self, line: Line, width: int) -> Line:
        """A line of the width, as the terminal shows it: what it has no sign for would be "?" in
        every case, and that is the sign of an objective of which nothing is known."""
        is_utf8 = self.app_context.is_utf8
        return tuple((to_ascii(text, is_utf8), name) for text, name in fit_line(line, width))

    def _show_graph(self, key: GraphKey) -> None:
        feed, is_by_pod, view = self._feed, self.grid.is_by_pod, None
        text = "There is no connection to the cluster."
        if feed is not None:
            graph = feed.graph(key, is_by_pod)
            if graph is None:
                graph, view = feed.old_graph(key, is_by_pod), self._range
            if graph is not None:
                self.grid.show(key, chart_of(graph, self._marks, feed.objectives), view)
                return
            text = feed.graph_problem(key) or feed.waiting_text
        now = self.app_context.clock().timestamp()
        empty = TimeGrid(now - self._period.seconds, 15.0, 1)
        self.grid.show(key, message_chart(key, empty, text))

    def _update_marks(self) -> None:
        view = self.view
        if not self.is_active or view is None:
            return
        marks = chart_marks(timeline_entries(self.app_context, view, self._watch))
        if marks != self._marks:
            self._marks = marks
            self._arrived |= dict.fromkeys(self.grid.shown_keys)
            if not self._is_update_timed:
                self._show_updates()

    # -- actions: time ------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """The names of the periods in the heading are buttons."""
        region = self.heading.region
        if region.contains(event.screen_x, event.screen_y):
            period = period_at(event.screen_x - region.x)
            if period is not None:
                self._set_period(period)

    def do_hour(self) -> None:
        self._set_period(PERIODS[0])

    def do_six_hours(self) -> None:
        self._set_period(PERIODS[1])

    def do_day(self) -> None:
        self._set_period(PERIODS[2])

    def _set_period(self, period: Period) -> None:
        if period is self._period and self._range is None:
            return
        self._period, self._range = period, None
        self.grid.clear_cursor()
        self._start()

    def do_cursor(self, key: str) -> None:
        if self.grid.is_by_pod:
            self.show_message(BY_POD_HINT)
            return
        step = LARGE_STEP if "+" in key else 1
        self.grid.move_cursor(step if key.endswith("right") else -step)

    def do_zoom_in(self) -> None:
        shown = self._shown_range()
        if shown is None:
            return
        half = max(shown.seconds / 4, MIN_RANGE_SECONDS / 2)
        center = self.grid.cursor_time
        center = shown.end - half if center is None else center
        center = min(max(center, shown.start + half), shown.end - half)
        self._set_range(TimeRange(center - half, center + half))

    def do_zoom_out(self) -> None:
        shown = self._range
        if shown is None:
            self.show_message("The whole period is shown; H and D show longer ones.")
            return
        now = self._feed.now if self._feed is not None else shown.end
        end = min(shown.end + shown.seconds / 2, now)
        start = end - 2 * shown.seconds
        is_whole = 2 * shown.seconds >= self._period.seconds
        self._set_range(None if is_whole else TimeRange(start, end))

    def _shown_range(self) -> TimeRange | None:
        if self._range is not None:
            return self._range
        grid = self._feed.time_grid if self._feed is not None else None
        return TimeRange(grid.start, grid.end) if grid is not None else None

    def _set_range(self, shown: TimeRange | None) -> None:
        self._range = shown
        self._start()

    # -- actions: graphs ----------------------------------------------------------------------

    def do_graph(self, key: str) -> None:
        if self.grid.is_by_pod and not self.grid.has_more_pods:
            self.show_message(BY_POD_HINT)
        elif self.grid.choose(key):
            self._start()
        else:
            self._show_heading()

    def do_full(self) -> None:
        self.grid.toggle_full()
        self._start()

    def do_pods(self) -> None:
        key = self.grid.selected_key
        if not self.grid.is_by_pod and key not in POD_GRAPHS:
            self.show_message(f"{_title(key)} is not known of each Pod.", "warning")
            return
        self.grid.toggle_pods()
        self._start()

    def do_query(self) -> None:
        key = self.grid.selected_key
        graph = self._feed.graph(key, self.grid.is_by_pod) if self._feed is not None else None
        if graph is None or not graph.queries:
            self.show_message(_no_query_reason(graph), "warning")
            return
        service, grid = self.app_context.metrics_service, graph.grid
        link = service.grafana_link(self.key, grid.start, grid.end) if service is not None else ""
        self.post_message(self.QueriesRequested(graph.title, graph.queries, link))

    def do_objectives(self) -> None:
        figures = self._feed.figures if self._feed is not None else None
        is_present = figures is not None and self._range is None
        values = present_values(figures) if figures is not None and is_present else {}
        self.post_message(self.ObjectivesRequested(values))

    def go_back(self) -> bool:
        if self.grid.clear_cursor():
            return True
        if self._range is not None:
            self._set_range(None)
            return True
        if self.grid.leave_detail():
            self._start()
            return True
        return False


def _title(key: GraphKey) -> str:
    from servedeck.metrics.graphs import GRAPH_KINDS

    return GRAPH_KINDS[key].title


def _no_query_reason(graph: ShownGraph | None) -> str:
    if graph is None:
        return "The graph has not been loaded."
    return graph.reason or "There is no query for this graph."
