"""The URL of an endpoint follows the Gateway of its route, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.fleet.views import NamespacedName, ServingView
from tests.control_plane import objects
from tests.control_plane.assertions import (
    assert_matches_cluster,
    started_session,
    wait_for_view,
)
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import grant_role
from tests.control_plane.test_roles import rules_of

Json = dict[str, Any]
API = "gateway.networking.k8s.io"
ISTIO = "networking.istio.io"


class Objects:
    """A serving in one namespace, and the Gateways of another one."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace, self.infra = plane, namespace, f"{namespace}-infra"
        self.key = NamespacedName(namespace, "llama")
        plane.create("/api/v1/namespaces", {"metadata": {"name": self.infra}})
        self.make("apps", "deployments", objects.deployment("llama", replicas=0))
        plane.create(f"/api/v1/namespaces/{namespace}/services", objects.service("llama"))

    def make(self, group: str, plural: str, body: Json, namespace: str = "") -> None:
        place = f"/apis/{group}/v1/namespaces/{namespace or self.namespace}/{plural}"
        full = {"apiVersion": f"{group}/v1", "kind": "Gateway", **body}
        assert self.plane.create(place, full) is not None

    def make_route(self, **parent: Any) -> None:
        body = objects.http_route(self.namespace, "llama")
        body["spec"]["parentRefs"] = [{"name": "main", "namespace": self.infra, **parent}]
        self.make(API, "httproutes", body)

    def gateway_path(self, group: str = API) -> str:
        return f"/apis/{group}/v1/namespaces/{self.infra}/gateways/main"

    def make_gateway(self, *listeners: Json) -> None:
        spec = {"gatewayClassName": "envoy", "listeners": list(listeners)}
        self.make(API, "gateways", {"metadata": {"name": "main"}, "spec": spec}, self.infra)

    def patch(self, spec: Json, group: str = API) -> None:
        self.plane.request("PATCH", self.gateway_path(group), {"spec": spec})

    def has_url(self, begin: str) -> Any:
        def condition(view: ServingView) -> bool:
            return view.endpoint.url == f"{begin}/{self.namespace}/llama"

        return condition


@pytest.fixture
def made(control_plane: ControlPlane, namespace: str) -> Objects:
    return Objects(control_plane, namespace)


def listener(protocol: str, port: int, **more: Any) -> Json:
    allowed = {"namespaces": {"from": "All"}}
    found = {"name": protocol.lower(), "protocol": protocol, "port": port}
    return {**found, "allowedRoutes": allowed, **more}


HTTPS, HTTP = "https://ai.example.com", "http://ai.example.com:8080"


@pytest.mark.parametrize("is_one_namespace", [True, False])
async def test_the_url_follows_the_listeners_of_a_gateway(
    made: Objects, is_one_namespace: bool
) -> None:
    made.make_route()
    kubeconfig = made.plane.write_kubeconfig("admin")
    shown = made.namespace if is_one_namespace else None
    async with started_session(kubeconfig, shown) as live:
        await wait_for_view(live, made.key, made.has_url(HTTPS))
        made.make_gateway(listener("HTTP", 8080))
        await wait_for_view(live, made.key, made.has_url(HTTP))
        made.patch({"listeners": [listener("HTTP", 8080), listener("HTTPS", 8443)]})
        await wait_for_view(live, made.key, made.has_url("https://ai.example.com:8443"))
        # As the API server completes it, a listener is for routes of the Gateway's namespace.
        made.patch({"listeners": [listener("HTTPS", 8443, allowedRoutes={}), listener("HTTP", 80)]})
        await wait_for_view(live, made.key, made.has_url("http://ai.example.com"))
        await assert_matches_cluster(live, made.plane, shown)
        made.plane.request("DELETE", made.gateway_path())
        await wait_for_view(live, made.key, made.has_url(HTTPS))


async def test_the_url_follows_the_listeners_of_a_listener_set(made: Objects) -> None:
    made.make_route(kind="ListenerSet", namespace=made.namespace, name="own")
    made.make_gateway(listener("HTTPS", 443))
    kubeconfig = made.plane.write_kubeconfig("admin")
    place = f"/apis/{API}/v1/namespaces/{made.namespace}/listenersets/own"
    async with started_session(kubeconfig, made.namespace) as live:
        await wait_for_view(live, made.key, made.has_url(HTTPS))
        # As the API server completes it, a listener is for routes of the ListenerSet's namespace.
        entry = {"name": "plain", "protocol": "HTTP", "port": 8080}
        spec = {"parentRef": {"name": "main", "namespace": made.infra}, "listeners": [entry]}
        body = {"kind": "ListenerSet", "metadata": {"name": "own"}, "spec": spec}
        made.make(API, "listenersets", body)
        await wait_for_view(live, made.key, made.has_url(HTTP))
        await assert_matches_cluster(live, made.plane, made.namespace)
        rejected = {
            "type": "Accepted",
            "status": "False",
            "reason": "NotAllowed",
            "message": "The Gateway allows no ListenerSets.",
            "lastTransitionTime": "2026-03-01T00:00:00Z",
        }
        made.plane.request("PATCH", f"{place}/status", {"status": {"conditions": [rejected]}})
        await wait_for_view(live, made.key, made.has_url(HTTPS))
        made.plane.request("DELETE", place)
        await assert_matches_cluster(live, made.plane, made.namespace)


async def test_the_url_follows_the_servers_of_an_istio_gateway(made: Objects) -> None:
    body = objects.virtual_service(made.namespace, "llama")
    body["spec"]["gateways"] = [f"{made.infra}/main"]
    made.make(ISTIO, "virtualservices", body)
    plain = {"port": {"name": "http", "number": 8080, "protocol": "HTTP"}, "hosts": ["*"]}
    port = {"name": "https", "number": 443, "protocol": "HTTPS"}
    secure = {"port": port, "hosts": [f"{made.namespace}/*"], "tls": {"mode": "SIMPLE"}}
    kubeconfig = made.plane.write_kubeconfig("admin")
    async with started_session(kubeconfig, made.namespace) as live:
        await wait_for_view(live, made.key, made.has_url(HTTPS))
        gateway = {"metadata": {"name": "main"}, "spec": {"servers": [plain]}}
        made.make(ISTIO, "gateways", gateway, made.infra)
        await wait_for_view(live, made.key, made.has_url(HTTP))
        made.patch({"servers": [plain, secure]}, ISTIO)
        await wait_for_view(live, made.key, made.has_url(HTTPS))
        await assert_matches_cluster(live, made.plane, made.namespace)


async def test_a_viewer_of_one_namespace_reads_its_gateways(made: Objects) -> None:
    made.make_route(namespace=made.namespace)
    body = {"gatewayClassName": "envoy", "listeners": [listener("HTTP", 8080)]}
    made.make(API, "gateways", {"metadata": {"name": "main"}, "spec": body})
    grant_role(made.plane, made.namespace, "viewer", rules_of("viewer"))
    kubeconfig = made.plane.write_kubeconfig("viewer", namespace=made.namespace)
    async with started_session(kubeconfig, made.namespace) as live:
        await wait_for_view(live, made.key, made.has_url(HTTP))
        assert live.state.missing_permissions == ()


async def test_who_may_read_no_gateway_has_https(made: Objects) -> None:
    made.make_route()
    made.make_gateway(listener("HTTP", 8080))
    hidden = {"gateways", "listenersets"}
    rules = [one for one in rules_of("viewer") if hidden.isdisjoint(one.get("resources", ()))]
    grant_role(made.plane, made.namespace, "member", rules)
    kubeconfig = made.plane.write_kubeconfig("member", namespace=made.namespace)
    async with started_session(kubeconfig, made.namespace) as live:
        await wait_for_view(live, made.key, made.has_url(HTTPS))
        assert live.state.missing_permissions == ()
