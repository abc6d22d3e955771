"""Scheme, port and host of the endpoint of an HTTPRoute come from the listeners of its Gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.gateway_listeners import (
    accepted_hosts,
    http_route_gateways,
)
from servedeck.serving.objects.gateway_records import AnyGateway, Gateway
from servedeck.serving.objects.records import HTTPRoute
from tests.serving.factories import (
    deployment,
    gateway,
    http_route,
    http_route_rule,
    istio_gateway,
    istio_server,
    listener,
    listener_set,
    service,
)

LLAMA = deployment(
    {"name": "inference-server", "command": ["vllm", "serve", "m"], "ports": [{"containerPort": 8}]}
)
PATH = "/team-a/llama"
MAIN = {"name": "main", "namespace": "gateways"}
HTTP, HTTPS = listener("HTTP", 80), listener("HTTPS", 443)
ALT_HTTP, ALT_HTTPS = listener("HTTP", 8080), listener("HTTPS", 8443)
WILDCARD = "*.example.com"


def resolve(route: HTTPRoute, *gateways: AnyGateway, host: str = "", scheme: str = "") -> Endpoint:
    return resolve_endpoint(
        LLAMA,
        [service()],
        [route],
        [],
        [],
        host,
        gateways={one.key: one for one in gateways},
        scheme=scheme,
    )


def route_of(*hostnames: str, **parent: Any) -> HTTPRoute:
    """An accepted route on the Gateway main."""
    return http_route(http_route_rule(), hostnames=hostnames, parents=({**MAIN, **parent},))


def base_url(found: Endpoint) -> str:
    assert not found.url or found.url.endswith(PATH)
    return found.url.removesuffix(PATH)


# -- HTTPRoute --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listeners", "url"),
    [
        ([HTTP], "http://ai.example.com"),
        ([ALT_HTTP], "http://ai.example.com:8080"),
        ([HTTPS], "https://ai.example.com"),
        ([ALT_HTTPS], "https://ai.example.com:8443"),
        ([listener("HTTP", 443)], "http://ai.example.com:443"),
        ([listener("HTTPS", 80)], "https://ai.example.com:80"),
        ([HTTP, HTTPS], "https://ai.example.com"),
        ([HTTP, ALT_HTTPS], "https://ai.example.com:8443"),
        ([ALT_HTTPS, HTTPS], "https://ai.example.com"),
        ([listener("TLS", 443), ALT_HTTP], "http://ai.example.com:8080"),
        ([listener("TLS", 8443)], "https://ai.example.com:8443"),
        ([listener("TCP", 9000), ALT_HTTP], "http://ai.example.com:8080"),
        ([listener("HTTPS", 443, "b.example.com"), ALT_HTTP], "http://ai.example.com:8080"),
        ([listener("HTTPS", 443, WILDCARD), HTTP], "https://ai.example.com"),
        ([listener("HTTPS", 443, "*.com"), HTTP], "https://ai.example.com"),
        ([listener("HTTPS", 443, "AI.Example.com"), HTTP], "https://ai.example.com"),
        ([listener("HTTPS", 443, "*.i.example.com"), HTTP], "http://ai.example.com"),
        ([listener("HTTPS", 443, "*.ai.example.com"), HTTP], "http://ai.example.com"),
        ([listener("HTTP", 0)], "http://ai.example.com"),
        ([listener("HTTP", 65536)], "http://ai.example.com"),
        # What no listener of it accepts says nothing of its URL.
        ([listener("HTTP", 8080, "b.example.com")], "https://ai.example.com"),
        ([listener("TCP", 8080)], "https://ai.example.com"),
        ([], "https://ai.example.com"),
    ],
)
def test_the_listeners_of_a_gateway(listeners: list[dict[str, Any]], url: str) -> None:
    for some in (listeners, listeners[::-1]):
        found = resolve(route_of("ai.example.com"), gateway(*some))
        assert (base_url(found), found.issue) == (url, "")


@pytest.mark.parametrize(
    ("parent", "url"),
    [
        ({}, "https://ai.example.com"),
        ({"sectionName": "http"}, "http://ai.example.com:8080"),
        ({"port": 8080}, "http://ai.example.com:8080"),
        ({"port": 8080, "sectionName": "http"}, "http://ai.example.com:8080"),
        ({"port": None, "sectionName": None}, "https://ai.example.com"),
        ({"sectionName": "other"}, "https://ai.example.com"),
        ({"port": 8080, "kind": "Service", "group": ""}, "https://ai.example.com"),
        ({"port": 8080, "kind": "ListenerSet"}, "https://ai.example.com"),
        ({"port": 8080, "group": "example.com"}, "https://ai.example.com"),
        ({"port": 8080, "name": "other"}, "https://ai.example.com"),
        ({"port": 8080, "namespace": "team-a"}, "https://ai.example.com"),
    ],
)
def test_a_route_names_the_listener(parent: dict[str, Any], url: str) -> None:
    given_ = {key: value for key, value in parent.items() if value is not None}
    found = resolve(route_of("ai.example.com", **given_), gateway(ALT_HTTP, HTTPS))
    assert base_url(found) == url


def test_a_parent_is_in_the_namespace_of_the_route_if_it_names_none() -> None:
    route = http_route(http_route_rule(), parents=({"name": "main"},))
    assert base_url(resolve(route, gateway(ALT_HTTP))) == "https://ai.example.com"
    near = gateway(ALT_HTTP, namespace="team-a")
    assert base_url(resolve(route, near)) == "http://ai.example.com:8080"


@pytest.mark.parametrize(
    ("allowed", "attaches"),
    [
        ({}, False),  # those of the Gateway's own namespace
        ({"namespaces": {"from": "Same"}}, False),
        ({"namespaces": {"from": "None"}}, False),
        ({"namespaces": {"from": "All"}}, True),
        ({"namespaces": {"from": "Selector", "selector": {}}}, True),
        ({"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}, False),
        ({"namespaces": {"from": "All"}, "kinds": [{"kind": "HTTPRoute"}]}, True),
    ],
)
def test_a_listener_takes_the_routes_that_it_allows(
    allowed: dict[str, Any], attaches: bool
) -> None:
    some = gateway(listener("HTTPS", 8443, allowedRoutes=allowed), HTTP)
    url = "https://ai.example.com:8443" if attaches else "http://ai.example.com"
    assert base_url(resolve(route_of("ai.example.com"), some)) == url


def test_a_listener_takes_the_routes_of_its_own_namespace() -> None:
    near = gateway(listener("HTTPS", 8443, allowedRoutes={}), namespace="team-a")
    route = http_route(http_route_rule(), parents=({"name": "main"},))
    assert base_url(resolve(route, near)) == "https://ai.example.com:8443"


def answer(parent: dict[str, Any], status: str) -> dict[str, Any]:
    return {"parentRef": parent, "conditions": [{"type": "Accepted", "status": status}]}


SECOND = {"name": "second", "namespace": "gateways"}


@pytest.mark.parametrize(
    ("answers", "url"),
    [
        ([answer(MAIN, "True"), answer(SECOND, "True")], "https://ai.example.com"),
        ([answer(MAIN, "True"), answer(SECOND, "False")], "http://ai.example.com:8080"),
        ([answer(MAIN, "False"), answer(SECOND, "True")], "https://ai.example.com"),
        ([answer(MAIN, "True")], "http://ai.example.com:8080"),
        ([answer(SECOND, "False")], "http://ai.example.com:8080"),
        ([answer(MAIN, "False"), answer(SECOND, "False")], "https://ai.example.com"),
        ([answer({**MAIN, "sectionName": "http"}, "True")], "https://ai.example.com"),
        ([], "https://ai.example.com"),
    ],
)
def test_of_several_gateways_those_count_that_accept_the_route(
    answers: list[dict[str, Any]], url: str
) -> None:
    route = http_route(http_route_rule(), parents=(MAIN, SECOND), status={"parents": answers})
    found = resolve(route, gateway(ALT_HTTP), gateway(HTTPS, name="second"))
    assert base_url(found) == url


@pytest.mark.parametrize(
    ("parent", "owners", "url"),
    [
        ({}, [listener_set(ALT_HTTP)], "http://ai.example.com:8080"),
        ({}, [listener_set(ALT_HTTP), gateway(HTTPS)], "http://ai.example.com:8080"),
        ({"kind": "Gateway"}, [listener_set(ALT_HTTP), gateway(HTTPS)], "https://ai.example.com"),
        (
            {"kind": "Gateway"},
            [listener_set(ALT_HTTP, namespace="gateways")],
            "https://ai.example.com",
        ),
        ({}, [listener_set(HTTP, ALT_HTTPS)], "https://ai.example.com:8443"),
        ({"sectionName": "http"}, [listener_set(ALT_HTTP, HTTPS)], "http://ai.example.com:8080"),
        ({"port": 8080}, [listener_set(ALT_HTTP, HTTPS)], "http://ai.example.com:8080"),
        ({}, [listener_set(ALT_HTTP, accepted="")], "http://ai.example.com:8080"),
        ({}, [listener_set(ALT_HTTP, accepted="Unknown")], "http://ai.example.com:8080"),
        ({}, [listener_set(ALT_HTTP, accepted="False")], "https://ai.example.com"),
        ({"namespace": "x"}, [listener_set(ALT_HTTP)], "https://ai.example.com"),
        ({"group": "example.com"}, [listener_set(ALT_HTTP)], "https://ai.example.com"),
        # Those of the ListenerSet's namespace, not of the Gateway's.
        ({}, [listener_set({**ALT_HTTP, "allowedRoutes": {}})], "http://ai.example.com:8080"),
        (
            {"namespace": "x"},
            [listener_set({**ALT_HTTP, "allowedRoutes": {}}, namespace="x")],
            "https://ai.example.com",
        ),
    ],
)
def test_the_listeners_of_a_listener_set(
    parent: dict[str, Any], owners: list[AnyGateway], url: str
) -> None:
    reference = {"kind": "ListenerSet", "namespace": "team-a", **parent}
    if parent == {"kind": "Gateway"}:
        reference = MAIN
    route = route_of("ai.example.com", **reference)
    assert base_url(resolve(route, *owners)) == url


def test_a_listener_set_without_hosts_has_the_address_of_its_gateway() -> None:
    route = route_of(kind="ListenerSet", namespace="team-a")
    addresses = ({"type": "IPAddress", "value": "10.0.0.7"},)
    for owners, url in (
        ((listener_set(ALT_HTTP), gateway(HTTPS, addresses=addresses)), "http://10.0.0.7:8080"),
        ((listener_set(ALT_HTTP),), ""),
    ):
        assert base_url(resolve(route, *owners)) == url


def test_an_answer_that_writes_out_the_defaults_is_that_of_the_parent() -> None:
    full = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "team-a"}
    near = {"name": "main"}
    answers = [answer({**full, **near}, "True"), answer(SECOND, "False")]
    route = http_route(http_route_rule(), parents=(near, SECOND), status={"parents": answers})
    gateways = gateway(ALT_HTTP, namespace="team-a"), gateway(HTTPS, name="second")
    assert base_url(resolve(route, *gateways)) == "http://ai.example.com:8080"


IP, NAME = {"type": "IPAddress", "value": "10.0.0.7"}, {"type": "Hostname", "value": "lb.cloud"}


@pytest.mark.parametrize(
    ("listeners", "addresses", "url"),
    [
        ([listener("HTTP", 8080, "gw.example.com")], (IP,), "http://gw.example.com:8080"),
        ([HTTP], (IP,), "http://10.0.0.7"),
        ([HTTP], ({"value": "10.0.0.7"},), "http://10.0.0.7"),
        ([ALT_HTTP], (NAME, IP), "http://lb.cloud:8080"),
        ([ALT_HTTP], ({"value": "fd00::7"},), "http://[fd00::7]:8080"),
        ([ALT_HTTP], ({"type": "example.com/pool", "value": "a"}, IP), "http://10.0.0.7:8080"),
        ([ALT_HTTP], ({"value": "$(id)"}, IP), "http://10.0.0.7:8080"),
        ([HTTP, HTTPS], (IP,), "https://10.0.0.7"),
        # A certificate is for names.
        ([HTTPS, listener("HTTP", 8080, "gw.example.com")], (IP,), "http://gw.example.com:8080"),
        ([HTTPS, listener("HTTP", 8080, "gw.example.com")], (NAME,), "https://lb.cloud"),
        ([HTTP], (), ""),
        ([listener("HTTP", 8080, WILDCARD)], (IP,), ""),
    ],
)
def test_a_route_without_host_names_takes_that_of_the_listener_or_an_address(
    listeners: list[dict[str, Any]], addresses: tuple[dict[str, Any], ...], url: str
) -> None:
    found = resolve(route_of(), gateway(*listeners, addresses=addresses))
    assert base_url(found) == url
    assert ("set endpoint_host in the settings" in found.issue) == (not url)


@pytest.mark.parametrize(
    ("hostnames", "own", "url"),
    [
        ((WILDCARD,), "gw.example.com", "http://gw.example.com:8080"),
        (("a.other.com", "b.example.com"), WILDCARD, "http://b.example.com:8080"),
        ((WILDCARD,), "*.com", ""),
        (("*.com",), WILDCARD, ""),
    ],
)
def test_the_host_is_one_that_route_and_listener_have(
    hostnames: tuple[str, ...], own: str, url: str
) -> None:
    found = resolve(route_of(*hostnames), gateway(listener("HTTP", 8080, own)))
    assert base_url(found) == url
    if not url:
        assert found.issue.startswith(
            "HTTPRoute team-a/llama accepts any host that matches *.example.com; set endpoint_host"
        )


@pytest.mark.parametrize(
    ("hostnames", "host", "url"),
    [
        (("ai.example.com",), "gw.example.com", "http://ai.example.com:8080"),
        ((), "gw.example.com", "http://gw.example.com:8080"),
        ((), "gw.example.com:30080", "http://gw.example.com:30080"),
        ((), "gw.example.com/base", "http://gw.example.com/base"),
        ((WILDCARD,), "gw.example.com", "http://gw.example.com:8080"),
    ],
)
def test_the_host_of_the_settings_comes_before_that_of_the_listener(
    hostnames: tuple[str, ...], host: str, url: str
) -> None:
    some = gateway(ALT_HTTP, addresses=(IP,))
    assert base_url(resolve(route_of(*hostnames), some, host=host)) == url


def test_the_port_of_the_settings_chooses_the_listener() -> None:
    some = gateway(ALT_HTTP, ALT_HTTPS)
    assert base_url(resolve(route_of(), some, host="h:8080")) == "http://h:8080"
    assert base_url(resolve(route_of(), some, host="h:8443")) == "https://h:8443"
    assert base_url(resolve(route_of(), some, host="h:30080")) == "https://h:30080"


@pytest.mark.parametrize(
    ("listeners", "scheme", "url"),
    [
        ([ALT_HTTP, HTTPS], "http", "http://ai.example.com:8080"),
        ([HTTP, ALT_HTTPS], "https", "https://ai.example.com:8443"),
        ([ALT_HTTP], "https", "https://ai.example.com"),  # TLS ends in front of the Gateway
        ([ALT_HTTPS], "http", "http://ai.example.com"),
        ([], "http", "http://ai.example.com"),
    ],
)
def test_the_scheme_of_the_settings_comes_first(
    listeners: list[dict[str, Any]], scheme: str, url: str
) -> None:
    found = resolve(route_of("ai.example.com"), gateway(*listeners), scheme=scheme)
    assert base_url(found) == url
    assert base_url(resolve(route_of("ai.example.com"), scheme=scheme)) == f"{scheme}://" + (
        "ai.example.com"
    )


def test_a_listener_is_of_no_use_to_a_route_that_is_not_known_to_be_attached() -> None:
    assert base_url(resolve(http_route(http_route_rule()), gateway(HTTP))) == (
        "https://ai.example.com"
    )
    other = istio_gateway(istio_server("HTTP", 8080), name="main", namespace="gateways")
    assert base_url(resolve(route_of("ai.example.com"), other)) == "https://ai.example.com"


# -- hosts, and the Gateways of a route -------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "own", "both"),
    [
        ((), ("*",), ("*",)),
        ((), ("a.b",), ("a.b",)),
        (("a.b",), ("*",), ("a.b",)),
        (("a.b",), ("a.b",), ("a.b",)),
        (("A.b",), ("a.B",), ("A.b",)),
        (("a.b",), ("*.b",), ("a.b",)),
        (("x.a.b",), ("*.b",), ("x.a.b",)),
        (("b",), ("*.b",), None),
        (("*.b",), ("*.b",), ("*.b",)),
        (("*.a.b",), ("*.b",), ("*.a.b",)),
        (("*.b",), ("*.a.b",), ("*.a.b",)),
        (("*.b",), ("xb",), None),
        (("c", "a.b"), ("*.b", "c"), ("c", "a.b")),
        (("*.b",), ("x.b", "y.b"), ("x.b", "y.b")),
        (("a.b",), (), None),
    ],
)
def test_the_hosts_that_both_have(
    route: Sequence[str], own: Sequence[str], both: tuple[str, ...] | None
) -> None:
    assert accepted_hosts(route, own) == both


HOST = st.sampled_from(("*", "*.b", "*.a.b", "a.b", "x.a.b", "b", "", "*.", "A.B"))


@given(st.lists(HOST), st.lists(HOST))
def test_hosts_are_of_one_of_both_and_the_order_does_not_matter(
    one: list[str], other: list[str]
) -> None:
    found = accepted_hosts(one, other)
    if found is not None:
        assert found and set(found) <= {*one, *other}
        assert accepted_hosts(found, found) is not None
    if one and other:
        assert (found is None) == (accepted_hosts(other, one) is None)


def test_the_gateways_of_a_route() -> None:
    keys = list(http_route_gateways(route_of("h")))
    assert keys == [gateway().key]
    service_parent = http_route(parents=({"kind": "Service", "group": "", "name": "s"},))
    assert not list(http_route_gateways(service_parent))


def test_the_two_kinds_of_gateway_are_not_confused() -> None:
    same = {"name": "main", "namespace": "team-a"}
    assert gateway(**same).key != istio_gateway(**same).key


def test_only_what_is_used_is_kept() -> None:
    raw = {
        "metadata": {"name": "main", "namespace": "gateways", "annotations": {"a": "b"}},
        "spec": {
            "gatewayClassName": "envoy",
            "listeners": [{**HTTPS, "tls": {"mode": "Terminate"}}],
        },
        "status": {"addresses": [IP], "conditions": [{"type": "Programmed"}], "listeners": [{}]},
    }
    kept = msgspec.to_builtins(msgspec.convert(raw, Gateway))
    assert set(kept["spec"]) == {"listeners"} and set(kept["status"]) == {"addresses"}
    assert "tls" not in kept["spec"]["listeners"][0]
