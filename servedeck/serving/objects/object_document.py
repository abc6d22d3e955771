"""An object as a YAML document for an editor, and back."""

from __future__ import annotations

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
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = one_line(sanitize(str(error)))
        raise ObjectDocumentError(f"This is not YAML: {why}.") from None
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
    """YAML as Kubernetes reads it: times are strings, a key is there once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, "a field's name must be text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field {key} is there twice", key_node.start_mark
                )
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return {str(key) if key is not None else "null": value for key, value in found.items()}


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
