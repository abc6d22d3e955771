"""The load of a serving at the moment, for the plan of what restarts or ends its Pods."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.families import Metric
from servedeck.metrics.pod_scrape import INTERVALS, scrape
from servedeck.metrics.prometheus import PrometheusClient, single_value
from servedeck.metrics.queries import WINDOW_SECONDS, build_query
from servedeck.metrics.target import MetricsTarget, fetch_target
from servedeck.metrics.transports import PrometheusOptions, open_transport

if TYPE_CHECKING:
    from servedeck.config import Settings

PROMETHEUS_TIMEOUT = 10.0
"""Seconds for the answer of Prometheus."""

_METRICS = (Metric.REQUESTS, Metric.RUNNING)


@dataclass(frozen=True, slots=True)
class ServingLoad:
    """What the metrics say; nothing if no source knows the serving."""

    requests_per_second: float | None = None
    """Finished requests; None if unknown."""
    running_requests: float | None = None
    source: str = ""
    """"prometheus" or "pods"; "" for none."""
    seconds: float = 0.0
    """Over how many the rate was measured."""
    pods: int = 0
    """Of `pods`: how many were read."""
    ready_pods: int = 0
    reason: str = ""
    """Why the rate is unknown, one sentence; "" if it is known, or there is nothing to say."""
    is_failure: bool = False
    """Whether a source that the settings name does not answer."""

    @property
    def sentence(self) -> str:
        """For a plan; "" if there is nothing to say."""
        if self.requests_per_second is None:
            return f"Requests per second unknown: {self.reason}" if self.is_failure else ""
        rate, measured = self.requests_per_second, self._measured_text
        if rate == 0:
            text = f"No request was finished {measured}"
        elif self.source == "pods":
            count = max(round(rate * self.seconds), 1)
            about = format_estimate(rate, count)
            noun = "request" if about == "1" else "requests"
            text = f"It handles about {about} {noun} per second ({count:,} {measured})"
        else:
            text = f"It handles {format_rate(rate)} requests per second ({measured})"
        if self.running_requests is not None:
            text += f"; {format_number(self.running_requests)} in progress"
        return f"{text}."

    @property
    def _measured_text(self) -> str:
        if self.source == "prometheus":
            return f"in the last {self.seconds / 60:.0f} minutes"
        text = f"in {self.seconds:.1f} s"
        if self.pods < self.ready_pods:
            text += f" by {self.pods} of its {self.ready_pods} Ready Pods"
        return text

    @property
    def as_json(self) -> dict[str, Any] | None:
        """For scripts; None if there is nothing to say."""
        if not (self.source or self.reason):
            return None
        return {
            "requestsPerSecond": self.requests_per_second,
            "runningRequests": self.running_requests,
            "source": self.source or None,
            "seconds": round(self.seconds, 3) if self.source else None,
            "reason": self.reason or None,
        }


def format_rate(rate: float) -> str:
    """A rate in as many digits as an operator reads: "1,240", "12.4", "0.25"."""
    if rate < 0.01:
        return "less than 0.01"
    digits = 0 if rate >= 100 else 1 if rate >= 1 else 2
    return f"{rate:,.{digits}f}"


def format_number(number: float) -> str:
    """A number of requests."""
    return f"{number:,.0f}" if number else "none"


def format_estimate(rate: float, count: int) -> str:
    """A rate from a count of requests in as many digits as the count bears out: 1 request more or
    less is 50 % of 2."""
    digits = 1 if count < 10 else 2
    rounded = float(f"{rate:.{digits - 1}e}")
    places = digits - 1 - math.floor(math.log10(rounded))
    return f"{rounded:,.{max(places, 0)}f}"


class LoadReader:
    """Reads the load of servings: from Prometheus where the settings name one, else from their
    Pods. What fails is in the result."""

    def __init__(
        self, connection: Connection, settings: Settings, intervals: Sequence[float] = INTERVALS
    ) -> None:
        """`intervals` are those between the readings of a Pod, in seconds."""
        self._connection = connection
        self._options = PrometheusOptions.from_settings(settings)
        self._reads_pods = settings.pod_metrics
        self._reports_pods = settings.pod_metrics and "pod_metrics" in settings.explicit_keys
        self._intervals = intervals

    @property
    def is_configured(self) -> bool:
        """Whether the settings ask for metrics, so that their absence is worth a line."""
        return self._options.is_configured or self._reports_pods

    async def read_serving(self, namespace: str, name: str) -> ServingLoad:
        """The first load of a Deployment, whose Pods are listed before."""
        try:
            target = await fetch_target(self._connection, namespace, name)
        except ClusterError as error:
            return ServingLoad(reason=str(error))
        if target is None:
            return ServingLoad()
        async with aclosing(self.read(target)) as loads:
            return await anext(loads, ServingLoad())

    async def read(self, target: MetricsTarget) -> AsyncGenerator[ServingLoad, None]:
        """The load of a serving or a Pod, at least once; another one is more precise. The Pods are
        read where there is no Prometheus, or it does not know them."""
        load = ServingLoad()
        if self._options.is_configured:
            load = await self._ask_prometheus(target)
        if load.requests_per_second is None and not load.is_failure and self._reads_pods:
            async for load in self._read_pods(target):
                yield load
        else:
            yield load

    async def _ask_prometheus(self, target: MetricsTarget) -> ServingLoad:
        queries = [build_query(metric, target) for metric in _METRICS]
        if not queries[0]:
            return ServingLoad()
        try:
            transport = open_transport(self._connection, self._options)
        except MetricsError as error:
            return ServingLoad(reason=str(error), is_failure=True)
        client = PrometheusClient(transport)
        try:
            async with asyncio.timeout(PROMETHEUS_TIMEOUT):
                found = await asyncio.gather(*(client.query(one) for one in queries if one))
        except TimeoutError:
            reason = f"{transport.display_name} does not answer within {PROMETHEUS_TIMEOUT:.0f} s."
            return ServingLoad(reason=reason, is_failure=True)
        except ClusterError as error:
            return ServingLoad(reason=str(error), is_failure=True)
        finally:
            await transport.close()
        rate = single_value(found[0])
        if rate is None:
            return ServingLoad(reason=f"{transport.display_name} has no metrics of its requests.")
        running = single_value(found[1]) if queries[1] else None
        return ServingLoad(rate, running, "prometheus", WINDOW_SECONDS)

    async def _read_pods(self, target: MetricsTarget) -> AsyncIterator[ServingLoad]:
        ready, is_known = len(target.ready_pods), False
        try:
            async for found in scrape(
                self._connection, target, _METRICS, intervals=self._intervals
            ):
                rate = found.values[Metric.REQUESTS]
                running = found.values[Metric.RUNNING]
                if rate is not None:
                    is_known = True
                    yield ServingLoad(rate, running, "pods", found.seconds, found.pods, ready)
        except ClusterError as error:
            yield ServingLoad(reason=str(error), is_failure=self._reports_pods)
            return
        if not is_known:
            reason = "No Ready Pod has metrics of requests that are known." if ready else ""
            yield ServingLoad(reason=reason)
