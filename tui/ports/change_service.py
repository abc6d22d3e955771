"""What the create form asks of a cluster: `tui.change_service.ClusterWorkbench` answers, tests
bring their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from servedeck.changes.draft_store import DraftStore
from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef, Refusal
from servedeck.fleet.views import NamespacedName
from servedeck.serving.capacity import (
    AcceleratorCapacity,
    NodeCapacity,
    ResourceList,
    SchedulingResult,
)
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.routes import Platform
from servedeck.serving.pvcs import Pvc
from servedeck.serving.spec.spec import ServingSpec


class Inventory(Protocol):
    """What surrounds a new serving, watched while the form is open."""

    @property
    def unavailable_reasons(self) -> Sequence[str]: ...

    def start(self) -> None: ...

    async def close(self) -> None: ...

    def node_capacities(self) -> Sequence[NodeCapacity] | None:
        """What is free on each node; None where that is not known."""

    def accelerator_capacities(self) -> Sequence[AcceleratorCapacity] | None: ...

    def pvcs(self, namespace: str) -> Mapping[str, Pvc] | None: ...

    def namespaces(self) -> Sequence[str] | None: ...

    def check_scheduling(
        self, requests: ResourceList, replicas: int, tolerations: Sequence[Mapping[str, Any]] = ()
    ) -> SchedulingResult | None: ...


class ChangeService(Protocol):
    """Everything between the form and the cluster. What is asked of the cluster raises
    ClusterError."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to ask."""

    @property
    def platform(self) -> Platform:
        """The platform as far as it is known without asking."""

    @property
    def draft_store(self) -> DraftStore | None:
        """Where drafts lie; None while there is no connection."""

    @property
    def namespace(self) -> str:
        """The connection's own namespace, proposed as namespace."""

    def disabled_reason(self, namespace: str) -> str:
        """Why no serving can be created there, in a sentence; "" where it can, as far as known."""

    async def refresh_permissions(self, namespace: str) -> None:
        """Ask for what `why_not` says."""

    def watch_inventory(
        self, namespace: str, on_change: Callable[[], None], *, nodes_only: bool = False
    ) -> Inventory | None:
        """Begin to watch the surroundings, or only nodes and what is in use of them; None while
        there is no connection."""

    async def make_plan(
        self, spec: ServingSpec, inventory: Inventory, own_objects: Sequence[ObjectRef]
    ) -> ChangePlan: ...

    async def deploy(
        self,
        manifests: Sequence[Mapping[str, Any]],
        own_objects: Sequence[ObjectRef],
        on_created: Callable[[AppliedObject], None],
    ) -> ApplyResult:
        """Apply the objects: those at `own` as changes of ours, the others only where none is."""

    async def rollback_created(
        self, created: Sequence[AppliedObject]
    ) -> Sequence[tuple[ObjectRef, Refusal]]: ...

    async def import_serving(self, key: NamespacedName) -> ImportedServing:
        """A serving as its objects say it."""
