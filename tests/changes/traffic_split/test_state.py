"""Which rules are those of a serving's endpoint, and why weights are not changed, without a
cluster."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from servedeck.changes.live_objects import LiveObjects
from servedeck.changes.traffic_split.plan import first_weight_problem, weight_problem
from servedeck.changes.traffic_split.side import Side, find_target, read_side
from servedeck.changes.traffic_split.state import TrafficState, find_rules
from servedeck.cluster.http.connection import Connection
from servedeck.serving.conventions import POOL_GROUP, SERVING_LABEL
from servedeck.serving.objects.missing_objects import RelatedObjects
from servedeck.serving.objects.traffic_split import SplitTarget
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.text import sanitize


def deployment(name: str = "llama", **metadata: Any) -> dict[str, Any]:
    container = {"name": "server", "ports": [{"containerPort": 8000}], "image": "vllm/vllm-openai"}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "chat", **metadata},
        "spec": {"replicas": 3, "template": template},
        "status": {"readyReplicas": 2},
    }


def service(name: str = "llama", app: str = "llama", *ports: int) -> dict[str, Any]:
    found = [{"port": one, "targetPort": 8000} for one in ports or (80,)]
    spec = {"selector": {"app": app}, "ports": found}
    metadata = {"name": name, "namespace": "chat"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def route(
    *backends: tuple[str, int], name: str = "llama", label: str = "", **rule: Any
) -> dict[str, Any]:
    labels = {SERVING_LABEL: label} if label else {}
    refs = [{"name": one, "port": 80, "weight": weight} for one, weight in backends]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "chat", "labels": labels},
        "spec": {"rules": [{"backendRefs": refs, **rule}]},
    }


def read(*objects: dict[str, Any], serving: str = "llama") -> TrafficState:
    live = LiveObjects([deployment(serving), service(serving, serving), *objects])
    return find_rules("chat", serving, live, None)


def shares(state: TrafficState) -> list[str]:
    return [one.rule.shares for one in state.rules]


# -- whose endpoint it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label", "first", "owner"),
    [
        ("x", "llama", "llama-2", "llama"),  # the label
        ("llama-2", "llama", "llama-2", "llama"),
        ("llama", "", "llama-2", "llama"),  # the name of the route
        ("llama-2", "", "llama", "llama-2"),
        ("x", "", "llama", "llama"),  # the first backend
        ("x", "", "llama-2", "llama-2"),
    ],
)
def test_a_divided_rule_is_the_endpoint_of_one(
    name: str, label: str, first: str, owner: str
) -> None:
    second = "llama" if first == "llama-2" else "llama-2"
    divided = route((first, 90), (second, 10), name=name, label=label)
    for serving in ("llama", "llama-2"):
        state = read(divided, serving=serving)
        assert len(state.rules) == (serving == owner), serving
        assert len(state.received) == (serving != owner), serving
        if serving != owner:
            assert "it gets a share of HTTPRoute" in state.problem


def test_a_rule_with_one_backend_is_its_endpoint_whoever_made_the_route() -> None:
    assert shares(read(route(("llama", 1), label="other"))) == ["llama 100 %"]


@pytest.mark.parametrize(("name", "label"), [("x", "llama-2"), ("llama-2", "")])
def test_a_rule_for_certain_headers_is_of_the_endpoint_whose_route_it_is_in(
    name: str, label: str
) -> None:
    """As one that sends the requests of llama-2 with a header to llama."""
    condition = [{"headers": [{"name": "x-old", "value": "1"}]}]
    theirs = route(("llama", 1), name=name, label=label, matches=condition)
    theirs["spec"]["rules"].append({"backendRefs": [{"name": "llama-2", "port": 80}]})
    state = read(theirs)
    assert (state.rules, state.kept) == ((), ())
    assert [one.index for one in state.received] == [0]
    assert "it gets a share of HTTPRoute" in state.problem
    state = read(theirs, serving="llama-2")
    assert [one.rule.index for one in state.rules] == [1]
    # Beside its own endpoint, it is not one that is kept.
    state = read(theirs, route(("llama", 1)))
    assert (shares(state), state.kept, state.problem) == (["llama 100 %"], (), "")


def test_a_rule_for_certain_headers_of_a_route_of_nobody_is_its_endpoint() -> None:
    condition = [{"headers": [{"name": "x-model", "value": "llama"}]}]
    gateway = route(("llama", 1), name="models", matches=condition)
    gateway["spec"]["rules"].append({"backendRefs": [{"name": "llama-2", "port": 80}]})
    assert shares(read(gateway)) == ["llama 100 %"]


def test_rules_for_certain_headers_are_kept_beside_others() -> None:
    condition = [{"headers": [{"name": "x-stable", "value": "1"}]}]
    pinned, plain = route(("llama", 1), matches=condition), route(("llama", 1))
    state = read(pinned, plain)
    assert len(state.rules) == 1 and len(state.kept) == 1
    assert not state.rules[0].rule.is_conditional
    # Without another one, they are the endpoint.
    state = read(pinned)
    assert len(state.rules) == 1 and state.kept == ()


def test_a_rule_for_the_other_alone_is_not_touched() -> None:
    """As one that sends requests with a header to it: with weight 0 they would fail."""
    both = route(("llama", 90), ("llama-2", 10))
    both["spec"]["rules"].insert(0, {"backendRefs": [{"name": "llama-2", "port": 80}]})
    state = read(both)
    assert [one.rule.index for one in state.rules] == [1]


# -- what is in the way ---------------------------------------------------------------------------


def test_one_weight_for_all_is_expressed() -> None:
    state = read(route(("llama", 90), ("llama-2", 10)), route(("llama", 9), ("llama-2", 1)))
    assert (state.problem, state.others, state.weights) == ("", ["llama-2"], [10.0])
    assert state.is_split
    state = read(route(("llama", 1)))
    assert (state.problem, state.others, state.weights, state.is_split) == ("", [], [], False)


def test_different_others_are_not_changed() -> None:
    state = read(route(("llama", 90), ("a", 10)), route(("llama", 90), ("b", 10)))
    assert "with different Services (a, b)" in state.problem


def test_two_services_of_the_serving_itself_are_not_changed() -> None:
    live = LiveObjects(
        [
            deployment(),
            service(),
            service("llama-grpc"),
            route(("llama", 50), ("llama-grpc", 50)),
        ]
    )
    state = find_rules("chat", "llama", live, None)
    assert "Services or subsets of the serving itself (llama 50 %" in state.problem


def test_hostile_names_do_not_reach_the_screen() -> None:
    state = read(route(("llama", 50), ("\x1b[31mred", 25), ("x\ny", 25)))
    assert "divides requests among 3 backends" in state.problem
    assert "\x1b" not in state.problem and "\n" not in state.problem


def test_why_there_is_no_endpoint() -> None:
    assert "No HTTPRoute or VirtualService of namespace chat" in read().problem
    ingress = {"kind": "Ingress", "metadata": {"name": "llama", "namespace": "chat"}}
    assert "the Ingress API has no weights" in read(ingress).problem
    openshift = {**ingress, "kind": "Route"}
    assert "servedeck does not change; change its alternateBackends" in read(openshift).problem
    assert read(openshift, route(("llama", 1))).problem == ""
    related = RelatedObjects(frozenset({"HTTPRoute"}))
    live = LiveObjects([deployment(), service()], related)
    state = find_rules("chat", "llama", live, None)
    assert "HTTPRoutes of namespace chat may not be listed" in state.problem


def test_weights() -> None:
    assert [weight_problem(one) for one in (0, 1, 100)] == [""] * 3
    assert all(weight_problem(one) for one in (-1, 101, None))
    assert first_weight_problem(0, "llama-2") and not first_weight_problem(1, "llama-2")


# -- the sides ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "serving"),
    [({}, "llama"), ({"type": "ClusterIP"}, "llama"), ({"type": "ExternalName"}, "front")],
)
async def test_a_service_that_selects_pods_stands_for_their_serving(
    fields: dict[str, str], serving: str
) -> None:
    """The selector of one of type ExternalName has no effect."""
    front = service("front", "llama")
    front["spec"] |= fields

    class Server:
        async def get_json(self, path: str) -> dict[str, Any]:
            return front if path.endswith("/services/front") else {"items": [deployment()]}

    side = await read_side(cast(Connection, Server()), "chat", "front", is_service=True)
    assert side is not None and side.name == serving


def test_the_port_for_requests_is_that_of_a_service_that_leads_to_the_server() -> None:
    metrics = service("llama-metrics", "llama", 9090)
    metrics["spec"]["ports"][0]["targetPort"] = 9400
    live = LiveObjects([deployment(), metrics, service("api", "llama", 8443, 80)])
    assert find_target(live) == SplitTarget("api", 80)
    assert find_target(LiveObjects([deployment()])) is None
    assert find_target(LiveObjects([deployment(), metrics])) is None


def test_what_is_known_of_a_side() -> None:
    side = Side("llama", None, deployment())
    assert (side.ready, side.desired, side.replicas) == (2, 3, "2 of 3 replicas ready")
    assert side.is_serving and not side.is_deleted and not side.is_async_gateway
    gone = Side("x", None, {})
    assert (gone.replicas, gone.ready, gone.desired, gone.model) == ("", 0, 0, "")
    assert Side("llama", None, deployment(deletionTimestamp="2026-01-01T00:00:00Z")).is_deleted


def test_the_state_leaves_the_objects_as_they_are() -> None:
    objects = [deployment(), service(), route(("llama", 90), ("llama-2", 10))]
    before = copy.deepcopy(objects)
    state = find_rules("chat", "llama", LiveObjects(objects), None)
    assert state.problem == "" and state.conditions == []
    assert objects == before


# -- InferencePools -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_alone", [True, False])
def test_behind_an_endpoint_picker_weights_are_not_changed(is_alone: bool) -> None:
    ref = {"group": POOL_GROUP, "kind": "InferencePool", "name": "po\x1b[2Jol"}
    sent = route(("llama", 1)) if not is_alone else route()
    sent["spec"]["rules"].append({"backendRefs": [ref]})
    rejected = {"type": "ResolvedRefs", "status": "False", "message": "no pools here"}
    sent["status"] = {"parents": [{"conditions": [rejected]}]}
    pool = {
        "apiVersion": f"{POOL_GROUP}/v1",
        "kind": "InferencePool",
        "metadata": {"name": ref["name"], "namespace": "chat"},
        "spec": {"selector": {"matchLabels": {"app": "llama"}}},
    }
    live = LiveObjects([deployment(), service(), sent], engines=Engines(pools=(pool,)))
    state = find_rules("chat", "llama", live, None)
    assert state.problem == (
        f"HTTPRoute llama sends to InferencePool {sanitize(ref['name'])}, whose endpoint picker "
        "chooses the Pods; choose another load balancing to split the traffic."
    )
    assert state.conditions == ["Its Gateway cannot resolve all of HTTPRoute llama: no pools here."]
    pool["spec"] = {"selector": {"matchLabels": {"app": "other"}}}
    found = find_rules("chat", "llama", live, None)
    assert "endpoint picker" not in found.problem
