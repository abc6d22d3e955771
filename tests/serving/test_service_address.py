"""The address of a serving's Service, and what the endpoint says where there is no route."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from servedeck.serving.conventions import POOL_GROUP
from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.objects.records import Deployment, Service
from tests.serving.factories import http_route, http_route_rule

Json = dict[str, Any]
VLLM: Json = {"name": "vllm", "image": "vllm/vllm-openai:v0.10", "args": ["org/m"]}


def deployment(*containers: Json, **pod: Any) -> Deployment:
    return msgspec.convert(
        {
            "metadata": {"name": "llama", "namespace": "team-a"},
            "spec": {
                "template": {
                    "metadata": {"labels": {"app": "llama"}},
                    "spec": {"containers": containers, **pod},
                }
            },
        },
        Deployment,
    )


def service(*ports: Json, name: str = "llama", status: Any = None, **spec: Any) -> Service:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "team-a"},
            "spec": {"selector": {"app": "llama"}, "ports": ports, **spec},
            "status": status or {},
        },
        Service,
    )


def resolve(target: Deployment, *services: Service, routes: Any = ()) -> Endpoint:
    return resolve_endpoint(target, services, routes, (), (), "")


def test_the_port_that_leads_to_the_server_counts_before_one_with_a_usual_name() -> None:
    """AIBrix: the port "http" of the Service is that of the runtime beside vLLM."""
    runtime = {"name": "aibrix-runtime", "image": "aibrix/runtime", "ports": [{"containerPort": 9}]}
    found = resolve(
        deployment(runtime, VLLM),
        service(
            {"name": "http", "port": 8080, "targetPort": 8080},
            {"name": "serve", "port": 8000, "targetPort": 8000},
        ),
    )
    assert found.cluster_url == "http://llama.team-a.svc:8000"
    assert found.port_forward_command == "kubectl port-forward -n team-a service/llama 8000:8000"


def test_a_named_target_is_resolved_in_the_containers_and_the_sidecars() -> None:
    named = {**VLLM, "ports": [{"name": "api", "containerPort": 8000}]}
    ports = ({"port": 9000, "targetPort": "metrics"}, {"port": 81, "targetPort": "api"})
    assert resolve(deployment(named), service(*ports)).port == 81


def test_another_service_that_leads_to_the_server_comes_first() -> None:
    metrics = service({"port": 9090, "targetPort": 9090})
    api = service({"port": 8000}, name="api")
    assert resolve(deployment(VLLM), metrics, api).service_name == "api"


def test_a_service_that_is_a_name_of_another_host_leads_to_no_pods() -> None:
    external = service(
        {"port": 80, "targetPort": 8000}, type="ExternalName", externalName="llm.example.com"
    )
    found = resolve(deployment(VLLM), external)
    assert (found.cluster_url, found.service_name) == ("", "")
    assert found.port_forward_command == "kubectl port-forward -n team-a deployment/llama 8000:8000"
    other = service({"port": 80, "targetPort": 8000}, name="pods")
    assert resolve(deployment(VLLM), external, other).cluster_url == "http://pods.team-a.svc:80"


def test_a_headless_service_is_reached_at_the_port_of_the_pods() -> None:
    """Kubernetes resolves its name to the Pods, so its own port has no effect."""
    found = resolve(deployment(VLLM), service({"port": 80, "targetPort": 8000}, clusterIP="None"))
    assert found.cluster_url == "http://llama.team-a.svc:8000"
    # kubectl refuses a port that the Service does not have, and forwards to the Service's own
    forward = "kubectl port-forward -n team-a deployment/llama 8000:8000"
    assert found.port_forward_command == forward
    assert found.proxy_path == "/api/v1/namespaces/team-a/services/http:llama:80/proxy"
    named = {**VLLM, "ports": [{"name": "api", "containerPort": 8000}]}
    by_name = resolve(
        deployment(named), service({"port": 80, "targetPort": "api"}, clusterIP="None")
    )
    assert by_name.cluster_url == found.cluster_url
    assert by_name.port_forward_command == forward
    same = resolve(deployment(VLLM), service({"port": 8000}, clusterIP="None"))
    assert same.port_forward_command == "kubectl port-forward -n team-a service/llama 8000:8000"


ROUTING_SIDECAR: Json = {
    "name": "routing-proxy",
    "image": "ghcr.io/llm-d/llm-d-routing-sidecar:latest",
    "args": ["--port=8000", "--vllm-port=8200"],
    "ports": [{"containerPort": 8000}],
    "restartPolicy": "Always",
}


def test_requests_go_through_the_routing_sidecar_of_llm_d() -> None:
    server = {**VLLM, "args": ["org/m", "--port", "8200"], "ports": [{"containerPort": 8200}]}
    target = deployment(server, initContainers=[ROUTING_SIDECAR])
    assert resolve(target).port_forward_command == (
        "kubectl port-forward -n team-a deployment/llama 8000:8000"
    )
    ports = ({"name": "http", "port": 8200}, {"name": "proxy", "port": 8000})
    assert resolve(target, service(*ports)).port == 8000
    without = deployment(server)
    assert resolve(without, service(*ports)).port == 8200


@pytest.mark.parametrize(
    ("port", "pod_port"),
    [
        ({"port": 80, "targetPort": 4180}, 4180),
        ({"port": 80, "targetPort": "web"}, 4180),
        ({"name": "metrics", "port": 4180}, 8000),
        ({"port": 80, "targetPort": 9999}, 8000),  # nothing listens there
        ({"port": 80, "targetPort": 8000}, 8000),
    ],
)
def test_a_forward_goes_where_the_requests_to_the_service_go(port: Json, pod_port: int) -> None:
    """Also to a proxy in front of the server that nothing but the Service tells of."""
    web = {"name": "web", "containerPort": 4180}
    proxy = {"name": "oauth2-proxy", "image": "oauth2-proxy/oauth2-proxy", "ports": [web]}
    target = deployment(VLLM, proxy)
    assert resolve(target).pod_port == 8000
    assert resolve(target, service(port)).pod_port == pod_port


def test_a_forward_goes_through_the_routing_sidecar_and_a_transformer() -> None:
    server = {**VLLM, "args": ["org/m", "--port", "8200"], "ports": [{"containerPort": 8200}]}
    routed = deployment(server, initContainers=[ROUTING_SIDECAR])
    assert resolve(routed, service({"port": 80, "targetPort": 8200})).pod_port == 8000
    transformer = {"name": "transformer", "image": "t", "ports": [{"containerPort": 8080}]}
    assert resolve(deployment(VLLM, transformer)).pod_port == 8080


def test_requests_go_through_a_transformer() -> None:
    transformer = {"name": "transformer", "image": "t", "ports": [{"containerPort": 8080}]}
    ports = ({"port": 8000}, {"port": 8080})
    assert resolve(deployment(VLLM, transformer), service(*ports)).port == 8080


@pytest.mark.parametrize(
    ("container", "port"),
    [
        ({"args": ["org/m", "--ssl-keyfile=/k", "--ssl-certfile=/c"]}, {}),
        ({"readinessProbe": {"httpGet": {"port": 8000, "scheme": "HTTPS"}}}, {}),
        ({"ports": [{"name": "https", "containerPort": 8000}]}, {}),
        ({}, {"name": "https"}),
        ({}, {"appProtocol": "https"}),
    ],
)
def test_a_server_with_tls_has_an_https_address(container: Json, port: Json) -> None:
    target = deployment({**VLLM, **container})
    found = resolve(target, service({"port": 8000, **port}))
    assert found.cluster_url == "https://llama.team-a.svc:8000"


def test_a_server_of_grpc_has_an_address_without_a_scheme() -> None:
    jetstream = {"name": "jetstream", "image": "acme/jetstream-pytorch-server:v0.2"}
    found = resolve(deployment(jetstream), service({"port": 9000}))
    assert (found.cluster_url, found.is_grpc) == ("llama.team-a.svc:9000", True)
    http = {"name": "jetstream-http", "image": "acme/http", "ports": [{"containerPort": 8000}]}
    found = resolve(deployment(jetstream, http), service({"port": 8000}))
    assert (found.cluster_url, found.is_grpc) == ("http://llama.team-a.svc:8000", False)


@pytest.mark.parametrize(
    ("ingress", "port", "url"),
    [
        ({"ip": "203.0.113.7"}, 80, "http://203.0.113.7"),
        ({"ip": "203.0.113.7"}, 8000, "http://203.0.113.7:8000"),
        ({"hostname": "lb.example.com"}, 8000, "http://lb.example.com:8000"),
        ({"ip": "2001:db8::1"}, 8000, "http://[2001:db8::1]:8000"),
    ],
)
def test_a_load_balancer_is_the_endpoint_where_there_is_no_route(
    ingress: Json, port: int, url: str
) -> None:
    balanced = service(
        {"port": port, "targetPort": 8000},
        type="LoadBalancer",
        status={"loadBalancer": {"ingress": [ingress]}},
    )
    found = resolve(deployment(VLLM), balanced)
    assert (found.url, found.source, found.issue) == (url, "Service team-a/llama", "")
    routed = resolve(deployment(VLLM), balanced, routes=[http_route(http_route_rule())])
    assert routed.source == "HTTPRoute team-a/llama"


def test_a_load_balancer_without_an_address_and_a_node_port_are_said() -> None:
    port = {"port": 80, "targetPort": 8000, "nodePort": 30080}
    assert resolve(deployment(VLLM), service(port, type="LoadBalancer")).issue == (
        "No HTTPRoute, VirtualService or Ingress routes to Service team-a/llama, whose load "
        "balancer has no address yet"
    )
    assert resolve(deployment(VLLM), service(port, type="NodePort")).issue == (
        "No HTTPRoute, VirtualService or Ingress routes to Service team-a/llama, which is open at "
        "port 30080 of every node"
    )


def test_a_route_to_an_inference_pool_is_said() -> None:
    pool = {"group": POOL_GROUP, "kind": "InferencePool"}
    pools = [
        http_route(http_route_rule(backend="other", **pool), name="a"),
        http_route(http_route_rule(backend="llama-pool", **pool), name="b"),
    ]
    issue = (
        "HTTPRoute team-a/b routes to InferencePool llama-pool; whether it selects the Pods of "
        "llama is not known"
    )
    assert resolve(deployment(VLLM), routes=pools).issue == issue
    assert resolve(deployment(VLLM), service({"port": 8000}), routes=pools).issue == issue


def test_a_port_of_udp_is_none() -> None:
    found = resolve(deployment(VLLM), service({"port": 53, "protocol": "UDP"}, {"port": 8000}))
    assert found.port == 8000
