"""What keeps prefix-aware load balancing from being chosen, at its field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.live_objects import fetch_live_objects, find_pools, unlisted_names
from servedeck.changes.load_balancing_checks import NO_HTTP_ROUTE, NO_INFERENCE_POOLS
from servedeck.changes.setting_checks import check_settings
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.spec.mapping.engines import Engines
from tests.changes.operations.fake_cluster import FakeCluster
from tests.serving.objects.setting_objects import ENVOY, Json, make_serving, make_spec
from tests.serving.objects.test_inference_pools import (
    ALPHA,
    GROUP,
    GROUPS,
    POOL_REF,
    alpha_pool,
    pool,
    serving,
)

POOLS = "/apis/inference.networking.k8s.io/v1/namespaces/chat/inferencepools"
ALPHA_POOLS = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/chat/inferencepools"
LABELS = "servedeck.dev/serving=llama"


def check(current: ImportedServing, *unlisted: str, **fields: Any) -> list[tuple[str, str, str]]:
    """Severity, field and message of what an edit meets that chooses prefix-aware."""
    wanted = current.spec.replace(**({"load_balancing": "prefix-aware"} | fields))
    found = check_settings(current.objects, current.spec, wanted, unlisted)
    return [(str(one.severity), one.field, one.message) for one in found]


def only_error(current: ImportedServing, *unlisted: str, **fields: Any) -> str:
    [(severity, field, message)] = check(current, *unlisted, **fields)
    assert (severity, field) == ("error", "load_balancing")
    return message


def test_what_works_has_no_issue() -> None:
    assert check(serving(pool())) == []
    assert check(serving(alpha_pool())) == []
    on = serving(pool(), backends=[POOL_REF])
    assert check(on, replicas=3) == []
    for value in ("off", "random"):
        assert check(on, load_balancing=value) == []


def test_the_extension_is_missing() -> None:
    assert only_error(make_serving(engines=ENVOY)) == NO_INFERENCE_POOLS


def test_no_pool_selects_the_pods() -> None:
    message = only_error(serving(pool("other", {"app": "other"})))
    assert message == (
        "No InferencePool of namespace chat selects the Pods of this serving; install the chart "
        "inferencepool of the Gateway API Inference Extension with "
        f"inferencePool.modelServers.matchLabels {LABELS}."
    )


def test_the_pool_is_for_another_port() -> None:
    assert only_error(serving(pool("pool", None, 9000, 9001))) == (
        "InferencePool pool sends to port 9000, 9001 of the Pods, and requests to this serving go "
        "to port 8000; give the pool that target port, or make another one."
    )


def test_only_an_http_route_can_send_to_a_pool() -> None:
    current = serving(pool())
    current.objects.routes.clear()
    assert only_error(current) == NO_HTTP_ROUTE
    current.objects.routes.append({"kind": "VirtualService", "metadata": {"name": "llama"}})
    assert only_error(current) == NO_HTTP_ROUTE


@pytest.mark.parametrize(
    ("first", "wanted"),
    [({"name": "llama", "port": 80}, "prefix-aware"), (POOL_REF, "off")],
    ids=["to the pool", "from the pool"],
)
def test_a_rule_that_divides_requests_is_refused(first: Json, wanted: str) -> None:
    backends = [{**first, "weight": 9}, {"name": "next", "port": 80, "weight": 1}]
    message = only_error(serving(pool(), backends=backends), load_balancing=wanted)
    own = "llama" if first is not POOL_REF else "InferencePool pool"
    assert message == (
        f"HTTPRoute llama, /chat/llama divides requests ({own} 90 %, next 10 %), and what each "
        "share goes to is not changed here; end that traffic split first."
    )


def test_no_rule_is_for_requests() -> None:
    backends = [{"name": "llama-metrics", "port": 80}]
    assert only_error(serving(pool(), backends=backends)).startswith(
        "No rule of its HTTPRoutes sends to a Service of this serving at a port for requests"
    )


def test_without_a_service_the_route_cannot_go_back() -> None:
    current = serving(pool(), backends=[POOL_REF])
    current.objects.services.clear()
    assert only_error(current, load_balancing="off").startswith(
        "No Service of this serving has a port for requests"
    )


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        ({GROUP}, f"inferencepools.{GROUP}"),
        ({ALPHA}, f"inferencepools.{ALPHA}"),
        ({GROUP, ALPHA}, f"inferencepools.{GROUP} and inferencepools.{ALPHA}"),
    ],
)
def test_pools_that_may_not_be_listed(groups: set[str], names: str) -> None:
    def hide(current: ImportedServing) -> ImportedServing:
        engines = replace(current.objects.engines, hidden_pool_groups=frozenset(groups))
        return replace(current, objects=replace(current.objects, engines=engines))

    assert only_error(hide(serving(pool()))).startswith(
        f"Without permission to list {names}, it is not known whether one selects the Pods of this"
    )
    # Where the pool in use is known, the rules can leave it.
    assert check(hide(serving(pool(), backends=[POOL_REF])), load_balancing="off") == []
    # The policies of a proxy need no pools.
    assert check(hide(serving()), load_balancing="random") == []


def test_a_pool_that_follows_another_port_of_the_serving() -> None:
    current = serving(pool(), backends=[POOL_REF])
    [(severity, field, message)] = check(current, inference_port=8001)
    assert (severity, field) == ("error", "inference_port")
    assert message == (
        "InferencePool pool sends to port 8000 of the Pods, and requests to this serving go to "
        "port 8001; give the pool that target port, or choose another load balancing first."
    )
    [(_, field, _)] = check(current, transformer={"image": "t:1", "port": 8081})
    assert field == "transformer"
    both = serving(pool("pool", None, 8000, 8001), backends=[POOL_REF])
    assert check(both, inference_port=8001) == []
    assert check(serving(pool()), load_balancing="off", inference_port=8001) == []


def test_another_pool_than_its_own_keeps_the_algorithms_away() -> None:
    other = {**POOL_REF, "name": "other"}
    message = only_error(serving(pool(), backends=[other]), load_balancing="random")
    assert message.startswith("The route sends to InferencePool other, whose endpoint picker")


def test_the_rules_that_an_algorithm_takes_from_a_pool() -> None:
    current = serving(pool())
    rules = current.objects.routes[0]["spec"]["rules"]
    rules.append({"backendRefs": [POOL_REF]})
    assert check(current, load_balancing="random") == [
        (
            "warning",
            "load_balancing",
            "1 of 2 rules send to InferencePool pool; they will send to the Service.",
        )
    ]
    rules[1]["backendRefs"] = [{**POOL_REF, "weight": 1}, {"name": "next", "weight": 1}]
    assert "divides requests" in only_error(current, load_balancing="random")


def test_a_policy_of_several_routes_is_not_taken_away() -> None:
    targets = [{"kind": "HTTPRoute", "name": name} for name in ("llama", "other")]
    policy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": "theirs", "namespace": "chat"},
        "spec": {"targetRefs": targets, "loadBalancer": {"type": "Random"}},
    }
    message = only_error(serving(pool(), others=(policy,)))
    assert message.startswith("BackendTrafficPolicy theirs is for other routes, too")


def test_warnings() -> None:
    current = serving(pool())
    assert [(kind, text) for kind, _, text in check(current, replicas=1)] == [
        ("warning", "With one replica there is nothing to balance.")
    ]
    engines = replace(current.objects.engines, has_async_gateway=True)
    queued = replace(current, objects=replace(current.objects, engines=engines))
    [(severity, _, message)] = check(queued)
    assert (severity, message) == (
        "warning",
        "The async gateway delivers its tasks to the Service, past the endpoint picker.",
    )
    [(severity, _, message)] = check(serving(pool("p", {"servedeck.dev/template": "vllm"})))
    assert severity == "warning"
    assert message.startswith("InferencePool p selects Pods by servedeck.dev/template=vllm alone")
    owned = serving(pool())
    owned.objects.routes[0]["metadata"]["labels"]["argocd.argoproj.io/instance"] = "prod"
    owned.objects.routes[0]["metadata"]["annotations"] = {
        "argocd.argoproj.io/tracking-id": "prod:gateway.networking.k8s.io/HTTPRoute:chat/llama"
    }
    [(severity, _, message)] = check(owned)
    assert severity == "warning"
    assert "Argo CD" in message


async def test_the_groups_that_may_not_be_listed_are_known_and_named() -> None:
    answers: Json = {
        "/apis/apps/v1/namespaces/chat/deployments/llama": serving().objects.deployment,
        POOLS: {"items": []},
        "/apis": {"groups": [{"name": GROUP}, {"name": ALPHA}]},
    }
    cluster = FakeCluster(answers)
    cluster.objects[ALPHA_POOLS] = ApiError(403, "Forbidden", "forbidden")
    live = await fetch_live_objects(cluster.connection, "chat", "llama")
    assert live.engines.hidden_pool_groups == {ALPHA}
    assert unlisted_names(live) == [f"inferencepools.{ALPHA}"]


# -- a new serving ------------------------------------------------------------------------------


async def test_the_pools_of_a_new_serving_are_read_where_it_needs_them() -> None:
    entry = {key: value for key, value in pool().items() if key not in ("apiVersion", "kind")}
    cluster = FakeCluster({POOLS: {"items": [entry]}})
    engines = Engines(GROUPS)
    cluster.read_error = ApiError(500, "InternalError", "not asked for")
    assert await find_pools(cluster.connection, engines, make_spec()) == ((), frozenset())
    cluster.read_error = None
    wanted = make_spec(load_balancing="prefix-aware")
    found = await find_pools(cluster.connection, engines, wanted)
    assert found == ((pool(),), frozenset())
    cluster.objects[ALPHA_POOLS] = ApiError(403, "Forbidden", "forbidden")
    assert (await find_pools(cluster.connection, engines, wanted)).hidden_groups == {ALPHA}
    # The API server also forbids what does not exist.
    known = Engines(frozenset({GROUP}))
    assert not (await find_pools(cluster.connection, known, wanted)).hidden_groups


def test_a_new_serving_says_what_it_lacks() -> None:
    for engines, text in (
        (ENVOY, NO_INFERENCE_POOLS),
        (Engines(GROUPS), "No InferencePool of namespace chat"),
        (Engines(GROUPS, pools=(pool("p", None, 9),)), "InferencePool p sends to port 9"),
    ):
        current = make_serving(engines=engines, load_balancing="prefix-aware")
        wanted = make_spec(load_balancing="prefix-aware")
        [issue] = check_settings(current.objects, None, wanted)
        assert issue.message.startswith(text)
