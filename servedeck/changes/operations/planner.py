"""Planning an operation with what the cluster has now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from servedeck.changes.async_queue.deletion import with_async_queue_deletion
from servedeck.changes.async_queue.state import AsyncQueueState, read_gateway_objects
from servedeck.changes.live_objects import fetch_live_objects, find_other_kind, unlisted_names
from servedeck.changes.object_lists import (
    list_autoscalers,
    list_replicasets,
    unknown_owner_texts,
    unlisted_text,
)
from servedeck.changes.operations.adoption import Adoption, Release
from servedeck.changes.operations.adoption_plans import (
    plan_adoption,
    plan_release,
    with_dry_run,
    with_shared_service_warnings,
)
from servedeck.changes.operations.deletion_plans import plan_pod_deletion, plan_serving_deletion
from servedeck.changes.operations.deployment_plans import REPLICA_KINDS, plan_deployment_operation
from servedeck.changes.operations.execution import (
    CreationRefusedError,
    OutdatedError,
    dry_run_plan,
    rejection_text,
)
from servedeck.changes.operations.node_plans import plan_cordon
from servedeck.changes.operations.object_edit import (
    ObjectEdit,
    describe_change,
    plan_object_edit,
)
from servedeck.changes.operations.operation import (
    ObjectCreation,
    Operation,
    OperationKind,
    OperationPlan,
)
from servedeck.changes.pod_admission import check_pod_admission
from servedeck.cluster.access import AccessChecker
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError
from servedeck.cluster.resources import DEPLOYMENT, RESOURCES_BY_KIND, SERVICE, Resource
from servedeck.serving.objects.async_routes import async_gateway_name
from servedeck.serving.objects.field_changes import admission_changes, describe_admission
from servedeck.serving.objects.object_document import editable_part
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.mapping.json_values import JsonObject, mappings
from servedeck.serving.status.rollout_status import desired_replicas
from servedeck.serving.text import one_line, sanitize

_MAX_PLANS = 5
"""Plans that are made again because the object changed before the dry run."""


class _NotFoundError(Exception):
    """The object of the operation does not exist."""


async def plan_operation(
    connection: Connection,
    operation: Operation,
    now: datetime | None = None,
    *,
    platform: PlatformSettings | None = None,
) -> OperationPlan:
    """What the operation would do now, including the API server's dry run. `now` is the time that a
    restart writes into the Pod template; by default that of the API server. `platform` is for the
    route of an adoption. Raises ClusterError if it cannot be found out."""
    for _ in range(_MAX_PLANS):
        try:
            plan = await _make_plan(connection, operation, now, platform)
            plan = _for_cluster(connection, plan)
            if plan.is_possible:
                plan = await _dry_run(connection, plan)
            return await _check_new_pods(connection, plan)
        except OutdatedError:
            continue
        except _NotFoundError:
            return OperationPlan(operation, blocked=await _describe_missing(connection, operation))
        except ApiError as error:
            if error.code == 403:
                return OperationPlan(operation, blocked=str(error))
            raise
    return OperationPlan(
        operation, blocked=f"{operation.target} is being changed by somebody else; try again."
    )


def _for_cluster(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """The plan with commands that name the cluster."""
    options = CommandOptions.of(connection.context_name, connection.options.kubeconfig)
    return replace(plan, command=options.add_to(plan.command), blocked=options.add_to(plan.blocked))


async def _make_plan(
    connection: Connection,
    operation: Operation,
    now: datetime | None,
    platform: PlatformSettings | None,
) -> OperationPlan:
    kind = operation.kind
    if isinstance(operation, Adoption):
        return await _plan_adoption(connection, operation, platform or PlatformSettings())
    if kind is OperationKind.DELETE:
        return await _plan_serving_deletion(connection, operation)
    target = await _get_target(connection, operation)
    if kind is OperationKind.DELETE_POD:
        return plan_pod_deletion(operation, target)
    if kind in (OperationKind.CORDON, OperationKind.UNCORDON):
        return plan_cordon(operation, target)
    if isinstance(operation, Release):
        return await _plan_release(connection, operation, target)
    autoscalers: list[JsonObject] = []
    unlisted: list[Resource] = []
    replicasets: list[JsonObject] | None = []
    scales = isinstance(operation, ObjectEdit) and operation.changes_replicas
    if kind in REPLICA_KINDS or scales:
        autoscalers, unlisted = await list_autoscalers(connection, operation.namespace)
    elif kind is OperationKind.ROLLBACK:
        replicasets = await list_replicasets(connection, target)
    elif kind is OperationKind.RESUME:
        try:
            replicasets = await list_replicasets(connection, target)
        except ApiError as error:
            if error.code != 403:
                raise
            replicasets = None
    if isinstance(operation, ObjectEdit):
        plan = plan_object_edit(operation, target, autoscalers)
    else:
        plan = plan_deployment_operation(
            operation,
            target,
            autoscalers=autoscalers,
            replicasets=replicasets,
            # After the first response, which shows the server's clock.
            now=now or datetime.now(UTC) + connection.clock.offset,
        )
    warnings = unknown_owner_texts(unlisted)
    return replace(plan, warnings=(*plan.warnings, *warnings)) if plan.is_possible else plan


async def _plan_serving_deletion(connection: Connection, operation: Operation) -> OperationPlan:
    live = await fetch_live_objects(connection, operation.namespace, operation.name)
    if not live.objects:
        raise _NotFoundError
    queue = AsyncQueueState(
        operation.namespace,
        operation.name,
        live,
        *await read_gateway_objects(connection, operation.namespace, operation.name),
    )
    gateway = async_gateway_name(operation.name) if queue.own else ""
    plan = plan_serving_deletion(operation, live.objects, gateway=gateway, pools=live.engines.pools)
    if not plan.is_possible:
        return plan
    plan = await with_async_queue_deletion(connection, plan, queue)
    if not plan.is_possible:
        return plan
    # Before the dry run, so that nothing is sent that is forbidden.
    access = await AccessChecker.load(connection, operation.namespace)
    for one in plan.deletions:
        resource = RESOURCES_BY_KIND[one.ref.kind].resource_name
        decision = access.cached_decision("delete", resource, one.ref.namespace, name=one.ref.name)
        if not decision:
            reason = f"{decision.reason[:1].lower()}{decision.reason[1:]}"
            return replace(plan, blocked=f"{one.target} cannot be deleted: {reason}")
    # Of these kinds, the object of the serving's own name is known if it may be read.
    warnings = [
        unlisted_text(one, "those of the serving under another name stay")
        for one in unlisted_names(live)
    ]
    return replace(plan, warnings=(*plan.warnings, *warnings))


async def _plan_adoption(
    connection: Connection, operation: Adoption, platform: PlatformSettings
) -> OperationPlan:
    live = await fetch_live_objects(connection, operation.namespace, operation.name)
    if not live.objects:
        raise _NotFoundError
    plan = plan_adoption(operation, live.objects, live.related, platform)
    for one in plan.creations:
        # The object of the serving's own name is known; a Service may need another one.
        if await _exists(connection, one):
            text = f"{one.target} exists already and does not lead to its Pods; rename one of them"
            return replace(plan, blocked=f"{text}, or adopt it without.")
    if not any(one.manifest.get("kind") == SERVICE.kind for one in plan.creations):
        return plan
    try:
        others = await connection.get_json(DEPLOYMENT.collection_path(operation.namespace))
    except ApiError as error:
        if error.code != 403:
            raise
        return plan
    return with_shared_service_warnings(plan, mappings(others.get("items")))


async def _plan_release(
    connection: Connection, operation: Release, target: JsonObject
) -> OperationPlan:
    current = {}
    for one in operation.created:
        path = ObjectRef.from_manifest(one).path
        try:
            current[path] = await connection.get_json(path)
        except ApiError as error:
            if error.code != 404:
                raise
    return plan_release(operation, target, current)


async def _exists(connection: Connection, creation: ObjectCreation) -> bool:
    """Whether the object is there; if it may not be read, creating it tells."""
    try:
        await connection.get_json(creation.path)
    except ApiError as error:
        if error.code in (403, 404):
            return False
        raise
    return True


async def _get_target(connection: Connection, operation: Operation) -> JsonObject:
    try:
        found = await connection.get_json(operation.path)
    except ApiError as error:
        if error.code == 404:
            raise _NotFoundError from error
        raise
    if found.get("kind") != operation.resource.kind:
        raise InvalidResponseError(
            f"The server answered with an object that is not a {operation.resource.kind}; is it a "
            "Kubernetes API?"
        )
    return found


async def _describe_missing(connection: Connection, operation: Operation) -> str:
    """Why there is nothing to operate on, one sentence."""
    if operation.resource is DEPLOYMENT:
        kind = await find_other_kind(connection, operation.namespace, operation.name)
        if kind:
            return (
                f"There is no Deployment {operation.name} in namespace {operation.namespace}; the "
                f"{kind} of that name is read-only here, use kubectl."
            )
    return f"{operation.target} does not exist."


async def _check_new_pods(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """The plan, blocked if its new Pods would be rejected, as an edit is."""
    if not (plan.is_possible and plan.starts_pods and plan.wanted is not None):
        return plan
    new_pods = max(desired_replicas(plan.wanted) - plan.replicas, 0)
    found = await check_pod_admission(connection, plan.wanted, new_pods=new_pods)
    if found.rejection is not None:
        return replace(plan, blocked=found.rejection.message)
    return replace(plan, warnings=(*plan.warnings, found.warning)) if found.warning else plan


async def _dry_run(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """The plan, blocked if the API server's dry run rejects it: permission, admission webhook.
    Raises OutdatedError."""
    try:
        plan = await dry_run_plan(connection, plan)
    except CreationRefusedError as error:
        assert isinstance(error.__cause__, ApiError)
        target, reason = error.creation.target, rejection_text(error.__cause__).rstrip(".")
        text = f"{target} cannot be created: {reason}. The Deployment can be adopted without it."
        return replace(plan, blocked=text)
    except ApiError as error:
        if error.code == 409:
            return plan  # its controllers write it too often; running it will tell
        if "does not support dry run" in error.message:
            text = f"Not checked by a dry run: {error.message.rstrip('.')}."
            return replace(plan, warnings=(*plan.warnings, text))
        return replace(plan, blocked=rejection_text(error))
    if isinstance(plan.operation, (Adoption, Release)):
        return with_dry_run(plan, plan.patch.dry_run if plan.patch is not None else None)
    return (
        describe_change(plan) if isinstance(plan.operation, ObjectEdit) else _with_admission(plan)
    )


def _with_admission(plan: OperationPlan) -> OperationPlan:
    """The plan with what admission changes in the patched object; blocked if it puts back all that
    the patch changes."""
    patch = plan.patch
    if patch is None or patch.dry_run is None:
        return plan
    sent, stored = (editable_part(one) for one in (patch.patched, patch.dry_run))
    target = plan.operation.target
    found = tuple(
        one_line(sanitize(describe_admission(target, one)))
        for one in admission_changes(sent, stored)
    )
    if found and stored == editable_part(patch.live):
        return replace(plan, blocked=" ".join((*found, "So nothing would change.")))
    return replace(plan, warnings=(*plan.warnings, *found))
