"""A change service made by hand: what forms and dialogs ask of a cluster."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from servedeck.changes.draft_store import DraftStore
from servedeck.changes.edit.edit import Edit, EditPlan
from servedeck.changes.edit.save import SaveResult, SaveState
from servedeck.changes.edit.undo import UndoExpiredError, UndoPoint
from servedeck.changes.key_sources import KeySource
from servedeck.changes.operations.operation import (
    DISRUPTIVE_KINDS,
    Operation,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.plan import ChangePlan
from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef, Preview, PreviewAction
from servedeck.cluster.exec import CommandTarget
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.fleet.views import NamespacedName
from servedeck.serving import pvcs
from servedeck.serving.capacity import (
    AcceleratorCapacity,
    NodeCapacity,
    SchedulingResult,
    accelerator_capacities,
    simulate_scheduling,
)
from servedeck.serving.edit.edited_fields import find_edited_fields
from servedeck.serving.edit.merge import merge_fields
from servedeck.serving.edit.restart_forecast import forecast_restart, restarts_pods
from servedeck.serving.objects import import_objects, manifests
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.field_changes import AdmissionChange, FieldConflict
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.owners import find_gitops_owner
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.pvcs import Pvc
from servedeck.serving.spec import validation
from servedeck.serving.spec.issues import Issue, error
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.spec import ServingSpec

GPU = "nvidia.com/gpu"
PLATFORM = PlatformSettings(host="serve.example.com", gateway="gateways/main")


def node_capacity(name: str, free: int, total: int = 8, **others: int) -> NodeCapacity:
    """A node with GPUs, `free` of them not in use."""
    common = {"cpu": Fraction(64), "memory": Fraction(512 * 2**30), "pods": Fraction(100)}
    amounts = common | {GPU: Fraction(total)} | {key: Fraction(n) for key, n in others.items()}
    return NodeCapacity(name, amounts, amounts | {GPU: Fraction(free)}, "", ())


PVCS = (
    Pvc("datasets", "500Gi", ("ReadWriteMany",), "Bound", "nfs", False, ("train-0", "train-1")),
    Pvc("scratch", "50Gi", ("ReadWriteOnce",), "Pending", "ssd", False, ()),
    Pvc("raw-disk", "1Ti", ("ReadWriteOnce",), "Bound", "local", True, ()),
)


class FakeInventory:
    """Four nodes with GPUs, three claims, three namespaces."""

    def __init__(self) -> None:
        self.nodes: list[NodeCapacity] | None = [
            node_capacity("gpu-node-1", 2),
            node_capacity("gpu-node-2", 0),
            node_capacity("gpu-node-3", 1),
            node_capacity("npu-node-1", 0, 0, **{"furiosa.ai/rngd": 4}),
        ]
        self.unavailable_reasons: tuple[str, ...] = ()
        self.known_pvcs: dict[str, dict[str, Pvc]] | None = {
            "team-a": {one.name: one for one in PVCS}
        }
        self.known_namespaces: list[str] | None = ["platform", "search", "team-a"]
        self.closed = False
        self.on_change: Callable[[], None] = lambda: None

    def start(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    def node_capacities(self) -> list[NodeCapacity] | None:
        return self.nodes

    def accelerator_capacities(self) -> list[AcceleratorCapacity] | None:
        return None if self.nodes is None else accelerator_capacities(self.nodes)

    def pvcs(self, namespace: str) -> Mapping[str, Pvc] | None:
        return None if self.known_pvcs is None else self.known_pvcs.get(namespace, {})

    def namespaces(self) -> list[str] | None:
        return self.known_namespaces

    def check_scheduling(
        self, deployment: Mapping[str, Any], replicas: int
    ) -> SchedulingResult | None:
        pod_spec = deployment["spec"]["template"]["spec"]
        return None if self.nodes is None else simulate_scheduling(pod_spec, replicas, self.nodes)


class FakeChangeService:
    """Answers what the test sets; remembers what was asked."""

    def __init__(self, drafts_dir: Path) -> None:
        self.drafts_dir = drafts_dir
        self.has_temporary_drafts = False
        self.inventory = FakeInventory()
        self.is_connected = True
        self.platform = PLATFORM
        self.api_groups: frozenset[str] = frozenset()
        self.namespace = "team-a"
        self.create_disabled_reason = ""
        self.connection_error = ""
        """Why the API server cannot be reached; "" while it can."""
        self.dry_run_issues: list[Issue] = []
        """What a dry run finds besides our own rules."""
        self.admission_changes: tuple[AdmissionChange, ...] = ()
        self.rejections: dict[str, str] = {}
        """Kind -> why it is rejected when deployed."""
        self.applied_objects: dict[ObjectRef, Mapping[str, Any]] = {}
        self.revision_bases: list[str] = []
        self.planned_specs: list[ServingSpec] = []
        self.deleted_objects: list[ObjectRef] = []
        self.engines = Engines()
        self.objects: dict[NamespacedName, list[Mapping[str, Any]]] = {}
        self.live_objects: dict[ObjectRef, dict[str, Any]] = {}
        self.dry_run_gate: asyncio.Event | None = None
        """A dry run waits for it."""
        self.operation_disabled_reasons: dict[str, str] = {}
        """Kind of an operation -> why it is not allowed."""
        self.key_sources: dict[tuple[str, str], dict[str, list[str]]] = {}
        """Source and namespace -> the keys of each object."""
        self.secret_types: dict[str, str] = {}
        """Name of a Secret -> its type, where it is another one than Opaque."""
        self.key_source_errors: dict[str, str] = {}
        """Source, or name of an object -> why it may not be read."""
        self.read_disabled_reasons: dict[tuple[str, str, str], str] = {}
        """Verb, resource and namespace -> why it may not be read."""
        self.operation_plans: dict[Operation, OperationPlan] = {}
        """The plans that differ from one without effects."""
        self.operation_results: list[OperationResult] = []
        """Results of the next operations; after that all are done."""
        self.planned_operations: list[Operation] = []
        self.run_operations: list[Operation] = []
        self.plan_gate: asyncio.Event | None = None
        """Planning an operation waits for it."""
        self.run_gate: asyncio.Event | None = None
        """Running an operation waits for it."""
        self.permission_checks: list[Operation] = []
        self.looked_up_results: dict[Operation, OperationResult] = {}
        """What is found out later about operations whose response was lost."""
        self.edit_issues: tuple[Issue, ...] = ()
        """What the plan of an edit finds besides our own rules."""
        self.edit_conflicts: tuple[FieldConflict, ...] = ()
        """Fields that other managers have set; nothing is planned without a take-over."""
        self.saved_edits: list[Edit] = []
        self.command_lines: list[str] = []
        """What a command in a container prints; its exit code is `command_exit_code`."""
        self.command_exit_code = 0
        self.command_gate: asyncio.Event | None = None
        """A command ends when it is set."""
        self.commands: list[tuple[CommandTarget, list[str]]] = []

    async def discover_api_groups(self) -> frozenset[str]:
        if self.connection_error:
            raise ClusterError(self.connection_error)
        return self.api_groups

    @property
    def draft_store(self) -> DraftStore | None:
        return self._make_draft_store("https://127.0.0.1:6443")

    def _make_draft_store(self, name: str) -> DraftStore:
        return DraftStore(name, self.drafts_dir, is_temporary=self.has_temporary_drafts)

    def disabled_reason(self, namespace: str) -> str:
        return self.create_disabled_reason

    async def refresh_permissions(self, namespace: str) -> None: ...

    def watch_inventory(
        self, namespace: str, on_change: Callable[[], None], *, nodes_only: bool = False
    ) -> FakeInventory:
        self.inventory.on_change = on_change
        self.inventory.closed = False
        return self.inventory

    async def make_plan(
        self,
        spec: ServingSpec,
        inventory: FakeInventory,
        own_objects: Sequence[ObjectRef],
        revision_base: str = "",
    ) -> ChangePlan:
        self.revision_bases.append(revision_base)
        self.planned_specs.append(spec)
        if self.dry_run_gate is not None:
            await self.dry_run_gate.wait()
        if self.connection_error:
            raise ClusterError(self.connection_error)
        built = manifests.build_manifests(spec, self.platform)
        found = [*validation.validate(spec), *self.dry_run_issues]
        found += pvcs.validate_pvcs(spec, inventory.pvcs(spec.namespace) or {})
        capacity = inventory.check_scheduling(built[0], spec.replicas)
        previews = []
        for one in built:
            place = ObjectRef.from_manifest(one)
            action = PreviewAction.CHANGE if place in own_objects else PreviewAction.CREATE
            admission = self.admission_changes if place.kind == "Deployment" else ()
            previews.append(Preview(place, action, admission_changes=admission))
        return ChangePlan(
            spec,
            tuple(built),
            tuple(found),
            (),
            tuple(previews),
            capacity.summary if capacity else "",
            (),
        )

    async def deploy(
        self,
        manifests: Sequence[Mapping[str, Any]],
        own_objects: Sequence[ObjectRef],
        on_created: Callable[[AppliedObject], None],
    ) -> ApplyResult:
        made = []
        for one in manifests:
            place = ObjectRef.from_manifest(one)
            if place in own_objects:
                self.applied_objects[place] = one
                continue
            if reason := self.rejections.get(place.kind):
                return ApplyResult(
                    tuple(made), Rejection(RejectionReason.SERVER_ERROR, reason), place
                )
            self.applied_objects[place] = one
            made.append(AppliedObject(place, f"uid-{place}", True))
            on_created(made[-1])
        return ApplyResult(tuple(made))

    async def delete_created(
        self, created: Sequence[AppliedObject]
    ) -> Sequence[tuple[ObjectRef, Rejection]]:
        for one in created:
            self.deleted_objects.append(one.ref)
            del self.applied_objects[one.ref]
        return ()

    async def list_key_sources(self, source: str, namespace: str) -> list[KeySource]:
        if reason := self.key_source_errors.get(source):
            raise ClusterError(reason)
        found = self.key_sources.get((source, namespace), {})
        return [
            KeySource(
                name, self.secret_types.get(name, "Opaque") if source == "secret" else "", len(keys)
            )
            for name, keys in found.items()
        ]

    async def list_keys(self, source: str, namespace: str, name: str) -> list[str]:
        if reason := self.key_source_errors.get(name):
            raise ClusterError(reason)
        return self.key_sources[source, namespace][name]

    async def import_serving(
        self, key: NamespacedName, *, from_cache: bool = False
    ) -> ImportedServing:
        if self.connection_error:
            raise ClusterError(self.connection_error)
        if key not in self.objects:  # the form is prepared for each serving that is selected
            raise ClusterError(f"There is no Deployment {key.name} in namespace {key.namespace}.")
        return import_objects.import_objects(self.objects[key], self.engines)

    # -- edits --------------------------------------------------------------------------------

    def edit_draft_store(self, key: NamespacedName) -> DraftStore | None:
        return self._make_draft_store(f"https://127.0.0.1:6443 edit of {key}")

    async def plan_edit(
        self,
        edit: Edit,
        inventory: FakeInventory,
        *,
        takes_over: bool = False,
        earlier: EditPlan | None = None,
    ) -> EditPlan:
        if self.connection_error:
            raise ClusterError(self.connection_error)
        spec = edit.base.spec
        current = await self.import_serving(NamespacedName(spec.namespace, spec.name))
        merge = merge_fields(spec, edit.wanted, current.spec, edit.choices)
        change = change_objects(current, merge.spec, create_missing=False)
        ref = ObjectRef.from_manifest(change.live[0])
        issues = self.edit_issues
        rejection = None
        if self.edit_conflicts and not takes_over:
            reason = RejectionReason.CONFLICT
            rejection = Rejection(reason, "Fields conflict.", conflicts=self.edit_conflicts)
            issues = (*issues, error("", rejection.message))
        preview = Preview(ref, PreviewAction.CHANGE, rejection=rejection)
        forecast = None
        if restarts_pods(change.live[0], change.changed[0]):
            forecast = forecast_restart(
                change.live[0], change.changed[0], inventory.nodes, timedelta(minutes=4)
            )
            issues = (*issues, *forecast.issues)
        plan = ChangePlan(merge.spec, change.changed, issues, (), (preview,), "", (), change=change)
        fields = find_edited_fields(current, merge.spec)
        owner = find_gitops_owner(change.live[0])
        return EditPlan(edit, current, plan, (), fields, issues, forecast, owner, None)

    async def save_edit(
        self, plan: EditPlan, inventory: FakeInventory, *, takes_over: bool = False
    ) -> SaveResult:
        self.saved_edits.append(plan.edit)
        return SaveResult(SaveState.SAVED, plan, "The change was saved.")

    async def begin_undo(self, point: UndoPoint) -> Edit:
        raise UndoExpiredError("It was changed since.")

    # -- operations -----------------------------------------------------------------------------

    async def read_object(self, ref: ObjectRef) -> dict[str, Any]:
        if self.connection_error:
            raise ClusterError(self.connection_error)
        return copy.deepcopy(self.live_objects[ref])

    def operation_disabled_reason(self, operation: Operation) -> str:
        return self.operation_disabled_reasons.get(operation.kind.value, "")

    async def refresh_operation_permission(self, operation: Operation) -> None:
        self.permission_checks.append(operation)

    def read_disabled_reason(self, verb: str, resource: str, namespace: str) -> str:
        return self.read_disabled_reasons.get((verb, resource, namespace), "")

    async def refresh_read_permission(self, verb: str, resource: str, namespace: str) -> None: ...

    async def plan_operation(self, operation: Operation) -> OperationPlan:
        self.planned_operations.append(operation)
        if self.plan_gate is not None:
            await self.plan_gate.wait()
        if self.connection_error:
            raise ClusterError(self.connection_error)
        default = OperationPlan(
            operation,
            effects=("It changes.",),
            command="kubectl change",
            needs_confirmation=operation.kind in DISRUPTIVE_KINDS,
        )
        return self.operation_plans.get(operation, default)

    async def run_operation(self, plan: OperationPlan) -> OperationResult:
        self.run_operations.append(plan.operation)
        if self.run_gate is not None:
            await self.run_gate.wait()
        if self.operation_results:
            return self.operation_results.pop(0)
        message = f"{plan.operation.target} is changed."
        return OperationResult(plan.operation, Outcome.DONE, message, plan.undo, 1)

    async def run_command(
        self,
        target: CommandTarget,
        command: Sequence[str],
        on_lines: Callable[[list[str]], None],
    ) -> int:
        self.commands.append((target, list(command)))
        if self.connection_error:
            raise ClusterError(self.connection_error)
        on_lines(self.command_lines)
        if self.command_gate is not None:
            await self.command_gate.wait()
        return self.command_exit_code

    async def look_again(self, result: OperationResult) -> OperationResult:
        return self.looked_up_results.get(result.operation, result)
