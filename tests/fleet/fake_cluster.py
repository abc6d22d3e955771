"""An in-memory cluster behind the interface of a Connection."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, cast

import msgspec

from servedeck.cluster.auth.kubeconfig import ConnectionOptions, Kubeconfig
from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ConnectionFailedError,
    ConnectionLostError,
    ReadTimeoutError,
)
from servedeck.cluster.http.server_clock import ServerClock
from servedeck.cluster.watch.kinds import PLAIN_PODS, STATEFUL_SET_PODS
from servedeck.fleet.fleet import UNLABELED_SELECTOR
from servedeck.serving.conventions import ISTIO_GROUP
from servedeck.serving.objects.records import Pod, Record, ReplicaSet
from servedeck.serving.objects.workload_records import PlainPod
from tests.fleet.factories import KIND_BY_RECORD

_PATH_PATTERN = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+(?:/namespaces/(?P<ns>[^/]+))?/(?P<plural>[^/]+)"
)
ObjectKey = tuple[str, str]
"""Plural and uid."""


class FakeCluster:
    """Objects, permissions and errors. `namespaces`: the namespace of each context, "" for none."""

    def __init__(self, **namespaces: str) -> None:
        self.context_namespaces = namespaces or {"main": ""}
        self.objects: dict[ObjectKey, tuple[Record, bool]] = {}
        self.forbidden: set[tuple[str, str]] = set()
        """Plural and namespace, "" for all namespaces."""
        self.absent_kinds = {
            "gateways",
            "httproutes",
            "virtualservices",
            "scaledobjects",
            "leaderworkersets",
            "listenersets",
            "routes",
            "inferenceservices",
            "rollouts",
            "rayservices",
            "rayclusters",
        }
        self.api_groups: set[str] = set()
        """Those whose discovery says that they exist."""
        self.is_down = False
        self.is_silent = False
        """Open watches bring nothing, and no request is answered."""
        self.error_code = 0
        """Status code returned for every request, 0 for none."""
        self.version = 1
        self.last_change_versions: dict[str, int] = {}
        """Resource version of the last change of each kind; a watch cannot start at an older
        one."""
        self.watches: dict[asyncio.Queue[bytes | None], tuple[str, str, str]] = {}
        self.connections: list[FakeConnection] = []
        self.local_time: Callable[[], float] = time.time
        self.since_boot: Callable[[], float] = time.monotonic
        self.server_ahead = 0.0
        """Seconds by which the server's clock is ahead of the local one."""
        self.pod_list_gate = asyncio.Event()
        self.pod_list_gate.set()
        """Clear it to block lists of Pods."""

    async def connect(self, options: ConnectionOptions) -> Connection:
        await asyncio.sleep(0)
        connection = FakeConnection(self, options)
        self.connections.append(connection)
        return cast(Connection, connection)

    def put(self, *records: Record, labeled: bool = True, plural: str = "") -> None:
        for record in records:
            self._store(plural or KIND_BY_RECORD[type(record)].plural, record, labeled, "MODIFIED")

    def delete(self, record: Record) -> None:
        plural = KIND_BY_RECORD[type(record)].plural
        _, labeled = self.objects.pop((plural, record.metadata.uid))  # type: ignore[attr-defined]
        self._notify_watches(plural, record, labeled, "DELETED")

    def _store(self, plural: str, record: Record, labeled: bool, change_type: str) -> None:
        uid = record.metadata.uid  # type: ignore[attr-defined]
        _, before = self.objects.get((plural, uid), (None, labeled))
        if before != labeled:
            self._notify_watches(plural, record, before, "DELETED")
        self.objects[plural, uid] = (record, labeled)
        self._notify_watches(plural, record, labeled, change_type)

    def _notify_watches(self, plural: str, record: Record, labeled: bool, change_type: str) -> None:
        self.version += 1
        self.last_change_versions[plural] = self.version
        line = msgspec.json.encode({"type": change_type, "object": self.to_json(record)})
        for queue, (watched, namespace, selector) in self.watches.items():
            if watched == plural and _is_selected(record, labeled, namespace, selector):
                queue.put_nowait(line)

    def to_json(self, record: Record) -> Any:
        value = msgspec.to_builtins(record)
        value["metadata"]["resourceVersion"] = str(self.version)
        return value

    def shut_down(self) -> None:
        """Stop the server and end its watches."""
        self.is_down = True
        for queue in self.watches:
            queue.put_nowait(None)

    def check_access(self, path: str) -> tuple[str, str]:
        """Plural and namespace of the path; raises if it may not be read."""
        if self.is_down:
            raise ConnectionFailedError(
                "Connection refused by https://main; is the server running?"
            )
        if self.is_silent:
            raise ReadTimeoutError("https://main does not answer; check the network and the VPN.")
        if self.error_code:
            raise ApiError(self.error_code, "", "so it is")
        match = _PATH_PATTERN.fullmatch(path)
        assert match, path
        plural, namespace = match["plural"], match["ns"] or ""
        if {(plural, namespace), (plural, "*")} & self.forbidden:
            raise ApiError(403, "Forbidden", f"{plural} is forbidden")
        if plural in self.absent_kinds or (match["group"], plural) == (ISTIO_GROUP, "gateways"):
            raise ApiError(404, "NotFound", "the server could not find it")
        return plural, namespace


def _is_selected(record: Any, labeled: bool, namespace: str, selector: str) -> bool:
    if namespace and record.metadata.namespace != namespace:
        return False
    if selector == PLAIN_PODS.label_selector:
        return isinstance(record, PlainPod)
    if selector == STATEFUL_SET_PODS.label_selector:
        return any(owner.kind == "StatefulSet" for owner in record.metadata.owner_references)
    if isinstance(record, Pod | ReplicaSet) and selector:
        return labeled is (selector != UNLABELED_SELECTOR)
    return True


class FakeConnection:
    """The part of Connection that Reflector and ClusterSession use."""

    def __init__(self, cluster: FakeCluster, options: ConnectionOptions) -> None:
        self.cluster = cluster
        self.options = options
        names = cluster.context_namespaces
        self.context_name = options.context or next(iter(names))
        self.server = f"https://{self.context_name}"
        self.server_revision = 1
        self.supports_watch_list = False
        self.login_notice = self.login_problem = ""
        self.probes = self.backoff_resets = 0
        self.renewed_logins = 0
        """How often `try_login_again` finds another login."""
        self._on_login_notice: Callable[[str], None] = lambda _notice: None
        self.clock = ServerClock(cluster.local_time, cluster.since_boot)
        self.closed = False
        self.requested_paths: list[str] = []
        self.kubeconfig = Kubeconfig(
            (Path("config"),),
            tuple(names),
            next(iter(names)),
            {name: namespace or "default" for name, namespace in names.items()},
            {},
            {},
            {
                name: ({"namespace": namespace} if namespace else {}, Path())
                for name, namespace in names.items()
            },
        )
        self.namespace = self.kubeconfig.context_namespaces[self.context_name]

    @property
    def context_names(self) -> tuple[str, ...]:
        return self.kubeconfig.context_names

    def on_login_notice(self, callback: Callable[[str], None]) -> None:
        self._on_login_notice = callback

    def set_login_notice(self, notice: str) -> None:
        """What a plugin that runs for long does, or "" when it has ended."""
        self.login_notice = notice
        self._on_login_notice(notice)

    async def try_login_again(self) -> bool:
        self.renewed_logins -= 1
        return self.renewed_logins >= 0

    async def probe(self, answer_seconds: float) -> None:
        """Fails like every request to a server that is down or silent."""
        self.probes += 1
        await asyncio.sleep(0)
        if self.cluster.is_down or self.cluster.is_silent:
            raise ReadTimeoutError(f"{self.server} does not answer; check the network and the VPN.")
        self.sync_clock()

    def reset_backoff(self) -> None:
        self.backoff_resets += 1

    def sync_clock(self) -> None:
        """What a response with a Date header does."""
        sent_at = self.clock.local_time()  # goes on where the clock here is set, as the server's
        date = formatdate(sent_at + self.cluster.server_ahead, usegmt=True)
        self.clock.add_response({"Date": date}, sent_at)

    async def request(self, method: str, path: str, *, params: Any = (), **_: Any) -> ApiResponse:
        self.requested_paths.append(path)
        self.sync_clock()
        await asyncio.sleep(0)
        plural, namespace = self.cluster.check_access(path)
        if plural == "pods":
            await self.cluster.pod_list_gate.wait()
        selector = dict(params).get("labelSelector", "")
        items = [
            self.cluster.to_json(record)
            for (kind, _), (record, labeled) in self.cluster.objects.items()
            if kind == plural and _is_selected(record, labeled, namespace, selector)
        ]
        version = {"resourceVersion": str(self.cluster.version)}
        return ApiResponse(200, {}, msgspec.json.encode({"metadata": version, "items": items}))

    async def get(self, path: str, params: Any = (), **_: Any) -> bytes:
        if path.startswith("/apis/") and path.count("/") == 2:
            if path.rpartition("/")[2] in self.cluster.api_groups:
                return b"{}"
            raise ApiError(404, "NotFound", "no such group")
        return (await self.request("GET", path, params=params)).body

    async def get_json(self, path: str) -> Any:
        """One object."""
        collection, _, name = path.rpartition("/")
        plural, namespace = self.cluster.check_access(collection)
        await asyncio.sleep(0)
        for (kind, _), (record, _labeled) in self.cluster.objects.items():
            value = self.cluster.to_json(record)
            found = value["metadata"]["name"], value["metadata"]["namespace"]
            if kind == plural and found == (name, namespace):
                return value
        raise ApiError(404, "NotFound", f"{plural} {name!r} not found")

    async def server_version(self) -> None:
        return None

    @asynccontextmanager
    async def stream(
        self, path: str, params: Any = (), read_timeout: float = 90.0
    ) -> AsyncIterator[FakeStream]:
        await asyncio.sleep(0)
        plural, namespace = self.cluster.check_access(path)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        selector = dict(params).get("labelSelector", "")
        if int(dict(params)["resourceVersion"]) < self.cluster.last_change_versions.get(plural, 0):
            raise ApiError(410, "Expired", "too old resource version")
        self.cluster.watches[queue] = (plural, namespace, selector)
        try:
            yield FakeStream(queue)
        finally:
            del self.cluster.watches[queue]

    async def close(self) -> None:
        self.closed = True


class FakeStream:
    def __init__(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queue = queue

    async def line_batches(self) -> AsyncIterator[list[bytes]]:
        while True:
            line = await self._queue.get()
            if line is None:
                raise ConnectionLostError("The connection broke.")
            yield [line]
