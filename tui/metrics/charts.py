"""Graphs of a serving as charts, with the changes of the serving as marks."""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.metrics.graphs import GRAPH_KINDS, GraphKey
from servedeck.metrics.objective_status import GRAPHS, ObjectiveStatus, format_objective_value
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.serving_metrics import ShownGraph
from servedeck.serving.status.timeline import TimelineEntry
from widgets.chart_data import ChartData, ChartLine, ChartMark
from widgets.serving_rows import STATUS_STYLES
from widgets.timeline_strip import MARKS


def chart_of(
    graph: ShownGraph, marks: tuple[ChartMark, ...], objectives: Iterable[ObjectiveStatus] = ()
) -> ChartData:
    """The chart of a graph; of the marks those of its time, of the objectives its own."""
    grid = graph.grid
    limit = next(
        (one for one in objectives if GRAPHS.get(one.kind) is graph.key and not graph.is_by_pod),
        None,
    )
    return ChartData(
        graph.title,
        GRAPH_KINDS[graph.key].unit,
        grid.start,
        grid.step,
        tuple(ChartLine(one.label, one.values, _style(one.label)) for one in graph.lines),
        tuple(one for one in marks if grid.start <= one.time <= grid.end + grid.step),
        limit=limit.target if limit is not None else None,
        limit_label=f"objective {format_objective_value(limit.kind, limit.target)}"
        if limit is not None
        else "",
        note=graph.warning,
        reason=graph.reason,
    )


def message_chart(key: GraphKey, grid: TimeGrid, text: str) -> ChartData:
    """A chart without values, and why."""
    return ChartData(
        GRAPH_KINDS[key].title, GRAPH_KINDS[key].unit, grid.start, grid.step, (), reason=text
    )


def chart_marks(entries: Iterable[TimelineEntry]) -> tuple[ChartMark, ...]:
    """The changes of the timeline: rollouts, restarts, scaling, lost nodes and statuses."""
    return tuple(mark for one in entries if (mark := _mark(one)) is not None)


def _mark(entry: TimelineEntry) -> ChartMark | None:
    time = entry.end.timestamp()
    if entry.status is not None:
        if entry.is_first_status:
            return None  # it may be older
        status = entry.status
        return ChartMark(time, status.glyph, entry.text, STATUS_STYLES[status])
    found = MARKS.get(entry.kind)
    if found is None or entry.is_consequence:
        return None
    letter, _, style_name = found
    return ChartMark(time, letter, entry.text, style_name)


def _style(label: str) -> str:
    """Failures of the server are told from errors of its clients."""
    return "error" if label.startswith("5") else ""
