"""Fields of objects that a new serving would lack or have differently, since the spec does not
express them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servedeck.serving.objects.diff import (
    LIST_KEYS,
    MISSING,
    find_differences,
    format_path,
    same_quantity,
)


@dataclass(frozen=True, slots=True)
class UnmanagedField:
    object: str
    """"Deployment llama"."""
    path: str
    """"spec.template.spec.containers[inference-server].securityContext.runAsUser"."""
    value: Any
    """The value in the object, as decoded JSON; sanitize before showing it."""
    built: Any = None
    """The value in a new serving; None if it lacks the field."""


def find_unmanaged_fields(
    objects: Iterable[Mapping[str, Any]], built: Sequence[Mapping[str, Any]]
) -> Iterator[UnmanagedField]:
    """Unmanaged fields of `objects`, compared with the objects built for the same serving. Objects
    without a counterpart are listed whole; fields that the API server sets are not listed."""
    counterparts = {one["kind"]: one for one in built}
    for one in objects:
        kind, metadata = one.get("kind"), one.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else ""
        label = f"{kind} {name}" if isinstance(kind, str) else "object without a kind"
        ours = counterparts.pop(kind, None) if isinstance(kind, str) else None
        if ours is None:
            yield UnmanagedField(label, "", one)
            continue
        for path, value, own in _compare(one, ours):
            yield UnmanagedField(label, path, value, None if own is MISSING else own)


def _compare(actual: Mapping[str, Any], built: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Path and value of each field of `actual` that `built` lacks (MISSING) or has differently."""
    for path, value, other in find_differences(actual, built):
        text, key = format_path(path), str(path[-1]) if path else ""
        is_order = isinstance(value, list) and path and path[-1] in LIST_KEYS
        if value is MISSING or is_order:
            continue
        if other is MISSING and isinstance(path[-1], str) and _is_set_by_server(text, key, value):
            continue
        is_amount = ".resources." in text or key == "sizeLimit"
        if other is MISSING or not (is_amount and same_quantity(value, other)):
            yield text, value, other


_SERVER_METADATA = {
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "namespace",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
}
_SERVER_ANNOTATIONS = {
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubectl.kubernetes.io/restartedAt",
}
_SERVER_SERVICE_FIELDS = {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}

# Defaults that the API server writes into every object (kubernetes pkg/apis/{core,apps}/v1/
# defaults.go, gateway-api apis/v1): listing them is noise.
_SERVER_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "progressDeadlineSeconds": (600,),
    "revisionHistoryLimit": (10,),
    "strategy": (
        {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        {"type": "RollingUpdate"},
    ),
    "creationTimestamp": (None,),
    "restartPolicy": ("Always",),
    "terminationGracePeriodSeconds": (30,),
    "dnsPolicy": ("ClusterFirst",),
    "securityContext": ({},),
    "schedulerName": ("default-scheduler",),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "imagePullPolicy": ("IfNotPresent", "Always"),
    "resources": ({},),
    "successThreshold": (1,),
    "failureThreshold": (3,),
    "periodSeconds": (10,),
    "timeoutSeconds": (1,),
    "scheme": ("HTTP",),
    "protocol": ("TCP",),
    "readOnly": (False,),
    "type": ("ClusterIP",),
    "sessionAffinity": ("None",),
    "internalTrafficPolicy": ("Cluster",),
    "group": ("gateway.networking.k8s.io", ""),
    "kind": ("Gateway", "Service"),
    "weight": (1,),
    "annotations": ({},),
}


def _is_set_by_server(path: str, key: str, value: Any) -> bool:
    if path in ("status", "apiVersion"):
        return True
    if path.startswith("metadata.") and path.count(".") == 1:
        if key == "annotations" and isinstance(value, Mapping):
            return all(name in _SERVER_ANNOTATIONS for name in value)
        return key in _SERVER_METADATA
    if key in _SERVER_ANNOTATIONS or path in {f"spec.{name}" for name in _SERVER_SERVICE_FIELDS}:
        return True
    if path.endswith("template.metadata.annotations") and isinstance(value, Mapping):
        return all(name in _SERVER_ANNOTATIONS for name in value)
    return any(value == default for default in _SERVER_DEFAULTS.get(key, ()))
