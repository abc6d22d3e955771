"""The scale subresource: the replicas of a workload as autoscaling/v1 Scale."""

from __future__ import annotations

from typing import Any

from servedeck.demo.api.tables.workload_printers import format_label_selector

Json = dict[str, Any]


def scale_of(obj: Json) -> Json:
    """The Scale of a workload."""
    meta = obj["metadata"]
    spec, found = obj.get("spec") or {}, obj.get("status") or {}
    selector = spec.get("selector")
    if obj.get("kind") == "ReplicationController":
        selector = {"matchLabels": selector}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": {
            "replicas": found.get("replicas", 0),
            "selector": format_label_selector(selector),
        },
    }
