"""A scripted API server and kubelet that serve logs as real ones do, with restarts, rotation and
broken connections."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from servedeck.fleet.views import ContainerView, PodView
from servedeck.logs.lines import normalize_stamp
from servedeck.serving.status.diagnosis import PodHealth
from tests.cluster.fake_api_server import FakeApiServer, make_status
from tests.fleet.factories import pod_view

START_SECOND = 1_800_000_000
NAMESPACE = "default"


def make_stamp(second: float, nanosecond: int = 0) -> bytes:
    """A timestamp as the kubelet writes it."""
    whole = datetime.fromtimestamp(START_SECOND + int(second), UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{nanosecond:09d}Z".encode()


def make_line(second: float, text: str, nanosecond: int = 0) -> bytes:
    return make_stamp(second, nanosecond) + b" " + text.encode()


def numbered(first: int, count: int, *, per_second: int = 10) -> list[bytes]:
    return [
        make_line(at // per_second, f"line {at}", at % per_second // 3)
        for at in range(first, first + count)
    ]


def numbered_texts(first: int, count: int) -> list[str]:
    return [f"line {at}" for at in range(first, first + count)]


@dataclass
class Cut:
    """Ends a response after this number of bytes: with a reset, or as if the log ended."""

    after: int
    is_clean: bool = False


@dataclass
class FakeInstance:
    """One run of a container."""

    lines: list[bytes] = field(default_factory=list)
    first: int = 0
    """Lines before this one were rotated away."""
    tail: bytes = b""
    """What it wrote last, without a newline; sent once it has ended."""
    state: str = "Running"
    exit_code: int = 0
    reason: str = ""
    is_removed: bool = False
    """The node does not have its log."""


class FakeContainer:
    def __init__(self, kubelet: FakeKubelet, pod: str, name: str, init: bool) -> None:
        self.kubelet = kubelet
        self.pod = pod
        self.name = name
        self.init = init
        self.instances = [FakeInstance()]
        self.restarts = 0
        self.waiting_reason = ""
        """Why it does not run, though it should."""
        self.cuts: list[Cut] = []
        """How the next responses end."""
        self.refusals: list[tuple[int, str]] = []
        """Status and message of the next responses."""
        self.refusal: tuple[int, str] | None = None
        """Of all responses."""
        self.queries: list[dict[str, str]] = []
        self.open_responses = 0
        self.shown_restarts: int | None = None
        """What the API server still shows, while the kubelet knows better."""

    @property
    def latest(self) -> FakeInstance:
        return self.instances[-1]

    async def write(self, *lines: bytes) -> None:
        self.latest.lines.extend(lines)
        await self.kubelet.notify()

    async def rotate(self) -> None:
        """Start a new file; open responses go on with it."""
        self.latest.first = len(self.latest.lines)
        await self.kubelet.notify()

    async def end(self, code: int = 0, reason: str = "", waiting: str = "") -> None:
        """The instance ends; with `waiting`, the container waits for its next start."""
        self.latest.state, self.latest.exit_code = "Terminated", code
        self.latest.reason = reason
        self.waiting_reason = waiting
        await self.kubelet.notify()

    async def start(self) -> None:
        """Start the next instance."""
        self.instances.append(FakeInstance())
        self.restarts += 1
        self.waiting_reason = ""
        await self.kubelet.notify()

    @property
    def view(self) -> ContainerView:
        latest = self.latest
        last = self.instances[-2] if len(self.instances) > 1 else None
        ended = latest if latest.state == "Terminated" else last
        state = "Waiting" if self.waiting_reason else latest.state
        return ContainerView(
            name=self.name,
            state=state,
            ready=latest.state == "Running",
            restarts=self.restarts if self.shown_restarts is None else self.shown_restarts,
            init=self.init,
            has_previous=last is not None or (state == "Waiting" and latest.state == "Terminated"),
            container_id=f"cri://{self.pod}-{self.name}-{self.restarts}",
            finish_reason=ended.reason if ended is not None else "",
            exit_code=ended.exit_code if ended is not None else None,
            waiting_reason=self.waiting_reason,
        )

    @property
    def status(self) -> dict[str, Any]:
        restarts = self.restarts if self.shown_restarts is None else self.shown_restarts
        return {"name": self.name, "restartCount": restarts, "state": {"running": {}}}

    # -- the kubelet ------------------------------------------------------------------------------

    async def respond(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.queries.append(query)
        if self.refusals or self.refusal:
            code, message = self.refusals.pop(0) if self.refusals else self.refusal or (500, "")
            return web.json_response(make_status(code, "", message), status=code)
        if query.get("previous"):
            ended = [one for one in self.instances if one.state == "Terminated"]
            instance = ended[-1] if ended else None
            if instance is self.latest and not self.waiting_reason:
                instance = ended[-2] if len(ended) > 1 else None
            if instance is None:
                message = f'previous terminated container "{self.name}" in pod "web" not found'
                return web.json_response(make_status(400, "BadRequest", message), status=400)
        else:
            instance = self.latest
            if self.waiting_reason and instance.state != "Terminated":
                message = (
                    f'container "{self.name}" in pod "{self.pod}" is waiting to start:'
                    f" {self.waiting_reason}"
                )
                return web.json_response(make_status(400, "BadRequest", message), status=400)
        self.open_responses += 1
        try:
            return await self._stream(request, query, instance)
        finally:
            self.open_responses -= 1

    async def _stream(
        self, request: web.Request, query: dict[str, str], instance: FakeInstance
    ) -> web.StreamResponse:
        since = datetime.fromisoformat(query.get("sinceTime", "1970-01-01T00:00:00Z"))
        second = since.strftime("%Y-%m-%dT%H:%M:%S").encode()
        at = instance.first
        if "tailLines" in query:
            at = max(at, len(instance.lines) - int(query["tailLines"]))
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else None
        sent = 0
        if instance.is_removed:
            await response.write(b"unable to retrieve container logs for containerd://0123")
            return response
        while True:
            is_over = instance.state != "Running" or query.get("follow") != "true"
            lines = instance.lines[at:]
            at = len(instance.lines)
            data = b"".join([line + b"\n" for line in lines if stamp_of(line)[:19] >= second])
            if is_over and instance.state != "Running":
                data += instance.tail
            if cut is not None and sent + len(data) >= cut.after:
                await response.write(data[: cut.after - sent])
                if not cut.is_clean:
                    assert request.transport is not None
                    request.transport.abort()
                return response
            if data:
                await response.write(data)
                sent += len(data)
            if is_over:
                return response
            async with self.kubelet.changed:
                await self.kubelet.changed.wait_for(
                    lambda at=at: len(instance.lines) > at or instance.state != "Running"
                )


def stamp_of(line: bytes) -> bytes:
    """The normalized time of a line; that of the end of time for a line without one."""
    return normalize_stamp(line.partition(b" ")[0]) or b"9999"


class FakeKubelet:
    """Pods whose logs are served by a scripted API server."""

    def __init__(self, api: FakeApiServer) -> None:
        self.api = api
        self.changed = asyncio.Condition()
        self.containers: dict[tuple[str, str], FakeContainer] = {}
        self.failing: set[str] = set()
        self.finished: set[str] = set()

    def add(
        self, pod: str = "web", container: str = "main", *, init: bool = False
    ) -> FakeContainer:
        found = FakeContainer(self, pod, container, init)
        self.containers[pod, container] = found
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}"

        async def respond(request: web.Request) -> web.StreamResponse:
            one = self.containers.get((pod, request.query["container"]))
            if one is None:
                return web.json_response(make_status(404, "NotFound", "gone"), status=404)
            return await one.respond(request)

        async def respond_pod(_: web.Request) -> web.StreamResponse:
            statuses = [one.status for one in self.containers.values() if one.pod == pod]
            if not statuses:
                return web.json_response(make_status(404, "NotFound", "gone"), status=404)
            meta = {"name": pod, "namespace": NAMESPACE, "uid": f"uid-{pod}"}
            status = {"phase": "Running", "containerStatuses": statuses}
            return web.json_response({"metadata": meta, "status": status})

        self.api.add_route(f"{path}/log", respond)
        self.api.add_route(path, respond_pod)
        return found

    def delete(self, pod: str) -> None:
        for key in [key for key in self.containers if key[0] == pod]:
            del self.containers[key]

    @property
    def views(self) -> list[PodView]:
        names = dict.fromkeys(pod for pod, _ in self.containers)
        return [
            pod_view(
                name,
                namespace=NAMESPACE,
                health=PodHealth.ERROR if name in self.failing else PodHealth.OK,
                finished=name in self.finished,
                containers=tuple([one.view for one in self.containers.values() if one.pod == name]),
            )
            for name in names
        ]

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()
