"""Fields of objects that a new serving would lack or have differently, since the spec does not
express them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servedeck.serving.conventions import REVISION_BASE_ANNOTATION
from servedeck.serving.objects.diff import (
    LIST_KEYS,
    MISSING,
    Difference,
    FieldPath,
    ListKey,
    find_differences,
    format_path,
    same_quantity,
)
from servedeck.serving.objects.secret_values import mask_secret_values
from servedeck.serving.servers.images import default_pull_policy
from servedeck.serving.spec.mapping.json_values import as_list, as_mapping, as_str
from servedeck.serving.spec.mapping.pod_settings import toleration_text
from servedeck.serving.text import one_line, sanitize, truncate


@dataclass(frozen=True, slots=True)
class UnmanagedField:
    object: str
    """"Deployment llama"."""
    path: str
    """"spec.template.spec.containers[inference-server].securityContext.runAsUser"; "" for the
    whole object."""
    value: Any
    """The value in the object, as decoded JSON: show `masked_value` instead."""
    built: Any = None
    """The value in a new serving; None if it lacks the field."""
    steps: FieldPath = ()
    """The path."""

    @property
    def masked_value(self) -> Any:
        """The value without what looks secret; sanitize its texts before showing them."""
        return _mask(self.value, self.steps)

    @property
    def masked_built(self) -> Any:
        return _mask(self.built, self.steps)

    def describe(self, width: int) -> str:
        """The field and its value in one sanitized line; of each value at most `width` cells."""
        where = f"{self.object} {self.path}".strip()
        text = f"{where}: {_shorten(self.masked_value, width)}"
        if self.built is not None:
            text += f" (a new serving: {_shorten(self.masked_built, width)})"
        return one_line(sanitize(text))


def _mask(value: Any, steps: FieldPath) -> Any:
    """The value as it is masked at its place in the object."""
    for step in reversed(steps):
        value = {step: value} if isinstance(step, str) else [value]
    if not isinstance(value, Mapping):
        return value
    found: Any = mask_secret_values(value)[0]
    for step in steps:
        found = found[step] if isinstance(step, str) else found[0]
    return found


def _shorten(value: Any, width: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return truncate(one_line(sanitize(text)), width)


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
            yield UnmanagedField(label, "", _without_server_fields(one))
            continue
        for path, value, own in _compare(one, ours):
            other = None if own is MISSING else own
            yield UnmanagedField(label, format_path(path), value, other, path)


def _compare(actual: Mapping[str, Any], built: Mapping[str, Any]) -> Iterator[Difference]:
    """Each field of `actual` that `built` lacks (MISSING) or has differently."""
    for one in find_differences(actual, built):
        path, value, other = one
        if value is MISSING or path[: len(_TOLERATIONS)] == _TOLERATIONS:
            continue
        if _is_order(one):
            continue
        text, key = format_path(path), str(path[-1]) if path else ""
        if other is MISSING and _is_set_by_server(path, value, actual):
            continue
        is_amount = ".resources." in text or key == "sizeLimit"
        if other is MISSING or not (is_amount and same_quantity(value, other)):
            yield one
    # The API identifies no toleration: each is compared with all of the new serving's.
    pod = _TOLERATIONS[:-1]
    ours = as_list(as_mapping(built, *pod).get(_TOLERATIONS[-1]))
    texts = {text for one in ours if (text := toleration_text(one))}
    for one in as_list(as_mapping(actual, *pod).get(_TOLERATIONS[-1])):
        if one not in ours and toleration_text(one) not in texts:
            yield Difference(
                (*_TOLERATIONS, ListKey((("key", _toleration_name(one)),))), one, MISSING
            )


_TOLERATIONS = ("spec", "template", "spec", "tolerations")


def _toleration_name(toleration: Any) -> str:
    return as_str(as_mapping(toleration).get("key")) or "*"


def _is_order(difference: Difference) -> bool:
    """Whether an associative list has the same entries in another order."""
    path, old, new = difference
    return bool(path) and path[-1] in LIST_KEYS and isinstance(old, list) and isinstance(new, list)


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
    REVISION_BASE_ANNOTATION,  # of this revision alone, not of a copy
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


def _is_set_by_server(path: FieldPath, value: Any, actual: Mapping[str, Any]) -> bool:
    """Whether a field of `actual` that a new serving lacks is a default, or written by the API
    server or a controller."""
    text, key = format_path(path), path[-1]
    if not isinstance(key, str):
        return False
    if text in ("status", "apiVersion"):
        return True
    if text.startswith("metadata.") and text.count(".") == 1:
        if key == "annotations" and isinstance(value, Mapping):
            return all(name in _SERVER_ANNOTATIONS for name in value)
        return key in _SERVER_METADATA
    if key in _SERVER_ANNOTATIONS or text in {f"spec.{name}" for name in _SERVER_SERVICE_FIELDS}:
        return True
    if text.endswith("template.metadata.annotations") and isinstance(value, Mapping):
        return all(name in _SERVER_ANNOTATIONS for name in value)
    if key == "imagePullPolicy":
        return bool(value == default_pull_policy(as_str(_sibling(actual, path, "image"))))
    if key == "serviceAccount":  # the deprecated alias of serviceAccountName
        return bool(value == _sibling(actual, path, "serviceAccountName"))
    return any(value == default for default in _SERVER_DEFAULTS.get(key, ()))


def _sibling(actual: Any, path: FieldPath, name: str) -> Any:
    """The value of a field beside the one at a path."""
    for step in path[:-1]:
        if isinstance(step, str):
            actual = as_mapping(actual).get(step)
        elif isinstance(step, ListKey):
            values = dict(step.values)
            actual = next(
                (one for one in as_list(actual) if values.items() <= as_mapping(one).items()),
                None,
            )
        else:
            actual = as_list(actual)[step]
    return as_mapping(actual).get(name)


def _without_server_fields(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object as it would be written for another cluster."""
    found = {key: value for key, value in obj.items() if key != "status"}
    metadata = {
        key: value
        for key, value in as_mapping(obj, "metadata").items()
        if key not in _SERVER_METADATA
    }
    if "annotations" in metadata:
        annotations = as_mapping(metadata, "annotations").items()
        metadata["annotations"] = {k: v for k, v in annotations if k not in _SERVER_ANNOTATIONS}
    return found | {"metadata": metadata}
