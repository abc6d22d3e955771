"""The Routes of OpenShift to a serving."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.objects.openshift_records import Route
from servedeck.serving.objects.records import HTTPRoute, Ingress, Service
from tests.serving.factories import deployment, http_route, http_route_rule, ingress, service

Json = dict[str, Any]

LLAMA = deployment(
    {
        "name": "inference-server",
        "command": ["vllm", "serve", "m"],
        "ports": [{"name": "api", "containerPort": 8000}],
    }
)
HOST = "llama-team-a.apps.example.com"
EDGE = {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}
PORTS = ({"name": "http", "port": 80, "targetPort": "api"},)


def admission(status: str = "True", host: str = HOST, **why: str) -> Json:
    condition = {"type": "Admitted", "status": status, **why}
    return {"host": host, "routerName": "default", "conditions": [condition]}


def route(
    *routers: Json,
    metadata: Json | None = None,
    to: str = "llama",
    weight: int | None = 100,
    **spec: Any,
) -> Route:
    return msgspec.convert(
        {
            "metadata": {"name": "llama", "namespace": "team-a", **(metadata or {})},
            "spec": {"host": HOST, "to": {"kind": "Service", "name": to, "weight": weight}, **spec},
            "status": {"ingress": routers},
        },
        Route,
    )


def rewriting(target: str) -> Json:
    return {"annotations": {"haproxy.router.openshift.io/rewrite-target": target}}


def made_from_ingress(name: str) -> Json:
    owner = {"kind": "Ingress", "name": name, "uid": "i", "controller": True}
    return {"name": f"{name}-x2k4p", "ownerReferences": [owner]}


def resolve(
    *routes: Route,
    services: tuple[Service, ...] = (service(ports=PORTS),),
    http_routes: tuple[HTTPRoute, ...] = (),
    ingresses: tuple[Ingress, ...] = (),
    host: str = "",
) -> Endpoint:
    return resolve_endpoint(
        LLAMA, services, http_routes, [], ingresses, host, openshift_routes=routes
    )


def test_a_route_is_an_endpoint() -> None:
    assert resolve(route(admission(), tls=EDGE, port={"targetPort": "http"})) == Endpoint(
        url=f"https://{HOST}",
        source="Route team-a/llama",
        cluster_url="http://llama.team-a.svc:80",
        service_name="llama",
        port=80,
        model="m",
        port_forward_command="kubectl port-forward -n team-a service/llama 8080:80",
        proxy_path="/api/v1/namespaces/team-a/services/http:llama:80/proxy",
        pod_port=8000,
    )


@pytest.mark.parametrize(
    ("tls", "scheme"),
    [
        ({}, "http"),
        ({"tls": EDGE}, "https"),
        ({"tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "Allow"}}, "https"),
        ({"tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "None"}}, "https"),
        ({"tls": {"termination": "reencrypt"}}, "https"),
        ({"tls": {"termination": "passthrough"}}, "https"),
    ],
)
def test_the_scheme_is_https_with_any_termination(tls: Json, scheme: str) -> None:
    assert resolve(route(admission(), **tls)).url == f"{scheme}://{HOST}"


@pytest.mark.parametrize(
    ("path", "metadata", "url"),
    [
        ("", None, ""),
        ("/", None, ""),
        ("/llama", None, "/llama"),
        ("/llama/", rewriting("/"), "/llama"),
        ("/v1", None, ""),
        ("/v1", rewriting("/"), "/v1"),
        ("/v1", rewriting("/v1"), ""),
        ("/llama", rewriting("/v1"), "/llama"),
        ("/a/b/v1/chat/completions", rewriting("/v1/chat/completions"), "/a/b"),
    ],
)
def test_the_path_is_what_a_client_writes_before_the_api(
    path: str, metadata: Json | None, url: str
) -> None:
    found = resolve(route(admission(), path=path, metadata=metadata))
    assert (found.url, found.issue) == (f"http://{HOST}{url}", "")


def test_a_connection_that_is_passed_through_has_no_rewritten_path() -> None:
    passed = {"termination": "passthrough"}
    found = resolve(route(admission(), path="/v1", tls=passed, metadata=rewriting("/")))
    assert found.url == f"https://{HOST}"


@pytest.mark.parametrize(
    ("routers", "issue"),
    [
        ((), "has not been admitted by a router yet"),
        (({"host": HOST},), "has not been admitted by a router yet"),
        ((admission("Unknown"),), "has not been admitted by a router yet"),
        (
            (
                admission(
                    "False",
                    reason="HostAlreadyClaimed",
                    message="route old already exposes it and is older",
                ),
            ),
            "is not admitted: route old already exposes it and is older",
        ),
        ((admission("False", reason="NoHostValue"),), "is not admitted: NoHostValue"),
        ((admission("False"),), "is not admitted"),
        ((admission("False", reason="two\nlines"),), "is not admitted: two lines"),
        ((admission("False", reason="Rejected"), admission()), ""),
    ],
)
def test_one_that_is_not_admitted_says_why(routers: tuple[Json, ...], issue: str) -> None:
    found = resolve(route(*routers))
    assert found.url == f"http://{HOST}"
    assert found.issue == (f"Route team-a/llama {issue}" if issue else "")


def test_the_host_is_that_of_the_router_that_admitted_it() -> None:
    internal = admission("False", "llama.internal.example.com", reason="Rejected")
    public = admission(host="llama.public.example.com")
    assert resolve(route(internal, public, host="")).url == "http://llama.public.example.com"


def test_a_route_without_a_host_is_not_reached_at_that_of_the_settings() -> None:
    rejected = admission("False", host="", reason="NoHostValue")
    found = resolve(route(rejected, host="", subdomain="llama"), host="ai.example.com")
    assert (found.url, found.source) == ("", "Route team-a/llama")
    assert found.issue == "Route team-a/llama is not admitted: NoHostValue"


def test_a_wildcard_route_is_reached_at_its_host() -> None:
    found = resolve(route(admission(), wildcardPolicy="Subdomain"))
    assert (found.url, found.issue) == (f"http://{HOST}", "")


def test_a_second_backend_leads_to_the_serving_too() -> None:
    others = [{"kind": "Service", "name": "llama", "weight": 20}]
    found = resolve(route(admission(), to="other", alternateBackends=others))
    assert (found.url, found.issue) == (f"http://{HOST}", "")
    others[0]["weight"] = 0
    found = resolve(route(admission(), to="other", alternateBackends=others))
    assert found.issue == "Route team-a/llama sends it no requests: its weight is 0"
    assert resolve(route(admission(), weight=None)).issue == ""
    assert resolve(route(admission(), to="other")).url == ""


def test_a_route_of_another_namespace_leads_to_its_own_service() -> None:
    assert resolve(route(admission(), metadata={"namespace": "team-b"})).url == ""


TWO_PORTS = (
    {"name": "http", "port": 80, "targetPort": "api"},
    {"name": "metrics", "port": 9090, "targetPort": 9400},
)


@pytest.mark.parametrize(
    ("ports", "target", "port", "issue"),
    [
        (PORTS, "http", 80, ""),
        (PORTS, 8000, 80, ""),
        (PORTS, "8000", 80, ""),
        (PORTS, "api", 80, "sends to port api, and Service llama leads to no such port"),
        (PORTS, 80, 80, "sends to port 80, and Service llama leads to no such port"),
        (PORTS, None, 80, ""),
        (TWO_PORTS, 9400, 9090, ""),
        (TWO_PORTS, "metrics", 9090, ""),
        (
            TWO_PORTS,
            None,
            80,
            "has no targetPort, so it sends to all ports of the Service: http, metrics",
        ),
        (({"port": 80, "targetPort": 8000}, {"port": 8080, "targetPort": "api"}), None, 80, ""),
        (({"port": 80, "targetPort": "unknown"},), 8001, 80, ""),
        (({"port": 8000, "protocol": "UDP"}, *PORTS), None, 80, ""),
    ],
)
def test_the_port_is_one_of_the_pods_or_the_name_of_one_of_the_service(
    ports: tuple[Json, ...], target: int | str | None, port: int, issue: str
) -> None:
    spec = {} if target is None else {"port": {"targetPort": target}}
    found = resolve(route(admission(), **spec), services=(service(ports=ports),))
    assert (found.url, found.port) == (f"http://{HOST}", port)
    assert found.issue == (f"Route team-a/llama {issue}" if issue else "")


def test_what_is_no_host_is_not_part_of_a_url() -> None:
    found = resolve(route(admission(host="a.example.com; reboot")))
    assert found.url == ""
    assert found.issue == "Route team-a/llama has no host name that a URL can have"


def test_the_order_of_the_kinds_and_one_that_works_comes_first() -> None:
    one = route(admission(), path="/team-a/llama")
    usual = (http_route(http_route_rule()),)
    assert resolve(one, http_routes=usual).source == "HTTPRoute team-a/llama"
    assert resolve(one, ingresses=(ingress(),)).source == "Route team-a/llama"
    rejected = route(admission("False", reason="HostAlreadyClaimed"))
    assert resolve(rejected, ingresses=(ingress(),)).source == "Ingress team-a/llama"


def test_the_routes_of_an_ingress_stand_for_it() -> None:
    """Of an Ingress without TLS OpenShift may make one with it (route.openshift.io/termination),
    and what no router admits is served by none."""
    plain = ingress(tls=())
    own = route(admission(), tls=EDGE, metadata=made_from_ingress("llama"))
    assert resolve(own, ingresses=(plain,)).url == f"https://{HOST}"
    rejected = route(
        admission("False", reason="HostAlreadyClaimed"), metadata=made_from_ingress("llama")
    )
    assert resolve(rejected, ingresses=(plain,)).issue == (
        "Route team-a/llama-x2k4p is not admitted: HostAlreadyClaimed"
    )
    other = route(
        admission("False", reason="HostAlreadyClaimed"), metadata=made_from_ingress("other")
    )
    assert resolve(other, ingresses=(plain,)).source == "Ingress team-a/llama"
