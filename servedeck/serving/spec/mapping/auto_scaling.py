"""Auto scaling: the ScaledObject of KEDA, or the HorizontalPodAutoscaler, of the Deployment.

Sources: KEDA 2.21 documentation, ScaledObject specification; Kubernetes, HorizontalPodAutoscaler
v2. `cooldownPeriod` is the delay before KEDA scales to 0, the HorizontalPodAutoscaler's window that
of all other steps: the Scale-in Delay is written to both. A response time is a `Value`: the
default, `AverageValue`, is divided by the replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from servedeck.serving.conventions import (
    ASYNC_SUFFIX,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    SERVING_LABEL,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_mapping,
    as_str,
    child_mapping,
    mappings,
)
from servedeck.serving.spec.mapping.reporters import find_reporter
from servedeck.serving.spec.mapping.scaling_queries import (
    build_activity_query,
    build_scaling_query,
)
from servedeck.serving.spec.mapping.serving_objects import FieldAccess, ServingObjects
from servedeck.serving.spec.scaling import (
    CUSTOM,
    HPA,
    OFF,
    RESPONSE_TIME,
    SCALING_FIELDS,
    TARGET_FIELDS,
    TRIGGERS,
    UNREACHED_TARGET,
    WAITING_REQUESTS,
)
from servedeck.serving.spec.templates.base import SpecLike

SCALED_OBJECT_KIND = "ScaledObject"
HPA_KIND = "HorizontalPodAutoscaler"

_BACKLOG_TRIGGER = "async-backlog"
_RECENT_TRIGGER = "async-recent"
_ACTIVITY_TRIGGER = "requests-in-flight"
_WAKING_TRIGGERS = (_ACTIVITY_TRIGGER, _BACKLOG_TRIGGER, _RECENT_TRIGGER)
"""Those that a serving has while its minimum is 0."""
_OWN_TRIGGERS = (*TRIGGERS, *_WAKING_TRIGGERS)
_UNREACHED = str(UNREACHED_TARGET)

_KEDA_DEFAULTS = {"minReplicaCount": 0, "maxReplicaCount": 100}
_DEFAULT_COOLDOWN = 300
_DEFAULT_WINDOW = 300
"""KEDA documentation; kubernetes pkg/controller/podautoscaler, downscale stabilization."""

_METRIC_TYPES = {RESPONSE_TIME: "Value", WAITING_REQUESTS: "AverageValue"}
_POLLING_SECONDS = 15


def find_scaler(objects: ServingObjects) -> JsonObject | None:
    """The autoscaler that counts: a ScaledObject before a HorizontalPodAutoscaler."""
    found = sorted(objects.scalers, key=lambda one: one.get("kind") != SCALED_OBJECT_KIND)
    return found[0] if found else None


def is_scaler(obj: Mapping[str, object]) -> bool:
    """Whether an object is an autoscaler."""
    return obj.get("kind") in (SCALED_OBJECT_KIND, HPA_KIND)


def trigger_name(scaled_object: object) -> str:
    """Which of our triggers a ScaledObject has; "" for none."""
    names = {as_str(one.get("name")) for one in _triggers(scaled_object)}
    return next((one for one in TRIGGERS if one in names), "")


def read_prometheus_url(objects: ServingObjects) -> str:
    """The address of Prometheus in our trigger; "" for none."""
    scaler = find_scaler(objects)
    own = (one for one in _triggers(scaler) if one.get("name") in TRIGGERS)
    return next((as_str(as_mapping(one, "metadata").get("serverAddress")) for one in own), "")


def has_other_triggers(objects: ServingObjects) -> bool:
    """Whether the ScaledObject has triggers of others, such as the HTTP add-on's
    (external-push)."""
    scaler = find_scaler(objects)
    return any(as_str(one.get("name")) not in _OWN_TRIGGERS for one in _triggers(scaler))


def can_wake(objects: ServingObjects) -> bool:
    """Whether something can start a serving of 0 replicas: the backlog of its async queue, or a
    trigger of others. Metrics of Pods cannot."""
    return objects.engines.has_async_gateway or has_other_triggers(objects)


def restored_replicas(objects: ServingObjects) -> int | None:
    """The replicas that KEDA puts back when the ScaledObject is deleted; None if it leaves them as
    they are, as it does by default (KEDA documentation, restoreToOriginalReplicaCount)."""
    scaler = find_scaler(objects) or {}
    advanced = as_mapping(scaler, "spec", "advanced")
    if advanced.get("restoreToOriginalReplicaCount") is not True:
        return None
    return as_int(as_mapping(scaler, "status").get("originalReplicaCount"))


# -- reading ----------------------------------------------------------------------------------


def _read_kind(objects: ServingObjects) -> str:
    scaler = find_scaler(objects)
    if scaler is None:
        return OFF
    if scaler.get("kind") != SCALED_OBJECT_KIND:
        return HPA
    name = trigger_name(scaler)
    return name if name and _read_target_of(scaler, name) is not None else CUSTOM


def _read_replicas(key: str, hpa_key: str) -> Callable[[ServingObjects], int | None]:
    def read(objects: ServingObjects) -> int | None:
        scaler = find_scaler(objects)
        if scaler is None:
            return None
        spec = as_mapping(scaler, "spec")
        if scaler.get("kind") != SCALED_OBJECT_KIND:
            found = as_int(spec.get(hpa_key))
            return 1 if found is None else found  # of minReplicas the default
        value = as_int(spec.get(key))
        return _KEDA_DEFAULTS[key] if value is None else value

    return read


def _read_delay(objects: ServingObjects) -> int | None:
    scaler = find_scaler(objects)
    if scaler is None:
        return None
    window = as_int(_scale_down(scaler).get("stabilizationWindowSeconds"))
    if window is not None:
        return window
    if scaler.get("kind") != SCALED_OBJECT_KIND:
        return _DEFAULT_WINDOW
    cooldown = as_int(as_mapping(scaler, "spec").get("cooldownPeriod"))
    return _DEFAULT_COOLDOWN if cooldown is None else cooldown


def _read_target(trigger: str) -> Callable[[ServingObjects], int | None]:
    def read(objects: ServingObjects) -> int | None:
        scaler = find_scaler(objects)
        is_it = scaler is not None and _read_kind(objects) == trigger
        return _read_target_of(scaler, trigger) if is_it else None

    return read


def _read_target_of(scaler: object, trigger: str) -> int | None:
    found = next((one for one in _triggers(scaler) if one.get("name") == trigger), None)
    text = as_str(as_mapping(found, "metadata").get("threshold"))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _triggers(scaler: object) -> list[Any]:
    return mappings(as_mapping(scaler, "spec").get("triggers"))


def _scale_down(scaler: object) -> Any:
    found = as_mapping(scaler, "spec")
    if as_mapping(scaler).get("kind") == SCALED_OBJECT_KIND:
        found = as_mapping(found, "advanced", "horizontalPodAutoscalerConfig")
    return as_mapping(found, "behavior", "scaleDown")


# -- writing ----------------------------------------------------------------------------------


def _write(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    """Write all fields of the scaler, those that differ: the others stay as they are."""
    kind = wanted.auto_scaling
    scaler = find_scaler(objects)
    if kind == OFF:
        objects.scalers.clear()
        return
    start_replicas(objects, current, wanted)
    if kind in (HPA, CUSTOM):
        if scaler is not None:
            _write_limits(scaler, current, wanted)
        return
    if scaler is None or scaler.get("kind") != SCALED_OBJECT_KIND:
        # KEDA rejects a ScaledObject of a Deployment that a HorizontalPodAutoscaler scales.
        objects.scalers[:] = [scaler := _new_scaled_object(wanted)]
        current = None
    _write_limits(scaler, current, wanted)
    # Else the query may be one that somebody has adapted.
    is_new_query = (
        current is None
        or current.auto_scaling != kind
        or (current.min_replicas == 0) != (wanted.min_replicas == 0)
    )
    _write_triggers(objects, scaler, current, wanted, is_new_query=is_new_query)


def refresh_triggers(objects: ServingObjects, wanted: SpecLike) -> None:
    """Write the queries again, for another template."""
    scaler = find_scaler(objects)
    if scaler is not None and trigger_name(scaler) == wanted.auto_scaling:
        _write_triggers(objects, scaler, wanted, wanted, is_new_query=True)


def _new_scaled_object(wanted: SpecLike) -> JsonObject:
    metadata: JsonObject = {"name": wanted.name}
    if wanted.namespace:
        metadata["namespace"] = wanted.namespace
    metadata["labels"] = {SERVING_LABEL: wanted.name, MANAGED_BY_LABEL: FIELD_MANAGER}
    # Else KEDA scales it to 0 at its first look, if it has no requests then: the cooldown period
    # counts from the last activity that it saw (keda pkg/scaling/executor/scale_scaledobjects.go).
    delay = wanted.scale_in_delay
    initial = {"initialCooldownPeriod": delay} if wanted.min_replicas == 0 else {}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": SCALED_OBJECT_KIND,
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"name": wanted.name},
            "pollingInterval": _POLLING_SECONDS,
            **initial,
            "advanced": {
                # What it was before, when auto scaling is turned off.
                "restoreToOriginalReplicaCount": True,
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleDown": {
                            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]
                        },
                        # A model loads for minutes: doubling at once would overshoot.
                        "scaleUp": {
                            "stabilizationWindowSeconds": 0,
                            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
                        },
                    }
                },
            },
        },
    }


def _write_limits(scaler: JsonObject, current: SpecLike | None, wanted: SpecLike) -> None:
    spec = child_mapping(scaler, "spec")
    is_keda = scaler.get("kind") == SCALED_OBJECT_KIND
    keys = ("minReplicaCount", "maxReplicaCount") if is_keda else ("minReplicas", "maxReplicas")
    for key, name in zip(keys, ("min_replicas", "max_replicas"), strict=True):
        if current is None or getattr(current, name) != getattr(wanted, name):
            spec[key] = getattr(wanted, name)
    if current is not None and current.scale_in_delay == wanted.scale_in_delay:
        return
    parent = spec
    if is_keda:
        spec["cooldownPeriod"] = wanted.scale_in_delay
        parent = child_mapping(child_mapping(spec, "advanced"), "horizontalPodAutoscalerConfig")
    down = child_mapping(child_mapping(parent, "behavior"), "scaleDown")
    down["stabilizationWindowSeconds"] = wanted.scale_in_delay


def _write_triggers(
    objects: ServingObjects,
    scaler: JsonObject,
    current: SpecLike | None,
    wanted: SpecLike,
    *,
    is_new_query: bool,
) -> None:
    """Ours first; those of others stay, also one that has the name of another kind of ours."""
    spec = child_mapping(scaler, "spec")
    before = {as_str(one.get("name")): one for one in _triggers(scaler)}
    replaced = current.auto_scaling if current is not None else ""
    dropped = (wanted.auto_scaling, replaced, *_WAKING_TRIGGERS)
    others = [one for one in _triggers(scaler) if as_str(one.get("name")) not in dropped]
    # Of the trigger that it replaces, the address and what authenticates.
    base = before.get(wanted.auto_scaling) or before.get(replaced) or {}
    spec["triggers"] = [*_own_triggers(objects, wanted, base, before, is_new_query), *others]


def start_replicas(objects: ServingObjects, current: SpecLike | None, wanted: SpecLike) -> None:
    """Give a serving of 0 replicas its minimum: without Pods there are no metrics, KEDA fails, and
    a HorizontalPodAutoscaler leaves it at 0."""
    spec = child_mapping(objects.deployment, "spec")
    was_zero = current is not None and (current.auto_scaling == OFF or current.min_replicas == 0)
    if was_zero and wanted.min_replicas and spec.get("replicas") == 0:
        spec["replicas"] = wanted.min_replicas


def _own_triggers(
    objects: ServingObjects,
    wanted: SpecLike,
    base: Mapping[str, Any],
    before: Mapping[str, Any],
    is_new_query: bool,
) -> Iterator[JsonObject]:
    kind, is_woken = wanted.auto_scaling, wanted.min_replicas == 0
    target = getattr(wanted, TARGET_FIELDS[kind][0])
    old = as_mapping(base, "metadata")
    is_kept = base.get("name") == kind
    server = as_str(old.get("serverAddress")) or objects.engines.prometheus_url
    query = as_str(old.get("query")) if is_kept else ""
    if is_new_query or not query:
        query = build_scaling_query(
            kind,
            wanted.template,
            wanted.namespace,
            wanted.name,
            find_reporter(objects, wanted.name),
            is_woken=is_woken,
        )
    metadata = {**old, "serverAddress": server, "query": query, "threshold": str(target)}
    if not is_kept:
        metadata["ignoreNullValues"] = "false"
    trigger = {**base, "type": "prometheus", "name": kind, "metadata": metadata}
    yield trigger if is_kept else {**trigger, "metricType": _METRIC_TYPES[kind]}
    activity = build_activity_query(wanted.template, wanted.namespace, wanted.name)
    if is_woken and activity:
        # Those that are processed keep a replica: no other trigger counts them, and KEDA would stop
        # the serving under them.
        metadata = {
            **metadata,
            "query": activity,
            "threshold": _UNREACHED,
            "activationThreshold": "0",
        }
        yield {**trigger, "name": _ACTIVITY_TRIGGER, "metadata": metadata}
    if is_woken and objects.engines.has_async_gateway:
        url = f"http://{wanted.name}{ASYNC_SUFFIX}.{wanted.namespace}/-/async/queue"
        # The second keeps a replica while tasks come now and then, which end between two polls.
        for name, location, limit in (
            (_BACKLOG_TRIGGER, "backlog", "4"),
            (_RECENT_TRIGGER, "recent", _UNREACHED),
        ):
            asked = {
                "url": url,
                "valueLocation": location,
                "targetValue": limit,
                "activationTargetValue": "0",
            }
            asked |= as_mapping(before.get(name), "metadata")
            yield {"type": "metrics-api", "name": name, "metadata": asked}


AUTO_SCALING = {
    "auto_scaling": FieldAccess(_read_kind, _write),
    "min_replicas": FieldAccess(_read_replicas("minReplicaCount", "minReplicas"), _write),
    "max_replicas": FieldAccess(_read_replicas("maxReplicaCount", "maxReplicas"), _write),
    "scale_in_delay": FieldAccess(_read_delay, _write),
    **{name: FieldAccess(_read_target(one), _write) for one, (name, _) in TARGET_FIELDS.items()},
}
"""By field."""
assert tuple(AUTO_SCALING) == SCALING_FIELDS
