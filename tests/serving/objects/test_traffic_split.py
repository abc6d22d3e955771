"""Weights of routes: what is read, and what of a route stays when they are changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.objects.async_routes import (
    add_async_rules,
    find_public_path,
    keeps_path,
)
from servedeck.serving.objects.routes import PlatformSettings, RouteKind, build_route
from servedeck.serving.objects.traffic_split import (
    SplitTarget,
    WeightedBackend,
    format_percentage,
    own_filters,
    read_rules,
    rejected_conditions,
    remove_backend,
    set_weight,
)

KINDS = [RouteKind.HTTP_ROUTE, RouteKind.VIRTUAL_SERVICE]
KEYS = {RouteKind.HTTP_ROUTE: "rules", RouteKind.VIRTUAL_SERVICE: "http"}
OTHER = SplitTarget("llama-2", 8080)


def make_route(kind: RouteKind) -> dict[str, Any]:
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=kind)
    route = build_route("llama", "chat", {}, platform, 80)
    assert route is not None
    return route


def http_route(*backends: dict[str, Any], **rule: Any) -> dict[str, Any]:
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "llama", "namespace": "chat"},
        "spec": {"rules": [{"backendRefs": list(backends), **rule}]},
    }


def virtual_service(*targets: tuple[str, int | None], **rule: Any) -> dict[str, Any]:
    route = [
        {"destination": {"host": host}, **({} if weight is None else {"weight": weight})}
        for host, weight in targets
    ]
    return {
        "kind": "VirtualService",
        "metadata": {"name": "llama", "namespace": "chat"},
        "spec": {"http": [{"route": route, **rule}]},
    }


def weights(route: dict[str, Any]) -> list[tuple[str, int]]:
    [rule] = read_rules(route)
    return [(one.name, one.weight) for one in rule.backends]


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_route_of_servedeck_sends_everything_to_one(kind: RouteKind) -> None:
    [rule] = read_rules(make_route(kind))
    assert rule.percentage({"llama"}) == 100.0
    assert rule.label == f"{kind} llama, /chat/llama"
    assert rule.paths == ("/chat/llama",) and rule.shares == "llama 100 %"
    assert not rule.is_conditional


def test_a_weight_that_is_absent_counts_as_the_api_says() -> None:
    assert weights(http_route({"name": "a"}, {"name": "b", "weight": 3})) == [("a", 1), ("b", 3)]
    assert weights(http_route({"name": "a", "weight": 0})) == [("a", 0)]
    assert weights(virtual_service(("a", None), ("b", 100))) == [("a", 0), ("b", 100)]
    # Without meaning for a single destination.
    assert weights(virtual_service(("a", 0))) == [("a", 100)]


def test_shares_are_relative_to_the_sum() -> None:
    [rule] = read_rules(http_route({"name": "a", "weight": 1}, {"name": "b", "weight": 2}))
    assert rule.shares == "a 33.3 %, b 66.7 %"
    assert format_percentage(10.0) == "10 %"
    [rule] = read_rules(http_route({"name": "a", "weight": 0}, {"name": "b", "weight": 0}))
    assert (rule.total, rule.percentage({"a"}), rule.shares) == (0, 0.0, "a 0 %, b 0 %")


def test_backends_that_are_no_services_of_the_namespace_are_told_apart() -> None:
    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "llama"}
    [rule] = read_rules(http_route(pool, {"name": "llama", "namespace": "other"}))
    assert rule.backends == (
        WeightedBackend("InferencePool", "chat", "llama", 1),
        WeightedBackend("Service", "other", "llama", 1),
    )
    assert rule.percentage({"llama"}) == 50.0
    assert rule.shares == "InferencePool llama 50 %, llama 50 %"
    [rule] = read_rules(virtual_service(("llama.other", 50), ("api.example.com", 50)))
    assert [(one.kind, one.namespace) for one in rule.backends] == [
        ("Service", "other"),
        ("host", ""),
    ]


@pytest.mark.parametrize("key", ["headers", "queryParams"])
def test_a_rule_is_conditional_if_all_of_its_matches_are(key: str) -> None:
    condition = {key: [{"name": "x", "value": "1"}]}
    [rule] = read_rules(http_route({"name": "a"}, matches=[condition, condition]))
    assert rule.is_conditional
    [rule] = read_rules(http_route({"name": "a"}, matches=[condition, {}]))
    assert not rule.is_conditional
    istio = {key: {"x": {"exact": "1"}}, "uri": {"prefix": "/chat/a/"}}
    [rule] = read_rules(virtual_service(("a", None), match=[istio]))
    assert rule.is_conditional and rule.paths == ("/chat/a",)


def test_who_gets_copies_is_read() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow"}}}
    elsewhere: dict[str, Any] = copy.deepcopy(mirror)
    elsewhere["requestMirror"]["backendRef"]["namespace"] = "other"
    [rule] = read_rules(http_route({"name": "a", "filters": [mirror]}, filters=[mirror, elsewhere]))
    assert rule.mirrors == ("shadow",)
    hosts = {"mirror": {"host": "s1"}, "mirrors": [{"destination": {"host": "s2.chat"}}]}
    [rule] = read_rules(virtual_service(("a", None), **hosts))
    assert rule.mirrors == ("s1", "s2")


def test_conditions_of_a_gateway_are_told_only_if_false() -> None:
    def status(kind: str, value: str, message: str = "no such Service") -> dict[str, Any]:
        condition = {"type": kind, "status": value, "reason": "R", "message": message}
        return {"parents": [{"parentRef": {"name": "main"}, "conditions": [condition]}]}

    route = http_route({"name": "a"})
    for kind, verb in (("Accepted", "does not accept"), ("ResolvedRefs", "cannot resolve all of")):
        route["status"] = status(kind, "False")
        assert list(rejected_conditions(route)) == [
            f"Gateway main {verb} HTTPRoute llama: no such Service."
        ]
    route["status"] = status("Accepted", "False", "\x1b[31mred\nline")
    [text] = rejected_conditions(route)
    assert "\x1b" not in text and "\n" not in text
    for one in (status("Accepted", "True"), status("Programmed", "False"), {"parents": 3}):
        route["status"] = one
        assert list(rejected_conditions(route)) == []


@pytest.mark.parametrize("kind", ["HTTPRoute", "VirtualService", "Ingress", "Route", "Other"])
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"rules": 3, "http": None},
        {"rules": [1, {}, {"backendRefs": [1]}], "http": [{"route": [{}]}]},
        {"rules": [{"backendRefs": [{"weight": "x"}]}], "http": [{"route": [{"weight": -1}]}]},
    ],
)
def test_routes_of_any_shape(kind: str, spec: dict[str, Any]) -> None:
    route = {"kind": kind, "metadata": {"name": "\x1b[31mx"}, "spec": spec}
    for rule in read_rules(route):
        assert "\x1b" not in rule.label and rule.percentage({"a"}) == 0.0
    assert set_weight(route, range(9), "a", OTHER, 10) == route
    assert remove_backend(route, range(9), "a", "llama-2") == route


# -- changing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), weight=st.integers(0, 100), again=st.integers(0, 100))
def test_a_split_touches_nothing_but_weights_and_is_taken_back(
    kind: RouteKind, data: st.DataObject, weight: int, again: int
) -> None:
    route = make_route(kind)
    rules = route["spec"][KEYS[kind]]
    for _ in range(data.draw(st.integers(0, 2))):
        rules.insert(data.draw(st.integers(0, len(rules))), copy.deepcopy(rules[0]))
    at = data.draw(st.integers(0, len(rules) - 1))
    if data.draw(st.booleans()):
        route = add_async_rules(route, "llama")
        own = [one.index for one in read_rules(route) if one.backends[0].name == "llama"]
        at = own[min(at, len(own) - 1)]
    before = copy.deepcopy(route)
    divided = set_weight(route, [at], "llama", OTHER, weight)
    assert route == before, "the route as it was read is not changed"
    for one in read_rules(divided):
        if one.index == at:
            assert [(one.name, one.weight) for one in one.backends] == [
                ("llama", 100 - weight),
                ("llama-2", weight),
            ]
    others = copy.deepcopy(divided)
    key = KEYS[kind]
    others["spec"][key][at] = before["spec"][key][at]
    assert others == before, "all other rules stay"
    changed = set_weight(divided, [at], "llama", OTHER, again)
    assert changed == set_weight(route, [at], "llama", OTHER, again)
    assert remove_backend(changed, [at], "llama", "llama-2") == before


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_rule_has_besides_stays(kind: RouteKind) -> None:
    """As of timeouts, retries, mirrors and filters, which tools for canaries have lost."""
    route = make_route(kind)
    rule = route["spec"][KEYS[kind]][0]
    rule |= {"name": "main", "timeouts": {"request": "5s"}, "mirror": {"host": "shadow"}}
    before = copy.deepcopy(rule)
    after = set_weight(route, [0], "llama", OTHER, 10)["spec"][KEYS[kind]][0]
    backends = "backendRefs" if kind is RouteKind.HTTP_ROUTE else "route"
    assert {**after, backends: None} == {**before, backends: None}


def test_the_other_gets_the_filters_that_the_first_one_alone_has() -> None:
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": []}}
    mirrors = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": one}}}
        for one in ("llama-2", "shadow")
    ]
    route = http_route({"name": "llama", "port": 80, "filters": [header, *mirrors]})
    changed = set_weight(route, [0], "llama", OTHER, 10)
    first, second = changed["spec"]["rules"][0]["backendRefs"]
    assert first["filters"] == [header, *mirrors]
    assert second == {
        "name": "llama-2",
        "port": 8080,
        "filters": [header, mirrors[1]],
        "weight": 10,
    }
    assert own_filters(route, [0], "llama") and not own_filters(route, [1], "llama")
    assert not own_filters(http_route({"name": "llama"}), [0], "llama")
    istio = virtual_service(("llama", None))
    istio["spec"]["http"][0]["route"][0]["headers"] = {"request": {"set": {"a": "b"}}}
    changed = set_weight(istio, [0], "llama", OTHER, 10)
    assert changed["spec"]["http"][0]["route"][1]["headers"] == {"request": {"set": {"a": "b"}}}


@pytest.mark.parametrize(
    ("host", "other"),
    [
        ("llama", "llama-2"),
        ("llama.chat", "llama-2.chat"),
        ("llama.chat.svc.cluster.local", "llama-2.chat.svc.cluster.local"),
    ],
)
def test_an_istio_host_keeps_its_form(host: str, other: str) -> None:
    route = set_weight(virtual_service((host, None)), [0], "llama", OTHER, 10)
    targets = route["spec"]["http"][0]["route"]
    assert targets[1] == {
        "destination": {"host": other, "port": {"number": 8080}},
        "weight": 10,
    }
    assert "port" not in targets[0]["destination"]


def test_a_backend_that_is_there_keeps_its_port_and_filters() -> None:
    other = {"name": "llama-2", "port": 9000, "filters": [{"type": "X"}], "weight": 5}
    route = set_weight(
        http_route({"name": "llama", "port": 80, "weight": 5}, other), [0], "llama", OTHER, 20
    )
    assert route["spec"]["rules"][0]["backendRefs"] == [
        {"name": "llama", "port": 80, "weight": 80},
        {**other, "weight": 20},
    ]


def test_the_same_name_in_another_namespace_is_another_backend() -> None:
    foreign = {"name": "llama-2", "namespace": "other", "port": 80, "weight": 7}
    route = http_route({"name": "llama", "port": 80}, foreign)
    assert remove_backend(route, [0], "llama", "llama-2")["spec"]["rules"][0]["backendRefs"] == [
        {"name": "llama", "port": 80},
        foreign,
    ]


# -- with an async queue --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rules_of_an_async_queue_outlast_a_split(kind: RouteKind) -> None:
    route = add_async_rules(make_route(kind), "llama")
    own = [one.index for one in read_rules(route) if one.backends[0].name == "llama"]
    divided = set_weight(route, own, "llama", OTHER, 10)
    assert add_async_rules(divided, "llama") == divided
    assert add_async_rules(remove_backend(divided, own, "llama", "llama-2"), "llama") == route


@pytest.mark.parametrize("kind", KINDS)
def test_the_path_of_a_queue_is_known_during_a_split(kind: RouteKind) -> None:
    """Its gateway would be told another path, and restarted."""
    divided = set_weight(make_route(kind), [0], "llama", OTHER, 10)
    assert find_public_path([divided], "llama") == "/chat/llama"
    assert find_public_path([divided], "llama-2") == "", "it is not that of the other one"
    assert not keeps_path(divided, "llama")
