"""What deleting a serving or a Pod would do: what goes with it, and what stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from servedeck.changes.operations.deployment_plans import with_gitops_warning
from servedeck.changes.operations.kubectl import kubectl_command
from servedeck.changes.operations.operation import (
    ObjectDeletion,
    Operation,
    OperationPlan,
)
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.resources import OPENSHIFT_ROUTE, SERVICE
from servedeck.serving.conventions import FIELD_MANAGER, MANAGED_BY_LABEL, SERVING_LABEL
from servedeck.serving.objects.backends import route_backends
from servedeck.serving.objects.owners import find_controller
from servedeck.serving.objects.traffic_split import format_percentage, read_rules
from servedeck.serving.spec.mapping.inference_pools import (
    INFERENCE_POOL_KIND,
    http_route_backends,
    pool_key,
    pools_of,
    referenced_pool,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_mapping,
    as_str,
    mappings,
)
from servedeck.serving.status.revisions import count
from servedeck.serving.status.rollout_status import desired_replicas
from servedeck.serving.text import format_count, one_line, sanitize


def plan_serving_deletion(
    operation: Operation,
    objects: Sequence[JsonObject],
    *,
    gateway: str = "",
    pools: Iterable[Mapping[str, Any]] = (),
) -> OperationPlan:
    """Delete the Deployment, the first of `objects`, and those of its Services, routes,
    autoscalers and policies that servedeck made for it alone; all others stay, among them every
    Route of OpenShift, whatever its labels. `gateway` is the
    Service of its async gateway, if it has one, `pools` are the InferencePools of its namespace."""
    deployment, others = objects[0], objects[1:]
    plan = OperationPlan(operation, replicas=desired_replicas(deployment))
    if as_mapping(deployment, "metadata").get("deletionTimestamp"):
        return replace(plan, unchanged="It is being deleted already.")
    if (controller := find_controller(deployment)) is not None:
        return replace(plan, blocked=controller.revert_warning)
    owned, kept = [], []
    services = {operation.name} | {_name(one) for one in others if one.get("kind") == SERVICE.kind}
    services |= {gateway} if gateway else set()
    own_pools = pools_of(deployment, pools)
    for one in others:
        is_own = _is_of_serving(one, operation.name)
        if is_own and (elsewhere := _other_backends(one, deployment, services, own_pools)):
            text = f"{_describe(one)}, which also leads to {', '.join(elsewhere)}"
            kept.append(one_line(sanitize(text)))
        elif is_own:
            owned.append(one)
        else:
            kept.append(_describe(one))
    kept += [_describe(one) for one in own_pools]
    kept += [f"PersistentVolumeClaim {name}" for name in _claims(deployment)]
    # Routes and Services first, so that no request is sent to Pods that are gone.
    deletions = [*(_deletion(one) for one in reversed(owned)), _deletion(deployment)]
    status = as_mapping(deployment, "status")
    pods, ready = count(status.get("replicas")), count(status.get("readyReplicas"))
    its_pods = "its Pod" if pods == 1 else f"its {format_count(pods, 'Pod')}"
    effects = [
        f"The Deployment and {its_pods} ({ready:,} ready now)."
        if pods
        else "The Deployment, which has no Pods."
    ]
    if volumes := list(_ephemeral_volumes(deployment)):
        effects.append(
            "The PersistentVolumeClaims of its Pods' ephemeral volumes, with their data: "
            f"{', '.join(volumes)}."
        )
    effects += [f"{_describe(one)}, made by servedeck for this serving." for one in owned]
    plan = replace(
        plan,
        warnings=tuple(_share_warnings(others, owned, services)),
        deletions=tuple(deletions),
        effects=tuple(effects),
        kept=tuple(dict.fromkeys(kept)),
        command=kubectl_command(operation, [_kubectl_name(one) for one in owned]),
    )
    return with_gitops_warning(plan, deployment)


def _share_warnings(
    routes: Sequence[JsonObject], deleted: Sequence[JsonObject], services: set[str]
) -> Iterator[str]:
    """What becomes of the requests of rules that stay, and divide theirs with another serving."""
    for route in routes:
        if route in deleted:
            continue
        for rule in read_rules(route):
            share = rule.percentage(services)
            if 0 < share < 100:
                yield (
                    f"{rule.label} sends it {format_percentage(share)} of its requests, which fail "
                    "then: promote or abort that split first (servedeck traffic)."
                )


def _other_backends(
    route: JsonObject,
    serving: JsonObject,
    services: set[str],
    pools: Iterable[Mapping[str, Any]],
) -> list[str]:
    """The Services and InferencePools that a route leads to besides `services` and `pools`, those
    of the serving."""
    namespace = as_mapping(serving, "metadata").get("namespace")
    found = {
        one.service
        for one in route_backends(route)
        if one.namespace != namespace or one.service not in services
    }
    own = {pool_key(one) for one in pools}
    for backend in http_route_backends([route]):
        pool = referenced_pool(route, backend.ref)
        if pool is not None and pool not in own:
            found.add(f"{INFERENCE_POOL_KIND} {pool.name}")
    return sorted(found)


def plan_pod_deletion(operation: Operation, pod: JsonObject) -> OperationPlan:
    """Delete one Pod."""
    controller = find_controller(pod)
    effect = (
        f"{controller.name} replaces it with a new Pod."
        if controller is not None
        else "It has no controller: nothing creates it again."
    )
    if as_mapping(pod, "metadata").get("deletionTimestamp"):
        return OperationPlan(operation, unchanged="It is being deleted already.")
    return OperationPlan(
        operation,
        deletions=(_deletion(pod),),
        effects=("Its containers are stopped; requests that it serves may fail.", effect),
        command=kubectl_command(operation),
    )


def _deletion(obj: Mapping[str, Any]) -> ObjectDeletion:
    ref = ObjectRef.from_manifest(obj)
    return ObjectDeletion(ref, _describe(obj), as_str(as_mapping(obj, "metadata").get("uid")))


def _is_of_serving(obj: Mapping[str, Any], name: str) -> bool:
    if obj.get("kind") == OPENSHIFT_ROUTE.kind:  # servedeck makes none
        return False
    labels = as_mapping(obj, "metadata", "labels")
    return labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER and labels.get(SERVING_LABEL) == name


def _claims(deployment: Mapping[str, Any]) -> Iterator[str]:
    """Names of the PVCs that its Pods mount."""
    for volume in mappings(as_mapping(deployment, "spec", "template", "spec").get("volumes")):
        if name := as_mapping(volume, "persistentVolumeClaim").get("claimName"):
            yield one_line(sanitize(as_str(name)))


def _ephemeral_volumes(deployment: Mapping[str, Any]) -> Iterator[str]:
    """Names of the generic ephemeral volumes: their PVCs are deleted with the Pods (Kubernetes
    documentation, Ephemeral Volumes)."""
    for volume in mappings(as_mapping(deployment, "spec", "template", "spec").get("volumes")):
        if "ephemeral" in volume:
            yield one_line(sanitize(as_str(volume.get("name"))))


def _describe(obj: Mapping[str, Any]) -> str:
    return one_line(sanitize(f"{obj.get('kind')} {_name(obj)}"))


def _name(obj: Mapping[str, Any]) -> str:
    return as_str(as_mapping(obj, "metadata").get("name"))


def _kubectl_name(obj: Mapping[str, Any]) -> str:
    return f"{as_str(obj.get('kind')).lower()}/{_name(obj)}"
