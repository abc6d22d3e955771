"""What the create form needs of the cluster: nodes and their accelerators, PVCs and namespaces.
Watched only while the form is open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import cast

from servedeck.cluster import resources
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import NAMESPACES, NODES, ResourceKind
from servedeck.cluster.watch.reflector import RecordChange, Reflector, ReflectorPhase
from servedeck.serving.capacity import (
    AcceleratorCapacity,
    NodeCapacity,
    PlacedPod,
    SchedulingResult,
    accelerator_capacities,
    node_capacities,
    simulate_scheduling,
)
from servedeck.serving.node_usage import NodeUsage
from servedeck.serving.objects.records import Namespace, Node
from servedeck.serving.pod_requests import PodRequests, pod_requests
from servedeck.serving.pvcs import PersistentVolumeClaim, Pvc, pvcs
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping

ACTIVE_PODS = ResourceKind(
    resources.POD,
    PodRequests,
    # Completed Pods use no resources, and a cluster with Jobs has many of them.
    field_selector="status.phase!=Succeeded,status.phase!=Failed",
)
PVCS = ResourceKind(resources.PERSISTENT_VOLUME_CLAIM, PersistentVolumeClaim)
PROJECTS = ResourceKind(resources.PROJECT, Namespace)
"""The namespaces of the user on OpenShift, where namespaces may not be listed."""

_FINISHED_PHASES = (ReflectorPhase.LIVE, ReflectorPhase.FORBIDDEN, ReflectorPhase.MISSING)


class ClusterInventory:
    """Nodes, the Pods on them, PVCs and namespaces; each may be unknown if it may not be listed.
    Pods and PVCs of all namespaces if that is allowed, of `namespace` otherwise; in place of
    namespaces that may not be listed the user's projects (OpenShift), or else those that the
    kubeconfig names for the cluster. `on_change` is called after each change; it must be fast.
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
        self._connection = connection
        self._namespaces = self._make_reflector(connection, NAMESPACES, None)
        self._projects = self._make_reflector(connection, PROJECTS, None)
        self._pods = Reflector(
            connection,
            ACTIVE_PODS,
            None,
            self._handle_pod_change,
            lambda _: self._handle_change(),
        )
        self._usage = NodeUsage()
        self._all_pvcs = self._make_reflector(connection, PVCS, None)
        self._namespace_pvcs = self._make_reflector(connection, PVCS, namespace)
        self._namespace = namespace
        self._tasks: dict[Reflector, asyncio.Task[None]] = {}
        self._nodes_only = False
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
        """Start to watch everything, or only nodes and the Pods on them. Needs a running event
        loop."""
        self._nodes_only = nodes_only
        others = () if nodes_only else (self._namespaces, self._all_pvcs)
        for reflector in (self._nodes, self._pods, *others):
            self._watch(reflector)

    def _watch(self, reflector: Reflector) -> None:
        if reflector not in self._tasks:
            self._tasks[reflector] = asyncio.create_task(reflector.run())

    async def wait_until_listed(self, limit: float = 10.0) -> None:
        """Wait until each kind was listed or rejected, at most `limit` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not all(_has_result(one) for one in self._active_reflectors()):
                    self._changed.clear()
                    await self._changed.wait()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def _handle_change(self) -> None:
        self._node_capacities = None
        if self._tasks and self._all_pvcs.phase is ReflectorPhase.FORBIDDEN:
            # Not allowed in all namespaces; try the current one.
            self._watch(self._namespace_pvcs)
        if self._tasks and self._namespaces.phase is ReflectorPhase.FORBIDDEN:
            self._watch(self._projects)
        self._changed.set()
        self._on_change()

    def _handle_pod_change(self, change: RecordChange) -> None:
        """Most changes of Pods change neither what they request nor where: those of their status
        come many times a second."""
        changed = change.type != "MODIFIED"
        if change.type == "DELETED":
            self._usage.remove(change.record)
        elif change.record is not None:
            changed = self._usage.put(change.record) or changed
        if changed:
            self._handle_change()

    def _active_reflectors(self) -> Iterable[Reflector]:
        yield from (self._nodes, self._pods)
        if self._nodes_only:
            return
        yield (
            self._projects
            if self._namespaces.phase is ReflectorPhase.FORBIDDEN
            else self._namespaces
        )
        yield (
            self._namespace_pvcs
            if self._all_pvcs.phase is ReflectorPhase.FORBIDDEN
            else self._all_pvcs
        )

    # -- results --------------------------------------------------------------------------------

    @property
    def unavailable_reasons(self) -> tuple[str, ...]:
        """What may not be listed, and its consequence, in sentences."""
        wanted = {
            id(self._nodes): "The free accelerators are unknown",
            id(self._pods): "The resources in use on the nodes are unknown",
            id(self._namespace_pvcs): "The PVCs are unknown",
        }
        reasons = [
            f"{wanted[id(one)]}: {one.error}"
            for one in self._active_reflectors()
            if one.phase is ReflectorPhase.FORBIDDEN and id(one) in wanted
        ]
        if self._has_no_list_of_namespaces():
            reasons.append(f"Not all namespaces are known: {self._namespaces.error}")
        return tuple(reasons)

    def _has_no_list_of_namespaces(self) -> bool:
        """Whether neither namespaces nor projects may be listed."""
        missing = (ReflectorPhase.FORBIDDEN, ReflectorPhase.MISSING)
        return (
            not self._nodes_only
            and self._namespaces.phase is ReflectorPhase.FORBIDDEN
            and self._projects.phase in missing
        )

    def node_capacities(self) -> list[NodeCapacity] | None:
        """Capacity of each node; None if nodes or Pods are unknown."""
        if not (self._nodes.synced and self._pods.synced):
            return None
        if self._node_capacities is None:
            nodes = cast(Iterable[Node], self._nodes.records.values())
            self._node_capacities = node_capacities(
                sorted(nodes, key=lambda node: node.metadata.name), self._usage.by_node
            )
        return self._node_capacities

    def pods_owned_by(self, uids: Collection[str]) -> list[PlacedPod] | None:
        """The Pods on nodes that belong to one of these ReplicaSets; None if Pods are unknown."""
        if not self._pods.synced:
            return None
        return [
            PlacedPod(pod.spec.node_name, pod_requests(pod))
            for pod in cast(Iterable[PodRequests], self._pods.records.values())
            if pod.spec.node_name
            and any(one.controller and one.uid in uids for one in pod.metadata.owner_references)
        ]

    def accelerator_capacities(self) -> list[AcceleratorCapacity] | None:
        """Accelerators of the cluster by kind; None if unknown."""
        room = self.node_capacities()
        return None if room is None else accelerator_capacities(room)

    def check_scheduling(self, deployment: JsonObject, replicas: int) -> SchedulingResult | None:
        """Whether the nodes could host `replicas` Pods of a Deployment now; None if unknown."""
        room = self.node_capacities()
        pod_spec = as_mapping(deployment, "spec", "template", "spec")
        return None if room is None else simulate_scheduling(pod_spec, replicas, room)

    def pvcs(self, namespace: str) -> dict[str, Pvc] | None:
        """PVCs of a namespace by name, with the Pods that use them if Pods are known; None if PVCs
        are unknown."""
        source = self._all_pvcs if self._all_pvcs.synced else self._namespace_pvcs
        if not source.synced or (source is self._namespace_pvcs and namespace != self._namespace):
            return None
        records = cast(Iterable[PersistentVolumeClaim], source.records.values())
        pods = cast(Iterable[PodRequests], self._pods.records.values())
        own = [one for one in records if one.metadata.namespace == namespace]
        return {one.name: one for one in pvcs(own, pods)}

    def namespaces(self) -> list[str] | None:
        """Names of the namespaces that are known, sorted; None if none are."""
        source = self._namespaces if self._namespaces.synced else self._projects
        if source.synced:
            names = cast(Iterable[Namespace], source.records.values())
            return sorted(one.metadata.name for one in names)
        if not self._has_no_list_of_namespaces():
            return None
        context = self._connection.context_name
        return sorted(set(self._connection.kubeconfig.cluster_namespaces(context)))


def _has_result(reflector: Reflector) -> bool:
    return reflector.synced or reflector.phase in _FINISHED_PHASES
