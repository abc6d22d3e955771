"""What adopting a Deployment would do now, and what taking that back would."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from servedeck.changes.operations.adoption import Adoption, Release
from servedeck.changes.operations.kubectl import adoption_command, release_command
from servedeck.changes.operations.operation import (
    ObjectCreation,
    ObjectDeletion,
    OperationKind,
    OperationPlan,
)
from servedeck.changes.operations.patched_plan import patched
from servedeck.cluster.apply import ObjectRef
from servedeck.serving.conventions import (
    ASYNC_LABEL,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SERVING_LABEL,
)
from servedeck.serving.edit.restart_forecast import restarts_pods
from servedeck.serving.label_selector import selects_labels
from servedeck.serving.objects.adoption import AdoptionParts, adopted_name, find_adoption_parts
from servedeck.serving.objects.diff import find_differences
from servedeck.serving.objects.field_changes import format_differences
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.object_document import editable_part
from servedeck.serving.objects.owners import find_controller, find_gitops_owner
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.names import MAX_LABEL_LENGTH
from servedeck.serving.status.rollout_status import desired_replicas
from servedeck.serving.text import format_count, one_line, sanitize


def plan_adoption(
    operation: Adoption,
    objects: Sequence[JsonObject],
    related: RelatedObjects,
    platform: PlatformSettings,
) -> OperationPlan:
    """Adopt the Deployment, the first of `objects`, which are those that belong to it. The restart
    is that of the objects as they would be; `with_dry_run` has what the API server makes of them.
    """
    deployment = objects[0]
    plan = OperationPlan(operation, replicas=desired_replicas(deployment))
    if blocked := _adoption_blocks(operation, deployment):
        return replace(plan, blocked=blocked)
    label = adopted_name(deployment)
    manager = as_mapping(deployment, "metadata", "labels").get(MANAGED_BY_LABEL)
    if label and manager == FIELD_MANAGER:
        return replace(plan, unchanged=_ALREADY_ADOPTED)
    parts = find_adoption_parts(
        objects,
        related,
        platform,
        wants_service=operation.service,
        wants_route=operation.route,
    )
    if parts.route_problem:
        return replace(plan, blocked=one_line(sanitize(parts.route_problem)))
    created = [one for one in (parts.service, parts.route) if one is not None]
    if label and not created:
        return replace(plan, unchanged=_ALREADY_ADOPTED)
    effects = list(_adoption_effects(operation, parts))
    if not label:
        wanted = copy.deepcopy(deployment)
        metadata = wanted["metadata"]
        metadata["labels"] = {**as_mapping(metadata, "labels"), SERVING_LABEL: operation.name}
        plan = patched(plan, deployment, wanted)
        effects.insert(0, "servedeck lists it from then on, whatever server it runs.")
    plan = replace(
        plan,
        creations=tuple(_creation(one) for one in created),
        effects=tuple(one_line(sanitize(one)) for one in effects),
        warnings=(
            *(one_line(sanitize(one)) for one in parts.service_problems),
            *_label_warnings(deployment, plan),
        ),
        command=adoption_command(operation, created, adds_label=not label),
        undo=Release(
            OperationKind.RELEASE,
            operation.namespace,
            operation.name,
            label="" if label else operation.name,
        ),
    )
    return with_dry_run(plan, plan.wanted)


_ALREADY_ADOPTED = "It is a serving of servedeck already; there is nothing to adopt."


def _adoption_blocks(operation: Adoption, deployment: JsonObject) -> str:
    """Why it cannot be adopted, in a sentence; "" if it can."""
    metadata = as_mapping(deployment, "metadata")
    if metadata.get("deletionTimestamp"):
        return "It is being deleted."
    if serving := as_mapping(metadata, "labels").get(ASYNC_LABEL):
        return f"It is the async gateway of serving {one_line(sanitize(as_str(serving)))}."
    if (controller := find_controller(deployment)) is not None:
        return controller.revert_warning
    if len(operation.name) > MAX_LABEL_LENGTH and not adopted_name(deployment):
        return (
            f"Its name has {len(operation.name)} characters, and the value of a label has at most "
            f"{MAX_LABEL_LENGTH}; add the label {SERVING_LABEL} with a shorter value yourself."
        )
    return ""


def _adoption_effects(operation: Adoption, parts: AdoptionParts) -> Iterable[str]:
    """What happens with its Service and its route, in sentences."""
    if parts.service is not None:
        name, port = _name(parts.service), parts.port
        where = f"port {port.number} of its Pods" if port is not None else "its Pods"
        yield f"Service {name} is created, since none leads to {where}."
    elif parts.service_names:
        names, s = ", ".join(parts.service_names), "s" if len(parts.service_names) == 1 else ""
        yield f"Service {names} lead{s} to its Pods already."
    elif not operation.service:
        yield "No Service is created, and none leads to its Pods."
    if parts.route is not None:
        url = f"/{operation.namespace}/{operation.name}"
        kind, host = parts.route["kind"], _host(parts.route)
        yield f"{kind} {_name(parts.route)} is created: {host}{url} leads to it."
    elif parts.route_names:
        names, s = ", ".join(parts.route_names), "s" if len(parts.route_names) == 1 else ""
        yield f"{names} lead{s} to it already."
    elif not operation.route:
        yield "No route is created: it is not opened to the outside."


def _host(route: JsonObject) -> str:
    """The host of a route that servedeck built."""
    spec = as_mapping(route, "spec")
    [host] = spec.get("hostnames") or spec.get("hosts") or [spec["rules"][0]["host"]]
    return as_str(host)


def _label_warnings(deployment: JsonObject, plan: OperationPlan) -> tuple[str, ...]:
    owner = find_gitops_owner(deployment)
    return (owner.label_warning,) if owner is not None and plan.patch is not None else ()


def _creation(manifest: JsonObject) -> ObjectCreation:
    ref = ObjectRef.from_manifest(manifest)
    return ObjectCreation(ref.path, _describe(manifest), manifest)


def with_shared_service_warnings(
    plan: OperationPlan, deployments: Iterable[JsonObject]
) -> OperationPlan:
    """The plan with a warning for each other Deployment of the namespace whose Pods the Service
    that it creates would select, too."""
    warnings = [
        one_line(
            sanitize(
                f"Service {_name(creation.manifest)} also selects the Pods of Deployment "
                f"{_name(one)}, which have the selected labels, too: requests go to both."
            )
        )
        for creation in plan.creations
        if (selector := as_mapping(creation.manifest, "spec", "selector"))
        for one in deployments
        if _name(one) != plan.operation.name
        and desired_replicas(one)
        and selects_labels(selector, as_mapping(one, "spec", "template", "metadata", "labels"))
    ]
    return replace(plan, warnings=(*plan.warnings, *warnings))


# -- taking it back -------------------------------------------------------------------------------


def plan_release(
    operation: Release, deployment: JsonObject, current: Mapping[str, JsonObject | None]
) -> OperationPlan:
    """Take an adoption back. `current` has what it created as that is now, by path; None for what
    was deleted since."""
    plan = OperationPlan(operation, replicas=desired_replicas(deployment))
    if as_mapping(deployment, "metadata").get("deletionTimestamp"):
        return replace(plan, blocked="It is being deleted.")
    label = adopted_name(deployment)
    if operation.label and label and label != operation.label:
        text = f"Its label {SERVING_LABEL} has changed since; it is not put back."
        return replace(plan, blocked=text)
    deletions, effects, kept = [], [], []
    # The route first, so that it never leads to a Service that is gone.
    for one in reversed(operation.created):
        now = current.get(ObjectRef.from_manifest(one).path)
        if now is None:
            continue
        if _identity(now) != _identity(one) or editable_part(now) != editable_part(one):
            kept.append(f"{_describe(one)}, which has changed since")
            continue
        deletions.append(
            ObjectDeletion(ObjectRef.from_manifest(one), _describe(one), _identity(one), live=now)
        )
        effects.append(f"{_describe(one)} is deleted, as the adoption created it.")
    removes_label = bool(operation.label and label)
    if not removes_label and not deletions:
        return replace(plan, unchanged="Nothing of the adoption is left to be taken back.")
    if removes_label:
        wanted = copy.deepcopy(deployment)
        del wanted["metadata"]["labels"][SERVING_LABEL]
        plan = patched(plan, deployment, wanted)
        effects.insert(0, "servedeck lists it only if it recognizes its inference server.")
    deleted = [one.live for one in deletions if one.live is not None]
    plan = replace(
        plan,
        deletions=tuple(deletions),
        effects=tuple(effects),
        kept=tuple(kept),
        command=release_command(operation, deleted, removes_label=removes_label),
    )
    return with_dry_run(plan, plan.wanted)


def with_dry_run(plan: OperationPlan, answer: JsonObject | None) -> OperationPlan:
    """The plan with what changes in the Deployment: `answer` is the Deployment as the API server,
    with its admission webhooks, would store it; None if it is not written."""
    live = plan.patch.live if plan.patch is not None else None
    if live is None or answer is None:
        return _with_restart_effect(plan, _NO_RESTART)
    differences = find_differences(editable_part(live), editable_part(answer))
    plan = replace(plan, differences=tuple(format_differences(differences)))
    if not restarts_pods(live, answer):
        return _with_restart_effect(plan, _NO_RESTART)
    s = "s" if plan.replicas == 1 else ""
    pods = f"{format_count(plan.replicas, 'Pod')} restart{s}"
    return _with_restart_effect(
        plan, f"{pods}: an admission webhook changes the Pod template with this write."
    )


_NO_RESTART = "Restarts no Pods."


def _with_restart_effect(plan: OperationPlan, sentence: str) -> OperationPlan:
    """The sentence is the last effect, in place of the one for what was sent."""
    kept = plan.effects[:-1] if plan.effects[-1:] == (_NO_RESTART,) else plan.effects
    return replace(plan, effects=(*kept, sentence))


def _identity(obj: Mapping[str, Any]) -> str:
    return as_str(as_mapping(obj, "metadata").get("uid"))


def _name(obj: Mapping[str, Any]) -> str:
    return as_str(as_mapping(obj, "metadata").get("name"))


def _describe(obj: Mapping[str, Any]) -> str:
    namespace = as_str(as_mapping(obj, "metadata").get("namespace"))
    return one_line(sanitize(f"{obj.get('kind')} {namespace}/{_name(obj)}"))
