"""An object as a YAML document for an editor, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.text import one_line, sanitize
from servedeck.serving.yaml_text import LAST_APPLIED, object_text

_SERVER_METADATA = (
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_METADATA_MAPS = ("labels", "annotations")
_IDENTITY = ("apiVersion", "kind")
_COMMENT_WIDTH = 96


class ObjectDocumentError(ValueError):
    """The text is not the object; str() is one sentence."""


def editable_part(obj: Mapping[str, Any]) -> JsonObject:
    """The object without its status, and without what the API server or `kubectl apply` sets."""
    metadata = {
        key: value
        for key, value in as_mapping(obj, "metadata").items()
        if key not in _SERVER_METADATA
    }
    for name in _METADATA_MAPS:
        entries = {
            key: value
            for key, value in as_mapping(metadata, name).items()
            if (name, key) != ("annotations", LAST_APPLIED)
        }
        metadata.pop(name, None)
        if entries:
            metadata[name] = entries
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": metadata}


def with_metadata_maps(part: Mapping[str, Any]) -> JsonObject:
    """An `editable_part` whose labels and annotations are maps, also if there are none: they are
    compared and changed by their keys, never as a whole."""
    metadata = as_mapping(part, "metadata")
    maps = {name: dict(as_mapping(metadata, name)) for name in _METADATA_MAPS}
    return {**part, "metadata": {**metadata, **maps}}


def write_document(part: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """YAML of an `editable_part`, after comments."""
    return _format_comments(comments) + object_text(part)


def with_comments(text: str, comments: Sequence[str]) -> str:
    """A text with other comments at its beginning."""
    lines = text.splitlines(keepends=True)
    first = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return _format_comments(comments) + "".join(lines[first:])


def _format_comments(comments: Sequence[str]) -> str:
    lines = [line for comment in comments for line in _comment_lines(comment)]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _comment_lines(text: str) -> list[str]:
    """A sentence of any origin, wrapped, as lines of a comment."""
    words, lines = one_line(sanitize(text)).split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= _COMMENT_WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def read_document(text: str, before: Mapping[str, Any]) -> JsonObject:
    """The `editable_part` in a text; `before` is the object that was written. Raises
    ObjectDocumentError."""
    try:
        found = yaml.load(text, _Loader)  # noqa: S506 -- a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        why = error.problem or error.context or "it cannot be read"
        raise ObjectDocumentError(f"This is not YAML: {where}{one_line(sanitize(why))}.") from None
    except yaml.YAMLError as error:
        why = one_line(sanitize(str(error)))
        raise ObjectDocumentError(f"This is not YAML: {why}.") from None
    except RecursionError:
        raise ObjectDocumentError("This is not YAML: it is nested too deeply.") from None
    # PyYAML raises these for a value that its tag does not allow, as in `!!int x`.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise ObjectDocumentError(
            "This is not YAML: a value does not have the type of its tag, or a number is too long."
        ) from None
    _check_json(found)
    if not isinstance(found, dict):
        raise ObjectDocumentError("This is no object; its fields begin with apiVersion and kind.")
    _check_metadata(found.get("metadata"))
    part = editable_part(found)
    for path in (*((key,) for key in _IDENTITY), ("metadata", "name"), ("metadata", "namespace")):
        old, new = _value_at(before, path), _value_at(part, path)
        if old != new:
            name = ".".join(path)
            raise ObjectDocumentError(
                f"{name} cannot be changed: it is {one_line(sanitize(str(old)))}."
            )
    return part


def _check_json(value: Any, path: str = "") -> None:
    """Raises ObjectDocumentError if the value cannot be sent as JSON."""
    try:
        problem = _find_no_json(value, path)
    except RecursionError:
        problem = "An alias (*) contains itself; write the fields themselves."
    if problem:
        raise ObjectDocumentError(one_line(sanitize(problem)))


def _find_no_json(value: Any, path: str) -> str:
    """What cannot be sent as JSON, one sentence; "" if all of it can."""
    where = path or "The text"
    match value:
        case dict():
            texts = ((key, f"{path}.{key}".lstrip(".")) for key in value)
            for key, inner in texts:
                if not _is_unicode(key):
                    return f"The name {inner!a} has a character that is no Unicode text."
                if problem := _find_no_json(value[key], inner):
                    return problem
        case list():
            for at, one in enumerate(value):
                if problem := _find_no_json(one, f"{path}[{at}]"):
                    return problem
        case str() if not _is_unicode(value):
            return f"{where} has a character that is no Unicode text: {value!a}."
        case float() if not math.isfinite(value):
            return f"{where} is no number that the API server can store."
        case str() | bool() | int() | float() | None:
            pass
        case _:
            return f"{where} has a type that the API server cannot store; remove its tag (!!)."
    return ""


def _is_unicode(text: str) -> bool:
    """Whether the text can be encoded: half of a surrogate pair cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _check_metadata(metadata: Any) -> None:
    """Raises ObjectDocumentError if the metadata, the labels or the annotations are no map: what is
    there would be deleted otherwise."""
    if not isinstance(metadata, Mapping):
        raise ObjectDocumentError("metadata must be fields with values, as in name: chat.")
    for name in _METADATA_MAPS:
        entries = metadata.get(name)
        if entries is None:
            continue
        if not isinstance(entries, Mapping):
            raise ObjectDocumentError(
                f"metadata.{name} must be names with values, as in team: chat; remove the whole "
                "field to delete them."
            )
        for key, value in entries.items():
            if not isinstance(value, str):
                where = one_line(sanitize(f"metadata.{name}.{key}"))
                raise ObjectDocumentError(f"{where} must be text; put its value in quotes.")


def _value_at(obj: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    return as_mapping(obj, *path[:-1]).get(path[-1])


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it (sigs.k8s.io/yaml): what it holds is JSON, times and base-60
    numbers are strings, a field's name is text, and a key is there once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = _key_text(self.construct_object(key_node, deep=True))
            problem = ""
            if key is None:
                problem = "a field's name must be text"
            elif key in seen:
                problem = f"the field {key} is there twice"
            if key is None or problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return {str(_key_text(key)): value for key, value in found.items()}


def _construct_float(loader: _Loader, node: Any) -> float:
    """A number without a fraction is a whole one, as in JSON."""
    value: float = loader.construct_yaml_float(node)
    return int(value) if value.is_integer() else value


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def _key_text(key: object) -> str | None:
    """The name of a field as JSON has it; None if it cannot be one."""
    if isinstance(key, str):
        return key
    return json.dumps(key) if isinstance(key, (bool, int, float)) else None


_INT_PATTERN = re.compile(
    r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z",
)
_FLOAT_PATTERN = re.compile(
    r"(?:[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
"""As in gopkg.in/yaml.v2 (resolve.go), which has neither base-60 numbers nor a float that needs a
point."""
_REPLACED = ("timestamp", "int", "float")


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """What a plain scalar is, by its first character."""
    tags = [f"tag:yaml.org,2002:{one}" for one in _REPLACED]
    found = {
        first: [one for one in resolvers if one[0] not in tags]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "-+.0123456789":
        numbers = [(tags[1], _INT_PATTERN), (tags[2], _FLOAT_PATTERN)]
        found[first] = [*found.get(first, []), *numbers]
    return found


_Loader.yaml_implicit_resolvers = _resolvers()
