"""The figures of many servings at once, for a list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from servedeck.metrics.fleet_queries import (
    FIGURE,
    NAMESPACE,
    SERVING,
    Figure,
    Rate,
    figures_expression,
    rates_expression,
)
from servedeck.metrics.period import TimeGrid, make_grid
from servedeck.metrics.queries import WINDOW_SECONDS
from servedeck.metrics.source import FoundSeries, MetricsSource
from servedeck.metrics.target import MetricsTarget
from servedeck.metrics.units import finite

RECENT_SECONDS = 1800.0
"""The period of the recent rates."""
RECENT_POINTS = 30
"""Points of it, at most one less than are shown."""

USUAL_RATE = Rate(WINDOW_SECONDS)

FleetKey = tuple[str, str]
"""Namespace and name of a serving, as the API server has them."""


@dataclass(frozen=True, slots=True)
class ServingFigures:
    """What is known of a serving; None for what is not."""

    rate: float | None = None
    """Finished requests per second."""
    p95: float | None = None
    """95 % of the requests took less, in seconds; None also without requests."""
    waiting: float | None = None
    """Requests that wait to be started."""
    recent_rates: tuple[float | None, ...] = ()
    """The rate at evenly spaced times of the last RECENT_SECONDS, the newest last."""


def target_key(target: MetricsTarget) -> FleetKey:
    return target.namespace, target.name


class FoundFigures(NamedTuple):
    figures: dict[FleetKey, ServingFigures]
    warning: str = ""
    """What the source says about them, one sentence."""


async def read_figures(
    source: MetricsSource, targets: Sequence[MetricsTarget], now: float, rate: Rate = USUAL_RATE
) -> FoundFigures:
    """The same without the recent rates, in one query."""
    expression = figures_expression(targets, rate)
    if expression is None:
        return FoundFigures({})
    wanted = frozenset(map(target_key, targets))
    values: dict[FleetKey, dict[str, float | None]] = {}
    result = await source.query(expression, now)
    for one in result.series:
        key = _series_key(one)
        if key in wanted and one.values:
            values.setdefault(key, {})[one.labels.get(FIGURE, "")] = finite(one.values[0])
    figures = {
        key: ServingFigures(
            found.get(Figure.RATE), found.get(Figure.P95), found.get(Figure.WAITING)
        )
        for key, found in values.items()
    }
    return FoundFigures(figures, result.warning)


async def read_recent_rates(
    source: MetricsSource, targets: Sequence[MetricsTarget], now: float, rate: Rate = USUAL_RATE
) -> dict[FleetKey, tuple[float | None, ...]]:
    """The recent rates, in one query. A source that has nothing from before a time has no values
    there."""
    expression = rates_expression(targets, rate)
    if expression is None:
        return {}
    wanted = frozenset(map(target_key, targets))
    found = (await source.query_range(expression, recent_grid(now))).series
    return {
        key: tuple(map(finite, one.values)) for one in found if (key := _series_key(one)) in wanted
    }


def recent_grid(now: float) -> TimeGrid:
    return make_grid(now, RECENT_SECONDS, RECENT_POINTS)


def with_recent_rates(
    figures: Mapping[FleetKey, ServingFigures],
    recent: Mapping[FleetKey, tuple[float | None, ...]],
) -> dict[FleetKey, ServingFigures]:
    """The figures with these recent rates; of a serving that is no longer known, those alone."""
    return {
        key: replace(figures.get(key, ServingFigures()), recent_rates=recent.get(key, ()))
        for key in dict.fromkeys((*figures, *recent))
    }


def _series_key(series: FoundSeries) -> FleetKey:
    return series.labels.get(NAMESPACE, ""), series.labels.get(SERVING, "")
