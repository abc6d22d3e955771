"""Decodes request bodies in Kubernetes' protobuf format, which kubectl's `create` and `auth`
commands send: an envelope with the kind, and the object's fields by number. Source: apimachinery
pkg/runtime/serializer/protobuf."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from servedeck.demo.api.schema import META, SchemaNode, definition_name, schema_by_name, wire_fields
from servedeck.demo.resources import BY_KIND

Json = dict[str, Any]

_MAGIC = b"k8s\x00"
_DELETE_OPTIONS = f"{META}.DeleteOptions"
_MAX_DEPTH = 100


def decode_protobuf(body: bytes) -> Json:
    """The object as JSON data. ValueError with a sentence for an invalid body."""
    if not body.startswith(_MAGIC):
        raise ValueError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        kind = {number: _text(value) for number, value in _fields(envelope.get(1, b""))}
        version, name = kind.get(1, ""), kind.get(2, "")
        resource = BY_KIND.get((version, name))
        if resource is not None:
            node = schema_by_name(definition_name(resource))
        elif name == "DeleteOptions":
            node = schema_by_name(_DELETE_OPTIONS)
        elif name == "Scale":
            node = schema_by_name("io.k8s.api.autoscaling.v1.Scale")
        else:
            raise ValueError(f'no kind "{name}" is registered for version "{version}"')
        obj = _message(node, node.name, envelope.get(2, b""), 0)
    except (IndexError, struct.error, TypeError, AttributeError) as error:
        raise ValueError(f"the protobuf message cannot be read: {error}") from None
    return {"apiVersion": version, "kind": name, **obj}


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: an int, or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise IndexError("a field extends beyond the message")
            yield number, data[at : at + length]
            at += length
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, data[at : at + size]
            at += size
        else:
            raise IndexError(f"wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("a number is too long")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _message(node: SchemaNode, name: str, data: bytes, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        raise IndexError("nested too deeply")
    names, built = wire_fields(name), {}
    for number, value in _fields(data):
        field = names.get(number)
        if field is None:
            continue
        if field.startswith("="):
            built.update(_message(node, field[1:], value, depth + 1))
            continue
        child = node.fields.get(field)
        if child is None:
            continue
        if child.form == "list":
            built.setdefault(field, []).append(_value(child.element, value, depth + 1))
        elif child.form == "map":
            entry = dict(_fields(value))
            item = _value(child.element, entry.get(2, b""), depth + 1)
            built.setdefault(field, {})[_text(entry.get(1, b""))] = item
        else:
            found = _value(child, value, depth + 1)
            # Go encodes all values, those included that JSON omits
            if found not in (None, "", 0, False) or field not in node.omitted_when_empty:
                built[field] = found
    return {key: value for key, value in built.items() if value is not None}


def _value(node: SchemaNode, value: Any, depth: int) -> Any:
    form = node.form
    if form == "struct":
        return _message(node, node.name, value, depth)
    if form == "bool":
        return bool(value)
    if form in ("int32", "int64"):
        return _signed(value)
    if form == "float64":
        return struct.unpack("<d", value)[0]
    if form == "quantity":
        return _text(dict(_fields(value)).get(1, b"0"))
    if form == "int-or-string":
        parts = dict(_fields(value))
        return _text(parts.get(3, b"")) if parts.get(1) else _signed(parts.get(2, 0))
    if form == "time":
        return _time(dict(_fields(value)))
    if form == "list":
        return [_value(node.element, item, depth + 1) for _, item in _fields(value)]
    if form == "any":
        return json.loads(dict(_fields(value)).get(1, b"null") or b"null")
    return base64.b64encode(value).decode() if node.is_bytes else _text(value)


def _time(parts: dict[int, int]) -> str | None:
    seconds, nanos = _signed(parts.get(1, 0)), parts.get(2, 0)
    if not parts or not -62_135_596_800 < seconds < 253_402_300_800:
        return None
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos // 1000:06}Z" if nanos else f"{text}Z"
