"""Texts of the checks of settings."""

from __future__ import annotations

from servedeck.cluster.resources import RESOURCES_BY_KIND
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.text import one_line, sanitize


def hidden_text(kind: str, what: str) -> str:
    """That a setting cannot be changed while objects of the kind may not be listed."""
    return (
        f"Without permission to list {RESOURCES_BY_KIND[kind].resource_name}, it is not known "
        f"whether {what}, so this cannot be changed; ask for the role servedeck-operator."
    )


def object_name(obj: JsonObject) -> str:
    """Kind and name of an object, sanitized."""
    name = as_str(as_mapping(obj, "metadata").get("name"))
    return one_line(sanitize(f"{obj.get('kind')} {name}"))
