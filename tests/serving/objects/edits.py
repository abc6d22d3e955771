"""Deployments and Services of others, and what an edit makes of them."""

from __future__ import annotations

from typing import Any

from servedeck.serving.objects.change import ObjectChange, change_objects
from servedeck.serving.objects.import_objects import import_objects

Json = dict[str, Any]


def deployment(*containers: Json, **pod: Any) -> Json:
    """A Deployment of the label app=llm; a container without a name gets one."""
    named = [{"name": f"c{at}", **one} for at, one in enumerate(containers)]
    labels = {"app": "llm"}
    template = {"metadata": {"labels": dict(labels)}, "spec": {"containers": named, **pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llm", "namespace": "team-a"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def service(*ports: Json, name: str = "llm", **spec: Any) -> Json:
    metadata = {"name": name, "namespace": "team-a"}
    body = {"selector": {"app": "llm"}, "ports": list(ports), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}


def edit(*objects: Json, **fields: Any) -> ObjectChange:
    current = import_objects(objects)
    return change_objects(current, current.spec.replace(**fields))


def edit_again(change: ObjectChange, **fields: Any) -> ObjectChange:
    return edit(*change.changed, **fields)


def container_of(change: ObjectChange, name: str) -> Json:
    containers = change.changed[0]["spec"]["template"]["spec"]["containers"]
    found: Json = next(one for one in containers if one["name"] == name)
    return found


def targets(change: ObjectChange) -> list[Any]:
    """The targetPort of every port of every Service, as written."""
    return [
        port.get("targetPort")
        for one in change.changed
        if one["kind"] == "Service"
        for port in one["spec"]["ports"]
    ]


def reported(change: ObjectChange) -> list[tuple[str, str, str]]:
    """Severity, field and message of the issues."""
    return [(one.severity.value, one.field, one.message) for one in change.issues]
