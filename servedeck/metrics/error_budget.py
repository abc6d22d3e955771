"""How much of its error budget a serving has burnt.

The error budget of https://sre.google/sre-book/embracing-risk/ and
https://sre.google/workbook/implementing-slos/ is, of the requests of a period, the share that the
objective allows to be bad. A P95 of T allows 5 % of them to be slower than T; an error rate of E
allows the share E to fail.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from servedeck.metrics import queries
from servedeck.metrics.families import Metric
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.queries import KnownNames, MetricSeries, metric_series
from servedeck.metrics.source import MetricsSource
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import (
    Binary,
    Call,
    Expression,
    Matcher,
    Number,
    Selector,
    first_of,
    total,
)
from servedeck.serving.objectives import ObjectiveKind, Objectives

SLOW_SHARE = 0.05
"""Of the requests, those that may be slower than an objective of their P95."""


async def read_error_shares(
    source: MetricsSource, target: MetricsTarget, grid: TimeGrid, window: float, known: KnownNames
) -> tuple[float | None, ...]:
    """The share of failed requests at each time of a grid, of the last `window` seconds: the line
    that an objective of the error rate limits. Raises MetricsError."""
    shares = (
        queries.failure_share(one, window) for one in metric_series(Metric.ERRORS, target, known)
    )
    expression = first_of(one for one in shares if one is not None)
    if expression is None:
        return (None,) * grid.count
    found = (await source.query_range(expression, grid)).series
    return tuple(found[0].values) if found else (None,) * grid.count


def _error_series(target: MetricsTarget, known: KnownNames) -> Iterator[MetricSeries]:
    """Counters of requests that tell which of them failed, each with one name."""
    for series in metric_series(Metric.ERRORS, target, known):
        yield from queries.failure_series(series)


# -- the budget -------------------------------------------------------------------------------


async def read_budget(
    source: MetricsSource,
    target: MetricsTarget,
    objectives: Objectives,
    seconds: float,
    now: float,
    known: KnownNames,
) -> Mapping[ObjectiveKind, float | None]:
    """How much of the budget of the `seconds` before `now` each objective has burnt: 1.0 is all of
    it, 0.0 also without requests; None where it cannot be told. `known` are the names of the
    samples that the Pods have. Raises MetricsError."""
    targets = objectives.targets
    burnt = await asyncio.gather(
        *(
            _read_burnt(source, target, kind, one, seconds, now, known)
            for kind, one in targets.items()
        )
    )
    return dict(zip(targets, burnt, strict=True))


async def _read_burnt(
    source: MetricsSource,
    target: MetricsTarget,
    kind: ObjectiveKind,
    limit: float,
    seconds: float,
    now: float,
    known: KnownNames,
) -> float | None:
    if kind is ObjectiveKind.ERRORS:
        share = await _read_failed_share(source, target, seconds, now, known)
        allowed = limit
    else:
        metric = Metric.LATENCY if kind is ObjectiveKind.P95 else Metric.TTFT
        series = metric_series(metric, target, known)
        share = await _read_slow_share(source, series, limit, seconds, now, known)
        allowed = SLOW_SHARE
    return None if share is None else share / allowed


async def _read_failed_share(
    source: MetricsSource, target: MetricsTarget, seconds: float, now: float, known: KnownNames
) -> float | None:
    """Of the requests of the last `seconds`, those that failed; None if nothing counts them."""
    for one in _error_series(target, known):
        name = one.names[0]
        codes = Matcher(name.code_label, "=~", name.failure_codes)
        failing = replace(one, matchers=(*one.matchers, codes))
        counted, failed = await asyncio.gather(
            _read_number(source, queries.counter_increase(one, seconds), now),
            _read_number(source, queries.counter_increase(failing, seconds), now),
        )
        if counted is not None:
            return min((failed or 0.0) / counted, 1.0) if counted > 0 else 0.0
    return None


async def _read_number(source: MetricsSource, expression: Expression, now: float) -> float | None:
    found = (await source.query(expression, now)).series
    return found[0].values[0] if found else None


async def _read_slow_share(
    source: MetricsSource,
    series: Iterable[MetricSeries],
    limit: float,
    seconds: float,
    now: float,
    known: KnownNames,
) -> float | None:
    """Of the requests of the last `seconds`, those that took longer than `limit`, in seconds; None
    if no histogram counts them, or it is too coarse. The first histogram that there is counts."""
    for one in series:
        in_unit = limit / one.names[0].factor
        found = (await source.query(_bucket_increase(one, seconds), now)).series
        buckets = {
            bound: value
            for bucket in found
            if (bound := _bound(bucket.labels.get("le", ""))) is not None
            and (value := bucket.values[0]) is not None
        }
        if buckets:
            bounds = sorted(buckets)
            return share_above(bounds, [buckets[bound] for bound in bounds], in_unit)
        if known is not None and any(name.name in known for name in one.names):
            fraction = await _read_number(source, _native_fraction(one, in_unit, seconds), now)
            if fraction is not None:
                return 1.0 - fraction
    return None


def _bucket_increase(series: MetricSeries, seconds: float) -> Expression:
    """How many observations each bucket, by its label `le`, has got in the last `seconds`."""

    def joined(read: Callable[[str], Expression]) -> Expression:
        found = first_of(read(f"{one.name}_bucket") for one in series.names)
        assert found is not None, "a metric has a name"
        return total(found, "le")

    matchers = series.matchers
    increase = joined(lambda name: Call("increase", (Selector(name, matchers, seconds),)))
    if not series.is_proxy:
        return increase
    # a proxy's counters begin with their first request, see `queries.counter_increase`
    begun = joined(lambda name: queries.newborn(Selector(name, matchers), seconds))
    return Binary("or", increase, begun)


def _native_fraction(series: MetricSeries, limit: float, seconds: float) -> Expression:
    """Of the observations of native histograms, those up to the limit."""
    increases = (
        Call("increase", (Selector(one.name, series.matchers, seconds),)) for one in series.names
    )
    found = first_of(increases)
    assert found is not None, "a metric has a name"
    return Call("histogram_fraction", (Number(0.0), Number(limit), total(found)))


def _bound(text: str) -> float | None:
    """Of a bucket; None for a text that is no number."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def share_above(bounds: Sequence[float], counts: Sequence[float], limit: float) -> float | None:
    """Of the observations of a histogram, the share that is above a limit, by the linear
    interpolation within a bucket that `histogram_quantile` does.

    `bounds` are the upper bounds of its buckets, increasing; `counts` those of the observations up
    to each. 0.0 without observations; None without the bucket of all, or if some are above the last
    finite bound and the limit too, so that there is no telling."""
    if not bounds or bounds[-1] != math.inf:
        return None
    fixed = list(accumulate(counts, max))  # as `histogram_quantile` does: scrapes differ
    everything = fixed[-1]
    if not everything > 0:
        return 0.0
    at = next(index for index, bound in enumerate(bounds) if bound >= limit)
    below = fixed[at - 1] if at else 0.0
    if bounds[at] == math.inf:
        return 0.0 if at and below >= everything else None
    start = bounds[at - 1] if at else min(0.0, bounds[0])
    part = (limit - start) / (bounds[at] - start) if bounds[at] > start else 1.0
    reached = below + (fixed[at] - below) * min(max(part, 0.0), 1.0)
    return min(max(1.0 - reached / everything, 0.0), 1.0)
