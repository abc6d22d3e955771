"""What autoscalers measure: queries of the demo's Prometheus, JSON of a Service of the cluster, and
the CPU and memory of Pods."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from servedeck.demo.api.kubelet_api import ContainerUsage, ProxyRequest, ProxyResponse
from servedeck.demo.clock import Clock
from servedeck.demo.controllers.base import condition_is_true
from servedeck.demo.controllers.kubelet.kubelet import Kubelet
from servedeck.demo.prometheus.query_engine import QueryEngine
from servedeck.demo.resources import PODS, SERVICES
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.container_usage import measure_usage
from servedeck.promql.errors import PromqlError
from servedeck.promql.parser import parse_expression

_FETCH_SECONDS = 3.0
"""KEDA's KEDA_HTTP_DEFAULT_TIMEOUT."""
PROMETHEUS_PORT = 9090

_log = logging.getLogger(__name__)
PodRequest = Callable[[Json, int, ProxyRequest], Awaitable[ProxyResponse]]
"""See `KubeletApi.proxy`."""


class MetricSourceError(Exception):
    """A measurement that failed; str() says why."""


class MetricSources:
    """Reads the demo's own cluster. `proxy` sends a request to a Pod; None: nobody answers."""

    def __init__(
        self, store: ObjectStore, clock: Clock, kubelet: Kubelet, engine: QueryEngine
    ) -> None:
        self._store = store
        self._clock = clock
        self._kubelet = kubelet
        self._engine = engine
        self._fetched: dict[str, Any] = {}
        """The last answer of each URL, or the MetricSourceError."""
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self.proxy: PodRequest | None = None

    def query(self, address: str, query: str) -> list[float]:
        """The values of a query now. `address`: the URL of Prometheus. Raises
        MetricSourceError."""
        pod, port = self._find_pod(address)
        if port != PROMETHEUS_PORT or not self._runs_prometheus(pod):
            raise MetricSourceError(f'Get "{address}": connect: connection refused')
        try:
            now = self._engine.now()
            series = self._engine.evaluate(parse_expression(query), now, now, 1.0)
        except PromqlError as error:
            raise MetricSourceError(
                f"prometheus query api returned error. status: 400 response: {error}"
            ) from error
        return [value for one in series if (value := one.values[0]) is not None]

    def fetch(self, url: str) -> Any:
        """The JSON that a Service of the cluster answered last; asks it again, for the next call.
        Raises MetricSourceError, also before the first answer."""
        self._find_pod(url)
        if url not in self._fetches:
            try:
                task = asyncio.get_running_loop().create_task(self._fetch(url))
            except RuntimeError:  # the past is simulated without an event loop
                raise MetricSourceError(f'Get "{url}": context deadline exceeded') from None
            self._fetches[url] = task
            task.add_done_callback(lambda _: self._fetches.pop(url, None))
        found = self._fetched.get(url, MetricSourceError(f'Get "{url}": no answer yet'))
        if isinstance(found, MetricSourceError):
            raise found
        return found

    def usage(self, pod: Json) -> list[ContainerUsage]:
        """Of the Pod's containers, as metrics-server knows it."""
        instances = self._kubelet.instances(pod["metadata"]["uid"])
        return measure_usage(instances, self._clock.time())

    async def _fetch(self, url: str) -> None:
        try:
            pod, port = self._find_pod(url)
            if self.proxy is None:
                raise MetricSourceError(f'Get "{url}": connect: connection refused')
            parts = urlsplit(url)
            path = parts.path or "/"
            request = ProxyRequest("GET", f"{path}?{parts.query}" if parts.query else path)
            async with asyncio.timeout(_FETCH_SECONDS):
                answer = await self.proxy(pod, port, request)
            if not isinstance(answer.body, bytes) or answer.status != 200:
                raise MetricSourceError(f"{url}: api returned {answer.status}")
            self._fetched[url] = json.loads(answer.body)
        except MetricSourceError as error:
            self._fetched[url] = error
        except (OSError, ValueError) as error:  # TimeoutError and ConnectionError are OSErrors
            self._fetched[url] = MetricSourceError(f'Get "{url}": {error or "timeout"}')

    async def close(self) -> None:
        """Ends the requests that are under way."""
        for task in tuple(self._fetches.values()):
            task.cancel()
        await asyncio.gather(*self._fetches.values(), return_exceptions=True)

    def _find_pod(self, address: str) -> tuple[Json, int]:
        """A Ready Pod behind the Service that a URL names, and its port."""
        try:
            parts = urlsplit(address)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise MetricSourceError(f'parse "{address}": {error}') from error
        host = parts.hostname or ""
        name, _, rest = host.partition(".")
        namespace = rest.removesuffix(".cluster.local").removesuffix(".svc")
        service = self._store.find(SERVICES, namespace, name)
        if service is None:
            raise MetricSourceError(f'Get "{address}": dial tcp: lookup {host}: no such host')
        selector = (service.get("spec") or {}).get("selector") or {}
        target = _target_port(service, port)
        for pod in self._store.list(PODS, namespace):
            labels = pod["metadata"].get("labels") or {}
            if selector and selector.items() <= labels.items() and condition_is_true(pod, "Ready"):
                found = _container_port(pod, target)
                if found is not None:
                    return pod, found
        raise MetricSourceError(f'Get "{address}": dial tcp {host}:{port}: connection refused')

    def _runs_prometheus(self, pod: Json) -> bool:
        now = self._clock.time()
        return any(
            one.server.is_prometheus and one.listens(now)
            for one in self._kubelet.instances(pod["metadata"]["uid"])
        )


def _target_port(service: Json, port: int) -> int | str:
    for entry in (service.get("spec") or {}).get("ports") or ():
        if entry.get("port") == port:
            found: int | str = entry.get("targetPort", port)
            return found
    return -1


def _container_port(pod: Json, target: int | str) -> int | None:
    if isinstance(target, int):
        return target if target > 0 else None
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == target:
                return int(port["containerPort"])
    return None
