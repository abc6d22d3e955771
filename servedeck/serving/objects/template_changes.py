"""Differences between two Pod templates, field by field.

What Kubernetes itself writes into a template is not a difference: the label of the hash, and the
annotations of the Deployment controller and of `kubectl apply`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from servedeck.serving.objects.diff import (
    MISSING,
    Difference,
    FieldPath,
    ListKey,
    find_differences,
)
from servedeck.serving.objects.field_changes import FieldChange, format_differences
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.text import one_line, sanitize

Template = Mapping[str, Any]

POD_TEMPLATE_HASH_LABEL = "pod-template-hash"
RESTARTED_AT_ANNOTATION = "kubectl.kubernetes.io/restartedAt"
"""Set by `kubectl rollout restart` (kubectl pkg/polymorphichelpers/objectrestarter.go)."""
RESTART = "restart"
"""In place of a field's name where only RESTARTED_AT_ANNOTATION differs."""

MAX_VALUE_LENGTH = 10_000
"""Characters of a value in a difference."""

_KUBERNETES_ANNOTATION_PREFIX = "deployment.kubernetes.io/"
_LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

_FIELD_ORDER = ("image", "command", "args", "env", "resources")
"""Fields of a container that are named first."""


def normalize_template(template: Template) -> JsonObject:
    """The template without what Kubernetes writes into it. Two that are equal then are one revision
    (kubernetes pkg/controller/deployment/util/deployment_util.go, EqualIgnoreHash)."""
    found = _without_null(template)
    metadata = as_mapping(found, "metadata")
    labels = {
        key: value
        for key, value in as_mapping(metadata, "labels").items()
        if key != POD_TEMPLATE_HASH_LABEL
    }
    annotations = {
        key: value
        for key, value in as_mapping(metadata, "annotations").items()
        if key != _LAST_APPLIED_ANNOTATION and not key.startswith(_KUBERNETES_ANNOTATION_PREFIX)
    }
    # Both are always there, so that an added first annotation is a difference of this annotation.
    return {**found, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null(one) for key, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value


def find_template_changes(old: Template, new: Template) -> list[FieldChange]:
    """The fields that differ between two normalized templates, in the order of the object; values
    that look secret are masked. An added or removed part is listed field by field."""
    differences = (
        part for one in find_differences(old, new) for part in _split_added(one) if part.path
    )
    return format_differences(differences, MAX_VALUE_LENGTH)


def _split_added(difference: Difference) -> Iterator[Difference]:
    """The fields of an added or removed part. The name that its path already has is left out."""
    path, old, new = difference
    part, blank = (new, old) if old is MISSING else (old, new)
    if blank is not MISSING or not _has_parts(part):
        yield difference
        return
    empty: Any = {} if isinstance(part, Mapping) else []
    found = find_differences(empty, part, path)
    key = path[-1] if path else ""
    names = {name for name, _ in key.values} if isinstance(key, ListKey) else set()
    others = [one for one in found if one.path[len(path) :] not in {(name,) for name in names}]
    for one in others or [Difference(path, MISSING, part)]:
        turned = one if old is MISSING else Difference(one.path, one.new, one.old)
        if turned.path == path:
            yield turned
        else:
            yield from _split_added(turned)


def _has_parts(value: Any) -> bool:
    """Whether a value is shown field by field: a map, or a list of maps."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def changed_field_names(old: Template, new: Template, server: str = "") -> tuple[str, ...]:
    """Names of the fields that differ between two normalized templates, in the words of the API:
    "image", "args", "nodeSelector"; of a container other than `server`, with its name. Only
    (RESTART,) if that is all that differs."""
    names = dict.fromkeys(
        one_line(sanitize(_field_name(one.path, server))) for one in find_differences(old, new)
    )
    if len(names) > 1:
        names.pop(RESTART, None)
    order = {name: at for at, name in enumerate(_FIELD_ORDER)}
    return tuple(sorted(names, key=lambda name: order.get(name, len(order))))


def _field_name(path: FieldPath, server: str) -> str:
    match path:
        case ("metadata", "annotations", str(key)):
            return RESTART if key == RESTARTED_AT_ANNOTATION else "annotations"
        case ("metadata", str(key), *_):
            return key
        case ("spec", "containers", ListKey() as container, str(field), *_):
            return field if str(container) == server else f"{field} of {container}"
        case ("spec", "containers", ListKey() as container):
            return f"container {container}"
        case ("spec", str(key), *_):
            return key
    return str(path[0]) if path else "template"
