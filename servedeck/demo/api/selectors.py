"""Label and field selectors of a request, with the real server's grammar and error messages.
Source: kubernetes apimachinery pkg/fields/selector.go."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from servedeck.demo.api import status
from servedeck.demo.resources import (
    EVENTS,
    EVENTS_V1,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATIONCONTROLLERS,
    SECRETS,
    SERVICES,
    Resource,
)
from servedeck.serving.label_selector import Labels, LabelSelectorError, parse_label_selector

Json = dict[str, Any]
Predicate = Callable[[Json], bool]


def parse_label_predicate(selector: str) -> Callable[[Labels], bool]:
    """A predicate on labels. StatusError 400 for an invalid selector."""
    try:
        return parse_label_selector(selector).matches
    except LabelSelectorError as error:
        raise status.bad_request(str(error)) from None


# In addition to metadata.name and metadata.namespace, which every kind has. Source: kubernetes
# pkg/apis/*/v1/conversion.go, and ToSelectableFields of each strategy.
_SELECTABLE_FIELDS: dict[Resource, tuple[str, ...]] = {
    PODS: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    EVENTS: (
        *(
            f"involvedObject.{field}"
            for field in (
                "kind",
                "namespace",
                "name",
                "uid",
                "apiVersion",
                "resourceVersion",
                "fieldPath",
            )
        ),
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    EVENTS_V1: ("regarding.kind", "regarding.namespace", "regarding.name", "reason", "type"),
    NODES: ("spec.unschedulable",),
    NAMESPACES: ("status.phase",),
    SECRETS: ("type",),
    SERVICES: ("spec.clusterIP", "spec.type"),
    REPLICATIONCONTROLLERS: ("status.replicas",),
    REPLICA_SETS: ("status.replicas",),
    JOBS: ("status.successful",),
}
_TERM = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)


def _field_text(obj: Json, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "source" and isinstance(value, dict):
        value = value.get("component")
    if path in ("spec.unschedulable", "spec.hostNetwork"):
        return "true" if value else "false"
    if path == "status.replicas":
        return str(value or 0)
    return "" if value is None else str(value)


def parse_field_selector(resource: Resource, selector: str) -> Predicate:
    """A predicate on objects. StatusError 400 for an invalid selector or an unknown field."""
    tests: list[tuple[str, bool, str]] = []
    for term in filter(None, re.split(r"(?<!\\),", selector)):
        found = _TERM.match(term)
        if not found:
            raise status.bad_request(f"invalid selector: '{selector}'; can't understand '{term}'")
        path, operator, value = found.groups()
        value = re.sub(r"\\([\\,=])", r"\1", value)
        if path not in ("metadata.name", "metadata.namespace") and (
            path not in _SELECTABLE_FIELDS.get(resource, ())
        ):
            raise _unknown_field(resource, path)
        tests.append((path, operator != "!=", value))
    return lambda obj: all((_field_text(obj, path) == value) is same for path, same, value in tests)


def _unknown_field(resource: Resource, path: str) -> status.StatusError:
    if resource in _SELECTABLE_FIELDS or not resource.builtin:
        return status.bad_request(f"field label not supported: {path}")
    return status.bad_request(
        f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )


def object_matcher(
    resource: Resource, label_selector: str, field_selector: str
) -> Predicate | None:
    """Both selectors of a request as one predicate on objects; None where both are empty."""
    if not label_selector and not field_selector:
        return None
    labels = parse_label_predicate(label_selector)
    fields = parse_field_selector(resource, field_selector)
    return lambda obj: labels(obj["metadata"].get("labels") or {}) and fields(obj)
