"""Words about the objects of settings."""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.cluster.resources import RESOURCES_BY_KIND, Resource
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str
from servedeck.serving.text import one_line, sanitize


def hidden_text(kind: str, what: str) -> str:
    """Why a setting is not changed while the objects of a kind may not be listed, one sentence;
    `what` is what is not known then."""
    return hidden_resources_text([RESOURCES_BY_KIND[kind]], what)


def hidden_resources_text(resources: Iterable[Resource], what: str) -> str:
    """The same of resources: two may be of one kind."""
    names = " and ".join(one.resource_name for one in resources)
    return (
        f"Without permission to list {names}, it is not known whether {what}, so this cannot be "
        "changed; ask for the role servedeck-operator."
    )


def object_label(obj: object) -> str:
    """ "HTTPRoute llama", sanitized."""
    name = as_str(as_mapping(obj, "metadata").get("name"))
    return one_line(sanitize(f"{as_str(as_mapping(obj).get('kind'))} {name}"))
