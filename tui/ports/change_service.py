"""What changes of servings need of a cluster, as `tui.change_service` implements it; tests bring
their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from servedeck.changes.draft_store import DraftStore
from servedeck.changes.edit.edit import Edit, EditPlan
from servedeck.changes.edit.save import SaveResult
from servedeck.changes.edit.undo import UndoPoint
from servedeck.changes.key_sources import KeySource
from servedeck.changes.operations.operation import Operation, OperationPlan, OperationResult
from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef
from servedeck.cluster.exec import CommandTarget
from servedeck.cluster.rejection import Rejection
from servedeck.fleet.views import NamespacedName
from servedeck.serving.capacity import AcceleratorCapacity, NodeCapacity, SchedulingResult
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.pvcs import Pvc
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.spec.spec import ServingSpec


class Inventory(Protocol):
    """Nodes, PVCs and namespaces, watched while the form is open."""

    @property
    def unavailable_reasons(self) -> Sequence[str]: ...

    def start(self) -> None: ...

    async def close(self) -> None: ...

    def node_capacities(self) -> Sequence[NodeCapacity] | None:
        """What is free on each node; None if unknown."""

    def accelerator_capacities(self) -> Sequence[AcceleratorCapacity] | None: ...

    def pvcs(self, namespace: str) -> Mapping[str, Pvc] | None: ...

    def namespaces(self) -> Sequence[str] | None: ...

    def check_scheduling(
        self, deployment: JsonObject, replicas: int
    ) -> SchedulingResult | None: ...


class ChangeService(Protocol):
    """Everything between forms or dialogs and the cluster. Requests to the cluster raise
    ClusterError."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""

    @property
    def platform(self) -> PlatformSettings:
        """The platform as far as it is known without a request."""

    async def discover_api_groups(self) -> frozenset[str]:
        """The API groups of the API server, read once for a connection."""

    @property
    def draft_store(self) -> DraftStore | None:
        """The saved drafts; None while there is no connection."""

    @property
    def namespace(self) -> str:
        """The connection's own namespace, the default of a new serving."""

    def disabled_reason(self, namespace: str) -> str:
        """Why no serving can be created there, in a sentence; "" if it can, as far as known."""

    async def refresh_permissions(self, namespace: str) -> None:
        """Fetch the permissions that `disabled_reason` reports on."""

    def watch_inventory(
        self, namespace: str, on_change: Callable[[], None], *, nodes_only: bool = False
    ) -> Inventory | None:
        """Start to watch the inventory, or only nodes and what is in use of them; None while there
        is no connection."""

    async def make_plan(
        self,
        spec: ServingSpec,
        inventory: Inventory,
        own_objects: Sequence[ObjectRef],
        revision_base: str = "",
    ) -> ChangePlan:
        """The plan of a new serving; `revision_base` as for `servedeck.changes.plan.make_plan`."""

    async def deploy(
        self,
        manifests: Sequence[Mapping[str, Any]],
        own_objects: Sequence[ObjectRef],
        on_created: Callable[[AppliedObject], None],
    ) -> ApplyResult:
        """Apply the objects: those in `own_objects` as changes, the others only if they
        do not exist."""

    async def delete_created(
        self, created: Sequence[AppliedObject]
    ) -> Sequence[tuple[ObjectRef, Rejection]]: ...

    async def list_key_sources(self, source: str, namespace: str) -> Sequence[KeySource]:
        """The Secrets ("secret") or ConfigMaps ("config_map") of a namespace, without values."""

    async def list_keys(self, source: str, namespace: str, name: str) -> Sequence[str]:
        """Names of the keys of one of them."""

    async def import_serving(
        self, key: NamespacedName, *, from_cache: bool = False
    ) -> ImportedServing:
        """A serving, read from its objects. `from_cache` as for `fetch_live_objects`."""

    # -- edits of existing servings ---------------------------------------------------------------

    def edit_draft_store(self, key: NamespacedName) -> DraftStore | None:
        """The saved drafts of edits of a serving; None while there is no connection."""

    async def plan_edit(
        self,
        edit: Edit,
        inventory: Inventory,
        *,
        takes_over: bool = False,
        earlier: EditPlan | None = None,
    ) -> EditPlan:
        """What saving the edit would do now; with `takes_over`, also to fields that other managers
        have set. `earlier` is a plan that was made just now without it: the serving is not read a
        second time."""

    async def save_edit(
        self, plan: EditPlan, inventory: Inventory, *, takes_over: bool = False
    ) -> SaveResult:
        """Save a planned edit, once; `takes_over` as for the plan."""

    async def begin_undo(self, point: UndoPoint) -> Edit:
        """The edit that puts back what a saved edit has changed. Raises UndoExpiredError."""

    # -- operations on existing servings --------------------------------------------------------

    async def read_object(self, ref: ObjectRef) -> JsonObject:
        """An object as it is now, not sanitized."""

    def operation_disabled_reason(self, operation: Operation) -> str:
        """The missing permission, in a sentence; "" if there is none, as far as known."""

    async def refresh_operation_permission(self, operation: Operation) -> None:
        """Fetch the permission that `operation_disabled_reason` reports on."""

    def read_disabled_reason(self, verb: str, resource: str, namespace: str) -> str:
        """The missing permission to read a resource, "pods/log", in a sentence; "" if there is
        none, as far as known."""

    async def refresh_read_permission(self, verb: str, resource: str, namespace: str) -> None:
        """Fetch the permission that `read_disabled_reason` reports on."""

    async def plan_operation(self, operation: Operation) -> OperationPlan:
        """What it would do now."""

    async def run_operation(self, plan: OperationPlan) -> OperationResult:
        """Run a plan, once; what fails is in the result."""

    async def run_command(
        self,
        target: CommandTarget,
        command: Sequence[str],
        on_lines: Callable[[list[str]], None],
    ) -> int:
        """Run a command in a container until it ends; returns its exit code. `on_lines` gets lines
        as they arrive."""

    async def look_again(self, result: OperationResult) -> OperationResult:
        """The result of an operation whose response was lost, as far as it is known now."""
