"""The Service and the route that a serving of servedeck lacks."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.conventions import ASYNC_SERVICE_LABEL
from servedeck.serving.objects import manifests
from servedeck.serving.objects.backends import Backend, replaced_service, route_backends
from servedeck.serving.objects.change import ObjectChange, change_objects
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.routes import PlatformSettings, RouteKind, parse_istio_host
from servedeck.serving.spec.mapping.json_values import JsonObject
from tests.serving.spec.test_validation import vllm_spec

PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main")


def change_unchanged(
    objects: list[JsonObject], related: RelatedObjects | None = None, **changes: Any
) -> ObjectChange:
    current = import_objects(objects)
    return change_objects(current, current.spec.replace(**changes), PLATFORM, related)


def created_service(objects: list[JsonObject], **changes: Any) -> JsonObject:
    change = change_unchanged(objects, **changes)
    [service] = [one for one in change.changed[len(change.live) :] if one["kind"] == "Service"]
    return service


def target(service: JsonObject) -> Any:
    [port] = service["spec"]["ports"]
    return port["targetPort"]


def managed_deployment(**changes: Any) -> JsonObject:
    return manifests.build_manifests(vllm_spec(**changes))[0]


def server(deployment: JsonObject) -> JsonObject:
    found: JsonObject = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"name": "http", "containerPort": 8000}, "http"),
        ({"name": "api", "containerPort": 8000}, "api"),
        ({"containerPort": 8000}, 8000),
    ],
)
def test_a_new_service_leads_to_the_port_as_the_server_declares_it(
    port: JsonObject, expected: object
) -> None:
    deployment = managed_deployment()
    server(deployment)["ports"] = [port]
    assert target(created_service([deployment])) == expected


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([{"name": "transformer", "containerPort": 8080}], "transformer"),
        ([{"name": "in", "containerPort": 8080}], "in"),
        ([{"containerPort": 9090}], 9090),
        ([{"name": "metrics", "containerPort": 9100}, {"name": "in", "containerPort": 8080}], "in"),
        ([{"name": "admin", "containerPort": 9100}, {"name": "http", "containerPort": 8081}], 8081),
        ([{"name": "http", "containerPort": 8080}], 8080),
    ],
)
def test_a_new_service_leads_to_the_transformer(ports: Any, expected: object) -> None:
    deployment = managed_deployment(transformer={"image": "t:1"})
    deployment["spec"]["template"]["spec"]["containers"][1]["ports"] = ports
    assert target(created_service([deployment])) == expected
    assert target(created_service([deployment], transformer=None)) == "http"


@pytest.mark.parametrize(
    "selector",
    [{"matchLabels": None}, {"matchExpressions": [{"key": "a", "operator": "Exists"}]}, None],
)
def test_without_match_labels_a_new_service_selects_the_labels_of_the_pods(selector: Any) -> None:
    deployment = managed_deployment()
    deployment["spec"]["selector"] = selector
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert created_service([deployment])["spec"]["selector"] == labels


def test_no_service_leads_to_a_transformer_whose_port_is_unknown() -> None:
    deployment = managed_deployment(transformer={"image": "t:1"})
    deployment["spec"]["template"]["spec"]["containers"][1].pop("ports")
    change = change_unchanged([deployment])
    assert list(change.changed) == [deployment]
    [issue] = change.issues
    assert "port of the transformer is not known" in issue.message


def test_without_labels_no_service_is_created() -> None:
    deployment = managed_deployment()
    deployment["spec"]["selector"] = {}
    deployment["spec"]["template"]["metadata"] = {}
    change = change_unchanged([deployment])
    assert len(change.changed) == 1
    [issue] = change.issues
    assert "have no labels" in issue.message


def test_without_a_known_port_no_service_is_created() -> None:
    deployment = managed_deployment()
    container = server(deployment)
    for key in ("ports", "args", "readinessProbe", "livenessProbe", "startupProbe"):
        container.pop(key, None)
    container["command"] = ["serve"]
    change = change_unchanged([deployment])
    assert len(change.changed) == 1
    [issue] = change.issues
    assert "port of the inference server is not known" in issue.message


def test_a_new_service_has_the_port_that_its_route_expects() -> None:
    deployment, _, route = manifests.build_manifests(vllm_spec(), PLATFORM)
    route["spec"]["rules"][0]["backendRefs"][0]["port"] = 8000
    [port] = created_service([deployment, route])["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (8000, "http")


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([{"port": 9000, "targetPort": 9000}, {"port": 8080, "targetPort": "http"}], 8080),
        ([{"port": 9000, "targetPort": 9000}, {"port": 8000}], 8000),
        ([{"port": 8000}, {"port": 9100, "targetPort": 8000, "name": "http"}], 9100),
        ([{"port": 8000}, {"port": 80, "targetPort": "http"}], 80),
        ([{"port": 80, "targetPort": 8000, "protocol": "UDP"}, {"port": 8000}], 8000),
        ([{"port": 80, "targetPort": 8000, "name": "metrics"}, {"port": 8000, "name": "a"}], 8000),
    ],
)
def test_a_new_route_leads_to_the_port_of_the_service_for_the_server(
    ports: list[JsonObject], expected: int
) -> None:
    deployment, service, _ = manifests.build_manifests(vllm_spec(), PLATFORM)
    service["metadata"]["name"] = "svc"
    service["spec"]["ports"] = ports
    assert new_backends([deployment, service]) == [("svc", expected)]


def new_backends(objects: list[JsonObject], **changes: Any) -> list[tuple[str, int | None]]:
    """Names and ports of the Services that the created route routes to."""
    *_, route = change_unchanged(objects, **changes).changed
    return [(one.service, one.port) for one in route_backends(route)]


@pytest.mark.parametrize(
    "changes",
    [
        {"ports": []},
        {"ports": [{"port": 80, "targetPort": 8000, "protocol": "UDP"}]},
        {"ports": [{"port": 80, "targetPort": 9000}]},
        {"clusterIP": "None"},
    ],
)
def test_a_service_without_a_port_for_requests_gets_no_route(changes: JsonObject) -> None:
    deployment, service, _ = manifests.build_manifests(vllm_spec(), PLATFORM)
    service["spec"] |= changes
    change = change_unchanged([deployment, service])
    assert list(change.changed) == [deployment, service]
    [issue] = change.issues
    assert "Service llm has no TCP port for requests" in issue.message


SIDE_SERVICES: list[tuple[str, JsonObject]] = [
    ("llm-metrics", {"ports": [{"port": 9090, "targetPort": "http"}]}),
    ("side", {"ports": [{"name": "metrics", "port": 9090, "targetPort": "http"}]}),
    ("side", {"ports": [{"port": 80, "targetPort": "http"}], "clusterIP": "None"}),
    ("side", {"ports": [{"port": 80, "targetPort": 8000, "protocol": "UDP"}]}),
    ("side", {"ports": [{"port": 80, "targetPort": 9000}]}),
]


@pytest.mark.parametrize(("name", "spec"), SIDE_SERVICES)
def test_a_service_is_missing_if_the_others_are_not_for_requests(
    name: str, spec: JsonObject
) -> None:
    deployment, service, route = manifests.build_manifests(vllm_spec(), PLATFORM)
    service["metadata"]["name"] = name
    service["spec"] |= spec
    for objects in ([deployment, service, route], [deployment, service]):
        created = created_service(objects)
        assert (created["metadata"]["name"], target(created)) == ("llm", "http")
    assert new_backends([deployment, service]) == [("llm", 80)]


def test_a_service_that_bypasses_the_transformer_is_not_for_requests() -> None:
    deployment, service, _ = manifests.build_manifests(
        vllm_spec(transformer={"image": "t:1"}), PLATFORM
    )
    service["metadata"]["name"] = "direct"
    service["spec"]["ports"][0]["targetPort"] = "http"
    assert target(created_service([deployment, service])) == "transformer"
    assert new_backends([deployment, service]) == [("llm", 80)]
    assert new_backends([deployment, service], transformer=None) == [("direct", 80)]


def test_a_service_is_missing_if_a_route_routes_to_it() -> None:
    deployment, service, route = manifests.build_manifests(vllm_spec(), PLATFORM)
    service["metadata"]["name"] = "other"
    assert created_service([deployment, service, route])["metadata"]["name"] == "llm"
    route["spec"]["rules"][0]["backendRefs"][0]["name"] = "other"
    assert len(change_unchanged([deployment, service, route]).changed) == 3


def test_a_service_of_the_name_that_selects_other_pods_is_not_missing() -> None:
    deployment, service, route = manifests.build_manifests(vllm_spec(), PLATFORM)
    other = {**service, "spec": {**service["spec"], "selector": {"a": "b"}}}
    service["metadata"] = {**service["metadata"], "name": "other"}
    related = RelatedObjects(other_objects=(other,))
    change = change_unchanged([deployment, service, route], related)
    assert (len(change.changed), change.issues) == (3, ())


def test_what_may_not_be_listed_is_not_created_and_that_is_said() -> None:
    objects = manifests.build_manifests(vllm_spec(), PLATFORM)
    change = change_unchanged(objects[:1], RelatedObjects(frozenset({"Service"})))
    assert (len(change.changed), change.issues) == (1, ())
    assert "Services may not be listed" in change.unchecked[0]
    for kind, source in (("Ingress", "kind Ingress"), ("Route", "OpenShift")):
        change = change_unchanged(objects[:2], RelatedObjects(frozenset({kind})))
        assert (len(change.changed), change.issues) == (2, ())
        assert f"Routes of {source} may not be listed" in change.unchecked[0]


def test_a_route_of_openshift_takes_the_place_of_a_missing_route() -> None:
    objects = manifests.build_manifests(vllm_spec(), PLATFORM)
    assert [one["kind"] for one in change_unchanged(objects[:2]).changed][2:] == ["HTTPRoute"]
    route = {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": "public", "namespace": "team-a"},
        "spec": {"to": {"kind": "Service", "name": "llm"}},
    }
    change = change_unchanged([*objects[:2], route])
    assert [one["kind"] for one in change.changed][2:] == ["Route"]
    assert change.changed[2] == route


def test_the_port_of_the_service_that_a_gateway_replaces_is_any_text() -> None:
    for port, expected in (("80", 80), ("http", "http"), ("9" * 5000, "9" * 5000)):
        assert replaced_service({ASYNC_SERVICE_LABEL: f"llama.{port}"}) == ("llama", expected)


@pytest.mark.parametrize("kind", RouteKind)
def test_the_service_of_each_kind_of_route_is_known(kind: RouteKind) -> None:
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=kind)
    spec = vllm_spec()
    route = manifests.build_route(spec, platform, service="svc", port=8080)
    assert route is not None
    assert list(route_backends(route)) == [Backend(spec.namespace, "svc", 8080)]


@pytest.mark.parametrize(
    "route",
    [
        {"kind": "HTTPRoute", "spec": {"rules": [{"backendRefs": [{"kind": "InferencePool"}, 5]}]}},
        {"kind": "HTTPRoute", "spec": {"rules": None}},
        {"kind": "VirtualService", "spec": {"http": [{"route": [{"destination": None}]}, 5]}},
        {"kind": "Ingress", "spec": {"defaultBackend": {"resource": {"name": "x"}}, "rules": [{}]}},
        {"kind": "Ingress"},
        {"kind": "Route", "spec": {"to": {"kind": "Other", "name": "x"}}},
        {"kind": "Route", "spec": {"to": "x", "alternateBackends": [5, {}, {"name": 3}]}},
        {"kind": "Service", "spec": {}},
    ],
)
def test_a_route_of_any_shape_has_no_unknown_service(route: JsonObject) -> None:
    assert list(route_backends(route)) == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("llm", ("team-a", "llm")),
        ("llm.team-b", ("team-b", "llm")),
        ("llm.team-b.svc", ("team-b", "llm")),
        ("llm.team-b.svc.cluster.local", ("team-b", "llm")),
        ("api.example.com", ("", "")),
    ],
)
def test_an_istio_host_is_a_service_or_another_host(host: str, expected: tuple[str, str]) -> None:
    assert parse_istio_host(host, "team-a") == expected
