"""Reads the /metrics of Pods again and again while their metrics are on the screen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from time import time as unix_time

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.families import all_sample_names
from servedeck.metrics.live_source import SCRAPE_INTERVAL, owned_by, replicas_job
from servedeck.metrics.platform_queries import REPLICAS_READY, REPLICAS_WANTED
from servedeck.metrics.pod_resources import read_pod_resources
from servedeck.metrics.pod_scrape import PodPage, PodReader
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.exposition import Sample, load_library

MAX_PODS = 50
"""Pods of one serving that are read, at most."""
FIRST_INTERVAL = 2.0
"""Seconds to the second reading: a rate needs two."""
RESOURCES_INTERVAL = 15.0
"""Seconds between two readings of metrics.k8s.io, which is as fine
(https://kubernetes-sigs.github.io/metrics-server/: --metric-resolution)."""
RESOURCES_TIMEOUT = 5.0
"""Seconds for its answer, for which the next reading of the Pods waits."""
RESOURCES_JOB = "metrics.k8s.io"
"""The label `job` of samples of it."""

GetTarget = Callable[[], MetricsTarget | None]
_log = logging.getLogger(__name__)


class LiveScraper:
    """Reads the Pods of one serving into a ring, from `start` to `close`."""

    def __init__(
        self,
        connection: Connection,
        ring: SampleRing,
        get_target: GetTarget,
        on_read: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`get_target` gives the serving with its Pods of the moment, None for a deleted one;
        `on_read` is called after each reading."""
        self._connection = connection
        self._ring = ring
        self._get_target = get_target
        self._on_read = on_read
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self._resources_due = 0.0
        self._has_resources = True
        self._pods_problem = ""
        self._resources_problem = ""
        self._ready_pods = 0

    @property
    def problem(self) -> str:
        """Why nothing, or not everything, can be read, in sentences; "" for nothing."""
        some = ""
        if self._ready_pods > MAX_PODS and not self._pods_problem:
            some = f"Only {MAX_PODS} of its {self._ready_pods:,} Ready Pods are read."
        return " ".join(filter(None, (self._pods_problem, some, self._resources_problem)))

    def start(self) -> None:
        if self._task is None:
            target = self._get_target()
            if target is not None:
                self._ring.note_reading(target.namespace, target.name, unix_time())
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        delay = FIRST_INTERVAL
        await asyncio.to_thread(load_library)
        while True:
            try:
                await self.read_once()
            except Exception:  # whatever a page was, the next one is read
                _log.exception("the metrics of Pods could not be read")
            self._on_read()
            await self._sleep(delay)
            delay = SCRAPE_INTERVAL

    async def read_once(self) -> None:
        """Read all Ready Pods once."""
        target = self._get_target()
        if target is None:
            return
        names = frozenset(_wanted_names(target))
        ready = target.ready_pods
        self._ready_pods = len(ready)
        reader = PodReader(self._connection, target, names)
        now = unix_time()
        to_unix = now - asyncio.get_running_loop().time()
        pages, _ = await asyncio.gather(
            self._read_pages(reader, target), self._read_resources(target, now)
        )
        for pod, page in pages.items():
            samples = [
                Sample(name, labels, value) for (name, labels), value in page.samples.items()
            ]
            self._ring.append(_pod_labels(target, pod), page.time + to_unix, samples)
        self._end_others(target, pages, now)
        self._append_replicas(target, now)

    async def _read_pages(self, reader: PodReader, target: MetricsTarget) -> Mapping[str, PodPage]:
        pods = target.ready_pods[:MAX_PODS]
        try:
            pages = await reader.read(pods)
        except MetricsError as error:
            self._pods_problem = str(error)
            return {}
        self._pods_problem = ""
        if pods and not pages:
            self._pods_problem = f"No Ready Pod answers with metrics on port {target.port}."
        return pages

    async def _read_resources(self, target: MetricsTarget, now: float) -> None:
        """CPU and memory, where the cluster has metrics.k8s.io and they may be read."""
        if not self._has_resources or now < self._resources_due:
            return
        self._resources_due = now + RESOURCES_INTERVAL
        try:
            async with asyncio.timeout(RESOURCES_TIMEOUT):
                found = await read_pod_resources(self._connection, target)
        except ApiError as error:
            self._has_resources = error.code not in (403, 404)
            if error.code == 403:
                where = f"in namespace {target.namespace}"
                self._resources_problem = (
                    f"CPU and memory need list on pods in metrics.k8s.io {where}."
                )
            return
        except (ClusterError, TimeoutError):
            return  # it is asked again
        for pod, samples in found.items():
            labels = {**_pod_labels(target, pod), "job": RESOURCES_JOB}
            self._ring.append(labels, now, samples)
        self._end_others(target, found, now, RESOURCES_JOB)

    def _end_others(
        self, target: MetricsTarget, read: Collection[str], now: float, job: str | None = None
    ) -> None:
        """Mark the samples of Pods that were not read, also of those that ended while nothing was:
        their last values are none of now."""
        is_owned = owned_by(target)

        def is_wanted(labels: Mapping[str, str]) -> bool:
            pod = labels.get("pod")
            return labels.get("job") == job and pod is not None and pod not in read

        for labels in self._ring.live_pods(lambda one: is_wanted(one) and is_owned(one)):
            self._ring.mark_stale(labels, now)

    def _append_replicas(self, target: MetricsTarget, now: float) -> None:
        if not (target.is_whole and target.is_deployment):
            return
        own = (("deployment", target.name),)
        samples = [Sample(REPLICAS_READY, own, float(len(target.ready_pods)))]
        if target.wanted_replicas is not None:
            samples.append(Sample(REPLICAS_WANTED, own, float(target.wanted_replicas)))
        labels = {"namespace": target.namespace, "job": replicas_job(target)}
        self._ring.append(labels, now, samples)


def _wanted_names(target: MetricsTarget) -> Iterator[str]:
    yield from all_sample_names(target.template)
    for names in target.own_names.values():
        for one in names:
            yield one.name
            yield f"{one.name}_bucket"


def _pod_labels(target: MetricsTarget, pod: str) -> dict[str, str]:
    return {"namespace": target.namespace, "pod": pod}
