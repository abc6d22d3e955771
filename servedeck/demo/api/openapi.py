"""OpenAPI documents, as far as kubectl needs them: the types for `kubectl explain` and client-side
validation, and whether patches support fieldValidation and dryRun."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from servedeck.demo.api import discovery
from servedeck.demo.api.schema import definition_name, definitions
from servedeck.demo.resources import RESOURCES, Resource

Json = dict[str, Any]

_INFO = {"title": "Kubernetes", "version": discovery.VERSION["gitVersion"]}
_QUERY = ("dryRun", "fieldManager", "fieldValidation", "pretty")


def _root(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"


def index() -> Json:
    """GET /openapi/v3."""
    roots = dict.fromkeys(_root(resource) for resource in RESOURCES)
    listed = {
        root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={discovery.VERSION['gitVersion']}"}
        for root in roots
    }
    return {"paths": listed}


@cache
def document(root: str) -> Json | None:
    """GET /openapi/v3/<root>, such as `apis/apps/v1`; None where there is none."""
    resources = [resource for resource in RESOURCES if _root(resource) == root]
    if not resources:
        return None
    names = [definition_name(resource) for resource in resources]
    schemas: Json = {}
    while names:
        name = names.pop()
        if name not in schemas:
            schemas[name] = _annotated(name)
            names += _references(json.dumps(schemas[name]))
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": {path: item for resource in resources for path, item in _paths(resource)},
        "components": {"schemas": schemas},
    }


@cache
def _kinds() -> dict[str, Json]:
    return {
        definition_name(r): {"group": r.group, "version": r.version, "kind": r.kind}
        for r in RESOURCES
    }


def _annotated(name: str) -> Json:
    found = definitions()[name]
    kind = _kinds().get(name)
    return found | {"x-kubernetes-group-version-kind": [kind]} if kind else found


def _references(text: str) -> list[str]:
    parts = text.split('"#/components/schemas/')[1:]
    return [part.split('"', 1)[0] for part in parts]


def _paths(resource: Resource) -> list[tuple[str, Json]]:
    namespaced = "/namespaces/{namespace}" if resource.namespaced else ""
    base = f"/{_root(resource)}{namespaced}/{resource.plural}"
    collection: Json = {"post": _operation(resource, "post", _QUERY)}
    if "list" in resource.verbs:
        collection["get"] = _operation(resource, "list", ("limit", "continue", "labelSelector"))
    item = {
        "get": _operation(resource, "get", ("pretty",)),
        "put": _operation(resource, "put", _QUERY),
        "patch": _operation(resource, "patch", (*_QUERY, "force")),
        "delete": _operation(resource, "delete", ("dryRun", "gracePeriodSeconds")),
    }
    if "get" not in resource.verbs:
        return [(base, collection)]
    return [(base, collection), (f"{base}/{{name}}", item)]


def _operation(resource: Resource, action: str, query: tuple[str, ...]) -> Json:
    reference = {"$ref": f"#/components/schemas/{definition_name(resource)}"}
    content = {"application/json": {"schema": reference}}
    return {
        "operationId": f"{action}{resource.group.title()}{resource.version.title()}{resource.kind}",
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in query
        ],
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kinds()[definition_name(resource)],
    }


@cache
def swagger() -> bytes:
    """GET /openapi/v2 as JSON."""
    document = {
        "swagger": "2.0",
        "info": _INFO,
        "paths": {},
        "definitions": {name: _annotated(name) for name in definitions()},
    }
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("#/components/schemas/", "#/definitions/").encode()
