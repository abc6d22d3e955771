"""JSON of the API to records: fast where an object is as it should be, lenient where it is not.

A lenient reading takes each field by itself: null and a wrong type become the field's default, and
what was passed over is named. So one odd object is shown as far as it can be read.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from servedeck.cluster.http.errors import AnswerError, words
from servedeck.serving.objects.records import Record
from servedeck.serving.text import sanitise, suspicious

R = TypeVar("R", bound=Record)

_MOST_PROBLEMS = 5


class Decoded(NamedTuple):
    """A record, and what could not be read of it ("" for nothing)."""

    record: Any
    problem: str


class Decoder:
    """Decodes objects of one kind; raises AnswerError only where there is no JSON object at all."""

    def __init__(self, record: type[Record]) -> None:
        self._record = record
        self._fast = msgspec.json.Decoder(record).decode

    def decode(self, raw: bytes | memoryview | msgspec.Raw) -> Decoded:
        """The sanitised record of one object's JSON."""
        try:
            record: Record = self._fast(raw)
            problem = ""
        except (msgspec.DecodeError, ValueError, RecursionError):
            record, problem = self._lenient(bytes(raw))
        if suspicious(bytes(raw)):
            record = clean(record)
        return Decoded(record, problem)

    def _lenient(self, raw: bytes) -> Decoded:
        value = parse(raw)
        if not isinstance(value, dict):
            raise AnswerError("The server sent something that is no object.")
        problems: list[str] = []
        record = _struct(self._record, value, "", problems)
        more = (
            f" and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        )
        return Decoded(record, words(", ".join(problems[:_MOST_PROBLEMS]) + more))


def parse(raw: bytes) -> Any:
    """Any JSON, invalid UTF-8 replaced; AnswerError where it is none."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        # the standard library's also takes numbers out of range, as infinite
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"The server sent JSON that cannot be read ({error}).") from error


# -- sanitising ---------------------------------------------------------------------------------


def clean(value: R) -> R:
    """The same record with every text sanitised; itself where there was nothing to do."""
    return typing.cast("R", _clean(value))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return sanitise(value)
    if isinstance(value, msgspec.Struct):
        changed = {}
        for name in value.__struct_fields__:
            old = getattr(value, name)
            new = _clean(old)
            if new is not old:
                changed[name] = new
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, tuple):
        items = tuple([_clean(item) for item in value])
        return value if all(map(_same, items, value)) else items
    if isinstance(value, dict):
        pairs = {sanitise(key): _clean(item) for key, item in value.items()}
        same = all(
            old_key is key and pairs[key] is value[old_key]
            for key, old_key in zip(pairs, value, strict=False)
        ) and len(pairs) == len(value)
        return value if same else pairs
    return value


def _same(one: object, other: object) -> bool:
    return one is other


# -- the lenient reading ------------------------------------------------------------------------

_MISSING = object()


def _struct(
    cls: type[msgspec.Struct], value: dict[str, Any], path: str, problems: list[str]
) -> Any:
    given = {}
    for name, key, convert in _fields(cls):
        if (item := value.get(key)) is not None:
            read = convert(item, f"{path}.{key}", problems)
            if read is not _MISSING:
                given[name] = read
    return cls(**given)


_Convert = Callable[[Any, str, list[str]], Any]


@cache
def _fields(cls: type[msgspec.Struct]) -> tuple[tuple[str, str, _Convert], ...]:
    """Of each field: its name, its key in JSON, and how its value is read."""
    return tuple(
        (field.name, field.encode_name, _converter(field.type))
        for field in msgspec.structs.fields(cls)
    )


@cache
def _converter(wanted: Any) -> _Convert:
    """How a JSON value becomes a `wanted`, or _MISSING with a problem noted."""
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        return _converter(args[0])
    if origin in (types.UnionType, typing.Union):
        return _union(tuple(_converter(arg) for arg in args if arg is not type(None)), args)
    if origin is tuple:
        return _items(_converter(args[0]))
    if origin is dict:
        return _mapping(_converter(args[1]))
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return _nested(wanted)
    return _SCALARS[wanted]


def _union(converters: tuple[_Convert, ...], wanted: tuple[Any, ...]) -> _Convert:
    exact = tuple(kind for kind in wanted if kind in (str, int, float))

    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if type(value) in exact:
            return value
        return converters[0](value, path, problems)

    return convert


def _items(converter: _Convert) -> _Convert:
    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, list):
            return _wrong(value, "a list", path, problems)
        read = [
            converter(item, f"{path}[{index}]", problems)
            for index, item in enumerate(value)
            if item is not None
        ]
        return tuple([item for item in read if item is not _MISSING])

    return convert


def _mapping(converter: _Convert) -> _Convert:
    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, dict):
            return _wrong(value, "a mapping", path, problems)
        read = {
            key: converter(item, f"{path}.{key}", problems)
            for key, item in value.items()
            if item is not None
        }
        return {key: item for key, item in read.items() if item is not _MISSING}

    return convert


def _nested(cls: type[msgspec.Struct]) -> _Convert:
    def convert(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, dict):
            return _wrong(value, "a mapping", path, problems)
        return _struct(cls, value, path, problems)

    return convert


def _text(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return _wrong(value, "a text", path, problems)
    problems.append(f"{path} is not a text")
    return msgspec.json.encode(value).decode()


def _whole(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, bool):
        return _wrong(value, "a number", path, problems)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return _wrong(value, "a number", path, problems)
    if type(value) is not int:
        problems.append(f"{path} is not a whole number")
    return number


def _number(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return _wrong(value, "a number", path, problems)


def _flag(value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        problems.append(f"{path} is a text")
        return value == "true"
    return _wrong(value, "true or false", path, problems)


def _time(value: Any, path: str, problems: list[str]) -> Any:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return _wrong(value, "a time", path, problems)
    if time.tzinfo is None:
        problems.append(f"{path} has no time zone")
        return time.replace(tzinfo=UTC)
    return time


def _wrong(value: Any, wanted: str, path: str, problems: list[str]) -> Any:
    problems.append(f"{path} is not {wanted}")
    return _MISSING


_SCALARS: dict[Any, _Convert] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _flag,
    datetime: _time,
}
