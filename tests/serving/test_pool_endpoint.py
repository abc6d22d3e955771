"""The endpoint of a serving whose HTTPRoute sends to an InferencePool."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.objects.pool_records import AlphaInferencePool, InferencePool, Pool
from servedeck.serving.objects.records import BackendRef, HTTPRoute, LabeledMeta, Service
from servedeck.serving.route_candidates import pool_key, referenced_pool
from servedeck.serving.spec.mapping import inference_pools
from tests.serving.factories import deployment, http_route, http_route_rule, service

GROUP, ALPHA = "inference.networking.k8s.io", "inference.networking.x-k8s.io"
LLAMA = deployment(
    {"name": "inference-server", "command": ["vllm", "serve", "m"], "ports": [{"containerPort": 8}]}
)
URL = "https://ai.example.com/team-a/llama"


def pool(
    name: str = "pool",
    selector: Any = None,
    port: int = 8,
    namespace: str = "team-a",
    **parents: Any,
) -> InferencePool:
    labels = {"app": "llama"} if selector is None else selector
    conditions = [{"type": key, **value} for key, value in parents.items()]
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"matchLabels": labels}, "targetPorts": [{"number": port}]},
            "status": {"parents": [{"conditions": conditions}] if conditions else []},
        },
        InferencePool,
    )


def alpha_pool(name: str = "pool") -> AlphaInferencePool:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "team-a"},
            "spec": {"selector": {"app": "llama"}, "targetPortNumber": 8},
        },
        AlphaInferencePool,
    )


def route(group: str = GROUP, name: str = "pool", **reference: Any) -> HTTPRoute:
    rule = http_route_rule(kind="InferencePool", group=group, backend=name, **reference)
    return http_route(rule)


def resolve(
    *pools: Pool, routes: list[HTTPRoute], services: list[Service] | None = None
) -> Endpoint:
    return resolve_endpoint(
        LLAMA,
        [service()] if services is None else services,
        routes,
        [],
        [],
        "",
        pools={pool_key(one): one for one in pools},
    )


@pytest.mark.parametrize(("found", "group"), [(pool(), GROUP), (alpha_pool(), ALPHA)])
def test_the_url_is_that_of_the_route(found: Pool, group: str) -> None:
    got = resolve(found, routes=[route(group)])
    assert (got.url, got.source, got.issue) == (URL, "HTTPRoute team-a/llama", "")
    # In the cluster, its Service is there as before.
    assert (got.cluster_url, got.port) == ("http://llama.team-a.svc:80", 80)


def test_a_serving_without_a_service() -> None:
    got = resolve(pool(), routes=[route()], services=[])
    assert (got.url, got.issue, got.cluster_url, got.service_name) == (URL, "", "", "")
    assert got.pod_port == 8
    assert got.port_forward_command == ("kubectl port-forward -n team-a deployment/llama 8080:8")


@pytest.mark.parametrize(
    "found",
    [pool("pool", {"app": "other"}), pool("pool", {}), pool("pool", {"app": "llama", "a": "b"})],
    ids=["other Pods", "no labels", "more labels"],
)
def test_a_known_pool_of_others_is_not_its_endpoint(found: Pool) -> None:
    got = resolve(found, routes=[route()])
    assert got.url == ""
    assert got.issue == ("No HTTPRoute, VirtualService or Ingress routes to Service team-a/llama")


@pytest.mark.parametrize(
    "found",
    [pool("other"), pool(namespace="team-b"), alpha_pool()],
    ids=["name", "namespace", "group"],
)
def test_of_an_unknown_pool_it_is_said(found: Pool) -> None:
    got = resolve(found, routes=[route()])
    assert got.url == ""
    assert got.issue == (
        "HTTPRoute team-a/llama routes to InferencePool pool; whether it selects the Pods of llama "
        "is not known"
    )


def test_a_pool_that_selects_pods_of_that_name_in_another_namespace() -> None:
    got = resolve(pool(namespace="team-b"), routes=[route(namespace="team-b")])
    assert got.url == ""


def test_why_requests_may_fail() -> None:
    assert resolve(pool(port=9), routes=[route()]).issue == (
        "InferencePool team-a/pool sends to port 9 of the Pods, whose requests go to port 8"
    )
    missing = {"status": "False", "message": "Service pool-epp is missing"}
    unresolved = pool(Accepted={"status": "True"}, ResolvedRefs=missing)
    assert resolve(unresolved, routes=[route()]).issue == (
        "InferencePool team-a/pool has an unresolved reference: Service pool-epp is missing"
    )
    rejected = http_route(
        http_route_rule(kind="InferencePool", group=GROUP, backend="pool"),
        status={
            "parents": [
                {"conditions": [{"type": "ResolvedRefs", "status": "False", "reason": "NoKind"}]}
            ]
        },
    )
    assert resolve(pool(), routes=[rejected]).issue == (
        "HTTPRoute team-a/llama has an unresolved reference: NoKind"
    )


def test_a_route_without_an_issue_to_the_service_comes_first() -> None:
    plain = http_route(http_route_rule(), name="plain")
    assert resolve(pool(port=9), routes=[route(), plain]).source == "HTTPRoute team-a/plain"


@pytest.mark.parametrize("group", [GROUP, ALPHA, "", "example.com"])
def test_the_pool_of_a_backend_is_the_same_in_json_and_as_a_record(group: str) -> None:
    route = {"metadata": {"name": "llama", "namespace": "chat"}}
    ref = {"group": group, "kind": "InferencePool", "name": "pool"}
    record = HTTPRoute(metadata=LabeledMeta(name="llama", namespace="chat"))
    backend = BackendRef(group=group, kind="InferencePool", name="pool")
    found = referenced_pool(record, backend)
    assert found == inference_pools.referenced_pool(route, ref)
    assert (found is not None) is (group in (GROUP, ALPHA))
