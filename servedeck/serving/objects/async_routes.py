"""Sending asynchronous requests of a serving's route to its async gateway, and all others past it.

A rule of the serving gets two rules of the gateway before it: one for requests whose headers ask
to be asynchronous, one for the tasks (/-/async). An HTTPRoute and a VirtualService can match
headers; an Ingress cannot, so it sends everything to the gateway, which passes synchronous requests
through.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from servedeck.serving.objects.backends import route_backends
from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_list,
    as_mapping,
    as_str,
    child_mapping,
    mappings,
)

TASKS_PATH = "/-/async"
"""Below the path of the endpoint: status and results of tasks."""
GATEWAY_PORT = 80
"""Of the gateway's Service."""

_ASYNC_HEADERS = (("X-Async", "true"), ("X-Async", "1"), ("Prefer", "respond-async"))
"""Any of them makes a request asynchronous. `Prefer` is matched as a whole: with other preferences
beside it a request needs X-Async."""


def async_gateway_name(serving: str) -> str:
    """Name of the gateway's Deployment and Service."""
    return f"{serving}-async"


def has_async_rules(route: Mapping[str, Any], serving: str) -> bool:
    """Whether a route sends requests to the serving's async gateway."""
    return any(one.service == async_gateway_name(serving) for one in route_backends(route))


def add_async_rules(route: JsonObject, serving: str) -> JsonObject:
    """The route with the rules of the gateway before each rule of the serving. Rules that are there
    already are made anew, so that they follow a changed rule of the serving."""
    route = remove_async_rules(route, serving)
    spec = child_mapping(route, "spec")
    match route.get("kind"):
        case "HTTPRoute" if isinstance(spec.get("rules"), list):
            spec["rules"] = list(_with_http_route_rules(route, serving))
        case "VirtualService" if isinstance(spec.get("http"), list):
            spec["http"] = list(_with_virtual_service_rules(route, serving))
        case "Ingress":
            _replace_ingress_service(spec, serving, async_gateway_name(serving))
    return route


def remove_async_rules(route: JsonObject, serving: str) -> JsonObject:
    """The route without the rules of the gateway. A rule that sends to others, too, was not made
    here and is kept."""
    route, gateway = copy.deepcopy(route), async_gateway_name(serving)
    spec = child_mapping(route, "spec")
    key = {"HTTPRoute": "rules", "VirtualService": "http"}.get(as_str(route.get("kind")), "")
    if isinstance(spec.get(key), list):
        spec[key] = [one for one in spec[key] if _services(route, one) != {gateway}]
    elif route.get("kind") == "Ingress":
        _replace_ingress_service(spec, gateway, serving)
    return route


def _services(route: Mapping[str, Any], rule: object) -> set[str]:
    """Names of the Services that one rule of the route sends to."""
    key = "rules" if route.get("kind") == "HTTPRoute" else "http"
    alone = {**route, "spec": {key: [rule]}}
    return {one.service for one in route_backends(alone)}


# -- HTTPRoute ------------------------------------------------------------------------------------


def _with_http_route_rules(route: JsonObject, serving: str) -> Iterator[JsonObject]:
    for rule in as_list(as_mapping(route, "spec").get("rules")):
        if _services(route, rule) == {serving}:
            yield _http_route_rule(rule, serving, _http_task_matches(rule), TASKS_PATH)
            yield _http_route_rule(rule, serving, _http_async_matches(rule))
        yield rule


def _http_route_rule(
    rule: JsonObject, serving: str, matches: list[JsonObject], path: str = ""
) -> JsonObject:
    found = copy.deepcopy(rule)
    found.pop("name", None)  # a name is unique in the route
    found["matches"] = matches
    found["backendRefs"] = [{"name": async_gateway_name(serving), "port": GATEWAY_PORT}]
    for one in mappings(found.get("filters")):
        if path and as_mapping(one, "urlRewrite", "path").get("type") == "ReplacePrefixMatch":
            # The prefix that is replaced has become longer by this path.
            rewrite = child_mapping(child_mapping(one, "urlRewrite"), "path")
            before = as_str(rewrite.get("replacePrefixMatch"))
            rewrite["replacePrefixMatch"] = before.rstrip("/") + path
    return found


def _http_task_matches(rule: JsonObject) -> list[JsonObject]:
    paths = [as_mapping(one, "path") for one in mappings(rule.get("matches")) or [{}]]
    return [
        {"path": {"type": "PathPrefix", "value": _joined(as_str(path.get("value")) or "/")}}
        for path in paths
        if (path.get("type") or "PathPrefix") == "PathPrefix"
    ]


def _http_async_matches(rule: JsonObject) -> list[JsonObject]:
    found = []
    for one in list(mappings(rule.get("matches"))) or [{}]:
        for name, value in _ASYNC_HEADERS:
            headers = [*mappings(one.get("headers")), {"name": name, "value": value}]
            found.append({**copy.deepcopy(one), "headers": headers})
    return found


# -- VirtualService -------------------------------------------------------------------------------


def _with_virtual_service_rules(route: JsonObject, serving: str) -> Iterator[JsonObject]:
    for rule in as_list(as_mapping(route, "spec").get("http")):
        if _services(route, rule) == {serving}:
            yield _virtual_service_rule(route, rule, serving, _istio_task_matches(rule), TASKS_PATH)
            yield _virtual_service_rule(route, rule, serving, _istio_async_matches(rule))
        yield rule


def _virtual_service_rule(
    route: JsonObject, rule: JsonObject, serving: str, matches: list[JsonObject], path: str = ""
) -> JsonObject:
    found = copy.deepcopy(rule)
    found.pop("name", None)
    found["match"] = matches
    [target, *_] = mappings(rule.get("route"))
    host = as_str(as_mapping(target, "destination").get("host"))
    namespace = as_str(as_mapping(route, "metadata").get("namespace"))
    suffix = host[len(parse_istio_host(host, namespace)[1]) :]
    host = async_gateway_name(serving) + suffix
    found["route"] = [{"destination": {"host": host, "port": {"number": GATEWAY_PORT}}}]
    if path and (uri := as_str(as_mapping(found, "rewrite").get("uri"))):
        found["rewrite"] = {**found["rewrite"], "uri": uri.rstrip("/") + path + "/"}
    return found


def _istio_task_matches(rule: JsonObject) -> list[JsonObject]:
    prefixes = [
        as_str(as_mapping(one, "uri").get("prefix")) for one in mappings(rule.get("match")) or [{}]
    ]
    # An exact path has nothing below it; a rule without a match is for all paths.
    if not any(prefixes):
        prefixes = [] if rule.get("match") else ["/"]
    return [{"uri": {"prefix": _joined(one) + "/"}} for one in prefixes if one]


def _istio_async_matches(rule: JsonObject) -> list[JsonObject]:
    found = []
    for one in list(mappings(rule.get("match"))) or [{}]:
        for name, value in _ASYNC_HEADERS:
            headers = {**as_mapping(one, "headers"), name.lower(): {"exact": value}}
            found.append({**copy.deepcopy(one), "headers": headers})
    return found


# -- Ingress --------------------------------------------------------------------------------------


def _replace_ingress_service(spec: JsonObject, before: str, after: str) -> None:
    for rule in mappings(spec.get("rules")):
        for path in mappings(as_mapping(rule, "http").get("paths")):
            if as_mapping(path, "backend", "service").get("name") == before:
                path["backend"]["service"]["name"] = after


def _joined(prefix: str) -> str:
    return prefix.rstrip("/") + TASKS_PATH
