"""What an autoscaler does, read from the objects of KEDA and of the HPA controller."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.scaling.read_scaler import read_rescale, read_scaler_states
from servedeck.serving.scaling.scaler_state import Rescale, ScalerMetric, ScalerState
from servedeck.serving.scaling.scaling_metrics import MetricType, format_amount
from tests.serving.scaling.autoscalers import (
    ABLE,
    ACTIVE,
    KEDA_CONDITIONS,
    LIMITED,
    NO_METRIC,
    NOT_LIMITED,
    NOT_PAUSED,
    READY,
    SCALING,
    hpa,
    scaled_object,
)

NOW = datetime(2026, 7, 1, 12, 2, tzinfo=UTC)


def state(scaled: dict[str, Any] | None = None, own: dict[str, Any] | None = None) -> ScalerState:
    found = read_scaler_states([scaled or scaled_object()], [own or hpa()])
    assert len(found) == 1
    return found[0]


def test_a_scaled_object_and_its_hpa_are_one_autoscaler() -> None:
    found = state(own=hpa(latency="6200", desired=4))
    assert (found.kind, found.name, found.hpa_name) == ("ScaledObject", "chat", "keda-hpa-chat")
    assert (found.min_replicas, found.max_replicas) == (1, 10)
    assert (found.current, found.desired) == (3, 4)
    assert found.last_scale == NOW - timedelta(minutes=2)
    assert found.is_active and not found.is_paused and not found.is_fallback
    assert (found.problems, found.reasons) == ((), ())
    assert [(one.source, one.type) for one in found.conditions] == [
        *(("KEDA", str(one["type"])) for one in KEDA_CONDITIONS),
        *(("HPA", one) for one in ("AbleToScale", "ScalingActive", "ScalingLimited")),
    ]


def test_metrics_have_the_names_of_their_triggers_and_their_units() -> None:
    latency, waiting, cpu = state().metrics
    assert (latency.name, latency.metric, latency.type) == (
        "response-time",
        "s1-prometheus",
        MetricType.VALUE,
    )
    assert (latency.current, latency.target, latency.unit) == (6.2, 5.0, "ms")
    assert (waiting.name, waiting.current, waiting.target) == ("waiting-requests", 2.5, 10.0)
    assert waiting.text == "waiting requests 2.5 against 10 per replica"
    assert (cpu.name, cpu.type, cpu.text) == (
        "cpu",
        MetricType.UTILIZATION,
        "cpu 35 % against 70 %",
    )


def test_the_sentence_says_what_it_does() -> None:
    own = hpa(latency="6200")
    own["spec"]["metrics"] = own["spec"]["metrics"][:1]
    own["spec"]["metrics"][0]["external"]["target"]["value"] = "5k"
    found = state(own=own)
    text = "3 of 1–10 replicas: response time 6200 ms against 5000 ms; scaled"
    assert found.sentence(NOW) == f"{text} 2m ago"
    up = replace(found, last_rescale=Rescale(3, "above target", "up"))
    assert up.sentence(NOW) == f"{text} up 2m ago"
    older = replace(found, last_rescale=Rescale(7, "above target", "up"))
    assert older.sentence(NOW) == f"{text} 2m ago"
    growing = replace(up, desired=5, metrics=(), last_scale=None)
    assert growing.sentence(NOW) == "3 → 5 of 1–10 replicas"


@pytest.mark.parametrize(
    ("conditions", "problem", "reason"),
    [
        ((ABLE, SCALING, LIMITED), "", "at Max Replicas (ScalingLimited TooManyReplicas)"),
        (
            (ABLE, SCALING, {**LIMITED, "reason": "TooFewReplicas"}),
            "",
            "at Min Replicas (ScalingLimited TooFewReplicas)",
        ),
        (
            (ABLE, SCALING, {**LIMITED, "reason": "ScaleUpLimit"}),
            "",
            "as fast as its policies allow (ScalingLimited ScaleUpLimit)",
        ),
        (
            ({**ABLE, "reason": "ScaleDownStabilized", "message": "recent"}, SCALING, NOT_LIMITED),
            "",
            "waiting for the Scale-in Delay (ScaleDownStabilized: recent)",
        ),
        (
            (ABLE, NO_METRIC),
            "ScalingActive False FailedGetExternalMetric: the HPA was unable to compute the "
            "replica count: unable to get external metric",
            "",
        ),
        (
            ({**ABLE, "status": "False", "reason": "FailedGetScale", "message": "no"},),
            "AbleToScale False FailedGetScale: no",
            "",
        ),
        ((), "The HPA controller has not looked at it yet.", ""),
    ],
)
def test_why_it_does_nothing(
    conditions: tuple[dict[str, Any], ...], problem: str, reason: str
) -> None:
    found = state(own=hpa(conditions=conditions, latency="6200"))
    assert found.problems == ((problem,) if problem else ())
    assert found.reasons == ((reason,) if reason else ())
    assert found.is_stuck is bool(problem)


def test_near_the_target_nothing_is_scaled() -> None:
    own = hpa(latency="5200m")
    own["spec"]["metrics"] = own["spec"]["metrics"][:1]
    assert state(own=own).reasons == ("within the tolerance of 10 % of its target",)
    own["spec"]["behavior"] = {"scaleUp": {"tolerance": "10m"}}
    assert state(own=own).reasons == ()
    assert state(own=hpa(latency="5200m")).reasons == ()  # another metric is not near


# -- KEDA -------------------------------------------------------------------------------------


def test_a_pause_and_its_annotation() -> None:
    paused = state(scaled_object(annotations={"autoscaling.keda.sh/paused-replicas": "4"}))
    assert (paused.is_paused, paused.paused_replicas) == (True, 4)
    assert paused.sentence(NOW) == "3 of 1–10 replicas: paused at 4"
    assert paused.reasons == ("paused at 4 replicas by autoscaling.keda.sh/paused-replicas",)
    for value, is_paused in (("true", True), ("yes", True), ("false", False), ("0", False)):
        found = state(scaled_object(annotations={"autoscaling.keda.sh/paused": value}))
        assert found.is_paused is is_paused
    condition = {**NOT_PAUSED, "status": "True", "reason": "ScaledObjectPaused"}
    found = state(scaled_object(conditions=(READY, condition)))
    assert found.reasons == ("paused (Paused True ScaledObjectPaused)",)
    one_way = scaled_object(
        conditions=(READY, condition), annotations={"autoscaling.keda.sh/paused-scale-in": "true"}
    )
    found = state(one_way)
    assert not found.is_paused
    assert found.reasons == ("scaling down is paused by autoscaling.keda.sh/paused-scale-in",)


def test_a_fallback_and_triggers_that_cannot_be_read() -> None:
    fallback = {"type": "Fallback", "status": "True", "reason": "FallbackExists", "message": "yes"}
    scaled = scaled_object(conditions=(READY, ACTIVE, fallback), fallback={"replicas": 2})
    scaled["status"]["health"] = {"s1-prometheus": {"status": "Failing", "numberOfFailures": 4}}
    found = state(scaled)
    assert found.is_fallback
    assert found.metrics[0].failures == 4
    assert found.problems == ("KEDA could not read s1-prometheus 4 times in a row.",)
    assert found.reasons[0] == (
        "fallback to 2 replicas, as its triggers cannot be read (Fallback True FallbackExists: yes)"
    )


def test_without_an_hpa_the_triggers_are_shown_and_why_there_is_none() -> None:
    (found,) = read_scaler_states([scaled_object()], [])
    assert [(one.name, one.current, one.target) for one in found.metrics] == [
        ("cpu", None, 70.0),
        ("response-time", None, 5000.0),
        ("waiting-requests", None, 10.0),
    ]
    assert found.sentence(NOW) == (
        "– of 1–10 replicas: cpu – against 70 %, response time – against 5000 ms, waiting requests "
        "– against 10 per replica"
    )
    assert found.problems == (
        "Its HPA keda-hpa-chat does not exist: the operator of KEDA makes it; see its log.",
    )
    assert read_scaler_states([scaled_object()], None)[0].problems == ()
    (new,) = read_scaler_states([scaled_object(conditions=())], [])
    assert new.problems == ("KEDA has not looked at it yet; is its operator running?",)
    wrong = {**READY, "status": "False", "reason": "ScaledObjectCheckFailed", "message": "bad"}
    (refused,) = read_scaler_states([scaled_object(conditions=(wrong,))], [])
    assert refused.problems == ("Ready False ScaledObjectCheckFailed: bad",)


def test_at_zero_replicas_there_is_no_load_and_no_problem() -> None:
    disabled = {**SCALING, "status": "False", "reason": "ScalingDisabled", "message": "zero"}
    idle = {**ACTIVE, "status": "False", "reason": "ScalerNotActive", "message": "not active"}
    found = state(
        scaled_object(conditions=(READY, idle), minReplicaCount=0),
        hpa(conditions=(ABLE, disabled), current=0, desired=0),
    )
    assert (found.is_active, found.problems) == (False, ())
    assert found.reasons == ("no load (Active False ScalerNotActive: not active)",)
    assert found.range_text == "0–10"


def test_what_a_scaled_object_leaves_out_is_what_keda_takes() -> None:
    scaled = scaled_object()
    del scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]
    assert state(scaled).range_text == "0–100"


# -- several, and HPAs of others --------------------------------------------------------------


def test_an_hpa_of_its_own() -> None:
    (found,) = read_scaler_states([], [hpa("chat", owner="", minReplicas=None)])
    assert (found.kind, found.name, found.min_replicas) == ("HorizontalPodAutoscaler", "chat", 1)
    assert [one.name for one in found.metrics] == ["s1-prometheus", "s2-prometheus", "cpu"]


def test_two_autoscalers_are_a_problem_of_both() -> None:
    found = read_scaler_states([scaled_object()], [hpa(), hpa("mine", owner="")])
    text = (
        "ScaledObject chat and HorizontalPodAutoscaler mine scale the same serving, each against "
        "the others; delete all but one."
    )
    assert [one.problems for one in found] == [(text,), (text,)]


def test_the_hpa_is_found_by_owner_status_or_name() -> None:
    for own in (hpa("other"), hpa(owner=""), hpa("named", owner="")):
        scaled = scaled_object()
        if own["metadata"]["name"] == "named":
            scaled["status"]["hpaName"] = "named"
        assert len(read_scaler_states([scaled], [own])) == 1


# -- untrusted --------------------------------------------------------------------------------


def test_every_text_is_sanitized_and_short() -> None:
    evil = {**NO_METRIC, "message": "a\x1b[31mb\nc" + "x" * 9000, "reason": "\x1b]0;t\x07R"}
    scaled = scaled_object()
    scaled["spec"]["triggers"][1]["name"] = "n\x1b[2J\n1"
    found = state(scaled, hpa(conditions=(evil,)))
    assert found.metrics[0].name == "n 1"
    assert found.problems[0].startswith("ScalingActive False R: ab cxxx")
    assert len(found.problems[0]) < 600


FIELDS = (
    *("metadata", "spec", "status", "name", "annotations", "conditions", "type", "reason"),
    *("message", "metrics", "currentMetrics", "triggers", "external", "metric", "target"),
    *("current", "value", "averageValue", "health", "minReplicaCount", "maxReplicas"),
    *("numberOfFailures", "lastScaleTime", "ownerReferences", "kind", "fallback", "replicas"),
    *("autoscaling.keda.sh/paused-replicas", "behavior", "scaleUp", "threshold"),
)

json_ = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)
objects_: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(("metadata", "spec", "status")), json_ | st.just([{}]), max_size=3
)


@given(st.lists(objects_, max_size=2), st.lists(objects_, max_size=3) | st.none())
def test_no_shape_of_the_objects_fails(
    scaled: list[dict[str, Any]], hpas: list[dict[str, Any]] | None
) -> None:
    found = read_scaler_states(scaled, hpas)
    assert len(found) >= len(scaled)
    for one in found:
        assert "\n" not in one.sentence(NOW)
        for text in (*one.problems, *one.reasons, *(each.text for each in one.conditions)):
            assert text.isprintable()


@given(st.sampled_from(sorted(hpa()["spec"]) + sorted(hpa()["status"])), json_)
def test_no_field_of_an_hpa_fails(field: str, value: Any) -> None:
    own = hpa()
    own["spec" if field in own["spec"] else "status"][field] = value
    assert state(own=own).sentence(NOW)


# -- Events and amounts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "direction"),
    [
        ("external metric s0-prometheus(&LabelSelector{…,}) above target", "up"),
        ("All metrics below target", "down"),
        ("Current number of replicas above Spec.MaxReplicas", "down"),
        ("Current number of replicas below Spec.MinReplicas", "up"),
        ("", ""),
    ],
)
def test_an_event_says_which_way(reason: str, direction: str) -> None:
    found = read_rescale("SuccessfulRescale", f"New size: 3; reason: {reason}")
    assert found == Rescale(3, reason, direction)


def test_other_events_say_nothing_of_it() -> None:
    assert read_rescale("FailedRescale", "New size: 3; reason: x; error: y") is None
    assert read_rescale("SuccessfulRescale", "New size: many; reason: x") is None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (6200.0, "ms", "6200 ms"),
        (0.85, "", "0.85"),
        (12.34, "per replica", "12.3 per replica"),
        (10.0, "", "10"),
        (100.0, "%", "100 %"),
        (None, "ms", "–"),
        (float("nan"), "", "–"),
        (1e15, "", "1e+15"),
    ],
)
def test_amounts(value: float | None, unit: str, text: str) -> None:
    assert format_amount(value, unit) == text


def test_a_trigger_that_only_keeps_one_replica_has_no_share_of_a_target() -> None:
    name = "requests-in-flight"
    metric = ScalerMetric(name, "s1", MetricType.AVERAGE_VALUE, 7.0, 1_000_000.0, "per replica")
    assert metric.values_text == "7; above 0 it keeps one replica"
    assert metric.share is None
