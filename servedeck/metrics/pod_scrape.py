"""Metrics of a serving from the /metrics of its Pods, read through the API server, so that nothing
has to be installed. Needs `get` on `pods/proxy`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from time import time as unix_time
from typing import NamedTuple
from urllib.parse import quote

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.resources import POD
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.families import METRIC_KINDS, Metric, MetricKind, MetricName
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.exposition import Sample, load_library, parse_page
from servedeck.promql.samples import Labels

MAX_PODS = 20
"""Pods of one serving that are read at most: each is two requests to its inference server."""
MAX_PAGE_BYTES = 4 << 20
CONCURRENT_REQUESTS = 5
POD_TIMEOUT = 3.0
"""Seconds for one page; a Pod that takes longer does not count."""
INTERVALS = (2.0, 8.0)
"""Seconds between the readings of a counter: soon a first figure, then one of more requests."""

_ACCEPT = "text/plain;version=0.0.4"

PodSamples = Mapping[tuple[str, Labels], float]
"""The values of one page by name and labels."""


class PodPage(NamedTuple):
    time: float
    """When it arrived, in seconds of the event loop's clock."""
    samples: PodSamples
    unix_time: float = 0.0
    """The same in seconds since the epoch."""


class ScrapedMetrics(NamedTuple):
    values: Mapping[Metric, float | None]
    """None for a metric that no Pod has."""
    pods: int
    """Pods that the values are the sum of."""
    seconds: float
    """Between the two readings of the first of them."""


async def scrape(
    connection: Connection,
    target: MetricsTarget,
    metrics: Iterable[Metric],
    *,
    intervals: Iterable[float] = INTERVALS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[ScrapedMetrics]:
    """Read the Pods once, and again after each of the intervals, in seconds: what has happened
    since the first reading. Nothing if no Pod has metrics. Raises MetricsError without the
    permission."""
    asked = tuple(metrics)
    groups = {one: target.metric_names(one) for one in asked}
    names = [name.name for one in groups.values() for group in one for name in group]
    pods = target.ready_pods[:MAX_PODS]
    if not names or not pods:
        return
    await asyncio.to_thread(load_library)
    reader = PodReader(connection, target, names)
    before = await reader.read(pods)
    if not any(page.samples for page in before.values()):
        return
    for interval in intervals:
        await sleep(interval)
        after = await reader.read(tuple(before))
        if (found := evaluate(before, after, groups)) is not None:
            yield found


def evaluate(
    before: Mapping[str, PodPage],
    after: Mapping[str, PodPage],
    names: Mapping[Metric, Iterable[tuple[MetricName, ...]]],
) -> ScrapedMetrics | None:
    """The metrics of these names of the Pods that answered twice: others ended meanwhile, or have
    just started."""
    pods = [name for name, page in after.items() if name in before and page.samples]
    if not pods:
        return None
    values: dict[Metric, float | None] = {}
    for metric, groups in names.items():
        found = [_pod_value(metric, before[name], after[name], groups) for name in pods]
        known = [one for one in found if one is not None]
        values[metric] = sum(known) if known else None
    return ScrapedMetrics(values, len(pods), after[pods[0]].time - before[pods[0]].time)


def _pod_value(
    metric: Metric, before: PodPage, after: PodPage, names: Iterable[tuple[MetricName, ...]]
) -> float | None:
    name = _find_name(after.samples, names)
    if name is None:
        return None
    new = {key: value for key, value in after.samples.items() if key[0] == name}
    if METRIC_KINDS[metric] is MetricKind.GAUGE:
        return sum(new.values())
    seconds = after.time - before.time
    return counter_increase(before.samples, new) / seconds if seconds > 0 else None


def _find_name(samples: PodSamples, names: Iterable[tuple[MetricName, ...]]) -> str | None:
    """The name that a server has, the newer one first."""
    known = {name for name, _labels in samples}
    return next((one.name for group in names for one in group if one.name in known), None)


def counter_increase(before: PodSamples, after: PodSamples) -> float:
    """By how much counters have increased. One that is smaller than before was reset, as is one
    that was not there: it has counted from 0."""
    increase = 0.0
    for key, value in after.items():
        old = before.get(key, 0.0)
        increase += value - old if value >= old else value
    return increase


class PodReader:
    """Reads the pages of Pods, a few at a time."""

    def __init__(self, connection: Connection, target: MetricsTarget, names: Iterable[str]) -> None:
        self._connection = connection
        self._target = target
        self._names = tuple(names)
        self._slots = asyncio.Semaphore(CONCURRENT_REQUESTS)
        self._denial = ""
        """The missing permission, in a sentence; then nothing more is requested."""

    async def read(self, pods: Iterable[str]) -> dict[str, PodPage]:
        """The pages of the Pods that answer. Raises MetricsError without the permission."""
        asked = tuple(pods)
        pages = await asyncio.gather(*map(self._read_page, asked))
        if self._denial:
            raise MetricsError(self._denial)
        return {pod: page for pod, page in zip(asked, pages, strict=True) if page is not None}

    async def _read_page(self, pod: str) -> PodPage | None:
        target = self._target
        scheme = "https:" if target.is_tls else ""
        name = f"{scheme}{quote(pod, safe='')}:{target.port}"
        path = f"{POD.collection_path(target.namespace)}/{name}"
        async with self._slots:
            if self._denial:
                return None
            try:
                async with asyncio.timeout(POD_TIMEOUT):
                    response = await self._connection.request(
                        "GET",
                        f"{path}/proxy{target.path}",
                        headers={"Accept": _ACCEPT},
                        max_bytes=MAX_PAGE_BYTES,
                    )
            except TimeoutError:
                return None
            except ApiError as error:
                if error.code == 403 and error.reason == "Forbidden":
                    where = f"in namespace {target.namespace}"
                    self._denial = f"Reading metrics of Pods needs get on pods/proxy {where}."
                return None  # of this Pod: it does not listen, or has no /metrics
            except ClusterError:
                return None
        time = asyncio.get_running_loop().time()
        return PodPage(time, _values(parse_page(response.body, self._names)), unix_time())


def _values(samples: Iterable[Sample]) -> PodSamples:
    return {(one.name, one.labels): one.value for one in samples if math.isfinite(one.value)}
