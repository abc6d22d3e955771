"""Decodes JSON into records: strictly if possible, otherwise leniently.

Lenient decoding handles each field separately: null and values of the wrong type become the field's
default, and the affected fields are reported. A malformed object is thus shown as far as possible.
"""

from __future__ import annotations

import json
import types
import typing
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from servedeck.cluster.http.errors import InvalidResponseError, clean_message
from servedeck.serving.objects.records import Deployment, Record, WholeObject
from servedeck.serving.text import may_need_sanitizing, sanitize

R = TypeVar("R", bound=Record)

_MAX_PROBLEMS = 5
MAX_COMPRESSED_BYTES = 128 << 10
"""Maximum length of a JSON that is kept compressed. Level 1 takes 1 ms for it; the 8 KiB of a usual
Deployment take 70 µs and become 1.5 KiB."""


class DecodeResult(NamedTuple):
    """A record, and the fields that could not be decoded ("" if none)."""

    record: Any
    problem: str


class RecordDecoder:
    """Decodes objects of one kind. Raises InvalidResponseError only if the input is not a JSON
    object."""

    def __init__(self, record: type[Record]) -> None:
        self._record_type = record
        self._keeps_json = issubclass(record, WholeObject)
        self._compresses_json = issubclass(record, Deployment)
        self._decode_strict = msgspec.json.Decoder(record).decode

    def decode(self, raw: bytes | memoryview | msgspec.Raw) -> DecodeResult:
        """Decode one JSON object into a sanitized record."""
        try:
            record: Record = self._decode_strict(raw)
            problem = ""
        except (msgspec.DecodeError, ValueError, RecursionError):
            record, problem = self._decode_lenient(bytes(raw))
        if may_need_sanitizing(bytes(raw)):
            record = sanitize_record(record)
        if self._keeps_json:
            record = msgspec.structs.replace(
                record, json_text=bytes(raw).decode("utf-8", "replace")
            )
        elif self._compresses_json:
            content = bytes(raw)
            kept = zlib.compress(content, 1) if len(content) <= MAX_COMPRESSED_BYTES else b""
            record = msgspec.structs.replace(record, compressed_json=kept)
        return DecodeResult(record, problem)

    def _decode_lenient(self, raw: bytes) -> DecodeResult:
        value = parse_json(raw)
        if not isinstance(value, dict):
            raise InvalidResponseError("The server sent something that is not an object.")
        problems: list[str] = []
        record = _convert_struct(self._record_type, value, "", problems)
        more = f" and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
        return DecodeResult(record, clean_message(", ".join(problems[:_MAX_PROBLEMS]) + more))


def parse_json(raw: bytes) -> Any:
    """Parse JSON, replacing invalid UTF-8. Raises InvalidResponseError if it is not JSON."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        # the standard library also accepts numbers out of range, as infinity
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise InvalidResponseError(
            f"The server sent JSON that cannot be read ({error})."
        ) from error


def parse_object(json_text: str, *, sanitized: bool = True) -> dict[str, Any]:
    """The fields of an object; {} if the text is not a JSON object. Strings are sanitized, unless
    the caller escapes what controls a terminal."""
    raw = json_text.encode("utf-8", "replace")
    try:
        value = parse_json(raw)
    except InvalidResponseError:
        return {}
    if not isinstance(value, dict):
        return {}
    return sanitize_json(value) if sanitized and may_need_sanitizing(raw) else value


# -- sanitizing ---------------------------------------------------------------------------------


def sanitize_json(value: Any) -> Any:
    """A copy of decoded JSON with every string and key sanitized."""
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, dict):
        return {sanitize(key): sanitize_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [sanitize_json(item) for item in value]
    return value


def sanitize_record(value: R) -> R:
    """The record with every string sanitized; the same instance if nothing changed."""
    return typing.cast("R", _sanitize_value(value))


def _sanitize_value(value: Any) -> Any:
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, msgspec.Struct):
        changed = {}
        for name in value.__struct_fields__:
            old_value = getattr(value, name)
            new_value = _sanitize_value(old_value)
            if new_value is not old_value:
                changed[name] = new_value
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, tuple):
        items = tuple([_sanitize_value(item) for item in value])
        return value if all(map(_is_same, items, value)) else items
    if isinstance(value, dict):
        pairs = {sanitize(key): _sanitize_value(item) for key, item in value.items()}
        same = all(
            old_key is key and pairs[key] is value[old_key]
            for key, old_key in zip(pairs, value, strict=False)
        ) and len(pairs) == len(value)
        return value if same else pairs
    return value


def _is_same(a: object, b: object) -> bool:
    return a is b


# -- lenient decoding ---------------------------------------------------------------------------

_INVALID = object()


def _convert_struct(
    cls: type[msgspec.Struct], value: dict[str, Any], path: str, problems: list[str]
) -> Any:
    fields = {}
    for name, key, convert in _field_converters(cls):
        if (item := value.get(key)) is not None:
            converted = convert(item, f"{path}.{key}", problems)
            if converted is not _INVALID:
                fields[name] = converted
    return cls(**fields)


_Converter = Callable[[Any, str, list[str]], Any]


@cache
def _field_converters(cls: type[msgspec.Struct]) -> tuple[tuple[str, str, _Converter], ...]:
    """Name, JSON key and converter of each field."""
    return tuple(
        (field.name, field.encode_name, _make_converter(field.type))
        for field in msgspec.structs.fields(cls)
    )


@cache
def _make_converter(target_type: Any) -> _Converter:
    """A function that converts a JSON value to `target_type`, or returns _INVALID and appends a
    problem."""
    origin, args = typing.get_origin(target_type), typing.get_args(target_type)
    if origin is typing.Annotated:
        return _make_converter(args[0])
    if origin in (types.UnionType, typing.Union):
        return _union_converter(
            tuple(_make_converter(arg) for arg in args if arg is not type(None)), args
        )
    if origin is tuple:
        return _tuple_converter(_make_converter(args[0]))
    if origin is dict:
        return _dict_converter(_make_converter(args[1]))
    if isinstance(target_type, type) and issubclass(target_type, msgspec.Struct):
        return _struct_converter(target_type)
    return _SCALAR_CONVERTERS[target_type]


def _union_converter(
    converters: tuple[_Converter, ...], target_types: tuple[Any, ...]
) -> _Converter:
    exact = tuple(kind for kind in target_types if kind in (str, int, float))

    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if type(value) in exact:
            return value
        return converters[0](value, path, problems)

    return convert


def _tuple_converter(converter: _Converter) -> _Converter:
    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, list):
            return _reject(value, "a list", path, problems)
        converted = [
            converter(item, f"{path}[{index}]", problems)
            for index, item in enumerate(value)
            if item is not None
        ]
        return tuple([item for item in converted if item is not _INVALID])

    return convert


def _dict_converter(converter: _Converter) -> _Converter:
    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, dict):
            return _reject(value, "a mapping", path, problems)
        converted = {
            key: converter(item, f"{path}.{key}", problems)
            for key, item in value.items()
            if item is not None
        }
        return {key: item for key, item in converted.items() if item is not _INVALID}

    return convert


def _struct_converter(cls: type[msgspec.Struct]) -> _Converter:
    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, dict):
            return _reject(value, "a mapping", path, problems)
        return _convert_struct(cls, value, path, problems)

    return convert


def _to_str(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return _reject(value, "a string", path, problems)
    problems.append(f"{path} is not a string")
    return msgspec.json.encode(value).decode()


def _to_int(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, bool):
        return _reject(value, "a number", path, problems)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return _reject(value, "a number", path, problems)
    if type(value) is not int:
        problems.append(f"{path} is not a whole number")
    return number


def _to_float(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return _reject(value, "a number", path, problems)


def _to_bool(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        problems.append(f"{path} is a string")
        return value == "true"
    return _reject(value, "true or false", path, problems)


def _to_datetime(value: Any, path: str, problems: list[str]) -> Any:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return _reject(value, "a time", path, problems)
    if time.tzinfo is None:
        problems.append(f"{path} has no time zone")
        return time.replace(tzinfo=UTC)
    return time


def _reject(value: Any, expected: str, path: str, problems: list[str]) -> Any:
    problems.append(f"{path} is not {expected}")
    return _INVALID


_SCALAR_CONVERTERS: dict[Any, _Converter] = {
    bytes: lambda _value, path, problems: _reject(None, "known", path, problems),
    str: _to_str,
    int: _to_int,
    float: _to_float,
    bool: _to_bool,
    datetime: _to_datetime,
}
