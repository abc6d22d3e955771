"""The types of the API's objects.

`schema.json` holds the real server's OpenAPI definitions (Kubernetes 1.36) of the demo's kinds,
each description cut to its first sentence; `tests/contract/schema_source.py` writes it.
`wire.json`, written by `tests/contract/wire_source.go`, adds what OpenAPI does not have: the
protobuf field numbers, and which fields are pointers.
"""

from __future__ import annotations

import json
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from servedeck.demo.resources import Resource

Json = dict[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_REF = "#/components/schemas/"
_SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    f"{META}.Time": "time",
    f"{META}.MicroTime": "time",
    f"{META}.FieldsV1": "any",
    f"{META}.Patch": "any",
}
_SCALARS = {
    ("integer", "int32"): "int32",
    ("integer", "int64"): "int64",
    ("integer", ""): "int64",
    ("number", "double"): "float64",
    ("number", ""): "float64",
    ("boolean", ""): "bool",
    ("string", ""): "string",
    ("string", "byte"): "string",
    ("string", "date-time"): "time",
    ("string", "int-or-string"): "int-or-string",
}


@cache
def definitions() -> dict[str, Json]:
    """Every definition by its full name (`io.k8s.api.apps.v1.Deployment`)."""
    text = files("servedeck.demo.api").joinpath("schema.json").read_text(encoding="utf-8")
    found: dict[str, Json] = json.loads(text)
    found.update(_custom_definitions())
    return found


def _custom_definitions() -> dict[str, Json]:
    """The kinds of CustomResourceDefinitions: only metadata is typed."""
    meta = {"$ref": f"{_REF}{META}.ObjectMeta"}
    text = {"type": "string"}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        name: {
            "type": "object",
            "properties": {
                "apiVersion": text,
                "kind": text,
                "metadata": meta,
                "spec": free,
                "status": free,
            },
        }
        for name in (*_CUSTOM_NAMES.values(), _CRD)
    }


_CUSTOM_NAMES = {
    ("gateway.networking.k8s.io", "HTTPRoute"): "io.k8s.networking.gateway.v1.HTTPRoute",
    ("gateway.networking.k8s.io", "Gateway"): "io.k8s.networking.gateway.v1.Gateway",
    (
        "gateway.envoyproxy.io",
        "BackendTrafficPolicy",
    ): "io.envoyproxy.gateway.v1alpha1.BackendTrafficPolicy",
    (
        "inference.networking.k8s.io",
        "InferencePool",
    ): "io.k8s.networking.inference.v1.InferencePool",
    ("keda.sh", "ScaledObject"): "sh.keda.v1alpha1.ScaledObject",
    ("metrics.k8s.io", "PodMetrics"): "io.k8s.metrics.v1beta1.PodMetrics",
}
_CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"


@cache
def _wire_definitions() -> dict[str, dict[str, str]]:
    text = files("servedeck.demo.api").joinpath("wire.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)
    return found


def wire_fields(name: str) -> dict[int, str]:
    """The protobuf fields of a definition by number; `=name` is an embedded struct, whose fields
    JSON has inline."""
    return {number: text.lstrip("*!") for number, text in _numbered_fields(name)}


def _numbered_fields(name: str) -> list[tuple[int, str]]:
    return [(int(number), text) for number, text in _wire_definitions().get(name, {}).items()]


def _omitted_when_empty(name: str) -> frozenset[str]:
    """Fields of a Go struct that JSON omits when they are empty."""
    found: set[str] = set()
    for _, text in _numbered_fields(name):
        if text.startswith("="):
            found |= _omitted_when_empty(text[1:])
        elif text[0] not in "*!":
            found.add(text)
    return frozenset(found)


class SchemaNode:
    """One type. `form` is struct, map, list, any, or the name of a scalar (Go's int32, bool,
    string …; quantity, time, int-or-string). `is_value`: a Go value, present even when empty."""

    def __init__(self, raw: Json, name: str = "") -> None:
        self.is_value = raw.get("default") == {}
        self._raw = raw
        self.name = name
        """Full name of the definition; "" for a type without one."""
        target = raw
        while "$ref" in target or "allOf" in target:
            ref = target.get("$ref") or target["allOf"][0]["$ref"]
            self.name = ref.removeprefix(_REF)
            target = definitions()[self.name]
        self._target = target
        self.form = self._form(target)
        self.required: frozenset[str] = frozenset(target.get("required", ()))
        self.default = raw.get("default")
        self.list_type: str = raw.get("x-kubernetes-list-type", "atomic")
        self.keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys", ()))
        self.atomic = self._extension("x-kubernetes-map-type") == "atomic"
        self.merge_key: str = raw.get("x-kubernetes-patch-merge-key", "")
        self.strategies = frozenset(raw.get("x-kubernetes-patch-strategy", "").split(","))

    def _extension(self, name: str) -> Any:
        return self._raw.get(name) or self._target.get(name)

    def _form(self, target: Json) -> str:
        if self.name in _SPECIAL:
            return _SPECIAL[self.name]
        kind = target.get("type", "")
        if target.get("x-kubernetes-preserve-unknown-fields"):
            return "any"
        if "properties" in target:
            return "struct"
        if kind == "array":
            return "list"
        if "additionalProperties" in target:
            return "map"
        if kind == "object":
            return "struct" if self.name else "any"
        return _SCALARS.get((kind, target.get("format", "")), "any")

    @cached_property
    def omitted_when_empty(self) -> frozenset[str]:
        """Fields of a struct that are omitted when empty: not pointers, with `omitempty`."""
        return _omitted_when_empty(self.name)

    @cached_property
    def zero_values(self) -> Json:
        """Required scalars of a struct, which Go writes as its zero value where a client left them
        out."""
        fields = ((name, self.fields[name].default) for name in sorted(self.required))
        return {name: value for name, value in fields if isinstance(value, (str, int, float))}

    @property
    def is_bytes(self) -> bool:
        """Base64 in JSON, bytes in protobuf."""
        return self._target.get("format") == "byte"

    @property
    def short_name(self) -> str:
        """`DeploymentSpec`: how Go's decoder names the type."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def go_type(self) -> str:
        """`v1.Container`, `[]v1.Container`, `map[string]string`, `int32`."""
        if self.form == "list":
            return f"[]{self.element.go_type}"
        if self.form == "map":
            return f"map[string]{self.element.go_type}"
        if self.form == "struct":
            return ".".join(self.name.rsplit(".", 2)[-2:])
        return self.form

    @cached_property
    def fields(self) -> dict[str, SchemaNode]:
        return {name: SchemaNode(raw) for name, raw in self._target.get("properties", {}).items()}

    @cached_property
    def element(self) -> SchemaNode:
        """The type of a list's items or a map's values."""
        raw = self._target.get("items") or self._target.get("additionalProperties")
        return SchemaNode(raw) if isinstance(raw, dict) else ANY


def definition_name(resource: Resource) -> str:
    """The name of a resource's type in the definitions."""
    if name := _CUSTOM_NAMES.get((resource.group, resource.kind)):
        return name
    if resource.group == "apiextensions.k8s.io":
        return _CRD
    group = resource.group.split(".")[0] or "core"
    return f"io.k8s.api.{group}.{resource.version}.{resource.kind}"


@cache
def schema_by_name(name: str) -> SchemaNode:
    return SchemaNode({"$ref": _REF + name})


@cache
def schema_of(resource: Resource) -> SchemaNode:
    """The type of a resource's objects."""
    return schema_by_name(definition_name(resource))


ANY = SchemaNode({"x-kubernetes-preserve-unknown-fields": True})
SCALE = "io.k8s.api.autoscaling.v1.Scale"
