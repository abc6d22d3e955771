"""The charts of the tab Metrics: as many as fit, one at full size, or one for each Pod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.getters import query_one

from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.period import MAX_POINTS
from tui.internals.textual_private import draw_lines_plainly
from widgets.chart_data import ChartData, TimeRange
from widgets.small_multiples import SmallMultiples
from widgets.time_chart import TimeChart

MIN_CHART_LINES = 9
"""Lines below which a chart is hard to read: title, graph and two lines of the axis."""
MIN_CHART_CELLS = 74
"""Cells of a chart beside another one."""
MAX_CHARTS = 8
"""Charts at once: each is a few queries."""
_AXIS_CELLS = 8
_KEYS = tuple(GraphKey)


class ChartGrid(Container, can_focus=True):
    """Shows the charts from the first one of the page on. The keys are for the chosen one."""

    DEFAULT_CSS = """
    ChartGrid { height: 1fr; layout: grid; grid-gutter: 0 2; }
    """

    multiples = query_one(SmallMultiples)

    def __init__(self, show_graph: Callable[[GraphKey], None], *, is_utf8: bool) -> None:
        """`show_graph` is called with each graph that comes onto the screen."""
        super().__init__()
        self._show_graph = show_graph
        self._is_utf8 = is_utf8
        self._selected = 0
        """Place of the chosen graph among all."""
        self._first = 0
        self._is_full = False
        self._is_by_pod = False
        self._columns, self._rows = 1, 1
        self._cursor_time: float | None = None

    def compose(self) -> ComposeResult:
        for _ in range(MAX_CHARTS):
            chart = TimeChart(is_utf8=self._is_utf8)
            draw_lines_plainly(chart)
            yield chart
        yield SmallMultiples(is_utf8=self._is_utf8)

    def on_mount(self) -> None:
        self._lay_out()

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()

    # -- what is shown ------------------------------------------------------------------------

    @property
    def is_by_pod(self) -> bool:
        return self._is_by_pod

    @property
    def has_more_pods(self) -> bool:
        """Whether not all Pods fit on the screen."""
        return self.multiples.display and self.multiples.has_pages

    @property
    def selected_key(self) -> GraphKey:
        return _KEYS[self._selected]

    @property
    def place(self) -> str:
        """Of the chosen graph among all, "graph 1 of 17"."""
        return f"graph {self._selected + 1} of {len(_KEYS)}"

    @property
    def shown_keys(self) -> tuple[GraphKey, ...]:
        """The graphs on the screen."""
        if self._is_full or self._is_by_pod:
            return (self.selected_key,)
        return _KEYS[self._first : self._first + self._page_size]

    @property
    def point_count(self) -> int:
        """How many points a chart can show: two in each cell."""
        columns = 1 if self._is_full or self._is_by_pod else self._columns
        cells = self.size.width // columns - _AXIS_CELLS
        return min(max(2 * cells, 20), MAX_POINTS)

    @property
    def cursor_time(self) -> float | None:
        """Under the cursor, in seconds since the epoch; None without one."""
        return self._cursor_time

    @property
    def _page_size(self) -> int:
        return min(self._columns * self._rows, MAX_CHARTS)

    @property
    def _charts(self) -> list[TimeChart]:
        return list(self.query(TimeChart))

    @property
    def _selected_chart(self) -> TimeChart:
        return self._charts[self.shown_keys.index(self.selected_key)]

    def show(self, key: GraphKey, data: ChartData, view: TimeRange | None = None) -> None:
        """Show a graph, if it is on the screen; `view` is the part of its time that is shown."""
        keys = self.shown_keys
        if key not in keys:
            return
        if self._is_by_pod:
            # Without a Pod, the chart says why.
            has_lines = bool(data.lines)
            self.multiples.display, self._charts[0].display = has_lines, not has_lines
            self.multiples.set_rows(data.lines, data.unit, data.title, data.note)
        elif key is self.selected_key and len(keys) > 1:
            data = replace(data, title=f"{'›' if self._is_utf8 else '>'} {data.title}")
        chart = self._charts[keys.index(key)]
        chart.set_data(data)
        if view is not None and data.start <= view.start < view.end <= data.time_at(data.count):
            chart.set_view(view.start, view.end)
        else:
            chart.reset_view()
        if self._cursor_time is not None:
            chart.set_cursor_time(self._cursor_time)

    # -- choosing -----------------------------------------------------------------------------

    def choose(self, key: str) -> bool:
        """Choose another graph with a key; whether others than before are on the screen."""
        if self._is_by_pod:
            self.multiples.turn_pages(1 if key in ("j", "down", "pagedown", "G", "end") else -1)
            return False
        step = {"j": 1, "down": 1, "k": -1, "up": -1}.get(key)
        page = {"pagedown": 1, "pageup": -1}.get(key)
        if step is not None:
            place = self._selected + step
        elif page is not None:
            place = self._selected + page * len(self.shown_keys)
        else:
            place = 0 if key in ("g", "home") else len(_KEYS) - 1
        return self._select(min(max(place, 0), len(_KEYS) - 1))

    def _select(self, place: int) -> bool:
        before = self.shown_keys
        self._selected = place
        size = self._page_size
        if place < self._first:
            self._first = place - place % max(self._columns, 1)
        elif place >= self._first + size:
            last_first = place - size + 1
            self._first = -(-last_first // self._columns) * self._columns
        self._lay_out()
        return self.shown_keys != before

    def toggle_full(self) -> None:
        self._is_full, self._is_by_pod = not (self._is_full or self._is_by_pod), False
        self._lay_out()

    def toggle_pods(self) -> None:
        self._is_by_pod = not self._is_by_pod
        self.clear_cursor()
        self.multiples.turn_pages(-self.multiples.first)
        self._lay_out()

    def leave_detail(self) -> bool:
        """Show all graphs again; False if they are shown."""
        if not (self._is_full or self._is_by_pod):
            return False
        if self._is_by_pod:
            self._is_by_pod = False
        else:
            self._is_full = False
        self._lay_out()
        return True

    def reset(self) -> None:
        """As it was at first."""
        self._selected = self._first = 0
        self._is_full = self._is_by_pod = False
        self.clear_cursor()
        self._lay_out()

    def clear(self) -> None:
        """Show nothing of the serving before."""
        self.clear_cursor()
        for key in self.shown_keys:
            self._show_graph(key)

    # -- the cursor and the view --------------------------------------------------------------

    def move_cursor(self, steps: int) -> None:
        """Move the cursor of all charts by cells of the chosen one."""
        if self._is_by_pod:
            return
        chosen = self._selected_chart
        chosen.move_cursor(steps)
        self._cursor_time = chosen.cursor_time
        if self._cursor_time is None:
            return
        for chart in self._charts:
            if chart.display:
                chart.set_cursor_time(self._cursor_time)

    def clear_cursor(self) -> bool:
        """Remove the cursor; False if there is none."""
        had_one, self._cursor_time = self._cursor_time is not None, None
        for chart in self._charts:
            chart.clear_cursor()
        return had_one

    # -- layout -------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        """Show as many charts as fit, those of the page with the chosen one."""
        width, height = self.size
        if not width or not height:
            return
        is_single = self._is_full or self._is_by_pod
        self._columns = max(min(width // MIN_CHART_CELLS, 2), 1)
        self._rows = max(min(height // MIN_CHART_LINES, MAX_CHARTS // self._columns), 1)
        size = self._page_size
        if not self._first <= self._selected < self._first + size:
            self._first = self._selected - self._selected % self._columns
        self._first = max(min(self._first, len(_KEYS) - size), 0)
        count = 1 if is_single else len(self.shown_keys)
        self.styles.grid_size_columns = 1 if is_single else self._columns
        self.styles.grid_size_rows = 1 if is_single else self._rows
        for number, chart in enumerate(self._charts):
            is_shown = number < count and not self._is_by_pod
            chart.display = is_shown
        self.multiples.display = self._is_by_pod
        for key in self.shown_keys:
            self._show_graph(key)
