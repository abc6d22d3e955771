"""A serving whose logs a test writes and reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from servedeck.logs.lines import NOTICE_SOURCE
from servedeck.logs.streams import LogSince, LogStreams
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.fake_kubelet import FakeKubelet
from tests.control_plane.kubelet_logs import ContainerLog
from tests.control_plane.log_reading import EVERYTHING, ServingReader, read_serving
from tests.waiting import wait_until


class Serving:
    """A serving of one Pod, or more, and a reader of its logs."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.pods: list[dict[str, Any]] = []
        self.reader = ServingReader(keeps_lines=True)
        self.user = "admin"

    def create(self, replicas: int = 1, **options: Any) -> None:
        self.plane.create_deployment(self.namespace, "llama", replicas=replicas, **options)
        if options.get("hold"):
            self.pods = self.plane.wait_for_pods(self.namespace, "llama", replicas)
        else:
            self.plane.wait_until_ready(self.namespace, "llama", replicas)
            self.pods = self.plane.list_pods(self.namespace, "llama")

    @property
    def kubelet(self) -> FakeKubelet:
        assert self.plane.kubelet
        return self.plane.kubelet

    @property
    def pod(self) -> str:
        """Name of the first Pod."""
        name: str = self.pods[0]["metadata"]["name"]
        return name

    def log(self, number: int = 0, container: str = "inference-server") -> ContainerLog:
        return self.kubelet.log(self.namespace, self.pods[number]["metadata"]["name"], container)

    def report(self, container: dict[str, Any], *, ready: bool = True, number: int = 0) -> None:
        """Write the status of a Pod with this one of its container."""
        status = pod_statuses.pod_status("Running", container, ready=ready)
        self.plane.set_pod_status(self.pods[number], status)

    def restart(self, exit_code: int = 137, reason: str = "OOMKilled", restarts: int = 1) -> None:
        """The container ends, and its next instance starts."""
        self.log().restart()
        last = pod_statuses.terminated_state(exit_code, reason, ago=0)
        running = pod_statuses.running_state()
        self.report(
            pod_statuses.container_status(running, ready=True, restarts=restarts, last=last)
        )

    @asynccontextmanager
    async def reading(
        self, since: LogSince = EVERYTHING, **options: Any
    ) -> AsyncIterator[LogStreams]:
        kubeconfig = self.plane.write_kubeconfig(self.user)
        async with read_serving(
            kubeconfig, self.namespace, "llama", self.reader, since=since, **options
        ) as streams:
            yield streams

    async def wait_for_line(self, text: bytes) -> None:
        await wait_until(
            lambda: any(line.text == text for line in self.reader.lines),
            f"the line {text!r}",
            describe_state=lambda: self.reader.lines[-20:],
        )

    async def wait_for_notice(self, text: str) -> None:
        await wait_until(
            lambda: any(text in notice for notice in self.reader.notices),
            f"the notice {text!r}",
            describe_state=lambda: self.reader.lines[-20:],
        )

    async def wait_until_followed(self, number: int = 0) -> None:
        await wait_until(lambda: self.log(number).open_count, "the stream")

    def shown(self) -> list[str]:
        """All lines as text; notices in brackets, without the names of Pods."""
        return [
            f"[{line.text.decode().replace(self.pod, 'pod')}]"
            if line.source == NOTICE_SOURCE
            else line.text.decode()
            for line in self.reader.lines
        ]
