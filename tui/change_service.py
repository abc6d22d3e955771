"""What changes of servings need of the cluster that the list shows.

What the form needs (pydantic, the rules of a spec) takes 90 ms to import, which the list does not
wait for: `FORM_MODULES` are imported after the first complete list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from servedeck.cluster.access import AccessChecker, websocket_permissions
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.fleet.views import NamespacedName

if TYPE_CHECKING:
    from servedeck.changes.draft_store import DraftStore
    from servedeck.changes.edit.edit import Edit, EditPlan
    from servedeck.changes.edit.save import SaveResult
    from servedeck.changes.edit.undo import UndoPoint
    from servedeck.changes.inventory import ClusterInventory
    from servedeck.changes.key_sources import KeySource
    from servedeck.changes.operations.operation import (
        Operation,
        OperationPlan,
        OperationResult,
    )
    from servedeck.changes.plan import ChangePlan
    from servedeck.cluster.apply import AppliedObject, ApplyResult, ObjectRef
    from servedeck.cluster.exec import CommandTarget
    from servedeck.cluster.http.connection import Connection
    from servedeck.cluster.rejection import Rejection
    from servedeck.config import Settings
    from servedeck.serving.objects.import_objects import ImportedServing
    from servedeck.serving.objects.routes import PlatformSettings
    from servedeck.serving.spec.mapping.json_values import JsonObject
    from servedeck.serving.spec.spec import ServingSpec
    from tui.ports.change_service import Inventory

FORM_MODULES = (
    "servedeck.changes.live_objects",
    "servedeck.changes.plan",
    "servedeck.changes.platform_settings",
    "servedeck.changes.inventory",
    "servedeck.changes.operations.planner",
    "servedeck.metrics.load",
    "tui.screens.create.wizard",
    "servedeck.changes.edit.save",
    "tui.screens.edit.edit_screen",
    "tui.screens.operation_dialog",
)

REQUIRED_PERMISSIONS = (
    ("create", "deployments.apps"),
    ("patch", "deployments.apps"),
    ("create", "services"),
)
"""Permissions required to create a serving: server-side apply needs create and patch."""


class ClusterChangeService:
    """The `tui.ports.change_service.ChangeService` of a cluster."""

    def __init__(
        self,
        connection: Callable[[], Connection | None],
        settings: Callable[[], Settings],
        drafts_dir: Path | None = None,
        *,
        has_temporary_drafts: bool = False,
    ) -> None:
        """`connection` and `settings` return the current ones, which change with the context.
        `drafts_dir` is where drafts are saved, None for the operator's directory;
        `has_temporary_drafts`: it is deleted when the program ends."""
        self._drafts_dir = drafts_dir
        self.has_temporary_drafts = has_temporary_drafts
        self._connection = connection
        self._settings = settings
        self._cached_connection: Connection | None = None
        """The connection that the two attributes below were read from."""
        self._access: AccessChecker | None = None
        self._api_groups: frozenset[str] | None = None

    def _require_connection(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise ConnectionLostError("Not connected to the API server yet; retrying.")
        if connection is not self._cached_connection:
            self._cached_connection, self._access, self._api_groups = (
                connection,
                AccessChecker(connection),
                None,
            )
        return connection

    @property
    def is_connected(self) -> bool:
        return self._connection() is not None

    @property
    def draft_store(self) -> DraftStore | None:
        connection = self._connection()
        return self._make_draft_store(connection.server) if connection is not None else None

    def _make_draft_store(self, name: str) -> DraftStore:
        from servedeck.changes.draft_store import DraftStore

        return DraftStore(name, self._drafts_dir, is_temporary=self.has_temporary_drafts)

    @property
    def namespace(self) -> str:
        connection = self._connection()
        return connection.namespace if connection is not None else ""

    # -- permissions ----------------------------------------------------------------------------

    def disabled_reason(self, namespace: str) -> str:
        connection = self._connection()
        if connection is None:
            return "Not connected to the API server yet, so nothing can be created."
        if connection.readonly:
            return (
                "servedeck runs with --readonly; restart it without that option to create servings."
            )
        if connection is not self._cached_connection or self._access is None:
            return ""
        for verb, resource in REQUIRED_PERMISSIONS:
            decision = self._access.cached_decision(verb, resource, namespace)
            if not decision:
                return decision.reason
        return ""

    async def refresh_permissions(self, namespace: str) -> None:
        self._require_connection()
        if self._access is not None:
            await self._access.refresh(namespace)

    def operation_disabled_reason(self, operation: Operation) -> str:
        connection = self._connection()
        if connection is None or connection is not self._cached_connection or self._access is None:
            return ""
        for verb, resource in self._permissions(operation, connection):
            decision = self._access.cached_decision(
                verb, resource, operation.namespace, name=operation.name
            )
            if not decision:
                return decision.reason
        return ""

    @staticmethod
    def _permissions(operation: Operation, connection: Connection) -> tuple[tuple[str, str], ...]:
        from servedeck.changes.operations.operation import WEBSOCKET_KINDS

        if operation.kind not in WEBSOCKET_KINDS:
            return (operation.required_permission,)
        return websocket_permissions(operation.required_permission[1], connection.known_version)

    async def refresh_operation_permission(self, operation: Operation) -> None:
        connection = self._require_connection()
        access = self._access
        if access is None:
            return
        await access.refresh(operation.namespace)
        await connection.server_version()
        where = operation.namespace, "", operation.name
        for verb, resource in self._permissions(operation, connection):
            decision = access.cached_decision(verb, resource, *where)
            if not (decision and decision.known):  # it may have been granted since
                await access.check(verb, resource, *where)

    def read_disabled_reason(self, verb: str, resource: str, namespace: str) -> str:
        connection = self._connection()
        if connection is None or connection is not self._cached_connection or self._access is None:
            return ""
        return self._access.cached_decision(verb, resource, namespace).denied_reason

    async def refresh_read_permission(self, verb: str, resource: str, namespace: str) -> None:
        self._require_connection()
        if (access := self._access) is None:
            return
        await access.refresh(namespace)
        decision = access.cached_decision(verb, resource, namespace)
        if not (decision and decision.known):  # it may have been granted since
            await access.check(verb, resource, namespace)

    # -- platform -------------------------------------------------------------------------------

    @property
    def platform(self) -> PlatformSettings:
        from servedeck.changes.platform_settings import build_platform_settings, route_kinds

        groups = self._api_groups or frozenset()
        known = route_kinds(groups)
        return build_platform_settings(self._settings(), lambda kind: kind in known, groups)

    async def discover_api_groups(self) -> frozenset[str]:
        from servedeck.changes.platform_settings import discover_api_groups

        connection = self._require_connection()
        if self._api_groups is not None:
            return self._api_groups
        found = await discover_api_groups(connection)
        if connection is self._cached_connection:
            self._api_groups = found
        return found

    async def _discover_platform(self) -> PlatformSettings:
        await self.discover_api_groups()
        return self.platform

    # -- a new serving --------------------------------------------------------------------------

    def watch_inventory(
        self, namespace: str, on_change: Callable[[], None], *, nodes_only: bool = False
    ) -> ClusterInventory | None:
        from servedeck.changes.inventory import ClusterInventory

        connection = self._connection()
        if connection is None:
            return None
        inventory = ClusterInventory(connection, namespace, on_change)
        inventory.start(nodes_only=nodes_only)
        return inventory

    async def make_plan(
        self,
        spec: ServingSpec,
        inventory: Inventory,
        own_objects: Sequence[ObjectRef],
        revision_base: str = "",
    ) -> ChangePlan:
        from servedeck.changes.plan import make_plan

        platform = await self._discover_platform()
        known = cast("ClusterInventory", inventory)
        await known.wait_until_listed()
        return await make_plan(
            self._require_connection(),
            spec,
            platform,
            known,
            own_objects=own_objects,
            revision_base=revision_base,
        )

    async def deploy(
        self,
        manifests: Sequence[Mapping[str, Any]],
        own_objects: Sequence[ObjectRef],
        on_created: Callable[[AppliedObject], None],
    ) -> ApplyResult:
        from servedeck.cluster import apply
        from servedeck.cluster.apply import ApplyResult, ObjectRef

        connection = self._require_connection()
        ours = [one for one in manifests if ObjectRef.from_manifest(one) in own_objects]
        if ours:
            outcome = await apply.apply(connection, ours)
            if outcome.rejection:
                return ApplyResult((), outcome.rejection, outcome.failed_ref)
        others = [one for one in manifests if ObjectRef.from_manifest(one) not in own_objects]
        return await apply.apply(connection, others, create=True, on_applied=on_created)

    async def delete_created(
        self, created: Sequence[AppliedObject]
    ) -> Sequence[tuple[ObjectRef, Rejection]]:
        from servedeck.cluster import apply

        return await apply.delete_created(self._require_connection(), created)

    async def list_key_sources(self, source: str, namespace: str) -> list[KeySource]:
        from servedeck.changes.key_sources import list_key_sources

        return await list_key_sources(self._require_connection(), source, namespace)

    async def list_keys(self, source: str, namespace: str, name: str) -> list[str]:
        from servedeck.changes.key_sources import list_keys

        return await list_keys(self._require_connection(), source, namespace, name)

    async def import_serving(
        self, key: NamespacedName, *, from_cache: bool = False
    ) -> ImportedServing:
        from servedeck.changes.live_objects import ServingNotFoundError, fetch_live_objects
        from servedeck.cluster.prometheus_services import service_url

        connection = self._require_connection()
        live = await fetch_live_objects(connection, key.namespace, key.name, from_cache=from_cache)
        if not live.objects:
            raise ServingNotFoundError(
                f"Deployment {key.name} no longer exists in namespace {key.namespace}."
            )
        return live.import_serving(service_url(self._settings().prometheus_service))

    # -- edits of existing servings ---------------------------------------------------------------

    def edit_draft_store(self, key: NamespacedName) -> DraftStore | None:
        connection = self._connection()
        if connection is None:
            return None
        return self._make_draft_store(f"{connection.server} edit of {key}")

    async def plan_edit(
        self,
        edit: Edit,
        inventory: Inventory,
        *,
        takes_over: bool = False,
        earlier: EditPlan | None = None,
    ) -> EditPlan:
        from servedeck.changes.edit.edit import plan_edit

        known = cast("ClusterInventory", inventory)
        await known.wait_until_listed()
        connection = self._require_connection()
        return await plan_edit(connection, edit, known, force=takes_over, earlier=earlier)

    async def save_edit(
        self, plan: EditPlan, inventory: Inventory, *, takes_over: bool = False
    ) -> SaveResult:
        from servedeck.changes.edit.save import save_edit

        known = cast("ClusterInventory", inventory)
        return await save_edit(self._require_connection(), plan, known, force=takes_over)

    async def begin_undo(self, point: UndoPoint) -> Edit:
        from servedeck.changes.edit.undo import begin_undo

        return await begin_undo(self._require_connection(), point)

    # -- operations on existing servings --------------------------------------------------------

    async def read_object(self, ref: ObjectRef) -> JsonObject:
        return await self._require_connection().get_json(ref.path)

    async def plan_operation(self, operation: Operation) -> OperationPlan:
        from servedeck.changes.operations.adoption import Adoption
        from servedeck.changes.operations.planner import plan_operation

        platform = None
        if isinstance(operation, Adoption) and operation.route:
            platform = await self._discover_platform()
        return await plan_operation(self._require_connection(), operation, platform=platform)

    async def run_operation(self, plan: OperationPlan) -> OperationResult:
        from servedeck.changes.operations.execution import run_plan

        return await run_plan(self._require_connection(), plan)

    async def run_command(
        self,
        target: CommandTarget,
        command: Sequence[str],
        on_lines: Callable[[list[str]], None],
    ) -> int:
        from servedeck.cluster.exec import run_command

        return await run_command(self._require_connection(), target, command, on_lines)

    async def look_again(self, result: OperationResult) -> OperationResult:
        from servedeck.changes.operations.lost_writes import look_again

        return await look_again(self._require_connection(), result)
