"""Prefix-aware load balancing in the objects: rules of HTTPRoutes that send to an InferencePool."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.objects.async_routes import (
    add_async_rules,
    has_async_rules,
    remove_async_rules,
)
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.inference_pools import own_pools, picker_text, pool_ports
from tests.serving.objects.setting_objects import (
    ENVOY,
    Json,
    any_json,
    edit,
    make_spec,
    only,
    read_again,
)

GROUP, ALPHA = "inference.networking.k8s.io", "inference.networking.x-k8s.io"
GROUPS = frozenset({*ENVOY.api_groups, GROUP, ALPHA})
POOL_REF = {"group": GROUP, "kind": "InferencePool", "name": "pool"}
SELECTOR = {SERVING_LABEL: "llama"}


def pool(name: str = "pool", selector: Any = None, *ports: int, namespace: str = "chat") -> Json:
    labels = SELECTOR if selector is None else selector
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "InferencePool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "targetPorts": [{"number": one} for one in ports or (8000,)],
            "endpointPickerRef": {"name": f"{name}-epp", "port": {"number": 9002}},
        },
    }


def alpha_pool(name: str = "pool", port: int = 8000) -> Json:
    return {
        "apiVersion": f"{ALPHA}/v1alpha2",
        "kind": "InferencePool",
        "metadata": {"name": name, "namespace": "chat"},
        "spec": {
            "selector": SELECTOR,
            "targetPortNumber": port,
            "extensionRef": {"name": f"{name}-epp"},
        },
    }


def engines_with(*pools: Json) -> Engines:
    return Engines(GROUPS, pools=pools)


def serving(
    *pools: Json, backends: list[Json] | None = None, others: tuple[Json, ...] = (), **fields: Any
) -> ImportedServing:
    """A serving of servedeck whose HTTPRoute has these backends in its rule, its Service without
    any."""
    engines = engines_with(*pools)
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", engines=engines)
    built = build_manifests(make_spec(**fields), platform)
    if backends is not None:
        built[-1]["spec"]["rules"][0]["backendRefs"] = backends
    return import_objects([*built, *others], engines)


def refs(route: Json) -> list[list[Json]]:
    return [one["backendRefs"] for one in route["spec"]["rules"]]


# -- on and off ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "group"), [(pool(), GROUP), (alpha_pool(), ALPHA)], ids=["v1", "v1alpha2"]
)
def test_the_backend_alone_changes_and_is_read_back(found: Json, group: str) -> None:
    own = {"name": "llama", "port": 80, "weight": 7, "filters": [{"type": "RequestHeaderModifier"}]}
    current = serving(found, backends=[own])
    before = copy.deepcopy(current.objects.routes[0])
    change = edit(current, load_balancing="prefix-aware")
    assert not change.restarts_pods
    assert change.issues == ()
    route = only(change, "HTTPRoute")
    sent = {**POOL_REF, "group": group, "weight": 7, "filters": own["filters"]}
    assert refs(route) == [[sent]]
    engines = current.objects.engines
    assert read_again(change, engines) == current.spec.replace(load_balancing="prefix-aware")
    # All but the backend is as it was, and is again.
    again = edit(import_objects(change.changed, engines), load_balancing="off")
    assert refs(only(again, "HTTPRoute")) == [[{**own, "group": "", "kind": "Service"}]]
    for one in (route, only(again, "HTTPRoute")):
        one["spec"]["rules"][0]["backendRefs"] = before["spec"]["rules"][0]["backendRefs"]
        assert one == before
    assert read_again(again, engines) == current.spec


def test_a_new_serving_sends_to_the_pool_that_waits_for_it() -> None:
    current = serving(pool(), load_balancing="prefix-aware")
    assert refs(current.objects.routes[0]) == [[POOL_REF]]
    assert current.spec.load_balancing == "prefix-aware"
    assert current.unmanaged_fields == ()


def test_another_algorithm_puts_the_service_back_and_the_other_way_round() -> None:
    current = serving(pool(), load_balancing="random")
    assert len(current.objects.policies) == 1
    engines = current.objects.engines
    change = edit(current, load_balancing="prefix-aware")
    assert [(one.kind, one.name) for one in change.removed] == [("BackendTrafficPolicy", "llama")]
    assert read_again(change, engines).load_balancing == "prefix-aware"
    left = [one for one in change.changed if one["kind"] != "BackendTrafficPolicy"]
    back = edit(import_objects(left, engines), load_balancing="round-robin")
    assert refs(only(back, "HTTPRoute"))[0][0]["name"] == "llama"
    policy = only(back, "BackendTrafficPolicy")
    assert policy["spec"]["loadBalancer"] == {"type": "RoundRobin"}


def test_a_route_without_a_port_gets_that_of_the_service_for_requests() -> None:
    current = serving(pool(), backends=[POOL_REF])
    metrics = {"name": "metrics", "port": 70, "targetPort": 8000}
    ports = current.objects.services[0]["spec"]["ports"]
    ports.insert(0, metrics)
    ports[1]["port"] = 8080
    change = edit(current, load_balancing="off")
    assert refs(only(change, "HTTPRoute"))[0][0]["port"] == 8080


def test_a_rule_for_metrics_and_those_of_others_stay() -> None:
    metrics = {"name": "metrics", "port": 9000, "targetPort": 8000}
    current = serving(pool())
    current.objects.services[0]["spec"]["ports"].append(metrics)
    rules = current.objects.routes[0]["spec"]["rules"]
    rules += [{"backendRefs": [{"name": "llama", "port": 9000}]}, {"backendRefs": [{"name": "x"}]}]
    route = only(edit(current, load_balancing="prefix-aware"), "HTTPRoute")
    assert refs(route) == [[POOL_REF], [{"name": "llama", "port": 9000}], [{"name": "x"}]]


def test_a_rule_that_divides_requests_is_left_alone() -> None:
    divided = [{"name": "llama", "port": 80, "weight": 90}, {"name": "next", "weight": 10}]
    current = serving(pool(), backends=copy.deepcopy(divided))
    change = edit(current, load_balancing="prefix-aware")
    assert refs(only(change, "HTTPRoute")) == [divided]
    [issue] = change.issues
    assert (issue.field, issue.is_error) == ("load_balancing", True)
    divided[0] = {**POOL_REF, "weight": 90}
    current = serving(pool(), backends=copy.deepcopy(divided))
    assert current.spec.load_balancing == "prefix-aware"
    assert refs(only(edit(current, load_balancing="off"), "HTTPRoute")) == [divided]


def plain_and(**matches: Any) -> list[Json]:
    """The rule of requests with these properties, and that of all others."""
    path = {"path": {"type": "PathPrefix", "value": "/"}}
    return [{"matches": [{**path, **matches}]}, {"matches": [path]}]


@pytest.mark.parametrize(
    ("matches", "to_pool", "value"),
    [
        ({}, [0], "off"),
        ({}, [0, 1], "prefix-aware"),
        ({"headers": [{"name": "x-pool", "value": "1"}]}, [0], "off"),
        ({"headers": [{"name": "x-pool", "value": "1"}]}, [1], "prefix-aware"),
        ({"queryParams": [{"name": "pool", "value": "1"}]}, [0], "off"),
    ],
)
def test_prefix_aware_is_what_all_plain_rules_are(
    matches: Json, to_pool: list[int], value: str
) -> None:
    current = serving(pool())
    rules = plain_and(**matches)
    for at, one in enumerate(rules):
        one["backendRefs"] = [POOL_REF if at in to_pool else {"name": "llama", "port": 80}]
    current.objects.routes[0]["spec"]["rules"] = rules
    engines = current.objects.engines
    read = import_objects(current.objects.all, engines)
    assert read.spec.load_balancing == value
    if value == "off":  # the others can be changed
        change = edit(read, load_balancing="prefix-aware")
        assert refs(only(change, "HTTPRoute")) == [[POOL_REF], [POOL_REF]]
        assert read_again(change, engines).load_balancing == "prefix-aware"


def test_where_all_rules_are_conditional_they_count() -> None:
    current = serving(pool(), backends=[POOL_REF])
    header = {"headers": [{"name": "x-user", "value": "1"}]}
    current.objects.routes[0]["spec"]["rules"][0]["matches"] = [header]
    read = import_objects(current.objects.all, current.objects.engines)
    assert read.spec.load_balancing == "prefix-aware"


def test_an_algorithm_takes_all_rules_back_and_its_end_none() -> None:
    current = serving(pool(), load_balancing="random")
    rules = current.objects.routes[0]["spec"]["rules"]
    rules += [{**copy.deepcopy(rules[0]), "backendRefs": [POOL_REF]}]
    read = import_objects(current.objects.all, current.objects.engines)
    assert read.spec.load_balancing == "random"
    change = edit(read, load_balancing="off")
    assert refs(only(change, "HTTPRoute"))[1] == [POOL_REF]
    change = edit(read, load_balancing="round-robin")
    assert [one[0]["name"] for one in refs(only(change, "HTTPRoute"))] == ["llama", "llama"]


def test_a_changed_port_of_the_serving_is_no_reason_to_lose_the_service() -> None:
    current = serving(pool(), backends=[POOL_REF])
    change = edit(current, load_balancing="off", inference_port=8001)
    assert refs(only(change, "HTTPRoute"))[0][0]["port"] == 80


# -- which pool ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        pool("pool", {SERVING_LABEL: "other"}),
        pool("pool", {}),
        pool("pool", {**SELECTOR, "zone": "a"}),
        pool("pool", namespace="search"),
        alpha_pool("pool"),
        {"kind": "InferencePool", "metadata": None, "spec": 5},
    ],
    ids=["labels", "no labels", "more labels", "namespace", "group", "broken"],
)
def test_a_pool_that_is_not_the_serving_s_is_not_read(found: Json) -> None:
    assert serving(found, backends=[POOL_REF]).spec.load_balancing == "off"


def test_a_pool_of_another_namespace_is_not_chosen() -> None:
    current = serving(pool(namespace="search"), pool("other", {SERVING_LABEL: "other"}))
    assert own_pools(current.objects) == []
    change = edit(current, load_balancing="prefix-aware")
    assert change.changed == change.live


def test_the_pool_of_the_serving_s_name_is_chosen_and_v1_before_the_older_one() -> None:
    pools = [alpha_pool("a"), pool("c"), pool("b"), pool("llama"), pool("port", None, 9)]
    current = serving(*pools)
    names = [one["metadata"]["name"] for one in own_pools(current.objects)]
    assert names == ["llama", "b", "c", "port", "a"]
    assert refs(only(edit(current, load_balancing="prefix-aware"), "HTTPRoute"))[0][0] == {
        **POOL_REF,
        "name": "llama",
    }
    current = serving(*pools[:1], pool("port", None, 9))
    chosen = only(edit(current, load_balancing="prefix-aware"), "HTTPRoute")
    assert refs(chosen)[0][0]["group"] == ALPHA


def test_the_port_is_that_of_the_transformer() -> None:
    transformer = {"image": "t:1", "port": 8081}
    current = serving(pool("a"), pool("b", None, 8080, 8081), transformer=transformer)
    change = edit(current, load_balancing="prefix-aware")
    assert refs(only(change, "HTTPRoute"))[0][0]["name"] == "b"


def test_ports_and_the_picker_of_both_versions() -> None:
    assert pool_ports(pool("a", None, 8000, 8001)) == [8000, 8001]
    assert pool_ports(alpha_pool(port=9)) == [9]
    assert picker_text(pool("a\x1b[2J")) == "endpoint picker a-epp"
    assert picker_text(alpha_pool("a")) == "endpoint picker a-epp"
    assert picker_text({"spec": 1}) == ""


@pytest.mark.parametrize("kind", [RouteKind.VIRTUAL_SERVICE, RouteKind.INGRESS])
def test_other_routes_cannot_send_to_a_pool(kind: RouteKind) -> None:
    platform = PlatformSettings(
        host="ai.example.com", gateway="a/b", route=kind, engines=engines_with(pool())
    )
    built = build_manifests(make_spec(load_balancing="prefix-aware"), platform)
    assert import_objects(built, platform.engines).spec.load_balancing == "off"


@given(any_json(["InferencePool", GROUP, "selector", "matchLabels", "targetPorts", "number"]))
def test_no_pool_and_no_route_makes_reading_fail(junk: Any) -> None:
    broken = pool()
    broken["spec"] = junk
    serving(broken, backends=[POOL_REF])
    broken = pool()
    broken["spec"]["selector"] = {"matchLabels": junk}
    broken["spec"]["targetPorts"] = junk
    current = serving(broken, backends=[POOL_REF])
    current.objects.routes[0]["spec"]["rules"] = junk
    edit(import_objects(current.objects.all, engines_with(pool())), load_balancing="prefix-aware")


# -- the async gateway --------------------------------------------------------------------------


def test_the_rules_of_the_async_gateway_stay_and_can_be_added_before_a_pool() -> None:
    current = serving(pool())
    route = current.objects.routes[0]
    added = add_async_rules(route, "llama")
    objects = [one for one in current.objects.all if one["kind"] != "HTTPRoute"]
    change = edit(
        import_objects([*objects, added], current.objects.engines), load_balancing="prefix-aware"
    )
    changed = only(change, "HTTPRoute")
    assert refs(changed)[:2] == refs(added)[:2]
    assert refs(changed)[2] == [POOL_REF]
    # The other way round: the pool is there first.
    plain = remove_async_rules(changed, "llama")
    assert refs(plain) == [[POOL_REF]]
    assert not has_async_rules(add_async_rules(plain, "llama"), "llama")
    assert add_async_rules(plain, "llama", "", [pool()]) == changed
    assert add_async_rules(changed, "llama", "", [pool()]) == changed
