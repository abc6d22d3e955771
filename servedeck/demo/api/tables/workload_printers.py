"""The table cells of workloads, nodes and namespaces, and helpers of all printers. Source:
kubernetes pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from servedeck.serving.duration import format_duration

Json = dict[str, Any]
NONE = "<none>"
UNKNOWN = "<unknown>"


def lookup(obj: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def elapsed(text: str | None, now: datetime) -> str:
    """The time since an API timestamp, as kubectl prints it."""
    if not text:
        return UNKNOWN
    return format_duration((now - datetime.fromisoformat(text)).total_seconds())


def age(obj: Json, now: datetime) -> str:
    return elapsed(lookup(obj, "metadata.creationTimestamp"), now)


def _container_cells(obj: Json) -> list[str]:
    containers = lookup(obj, "spec.template.spec.containers") or []
    return [
        ",".join(str(c.get("name", "")) for c in containers),
        ",".join(str(c.get("image", "")) for c in containers),
    ]


def format_label_selector(selector: Json | None) -> str:
    """A LabelSelector as text, `app=x,tier in (a,b)`; "<none>" for an empty one."""
    if not selector:
        return NONE
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        values = ",".join(sorted(rule.get("values") or ()))
        parts.append(
            {
                "In": f"{rule['key']} in ({values})",
                "NotIn": f"{rule['key']} notin ({values})",
                "Exists": f"{rule['key']}",
                "DoesNotExist": f"!{rule['key']}",
            }.get(rule.get("operator", ""), "")
        )
    return ",".join(parts) or NONE


def format_labels(labels: Json | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def name_and_age(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), age(obj, now)]


def name_and_created(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), lookup(obj, "metadata.creationTimestamp")]


def readiness_gates(pod: Json) -> str:
    gates = lookup(pod, "spec.readinessGates") or []
    if not gates:
        return NONE
    status: dict[str, bool] = {}
    for condition in lookup(pod, "status.conditions") or ():
        status.setdefault(condition.get("type", ""), condition.get("status") == "True")
    return f"{sum(status.get(g.get('conditionType', ''), False) for g in gates)}/{len(gates)}"


def deployment(obj: Json, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    return [
        name(obj),
        f"{status.get('readyReplicas', 0)}/{lookup(obj, 'spec.replicas') or 0}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *_container_cells(obj),
        format_label_selector(lookup(obj, "spec.selector")),
    ]


def replicaset(obj: Json, now: datetime) -> list[Any]:
    status, selector = obj.get("status") or {}, lookup(obj, "spec.selector")
    if obj.get("kind") == "ReplicationController":
        selector = {"matchLabels": selector}
    return [
        name(obj),
        lookup(obj, "spec.replicas") or 0,
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *_container_cells(obj),
        format_label_selector(selector),
    ]


def node(obj: Json, now: datetime) -> list[Any]:
    ready: Json = next(
        (c for c in lookup(obj, "status.conditions") or () if c.get("type") == "Ready"), {}
    )
    state = {"True": "Ready", "False": "NotReady"}.get(ready.get("status", ""), "Unknown")
    if ready.get("status", "") not in ("True", "False", ""):
        state = "NotReady"
    if lookup(obj, "spec.unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    roles = ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix)))
    addresses = {a.get("type"): a.get("address", "") for a in lookup(obj, "status.addresses") or ()}
    info = lookup(obj, "status.nodeInfo") or {}
    return [
        name(obj),
        state,
        roles or NONE,
        age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def namespace(obj: Json, now: datetime) -> list[Any]:
    return [name(obj), lookup(obj, "status.phase") or "", age(obj, now)]
