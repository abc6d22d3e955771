"""Gateways in the live picture: the URLs that their listeners define."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings
from servedeck.fleet.fleet import Fleet
from servedeck.serving.objects.gateway_records import (
    GatewayAddress,
    GatewayStatus,
    ListenerSetStatus,
)
from servedeck.serving.objects.records import Condition
from tests.fleet.factories import (
    change,
    deployment,
    gateway,
    http_route,
    istio_gateway,
    listener_set,
    pod,
    replicaset,
    service,
    virtual_service,
)
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import SessionRecorder, recorded_session
from tests.fleet.test_fleet import LLAMA, NOW, QWEN, llama_view, make_two_servings
from tests.fleet.test_pools import pool
from tests.fleet.test_pools import route as pool_route

HTTPS = "https://ai.example/team-a/llama"
HTTP = "http://ai.example:8080/team-a/llama"


def start(*records: Any) -> Fleet:
    fleet = make_two_servings()
    for record in (service(), service("qwen"), *records):
        fleet.apply(change(record, "ADDED"))
    fleet.flush(NOW)
    return fleet


def url(fleet: Fleet) -> str:
    return llama_view(fleet).endpoint.url


@pytest.mark.parametrize("is_gateway_first", [False, True])
def test_the_listener_of_the_gateway_defines_the_url(is_gateway_first: bool) -> None:
    records = [http_route(), gateway()]
    assert url(start(*(records[::-1] if is_gateway_first else records))) == HTTP


def test_a_gateway_that_changes_changes_the_urls_of_its_routes_alone() -> None:
    fleet = start(http_route(), http_route("qwen", "qwen", gateway_name="other"))
    assert url(fleet) == HTTPS
    fleet.apply(change(gateway(), "ADDED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == HTTP
    fleet.apply(change(gateway("HTTPS", 8443)))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == "https://ai.example:8443/team-a/llama"
    fleet.apply(change(gateway(), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == HTTPS
    fleet.apply(change(gateway(name="other")))
    assert fleet.flush(NOW) == {QWEN}
    fleet.apply(change(gateway(name="unused")))
    assert not fleet.has_pending


def test_a_route_that_moves_to_another_gateway() -> None:
    fleet = start(http_route(), gateway(), gateway("HTTPS", 443, name="other"))
    assert url(fleet) == HTTP
    fleet.apply(change(http_route(gateway_name="other")))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == HTTPS
    fleet.apply(change(gateway("HTTP", 80)))
    assert not fleet.has_pending
    fleet.apply(change(http_route(gateway_name="other"), "DELETED"))
    fleet.flush(NOW)
    fleet.apply(change(gateway("HTTP", 80, name="other")))
    assert not fleet.has_pending


def test_what_a_gateway_says_without_another_address_concerns_nobody() -> None:
    fleet = start(http_route(), gateway())
    again = replace(gateway(), metadata=replace(gateway().metadata, resource_version="9"))
    fleet.apply(change(again))
    assert not fleet.has_pending
    addressed = GatewayStatus(addresses=(GatewayAddress(value="10.0.0.7"),))
    fleet.apply(change(replace(gateway(), status=addressed)))
    assert fleet.has_pending


def test_a_listener_set_of_a_route() -> None:
    fleet = start(
        http_route(parent_kind="ListenerSet"),
        http_route("qwen", "qwen"),
        gateway("HTTPS", 443),
        listener_set(),
    )
    assert url(fleet) == HTTP
    fleet.apply(change(listener_set("HTTPS", 8443)))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == "https://ai.example:8443/team-a/llama"
    rejected = ListenerSetStatus(conditions=(Condition(type="Accepted", status="False"),))
    fleet.apply(change(replace(listener_set(), status=rejected)))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == HTTPS
    fleet.apply(change(replace(listener_set("HTTP", 8080), spec=listener_set().spec)))
    assert fleet.flush(NOW) == {LLAMA}
    fleet.apply(change(listener_set(), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == HTTPS
    fleet.apply(change(gateway("HTTP", 8080)))
    assert fleet.flush(NOW) == {QWEN}


def test_a_listener_set_is_reached_at_the_addresses_of_its_gateway() -> None:
    route = http_route(parent_kind="ListenerSet")
    fleet = start(replace(route, spec=replace(route.spec, hostnames=())), listener_set(), gateway())
    addressed = GatewayStatus(addresses=(GatewayAddress(value="10.0.0.7"),))
    fleet.apply(change(replace(gateway(), status=addressed)))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == "http://10.0.0.7:8080/team-a/llama"


def test_a_gateway_that_was_created_again_stays_when_the_old_one_is_deleted() -> None:
    fleet = start(http_route(), gateway())
    fleet.apply(change(gateway(uid="new"), "ADDED"))
    fleet.apply(change(gateway(), "DELETED"))
    fleet.flush(NOW)
    assert url(fleet) == HTTP


def test_a_gateway_of_a_route_to_a_pool() -> None:
    route = pool_route()
    spec = replace(route.spec, parent_refs=http_route().spec.parent_refs)
    fleet = start(pool(), replace(route, spec=spec))
    assert url(fleet) == "https://ai.example"
    fleet.apply(change(gateway()))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == "http://ai.example:8080"


def test_an_istio_gateway_of_a_virtual_service() -> None:
    fleet = start(virtual_service("v", "llama.team-a.svc.cluster.local"))
    assert url(fleet) == "https://mesh.example"
    fleet.apply(change(gateway()))  # of the Gateway API
    assert not fleet.has_pending
    fleet.apply(change(istio_gateway()))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == "http://mesh.example:8080"
    fleet.apply(change(istio_gateway(), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == "https://mesh.example"


def test_the_scheme_of_the_settings() -> None:
    fleet = start(http_route(), gateway())
    fleet.set_host("", "https")
    assert fleet.flush(NOW) == {LLAMA}
    assert url(fleet) == HTTPS
    fleet.set_host("", "")
    fleet.flush(NOW)
    assert url(fleet) == HTTP


# -- as a session watches them ----------------------------------------------------------------


def make_cluster(**contexts: str) -> FakeCluster:
    cluster = FakeCluster(**contexts)
    cluster.absent_kinds -= {"httproutes", "gateways"}
    cluster.put(deployment(), replicaset(), pod(), service(), http_route(), gateway())
    return cluster


def shown_url(watched: SessionRecorder) -> str:
    view = watched.session.fleet.view(LLAMA)
    return view.endpoint.url if view is not None else ""


@pytest.mark.parametrize("namespace", ["", "team-a"])
async def test_gateways_are_watched_in_all_namespaces(namespace: str) -> None:
    cluster = make_cluster()
    target = ConnectionOptions(namespace=namespace or None, all_namespaces=not namespace)
    async with recorded_session(cluster, target) as watched:
        await watched.wait_until(lambda: shown_url(watched) == HTTP)
        assert watched.session.namespace == namespace
        cluster.put(gateway("HTTPS", 443))
        await watched.wait_until(lambda: shown_url(watched) == HTTPS)
        cluster.delete(gateway("HTTPS", 443))
        cluster.put(gateway())
        await watched.wait_until(lambda: shown_url(watched) == HTTP)


async def test_who_may_not_read_gateways_has_https() -> None:
    cluster = make_cluster()
    cluster.forbidden = {("gateways", "*")}
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert shown_url(watched) == HTTPS
        cluster.forbidden.clear()
        await watched.wait_until(lambda: shown_url(watched) == HTTP)


@pytest.mark.parametrize("namespace", ["", "team-a"])
async def test_gateways_that_may_not_be_read_are_no_missing_permission(namespace: str) -> None:
    cluster = make_cluster()
    cluster.api_groups = {"gateway.networking.k8s.io"}
    cluster.forbidden = {("gateways", "*"), ("httproutes", "*")}
    target = ConnectionOptions(namespace=namespace or None, all_namespaces=not namespace)
    async with recorded_session(cluster, target) as watched:
        await watched.wait_until(lambda: watched.session.state.missing_permissions)
        await watched.wait_until_live()
        assert watched.session.state.missing_permissions == (
            "list httproutes.gateway.networking.k8s.io",
        )


async def test_where_all_gateways_may_not_be_read_those_of_the_namespace_are() -> None:
    cluster = make_cluster()
    near = gateway("HTTPS", 8443, name="near")
    near = replace(near, metadata=replace(near.metadata, namespace="team-a"))
    parent = replace(http_route().spec.parent_refs[0], namespace="", name="near")
    route = http_route()
    cluster.put(near, replace(route, spec=replace(route.spec, parent_refs=(parent,))))
    cluster.forbidden = {("gateways", "")}
    one = ConnectionOptions(namespace="team-a")
    async with recorded_session(cluster, one) as watched:
        await watched.wait_until(
            lambda: shown_url(watched) == "https://ai.example:8443/team-a/llama"
        )
        cluster.delete(near)
        await watched.wait_until(lambda: shown_url(watched) == HTTPS)


async def test_a_permission_that_is_revoked_takes_the_gateways_along() -> None:
    cluster = make_cluster()
    async with recorded_session(cluster, ConnectionOptions(namespace="team-a")) as watched:
        await watched.wait_until(lambda: shown_url(watched) == HTTP)
        cluster.forbidden = {("gateways", "*")}
        for queue, (plural, _, _) in cluster.watches.items():
            if plural == "gateways":
                queue.put_nowait(None)
        await watched.wait_until(lambda: shown_url(watched) == HTTPS)


async def test_the_scheme_that_is_set_is_shown_whatever_the_gateway_has() -> None:
    cluster = make_cluster()
    settings = Settings(endpoint_scheme="https")
    async with recorded_session(cluster, settings=settings) as watched:
        await watched.wait_until_live()
        assert shown_url(watched) == HTTPS
