"""How the simulated requests reach the instances: the load of an endpoint goes to the servings that
its route names, by their weights, and among the ready instances of each as the load balancing says.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from servedeck.demo.workloads.load_balancing import LEAST_REQUEST, Balancing, spread
from servedeck.demo.workloads.request_load import (
    LoadPeak,
    LoadSettings,
    RequestCounts,
    RequestLoad,
)

_NOTHING = RequestCounts(0.0, 0.0, 0.0)


class LoadPart(NamedTuple):
    """The fraction of the load of an endpoint that an instance gets."""

    load: RequestLoad
    fraction: float


class _CountedPart(NamedTuple):
    """A LoadPart from a time on. `since` is the load's integral at that time."""

    load: RequestLoad
    fraction: float
    crowding: float
    since: RequestCounts

    def scale(self, counts: RequestCounts) -> RequestCounts:
        """The part that the instance gets of these."""
        fraction = self.fraction
        return RequestCounts(
            counts.total * fraction,
            counts.slow * fraction * self.crowding,
            counts.failed * fraction,
        )

    def count_until(self, time: float) -> RequestCounts:
        now, since = self.load.integral(time), self.since
        return self.scale(
            RequestCounts(
                max(0.0, now.total - since.total),
                max(0.0, now.slow - since.slow),
                max(0.0, now.failed - since.failed),
            )
        )


class ShareChange(NamedTuple):
    """From `time` on, an instance gets these parts. `before` has been received until then."""

    time: float
    before: RequestCounts
    parts: tuple[_CountedPart, ...]


@dataclass
class TrafficShare:
    """The requests that one instance of an inference server has received. `load` is that of its
    own serving's endpoint."""

    load: RequestLoad
    points: list[ShareChange] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def set_parts(self, time: float, parts: Sequence[LoadPart]) -> None:
        """From `time` on, the instance gets these parts of the loads of endpoints."""
        last = self.points[-1].parts if self.points else ()
        if [(one.load, one.fraction) for one in last] == list(parts) and self.points:
            return
        counted = tuple(
            _CountedPart(load, fraction, load.crowding(fraction), load.integral(time))
            for load, fraction in parts
        )
        self.points.append(ShareChange(time, self.counts_at(time), counted))
        self.times.append(time)

    def counts_at(self, time: float) -> RequestCounts:
        """Requests until `time`."""
        index = bisect_right(self.times, time) - 1
        if index < 0:
            return _NOTHING
        point = self.points[index]
        return _add(point.before, (part.count_until(time) for part in point.parts))

    def interval(self, begin: float, end: float) -> tuple[float, float]:
        """(requests until `begin`, until `end`), as expected at `begin`: later changes are ignored,
        so that log lines once written do not change."""
        before = self.counts_at(begin).total
        index = bisect_right(self.times, begin) - 1
        parts = self.points[index].parts if index >= 0 else ()
        added = (
            (part.load.integral(end).total - part.load.integral(begin).total) * part.fraction
            for part in parts
        )
        return before, before + sum(max(0.0, one) for one in added)

    def rate(self, time: float) -> RequestCounts:
        """Requests per second at `time`."""
        index = bisect_right(self.times, time) - 1
        if index < 0:
            return _NOTHING
        parts = self.points[index].parts
        return _add(_NOTHING, (part.scale(part.load.rates(time)) for part in parts))


class Route(NamedTuple):
    """Where the load of an endpoint goes."""

    backends: tuple[tuple[str, float], ...]
    """Servings ("namespace/name"), and the fraction of the load that each gets. What is left over
    goes to no serving: the gateway answers it with an error."""
    balancing: Balancing = LEAST_REQUEST


class Traffic:
    """Shares the loads among the ready instances of servings. An endpoint has the name of its
    serving, "namespace/name"."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._loads: dict[str, RequestLoad] = {}
        self._peaks: dict[str, list[LoadPeak]] = {}
        self._shares: dict[str, dict[str, TrafficShare]] = {}
        self._routes: Mapping[str, Route] = {}

    def load(self, endpoint: str, settings: LoadSettings | None = None) -> RequestLoad:
        """The load of an endpoint, created at the first call; other settings make another one."""
        found = self._loads.get(endpoint)
        if found is None or (settings is not None and _differs(found, settings)):
            settings = settings or LoadSettings()
            rng = random.Random(f"{self._seed}/{endpoint}/mean")  # noqa: S311
            mean = settings.mean
            found = self._loads[endpoint] = RequestLoad(
                mean if mean is not None else math.exp(rng.uniform(-1.2, 1.3)),
                f"{self._seed}/{endpoint}",
                self._peaks.setdefault(endpoint, []),
                replicas=settings.replicas,
                swing=settings.swing,
            )
        return found

    def add_peak(self, endpoint: str, peak: LoadPeak) -> None:
        """Adds a peak to the load of an endpoint; it must not have begun."""
        self._peaks.setdefault(endpoint, []).append(peak)

    def new_share(self, serving: str, settings: LoadSettings | None = None) -> TrafficShare:
        return TrafficShare(self.load(serving, settings))

    def add_instance(self, serving: str, instance: str, share: TrafficShare, time: float) -> None:
        """The instance starts to receive requests."""
        self._shares.setdefault(serving, {})[instance] = share
        # the load may be another one than before, for its other servings, too
        self._redistribute({serving, *self._backends(serving)}, time)

    def remove_instance(self, serving: str, instance: str, time: float) -> None:
        """The instance receives no more requests; no effect where it received none."""
        share = self._shares.get(serving, {}).pop(instance, None)
        if share is not None:
            share.set_parts(time, ())
            self._redistribute({serving}, time)

    def set_routes(self, routes: Mapping[str, Route], time: float) -> None:
        """From `time` on, the loads of these endpoints go where these routes say. That of another
        endpoint goes to its own serving, as from callers in the cluster."""
        before, self._routes = self._routes, routes
        changed = {one for one in {*before, *routes} if before.get(one) != routes.get(one)}
        servings = {
            serving
            for endpoint in changed
            for known in (before, routes)
            if endpoint in known
            for serving, _ in known[endpoint].backends
        }
        self._redistribute(servings | changed, time)

    def redraw(self, endpoints: Iterable[str], time: float) -> None:
        """Computes the loads of these endpoints again, where the spread is random."""
        self._redistribute({one for name in endpoints for one in self._backends(name)}, time)

    def _backends(self, endpoint: str) -> tuple[str, ...]:
        route = self._routes.get(endpoint)
        return (endpoint,) if route is None else tuple(name for name, _ in route.backends)

    def _redistribute(self, servings: Iterable[str], time: float) -> None:
        for serving in sorted(servings):
            shares = self._shares.get(serving)
            if shares:
                self._share_out(serving, shares, time)

    def _share_out(self, serving: str, shares: Mapping[str, TrafficShare], time: float) -> None:
        parts: dict[str, list[LoadPart]] = {instance: [] for instance in shares}
        for load, fraction, endpoint, balancing in self._sources(serving):
            requests = load.rate(time) * fraction
            weights = spread(balancing, endpoint, list(shares), requests, time)
            for instance, weight in weights.items():
                if weight:
                    parts[instance].append(LoadPart(load, fraction * weight))
        for instance, share in shares.items():
            share.set_parts(time, parts[instance])

    def _sources(self, serving: str) -> Iterable[tuple[RequestLoad, float, str, Balancing]]:
        """The loads that go to a serving: the load, its fraction, its endpoint, its balancing."""
        if serving not in self._routes:
            yield self.load(serving), 1.0, serving, LEAST_REQUEST
        for endpoint, route in sorted(self._routes.items()):
            fraction = sum(part for name, part in route.backends if name == serving)
            load = self._loads.get(endpoint)
            if fraction > 0 and load is not None:
                yield load, fraction, endpoint, route.balancing


def _differs(load: RequestLoad, settings: LoadSettings) -> bool:
    return (
        settings.mean not in (None, load.mean)
        or max(0.01, settings.replicas) != load.replicas
        or settings.swing != load.swing
    )


def _add(first: RequestCounts, more: Iterable[RequestCounts]) -> RequestCounts:
    total, slow, failed = first
    for one in more:
        total += one.total
        slow += one.slow
        failed += one.failed
    return RequestCounts(total, slow, failed)
