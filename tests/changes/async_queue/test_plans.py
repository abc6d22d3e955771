"""What the platform's settings, the settings of a queue and its objects mean, without a cluster."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

import pytest

from servedeck import __version__
from servedeck.async_queue.tasks import StateCounts
from servedeck.changes.async_queue.plan import AsyncQueueAction, AsyncQueueOptions, AsyncQueuePlan
from servedeck.changes.async_queue.secrets import (
    PasswordSource,
    has_view_key,
    secret_manifest,
    view_secret_manifest,
)
from servedeck.changes.async_queue.state import AsyncQueueState, gateway_refs, why_not_available
from servedeck.changes.async_queue.turn_off import list_deletions, tasks_sentences
from servedeck.changes.async_queue.turn_on import AsyncQueueDefaults, route_warnings
from servedeck.changes.live_objects import LiveObjects
from servedeck.cluster.apply import ObjectRef
from servedeck.commands.async_queue_text import StatusReport, report_json
from servedeck.config import Settings
from servedeck.gateway.settings import GatewaySettings
from servedeck.serving.async_limits import LIMITS, AsyncQueueSettings
from servedeck.serving.conventions import ASYNC_LABEL, MANAGED_BY_LABEL
from servedeck.serving.objects.async_gateway import SECRET_KEYS

STORE = "valkey://valkey.servedeck-system:6379"
OWN = {MANAGED_BY_LABEL: "servedeck", ASYNC_LABEL: "llama"}


def defaults(**settings: str) -> AsyncQueueDefaults:
    return AsyncQueueDefaults.from_settings(Settings(**{"async_store": STORE, **settings}))  # type: ignore[arg-type]


def test_the_image_is_that_of_this_version() -> None:
    assert defaults().image == f"servedeck-gateway:{__version__}"
    assert defaults(async_image="reg.example.com/gw:2").image == "reg.example.com/gw:2"
    settings, wrong = Settings().with_platform_configmap(
        {"async_image": "a:1", "async_store": STORE, "async_store_secret": "x/y"}
    )
    assert not wrong
    assert AsyncQueueDefaults.from_settings(settings) == AsyncQueueDefaults("a:1", STORE, "x/y")


@pytest.mark.parametrize("store", [STORE, "valkeys://v:1", "redis://v", "rediss://v:6379/2"])
def test_stores_that_can_be_used(store: str) -> None:
    assert defaults(async_store=store).issue == ""


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"async_store": ""}, "set async_store"),
        ({"async_store": "sqlite:tasks.db"}, "is not the URL of a Valkey"),
        ({"async_store": "valkey"}, "is not the URL of a Valkey"),
        ({"async_store": "valkey://:hunter2@v:6379"}, "has credentials"),
        ({"async_store_secret": "valkey"}, "is not namespace/name"),
        ({"async_store_secret": "a/b/c/d"}, "is not namespace/name"),
        ({"async_store_secret": "a//c"}, "is not namespace/name"),
    ],
)
def test_stores_that_cannot_be_used(settings: dict[str, str], sentence: str) -> None:
    issue = defaults(**settings).issue
    assert sentence in issue and "hunter2" not in issue and "servedeck-system/servedeck" in issue


def test_where_the_password_is() -> None:
    assert PasswordSource.parse("a/b") == PasswordSource("a", "b", "password")
    assert PasswordSource.parse("a/b/c") == PasswordSource("a", "b", "c")
    assert PasswordSource.parse("") is None


def test_a_route_of_openshift_leads_past_the_gateway() -> None:
    deployment = {"kind": "Deployment", "metadata": {"name": "llama", "namespace": "chat"}}
    route = {
        "kind": "Route",
        "metadata": {"name": "pub\x1b[31mlic", "namespace": "chat"},
        "spec": {"to": {"kind": "Service", "name": "llama"}},
    }
    state = AsyncQueueState("chat", "llama", LiveObjects([deployment, route]), {}, {})
    assert (state.routes, state.openshift_routes) == ([], [route])
    [warning] = route_warnings(state)
    assert warning.endswith("stays as it is: asynchronous requests through it are not stored.")
    assert warning.startswith("Route pub") and "\x1b" not in warning
    report = StatusReport(state, None, "")
    assert report_json(report)["routes"][0]["hasRules"] is False


def bounds(name: str) -> tuple[float, float]:
    """The lowest and the highest value that a gateway takes, as its settings say."""
    limits = get_args(get_type_hints(GatewaySettings, include_extras=True)[name])[1]
    least = 1 if limits.ge is None else limits.ge
    return least, limits.le


@pytest.mark.parametrize("name", [one.name for one in fields(AsyncQueueSettings)])
def test_the_ranges_are_those_of_the_gateway(name: str) -> None:
    least, most = bounds(name)

    limit = LIMITS[name]
    assert (limit.least, limit.most) == (least, most)
    assert limit.default == getattr(GatewaySettings(serving="a/b"), name)


# -- state ----------------------------------------------------------------------------------------


def make_state(*kinds: str, labels: dict[str, str] | None = None) -> AsyncQueueState:
    """With the objects of these kinds, and names."""
    objects: dict[ObjectRef, Any] = {}
    for ref in gateway_refs("chat", "llama"):
        is_there = ref.kind in kinds or f"{ref.kind} {ref.name}" in kinds
        metadata = {"name": ref.name, "uid": f"uid-{ref.kind}", "labels": labels or OWN}
        objects[ref] = {"kind": ref.kind, "metadata": metadata} if is_there else None
    return AsyncQueueState("chat", "llama", LiveObjects(), objects, {})


def test_nothing_is_off() -> None:
    state = make_state()
    assert state.is_off and not state.own and not state.accepts_tasks
    assert len(state.missing) == 11


def test_an_object_of_another_serving_is_foreign() -> None:
    for labels in ({**OWN, ASYNC_LABEL: "bert"}, {ASYNC_LABEL: "llama"}, {"a": "b"}):
        state = make_state("Deployment", labels=labels)
        assert [one.kind for one in state.foreign] == ["Deployment"]
        assert state.is_off and state.gateway is None
        assert list(list_deletions(state)) == []


def test_tasks_may_be_there_while_the_gateway_or_the_service_of_callers_is() -> None:
    assert make_state("Deployment").accepts_tasks
    assert make_state("Service llama-async").accepts_tasks
    assert not make_state("Service llama-async-admin", "Secret", "ConfigMap").accepts_tasks


def test_the_service_of_callers_is_deleted_first_and_the_secret_last() -> None:
    kinds = {one.kind for one in gateway_refs("chat", "llama")}
    found = [one.target for one in list_deletions(make_state(*kinds))]
    assert found[0] == "Service llama-async"
    assert found[-2:] == ["Secret llama-async-view", "Secret llama-async"]
    assert found.index("Service llama-async-admin") > found.index("Service llama-async")
    assert len(found) == 11


def test_a_secret_of_others_with_the_keys_is_used() -> None:
    state = make_state("Secret", labels={"a": "b"})
    ref, view_ref = state.foreign

    def with_data(ref: ObjectRef, **data: str) -> AsyncQueueState:
        obj = {**(state.objects[ref] or {}), "data": data}
        return replace(state, objects={**state.objects, ref: obj})

    state = with_data(ref, **dict.fromkeys(SECRET_KEYS, "eA=="))
    assert state.foreign == [view_ref]
    assert with_data(view_ref, **{"view-key": "eQ=="}).foreign == [view_ref]
    assert with_data(view_ref, **{"view-key": "eA=="}).foreign == []


def test_the_manifest_of_a_secret_belongs_to_the_serving() -> None:
    found = secret_manifest("chat", "llama", {"a": "b"})
    assert found["metadata"]["name"] == "llama-async"
    assert OWN.items() <= found["metadata"]["labels"].items()


def test_the_secret_for_viewers_has_the_view_key_alone() -> None:
    found = view_secret_manifest("chat", "llama", "eA==")
    assert found["metadata"]["name"] == "llama-async-view" and found["data"] == {"view-key": "eA=="}
    assert OWN.items() <= found["metadata"]["labels"].items()
    assert has_view_key(found, {"data": {"view-key": "eA=="}})
    assert not has_view_key(found, {"data": {"view-key": "eQ=="}})
    assert not has_view_key({"data": {}}, {"data": {}}) and not has_view_key(found, None)


def gateway(**status: Any) -> dict[str, Any]:
    available = {"type": "Available", "status": "True"}
    whole = {"observedGeneration": 2, "updatedReplicas": 2, "conditions": [available], **status}
    metadata = {"name": "llama-async", "generation": 2}
    return {"metadata": metadata, "spec": {"replicas": 2}, "status": whole}


def test_a_gateway_is_available_with_pods_of_its_newest_version() -> None:
    assert why_not_available(gateway()) == ""
    assert "not started yet" in why_not_available(gateway(observedGeneration=1))
    assert "no available Pod yet" in why_not_available(gateway(updatedReplicas=0))
    assert "no available Pod yet" in why_not_available(gateway(conditions=[]))
    failed = {"type": "Progressing", "status": "False", "message": "has timed out progressing."}
    assert why_not_available(gateway(conditions=[failed])) == (
        "Deployment llama-async has no available Pod: has timed out progressing."
    )
    assert "scaled to 0" in why_not_available({**gateway(), "spec": {"replicas": 0}})


# -- sentences ------------------------------------------------------------------------------------


def test_what_happens_to_tasks() -> None:
    assert list(tasks_sentences(StateCounts(pending=2, processing=1, completed=1), "")) == [
        "Cancelled: 3 tasks (2 pending, 1 processing).",
        "1 result can no longer be fetched.",
    ]
    assert list(tasks_sentences(StateCounts(), "")) == ["No task is pending or processing."]
    [sentence] = tasks_sentences(None, "It is away.")
    assert sentence.startswith("It is not known whether tasks wait: It is away. Those that do are")


@pytest.mark.parametrize(("unfinished", "needed"), [(0, False), (1, True), (None, True)])
def test_what_must_be_confirmed(unfinished: int | None, needed: bool) -> None:
    options = AsyncQueueOptions(AsyncQueueAction.OFF, "chat", "llama")
    assert AsyncQueuePlan(options, unfinished=unfinished).needs_cancellation == needed
