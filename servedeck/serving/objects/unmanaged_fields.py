"""Fields of objects that servedeck would not write, found by comparing them field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servedeck.serving.quantity import parse_quantity

_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class UnmanagedField:
    object: str
    """"Deployment llama"."""
    path: str
    """"spec.template.spec.containers[inference-server].securityContext.runAsUser"."""
    value: Any
    """The value in the object, as decoded JSON; sanitize before showing it."""
    desired: Any = None
    """The value that servedeck would write; None if it would not write the field."""

    @property
    def preserved(self) -> bool:
        """True if saving the serving does not change the field."""
        return self.desired is None


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
        for path, value, own in _diff_values(one, ours, ""):
            yield UnmanagedField(label, path, value, None if own is _MISSING else own)


def _diff_values(actual: Any, desired: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(actual, Mapping) and isinstance(desired, Mapping):
        for key, value in actual.items():
            here = f"{path}.{key}" if path else str(key)
            if key in desired:
                yield from _diff_values(value, desired[key], here)
            elif not _is_set_by_server(here, str(key), value):
                yield here, value, _MISSING
    elif (
        isinstance(actual, list)
        and isinstance(desired, list)
        and _has_list_map_key(actual, desired)
    ):
        key = _list_map_key(actual + desired)
        by_key = {one[key]: one for one in desired}
        for one in actual:
            here = f"{path}[{one[key]}]"
            if one[key] in by_key:
                yield from _diff_values(one, by_key[one[key]], here)
            else:
                yield here, one, _MISSING
    elif not _values_equal(actual, desired, path):
        yield path, actual, desired


# Lists whose entries are identified by a key, as in the API's listMapKeys.
_LIST_MAP_KEYS = ("mountPath", "name", "containerPort", "port")


def _list_map_key(entries: list[Any]) -> str:
    for key in _LIST_MAP_KEYS:
        if all(
            isinstance(one, Mapping) and isinstance(one.get(key), (str, int)) for one in entries
        ):
            return key
    return ""


def _has_list_map_key(actual: list[Any], desired: list[Any]) -> bool:
    key = _list_map_key(actual + desired)
    return bool(key) and len({one[key] for one in actual}) == len(actual)


def _values_equal(actual: Any, desired: Any, path: str) -> bool:
    if isinstance(actual, list) and isinstance(desired, list) and len(actual) == len(desired):
        return all(
            not list(_diff_values(one, other, path))
            for one, other in zip(actual, desired, strict=True)
        )
    if actual == desired and isinstance(actual, bool) == isinstance(desired, bool):
        return True
    if ".resources." in path or path.endswith(".sizeLimit"):
        try:
            return parse_quantity(str(actual)) == parse_quantity(str(desired))
        except ValueError:
            return False
    return False


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
