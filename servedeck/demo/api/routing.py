"""From the path and method of a request to the resource and the verb."""

from __future__ import annotations

from typing import Any, NamedTuple

from servedeck.demo.api import status
from servedeck.demo.api.request import parse_bool
from servedeck.demo.resources import BY_PATH, NAMESPACES, Resource

Json = dict[str, Any]

STREAMED_SUBRESOURCES = ("exec", "portforward")
"""They open a connection in both directions."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class RequestTarget(NamedTuple):
    """What a path below a group and version names; `resource` None: nothing that exists."""

    group: str
    version: str
    plural: str
    resource: Resource | None
    namespace: str
    name: str
    subresource: str
    rest: str


def parse_target(parts: list[str]) -> RequestTarget | None:
    """The resource that a path names; None for a path above the resources."""
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    own = rest[:1] == ["namespaces"] and (len(rest) < 3 or rest[2] in NAMESPACES.subresources)
    if rest[0] == "namespaces" and not own:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource, *tail = [*rest, "", "", ""]
    resource = BY_PATH.get((group, version, plural))
    tail = [part for part in rest[3:] if part or subresource == "proxy"]
    if resource is not None and (
        (namespace and not resource.namespaced)
        or (name and resource.namespaced and not namespace)
        or (subresource and subresource not in resource.subresources)
        or (tail and subresource != "proxy")
    ):
        resource = None
    if own and name:
        namespace = name  # rules for a namespace cover the Namespace itself
    if resource is NAMESPACES:
        namespace = ""
    return RequestTarget(
        group, version, plural, resource, namespace, name, subresource, "/".join(tail)
    )


def request_verb(method: str, target: RequestTarget, query: Json) -> str:
    if method in ("GET", "HEAD"):
        if target.subresource:
            return "get"
        if parse_bool(query, "watch"):
            return "watch"
        return "get" if target.name else "list"
    if method == "DELETE" and not target.name:
        return "deletecollection"
    return _VERBS.get(method, method.lower())


def check_method(method: str, target: RequestTarget) -> None:
    resource = target.resource
    if resource is None:
        raise status.resource_not_found()
    if target.subresource == "proxy":
        allowed: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
    elif target.subresource == "log":
        allowed = ("GET",)
    elif target.subresource in STREAMED_SUBRESOURCES:
        allowed = ("GET", "POST")
    elif target.subresource == "finalize":
        allowed = ("PUT",)
    elif target.subresource:
        allowed = ("GET", "PUT", "PATCH")
    else:
        verbs = (
            {"get", "update", "patch", "delete"}
            if target.name
            else {
                "list",
                "create",
                "deletecollection",
            }
        )
        known = verbs & set(resource.verbs)
        methods = {
            "get": "GET",
            "list": "GET",
            "create": "POST",
            "update": "PUT",
            "patch": "PATCH",
            "delete": "DELETE",
            "deletecollection": "DELETE",
        }
        allowed = tuple(methods[verb] for verb in known)
    if method not in allowed:
        raise status.method_not_allowed()
