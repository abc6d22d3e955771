"""Routes to InferencePools in the live picture: which servings each change concerns."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.fleet.fleet import Fleet
from servedeck.serving.objects.pool_records import (
    AlphaInferencePool,
    AlphaInferencePoolSpec,
    InferencePool,
    InferencePoolSpec,
    Pool,
    PoolPort,
    PoolSelector,
)
from servedeck.serving.objects.records import (
    BackendRef,
    Condition,
    HTTPRoute,
    HTTPRouteRule,
    HTTPRouteSpec,
    HTTPRouteStatus,
    LabeledMeta,
    RouteParentStatus,
)
from tests.fleet.factories import change, service
from tests.fleet.test_fleet import LLAMA, NOW, QWEN, llama_view, make_two_servings

GROUP, ALPHA = "inference.networking.k8s.io", "inference.networking.x-k8s.io"
SERVING = "servedeck.dev/serving"
URL = "https://ai.example/team-a/llama"
UNKNOWN = "whether it selects the Pods of llama is not known"


def pool(serving: str = "llama", name: str = "pool", port: int = 8000, uid: str = "u") -> Pool:
    return InferencePool(
        metadata=LabeledMeta(name=name, namespace="team-a", uid=uid),
        spec=InferencePoolSpec(
            selector=PoolSelector({SERVING: serving}), target_ports=(PoolPort(port),)
        ),
    )


def alpha_pool() -> Pool:
    return AlphaInferencePool(
        metadata=LabeledMeta(name="pool", namespace="team-a", uid="alpha"),
        spec=AlphaInferencePoolSpec(selector={SERVING: "llama"}, target_port_number=8000),
    )


def route(name: str = "pool", group: str = GROUP, uid: str = "r") -> HTTPRoute:
    backend = BackendRef(group=group, kind="InferencePool", name=name)
    accepted = Condition(type="Accepted", status="True")
    return HTTPRoute(
        metadata=LabeledMeta(name=f"to-{name}", namespace="team-a", uid=uid),
        spec=HTTPRouteSpec(
            hostnames=("ai.example",), rules=(HTTPRouteRule(backend_refs=(backend,)),)
        ),
        status=HTTPRouteStatus(parents=(RouteParentStatus(conditions=(accepted,)),)),
    )


def start(*records: Any) -> Fleet:
    fleet = make_two_servings()
    for record in (service(), *records):
        fleet.apply(change(record, "ADDED"))
    fleet.flush(NOW)
    return fleet


@pytest.mark.parametrize("is_pool_first", [False, True])
@pytest.mark.parametrize(("found", "group"), [(pool(), GROUP), (alpha_pool(), ALPHA)])
def test_the_endpoint_leads_through_the_pool(is_pool_first: bool, found: Pool, group: str) -> None:
    records = [route(group=group), found]
    fleet = start(*(records[::-1] if is_pool_first else records))
    assert llama_view(fleet).endpoint.url == "https://ai.example"
    assert llama_view(fleet).endpoint.issue == ""
    references = [(one.kind, one.name) for one in fleet.related_objects(LLAMA)]
    assert ("HTTPRoute", "to-pool") in references
    assert not any(one.kind == "HTTPRoute" for one in fleet.related_objects(QWEN))


def test_a_route_to_a_known_pool_concerns_its_serving_alone() -> None:
    fleet = start(pool())
    fleet.apply(change(route()))
    assert fleet.flush(NOW) == {LLAMA}
    fleet.apply(change(route(), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA}
    assert llama_view(fleet).endpoint.url == ""


def test_a_pool_that_comes_and_goes_says_what_was_not_known() -> None:
    fleet = start(route())
    assert UNKNOWN in llama_view(fleet).endpoint.issue
    fleet.apply(change(pool("qwen"), "ADDED"))
    assert fleet.flush(NOW) == {LLAMA, QWEN}
    assert UNKNOWN not in llama_view(fleet).endpoint.issue
    fleet.apply(change(pool("qwen"), "DELETED"))
    assert fleet.flush(NOW) == {LLAMA, QWEN}
    assert UNKNOWN in llama_view(fleet).endpoint.issue


def test_a_known_pool_that_is_deleted_is_not_known_any_more() -> None:
    fleet = start(pool("qwen"), route())
    assert UNKNOWN not in llama_view(fleet).endpoint.issue
    fleet.apply(change(pool("qwen"), "DELETED"))
    fleet.flush(NOW)
    assert UNKNOWN in llama_view(fleet).endpoint.issue


def test_a_pool_without_a_route_changes_nothing() -> None:
    fleet = start(route("other"))
    fleet.apply(change(pool("qwen"), "ADDED"))
    assert fleet.flush(NOW) == set()
    assert "InferencePool other" in llama_view(fleet).endpoint.issue


def test_another_selector_moves_the_endpoint() -> None:
    fleet = start(route(), pool())
    assert llama_view(fleet).endpoint.url
    fleet.apply(change(pool("qwen")))
    assert fleet.flush(NOW) == {LLAMA, QWEN}
    assert not llama_view(fleet).endpoint.url
    view = fleet.view(QWEN)
    assert view is not None
    assert view.endpoint.url == "https://ai.example"


def test_another_port_concerns_the_servings_that_it_selects() -> None:
    fleet = start(route(), pool())
    fleet.apply(change(pool(port=9)))
    assert fleet.flush(NOW) == {LLAMA}
    assert "InferencePool team-a/pool sends to port 9" in llama_view(fleet).endpoint.issue


def test_a_pool_that_was_created_again_stays_when_the_old_one_is_deleted() -> None:
    fleet = start(route(), pool())
    fleet.apply(change(pool(uid="new"), "ADDED"))
    fleet.apply(change(pool(), "DELETED"))
    fleet.flush(NOW)
    assert llama_view(fleet).endpoint.url == "https://ai.example"
