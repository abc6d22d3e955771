"""Load balancing in the objects: DestinationRules of Istio and BackendTrafficPolicies of Envoy
Gateway, whoever made them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from servedeck.serving.objects.change import ObjectKey, change_objects
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.traffic_policies import is_policy_of
from servedeck.serving.spec.load_balancing import CHOICES
from tests.serving.objects.setting_objects import (
    ENGINES,
    ENVOY,
    Json,
    any_json,
    edit,
    make_serving,
    make_spec,
    only,
    read_again,
)

BOTH = pytest.mark.parametrize(
    ("engines", "kind"), [(ENGINES, "DestinationRule"), (ENVOY, "BackendTrafficPolicy")]
)
HEADER = {"load_balancing": "header", "load_balancing_header": "X-Session-Id"}


def rule(balancer: object, **policy: Any) -> Json:
    """A DestinationRule of others."""
    traffic = {**policy, **({"loadBalancer": balancer} if balancer is not None else {})}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "theirs", "namespace": "chat"},
        "spec": {"host": "llama", "trafficPolicy": traffic},
    }


def envoy_policy(**spec: Any) -> Json:
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "llama"}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": "theirs", "namespace": "chat"},
        "spec": {"targetRefs": [target], **spec},
    }


# -- policies of servedeck ----------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("value", [one for one in CHOICES if one != "prefix-aware"])
def test_each_value_is_written_and_read_back(engines: Any, kind: str, value: str) -> None:
    fields = HEADER if value == "header" else {"load_balancing": value}
    current = make_serving(engines=engines)
    change = edit(current, **fields)
    assert change.changed[: len(change.live)] == change.live
    if value != "off":
        assert only(change, kind)["metadata"]["name"] == "llama"
    assert not change.restarts_pods
    found = read_again(change, engines)
    assert found == current.spec.replace(**fields)
    assert found == make_serving(engines=engines, **fields).spec


def test_what_istio_is_told() -> None:
    made = only(edit(make_serving(), **HEADER), "DestinationRule")["spec"]
    assert made == {
        "host": "llama.chat.svc.cluster.local",
        "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpHeaderName": "X-Session-Id"}}},
    }


def test_what_envoy_gateway_is_told() -> None:
    made = only(edit(make_serving(engines=ENVOY), **HEADER), "BackendTrafficPolicy")["spec"]
    header = {"type": "Header", "header": {"name": "X-Session-Id"}}
    assert made["loadBalancer"] == {"type": "ConsistentHash", "consistentHash": header}
    assert made["targetRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "llama"}
    ]


@BOTH
def test_turning_off_deletes_the_policy_of_servedeck(engines: Any, kind: str) -> None:
    current = make_serving(engines=engines, load_balancing="random")
    change = edit(current, load_balancing="off")
    assert change.removed == {ObjectKey(kind, "llama")}
    assert change.changed == change.live


@BOTH
def test_from_a_header_to_an_algorithm_and_back(engines: Any, kind: str) -> None:
    current = make_serving(engines=engines, **HEADER)
    change = edit(current, load_balancing="least-requests")
    assert "onsistent" not in str(only(change, kind)["spec"])
    back = edit(import_objects(change.changed, engines), **HEADER)
    assert only(back, kind) == only(edit(current), kind)


# -- policies of others -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balancer", "read"),
    [
        ({"simple": "LEAST_REQUEST"}, ("least-requests", "")),
        ({"simple": "LEAST_CONN"}, ("least-requests", "")),
        ({"simple": "ROUND_ROBIN", "warmup": {"duration": "60s"}}, ("round-robin", "")),
        ({"simple": "UNSPECIFIED"}, ("off", "")),
        ({"simple": "PASSTHROUGH"}, ("custom", "")),
        ({"warmup": {"duration": "60s"}}, ("off", "")),
        ({"consistentHash": {"httpHeaderName": "X-User"}}, ("header", "X-User")),
        ({"consistentHash": {"useSourceIp": True}}, ("custom", "")),
        ({"consistentHash": {"httpCookie": {"name": "sid"}}}, ("custom", "")),
        (None, ("off", "")),
    ],
)
def test_a_destination_rule_of_others_is_read(balancer: object, read: tuple[str, str]) -> None:
    spec = make_serving(rule(balancer)).spec
    assert (spec.load_balancing, spec.load_balancing_header) == read


@pytest.mark.parametrize(
    ("balancer", "read"),
    [
        ({"type": "Random"}, ("random", "")),
        ({"type": "ConsistentHash"}, ("custom", "")),
        ({"type": "ConsistentHash", "consistentHash": {"type": "SourceIP"}}, ("custom", "")),
        (
            {
                "type": "ConsistentHash",
                "consistentHash": {"type": "Headers", "headers": [{"name": "X-User"}]},
            },
            ("header", "X-User"),
        ),
        (
            {
                "type": "ConsistentHash",
                "consistentHash": {"type": "Headers", "headers": [{"name": "A"}, {"name": "B"}]},
            },
            ("custom", ""),
        ),
        (None, ("off", "")),
    ],
)
def test_a_policy_of_envoy_gateway_of_others_is_read(
    balancer: object, read: tuple[str, str]
) -> None:
    policy = envoy_policy(**({"loadBalancer": balancer} if balancer else {}))
    spec = make_serving(policy, engines=ENVOY).spec
    assert (spec.load_balancing, spec.load_balancing_header) == read


def test_what_others_set_beside_it_stays() -> None:
    theirs = rule(
        {"simple": "RANDOM", "localityLbSetting": {"enabled": True}},
        outlierDetection={"consecutive5xxErrors": 5},
    )
    change = edit(make_serving(theirs), **HEADER)
    traffic = only(change, "DestinationRule")["spec"]["trafficPolicy"]
    assert traffic["outlierDetection"] == {"consecutive5xxErrors": 5}
    assert traffic["loadBalancer"] == {
        "localityLbSetting": {"enabled": True},
        "consistentHash": {"httpHeaderName": "X-Session-Id"},
    }
    off = edit(make_serving(theirs), load_balancing="off")
    assert not off.removed
    assert only(off, "DestinationRule")["spec"]["trafficPolicy"] == {
        "outlierDetection": {"consecutive5xxErrors": 5},
        "loadBalancer": {"localityLbSetting": {"enabled": True}},
    }


def test_a_policy_of_others_is_never_deleted() -> None:
    off = edit(make_serving(rule({"simple": "RANDOM"})), load_balancing="off")
    assert not off.removed
    assert only(off, "DestinationRule")["spec"] == {"host": "llama"}
    policy = envoy_policy(loadBalancer={"type": "Random"})
    off = edit(make_serving(policy, engines=ENVOY), load_balancing="off")
    assert not off.removed
    assert set(only(off, "BackendTrafficPolicy")["spec"]) == {"targetRefs"}


def test_a_spec_without_the_fields_leaves_the_policy_alone() -> None:
    current = make_serving(rule({"simple": "RANDOM"}))
    change = change_objects(current, make_spec(description="new"), create_missing=False)
    assert change.changed_fields == ("description",)
    assert change.changed[1:] == change.live[1:]


@pytest.mark.parametrize(
    ("host", "is_its"),
    [
        ("llama", True),
        ("llama.chat", True),
        ("llama.chat.svc.cluster.local", True),
        ("llama.other.svc.cluster.local", False),
        ("bert", False),
        ("*.chat.svc.cluster.local", False),
        ("*", False),
        ("", False),
    ],
)
def test_whose_a_destination_rule_is(host: str, is_its: bool) -> None:
    policy = {"kind": "DestinationRule", "spec": {"host": host}}
    assert is_policy_of(policy, "chat", {"llama"}, []) is is_its


def test_whose_a_policy_of_envoy_gateway_is() -> None:
    route = {"kind": "HTTPRoute", "metadata": {"name": "llama"}}
    assert is_policy_of(envoy_policy(), "chat", {"llama"}, [route])
    assert not is_policy_of(envoy_policy(), "chat", {"llama"}, [])
    single = {"kind": "BackendTrafficPolicy", "spec": {"targetRef": {"kind": "HTTPRoute"}}}
    assert not is_policy_of(single, "chat", {"llama"}, [route])
    single["spec"]["targetRef"]["name"] = "llama"  # type: ignore[index]
    assert is_policy_of(single, "chat", {"llama"}, [route])
    gateway = envoy_policy(targetRefs=[{"kind": "Gateway", "name": "llama"}])
    assert not is_policy_of(gateway, "chat", {"llama"}, [route])


WORDS = [
    "metadata", "name", "spec", "trafficPolicy", "loadBalancer", "simple", "consistentHash",
    "httpHeaderName", "type", "ConsistentHash", "Header", "headers", "header", "RANDOM", "Random",
    "host", "targetRefs",
]  # fmt: skip


@given(any_json(WORDS), any_json(WORDS))
def test_a_policy_of_any_shape_is_read_and_changed(spec: Any, balancer: Any) -> None:
    for kind in ("DestinationRule", "BackendTrafficPolicy"):
        shaped = {"loadBalancer": balancer}
        shaped = {"trafficPolicy": shaped} if kind == "DestinationRule" else shaped
        for one in (spec, shaped):
            other = {"kind": kind, "metadata": {"name": "a"}, "spec": copy.deepcopy(one)}
            found = make_serving(other)
            assert found.objects.policies == [other]
            assert read_again(edit(found, load_balancing="random")).load_balancing == "random"
