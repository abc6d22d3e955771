"""Checks objects against the part of OpenAPI that schemas of CustomResourceDefinitions use, with
the messages of the real server. Sources: kubernetes apiextensions-apiserver
pkg/apiserver/validation/validation.go; kube-openapi pkg/validation/errors/schema.go."""

from __future__ import annotations

import json
from typing import Any

from servedeck.demo.api.request_bodies import go_json_type, is_rfc3339_time
from servedeck.demo.api.status import StatusCause
from servedeck.demo.api.validation.field_errors import Causes, invalid, required, unsupported

Json = dict[str, Any]


def check_structure(schema: Json, value: Any, field: str) -> Causes:
    """The errors of a value and of all that it holds. `field` is its path ("spec.rules[0]").
    Fields that the schema does not name are not looked at."""
    kind = schema.get("type")
    if kind is not None and not _is_of_type(value, kind):
        yield _type_error(field, kind, value)
    elif isinstance(value, dict):
        yield from _check_fields(schema, value, field)
    elif isinstance(value, list):
        yield from _check_items(schema, value, field)
    else:
        yield from _check_scalar(schema, value, field)


def _is_of_type(value: Any, kind: str) -> bool:
    if kind == "int-or-string":
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    if kind == "integer":
        whole = isinstance(value, float) and value.is_integer()
        return whole or (isinstance(value, int) and not isinstance(value, bool))
    types = {"object": dict, "array": list, "string": str, "boolean": bool}
    return isinstance(value, types[kind])


def _type_error(field: str, kind: str, value: Any) -> StatusCause:
    found = go_json_type(value)
    if found == "number" and isinstance(value, int):
        found = "integer"
    found = {"bool": "boolean"}.get(found, found)
    wanted = "integer,string" if kind == "int-or-string" else kind
    message = f'Invalid value: "{found}": {field} in body must be of type {wanted}: "{found}"'
    return StatusCause("FieldValueTypeInvalid", message, field)


def _check_fields(schema: Json, value: Json, field: str) -> Causes:
    for name in schema.get("required", ()):
        if name not in value:
            yield required(f"{field}.{name}")
    properties: Json = schema.get("properties", {})
    others: Json = schema.get("additionalProperties", {})
    for name, item in value.items():
        yield from check_structure(properties.get(name, others), item, f"{field}.{name}")


def _check_items(schema: Json, value: list[Any], field: str) -> Causes:
    if len(value) < schema.get("minItems", 0):
        message = f"{field} in body should have at least {schema['minItems']} items"
        yield invalid(field, len(value), message)
    if len(value) > (most := schema.get("maxItems", len(value))):
        message = f"Too many: {len(value)}: must have at most {most} items"
        yield StatusCause("FieldValueTooMany", message, field)
    for index, item in enumerate(value):
        yield from check_structure(schema.get("items", {}), item, f"{field}[{index}]")


def _check_scalar(schema: Json, value: Any, field: str) -> Causes:
    if (choices := schema.get("enum")) is not None and value not in choices:
        yield unsupported(field, value, tuple(choices))
    if isinstance(value, str):
        yield from _check_text(schema, value, field)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        least, most = schema.get("minimum"), schema.get("maximum")
        if least is not None and value < least:
            message = f"{field} in body should be greater than or equal to {least}"
            yield invalid(field, value, message)
        elif most is not None and value > most:
            yield invalid(field, value, f"{field} in body should be less than or equal to {most}")


def _check_text(schema: Json, value: str, field: str) -> Causes:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if len(value) < least:
        yield invalid(field, value, f"{field} in body should be at least {least} chars long")
    elif most is not None and len(value) > most:
        message = f"Too long: may not be more than {most} bytes"
        yield StatusCause("FieldValueTooLong", message, field)
    if schema.get("format") == "date-time" and not is_rfc3339_time(value):
        quoted = json.dumps(value, ensure_ascii=False)
        message = f"{field} in body must be of type date-time: {quoted}"
        yield StatusCause("FieldValueTypeInvalid", f"Invalid value: {quoted}: {message}", field)
