"""The objectives of a serving beside its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from servedeck.metrics.error_budget import read_budget, read_error_shares
from servedeck.metrics.graphs import GraphKey
from servedeck.metrics.objective_status import GRAPHS, ObjectiveStatus, evaluate_objective
from servedeck.metrics.period import TimeGrid, rate_window
from servedeck.metrics.serving_metrics import Figures, ServingMetrics, ShownGraph
from servedeck.serving.objectives import ObjectiveKind, Objectives

OBJECTIVE_LINE = "P95"
"""Label of the line that an objective of a time limits."""


async def read_statuses(
    metrics: ServingMetrics,
    objectives: Objectives,
    figures: Figures,
    graphs: Iterable[ShownGraph],
    grid: TimeGrid,
) -> tuple[ObjectiveStatus, ...]:
    """The status of each objective at the moment of the figures, with the budget of their period.
    `graphs` are those that are shown, of which the lines of the times are taken; an objective whose
    graph is not among them has no begin. `grid` has the times of the line of the error rate. Raises
    MetricsError."""
    if objectives.is_empty:
        return ()
    await metrics.prepare()
    burnt, shares = await asyncio.gather(
        read_budget(
            metrics.source,
            metrics.target,
            objectives,
            figures.seconds,
            figures.time,
            metrics.known_names,
        ),
        _read_shares(metrics, objectives, grid),
    )
    shown = {one.key: one for one in graphs if not one.is_by_pod}
    values = present_values(figures)
    found: list[ObjectiveStatus] = []
    for kind, target in objectives.targets.items():
        line, times = shares, grid
        if kind is not ObjectiveKind.ERRORS:
            line, times = _line(shown, GRAPHS[kind], grid)
        found.append(
            evaluate_objective(
                kind, target, values[kind], line, times, burnt[kind], figures.seconds
            )
        )
    return tuple(found)


def present_values(figures: Figures) -> Mapping[ObjectiveKind, float | None]:
    """What objectives limit, at the moment of the figures."""
    return {
        ObjectiveKind.P95: figures.quantiles[1],
        ObjectiveKind.TTFT: figures.ttft,
        ObjectiveKind.ERRORS: figures.error_share,
    }


def _line(
    graphs: Mapping[GraphKey, ShownGraph], key: GraphKey, grid: TimeGrid
) -> tuple[Sequence[float | None], TimeGrid]:
    graph = graphs.get(key)
    if graph is None:
        return (), grid
    lines = (one.values for one in graph.lines if one.label == OBJECTIVE_LINE)
    return next(lines, ()), graph.grid


async def _read_shares(
    metrics: ServingMetrics, objectives: Objectives, grid: TimeGrid
) -> Sequence[float | None]:
    if objectives.error_rate is None:
        return ()
    window = rate_window(grid.step, metrics.scrape_interval)
    return await read_error_shares(
        metrics.source, metrics.target, grid, window, metrics.known_names
    )
