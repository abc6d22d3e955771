"""The Gateway of the demo: its listeners, and which HTTPRoutes it accepts."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.api.validation import custom_types
from servedeck.demo.resources import GATEWAYS, HTTP_ROUTES
from servedeck.demo.scenario.cluster_objects import GATEWAY, HOST, base_objects
from tests.demo.cluster_fixture import ClusterFixture

Json = dict[str, Any]
LISTENERS = [
    {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "*.acme.example"},
    {"name": "http", "port": 8080, "protocol": "HTTP"},
]


def make_cluster(*listeners: Json) -> ClusterFixture:
    cluster = ClusterFixture()
    spec = {"gatewayClassName": "envoy", "listeners": list(listeners)}
    cluster.create(GATEWAYS, {"metadata": {"namespace": "lab", "name": "gateway"}, "spec": spec})
    return cluster


def accept(cluster: ClusterFixture, parent: Json, *hostnames: str) -> tuple[str, str]:
    """Status and reason of the condition Accepted of a new route."""
    spec = {"parentRefs": [{"name": "gateway", **parent}], "hostnames": list(hostnames)}
    cluster.create(HTTP_ROUTES, {"metadata": {"namespace": "lab", "name": "one"}, "spec": spec})
    cluster.advance(5)
    return accepted(cluster)


def accepted(cluster: ClusterFixture) -> tuple[str, str]:
    [parent] = cluster.store.get(HTTP_ROUTES, "lab", "one")["status"]["parents"]
    [found] = [one for one in parent["conditions"] if one["type"] == "Accepted"]
    return found["status"], found["reason"]


NO_PARENT = ("False", "NoMatchingParent")
NO_HOST = ("False", "NoMatchingListenerHostname")
YES = ("True", "Accepted")


@pytest.mark.parametrize(
    ("parent", "hostnames", "answer"),
    [
        ({}, (), YES),
        ({}, ("elsewhere.example",), YES),
        ({"name": "other"}, (), NO_PARENT),
        ({"namespace": "other"}, (), NO_PARENT),
        ({"sectionName": "https"}, ("a.acme.example",), YES),
        ({"sectionName": "https"}, ("elsewhere.example",), NO_HOST),
        ({"sectionName": "https"}, ("elsewhere.example", "*.b.acme.example"), YES),
        ({"sectionName": "tls"}, (), NO_PARENT),
        ({"port": 8080}, ("elsewhere.example",), YES),
        ({"port": 443}, ("elsewhere.example",), NO_HOST),
        ({"port": 80}, (), NO_PARENT),
        ({"port": 443, "sectionName": "http"}, (), NO_PARENT),
    ],
)
def test_a_route_is_accepted_by_a_listener(
    parent: Json, hostnames: tuple[str, ...], answer: tuple[str, str]
) -> None:
    assert accept(make_cluster(*LISTENERS), parent, *hostnames) == answer


def test_a_changed_listener_is_seen_by_its_routes() -> None:
    cluster = make_cluster(LISTENERS[0])
    assert accept(cluster, {}, "elsewhere.example") == NO_HOST

    def write(gateway: Json) -> None:
        gateway["spec"]["listeners"] = LISTENERS

    cluster.store.mutate(GATEWAYS, "lab", "gateway", write)
    cluster.advance(5)
    assert accepted(cluster) == YES


def test_the_gateway_of_the_scenario() -> None:
    [gateway] = [obj for resource, obj in base_objects() if resource is GATEWAYS]
    assert (gateway["metadata"]["namespace"], gateway["metadata"]["name"]) == GATEWAY
    [listener] = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["port"], listener["hostname"]) == ("HTTPS", 443, HOST)
    assert gateway["status"]["addresses"] == [{"type": "Hostname", "value": HOST}]
    for part in ("spec", "status"):
        assert not list(custom_types.check_custom_types(GATEWAYS, gateway, part=part))
    invalid = {**gateway, "spec": {"gatewayClassName": "envoy", "listeners": []}}
    assert list(custom_types.check_custom_types(GATEWAYS, invalid))
