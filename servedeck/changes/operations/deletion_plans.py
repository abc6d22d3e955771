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
from servedeck.serving.conventions import FIELD_MANAGER, MANAGED_BY_LABEL, SERVING_LABEL
from servedeck.serving.objects.owners import find_controller, find_replicas_owner
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
    operation: Operation, objects: Sequence[JsonObject], autoscalers: Sequence[JsonObject]
) -> OperationPlan:
    """Delete the Deployment, the first of `objects`, and those of its Services, routes and
    autoscalers that servedeck made for it; all others stay."""
    deployment, others = objects[0], objects[1:]
    plan = OperationPlan(operation, replicas=desired_replicas(deployment))
    if (controller := find_controller(deployment)) is not None:
        return replace(plan, blocked=controller.revert_warning)
    related = [*others, *(one for one in autoscalers if find_replicas_owner(deployment, [one]))]
    owned = [one for one in related if _is_of_serving(one, operation.name)]
    kept = [_describe(one) for one in related if one not in owned]
    kept += [f"PersistentVolumeClaim {name}" for name in _claims(deployment)]
    # Routes and Services first, so that no request is sent to Pods that are gone.
    deletions = [*(_deletion(one) for one in reversed(owned)), _deletion(deployment)]
    ready = count(as_mapping(deployment, "status").get("readyReplicas"))
    effects = [f"The Deployment and its {format_count(plan.replicas, 'Pod')} ({ready} ready now)."]
    effects += [f"{_describe(one)}, made by servedeck for this serving." for one in owned]
    plan = replace(
        plan,
        deletions=tuple(deletions),
        effects=tuple(effects),
        kept=tuple(dict.fromkeys(kept)),
        command=kubectl_command(operation, [_kubectl_name(one) for one in owned]),
    )
    return with_gitops_warning(plan, deployment)


def plan_pod_deletion(operation: Operation, pod: JsonObject) -> OperationPlan:
    """Delete one Pod."""
    controller = find_controller(pod)
    effect = (
        f"{controller.name} replaces it with a new Pod."
        if controller is not None
        else "It has no controller: nothing creates it again."
    )
    plan = OperationPlan(
        operation,
        deletions=(_deletion(pod),),
        effects=("Its containers are stopped; requests that it serves may fail.", effect),
        command=kubectl_command(operation),
    )
    if as_mapping(pod, "metadata").get("deletionTimestamp"):
        return replace(plan, unchanged="It is being deleted already.", deletions=())
    return plan


def _deletion(obj: Mapping[str, Any]) -> ObjectDeletion:
    ref = ObjectRef.from_manifest(obj)
    return ObjectDeletion(ref.path, _describe(obj), as_str(as_mapping(obj, "metadata").get("uid")))


def _is_of_serving(obj: Mapping[str, Any], name: str) -> bool:
    labels = as_mapping(obj, "metadata", "labels")
    return labels.get(MANAGED_BY_LABEL) == FIELD_MANAGER and labels.get(SERVING_LABEL) == name


def _claims(deployment: Mapping[str, Any]) -> Iterator[str]:
    """Names of the PVCs that its Pods mount."""
    volumes: Iterable[Any] = mappings(
        as_mapping(deployment, "spec", "template", "spec").get("volumes")
    )
    for volume in volumes:
        if name := as_mapping(volume, "persistentVolumeClaim").get("claimName"):
            yield one_line(sanitize(as_str(name)))


def _describe(obj: Mapping[str, Any]) -> str:
    return one_line(sanitize(f"{obj.get('kind')} {as_mapping(obj, 'metadata').get('name')}"))


def _kubectl_name(obj: Mapping[str, Any]) -> str:
    return f"{as_str(obj.get('kind')).lower()}/{as_str(as_mapping(obj, 'metadata').get('name'))}"
