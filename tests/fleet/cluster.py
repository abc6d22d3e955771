"""A cluster in memory, behind the interface of a Connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from servedeck.cluster.auth.kubeconfig import Kubeconfig, Target
from servedeck.cluster.http.connection import Answer, Connection
from servedeck.cluster.http.errors import ApiError, ConnectError, LostError
from servedeck.fleet.fleet import UNLABELLED
from servedeck.serving.objects.records import Pod, Record, ReplicaSet
from tests.fleet.make import KIND_OF

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+(?:/namespaces/(?P<ns>[^/]+))?/(?P<plural>[^/]+)"
)
Place = tuple[str, str]
"""Plural and uid."""


class Cluster:
    """Objects, rights and faults. `namespaces`: what each context names, "" for nothing."""

    def __init__(self, **namespaces: str) -> None:
        self.namespaces = namespaces or {"main": ""}
        self.objects: dict[Place, tuple[Record, bool]] = {}
        self.forbidden: set[tuple[str, str]] = set()
        """Plural and namespace, "" for all namespaces."""
        self.absent = {"httproutes", "virtualservices", "scaledobjects"}
        self.down = False
        self.code = 0
        """Status that every request is answered with, 0 for none."""
        self.version = 1
        self.touched: dict[str, int] = {}
        """Version of the last change of a kind; older ones cannot be watched from."""
        self.watches: dict[asyncio.Queue[bytes | None], tuple[str, str, str]] = {}
        self.opened: list[FakeConnection] = []
        self.hold = asyncio.Event()
        self.hold.set()
        """Clear it to keep lists of Pods waiting."""

    async def connect(self, target: Target) -> Connection:
        await asyncio.sleep(0)
        connection = FakeConnection(self, target)
        self.opened.append(connection)
        return cast(Connection, connection)

    def put(self, *records: Record, labelled: bool = True, plural: str = "") -> None:
        for record in records:
            self._set(plural or KIND_OF[type(record)].plural, record, labelled, "MODIFIED")

    def delete(self, record: Record) -> None:
        plural = KIND_OF[type(record)].plural
        _, labelled = self.objects.pop((plural, record.metadata.uid))  # type: ignore[attr-defined]
        self._tell(plural, record, labelled, "DELETED")

    def _set(self, plural: str, record: Record, labelled: bool, what: str) -> None:
        uid = record.metadata.uid  # type: ignore[attr-defined]
        _, before = self.objects.get((plural, uid), (None, labelled))
        if before != labelled:
            self._tell(plural, record, before, "DELETED")
        self.objects[plural, uid] = (record, labelled)
        self._tell(plural, record, labelled, what)

    def _tell(self, plural: str, record: Record, labelled: bool, what: str) -> None:
        self.version += 1
        self.touched[plural] = self.version
        line = msgspec.json.encode({"type": what, "object": self.as_json(record)})
        for queue, (watched, namespace, selector) in self.watches.items():
            if watched == plural and _selected(record, labelled, namespace, selector):
                queue.put_nowait(line)

    def as_json(self, record: Record) -> Any:
        value = msgspec.to_builtins(record)
        value["metadata"]["resourceVersion"] = str(self.version)
        return value

    def fall(self) -> None:
        """The server is gone."""
        self.down = True
        for queue in self.watches:
            queue.put_nowait(None)

    def check(self, path: str) -> tuple[str, str]:
        """Plural and namespace of the path, if it may be read."""
        if self.down:
            raise ConnectError("Nothing listens at https://main; is the server running?")
        if self.code:
            raise ApiError(self.code, "", "so it is")
        match = _PATH.fullmatch(path)
        assert match, path
        plural, namespace = match["plural"], match["ns"] or ""
        if {(plural, namespace), (plural, "*")} & self.forbidden:
            raise ApiError(403, "Forbidden", f"{plural} is forbidden")
        if plural in self.absent:
            raise ApiError(404, "NotFound", "the server could not find it")
        return plural, namespace


def _selected(record: Any, labelled: bool, namespace: str, selector: str) -> bool:
    if namespace and record.metadata.namespace != namespace:
        return False
    if isinstance(record, Pod | ReplicaSet) and selector:
        return labelled is (selector != UNLABELLED)
    return True


class FakeConnection:
    """What a Reflector and Live use of a Connection."""

    def __init__(self, cluster: Cluster, target: Target) -> None:
        self.cluster = cluster
        self.target = target
        names = cluster.namespaces
        self.context = target.context or next(iter(names))
        self.server = f"https://{self.context}"
        self.streams_lists = False
        self.closed = False
        self.asked: list[str] = []
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
        self.namespace = self.kubeconfig.namespaces[self.context]

    def forget_failures(self) -> None:
        """Nothing is held against this cluster."""

    async def request(self, method: str, path: str, *, params: Any = (), **_: Any) -> Answer:
        self.asked.append(path)
        await asyncio.sleep(0)
        plural, namespace = self.cluster.check(path)
        if plural == "pods":
            await self.cluster.hold.wait()
        selector = dict(params).get("labelSelector", "")
        items = [
            self.cluster.as_json(record)
            for (kind, _), (record, labelled) in self.cluster.objects.items()
            if kind == plural and _selected(record, labelled, namespace, selector)
        ]
        version = {"resourceVersion": str(self.cluster.version)}
        return Answer(200, {}, msgspec.json.encode({"metadata": version, "items": items}))

    async def get(self, path: str, params: Any = (), **_: Any) -> bytes:
        if path.startswith("/apis/") and path.count("/") == 2:
            raise ApiError(404, "NotFound", "no such group")
        return (await self.request("GET", path, params=params)).body

    async def version(self) -> None:
        return None

    @asynccontextmanager
    async def stream(
        self, path: str, params: Any = (), read_timeout: float = 90.0
    ) -> AsyncIterator[FakeStream]:
        await asyncio.sleep(0)
        plural, namespace = self.cluster.check(path)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        selector = dict(params).get("labelSelector", "")
        if int(dict(params)["resourceVersion"]) < self.cluster.touched.get(plural, 0):
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

    async def batches(self) -> AsyncIterator[list[bytes]]:
        while True:
            line = await self._queue.get()
            if line is None:
                raise LostError("The connection broke.")
            yield [line]
