"""What objects say beyond what servedeck would write: found by comparing them field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servedeck.serving.units import quantity

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Leftover:
    object: str
    """"Deployment llama"."""
    path: str
    """"spec.template.spec.containers[inference-server].securityContext.runAsUser"."""
    value: Any
    """What the object says, as decoded JSON; sanitise before showing it."""
    ours: Any = None
    """What servedeck would write there; None where it would leave the field alone."""

    @property
    def kept(self) -> bool:
        """True where saving the serving leaves the field as it is."""
        return self.ours is None


def compare(
    objects: Iterable[Mapping[str, Any]], built: Sequence[Mapping[str, Any]]
) -> Iterator[Leftover]:
    """Leftovers of `objects` against what was built for the same serving. Objects without a
    counterpart are left over as a whole; what the API server writes by itself is not."""
    counterparts = {one["kind"]: one for one in built}
    for one in objects:
        kind, metadata = one.get("kind"), one.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else ""
        label = f"{kind} {name}" if isinstance(kind, str) else "object without a kind"
        ours = counterparts.pop(kind, None) if isinstance(kind, str) else None
        if ours is None:
            yield Leftover(label, "", one)
            continue
        for path, value, own in _differences(one, ours, ""):
            yield Leftover(label, path, value, None if own is _ABSENT else own)


def _differences(theirs: Any, ours: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key, value in theirs.items():
            here = f"{path}.{key}" if path else str(key)
            if key in ours:
                yield from _differences(value, ours[key], here)
            elif not _is_servers_own(here, str(key), value):
                yield here, value, _ABSENT
    elif isinstance(theirs, list) and isinstance(ours, list) and _keyed(theirs, ours):
        key = _key(theirs + ours)
        by_key = {one[key]: one for one in ours}
        for one in theirs:
            here = f"{path}[{one[key]}]"
            if one[key] in by_key:
                yield from _differences(one, by_key[one[key]], here)
            else:
                yield here, one, _ABSENT
    elif not _same(theirs, ours, path):
        yield path, theirs, ours


# Lists whose entries have a name of their own, as in the API's listMapKeys.
_KEYS = ("mountPath", "name", "containerPort", "port")


def _key(entries: list[Any]) -> str:
    for key in _KEYS:
        if all(
            isinstance(one, Mapping) and isinstance(one.get(key), (str, int)) for one in entries
        ):
            return key
    return ""


def _keyed(theirs: list[Any], ours: list[Any]) -> bool:
    key = _key(theirs + ours)
    return bool(key) and len({one[key] for one in theirs}) == len(theirs)


def _same(theirs: Any, ours: Any, path: str) -> bool:
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return all(
            not list(_differences(one, other, path))
            for one, other in zip(theirs, ours, strict=True)
        )
    if theirs == ours and isinstance(theirs, bool) == isinstance(ours, bool):
        return True
    if ".resources." in path or path.endswith(".sizeLimit"):
        try:
            return quantity(str(theirs)) == quantity(str(ours))
        except ValueError:
            return False
    return False


_METADATA = {
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
_ANNOTATIONS = {
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubectl.kubernetes.io/restartedAt",
}
_SERVICE = {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}

# Defaults that the API server writes into every object (kubernetes pkg/apis/{core,apps}/v1/
# defaults.go, gateway-api apis/v1): saying them says nothing.
_DEFAULTS: dict[str, tuple[Any, ...]] = {
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


def _is_servers_own(path: str, key: str, value: Any) -> bool:
    if path in ("status", "apiVersion"):
        return True
    if path.startswith("metadata.") and path.count(".") == 1:
        if key == "annotations" and isinstance(value, Mapping):
            return all(name in _ANNOTATIONS for name in value)
        return key in _METADATA
    if key in _ANNOTATIONS or path in {f"spec.{name}" for name in _SERVICE}:
        return True
    if path.endswith("template.metadata.annotations") and isinstance(value, Mapping):
        return all(name in _ANNOTATIONS for name in value)
    return any(value == default for default in _DEFAULTS.get(key, ()))
