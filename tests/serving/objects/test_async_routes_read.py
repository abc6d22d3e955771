"""A route with the rules of an async gateway still belongs to its serving, as it did before."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given

from servedeck.fleet.index import ingress_backends
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import ASYNC_SERVICE_LABEL
from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.objects.async_routes import (
    add_async_rules,
    find_public_path,
    has_async_rules,
    keeps_path,
    remove_async_rules,
)
from servedeck.serving.objects.backends import Backend, route_backends
from servedeck.serving.objects.change import change_objects
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.records import (
    HTTPRoute,
    Ingress,
    Service,
    VirtualService,
    Workload,
)
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.strategies import specs

KINDS = list(RouteKind)


def make_platform(kind: RouteKind) -> PlatformSettings:
    return PlatformSettings(host="ai.example.com", gateway="gateways/main", route=kind)


def make_objects(kind: RouteKind, spec: ServingSpec | None = None) -> list[dict[str, Any]]:
    wanted = spec or ServingSpec(name="llama", namespace="team-a", template="vllm", image="v:1")
    return build_manifests(wanted, make_platform(kind))[:3]


def with_rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    deployment, service, route = objects
    added = add_async_rules(route, deployment["metadata"]["name"], service["metadata"]["name"])
    assert added != route
    return [deployment, service, added]


def endpoint(objects: list[dict[str, Any]]) -> Endpoint:
    deployment, service, route = objects
    records: dict[type, list[Any]] = {HTTPRoute: [], VirtualService: [], Ingress: []}
    kind = {"HTTPRoute": HTTPRoute, "VirtualService": VirtualService, "Ingress": Ingress}
    record = kind[route["kind"]]
    records[record].append(msgspec.convert(route, record))
    return resolve_endpoint(
        msgspec.convert(deployment, Workload),
        [msgspec.convert(service, Service)],
        records[HTTPRoute],
        records[VirtualService],
        records[Ingress],
        "",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_endpoint_stays_the_same(kind: RouteKind) -> None:
    plain = make_objects(kind)
    before = endpoint(plain)
    assert before.url == "https://ai.example.com/team-a/llama" and before.port == 80
    assert endpoint(with_rules(plain)) == before


def test_an_ingress_of_a_port_with_a_name_comes_back_as_it_was() -> None:
    deployment, service, route = make_objects(RouteKind.INGRESS)
    [path] = route["spec"]["rules"][0]["http"]["paths"]
    path["backend"]["service"]["port"] = {"name": "http"}
    metrics = copy.deepcopy(path)
    metrics["backend"]["service"]["port"] = {"name": "metrics"}
    route["spec"]["rules"][0]["http"]["paths"].append(metrics)
    added = add_async_rules(route, "llama")
    ports = [one["backend"]["service"] for one in added["spec"]["rules"][0]["http"]["paths"]]
    assert ports == [
        {"name": "llama-async", "port": {"number": 80}},
        {"name": "llama", "port": {"name": "metrics"}},
    ]
    assert added["metadata"]["labels"][ASYNC_SERVICE_LABEL] == "llama.http"
    assert remove_async_rules(added, "llama") == route
    assert endpoint([deployment, service, added]) == endpoint([deployment, service, route])


def test_an_ingress_counts_for_both_services() -> None:
    *_, route = with_rules(make_objects(RouteKind.INGRESS))
    assert set(route_backends(route)) == {
        Backend("team-a", "llama-async", 80),
        Backend("team-a", "llama", 80),
    }
    assert set(ingress_backends(msgspec.convert(route, Ingress))) == {
        NamespacedName("team-a", "llama-async"),
        NamespacedName("team-a", "llama"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_of_another_name_gets_rules_too(kind: RouteKind) -> None:
    *_, route = make_objects(kind)
    text = msgspec.json.encode(route).decode()
    renamed = msgspec.json.decode(
        text.replace('"name":"llama","port"', '"name":"api","port"')
        .replace('"service":{"name":"llama"', '"service":{"name":"api"')
        .replace('"host":"llama.', '"host":"api.')
    )
    assert "api" in {one.service for one in route_backends(renamed)}
    assert not has_async_rules(add_async_rules(renamed, "llama"), "llama")
    added = add_async_rules(renamed, "llama", "api")
    assert has_async_rules(added, "llama")
    assert remove_async_rules(added, "llama") == renamed
    assert find_public_path([added], "llama", "api") == "/team-a/llama"


@pytest.mark.parametrize("kind", KINDS)
def test_the_path_that_a_route_removes(kind: RouteKind) -> None:
    *_, route = make_objects(kind)
    assert find_public_path([route], "llama") == "/team-a/llama"
    assert find_public_path([route], "llama", "other") == ""
    assert find_public_path([], "llama") == ""
    if kind is not RouteKind.INGRESS:
        rules = route["spec"]["rules" if kind is RouteKind.HTTP_ROUTE else "http"]
        rules[0].pop("filters", None)
        rules[0].pop("rewrite", None)
        assert find_public_path([route], "llama") == ""
        assert keeps_path(route, "llama") and not keeps_path(route, "llama", "other")


@pytest.mark.parametrize("kind", KINDS)
def test_a_route_of_servedeck_does_not_keep_its_path(kind: RouteKind) -> None:
    *_, route = make_objects(kind)
    assert not keeps_path(route, "llama")
    assert not keeps_path(add_async_rules(route, "llama"), "llama")
    assert find_public_path([add_async_rules(route, "llama")], "llama") == "/team-a/llama"


@given(specs())
def test_the_spec_is_read_the_same_and_a_change_keeps_the_rules(spec: ServingSpec) -> None:
    spec = spec.replace(revision_of="")  # a second revision has no route
    for kind in KINDS:
        plain = make_objects(kind, spec)
        added = with_rules(plain)
        before, after = import_objects(plain), import_objects(added)
        assert after.spec == before.spec
        assert after.platform == before.platform
        assert after.unmanaged_fields == before.unmanaged_fields
        wanted = after.spec.replace(description="other", replicas=spec.replicas + 1)
        change = change_objects(after, wanted, make_platform(kind))
        assert change.changed[2] == added[2]
        assert len(change.changed) == 3, "nothing counts as missing"
