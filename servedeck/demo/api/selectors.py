"""Label and field selectors, with the real server's grammar and error messages. Source: kubernetes
apimachinery pkg/labels/selector.go, pkg/fields/selector.go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from servedeck.demo.api import status
from servedeck.demo.api.validation import name_validation
from servedeck.demo.resources import (
    EVENTS,
    EVENTS_V1,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    SECRETS,
    SERVICES,
    Resource,
)

Json = dict[str, Any]
Predicate = Callable[[Json], bool]
Labels = dict[str, str]

_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^=!<>(),\s]+)")
_SYMBOLS = frozenset(("==", "!=", "=", "!", "<", ">", "(", ")", ","))
_OPERATORS = ("in", "notin", "=", "==", "!=", ">", "<")


class _SelectorError(Exception):
    pass


class _LabelSelectorParser:
    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def next_token(self) -> str:
        word = self.peek()
        self.position += 1
        return word

    def identifier(self, expected: str) -> str:
        word = self.next_token()
        if not word or word in _SYMBOLS:
            raise _SelectorError(f"found '{word}', expected: {expected}")
        return word

    def requirements(self) -> Iterator[Callable[[Labels], bool]]:
        while word := self.peek():
            if word in _SYMBOLS and word != "!":
                raise _SelectorError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                yield self.requirement()
            except _SelectorError as bad:
                raise _SelectorError(f"unable to parse requirement: {bad}") from None
            word = self.next_token()
            if word not in ("", ","):
                raise _SelectorError(f"found '{word}', expected: ',' or 'end of string'")
            following = self.peek()
            if word and (not following or (following in _SYMBOLS and following != "!")):
                raise _SelectorError(f"found '{following}', expected: identifier after ','")

    def requirement(self) -> Callable[[Labels], bool]:
        if self.peek() == "!":
            self.next_token()
            absent = self.key()
            return lambda labels: absent not in labels
        key = self.key()
        if self.peek() in ("", ","):
            return lambda labels: key in labels
        operator = self.next_token()
        if operator not in _OPERATORS:
            raise _SelectorError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        if operator in ("in", "notin"):
            values = self.values(key)
            wanted = operator == "in"
            return lambda labels: (labels.get(key) in values if key in labels else False) == wanted
        value = "" if self.peek() in ("", ",") else self.identifier("identifier")
        if operator in ("<", ">"):
            return _compare(key, operator, value)
        _check_value(key, 0, value)
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value

    def key(self) -> str:
        key = self.identifier("identifier")
        if errors := name_validation.qualified_name(key):
            raise _SelectorError(f"key: Invalid value: {json.dumps(key)}: {'; '.join(errors)}")
        return key

    def values(self, key: str) -> frozenset[str]:
        if (word := self.next_token()) != "(":
            raise _SelectorError(f"found '{word}' expected: '('")
        if self.peek() == "" or (self.peek() in _SYMBOLS and self.peek() not in (",", ")")):
            raise _SelectorError(f"found '{self.peek()}', expected: ',', ')' or identifier")
        found = []
        while True:
            if self.peek() in (",", ")"):
                found.append("")
            else:
                found.append(self.identifier("',', ')' or identifier"))
            word = self.next_token()
            if word == ")":
                break
            if word != ",":
                raise _SelectorError(f"found '{word}', expected: ',' or ')'")
        for index, value in enumerate(found):
            _check_value(key, index, value)
        return frozenset(found)


def _check_value(key: str, index: int, value: str) -> None:
    if errors := name_validation.label_value(value):
        quoted = json.dumps(value, ensure_ascii=False)
        raise _SelectorError(
            f"values[{index}][{key}]: Invalid value: {quoted}: {'; '.join(errors)}"
        )


def _compare(key: str, operator: str, value: str) -> Callable[[Labels], bool]:
    if not re.fullmatch(r"[+-]?\d{1,18}", value):
        quoted = json.dumps(value, ensure_ascii=False)
        raise _SelectorError(
            f"values[0][{key}]: Invalid value: {quoted}: for 'Gt', 'Lt' operators, the value must "
            "be an integer"
        )
    limit = int(value)

    def holds(labels: Labels) -> bool:
        text = labels.get(key, "")
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            return False
        return int(text) > limit if operator == ">" else int(text) < limit

    return holds


def parse_label_selector(selector: str) -> Callable[[Labels], bool]:
    """A predicate on labels. StatusError 400 for an invalid selector."""
    try:
        tests = list(_LabelSelectorParser(selector).requirements())
    except _SelectorError as bad:
        raise status.bad_request(str(bad)) from None
    return lambda labels: all(test(labels) for test in tests)


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
    REPLICASETS: ("status.replicas",),
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
    labels = parse_label_selector(label_selector)
    fields = parse_field_selector(resource, field_selector)
    return lambda obj: labels(obj["metadata"].get("labels") or {}) and fields(obj)
