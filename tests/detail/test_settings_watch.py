"""Which objects of a namespace the settings of a serving are read from."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.changes.live_objects import own_objects
from servedeck.detail.candidates import may_name, read_selector
from servedeck.detail.scaler_watch import ScalerWatch
from servedeck.detail.settings_watch import SettingsWatch
from servedeck.fleet.views import NamespacedName
from servedeck.serving.conventions import ASYNC_SERVICE_LABEL
from tests.detail.objects import NAMESPACE, deployment, live
from tests.tui.fake_detail_service import FakeDetailService

Json = dict[str, Any]
NAME = "chat"
KEY = NamespacedName(NAMESPACE, NAME)
LABELS = {"servedeck.dev/serving": NAME, "servedeck.dev/template": "vllm"}


def made(kind: str, name: str, spec: object, **metadata: Any) -> Json:
    own = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{kind}-{name}", **metadata}
    return {"apiVersion": "v1", "kind": kind, "metadata": own, "spec": spec}


def service(name: str, selector: object) -> Json:
    return made("Service", name, {"selector": selector})


def http_route(name: str, backend: str) -> Json:
    return made("HTTPRoute", name, {"rules": [{"backendRefs": [{"name": backend, "port": 80}]}]})


def virtual_service(name: str, host: str) -> Json:
    return made("VirtualService", name, {"http": [{"route": [{"destination": {"host": host}}]}]})


def ingress(name: str, backend: str, **metadata: Any) -> Json:
    paths = [{"backend": {"service": {"name": backend, "port": {"number": 80}}}}]
    return made("Ingress", name, {"rules": [{"http": {"paths": paths}}]}, **metadata)


def destination_rule(name: str, host: str) -> Json:
    return made("DestinationRule", name, {"host": host})


def policy(name: str, route: str) -> Json:
    target = {"kind": "HTTPRoute", "name": route}
    return made("BackendTrafficPolicy", name, {"targetRefs": [target]})


def scaled_object(name: str, target: str, **spec: Any) -> Json:
    return made("ScaledObject", name, {"scaleTargetRef": {"name": target}, "triggers": [], **spec})


def hpa(name: str, target: str, **metadata: Any) -> Json:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return made("HorizontalPodAutoscaler", name, {"scaleTargetRef": ref}, **metadata)


OWN = (
    service(NAME, LABELS),
    service("by-template", {"servedeck.dev/template": "vllm"}),
    http_route("of-its-service", NAME),
    http_route("of-the-other-service", "by-template"),
    virtual_service("short", NAME),
    virtual_service("long", f"by-template.{NAMESPACE}.svc.cluster.local"),
    ingress("direct", NAME),
    ingress("replaced", "gateway", labels={ASYNC_SERVICE_LABEL: f"{NAME}.80"}),
    scaled_object("any-name", NAME),
    hpa("hpa", NAME),
    destination_rule("short", "by-template"),
    destination_rule("long", f"{NAME}.{NAMESPACE}.svc"),
    policy("policy", "of-the-other-service"),
)
EXTERNAL = service("external", LABELS)
EXTERNAL["spec"] |= {"type": "ExternalName", "externalName": "llm.example.com"}
OTHERS = (
    EXTERNAL,
    http_route("of-the-external-service", "external"),
    service("other", {"servedeck.dev/serving": "chat-2"}),
    service("more", {**LABELS, "track": "canary"}),
    service("without", {}),
    http_route("others", "chat-2"),
    virtual_service("others", "other.chat"),
    virtual_service("elsewhere", f"{NAME}.team-b.svc"),
    ingress("others", "a-chat"),
    scaled_object("chat", "chat-2"),
    hpa("others", "other"),
    hpa("made-by-keda", NAME, ownerReferences=[{"kind": "ScaledObject", "controller": True}]),
    destination_rule("others", "more"),
    policy("others", "others"),
)


def opened(*objects: Json) -> tuple[FakeDetailService, SettingsWatch]:
    detail = FakeDetailService(*objects)
    return detail, SettingsWatch(detail, KEY, lambda: None)


def test_the_same_objects_are_found_as_by_reading_all() -> None:
    _, watch = opened(*OTHERS, *OWN)
    workload = deployment(NAME)
    listed: dict[str, list[Json]] = {}
    for one in (*OTHERS, *OWN):
        listed.setdefault(one["kind"], []).append(one)
    expected = {one["metadata"]["uid"] for one in own_objects(workload, listed)}
    assert expected == {one["metadata"]["uid"] for one in OWN}
    found = watch.read(live(workload), frozenset()).live.objects
    assert {one["metadata"]["uid"] for one in found[1:]} == expected


def test_a_service_of_its_name_that_selects_other_pods_keeps_its_routes() -> None:
    _, watch = opened(service(NAME, {"a": "b"}), http_route("route", NAME))
    assert len(watch.read(live(deployment(NAME)), frozenset()).live.objects) == 1
    _, watch = opened(http_route("route", NAME))
    assert len(watch.read(live(deployment(NAME)), frozenset()).live.objects) == 2


def test_objects_that_do_not_name_it_are_not_parsed() -> None:
    detail, watch = opened(*OTHERS, *OWN)
    watch.read(live(deployment(NAME)), frozenset())
    assert watch.scaler.states
    parsed = {one.metadata.uid for one in detail.live_objects if "value" in vars(one)}
    assert {one["metadata"]["uid"] for one in OWN} <= parsed
    names = ("Service-other", "Service-more", "HTTPRoute-others", "Ingress-others")
    others = (*names, "HorizontalPodAutoscaler-others", "DestinationRule-others")
    assert not {f"uid-{one}" for one in others} & parsed


def test_a_change_of_what_is_not_its_own_changes_nothing() -> None:
    detail, watch = opened(*OTHERS, *OWN)
    workload = live(deployment(NAME))
    before, states = watch.read(workload, frozenset()), watch.scaler.states
    detail.put(
        service("other", {"servedeck.dev/serving": "chat-3"}),
        http_route("others", "chat-3"),
        hpa("others", "chat-3"),
        scaled_object("new", "chat-3"),
    )
    assert watch.read(workload, frozenset()) is before
    assert watch.scaler.states is states
    detail.put(scaled_object("any-name", NAME, maxReplicaCount=7))
    assert watch.read(workload, frozenset()) is not before
    assert watch.scaler.states is not states


def test_objects_become_its_own_and_other_ones() -> None:
    detail, watch = opened(service("late", {"a": "b"}), http_route("route", "late"))
    workload = live(deployment(NAME))

    def names(using: Any = workload) -> list[str]:
        return [one["metadata"]["name"] for one in watch.read(using, frozenset()).live.objects[1:]]

    assert names() == []
    detail.put(policy("policy", "route"), service("late", LABELS))
    assert names() == ["late", "route", "policy"]
    other = deployment(NAME)
    other["spec"]["template"]["metadata"]["labels"] = {"a": "b"}
    assert names(live(other)) == []
    assert names() == ["late", "route", "policy"]
    detail.put(http_route("route", "chat-2"))
    assert names() == ["late"]


def test_an_autoscaler_of_a_deployment_is_not_that_of_a_workload_of_another_kind() -> None:
    detail = FakeDetailService(hpa("hpa", NAME))
    assert ScalerWatch(detail, KEY, lambda: None).states
    other = NamespacedName(NAMESPACE, NAME, "StatefulSet")
    assert not ScalerWatch(detail, other, lambda: None).states


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"selector": {"a": "b"}}, {"a": "b"}),
        ({"selector": {}}, {}),
        ({"selector": None}, {}),
        ({"selector": {"a": 1}}, {"a": 1}),
        ({"selector": ["a"]}, {}),
        ("text", {}),
        (None, {}),
    ],
)
def test_the_selector_of_a_service_of_any_shape(spec: object, expected: Json) -> None:
    assert read_selector(live(made("Service", "a", spec))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat", True),
        ("chat.team-a.svc", True),
        ("chat-2", False),
        ("my-chat", False),
        ("a chat", False),
    ],
)
def test_which_strings_may_be_a_name(text: str, expected: bool) -> None:
    assert may_name(live(destination_rule("rule", text)), ("other", "chat")) is expected
    assert not may_name(live(destination_rule("rule", text)), ())
