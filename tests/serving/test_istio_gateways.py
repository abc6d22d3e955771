"""Scheme, port and host of the endpoint of a VirtualService come from its Istio Gateway."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.gateway_listeners import virtual_service_gateways
from servedeck.serving.objects.gateway_records import IstioGateway
from servedeck.serving.objects.records import VirtualService
from tests.serving.factories import (
    deployment,
    istio_gateway,
    istio_server,
    service,
    virtual_service,
)

WILDCARD = "*.example.com"
PUBLIC = "istio-system/public"


def resolve(
    route: VirtualService, *gateways: IstioGateway, host: str = "", scheme: str = ""
) -> Endpoint:
    return resolve_endpoint(
        deployment(),
        [service()],
        [],
        [route],
        [],
        host,
        gateways={one.key: one for one in gateways},
        scheme=scheme,
    )


@pytest.mark.parametrize(
    ("servers", "url"),
    [
        ([istio_server("HTTP", 80)], "http://ai.example.com"),
        ([istio_server("HTTP", 8080)], "http://ai.example.com:8080"),
        ([istio_server("http2", 8080)], "http://ai.example.com:8080"),
        ([istio_server("GRPC", 8080)], "http://ai.example.com:8080"),
        ([istio_server("HTTPS", 443, mode="SIMPLE")], "https://ai.example.com"),
        (
            [istio_server("HTTPS", 8443, mode="MUTUAL"), istio_server("HTTP", 80)],
            "https://ai.example.com:8443",
        ),
        ([istio_server("HTTP", 80, httpsRedirect=True)], "https://ai.example.com"),
        (
            [
                istio_server("HTTP", 80, httpsRedirect=True),
                istio_server("HTTPS", 8443, mode="SIMPLE"),
            ],
            "https://ai.example.com:8443",
        ),
        ([istio_server("TLS", 8443, mode="SIMPLE")], "https://ai.example.com:8443"),
        # Those have routes for TLS, not for HTTP.
        (
            [istio_server("HTTPS", 443, mode="PASSTHROUGH"), istio_server("HTTP", 8080)],
            "http://ai.example.com:8080",
        ),
        (
            [istio_server("TLS", 443, mode="AUTO_PASSTHROUGH"), istio_server("HTTP", 8080)],
            "http://ai.example.com:8080",
        ),
        ([istio_server("TCP", 9000), istio_server("HTTP", 8080)], "http://ai.example.com:8080"),
        (
            [istio_server("HTTPS", 443, "b.example.com"), istio_server("HTTP", 8080)],
            "http://ai.example.com:8080",
        ),
        (
            [istio_server("HTTPS", 443, WILDCARD), istio_server("HTTP", 8080)],
            "https://ai.example.com",
        ),
        (
            [istio_server("HTTPS", 443, "*/ai.example.com"), istio_server("HTTP", 8080)],
            "https://ai.example.com",
        ),
        (
            [istio_server("HTTPS", 443, "team-a/*"), istio_server("HTTP", 8080)],
            "https://ai.example.com",
        ),
        (
            [istio_server("HTTPS", 443, "team-b/*"), istio_server("HTTP", 8080)],
            "http://ai.example.com:8080",
        ),
        (
            [istio_server("HTTPS", 443, "./*"), istio_server("HTTP", 8080)],
            "http://ai.example.com:8080",
        ),
    ],
)
def test_the_servers_of_an_istio_gateway(servers: list[dict[str, Any]], url: str) -> None:
    for some in (servers, servers[::-1]):
        found = resolve(virtual_service(), istio_gateway(*some))
        assert (found.url, found.issue) == (url, "")


@pytest.mark.parametrize(
    ("written", "namespace"),
    [
        (PUBLIC, "istio-system"),
        ("public", "team-a"),
        ("./public", "team-a"),
        ("public.istio-system", "istio-system"),
        ("public.istio-system.svc.cluster.local", "istio-system"),
    ],
)
def test_a_virtual_service_names_its_gateway_in_many_ways(written: str, namespace: str) -> None:
    route = virtual_service(gateways=("mesh", written))
    some = istio_gateway(istio_server("HTTP", 8080), namespace=namespace)
    assert resolve(route, some).url == "http://ai.example.com:8080"
    assert resolve(route, istio_gateway(istio_server("HTTP", 8080), namespace="far")).url == (
        "https://ai.example.com"
    )
    near = istio_gateway(istio_server("HTTP", 8080, "./*"), namespace=namespace)
    assert resolve(route, near).url.startswith("http:") is (namespace == "team-a")


def test_a_match_may_name_gateways_and_a_port_of_its_own() -> None:
    some = istio_gateway(istio_server("HTTP", 8080), istio_server("HTTPS", 443, mode="SIMPLE"))
    other = istio_gateway(istio_server("HTTP", 9090), name="other")
    for match, url in (
        ({}, "https://ai.example.com"),
        ({"port": 8080}, "http://ai.example.com:8080"),
        ({"gateways": ["istio-system/other"]}, "http://ai.example.com:9090"),
    ):
        assert resolve(virtual_service(match), some, other).url == url
    inside = resolve(virtual_service({"gateways": ["mesh"]}), some, other)
    assert inside.issue.endswith(
        "has a match that applies inside the mesh only: its gateways are mesh"
    )
    assert inside.url == "http://ai.example.com"


@pytest.mark.parametrize("gateways", [(), ("mesh",)])
def test_a_virtual_service_without_gateways_has_none(gateways: tuple[str, ...]) -> None:
    for match in ({}, {"gateways": ["mesh"]}):
        inside = resolve(virtual_service(match, gateways=gateways))
        assert inside.issue.endswith("applies inside the mesh only: it has no gateways")


def test_hosts_that_no_server_accepts_are_said() -> None:
    some = istio_gateway(istio_server("HTTP", 8080, "b.example.com"))
    found = resolve(virtual_service(), some)
    assert found.url == "https://ai.example.com"
    assert found.issue == (
        "VirtualService team-a/llama has hosts (ai.example.com) that no server of Gateway "
        "istio-system/public accepts"
    )
    # One that is not known may accept them.
    assert not resolve(virtual_service(gateways=(PUBLIC, "team-a/other")), some).issue
    assert not resolve(virtual_service()).issue


@pytest.mark.parametrize(
    ("server", "host", "url"),
    [
        ("gw.example.com", "", "http://gw.example.com:8080"),
        ("*", "", ""),
        ("*", "ai.example.com", "http://ai.example.com:8080"),
        (WILDCARD, "ai.example.com", "http://ai.example.com:8080"),
        (WILDCARD, "", ""),
    ],
)
def test_a_virtual_service_for_all_hosts(server: str, host: str, url: str) -> None:
    route = virtual_service(hosts=("*",))
    found = resolve(route, istio_gateway(istio_server("HTTP", 8080, server)), host=host)
    assert found.url == url
    assert ("accepts any host that matches" in found.issue) is not bool(url)


def test_the_scheme_of_the_settings_comes_first_for_istio_too() -> None:
    some = istio_gateway(istio_server("HTTP", 8080))
    assert resolve(virtual_service(), some, scheme="https").url == "https://ai.example.com"
    assert resolve(virtual_service(), some, scheme="http").url == "http://ai.example.com:8080"
    inside = virtual_service(gateways=())
    assert resolve(inside, some, scheme="https").url == "http://ai.example.com"


def test_the_gateways_of_a_route() -> None:
    match = {"gateways": ["mesh", "other/own"]}
    found = list(virtual_service_gateways(virtual_service(match, gateways=("mesh", PUBLIC))))
    assert found == [istio_gateway().key, istio_gateway(name="own", namespace="other").key]


def test_only_what_is_used_is_kept() -> None:
    server = {**istio_server("HTTPS", 443, mode="SIMPLE", credentialName="c"), "name": "x"}
    other = msgspec.convert({"spec": {"selector": {}, "servers": [server]}}, IstioGateway)
    assert list(msgspec.to_builtins(other)["spec"]["servers"]) == [
        istio_server("HTTPS", 443, "*", mode="SIMPLE")
    ]
