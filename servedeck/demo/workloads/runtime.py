"""The demo's nodes as the API server uses them: logs of containers, commands in them, and ports of
Pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from servedeck.demo.api.kubelet_api import (
    CommandOutput,
    ContainerUsage,
    LogOptions,
    ProxyRequest,
    ProxyResponse,
)
from servedeck.demo.api.status import bad_request
from servedeck.demo.async_gateways.gateways import AsyncGateways
from servedeck.demo.async_gateways.nodes import HOST
from servedeck.demo.clock import Clock
from servedeck.demo.controllers.kubelet.kubelet import Kubelet
from servedeck.demo.prometheus.api import PrometheusApi
from servedeck.demo.workloads import http_connection
from servedeck.demo.workloads.container_commands import ContainerCommands
from servedeck.demo.workloads.container_usage import measure_usage
from servedeck.demo.workloads.inference_api import handle_request
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.instance_log import InstanceLog
from servedeck.demo.workloads.log_lines import LogLine
from servedeck.demo.workloads.server_config import OTHER
from servedeck.serving.conventions import ASYNC_LABEL

Json = dict[str, Any]

_CHUNK_LINES = 256
"""Lines of one chunk, so that a long log does not block other requests."""
_END_CHECK_SECONDS = 0.5
"""How often a connection to a process looks whether the process still runs."""


class NodeRuntime:
    """Implements `KubeletApi`."""

    def __init__(
        self, kubelet: Kubelet, clock: Clock, prometheus: PrometheusApi | None = None
    ) -> None:
        """`prometheus` answers for Pods that run Prometheus."""
        self._kubelet = kubelet
        self._clock = clock
        self._prometheus = prometheus
        self.async_gateways: AsyncGateways | None = None
        """Answers for Pods that run an async gateway."""

    async def logs(self, pod: Json, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """The lines of a container's current or previous instance; see LogOptions."""
        instance = self._find_instance(pod, container, previous=options.previous)
        log = InstanceLog(instance)
        now = self._clock.time()
        since = options.since.timestamp() if options.since is not None else 0.0
        if options.tail is not None:
            yield _encode(log.tail(options.tail, now, since), options)
        else:
            waiting: list[LogLine] = []
            for block in log.blocks(since, now):
                waiting += block
                if len(waiting) >= _CHUNK_LINES:
                    yield _encode(waiting, options)
                    waiting = []
                    await asyncio.sleep(0)
            if waiting:
                yield _encode(waiting, options)
        if options.follow:
            async for chunk in self._follow(log, now, options):
                yield chunk

    async def proxy(self, pod: Json, port: int, request: ProxyRequest) -> ProxyResponse:
        """The response of the process that listens on the port; ConnectionRefusedError where none
        does."""
        uid = pod["metadata"]["uid"]
        instance = self._find_listening(uid, port)
        if self._prometheus is not None and instance.server.is_prometheus:
            return self._prometheus.handle(request)
        if self.async_gateways is not None and instance.server.is_async_gateway:
            return await self.async_gateways.proxy(pod, port, request)
        found = [one for one in self._kubelet.instances(uid) if one.listens(self._clock.time())]
        return await handle_request(
            self._responding_instance(instance, found, request), request, self._clock
        )

    async def connect(
        self, pod: Json, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the process that listens on the port; ConnectionRefusedError where none
        does."""
        instance = self._find_listening(pod["metadata"]["uid"], port)
        if self.async_gateways is not None and instance.server.is_async_gateway:
            local = await self.async_gateways.local_port(pod, port)
            reader, writer = await asyncio.open_connection(HOST, local)
            http_connection.reset_at_end(writer.transport, lambda: self._wait_for_end(instance))
            return reader, writer
        return await http_connection.connect(
            lambda request: self.proxy(pod, port, request),
            lambda: self._wait_for_end(instance),
        )

    def gateway_instances(self, namespace: str, serving: str) -> frozenset[str]:
        """The instances of the serving's async gateway that run now, by their keys. Those of a Pod
        that is being deleted do not count: nothing leads to it, and another may run with new keys.
        """
        now = self._clock.time()
        return frozenset(
            one.key
            for pod in self._kubelet.pods(namespace)
            if (pod["metadata"].get("labels") or {}).get(ASYNC_LABEL) == serving
            and not pod["metadata"].get("deletionTimestamp")
            for one in self._kubelet.instances(pod["metadata"]["uid"])
            if one.server.is_async_gateway and one.listens(now)
        )

    def usage(self, pod: Json) -> list[ContainerUsage]:
        """Of the containers that have run for a whole window."""
        instances = self._kubelet.instances(pod["metadata"]["uid"])
        return measure_usage(instances, self._clock.time())

    async def run_command(self, pod: Json, container: str, command: Sequence[str]) -> CommandOutput:
        """Run a command in a running container. Raises ExecutableNotFoundError."""
        if command[0] == "sleep":
            await self._clock.sleep(_parse_seconds(command[1:]))
            return CommandOutput()
        instance = self._find_instance(pod, container, previous=False)
        worker = self._kubelet.container(pod["metadata"]["uid"], container)
        environment = worker.environment() if worker is not None else {}
        spec = next(one for one in pod["spec"]["containers"] if one["name"] == container)
        limits = (spec.get("resources") or {}).get("limits") or {}
        gpus = int(str(limits.get("nvidia.com/gpu", "0")))
        return ContainerCommands(instance, environment, gpus).run(command, self._clock.time())

    async def _wait_for_end(self, instance: SimulatedInstance) -> None:
        while instance.listens(self._clock.time()):
            await self._clock.sleep(_END_CHECK_SECONDS)

    def _find_listening(self, uid: str, port: int) -> SimulatedInstance:
        now = self._clock.time()
        for instance in self._kubelet.instances(uid):
            if instance.server.listens_on(port) and instance.listens(now):
                return instance
        raise ConnectionRefusedError(f"nothing listens on port {port}")

    def _responding_instance(
        self, instance: SimulatedInstance, found: list[SimulatedInstance], request: ProxyRequest
    ) -> SimulatedInstance:
        """The instance that responds: a transformer forwards to the inference server of its Pod."""
        if instance.server.engine != OTHER or not request.path.startswith("/v1/"):
            return instance
        return next((other for other in found if other.server.engine != OTHER), instance)

    async def _follow(
        self, log: InstanceLog, after: float, options: LogOptions
    ) -> AsyncIterator[bytes]:
        while (due := log.next_time(after)) is not None:
            await self._clock.sleep(max(0.05, due - self._clock.time()))
            now = self._clock.time()
            lines = log.lines_after(after, now)
            after = now
            if lines:
                yield _encode(lines, options)

    def _find_instance(self, pod: Json, container: str, *, previous: bool) -> SimulatedInstance:
        meta = pod["metadata"]
        worker = self._kubelet.container(meta["uid"], container)
        found = None
        if worker is not None:
            found = worker.previous_instance if previous else worker.instance
        if found is None:
            if previous:
                raise bad_request(
                    f'previous terminated container "{container}" in pod "{meta["name"]}" not found'
                )
            raise bad_request(
                f'container "{container}" in pod "{meta["name"]}" is waiting to start: '
                "ContainerCreating"
            )
        return found


def _parse_seconds(arguments: Sequence[str]) -> float:
    try:
        return min(3600.0, max(0.0, float(arguments[0])))
    except (IndexError, ValueError):
        return 0.0


def _encode(lines: list[LogLine], options: LogOptions) -> bytes:
    if not options.timestamps:
        return "".join(f"{line.text}\n" for line in lines).encode()
    return "".join(f"{_format_timestamp(line.time)} {line.text}\n" for line in lines).encode()


def _format_timestamp(time: float) -> str:
    """RFC 3339 with nanoseconds, as the container runtime writes it."""
    moment = datetime.fromtimestamp(time, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(time % 1 * 1e9):09d}Z"
