"""How an update changes a stored object, and when a deleted object can be removed."""

from __future__ import annotations

from servedeck.demo.resources import NAMESPACES, Resource
from servedeck.demo.store.objects import Json

SPEC_AND_STATUS = "*"
"""As `subresource`: a controller writes spec and status in one step, as a binding does."""


def generation_fields(obj: Json) -> Json:
    """The fields whose changes `metadata.generation` counts: all but metadata and status."""
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def merge_update(resource: Resource, old: Json, obj: Json, subresource: str) -> Json:
    """The object that results from writing `obj` to the subresource."""
    if subresource == "status":
        meta = dict(old["metadata"])
        if "managedFields" in obj["metadata"]:
            meta["managedFields"] = obj["metadata"]["managedFields"]
        return _with_status({**old, "metadata": meta}, obj)
    typed = {**obj, "apiVersion": resource.api_version, "kind": resource.kind}
    if subresource == SPEC_AND_STATUS or not resource.has_status:
        return typed
    return _with_status(typed, old)


def _with_status(obj: Json, source: Json) -> Json:
    rest = {key: value for key, value in obj.items() if key != "status"}
    return {**rest, "status": source["status"]} if "status" in source else rest


def can_be_removed(resource: Resource, obj: Json) -> bool:
    """Whether an object that is being deleted has no finalizer and no grace period left."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if resource is NAMESPACES:
        return not obj.get("spec", {}).get("finalizers")
    return not meta.get("deletionGracePeriodSeconds")


def grace_period(pod: Json, asked: int | None) -> int:
    """Seconds that a Pod has to stop. Source: kubernetes pkg/registry/core/pod/strategy.go,
    CheckGracefulDelete."""
    spec = pod.get("spec", {})
    seconds: int = spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked
    finished = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
    return 0 if finished or not spec.get("nodeName") else max(0, seconds)
