"""What an OpenAPI description says, and whether answers are as it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

_METHODS = {"get", "post", "put", "delete", "patch"}


class Described:
    def __init__(self, data: bytes) -> None:
        self.document: dict[str, Any] = json.loads(data)
        self.schemas: dict[str, Any] = self.document["components"]["schemas"]
        self.operations: dict[tuple[str, str], dict[str, Any]] = {
            (method.upper(), path): item[method]
            for path, item in self.document["paths"].items()
            for method in _METHODS & item.keys()
        }

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        """What a reference names."""
        if "$ref" not in value:
            return value
        found: Any = self.document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return self.resolve(found)

    def references(self, value: object = None) -> list[dict[str, Any]]:
        """All references of the document."""
        value = self.document if value is None else value
        if isinstance(value, dict):
            own = [value] if "$ref" in value else []
            return own + [one for part in value.values() if part for one in self.references(part)]
        if isinstance(value, list):
            return [one for part in value if part for one in self.references(part)]
        return []

    def check_answer(
        self, operation: dict[str, Any], status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """The answer is one that is described for the operation."""
        described = operation["responses"]
        answer = self.resolve(described.get(str(status)) or described["default"])
        kind = headers["Content-Type"].partition(";")[0]
        content = answer["content"]
        assert kind in content or "*/*" in content, (operation["operationId"], status, kind)
        schema = content.get(kind, {}).get("schema")
        if kind.endswith("json") and schema is not None:
            self.check(schema, json.loads(body))

    def check(self, schema: dict[str, Any], value: object) -> None:
        """The value is valid by a schema of the document."""
        whole = {"$ref": "#/s", "s": schema, "components": self.document["components"]}
        Draft202012Validator(whole).validate(value)

    def kinds(self, schema: dict[str, Any]) -> set[str]:
        """JSON types that a schema allows."""
        schema = self.resolve(schema)
        if "anyOf" in schema:
            return {kind for one in schema["anyOf"] for kind in self.kinds(one)}
        found = schema["type"]
        return {found} if isinstance(found, str) else set(found)

    def check_struct(self, struct: type[msgspec.Struct]) -> None:
        """The schema has the fields of the struct, and their types."""
        _, components = msgspec.json.schema_components([struct])
        expected = components[struct.__name__]["properties"]
        described = self.schemas[struct.__name__]["properties"]
        assert described.keys() == expected.keys()
        for name in expected:
            found = self._kinds_of_struct(expected[name], components)
            assert self.kinds(described[name]) == found, name

    def _kinds_of_struct(self, schema: dict[str, Any], components: dict[str, Any]) -> set[str]:
        if "anyOf" in schema:
            parts = [self._kinds_of_struct(one, components) for one in schema["anyOf"]]
            return set().union(*parts)
        if "$ref" in schema:
            return self._kinds_of_struct(components[schema["$ref"].rpartition("/")[2]], components)
        return {schema["type"]} if "type" in schema else {"string"}
