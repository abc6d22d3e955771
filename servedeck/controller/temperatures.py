"""The temperatures of the accelerators of all Pods, as Prometheus knows them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic

from servedeck.metrics.accelerator_queries import pod_temperatures
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.prometheus import PrometheusClient
from servedeck.promql.expressions import format_expression

QUERY_TIMEOUT = 10.0
"""Seconds for one answer."""

PodName = tuple[str, str]
"""Namespace and name."""

_log = logging.getLogger(__name__)


class Temperatures:
    """The result of the last query; when it is too old, it counts as unknown."""

    def __init__(
        self,
        client: PrometheusClient,
        max_age: float,
        namespace: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Of one namespace, or (None) of all. `max_age` in seconds: that of a value in Prometheus,
        and of an answer after which no other one came."""
        self.problem = ""
        """Why the last query failed, one sentence; "" if it did not."""
        self._client = client
        self._max_age = max_age
        self._query = format_expression(pod_temperatures(max_age, namespace or ""))
        self._clock = clock
        self._values: Mapping[PodName, float] = {}
        self._answered_at = float("-inf")

    def forget(self) -> None:
        """Those of an earlier time are not to be used."""
        self._values, self._answered_at = {}, float("-inf")

    @property
    def current(self) -> Mapping[PodName, float]:
        """°C of the hottest accelerator of each Pod for which it is known."""
        return self._values if self._clock() - self._answered_at <= self._max_age else {}

    async def read(self) -> bool:
        """Ask Prometheus. False if it fails: then the last answer counts until it is too old."""
        try:
            async with asyncio.timeout(QUERY_TIMEOUT):
                answer = await self._client.query(self._query)
        except TimeoutError:
            name = self._client.display_name
            self._report(f"{name} does not answer within {QUERY_TIMEOUT:.0f} s.")
            return False
        except MetricsError as error:
            self._report(str(error))
            return False
        self._answered_at = self._clock()
        self._values = {
            (one.labels["namespace"], one.labels["pod"]): value
            for one in answer.series
            if {"namespace", "pod"} <= one.labels.keys()
            and one.points
            and (value := one.points[0].value) is not None
        }
        self._report("")
        return True

    def _report(self, problem: str) -> None:
        if problem and problem != self.problem:
            _log.warning("The temperatures cannot be read: %s", problem)
        elif self.problem and not problem:
            _log.info("The temperatures are read again.")
        self.problem = problem
