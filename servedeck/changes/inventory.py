"""What the create form needs to know of the cluster: nodes and their accelerators, claims and
namespaces. Watched while the form is open, and not a second longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from servedeck.cluster import resources
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import NAMESPACES, NODES, ResourceKind
from servedeck.cluster.watch.reflector import Reflector, ReflectorPhase
from servedeck.serving.capacity import (
    AcceleratorCapacity,
    NodeCapacity,
    PodRequests,
    ResourceList,
    SchedulingResult,
    accelerator_capacities,
    node_capacities,
    simulate_scheduling,
)
from servedeck.serving.objects.records import Namespace, Node
from servedeck.serving.pvcs import PersistentVolumeClaim, Pvc, pvcs

ACTIVE_PODS = ResourceKind(
    resources.POD,
    PodRequests,
    # Ended Pods hold nothing, and a cluster that runs Jobs is full of them.
    field_selector="status.phase!=Succeeded,status.phase!=Failed",
)
PVCS = ResourceKind(resources.PERSISTENT_VOLUME_CLAIM, PersistentVolumeClaim)

_ANSWERED_PHASES = (ReflectorPhase.LIVE, ReflectorPhase.FORBIDDEN, ReflectorPhase.MISSING)


class ClusterInventory:
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
        self._nodes = self._make_reflector(connection, NODES, None)
        self._namespaces = self._make_reflector(connection, NAMESPACES, None)
        self._pods = self._make_reflector(connection, ACTIVE_PODS, None)
        self._all_pvcs = self._make_reflector(connection, PVCS, None)
        self._namespace_pvcs = self._make_reflector(connection, PVCS, namespace)
        self._namespace = namespace
        self._tasks: list[asyncio.Task[None]] = []
        self._node_capacities: list[NodeCapacity] | None = None

    def _make_reflector(
        self, connection: Connection, kind: ResourceKind, namespace: str | None
    ) -> Reflector:
        return Reflector(
            connection,
            kind,
            namespace,
            lambda _: self._handle_change(),
            lambda _: self._handle_change(),
        )

    def start(self, *, nodes_only: bool = False) -> None:
        """Begin to watch, or only nodes and the Pods on them. Needs a running event loop."""
        others = () if nodes_only else (self._namespaces, self._all_pvcs)
        for reflector in (self._nodes, self._pods, *others):
            self._tasks.append(asyncio.create_task(reflector.run()))

    async def wait_until_listed(self, limit: float = 10.0) -> None:
        """Wait until each kind was listed or refused, at most `limit` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not all(_has_answered(one) for one in self._active_reflectors()):
                    self._changed.clear()
                    await self._changed.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _handle_change(self) -> None:
        self._node_capacities = None
        if self._all_pvcs.phase is ReflectorPhase.FORBIDDEN and len(self._tasks) == 4:
            # Not in all namespaces; perhaps in ours.
            self._tasks.append(asyncio.create_task(self._namespace_pvcs.run()))
        self._changed.set()
        self._on_change()

    def _active_reflectors(self) -> Iterable[Reflector]:
        yield from (self._nodes, self._namespaces, self._pods)
        yield (
            self._namespace_pvcs
            if self._all_pvcs.phase is ReflectorPhase.FORBIDDEN
            else self._all_pvcs
        )

    # -- answers --------------------------------------------------------------------------------

    @property
    def unavailable_reasons(self) -> tuple[str, ...]:
        """What may not be read, and what for, in sentences."""
        wanted = {
            id(self._nodes): "Which nodes have free accelerators is not known",
            id(self._pods): "How much of the nodes is in use is not known",
            id(self._namespaces): "The namespaces are not known",
            id(self._namespace_pvcs): "The PVCs are not known",
        }
        return tuple(
            f"{wanted[id(one)]}: {one.error}"
            for one in self._active_reflectors()
            if one.phase is ReflectorPhase.FORBIDDEN
        )

    def node_capacities(self) -> list[NodeCapacity] | None:
        """Room on each node; None where nodes or Pods are not known."""
        if not (self._nodes.synced and self._pods.synced):
            return None
        if self._node_capacities is None:
            nodes = cast(Iterable[Node], self._nodes.records.values())
            pods = cast(Iterable[PodRequests], self._pods.records.values())
            self._node_capacities = node_capacities(
                sorted(nodes, key=lambda node: node.metadata.name), pods
            )
        return self._node_capacities

    def accelerator_capacities(self) -> list[AcceleratorCapacity] | None:
        """Accelerators of the cluster, kind by kind; None where they are not known."""
        room = self.node_capacities()
        return None if room is None else accelerator_capacities(room)

    def check_scheduling(
        self, requests: ResourceList, replicas: int, tolerations: Sequence[Mapping[str, Any]] = ()
    ) -> SchedulingResult | None:
        """Whether the nodes could host `replicas` Pods now; None where that is not known."""
        room = self.node_capacities()
        return None if room is None else simulate_scheduling(requests, replicas, room, tolerations)

    def pvcs(self, namespace: str) -> dict[str, Pvc] | None:
        """Claims of a namespace by name, with their users where Pods are known; None where claims
        are not known."""
        source = self._all_pvcs if self._all_pvcs.synced else self._namespace_pvcs
        if not source.synced or (source is self._namespace_pvcs and namespace != self._namespace):
            return None
        records = cast(Iterable[PersistentVolumeClaim], source.records.values())
        pods = cast(Iterable[PodRequests], self._pods.records.values())
        own = [one for one in records if one.metadata.namespace == namespace]
        return {one.name: one for one in pvcs(own, pods)}

    def namespaces(self) -> list[str] | None:
        """Names of all namespaces; None where they are not known."""
        if not self._namespaces.synced:
            return None
        names = cast(Iterable[Namespace], self._namespaces.records.values())
        return sorted(one.metadata.name for one in names)


def _has_answered(reflector: Reflector) -> bool:
    return reflector.synced or reflector.phase in _ANSWERED_PHASES
