"""Objects of every kind with random content: most of it of the right types, some of it anything."""

from __future__ import annotations

import json
import random
from typing import Any

from servedeck.demo.api.schema import SchemaNode, schema_of
from servedeck.demo.api.validation import custom_types
from servedeck.demo.resources import Resource

Json = dict[str, Any]

_WORDS = (
    "",
    "a",
    "chat",
    "llm",
    "x" * 300,
    "5",
    "-1",
    "25%",
    "1Gi",
    "2026-01-01T00:00:00Z",
    "2026-99-99T99:99:99Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "Pending",
    "Running",
    "Progressing",
    "Available",
    "Ready",
    "PodScheduled",
    "ReplicaFailure",
    "True",
    "In",
    "Always",
    "Recreate",
    "RollingUpdate",
    "OnFailure",
    "HTTPRoute",
    "Deployment",
    "ReplicaSet",
    "apps/v1",
    "cpu",
    "prometheus",
    "Random",
    "Header",
    "http://prometheus.monitoring:9090",
    "{}",
    "%s\n",
    "한국어",
    "../..",
)
_NUMBERS = (0, 1, 2, 5, -1, 80, 65536, 2**31 - 1, -(2**31), 2**62, 10**30, 0.5, 1e300)
_MAX_DEPTH = 9
_MOST_REPLICAS = 80
"""Tens of thousands of Pods take minutes, whatever the shape of the object that asks for them."""


def any_value(rng: random.Random, depth: int = 0) -> Any:
    """JSON of any type."""
    kind = rng.randrange(6 if depth < 3 else 4)
    if kind == 4:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(3))]
    if kind == 5:
        return {rng.choice(_WORDS): any_value(rng, depth + 1) for _ in range(rng.randrange(3))}
    return rng.choice((rng.choice(_WORDS), rng.choice(_NUMBERS), None, rng.random() < 0.5))


def any_object(resource: Resource, rng: random.Random, name: str, namespace: str) -> Json:
    """An object of that kind with this name. Fields that a type requires may be missing, as the
    API server does not ask for them in a status."""
    share = rng.choice((0.0, 0.0, 0.02, 0.2))
    node = schema_of(resource)
    obj: Json = {}
    for field in node.fields:
        if field in ("apiVersion", "kind", "metadata"):
            continue
        types = custom_types.schema_of_part(resource, field)
        obj[field] = (
            _of_structure(types, rng, share, 2)
            if types is not None
            else _of_type(node.fields[field], rng, share, 2)
        )
        if rng.random() < 0.03:
            obj[field] = any_value(rng)
    meta = _of_type(node.fields["metadata"], rng, 0.0, 5)
    kept = ("labels", "annotations", "finalizers", "ownerReferences")
    obj["metadata"] = {key: meta[key] for key in kept if key in meta and rng.random() < 0.3}
    obj["metadata"] |= {"name": name} | ({"namespace": namespace} if resource.namespaced else {})
    return _with_few_replicas(obj)


def _of_type(node: SchemaNode, rng: random.Random, share: float, depth: int) -> Any:
    """A value of a type; a share of all values is anything."""
    if rng.random() < share:
        return any_value(rng)
    form = node.form
    if form == "struct":
        left = rng.choice((0.2, 0.5, 0.9)) if depth < _MAX_DEPTH else 0.0
        return {
            name: _of_type(field, rng, share, depth + 1)
            for name, field in node.fields.items()
            if rng.random() < (0.95 if name in node.required else left)
        }
    if form == "list":
        count = rng.randrange(3) if depth < _MAX_DEPTH else 0
        return [_of_type(node.element, rng, share, depth + 1) for _ in range(count)]
    if form == "map":
        return {
            rng.choice(_WORDS): _of_type(node.element, rng, share, depth + 1)
            for _ in range(rng.randrange(3))
        }
    return _scalar(form, rng)


def _of_structure(types: Json, rng: random.Random, share: float, depth: int) -> Any:
    """A value that a schema of a CustomResourceDefinition allows; a share of them is anything."""
    if rng.random() < share:
        return any_value(rng)
    if "enum" in types:
        return rng.choice(types["enum"])
    kind = types.get("type")
    if kind == "object":
        others = types.get("additionalProperties")
        if others is not None:
            return {rng.choice(_WORDS): _of_structure(others, rng, share, depth + 1)}
        return {
            name: _of_structure(inner, rng, share, depth + 1)
            for name, inner in types.get("properties", {}).items()
            if rng.random() < 0.6 or name in types.get("required", ())
        }
    if kind == "array":
        count = max(types.get("minItems", 0), rng.randrange(3))
        return [_of_structure(types["items"], rng, share, depth + 1) for _ in range(count)]
    if kind == "integer" and "minimum" in types:
        return rng.choice((types["minimum"], types.get("maximum", 9), 1, 5))
    return _scalar({"integer": "int32", "boolean": "bool"}.get(kind or "", kind or "any"), rng)


def _scalar(form: str, rng: random.Random) -> Any:
    if form in ("int32", "int64"):
        return rng.choice((0, 1, 2, 5, -1, 80, 2**31 - 1, -(2**31)))
    if form == "float64":
        return rng.choice((0, 0.5, -1, 1e300))
    if form == "bool":
        return rng.random() < 0.5
    if form == "quantity":
        return rng.choice(("1", "0", "-1", "500m", "1Gi", "1e3", 5))
    if form == "time":
        return rng.choice(("2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"))
    if form == "int-or-string":
        return rng.choice((0, 1, -1, "25%", "http", ""))
    return any_value(rng) if form == "any" else rng.choice(_WORDS)


def changed_object(obj: Json, rng: random.Random) -> Json:
    """A copy of an object with some of its parts removed or replaced by anything."""
    new: Json = json.loads(json.dumps(obj))
    for _ in range(rng.randrange(1, 4)):
        at: Any = new
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if at is new:
                keys = [key for key in keys if key not in ("apiVersion", "kind", "metadata")]
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.8:
                at = at[key]
                continue
            if rng.random() < 0.3:
                del at[key]
            else:
                at[key] = _like(at[key], rng)
            break
    return _with_few_replicas(new)


def _with_few_replicas(value: Any, field: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _with_few_replicas(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_few_replicas(item) for item in value]
    is_count = "replica" in field.lower() and isinstance(value, (int, float))
    return min(value, _MOST_REPLICAS) if is_count else value


def _like(value: Any, rng: random.Random) -> Any:
    """Another value, mostly of the same type."""
    if rng.random() < 0.2:
        return any_value(rng)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(_NUMBERS[:8])
    return rng.choice(_WORDS) if isinstance(value, str) else type(value)()
