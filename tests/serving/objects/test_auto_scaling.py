"""Auto scaling in the objects: ScaledObjects and HorizontalPodAutoscalers, whoever made them."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.objects.change import ObjectKey, change_objects
from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.mapping.engines import Engines
from servedeck.serving.spec.mapping.reporters import Reporter
from servedeck.serving.spec.mapping.scaling_queries import build_scaling_query
from servedeck.serving.spec.scaling import SCALING_FIELDS, TARGET_FIELDS, TRIGGERS
from tests.serving.objects.setting_objects import (
    CRON,
    ENGINES,
    NAMED,
    Json,
    after,
    any_json,
    autoscaler,
    edit,
    make_serving,
    make_spec,
    only,
    read_again,
    scaled_object,
)

TARGETS = {trigger: field for trigger, (field, _) in TARGET_FIELDS.items()}


def changed_paths(live: Json, changed: Json) -> list[str]:
    return sorted(format_path(one.path) for one in find_differences(live, changed))


def scaler_of(change: Any) -> Json:
    return only(change, "ScaledObject")


# -- a ScaledObject of servedeck ----------------------------------------------------------------


def test_turning_on_creates_the_scaled_object_and_touches_nothing_else() -> None:
    change = edit(make_serving(), auto_scaling="response-time", max_replicas=4)
    assert change.changed[: len(change.live)] == change.live
    [created] = change.changed[len(change.live) :]
    assert created["metadata"] == {
        "name": "llama",
        "namespace": "chat",
        "labels": {
            "servedeck.dev/serving": "llama",
            "app.kubernetes.io/managed-by": "servedeck",
        },
    }
    spec = created["spec"]
    assert spec["scaleTargetRef"] == {"name": "llama"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 4)
    [trigger] = spec["triggers"]
    assert (trigger["type"], trigger["name"]) == ("prometheus", "response-time")
    assert trigger["metricType"] == "Value"  # a response time is not divided by the replicas
    assert trigger["metadata"]["threshold"] == "5000"
    assert trigger["metadata"]["serverAddress"] == "http://prometheus.monitoring:9090"
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert spec["advanced"]["restoreToOriginalReplicaCount"] is True
    assert not change.removed
    assert not change.restarts_pods


def test_the_scale_in_delay_holds_for_every_step_down() -> None:
    change = edit(make_serving(), auto_scaling="response-time", scale_in_delay=90)
    spec = scaler_of(change)["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 90
    assert spec["cooldownPeriod"] == 90


def test_waiting_requests_are_counted_per_replica() -> None:
    change = edit(make_serving(), auto_scaling="waiting-requests", target_waiting=3)
    [trigger] = scaler_of(change)["spec"]["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "3")


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_is_written_is_read_back(trigger: str) -> None:
    fields = {
        "auto_scaling": trigger,
        "min_replicas": 2,
        "max_replicas": 7,
        "scale_in_delay": 45,
        TARGETS[trigger]: 11,
    }
    found = read_again(edit(make_serving(), **fields))
    assert {name: getattr(found, name) for name in fields} == fields
    assert found == make_serving(**fields).spec


@pytest.mark.parametrize(
    ("field", "value", "paths"),
    [
        ("min_replicas", 2, ["spec.minReplicaCount"]),
        ("max_replicas", 12, ["spec.maxReplicaCount"]),
        (
            "scale_in_delay",
            90,
            [
                "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown"
                ".stabilizationWindowSeconds",
                "spec.cooldownPeriod",
            ],
        ),
        ("target_response_time", 900, ["spec.triggers[0].metadata.threshold"]),
    ],
)
def test_a_field_changes_what_it_must_and_no_more(field: str, value: int, paths: list[str]) -> None:
    current = make_serving(auto_scaling="response-time")
    change = edit(current, **{field: value})
    pairs = list(zip(change.live, change.changed, strict=True))
    assert [one for one in pairs if one[0] != one[1]] == [pairs[-1]]
    assert changed_paths(*pairs[-1]) == paths
    assert getattr(read_again(change), field) == value


def test_a_query_that_somebody_adapted_stays_with_another_target() -> None:
    current = make_serving(auto_scaling="response-time")
    metadata = current.objects.scalers[0]["spec"]["triggers"][0]["metadata"]
    metadata |= {"query": "my:p95", "serverAddress": "https://thanos:9090", "authModes": "bearer"}
    found = scaler_of(edit(current, target_response_time=900))["spec"]["triggers"][0]["metadata"]
    assert found == {**metadata, "threshold": "900"}


def test_triggers_of_others_stay() -> None:
    current = make_serving(auto_scaling="response-time")
    current.objects.scalers[0]["spec"]["triggers"] += [CRON, NAMED]
    for fields in (
        {"target_response_time": 900},
        {"auto_scaling": "waiting-requests"},
        {"min_replicas": 0},
    ):
        triggers = scaler_of(edit(current, **fields))["spec"]["triggers"]
        assert triggers[-2:] == [CRON, NAMED]
        assert len(triggers) == (4 if "min_replicas" in fields else 3)


def test_a_second_trigger_with_a_name_of_ours_stays() -> None:
    current = make_serving(auto_scaling="response-time")
    metadata = {"threshold": "4"}
    others = [
        {"type": "prometheus", "name": name, "metadata": metadata}
        for name in ("waiting-requests", "requests")
    ]
    current.objects.scalers[0]["spec"]["triggers"] += others
    first, *rest = scaler_of(edit(current, max_replicas=4))["spec"]["triggers"]
    assert (first["name"], rest) == ("response-time", others)


def test_a_trigger_that_takes_the_place_of_another_asks_and_authenticates_as_that_did() -> None:
    current = make_serving(auto_scaling="response-time")
    [trigger] = current.objects.scalers[0]["spec"]["triggers"]
    trigger["authenticationRef"] = {"name": "thanos"}
    trigger["metadata"] |= {"serverAddress": "https://thanos:9092", "authModes": "bearer"}
    change = edit(current, auto_scaling="waiting-requests")
    [found] = scaler_of(change)["spec"]["triggers"]
    assert (found["name"], found["metricType"]) == ("waiting-requests", "AverageValue")
    assert found["authenticationRef"] == {"name": "thanos"}
    metadata = found["metadata"]
    assert (metadata["serverAddress"], metadata["authModes"]) == ("https://thanos:9092", "bearer")
    assert "num_requests_waiting" in metadata["query"]


def test_an_edit_of_the_limits_leaves_the_triggers_alone() -> None:
    current = make_serving(auto_scaling="response-time")
    [trigger] = current.objects.scalers[0]["spec"]["triggers"]
    trigger["metadata"]["ignoreNullValues"] = "true"
    before = [dict(trigger)]
    assert scaler_of(edit(current, max_replicas=4))["spec"]["triggers"] == before


def test_a_serving_of_0_replicas_gets_the_minimum() -> None:
    stopped = make_serving(replicas=0)
    change = edit(stopped, auto_scaling="response-time", min_replicas=2)
    assert change.changed[0]["spec"]["replicas"] == 2
    woken = make_serving(replicas=0, auto_scaling="response-time", min_replicas=0)
    assert edit(woken, min_replicas=1).changed[0]["spec"]["replicas"] == 1
    assert edit(woken, max_replicas=3).changed[0]["spec"]["replicas"] == 0


@pytest.mark.parametrize("length", range(44, 64))
def test_the_metrics_of_a_long_name_are_those_of_its_pods(length: int) -> None:
    name = "a" * length
    query = build_scaling_query(
        "waiting-requests", "vllm", "chat", name, Reporter(), is_woken=False
    )
    pattern = re.search(r'pod=~"([^"]*)"', query)
    assert pattern

    def pod(serving: str, template_hash: str) -> str:
        """As the API server cuts the name of the ReplicaSet."""
        return f"{serving}-{template_hash}-"[:58] + "x2k4z"

    for template_hash in ("6d5f8", "6d5f8c", "6d5f8c9", "6d5f8c9bb", "6d5f8c9bb4"):
        assert re.fullmatch(pattern[1], pod(name, template_hash)), template_hash
    # Up to the length at which it is left whole, and does not look like a hash itself.
    for other in ("-canary", "-canary-2", "-v2") if length <= 53 else ():
        assert not re.fullmatch(pattern[1], pod(name + other, "6d5f8c9bb4")), other


def test_another_trigger_takes_the_place_of_ours() -> None:
    current = make_serving(auto_scaling="response-time", max_replicas=4)
    change = edit(current, auto_scaling="waiting-requests")
    assert [one["name"] for one in scaler_of(change)["spec"]["triggers"]] == ["waiting-requests"]
    found = read_again(change)
    assert (found.auto_scaling, found.max_replicas) == ("waiting-requests", 4)
    assert (found.target_waiting, found.target_response_time) == (2, None)


def test_turning_off_deletes_the_scaled_object_alone() -> None:
    current = make_serving(auto_scaling="response-time")
    change = edit(current, auto_scaling="off")
    assert change.removed == {ObjectKey("ScaledObject", "llama")}
    assert change.changed == change.live  # also the replicas, which KEDA puts back
    assert read_again(change).auto_scaling == "off"


def test_another_template_gets_its_own_query() -> None:
    current = make_serving(auto_scaling="waiting-requests", target_waiting=7)
    furiosa = make_spec(
        template="furiosa-llm", image="furiosa:1", accelerator="furiosa.ai/rngd", settings={}
    )
    wanted = furiosa.replace(**{one: getattr(current.spec, one) for one in SCALING_FIELDS})
    change = change_objects(current, wanted, create_missing=False)
    [trigger] = scaler_of(change)["spec"]["triggers"]
    assert "furiosa_llm_num_requests_waiting" in trigger["metadata"]["query"]
    assert trigger["metadata"]["threshold"] == "7"


def test_a_scaler_that_the_save_of_another_template_did_not_reach_gets_its_query_later() -> None:
    current = make_serving(auto_scaling="waiting-requests")
    scaler = current.objects.scalers[0]
    scaler["metadata"]["uid"] = "uid-1"
    wanted = make_serving(
        template="furiosa-llm",
        image="furiosa:1",
        accelerator="furiosa.ai/rngd",
        settings={"model": "org/m"},
        auto_scaling="waiting-requests",
    )
    others = [*wanted.objects.services, *wanted.objects.routes, scaler]
    now = import_objects([wanted.objects.deployment, *others], ENGINES)
    unwritten = {"uid-1": current.objects.deployment}
    plain = change_objects(now, now.spec, create_missing=False)
    assert plain.changed == plain.live
    change = change_objects(now, now.spec, create_missing=False, unwritten=unwritten)
    [trigger] = scaler_of(change)["spec"]["triggers"]
    assert "furiosa_llm_num_requests_waiting" in trigger["metadata"]["query"]


# -- scale to zero ------------------------------------------------------------------------------


def test_with_an_async_gateway_its_backlog_wakes_the_serving() -> None:
    engines = Engines(ENGINES.api_groups, ENGINES.prometheus_url, has_async_gateway=True)
    change = edit(make_serving(engines=engines), auto_scaling="response-time", min_replicas=0)
    own, activity, *queue = scaler_of(change)["spec"]["triggers"]
    assert (activity["name"], activity["metadata"]["activationThreshold"]) == (
        "requests-in-flight",
        "0",
    )
    # Running requests keep a replica, and add none.
    assert "num_requests_running" in activity["metadata"]["query"]
    assert activity["metadata"]["threshold"] == "1000000"
    assert "vector(0)" in own["metadata"]["query"]  # without Pods there is no series
    assert [(one["type"], one["metadata"]["valueLocation"]) for one in queue] == [
        ("metrics-api", "backlog"),
        ("metrics-api", "recent"),
    ]
    assert {one["metadata"]["url"] for one in queue} == {"http://llama-async.chat/-/async/queue"}
    back = import_objects(after(change), engines)
    assert back.spec.min_replicas == 0
    [again] = scaler_of(edit(back, min_replicas=1))["spec"]["triggers"]
    assert "vector(0)" not in again["metadata"]["query"]


def test_a_new_one_waits_before_the_first_scale_to_0() -> None:
    fields = {"auto_scaling": "response-time", "scale_in_delay": 90}
    created = scaler_of(edit(make_serving(), **fields, min_replicas=0))["spec"]
    assert (created["initialCooldownPeriod"], created["cooldownPeriod"]) == (90, 90)
    # The field is newer than others of KEDA, and without effect here.
    assert "initialCooldownPeriod" not in scaler_of(edit(make_serving(), **fields))["spec"]


def test_without_a_gateway_no_trigger_of_it_is_made() -> None:
    change = edit(make_serving(), auto_scaling="response-time", min_replicas=0)
    names = [one["name"] for one in scaler_of(change)["spec"]["triggers"]]
    assert names == ["response-time", "requests-in-flight"]


# -- autoscalers of others ----------------------------------------------------------------------


def test_a_horizontal_pod_autoscaler_is_edited_as_one() -> None:
    current = make_serving(autoscaler(minReplicas=2))
    spec = current.spec
    assert (spec.auto_scaling, spec.min_replicas, spec.max_replicas) == ("hpa", 2, 6)
    assert (spec.scale_in_delay, spec.target_response_time) == (300, None)
    change = edit(current, min_replicas=3, max_replicas=9, scale_in_delay=120)
    assert changed_paths(change.live[-1], change.changed[-1]) == [
        "spec.behavior",
        "spec.maxReplicas",
        "spec.minReplicas",
    ]
    found = read_again(change)
    assert (found.auto_scaling, found.min_replicas, found.max_replicas) == ("hpa", 3, 9)
    assert found.scale_in_delay == 120


@pytest.mark.parametrize(("written", "read"), [({}, 1), ({"minReplicas": 0}, 0)])
def test_the_least_replicas_of_a_horizontal_pod_autoscaler(written: Json, read: int) -> None:
    assert make_serving(autoscaler(**written)).spec.min_replicas == read


def test_turning_off_deletes_the_horizontal_pod_autoscaler() -> None:
    change = edit(make_serving(autoscaler()), auto_scaling="off")
    assert change.removed == {ObjectKey("HorizontalPodAutoscaler", "llama-hpa")}


def test_a_scaled_object_takes_the_place_of_a_horizontal_pod_autoscaler() -> None:
    change = edit(make_serving(autoscaler(minReplicas=2)), auto_scaling="response-time")
    assert change.removed == {ObjectKey("HorizontalPodAutoscaler", "llama-hpa")}
    spec = scaler_of(change)["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 6)
    assert spec["cooldownPeriod"] == 300


def test_a_scaled_object_of_others_is_custom_and_its_limits_can_be_changed() -> None:
    theirs = scaled_object(CRON, NAMED)
    current = make_serving(theirs)
    spec = current.spec
    assert (spec.auto_scaling, spec.min_replicas, spec.max_replicas) == ("custom", 0, 100)
    assert spec.scale_in_delay == 300
    change = edit(current, min_replicas=1, max_replicas=5)
    changed = scaler_of(change)
    assert changed_paths(theirs, changed) == ["spec.maxReplicaCount", "spec.minReplicaCount"]


def test_our_trigger_is_added_to_a_scaled_object_of_others() -> None:
    current = make_serving(scaled_object(CRON, minReplicaCount=1, maxReplicaCount=3))
    change = edit(current, auto_scaling="waiting-requests")
    changed = scaler_of(change)
    assert changed["metadata"]["name"] == "theirs"
    assert [one.get("name") for one in changed["spec"]["triggers"]] == ["waiting-requests", None]
    assert changed["spec"]["maxReplicaCount"] == 3
    assert not change.removed


@pytest.mark.parametrize("threshold", ["", "5s", "1.5", "-3", "9" * 10, "٣", 5000, None])
def test_our_trigger_with_a_target_that_is_no_number_is_custom(threshold: object) -> None:
    current = make_serving(auto_scaling="response-time")
    current.objects.scalers[0]["spec"]["triggers"][0]["metadata"]["threshold"] = threshold
    assert import_objects(current.objects.all).spec.auto_scaling == "custom"


def test_of_two_autoscalers_the_scaled_object_counts() -> None:
    current = make_serving(autoscaler(), scaled_object(CRON))
    assert current.spec.auto_scaling == "custom"
    assert len(current.objects.scalers) == 2


# -- a file that says nothing of it -------------------------------------------------------------


@pytest.mark.parametrize("other", [None, autoscaler(minReplicas=2), scaled_object(CRON)])
def test_a_spec_without_the_fields_leaves_the_autoscaler_alone(other: Json | None) -> None:
    current = make_serving(other) if other else make_serving(auto_scaling="response-time")
    change = change_objects(current, make_spec(description="new"), create_missing=False)
    assert change.changed_fields == ("description",)
    assert change.changed[1:] == change.live[1:]
    assert not change.removed


def test_a_spec_that_says_off_turns_it_off() -> None:
    current = make_serving(auto_scaling="response-time")
    change = change_objects(current, make_spec(auto_scaling="off"), create_missing=False)
    assert change.removed == {ObjectKey("ScaledObject", "llama")}


# -- any shape ----------------------------------------------------------------------------------

WORDS = [
    "metadata", "name", "spec", "triggers", "threshold", "response-time", "waiting-requests",
    "minReplicaCount", "maxReplicaCount", "minReplicas", "maxReplicas", "cooldownPeriod", "query",
    "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown", "serverAddress",
    "stabilizationWindowSeconds", "prometheus", "5000", "type",
]  # fmt: skip


@given(
    st.sampled_from(["ScaledObject", "HorizontalPodAutoscaler"]),
    any_json(WORDS),
    st.lists(any_json(WORDS), max_size=3),
)
def test_an_autoscaler_of_any_shape_is_read(kind: str, spec: object, triggers: Any) -> None:
    if isinstance(spec, dict):
        spec.setdefault("triggers", triggers)
    other = {"kind": kind, "apiVersion": "x/v1", "metadata": {"name": "a"}, "spec": spec}
    found = make_serving(copy.deepcopy(other))
    assert found.spec.auto_scaling != "off"
    assert found.objects.scalers == [other]


@given(any_json(WORDS))
def test_an_autoscaler_of_any_shape_can_be_turned_off(spec: object) -> None:
    other = {"kind": "ScaledObject", "metadata": {"name": "a"}, "spec": spec}
    assert edit(make_serving(other), auto_scaling="off").removed == {ObjectKey("ScaledObject", "a")}
