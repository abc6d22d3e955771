"""InferencePools of the demo cluster: routes that send to them, and what is rejected."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.api.status import StatusError
from servedeck.demo.api.validation.object_validation import validate_object, validate_status
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    SERVICES,
)
from servedeck.demo.workloads import failure_simulation
from tests.demo.cluster_fixture import ClusterFixture
from tests.demo.test_traffic import policy, rates, service

Json = dict[str, Any]
POOL_REF = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool"}


def pool(selected: str = "two", **spec: Any) -> Json:
    found = {
        "selector": {"matchLabels": {"app": selected}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
    }
    return {"metadata": {"namespace": "lab", "name": "pool"}, "spec": {**found, **spec}}


def route(endpoint: str, /, **backend: Any) -> Json:
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/lab/{endpoint}"}}],
        "backendRefs": [backend],
    }
    spec = {"parentRefs": [{"namespace": "lab", "name": "gateway"}], "rules": [rule]}
    return {"metadata": {"namespace": "lab", "name": endpoint}, "spec": spec}


@pytest.fixture
def cluster() -> ClusterFixture:
    """The ready servings one and two; the endpoint of one sends to the pool, which is missing."""
    made = ClusterFixture()
    made.node()
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    gateway = {"gatewayClassName": "envoy", "listeners": [listener]}
    made.create(GATEWAYS, {"metadata": {"namespace": "lab", "name": "gateway"}, "spec": gateway})
    for name in ("one", "two"):
        made.create(SERVICES, service(name, name))
        made.deploy(name, annotations={failure_simulation.REQUEST_RATE_ANNOTATION: "2"})
    made.create(HTTP_ROUTES, route("one", **POOL_REF))
    made.create(HTTP_ROUTES, route("two", name="two", port=80))
    made.until(lambda: made.ready("one") and made.ready("two"))
    made.advance(120)
    return made


def resolved(cluster: ClusterFixture) -> tuple[str, str]:
    [parent] = cluster.store.get(HTTP_ROUTES, "lab", "one")["status"]["parents"]
    [found] = [one for one in parent["conditions"] if one["type"] == "ResolvedRefs"]
    return found["status"], found["message"]


def test_requests_follow_the_pool_and_the_route_says_when_it_is_missing(
    cluster: ClusterFixture,
) -> None:
    assert resolved(cluster) == (
        "False",
        "Failed to process route rule 0 backendRef 0: inferencepool lab/pool not found.",
    )
    cluster.advance(180)
    assert rates(cluster)["one"] == 0
    before = rates(cluster)["two"]
    cluster.create(INFERENCE_POOLS, pool("two"))
    cluster.advance(180)
    assert resolved(cluster)[0] == "True"
    assert rates(cluster)["two"] > 1.5 * before
    assert rates(cluster)["one"] == 0

    def write(obj: Json) -> None:
        obj["spec"]["selector"]["matchLabels"]["app"] = "one"

    cluster.store.mutate(INFERENCE_POOLS, "lab", "pool", write)
    cluster.advance(180)
    assert rates(cluster)["one"] > 0
    cluster.store.delete(INFERENCE_POOLS, "lab", "pool")
    cluster.advance(180)
    assert resolved(cluster)[0] == "False"
    assert rates(cluster)["one"] == 0


def test_the_endpoint_picker_decides_not_the_policy(cluster: ClusterFixture) -> None:
    cluster.create(INFERENCE_POOLS, pool("one"))
    cluster.create(BACKEND_TRAFFIC_POLICIES, policy(type="Random"))
    cluster.edit(lambda obj: obj["spec"].update(replicas=3), "one")
    cluster.until(lambda: cluster.ready("one"))
    cluster.advance(5)
    now = cluster.clock.time()
    shares = [
        instance.traffic_share.rate(now).total
        for one in cluster.pods()
        if one["metadata"]["name"].startswith("one")
        for instance in cluster.controllers.kubelet.instances(one["metadata"]["uid"])
    ]
    assert len(shares) == 3
    assert max(shares) == pytest.approx(min(shares))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"selector": {"app": "one"}}, "spec.selector.matchLabels"),
        ({"targetPorts": []}, "spec.targetPorts"),
        ({"targetPorts": [{"number": 0}]}, "spec.targetPorts[0].number"),
        ({"targetPorts": [{"number": one} for one in range(1, 10)]}, "spec.targetPorts"),
        ({"targetPorts": [80]}, "spec.targetPorts[0]"),
        ({"endpointPickerRef": {}}, "spec.endpointPickerRef.name"),
        ({"endpointPickerRef": "e"}, "spec.endpointPickerRef"),
        ({"endpointPickerRef": {"name": "e", "failureMode": "x"}}, "failureMode"),
        ({"selector": ["a"]}, "spec.selector"),
        ({"selector": {"matchLabels": {"a": {"b": 1}}}}, "spec.selector.matchLabels.a"),
    ],
)
def test_a_pool_that_is_not_valid_is_rejected(spec: Json, field: str) -> None:
    with pytest.raises(StatusError) as raised:
        validate_object(INFERENCE_POOLS, pool(**spec), None)
    assert field in str(raised.value)


@pytest.mark.parametrize("spec", ["x", [1], 5])
def test_the_spec_of_a_pool_is_an_object(spec: Any) -> None:
    with pytest.raises(StatusError) as raised:
        validate_object(INFERENCE_POOLS, {**pool(), "spec": spec}, None)
    assert (raised.value.code, "of type object" in str(raised.value)) == (422, True)


@pytest.mark.parametrize(
    "status", ["hello", {"parents": [{"parentRef": {"name": "g"}, "conditions": [{"type": "A"}]}]}]
)
def test_a_status_of_a_pool_that_does_not_fit_its_type_is_rejected(status: Any) -> None:
    with pytest.raises(StatusError) as raised:
        validate_status(INFERENCE_POOLS, {**pool(), "status": status})
    assert raised.value.code == 422


def test_a_valid_pool_is_accepted() -> None:
    validate_object(INFERENCE_POOLS, pool(), None)
