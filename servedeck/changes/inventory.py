"""What the create form needs to know of the cluster: nodes and their accelerators, claims and
namespaces. Watched while the form is open, and not a second longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import NAMESPACES, NODES, Kind
from servedeck.cluster.watch.reflector import Phase, Reflector
from servedeck.serving.capacity import (
    Amounts,
    Fit,
    NodeRoom,
    RequestingPod,
    Supply,
    fit,
    rooms,
    supplies,
)
from servedeck.serving.objects.records import Namespace, Node
from servedeck.serving.pvcs import Claim, PersistentVolumeClaim, claims

REQUESTING_PODS = Kind(
    "pods",
    "",
    "v1",
    RequestingPod,
    # Ended Pods hold nothing, and a cluster that runs Jobs is full of them.
    field_selector="status.phase!=Succeeded,status.phase!=Failed",
)
CLAIMS = Kind("persistentvolumeclaims", "", "v1", PersistentVolumeClaim)

_ANSWERED = (Phase.LIVE, Phase.FORBIDDEN, Phase.MISSING)


class Surroundings:
    """Nodes, the Pods on them, claims and namespaces; each may be unknown, where it may not be
    read. Pods and claims of all namespaces where that is allowed, of `namespace` otherwise.

    `on_change` is called when something is other than before; it must be quick.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._nodes = self._reflector(connection, NODES, None)
        self._namespaces = self._reflector(connection, NAMESPACES, None)
        self._pods = self._reflector(connection, REQUESTING_PODS, None)
        self._claims = self._reflector(connection, CLAIMS, None)
        self._own_claims = self._reflector(connection, CLAIMS, namespace)
        self._namespace = namespace
        self._tasks: list[asyncio.Task[None]] = []
        self._rooms: list[NodeRoom] | None = None

    def _reflector(self, connection: Connection, kind: Kind, namespace: str | None) -> Reflector:
        return Reflector(
            connection, kind, namespace, lambda _: self._note(), lambda _: self._note()
        )

    def start(self, *, nodes_only: bool = False) -> None:
        """Begin to watch, or only nodes and the Pods on them. Needs a running event loop."""
        others = () if nodes_only else (self._namespaces, self._claims)
        for reflector in (self._nodes, self._pods, *others):
            self._tasks.append(asyncio.create_task(reflector.run()))

    async def known(self, limit: float = 10.0) -> None:
        """Wait until each kind was listed or refused, at most `limit` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not all(_answered(one) for one in self._watched()):
                    self._changed.clear()
                    await self._changed.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _note(self) -> None:
        self._rooms = None
        if self._claims.phase is Phase.FORBIDDEN and len(self._tasks) == 4:
            # Not in all namespaces; perhaps in ours.
            self._tasks.append(asyncio.create_task(self._own_claims.run()))
        self._changed.set()
        self._on_change()

    def _watched(self) -> Iterable[Reflector]:
        yield from (self._nodes, self._namespaces, self._pods)
        yield self._own_claims if self._claims.phase is Phase.FORBIDDEN else self._claims

    # -- answers --------------------------------------------------------------------------------

    @property
    def missing(self) -> tuple[str, ...]:
        """What may not be read, and what for, in sentences."""
        wanted = {
            id(self._nodes): "Which nodes have free accelerators is not known",
            id(self._pods): "How much of the nodes is in use is not known",
            id(self._namespaces): "Which namespaces there are is not known",
            id(self._own_claims): "Which PVCs there are is not known",
        }
        return tuple(
            f"{wanted[id(one)]}: {one.error}"
            for one in self._watched()
            if one.phase is Phase.FORBIDDEN
        )

    def rooms(self) -> list[NodeRoom] | None:
        """Room on each node; None where nodes or Pods are not known."""
        if not (self._nodes.synced and self._pods.synced):
            return None
        if self._rooms is None:
            nodes = cast(Iterable[Node], self._nodes.store.values())
            pods = cast(Iterable[RequestingPod], self._pods.store.values())
            self._rooms = rooms(sorted(nodes, key=lambda node: node.metadata.name), pods)
        return self._rooms

    def supplies(self) -> list[Supply] | None:
        """Accelerators of the cluster, kind by kind; None where they are not known."""
        room = self.rooms()
        return None if room is None else supplies(room)

    def fit(
        self, asked: Amounts, replicas: int, tolerations: Sequence[Mapping[str, Any]] = ()
    ) -> Fit | None:
        """Whether the nodes could host `replicas` Pods now; None where that is not known."""
        room = self.rooms()
        return None if room is None else fit(asked, replicas, room, tolerations)

    def claims(self, project: str) -> dict[str, Claim] | None:
        """Claims of a project by name, with their users where Pods are known; None where claims
        are not known."""
        source = self._claims if self._claims.synced else self._own_claims
        if not source.synced or (source is self._own_claims and project != self._namespace):
            return None
        records = cast(Iterable[PersistentVolumeClaim], source.store.values())
        pods = cast(Iterable[RequestingPod], self._pods.store.values())
        own = [one for one in records if one.metadata.namespace == project]
        return {one.name: one for one in claims(own, pods)}

    def projects(self) -> list[str] | None:
        """Names of all namespaces; None where they are not known."""
        if not self._namespaces.synced:
            return None
        names = cast(Iterable[Namespace], self._namespaces.store.values())
        return sorted(one.metadata.name for one in names)


def _answered(reflector: Reflector) -> bool:
    return reflector.synced or reflector.phase in _ANSWERED
