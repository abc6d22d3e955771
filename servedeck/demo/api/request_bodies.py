"""Request bodies: parses JSON and YAML, and checks data against its type as Go's decoder does:
wrong types are errors, unknown fields are reported and dropped, nulls are dropped."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

import yaml

from servedeck.demo.api import protobuf, status
from servedeck.demo.api.schema import SchemaNode
from servedeck.serving.quantity import format_quantity, parse_quantity

Json = dict[str, Any]

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Source: apiserver pkg/server/config.go."""
_MAX_DEPTH = 200
_MAX_MANAGED_DEPTH = _MAX_DEPTH + 8
TOO_DEEP = "exceeded max depth"
"""The message of Go's decoder."""
_INT64 = 1 << 63


class TypeMismatchError(Exception):
    """Data of the wrong type; `str()` is the message of Go's decoder."""


class _YamlLoader(yaml.CSafeLoader):
    """Leaves dates as text, as in JSON."""

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


class ParsedBody(NamedTuple):
    """The data of a body, and the paths of keys that occur twice in one object."""

    data: Any
    duplicates: list[str]


def parse_json(body: bytes) -> ParsedBody:
    """ValueError with a message like Go's encoding/json."""
    repeated: dict[int, list[str]] = {}
    keep: list[Json] = []  # keeps the objects alive, so that their ids stay unique

    def build(pairs: list[tuple[str, Any]]) -> Json:
        built = dict(pairs)
        if len(built) < len(pairs):
            names = [name for name, _ in pairs]
            repeated[id(built)] = sorted({name for name in names if names.count(name) > 1})
            keep.append(built)
        return built

    text = body.decode("utf-8", "replace")
    try:
        data = json.loads(text, object_pairs_hook=build, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        raise ValueError(_go_error_message(text, error)) from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if _depth(data) > _MAX_DEPTH:
        raise ValueError(TOO_DEEP)
    if re.search(r"\\u[dD][89a-fA-F]", text):
        data = json.loads(
            json.dumps(data, ensure_ascii=False)
            .encode("utf-16", "surrogatepass")
            .decode("utf-16", "replace")
        )
    return ParsedBody(data, list(_duplicate_paths(data, repeated)) if repeated else [])


def parse_yaml(body: bytes) -> ParsedBody:
    """YAML, or JSON, which most clients send as YAML. Aliases are rejected: a few bytes of them can
    expand to gigabytes. ValueError."""
    try:
        return parse_json(body)
    except ValueError:
        pass
    text = body.decode("utf-8", "replace")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_YamlLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("yaml: aliases are not accepted")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ValueError("yaml: exceeded max depth")
        data = yaml.load(text, Loader=_YamlLoader)  # noqa: S506 - a safe loader
        return ParsedBody(json.loads(json.dumps(data, allow_nan=False)), [])
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"yaml: line {line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, TypeError) as error:
        raise ValueError(f"yaml: {error}") from None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


def is_too_deep(obj: Json) -> bool:
    """Whether a patched object is nested more deeply than a body may be. Its managedFields are a
    few levels deeper than the fields that they list."""
    meta = obj.get("metadata")
    if not isinstance(meta, dict):
        return _depth(obj) > _MAX_DEPTH
    own = {name: value for name, value in meta.items() if name != "managedFields"}
    managed = _depth(meta.get("managedFields"), _MAX_MANAGED_DEPTH)
    return _depth({**obj, "metadata": own}) > _MAX_DEPTH or managed > _MAX_MANAGED_DEPTH


def _depth(data: Any, most: int = _MAX_DEPTH) -> int:
    """Levels of objects and lists, not counted further than one above `most`."""
    level, depth = [data], 0
    while level := [
        item
        for value in level
        if isinstance(value, (dict, list))
        for item in (value.values() if isinstance(value, dict) else value)
    ]:
        depth += 1
        if depth > most:
            break
    return depth


def _duplicate_paths(data: Any, repeated: dict[int, list[str]], path: str = "") -> list[str]:
    found = []
    if isinstance(data, dict):
        found += [f"{path}.{name}".lstrip(".") for name in repeated.get(id(data), ())]
        for name, item in data.items():
            found += _duplicate_paths(item, repeated, f"{path}.{name}")
    elif isinstance(data, list):
        for index, item in enumerate(data):
            found += _duplicate_paths(item, repeated, f"{path}[{index}]")
    return found


def _go_error_message(text: str, error: json.JSONDecodeError) -> str:
    if not text[error.pos :].strip():
        return "unexpected end of JSON input"
    char = text[error.pos]
    where = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key "
        "string",
        "Expecting value": "looking for beginning of value",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
        "Extra data": "after top-level value",
    }.get(error.msg, f"in string literal ({error.msg})")
    return f"invalid character {char!r} {where}"


def go_json_type(value: Any) -> str:
    """The JSON type of a value, as Go's decoder names it."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "null"


class TypeCheckedData(NamedTuple):
    """Data that fits its type, and the paths of fields that the type does not have."""

    data: Any
    unknown: list[str]


def check_type(node: SchemaNode, data: Any) -> TypeCheckedData:
    """Checks an object against its type. TypeMismatchError with Go's message."""
    unknown: list[str] = []
    return TypeCheckedData(_check_node(node, data, "", "", node.short_name, unknown), unknown)


def _check_node(
    node: SchemaNode, value: Any, path: str, fields: str, owner: str, unknown: list[str]
) -> Any:
    """`path` has indices ("a.b[0].c"), `fields` has none ("a.b.c"); `owner` is the innermost
    struct. Go's messages name all three."""
    form = node.form
    if form == "struct":
        if not isinstance(value, dict):
            raise _mismatch_error(value, owner, fields, node.go_type)
        built = {}
        for name, item in value.items():
            field = node.fields.get(name)
            if field is None:
                unknown.append(f"{path}.{name}".lstrip("."))
            elif item is not None:
                inner = f"{fields}.{name}".lstrip(".")
                found = _check_node(
                    field, item, f"{path}.{name}".lstrip("."), inner, node.short_name, unknown
                )
                if found or name not in node.omitted_when_empty or field.form == "struct":
                    built[name] = found
        return node.zero_values | built
    if form == "list":
        if not isinstance(value, list):
            raise _mismatch_error(value, owner, fields, node.go_type)
        element = node.element
        return [
            _check_node(element, item, f"{path}[{index}]", fields, owner, unknown)
            for index, item in enumerate(value)
            if item is not None
        ]
    if form == "map":
        if not isinstance(value, dict):
            raise _mismatch_error(value, owner, fields, node.go_type)
        element = node.element
        return {
            name: _check_node(element, item, f"{path}.{name}", fields, owner, unknown)
            for name, item in value.items()
            if item is not None
        }
    return _check_scalar(form, value, fields, owner)


def _check_scalar(form: str, value: Any, fields: str, owner: str) -> Any:
    if form == "any":
        return _limit_integers(value)
    if form == "string" and isinstance(value, str):
        return value
    if form == "bool" and isinstance(value, bool):
        return value
    if form in ("int32", "int64") and isinstance(value, int) and not isinstance(value, bool):
        if -(limit := 1 << (31 if form == "int32" else 63)) <= value < limit:
            return value
        raise _mismatch_error(value, owner, fields, form, literal=True)
    if form in ("int32", "int64") and isinstance(value, float):
        raise _mismatch_error(value, owner, fields, form, literal=True)
    if form == "float64" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if form == "int-or-string" and isinstance(value, (int, str)) and not isinstance(value, bool):
        return value
    if form == "quantity":
        return _quantity(value)
    if form == "time":
        return _time(value)
    raise _mismatch_error(value, owner, fields, form.replace("int-or-string", "int32"))


def _limit_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _limit_integers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_limit_integers(item) for item in value]
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return float(value) if abs(value) < 1 << 1000 else str(value)
    return value


def _quantity(value: Any) -> str:
    """The canonical form: "500m" for "0.5" (quantity.go, CanonicalizeBytes)."""
    text = str(value) if isinstance(value, (int, float, str)) else ""
    try:
        amount = parse_quantity(text)
    except ValueError:
        raise TypeMismatchError(
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from None
    if _EXPONENT.search(text):
        return text
    return format_quantity(amount, binary=text.endswith("i") and abs(amount) >= 1024)


_EXPONENT = re.compile(r"[eE][-+]?\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _time(value: Any) -> str:
    if isinstance(value, str) and is_rfc3339_time(value):
        return value
    quoted = json.dumps(value)
    raise TypeMismatchError(
        f'parsing time {json.dumps(quoted)} as "2006-01-02T15:04:05Z07:00": cannot parse '
        f'{json.dumps(str(value))} as "2006"'
    )


def is_rfc3339_time(text: str) -> bool:
    """Whether a text has the form of a metav1.Time, and there is such a time."""
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text[:19] + text[19:].lstrip(".0123456789"))
    except ValueError:
        return False
    return True


def _mismatch_error(
    value: Any, owner: str, fields: str, wanted: str, *, literal: bool = False
) -> TypeMismatchError:
    found = f"number {value}" if literal else go_json_type(value)
    where = f"Go struct field {owner}.{fields}" if fields else "Go value"
    return TypeMismatchError(f"json: cannot unmarshal {found} into {where} of type {wanted}")


_PARSERS = {"application/json": parse_json, "application/yaml": parse_yaml}
_PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPTED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def read_body(body: bytes, content_type: str, kind: str) -> ParsedBody:
    """Parses the body of a POST, PUT or DELETE, which must be of that kind. StatusError 400 or
    415."""
    if content_type == _PROTOBUF:
        try:
            return ParsedBody(protobuf.decode_protobuf(body), [])
        except ValueError as error:
            raise status.bad_request(str(error)) from None
    parser = _PARSERS.get(content_type)
    if parser is None:
        raise status.unsupported_media_type(ACCEPTED)
    start = f"the object provided is unrecognized (must be of type {kind}): couldn't get "
    try:
        parsed = parser(body)
    except ValueError as error:
        shown = f"({_format_body(body)})"
        raise status.bad_request(
            f"{start}version/kind; json parse error: {error} {shown}"
        ) from None
    if not isinstance(parsed.data, dict):
        raise status.bad_request(
            f"{start}version/kind; json parse error: json: cannot unmarshal "
            f"{go_json_type(parsed.data)} into Go value of type struct {{ APIVersion string "
            '"json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" } '
            f"({_format_body(body)})"
        )
    return parsed


def _format_body(body: bytes) -> str:
    """A body as the real server's messages quote it: JSON as text, everything else in hex."""
    if not body:
        return "<empty>"
    text = body[:1024]
    return text.decode("utf-8", "replace") if text.startswith(b"{") else text.hex()
