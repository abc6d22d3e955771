"""The figures of the servings of a list, from the source that there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import time as unix_time

from servedeck.metrics.errors import MetricsError
from servedeck.metrics.fleet_metrics import (
    FleetKey,
    FoundFigures,
    ServingFigures,
    read_figures,
    read_recent_rates,
    recent_grid,
    target_key,
    with_recent_rates,
)
from servedeck.metrics.fleet_queries import Rate
from servedeck.metrics.live_fleet import FIRST_INTERVAL, INTERVAL, LiveFleet
from servedeck.metrics.live_source import LiveSource
from servedeck.metrics.source import MetricsSource
from servedeck.metrics.target import NO_READY_POD, MetricsTarget

REFRESH_SECONDS = 15.0
"""Between two readings from Prometheus, which seldom scrapes more often."""
RETRY_SECONDS = 120.0
"""After which a Prometheus that did not answer is asked again; the first time sooner."""
MAX_SERVINGS = 500
"""Servings that are asked for at once, at most."""

_LIVE_RATE = Rate(4 * INTERVAL, "irate")
_MAX_KEPT = 2 * MAX_SERVINGS


@dataclass(frozen=True, slots=True)
class FleetReading:
    """What is known of the servings at a moment."""

    time: float
    """Seconds since the epoch."""
    figures: Mapping[FleetKey, ServingFigures]
    """Of the servings of which something is known."""
    reasons: Mapping[FleetKey, str] = field(default_factory=dict)
    """Why nothing, or not everything, is known of a serving, one sentence. Not sanitized."""
    problem: str = ""
    """Why the figures are not those of Prometheus, or are not all, in sentences. Not sanitized."""
    has_failed: bool = False
    """Whether Prometheus does not answer that did before, or no source, so that figures that were
    read before count for servings whose Pods are not read."""
    next_in: float = REFRESH_SECONDS
    """Seconds after which there can be something new."""


class FleetReader:
    """Reads the figures of servings, from Prometheus and of those that it does not know from their
    Pods."""

    def __init__(
        self,
        get_prometheus: Callable[[], Awaitable[MetricsSource]],
        live: LiveFleet | None,
        clock: Callable[[], float] = unix_time,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """`get_prometheus` raises MetricsError if there is none; without `live` no Pods are
        read. `on_failure` is called when Prometheus does not answer."""
        self._get_prometheus = get_prometheus
        self._live = live
        self._clock = clock
        self._on_failure = on_failure
        self._failed_at: float | None = None
        self._problem = ""
        self._failures = 0
        """How often Prometheus did not answer since it last did."""
        self._has_answered = False
        self._recent: dict[FleetKey, tuple[float, tuple[float | None, ...]]] = {}
        """The recent rates, and the time of the last of them."""

    async def read(
        self, targets: Sequence[MetricsTarget], *, with_recent: bool = True
    ) -> FleetReading:
        """The figures of at most MAX_SERVINGS servings. `with_recent` asks for the recent rates,
        too, which change once a minute. What fails is in the result."""
        targets = targets[:MAX_SERVINGS]
        now = self._clock()
        source, found = await self._ask_prometheus(targets, now)
        problem = self._problem or found.warning
        reasons: dict[FleetKey, str] = {}
        unknown = [one for one in targets if target_key(one) not in found.figures]
        for one in unknown:
            known_by = f"{source.display_name} has no metrics of it." if source else problem
            reasons[target_key(one)] = known_by if one.ready_pods else NO_READY_POD
        figures, next_in = dict(found.figures), REFRESH_SECONDS
        live_targets = unknown if self._live is not None else []
        if self._live is not None and any(one.ready_pods for one in unknown):
            next_in = await self._read_pods(self._live, unknown, figures, reasons)
        has_failed = source is None and (self._live is None or self._has_answered)
        if with_recent and (source is not None or self._live is not None):
            known = [one for one in targets if target_key(one) in found.figures]
            failure = await self._update_recent(source, known, live_targets, now)
            problem = problem or failure
            recent = {target_key(one): self._recent_of(target_key(one), now) for one in targets}
            kept = figures if has_failed else recent
            figures = with_recent_rates(
                figures, {key: one for key, one in recent.items() if one and key in kept}
            )
        return FleetReading(now, figures, reasons, problem, has_failed, next_in)

    async def _ask_prometheus(
        self, targets: Sequence[MetricsTarget], now: float
    ) -> tuple[MetricsSource | None, FoundFigures]:
        # one that has answered before may have been busy for a moment
        wait = REFRESH_SECONDS if self._has_answered and self._failures == 1 else RETRY_SECONDS
        if self._failed_at is not None and 0 <= now - self._failed_at < wait:
            return None, FoundFigures({})
        try:
            source = await self._get_prometheus()
            found = await read_figures(source, targets, now)
        except MetricsError as error:
            self._failed_at, self._problem = now, str(error)
            self._failures += 1
            self._on_failure()
            return None, FoundFigures({})
        self._failed_at, self._problem = None, ""
        self._failures, self._has_answered = 0, True
        return source, found

    async def _read_pods(
        self,
        live: LiveFleet,
        targets: Sequence[MetricsTarget],
        figures: dict[FleetKey, ServingFigures],
        reasons: dict[FleetKey, str],
    ) -> float:
        """Add what the Pods say; returns after how many seconds they say something new."""
        reading = await live.read(targets)
        reasons.update(reading.reasons)
        try:
            found = await read_figures(self._live_source(live), targets, self._clock(), _LIVE_RATE)
        except MetricsError as error:
            reasons.update((target_key(one), str(error)) for one in targets)
            return INTERVAL
        for key, one in found.figures.items():
            figures[key] = one
            if key not in reading.reasons:
                reasons.pop(key, None)
                if one.rate is None and reading.is_first:
                    reasons[key] = "A rate is known after the second reading of its Pods."
        for key in map(target_key, targets):
            if key not in found.figures and key not in reading.reasons:
                reasons[key] = "Its Pods have no metrics that are known."
        return FIRST_INTERVAL if reading.is_first else INTERVAL

    async def _update_recent(
        self,
        source: MetricsSource | None,
        known: Sequence[MetricsTarget],
        live_targets: Sequence[MetricsTarget],
        now: float,
    ) -> str:
        """Ask for the recent rates that are not those of the last minute; returns what failed."""
        if len(self._recent) > _MAX_KEPT:
            self._recent.clear()
        end = recent_grid(now).end

        async def update(
            where: MetricsSource, targets: Sequence[MetricsTarget], *rate: Rate
        ) -> None:
            due = [one for one in targets if self._recent.get(target_key(one), (0.0,))[0] != end]
            found = await read_recent_rates(where, due, now, *rate) if due else {}
            for key in map(target_key, due):
                self._recent[key] = (end, found.get(key, ()))

        asked: list[Awaitable[None]] = []
        if source is not None:
            asked.append(update(source, known))
        if self._live is not None and live_targets:
            asked.append(update(self._live_source(self._live), live_targets, _LIVE_RATE))
        failures = await asyncio.gather(*asked, return_exceptions=True)
        for one in failures:
            if one is not None and not isinstance(one, MetricsError):
                raise one
        return next((str(one) for one in failures if one is not None), "")

    def _recent_of(self, key: FleetKey, now: float) -> tuple[float | None, ...]:
        """The recent rates up to now; of the minutes that could not be asked for nothing is
        known."""
        end, rates = self._recent.get(key, (0.0, ()))
        grid = recent_grid(now)
        missing = round((grid.end - end) / grid.step)
        if not 0 <= missing < len(rates):
            return ()
        return (*rates[missing:], *(None,) * missing)

    @staticmethod
    def _live_source(live: LiveFleet) -> LiveSource:
        return LiveSource(live.ring)
