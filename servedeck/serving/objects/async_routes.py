"""Sending asynchronous requests of a serving's route to its async gateway, and all others past it.

A rule of the serving gets two rules of the gateway before it: one for requests whose headers ask
to be asynchronous, one for the tasks (/-/async). An HTTPRoute and a VirtualService can match
headers; an Ingress cannot, so it sends everything to the gateway, which passes synchronous requests
through, and a label says which Service it sent them to before.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from servedeck.serving.conventions import ASYNC_SERVICE_LABEL, ASYNC_SUFFIX
from servedeck.serving.objects.backends import replaced_service, route_backends
from servedeck.serving.objects.routes import parse_istio_host
from servedeck.serving.spec.mapping.inference_pools import read_as_service
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
    return serving + ASYNC_SUFFIX


def async_view_secret_name(serving: str) -> str:
    """Name of the Secret with the gateway's view-key alone, for those who may not read bodies."""
    return f"{async_gateway_name(serving)}-view"


def has_async_rules(route: Mapping[str, Any], serving: str) -> bool:
    """Whether a route sends requests to the serving's async gateway."""
    return any(one.service == async_gateway_name(serving) for one in route_backends(route))


def add_async_rules(
    route: JsonObject,
    serving: str,
    service: str = "",
    pools: Collection[Mapping[str, Any]] = (),
) -> JsonObject:
    """The route with the rules of the gateway before each rule that sends to `service` alone, by
    default the Service of the serving's name, or to one of `pools`, its InferencePools. Rules that
    are there already are replaced, so that they follow a changed rule of the serving; also those of
    a rule that has sent a share of its requests to another Service since."""
    service = service or serving
    divided = _divided_rules(read_as_service(route, pools, service), serving)
    route = remove_async_rules(route, serving)
    spec = child_mapping(route, "spec")
    match route.get("kind"):
        case "HTTPRoute" if isinstance(spec.get("rules"), list):
            spec["rules"] = list(_with_http_route_rules(route, serving, service, divided, pools))
        case "VirtualService" if isinstance(spec.get("http"), list):
            spec["http"] = list(_with_virtual_service_rules(route, serving, service, divided))
        case "Ingress":
            _send_ingress_to_gateway(route, serving, service)
    return route


def _divided_rules(route: JsonObject, serving: str) -> set[int]:
    """Of the rules without those of the gateway, the positions of rules that several Services share
    and that have rules of the gateway before them."""
    gateway, found = async_gateway_name(serving), set()
    key = {"HTTPRoute": "rules", "VirtualService": "http"}.get(as_str(route.get("kind")), "")
    position, is_after_gateway = 0, False
    for rule in as_list(as_mapping(route, "spec").get(key)):
        services = _services(route, rule)
        if services == {gateway}:
            is_after_gateway = True
            continue
        if is_after_gateway and len(services) > 1:
            found.add(position)
        position, is_after_gateway = position + 1, False
    return found


def remove_async_rules(route: JsonObject, serving: str) -> JsonObject:
    """The route without the rules of the gateway. A rule that sends to others, too, was not made
    here and is kept."""
    route, gateway = copy.deepcopy(route), async_gateway_name(serving)
    spec = child_mapping(route, "spec")
    key = {"HTTPRoute": "rules", "VirtualService": "http"}.get(as_str(route.get("kind")), "")
    if isinstance(spec.get(key), list):
        spec[key] = [one for one in spec[key] if _services(route, one) != {gateway}]
    elif route.get("kind") == "Ingress":
        _send_ingress_to_service(route, gateway)
    return route


def find_public_path(routes: Iterable[Mapping[str, Any]], serving: str, service: str = "") -> str:
    """The path of the endpoint that the first route to the Service removes; "" for none."""
    service = service or serving
    for one in routes:
        route = remove_async_rules(dict(one), serving)
        if route.get("kind") == "Ingress":
            found = _ingress_paths(route, service)
        else:
            found = [_removed_path(rule) for rule in _rules_to(route, service)]
        if path := next((one.rstrip("/") for one in found if one.rstrip("/")), ""):
            return path
    return ""


def keeps_path(route: Mapping[str, Any], serving: str, service: str = "") -> bool:
    """Whether a route to the Service has a path that it does not remove: the gateway does not know
    requests for tasks below it. Of an Ingress that is not known: annotations of its controller
    decide."""
    if route.get("kind") == "Ingress":
        return False
    plain = remove_async_rules(dict(route), serving)
    return any(
        not _removed_path(rule)
        and any(one.rstrip("/") for one in (*_match_paths(rule), *_match_uris(rule)))
        for rule in _rules_to(plain, service or serving)
    )


def _rules_to(route: Mapping[str, Any], service: str) -> list[JsonObject]:
    """The rules that send to the Service, of an HTTPRoute or a VirtualService: alone, or as the
    first of several, which get a share."""
    key = "rules" if route.get("kind") == "HTTPRoute" else "http"
    return [
        one
        for one in mappings(as_mapping(route, "spec").get(key))
        if _sends_to(route, one, service, is_divided=True)
    ]


def _sends_to(route: Mapping[str, Any], rule: object, service: str, *, is_divided: bool) -> bool:
    """Whether a rule sends to the Service alone, or if `is_divided` to it first."""
    found = _ordered_services(route, rule)
    return found == [service] or (is_divided and found[:1] == [service])


def _removed_path(rule: Mapping[str, Any]) -> str:
    """Of a rule of an HTTPRoute or a VirtualService; "" if it removes none."""
    for one in mappings(rule.get("filters")):
        path = as_mapping(one, "urlRewrite", "path")
        if path.get("replacePrefixMatch") == "/":
            return next(filter(None, _match_paths(rule)), "")
    if as_mapping(rule, "rewrite").get("uri") == "/":
        return next(filter(None, _match_uris(rule)), "")
    return ""


def _match_paths(rule: Mapping[str, Any]) -> list[str]:
    return [as_str(as_mapping(one, "path").get("value")) for one in _matches(rule)]


def _match_uris(rule: Mapping[str, Any]) -> list[str]:
    return [as_str(as_mapping(one, "uri").get("prefix")) for one in mappings(rule.get("match"))]


def _matches(rule: Mapping[str, Any]) -> list[JsonObject]:
    return list(mappings(rule.get("matches"))) or [{}]


def _ingress_paths(route: Mapping[str, Any], service: str) -> list[str]:
    """Paths as they are without a regular expression. Which annotation removes them depends on the
    controller; servedeck makes no Ingress without one."""
    return [
        re.sub(r"[(\[*?+^$|\\].*", "", as_str(path.get("path")))
        for rule in mappings(as_mapping(route, "spec").get("rules"))
        for path in mappings(as_mapping(rule, "http").get("paths"))
        if as_mapping(path, "backend", "service").get("name") == service
    ]


def _services(route: Mapping[str, Any], rule: object) -> set[str]:
    """Names of the Services that one rule of the route sends to."""
    return set(_ordered_services(route, rule))


def _ordered_services(route: Mapping[str, Any], rule: object) -> list[str]:
    """The same in the order of the rule, each once."""
    key = "rules" if route.get("kind") == "HTTPRoute" else "http"
    alone = {**route, "spec": {key: [rule]}}
    return list(dict.fromkeys(one.service for one in route_backends(alone)))


# -- HTTPRoute ------------------------------------------------------------------------------------


def _with_http_route_rules(
    route: JsonObject,
    serving: str,
    service: str,
    divided: Collection[int],
    pools: Collection[Mapping[str, Any]],
) -> Iterator[JsonObject]:
    read = as_list(as_mapping(read_as_service(route, pools, service), "spec").get("rules"))
    for position, rule in enumerate(as_list(as_mapping(route, "spec").get("rules"))):
        if _sends_to(route, read[position], service, is_divided=position in divided):
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
    paths = [as_mapping(one, "path") for one in _matches(rule)]
    return [
        {"path": {"type": "PathPrefix", "value": _joined(as_str(path.get("value")) or "/")}}
        for path in paths
        if (path.get("type") or "PathPrefix") == "PathPrefix"
    ]


def _http_async_matches(rule: JsonObject) -> list[JsonObject]:
    found = []
    for one in _matches(rule):
        for name, value in _ASYNC_HEADERS:
            headers = [*mappings(one.get("headers")), {"name": name, "value": value}]
            found.append({**copy.deepcopy(one), "headers": headers})
    return found


# -- VirtualService -------------------------------------------------------------------------------


def _with_virtual_service_rules(
    route: JsonObject, serving: str, service: str, divided: Collection[int]
) -> Iterator[JsonObject]:
    for position, rule in enumerate(as_list(as_mapping(route, "spec").get("http"))):
        if _sends_to(route, rule, service, is_divided=position in divided):
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


def _ingress_services(route: JsonObject, name: str) -> list[JsonObject]:
    """The backends of its paths that are this Service."""
    return [
        path["backend"]["service"]
        for rule in mappings(as_mapping(route, "spec").get("rules"))
        for path in mappings(as_mapping(rule, "http").get("paths"))
        if as_mapping(path, "backend", "service").get("name") == name
    ]


def _send_ingress_to_gateway(route: JsonObject, serving: str, service: str) -> None:
    found = _ingress_services(route, service)
    if not found:
        return
    port = copy.deepcopy(found[0].get("port"))
    for one in found:
        # Paths to another port, as of metrics, are not for requests to the model.
        if one.get("port") == port:
            one.update(name=async_gateway_name(serving), port={"number": GATEWAY_PORT})
    labels = child_mapping(child_mapping(route, "metadata"), "labels")
    labels[ASYNC_SERVICE_LABEL] = f"{service}.{next(iter(as_mapping(port).values()), '')}"


def _send_ingress_to_service(route: JsonObject, gateway: str) -> None:
    metadata = child_mapping(route, "metadata")
    before = replaced_service(as_mapping(metadata, "labels"))
    if before is None:
        return
    service, port = before
    for one in _ingress_services(route, gateway):
        one.update(name=service, port={"number" if isinstance(port, int) else "name": port})
    del metadata["labels"][ASYNC_SERVICE_LABEL]


def _joined(prefix: str) -> str:
    return prefix.rstrip("/") + TASKS_PATH
