"""A route sends asynchronous requests, and their tasks, to the gateway, and the rest past it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from servedeck.serving.objects.async_routes import (
    add_async_rules,
    has_async_rules,
    remove_async_rules,
)
from servedeck.serving.objects.routes import PlatformSettings, RouteKind, build_route

KINDS = list(RouteKind)
LINE = "/v1/chat/completions"


def make_route(kind: RouteKind) -> dict[str, Any]:
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=kind)
    route = build_route("llama", "team-a", {}, platform, 80)
    assert route is not None
    return route


def routed(
    route: dict[str, Any], path: str, headers: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """The Service that a request is sent to, and the path that it gets: by the rules of the Gateway
    API (the longest path, then the most headers) and of Istio (the first rule that matches)."""
    if route["kind"] == "HTTPRoute":
        return _routed_by_http_route(route, path, headers or {})
    return _routed_by_istio(route, path, headers or {})


def _routed_by_http_route(
    route: dict[str, Any], path: str, headers: Mapping[str, str]
) -> tuple[str, str]:
    found = []
    for rule in route["spec"]["rules"]:
        for match in rule["matches"]:
            prefix = match["path"]["value"]
            if path != prefix and not path.startswith(prefix + "/"):
                continue
            wanted = match.get("headers", [])
            if all(headers.get(one["name"].lower()) == one["value"] for one in wanted):
                found.append((len(prefix), len(wanted), prefix, rule))
    _, _, prefix, rule = max(found, key=lambda one: one[:2])
    replacement = rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"].rstrip("/")
    return rule["backendRefs"][0]["name"], replacement + path[len(prefix) :]


def _routed_by_istio(
    route: dict[str, Any], path: str, headers: Mapping[str, str]
) -> tuple[str, str]:
    for rule in route["spec"]["http"]:
        for match in rule["match"]:
            wanted = match.get("headers", {})
            if not all(headers.get(name) == one["exact"] for name, one in wanted.items()):
                continue
            uri, rewrite = match["uri"], rule["rewrite"]["uri"]
            service = rule["route"][0]["destination"]["host"].partition(".")[0]
            if path == uri.get("exact"):
                return service, rewrite
            if path.startswith(uri.get("prefix", "\0")):
                return service, rewrite + path[len(uri["prefix"]) :]
    raise AssertionError("no rule matches")


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize(
    ("path", "headers", "service"),
    [
        (LINE, {}, "llama"),
        (LINE, {"x-async": "false"}, "llama"),
        (LINE, {"x-async": "true"}, "llama-async"),
        (LINE, {"x-async": "1"}, "llama-async"),
        (LINE, {"prefer": "respond-async"}, "llama-async"),
        ("/-/async/tasks/0123", {}, "llama-async"),
        ("/-/async/queue", {}, "llama-async"),
        ("/-/asynchronous", {}, "llama"),
    ],
)
def test_a_request_goes_where_it_belongs_with_the_path_of_the_server(
    kind: RouteKind, path: str, headers: dict[str, str], service: str
) -> None:
    route = add_async_rules(make_route(kind), "llama")
    assert routed(route, f"/team-a/llama{path}", headers) == (service, path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_added_is_taken_away(kind: RouteKind) -> None:
    route = make_route(kind)
    before = copy.deepcopy(route)
    added = add_async_rules(route, "llama")
    assert route == before, "the given one is not changed"
    assert has_async_rules(added, "llama") and not has_async_rules(route, "llama")
    assert add_async_rules(added, "llama") == added
    assert remove_async_rules(added, "llama") == before


def test_an_ingress_sends_everything_to_the_gateway() -> None:
    route = add_async_rules(make_route(RouteKind.INGRESS), "llama")
    [path] = route["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "llama-async", "port": {"number": 80}}


@pytest.mark.parametrize("kind", KINDS[:2])
def test_rules_of_others_are_left_alone(kind: RouteKind) -> None:
    route = make_route(kind)
    key = "rules" if kind is RouteKind.HTTP_ROUTE else "http"
    other = copy.deepcopy(route["spec"][key][0])
    if kind is RouteKind.HTTP_ROUTE:
        other["backendRefs"] = [{"name": "llama", "port": 80}, {"name": "canary", "port": 80}]
    else:
        other["route"] = [
            {"destination": {"host": "llama"}, "weight": 90},
            {"destination": {"host": "canary"}, "weight": 10},
        ]
    route["spec"][key].append(other)
    added = add_async_rules(route, "llama")
    assert len(added["spec"][key]) == 4
    assert added["spec"][key][-1] == other
    assert remove_async_rules(added, "llama") == route


def test_a_changed_timeout_is_taken_over() -> None:
    route = add_async_rules(make_route(RouteKind.HTTP_ROUTE), "llama")
    route["spec"]["rules"][-1]["timeouts"] = {"request": "30s"}
    again = add_async_rules(route, "llama")
    assert [rule["timeouts"] for rule in again["spec"]["rules"]] == [{"request": "30s"}] * 3


@pytest.mark.parametrize("spec", [{}, {"rules": None, "http": 3}, {"rules": [1, {}], "http": [{}]}])
@pytest.mark.parametrize("kind", [*KINDS, "Other"])
def test_objects_of_any_shape(kind: str, spec: dict[str, Any]) -> None:
    route = {"kind": str(kind), "metadata": {"name": "x"}, "spec": spec}
    assert add_async_rules(route, "llama") == route
