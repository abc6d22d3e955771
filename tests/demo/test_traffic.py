"""Where simulated requests go: by the weights of routes, by load balancing, by readiness gates."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from servedeck.demo.api.status import StatusError
from servedeck.demo.api.validation.object_validation import validate_object
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    DEPLOYMENTS,
    GATEWAYS,
    HTTP_ROUTES,
    NAMESPACES,
    SERVICES,
)
from servedeck.demo.workloads import failure_simulation
from servedeck.demo.workloads.load_balancing import Balancing, spread
from servedeck.demo.workloads.request_load import (
    LoadPeak,
    LoadSettings,
    LoadSwing,
    RequestLoad,
)
from servedeck.demo.workloads.traffic import Route, Traffic
from servedeck.serving.conventions import REVISION_LABEL
from tests.demo.cluster_fixture import ClusterFixture, deployment, running_instance
from tests.demo.prometheus_fixture import PrometheusFixture

Json = dict[str, Any]
ONE, TWO = "lab/one", "lab/two"


# -- the load -----------------------------------------------------------------------------------


def test_a_replica_with_more_of_the_load_has_a_larger_share_of_slow_requests() -> None:
    traffic = Traffic(1)
    settings = LoadSettings(4.0, replicas=2)
    shares = [traffic.new_share(ONE, settings) for _ in range(3)]

    def slow_share(time: float) -> float:
        rate = shares[0].rate(time)
        return rate.slow / rate.total

    found = []
    for number, share in enumerate(shares):
        traffic.add_instance(ONE, str(number), share, 100.0 * number)
        found.append(slow_share(100.0 * number + 50))
    alone, two, three = found
    assert alone > 2 * two > 0 and two > 2 * three > 0
    whole = shares[0].load.rate(250.0)
    assert sum(share.rate(250.0).total for share in shares) == pytest.approx(whole)


def test_requests_wait_at_a_replica_with_too_many(cluster: ClusterFixture) -> None:
    instance = running_instance(cluster)
    now = cluster.clock.time()
    assert instance.request_counts(now)[1] == 0
    peak = LoadPeak(now + 10, 200.0, more=3.0, slow=2.5, failed=0.0)
    cluster.controllers.traffic.add_peak("lab/llm", peak)
    running, waiting = instance.request_counts(now + 110)
    assert waiting > 3 and running > 0
    assert instance.request_counts(now + 300)[1] == 0


@pytest.mark.parametrize("replicas", [0.2, 1, 3, 50])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_never_are_more_requests_slow_than_there_are(replicas: float, fraction: float) -> None:
    peaks = [LoadPeak(5000.0, 900.0, more=1.1, slow=1.0, failed=0.1)]
    for swing in (None, LoadSwing(600.0)):
        load = RequestLoad(2.0, "seed", peaks, replicas=replicas, swing=swing)
        crowding = load.crowding(fraction)
        for time in range(0, 90_000, 150):
            total, slow, _ = load.rates(float(time))
            assert slow * crowding <= total + 1e-9


def test_a_swing_rises_and_falls_from_its_start_on_and_its_integral_is_exact() -> None:
    plain = RequestLoad(2.0, "seed")
    load = RequestLoad(2.0, "seed", swing=LoadSwing(600.0, 1000.0))
    assert load.rate(900.0) == plain.rate(900.0)
    assert load.rate(1300.0) - plain.rate(1300.0) == pytest.approx(8.0)
    assert load.rate(1600.0) == pytest.approx(plain.rate(1600.0))
    steps = [load.integral(time / 10).total for time in range(9000, 23000)]
    assert all(b > a for a, b in pairwise(steps))
    area = sum(load.rate(time / 10 + 0.05) for time in range(9000, 22999)) / 10
    assert steps[-1] - steps[0] == pytest.approx(area, rel=1e-4)


# -- routes -------------------------------------------------------------------------------------


def two_servings() -> tuple[Traffic, Any, Any]:
    traffic = Traffic(1)
    one = traffic.new_share(ONE, LoadSettings(3.0))
    two = traffic.new_share(TWO, LoadSettings(1.0))
    traffic.add_instance(ONE, "one", one, 0.0)
    traffic.add_instance(TWO, "two", two, 0.0)
    return traffic, one, two


def test_the_weights_of_a_route_share_its_load_among_servings() -> None:
    traffic, one, two = two_servings()
    before = two.rate(50.0).total
    traffic.set_routes({ONE: Route(((ONE, 0.75), (TWO, 0.25)))}, 100.0)
    load, other = one.load.rate(150.0), two.load.rate(150.0)
    assert before == pytest.approx(two.load.rate(50.0))
    assert one.rate(150.0).total == pytest.approx(0.75 * load)
    assert two.rate(150.0).total == pytest.approx(0.25 * load + other)
    traffic.set_routes({ONE: Route(((TWO, 1.0),))}, 200.0)
    assert one.rate(250.0).total == 0
    assert one.counts_at(250.0) == one.counts_at(200.0), "a counter does not fall"
    traffic.set_routes({}, 300.0)
    assert one.rate(350.0).total == pytest.approx(one.load.rate(350.0))
    assert two.rate(350.0).total == pytest.approx(two.load.rate(350.0))


def test_what_goes_to_a_serving_without_ready_pods_is_lost() -> None:
    traffic, one, _ = two_servings()
    traffic.set_routes({ONE: Route(((ONE, 0.5), (TWO, 0.5)))}, 100.0)
    traffic.remove_instance(TWO, "two", 200.0)
    assert one.rate(250.0).total == pytest.approx(0.5 * one.load.rate(250.0))


# -- load balancing -----------------------------------------------------------------------------

PODS_OF_ONE = ("a", "b", "c")


@pytest.mark.parametrize("kind", ["RoundRobin", "LeastRequest"])
def test_in_turn_or_by_the_fewest_requests_all_pods_get_the_same(kind: str) -> None:
    found = spread(Balancing(kind), ONE, PODS_OF_ONE, 4.0, 0.0)
    assert list(found.values()) == [pytest.approx(1 / 3)] * 3


def test_chance_spreads_requests_unevenly_and_anew_each_minute() -> None:
    minutes = [
        spread(Balancing("Random"), ONE, PODS_OF_ONE, 4.0, 60.0 * minute) for minute in range(200)
    ]
    assert all(sum(one.values()) == pytest.approx(1) for one in minutes)
    firsts = [one["a"] for one in minutes]
    assert len(set(firsts)) == 200
    assert sum(firsts) / 200 == pytest.approx(1 / 3, abs=0.02), "in the long run all get the same"
    assert max(firsts) - min(firsts) > 0.05


def test_a_header_keeps_each_caller_at_one_pod() -> None:
    balancing = Balancing("ConsistentHash", "X-User")
    found = spread(balancing, ONE, PODS_OF_ONE, 4.0, 0.0)
    assert found == spread(balancing, ONE, PODS_OF_ONE, 9.0, 900.0)
    assert max(found.values()) > 1.5 * min(found.values())
    fewer = spread(balancing, ONE, PODS_OF_ONE[:2], 4.0, 0.0)
    assert all(fewer[pod] >= found[pod] for pod in fewer), "callers of the others have not moved"


# -- in the cluster -----------------------------------------------------------------------------


def service(name: str, selected: str) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    spec = {"selector": {"app": selected}, "ports": ports}
    return {"metadata": {"namespace": "lab", "name": name}, "spec": spec}


def route(name: str, **weights: int) -> Json:
    backends = [{"name": key, "port": 80, "weight": value} for key, value in weights.items()]
    asynchronous = {
        "matches": [
            {
                "path": {"type": "PathPrefix", "value": f"/lab/{name}"},
                "headers": [{"name": "X-Async", "value": "true"}],
            }
        ],
        "backendRefs": [{"name": "gateway", "port": 80}],
    }
    usual = {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/lab/{name}"}}],
        "backendRefs": backends,
    }
    spec = {
        "parentRefs": [{"namespace": "lab", "name": "gateway"}],
        "rules": [asynchronous, usual],
    }
    return {"metadata": {"namespace": "lab", "name": name}, "spec": spec}


def policy(target: str = "one", name: str = "policy", **balancer: Any) -> Json:
    reference = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": target}
    spec = {"targetRefs": [reference], "loadBalancer": balancer}
    return {"metadata": {"namespace": "lab", "name": name}, "spec": spec}


@pytest.fixture
def split() -> ClusterFixture:
    """The servings one and two, which are ready and have routes of their own."""
    cluster = ClusterFixture()
    cluster.node()
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    gateway = {"gatewayClassName": "envoy", "listeners": [listener]}
    meta = {"namespace": "lab", "name": "gateway"}
    cluster.create(GATEWAYS, {"metadata": meta, "spec": gateway})
    for name, rate in (("one", "3"), ("two", "1")):
        cluster.create(SERVICES, service(name, name))
        cluster.create(HTTP_ROUTES, route(name, **{name: 1}))
        cluster.deploy(name, annotations={failure_simulation.REQUEST_RATE_ANNOTATION: rate})
    cluster.until(lambda: cluster.ready("one") and cluster.ready("two"))
    cluster.advance(120)
    return cluster


def rates(cluster: ClusterFixture) -> dict[str, float]:
    """Requests per second of the last two minutes by serving, as Prometheus knows them."""
    prometheus = PrometheusFixture(cluster.controllers, cluster.clock)
    query = 'sum by (pod)(rate(http_requests_total{namespace="lab",status="2xx"}[2m]))'
    found: dict[str, float] = {"one": 0.0, "two": 0.0}
    for labels, value in prometheus.vector(query):
        name = labels["pod"].partition("-")[0]
        found[name] = found.get(name, 0.0) + value
    return found


def set_weights(cluster: ClusterFixture, **weights: int) -> None:
    new = route("one", **weights)["spec"]

    def write(obj: Json) -> None:
        obj["spec"] = new

    cluster.store.mutate(HTTP_ROUTES, "lab", "one", write)
    cluster.advance(180)


def test_the_metrics_of_servings_follow_the_weights_of_the_route(split: ClusterFixture) -> None:
    load = split.controllers.traffic.load
    before = rates(split)
    assert before["one"] > 1.5 * before["two"]
    set_weights(split, one=1, two=3)
    now = split.clock.time() - 60
    after, one, two = rates(split), load("lab/one").rate(now), load("lab/two").rate(now)
    assert after["one"] == pytest.approx(one / 4, rel=0.15)
    assert after["two"] == pytest.approx(two + 3 * one / 4, rel=0.15)
    set_weights(split, one=0, two=1)
    assert rates(split)["one"] == 0


def test_a_second_revision_gets_requests_by_the_route_alone(split: ClusterFixture) -> None:
    split.create(SERVICES, service("canary", "canary"))
    new = deployment("canary", annotations={failure_simulation.REQUEST_RATE_ANNOTATION: "3"})
    new["metadata"].setdefault("labels", {})[REVISION_LABEL] = "one"
    split.create(DEPLOYMENTS, new)
    split.until(lambda: split.ready("canary"))
    split.advance(180)
    assert rates(split).get("canary", 0.0) == 0
    set_weights(split, one=1, canary=1)
    assert rates(split)["canary"] > 0


def test_a_policy_spreads_the_requests_of_its_route_over_pods(split: ClusterFixture) -> None:
    split.edit(lambda obj: obj["spec"].update(replicas=3), "one")
    split.until(lambda: split.ready("one"))

    def shares() -> list[float]:
        now = split.clock.time()
        found = [
            instance.traffic_share.rate(now).total
            for pod in split.pods()
            if pod["metadata"]["name"].startswith("one")
            for instance in split.controllers.kubelet.instances(pod["metadata"]["uid"])
        ]
        return [one / sum(found) for one in found]

    assert max(shares()) == pytest.approx(min(shares()))
    split.create(BACKEND_TRAFFIC_POLICIES, policy(type="Random"))
    split.advance(5)
    drawn = shares()
    assert max(drawn) > min(drawn) + 0.01
    split.advance(60)
    assert shares() != drawn
    hashing = {"type": "Header", "header": {"name": "X-User"}}

    def write(obj: Json) -> None:
        obj["spec"]["loadBalancer"] = {"type": "ConsistentHash", "consistentHash": hashing}

    split.store.mutate(BACKEND_TRAFFIC_POLICIES, "lab", "policy", write)
    split.advance(5)
    kept = shares()
    split.advance(120)
    assert shares() == pytest.approx(kept)
    split.store.delete(BACKEND_TRAFFIC_POLICIES, "lab", "policy")
    split.advance(5)
    assert max(shares()) == pytest.approx(min(shares()))


def accepted(cluster: ClusterFixture, name: str) -> tuple[str, str, str] | None:
    found = cluster.store.get(BACKEND_TRAFFIC_POLICIES, "lab", name)
    for ancestor in (found.get("status") or {}).get("ancestors") or ():
        assert ancestor["ancestorRef"]["name"] == "gateway"
        (condition,) = ancestor["conditions"]
        assert condition["type"] == "Accepted"
        return condition["status"], condition["reason"], condition["message"]
    return None


def test_the_oldest_policy_of_a_route_is_accepted(split: ClusterFixture) -> None:
    split.create(BACKEND_TRAFFIC_POLICIES, policy(name="first", type="Random"))
    split.advance(5)
    split.create(BACKEND_TRAFFIC_POLICIES, policy(name="a-second", type="RoundRobin"))
    split.create(BACKEND_TRAFFIC_POLICIES, policy("nothing", name="third", type="RoundRobin"))
    split.advance(5)
    assert accepted(split, "first") == ("True", "Accepted", "Policy has been accepted.")
    conflict = "Unable to target HTTPRoute one, another BackendTrafficPolicy has already attached"
    assert accepted(split, "a-second") == ("False", "Conflicted", f"{conflict} to it")
    assert accepted(split, "third") is None
    split.store.delete(BACKEND_TRAFFIC_POLICIES, "lab", "first")
    split.until(lambda: (accepted(split, "a-second") or ("",))[0] == "True")


@pytest.mark.parametrize(
    ("balancer", "field", "message"),
    [
        ({}, "spec.loadBalancer.type", "Required value"),
        ({"type": "Best"}, "spec.loadBalancer.type", "Unsupported value"),
        (
            {"type": "ConsistentHash"},
            "spec.loadBalancer",
            "If LoadBalancer type is consistentHash, consistentHash field needs to be set.",
        ),
        (
            {"type": "ConsistentHash", "consistentHash": {"type": "Header"}},
            "spec.loadBalancer.consistentHash",
            "If consistent hash type is header, the header field must be set.",
        ),
    ],
)
def test_an_invalid_policy_is_refused(balancer: Json, field: str, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        validate_object(BACKEND_TRAFFIC_POLICIES, policy(**balancer), None)
    assert refused.value.code == 422
    assert field in str(refused.value) and message in str(refused.value)


def test_namespaces_do_not_mix(split: ClusterFixture) -> None:
    """A route names a Service of its own namespace, unless it says another one."""
    split.create(NAMESPACES, {"metadata": {"name": "other"}})
    split.advance(1)
    set_weights(split, two=1)
    assert rates(split)["one"] == 0

    def write(obj: Json) -> None:
        obj["spec"]["rules"][1]["backendRefs"][0]["namespace"] = "other"

    split.store.mutate(HTTP_ROUTES, "lab", "one", write)
    split.advance(180)
    load = split.controllers.traffic.load("lab/two").rate(split.clock.time() - 60)
    assert rates(split)["two"] == pytest.approx(load, rel=0.15)
