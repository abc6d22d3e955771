"""Which proxy reports the response times of a serving whose server does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.load_balancing import DESTINATION_RULE_KIND, policy_kind
from servedeck.serving.spec.mapping.reporters import Proxy, find_reporter, is_in_mesh
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from tests.serving.objects.setting_objects import Json, make_serving

ISTIO = "networking.istio.io"
ENVOY = "gateway.envoyproxy.io"
ISTIO_CONTROLLER = "istio.io/gateway-controller"
ENVOY_CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"


def http_route(controller: str) -> Json:
    parents = [{"controllerName": controller}] if controller else []
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "llama", "namespace": "chat"},
        "spec": {"rules": [{"backendRefs": [{"name": "llama", "port": 80}]}]},
        "status": {"parents": parents},
    }


def objects_of(
    *routes: Json,
    groups: tuple[str, ...] = (ISTIO,),
    namespace: Json | None = None,
    labels: Json | None = None,
    annotations: Json | None = None,
    **pod: Any,
) -> ServingObjects:
    built = make_serving(template="custom", settings={}).objects
    template = built.deployment["spec"]["template"]
    template["metadata"]["labels"] |= labels or {}
    template["metadata"]["annotations"] = annotations or {}
    template["spec"] |= pod
    engines = Engines(frozenset(groups), namespace_labels=namespace)
    found = import_objects([built.deployment, *built.services, *routes]).objects
    return replace(found, engines=engines)


VIRTUAL_SERVICE: Json = {"kind": "VirtualService", "metadata": {"name": "llama"}}
INGRESS: Json = {"kind": "Ingress", "metadata": {"name": "llama"}}
OPENSHIFT_ROUTE: Json = {"kind": "Route", "metadata": {"name": "llama"}}


@pytest.mark.parametrize(
    ("routes", "groups", "proxy"),
    [
        # A gateway of Istio reports them whether or not the Pods have a sidecar.
        ([VIRTUAL_SERVICE], (ISTIO,), Proxy.ISTIO),
        ([http_route(ISTIO_CONTROLLER)], (ISTIO,), Proxy.ISTIO),
        ([http_route(ISTIO_CONTROLLER)], (ISTIO, ENVOY), Proxy.ISTIO),
        ([http_route(ENVOY_CONTROLLER)], (ISTIO, ENVOY), Proxy.ENVOY_GATEWAY),
        ([http_route("")], (ENVOY,), Proxy.ENVOY_GATEWAY),
        ([http_route("example.com/other")], (ISTIO, ENVOY), Proxy.NONE),
        ([INGRESS], (ISTIO,), Proxy.NONE),
        ([OPENSHIFT_ROUTE], (ISTIO,), Proxy.NONE),
        ([INGRESS, OPENSHIFT_ROUTE], (ISTIO,), Proxy.NONE),
        ([VIRTUAL_SERVICE, OPENSHIFT_ROUTE], (ISTIO,), Proxy.ISTIO),
        ([], (ISTIO,), Proxy.NONE),
        ([], (), Proxy.NONE),
    ],
)
def test_the_gateway_of_the_route_reports(
    routes: list[Json], groups: tuple[str, ...], proxy: Proxy
) -> None:
    found = find_reporter(objects_of(*routes, groups=groups, namespace={}), "llama")
    assert found.proxy is proxy
    assert found.service == ("llama" if proxy else "")


@pytest.mark.parametrize(
    ("routes", "kind"),
    [
        ([], DESTINATION_RULE_KIND),
        ([VIRTUAL_SERVICE, OPENSHIFT_ROUTE], DESTINATION_RULE_KIND),
        ([INGRESS], ""),
        ([OPENSHIFT_ROUTE], ""),
        ([INGRESS, OPENSHIFT_ROUTE], ""),
    ],
)
def test_istio_does_not_spread_the_requests_of_another_proxy(routes: list[Json], kind: str) -> None:
    assert policy_kind(objects_of(*routes)) == kind


@pytest.mark.parametrize("route", [INGRESS, http_route("example.com/other")])
@pytest.mark.parametrize(
    ("namespace", "proxy"),
    [({"istio-injection": "enabled"}, Proxy.ISTIO), ({}, Proxy.NONE), (None, Proxy.ISTIO)],
)
def test_without_a_gateway_of_istio_a_sidecar_does(
    route: Json, namespace: Json | None, proxy: Proxy
) -> None:
    assert find_reporter(objects_of(route, namespace=namespace), "llama").proxy is proxy


INJECTED = {"istio-injection": "enabled"}
AMBIENT = {"istio.io/dataplane-mode": "ambient"}
WAYPOINT = {"istio.io/use-waypoint": "waypoint"}
DISABLED = {"istio-injection": "disabled"}
OUT = {"istio.io/dataplane-mode": "none"}
NO_SIDECAR = {"sidecar.istio.io/inject": "false"}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (objects_of(namespace=None), None),
        (objects_of(namespace={}), False),
        (objects_of(namespace=INJECTED), True),
        (objects_of(namespace={"istio.io/rev": "1-30"}), True),
        (objects_of(namespace={"istio-injection": "disabled", "istio.io/rev": "1-30"}), False),
        (objects_of(namespace=INJECTED, labels=NO_SIDECAR), False),
        (objects_of(namespace=INJECTED, annotations=NO_SIDECAR), False),
        (objects_of(namespace=DISABLED, labels={"sidecar.istio.io/inject": "true"}), False),
        (objects_of(namespace={}, labels={"sidecar.istio.io/inject": "true"}), True),
        (objects_of(namespace=None, labels={"istio.io/rev": "1-30"}), True),
        (objects_of(initContainers=[{"name": "istio-proxy", "restartPolicy": "Always"}]), True),
        (objects_of(initContainers=[{"name": "istio-init"}], namespace={}), False),
        (objects_of(namespace=AMBIENT), False),
        (objects_of(namespace={**AMBIENT, **WAYPOINT}), True),
        (objects_of(namespace={**AMBIENT, "istio.io/use-waypoint": "none"}), False),
        (
            objects_of(
                namespace={**AMBIENT, **WAYPOINT}, labels={"istio.io/dataplane-mode": "none"}
            ),
            False,
        ),
        (objects_of(namespace=WAYPOINT, labels=AMBIENT), True),
        (objects_of(namespace={}, labels={**AMBIENT, **WAYPOINT}), True),
    ],
)
def test_what_puts_the_pods_into_the_mesh(found: ServingObjects, expected: bool | None) -> None:
    assert is_in_mesh(found) is expected


def test_a_waypoint_of_the_service_counts_before_that_of_the_namespace() -> None:
    found = objects_of(namespace={**AMBIENT, **WAYPOINT})
    found.services[0]["metadata"]["labels"] = {"istio.io/use-waypoint": "none"}
    assert is_in_mesh(found) is False
