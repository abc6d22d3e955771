"""Planning an operation with what the cluster has now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from servedeck.changes.live_objects import fetch_live_objects, find_other_kind
from servedeck.changes.object_lists import list_autoscalers, list_replicasets
from servedeck.changes.operations.deletion_plans import plan_pod_deletion, plan_serving_deletion
from servedeck.changes.operations.deployment_plans import REPLICA_KINDS, plan_deployment_operation
from servedeck.changes.operations.execution import OutdatedError, dry_run_plan, rejection_text
from servedeck.changes.operations.kubectl import for_cluster
from servedeck.changes.operations.node_plans import plan_cordon
from servedeck.changes.operations.object_edit import ObjectEdit, plan_object_edit
from servedeck.changes.operations.operation import Operation, OperationKind, OperationPlan
from servedeck.changes.pod_admission import check_pod_admission
from servedeck.cluster.access import AccessChecker
from servedeck.cluster.auth.kubeconfig import IN_CLUSTER_NAME
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError
from servedeck.cluster.resources import DEPLOYMENT, RESOURCES_BY_KIND, Resource
from servedeck.serving.spec.mapping.json_values import JsonObject
from servedeck.serving.status.rollout_status import desired_replicas

_MAX_PLANS = 5
"""Plans that are made again because the object changed before the dry run."""


class _NotFoundError(Exception):
    """The object of the operation does not exist."""


async def plan_operation(
    connection: Connection, operation: Operation, now: datetime | None = None
) -> OperationPlan:
    """What the operation would do now, including the API server's dry run. `now` is the time that a
    restart writes into the Pod template; by default that of the API server. Raises ClusterError if
    it cannot be found out."""
    for _ in range(_MAX_PLANS):
        try:
            plan = _for_cluster(connection, await _make_plan(connection, operation, now))
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
    files = connection.options.kubeconfig
    is_in_cluster = connection.context_name == IN_CLUSTER_NAME
    context = "" if is_in_cluster else connection.context_name
    kubeconfig = str(files[0]) if files else ""
    return replace(
        plan,
        command=for_cluster(plan.command, context, kubeconfig),
        blocked=for_cluster(plan.blocked, context, kubeconfig),
    )


async def _make_plan(
    connection: Connection, operation: Operation, now: datetime | None
) -> OperationPlan:
    kind = operation.kind
    if kind is OperationKind.DELETE:
        return await _plan_serving_deletion(connection, operation)
    target = await _get_target(connection, operation)
    if kind is OperationKind.DELETE_POD:
        return plan_pod_deletion(operation, target)
    if kind in (OperationKind.CORDON, OperationKind.UNCORDON):
        return plan_cordon(operation, target)
    if isinstance(operation, ObjectEdit):
        return plan_object_edit(operation, target)
    autoscalers: list[JsonObject] = []
    unlisted: list[Resource] = []
    replicasets: list[JsonObject] | None = []
    if kind in REPLICA_KINDS:
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
    plan = plan_deployment_operation(
        operation,
        target,
        autoscalers=autoscalers,
        replicasets=replicasets,
        # After the first response, which shows the server's clock.
        now=now or datetime.now(UTC) + connection.clock.offset,
    )
    warnings = [
        f"Without permission to list {one.resource_name}, it is not known whether one sets the "
        "replicas."
        for one in unlisted
    ]
    return replace(plan, warnings=(*plan.warnings, *warnings)) if plan.is_possible else plan


async def _plan_serving_deletion(connection: Connection, operation: Operation) -> OperationPlan:
    live = await fetch_live_objects(connection, operation.namespace, operation.name)
    if not live.objects:
        raise _NotFoundError
    autoscalers, unlisted = await list_autoscalers(connection, operation.namespace)
    plan = plan_serving_deletion(operation, live.objects, autoscalers)
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
    names = sorted(RESOURCES_BY_KIND[one].resource_name for one in live.related.unlisted_kinds)
    warnings = [
        f"Without permission to list {one}, those of the serving under another name stay."
        for one in names
    ]
    warnings += [
        f"Without permission to list {one.resource_name}, those of the serving stay."
        for one in unlisted
    ]
    return replace(plan, warnings=(*plan.warnings, *warnings))


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
    needs_more = desired_replicas(plan.wanted) > plan.replicas
    found = await check_pod_admission(connection, plan.wanted, needs_more=needs_more)
    if found.rejection is not None:
        return replace(plan, blocked=found.rejection.message)
    return replace(plan, warnings=(*plan.warnings, found.waiting)) if found.waiting else plan


async def _dry_run(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """The plan, blocked if the API server's dry run rejects it: permission, admission webhook.
    Raises OutdatedError."""
    try:
        warnings = await dry_run_plan(connection, plan)
    except ApiError as error:
        if error.code == 409:
            return plan  # its controllers write it too often; running it will tell
        if "does not support dry run" in error.message:
            text = f"Not checked by a dry run: {error.message.rstrip('.')}."
            return replace(plan, warnings=(*plan.warnings, text))
        return replace(plan, blocked=rejection_text(error))
    return replace(plan, warnings=(*plan.warnings, *warnings))
