"""API discovery: versions, groups and resources, in the legacy form and in the aggregated form
(apidiscovery.k8s.io/v2), which current clients request first."""

from __future__ import annotations

from functools import cache
from typing import Any

from servedeck.demo.resources import RESOURCES, Resource

Json = dict[str, Any]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERSION: Json = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3+servedeck.demo",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}

_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "proxy": ("", "v1", "{kind}ProxyOptions"),
    "exec": ("", "v1", "PodExecOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}
_SUBRESOURCE_VERBS = {
    "log": ["get"],
    "finalize": ["update"],
    "proxy": ["create", "delete", "get", "patch", "update"],
    "exec": ["create", "get"],
    "portforward": ["create", "get"],
}
_STATUS_VERBS = ["get", "patch", "update"]


def wants_aggregated(accept: str) -> bool:
    return "g=apidiscovery.k8s.io" in accept and "v=v2;" in accept.replace(" ", "") + ";"


@cache
def groups() -> dict[str, dict[str, list[Resource]]]:
    """Group → version → resources, in the order of RESOURCES."""
    found: dict[str, dict[str, list[Resource]]] = {}
    for resource in RESOURCES:
        found.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    return found


def api_versions(address: str) -> Json:
    server = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [server]}


def _group(name: str, versions: dict[str, list[Resource]]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list() -> Json:
    """GET /apis."""
    listed = [_group(name, versions) for name, versions in groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(name: str) -> Json | None:
    """GET /apis/<group>."""
    versions = groups().get(name) if name else None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resource_list(group: str, version: str) -> Json | None:
    """GET /api/v1 or /apis/<group>/<version>."""
    resources = groups().get(group, {}).get(version)
    if resources is None:
        return None
    listed: list[Json] = []
    for resource in resources:
        entry: Json = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        listed.append(entry)
        listed += [_subresource_entry(resource, name) for name in resource.subresources]
    version_name = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version_name,
        "resources": listed,
    }


def _subresource_kind(resource: Resource, name: str) -> tuple[str, str, str]:
    own = (resource.group, resource.version, resource.kind)
    group, version, kind = _SUBRESOURCE_KINDS.get(name, own)
    return group, version, kind.format(kind=resource.kind)


def _subresource_entry(resource: Resource, name: str) -> Json:
    group, version, kind = _subresource_kind(resource, name)
    entry: Json = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if name in _SUBRESOURCE_KINDS and group:
        entry |= {"group": group, "version": version}
    return entry | {"kind": kind, "verbs": _SUBRESOURCE_VERBS.get(name, _STATUS_VERBS)}


@cache
def aggregated(core: bool) -> Json:
    """GET /api (`core`) or /apis, with all resources at once."""
    items = []
    for name, versions in groups().items():
        if bool(name) == core:
            continue
        meta: Json = {"name": name} if name else {}
        listed = [
            {
                "version": version,
                "resources": [_aggregated_resource(resource) for resource in resources],
                "freshness": "Current",
            }
            for version, resources in versions.items()
        ]
        items.append({"metadata": meta, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _kind(group: str, version: str, kind: str) -> Json:
    return {"group": group, "version": version, "kind": kind}


def _aggregated_resource(resource: Resource) -> Json:
    entry: Json = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": _kind(*_subresource_kind(resource, name)),
                "verbs": _SUBRESOURCE_VERBS.get(name, _STATUS_VERBS),
            }
            for name in resource.subresources
        ]
    return entry
