"""Parts of objects and messages in responses."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
CONFLICT_MESSAGE = (
    'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; '
    "please apply your changes to the latest version and try again"
)


def container(obj: Json, index: int = 0) -> Json:
    found: Json = obj["spec"]["template"]["spec"]["containers"][index]
    return found


def fields_by_manager(obj: Json) -> dict[tuple[str, str, str], Json]:
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"]["managedFields"]
    }
