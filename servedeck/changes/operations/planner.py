"""Planning an operation with what the cluster has now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.operations.deletion_plans import plan_pod_deletion, plan_serving_deletion
from servedeck.changes.operations.deployment_plans import REPLICA_KINDS, plan_deployment_operation
from servedeck.changes.operations.execution import send
from servedeck.changes.operations.node_plans import plan_cordon
from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
)
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.rejection import RejectionReason, rejection_from_api_error
from servedeck.cluster.resources import (
    HORIZONTAL_POD_AUTOSCALER,
    REPLICA_SET,
    SCALED_OBJECT,
    Resource,
)
from servedeck.serving.label_selector import format_label_selector
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, mappings

_AUTOSCALERS = (HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT)


async def plan_operation(
    connection: Connection, operation: Operation, now: datetime | None = None
) -> OperationPlan:
    """What the operation would do now, including the API server's dry run. `now` is the time that a
    restart writes into the Pod template. Raises ClusterError if it cannot be found out."""
    try:
        plan = await _make_plan(connection, operation, now or datetime.now(UTC))
    except ApiError as error:
        if error.code == 404:
            return OperationPlan(operation, blocked=f"{operation.target} does not exist.")
        if error.code == 403:
            return OperationPlan(operation, blocked=str(error))
        raise
    return await _dry_run(connection, plan) if plan.is_possible else plan


async def _make_plan(connection: Connection, operation: Operation, now: datetime) -> OperationPlan:
    kind = operation.kind
    if kind is OperationKind.DELETE:
        live = await fetch_live_objects(connection, operation.namespace, operation.name)
        if not live.objects:
            return OperationPlan(operation, blocked=f"{operation.target} does not exist.")
        autoscalers, unknown = await _list_autoscalers(connection, operation.namespace)
        unknown += sorted(f"{one}s may not be listed" for one in live.related.unlisted_kinds)
        plan = plan_serving_deletion(operation, live.objects, autoscalers)
        warnings = [f"{one}, so those of the serving are not deleted." for one in unknown]
        return replace(plan, warnings=(*plan.warnings, *warnings))
    target = await connection.get_json(operation.path)
    if kind is OperationKind.DELETE_POD:
        return plan_pod_deletion(operation, target)
    if kind in (OperationKind.CORDON, OperationKind.UNCORDON):
        return plan_cordon(operation, target)
    autoscalers, unknown, replicasets = [], [], []
    if kind in REPLICA_KINDS:
        autoscalers, unknown = await _list_autoscalers(connection, operation.namespace)
    elif kind is OperationKind.ROLLBACK:
        replicasets = await _list_replicasets(connection, target)
    plan = plan_deployment_operation(
        operation, target, autoscalers=autoscalers, replicasets=replicasets, now=now
    )
    warnings = [f"{one}, so it is not known whether one sets the replicas." for one in unknown]
    return replace(plan, warnings=(*plan.warnings, *warnings))


async def _list_replicasets(connection: Connection, deployment: JsonObject) -> list[JsonObject]:
    """The ReplicaSets that the Deployment selects."""
    namespace = as_mapping(deployment, "metadata").get("namespace")
    selector = format_label_selector(as_mapping(deployment, "spec").get("selector") or {})
    path = REPLICA_SET.collection_path(str(namespace))
    response = await connection.get_json(path, params=[("labelSelector", selector)])
    return mappings(response.get("items"))


async def _list_autoscalers(
    connection: Connection, namespace: str
) -> tuple[list[JsonObject], list[str]]:
    """The HorizontalPodAutoscalers and ScaledObjects of a namespace, and what may not be listed, as
    the beginning of a sentence."""
    listed = await asyncio.gather(
        *(_list_objects(connection, one, namespace) for one in _AUTOSCALERS)
    )
    found = [obj for objects in listed for obj in objects or ()]
    unknown = [
        f"{resource.kind}s may not be listed"
        for resource, objects in zip(_AUTOSCALERS, listed, strict=True)
        if objects is None
    ]
    return found, unknown


async def _list_objects(
    connection: Connection, resource: Resource, namespace: str
) -> Sequence[JsonObject] | None:
    """The objects of a kind; None if they may not be listed, [] if the cluster does not have the
    kind."""
    try:
        response = await connection.get_json(resource.collection_path(namespace))
    except ApiError as error:
        if error.code == 404:
            return []
        if error.code == 403:
            return None
        raise
    # The entries of a list have no kind.
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    return [{**kind, **one} for one in mappings(response.get("items"))]


async def _dry_run(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """The plan, blocked if the API server's dry run rejects it: permission, admission webhook."""
    try:
        await send(connection, plan, dry_run=True)
    except ApiError as error:
        rejection = rejection_from_api_error(error)
        if error.code == 409:
            return plan  # it has changed since; running it will tell
        if "does not support dry run" in error.message:
            return replace(plan, warnings=(*plan.warnings, f"Not checked before: {error.message}."))
        message = (
            str(error) if rejection.reason is RejectionReason.SERVER_ERROR else rejection.message
        )
        return replace(plan, blocked=message)
    return plan
