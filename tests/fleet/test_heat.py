"""What the dashboard says of Pods that the temperature policy counts as too hot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from servedeck.serving.objects.records import Condition, Pod, ReadinessGate
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline_objects import derive_entries
from servedeck.serving.temperature import TEMPERATURE_GATE, heat_text
from tests.fleet.factories import START, pod, pod_view, ready_status, serving_view
from tests.fleet.test_timeline_recorder import Recorded
from widgets.serving_rows import status_line
from widgets.styled_line import plain_text


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("Hot", "91 °C, above 85 °C", "hot 91 °C"),
        ("Hot", "90.5 °C, above 85 °C", "hot 90.5 °C"),
        ("LastReadyPod", "91 °C, above 85 °C, but no other Pod is ready", "hot 91 °C, last ready"),
        ("Hot", "\x1b[31mwarm", "hot"),
        ("Normal", "61 °C", ""),
        ("Unknown", "no temperature is known", ""),
        ("", "", ""),
    ],
)
def test_the_badge_of_a_condition(reason: str, message: str, expected: str) -> None:
    assert heat_text(reason, message) == expected


def gated(*conditions: Condition) -> Pod:
    """A Pod whose containers are ready and whose gate is not."""
    one = pod()
    not_ready = Condition(type="Ready", status="False", reason="ReadinessGatesNotReady")
    gates = (ReadinessGate(condition_type=TEMPERATURE_GATE),)
    status = msgspec.structs.replace(ready_status(), conditions=(not_ready, *conditions))
    spec = msgspec.structs.replace(one.spec, readiness_gates=gates)
    return msgspec.structs.replace(one, spec=spec, status=status)


def test_a_hot_pod_is_not_failing_and_says_why_it_gets_no_requests() -> None:
    message = "91 °C, above 85 °C; it gets requests again at 75 °C"
    hot = Condition(type=TEMPERATURE_GATE, status="False", reason="Hot", message=message)
    found = diagnose(gated(hot), [], START)
    assert (found.health, found.reason) == (PodHealth.STARTING, "hot 91 °C")
    assert found.message == (
        "The temperature policy has taken it out of traffic: accelerator at 91 °C, above 85 °C; "
        "it gets requests again at 75 °C"
    )


def test_a_gate_that_nobody_sets_names_the_controller() -> None:
    found = diagnose(gated(), [], START)
    assert found.reason == "ReadinessGate"
    assert found.message.endswith("check that servedeck controller runs")


def pods(*heats: str) -> tuple[Any, ...]:
    return tuple(
        pod_view(f"llama-1-{at}", uid=str(at), heat=heat, is_ready=not heat)
        for at, heat in enumerate(heats)
    )


@pytest.mark.parametrize(
    ("heats", "expected"),
    [
        (("", ""), "Ready"),
        (("", "hot 91 °C"), "hot 91 °C"),
        (("hot 90 °C", "hot 91 °C"), "2 Pods hot"),
    ],
)
def test_the_badge_of_a_serving(heats: tuple[str, ...], expected: str) -> None:
    assert plain_text(status_line(serving_view(pods=pods(*heats)))).rstrip().endswith(expected)


def out_of_traffic(name: str, **fields: Any) -> Any:
    heat = "hot 91 °C"
    defaults = {"uid": name, "is_ready": False, "heat": heat, "reason": heat, "node": "gpu-1"}
    return pod_view(name, **{**defaults, **fields})


def test_the_next_step_of_a_hot_pod_is_its_cooling() -> None:
    hot = (pod_view("a"), out_of_traffic("b"), out_of_traffic("c"), out_of_traffic("d", node="g2"))
    view = serving_view(status=Status.DEGRADED, pods=hot)
    assert view.recovery == (
        "Wait until it has cooled down. If it persists, check the cooling of gpu-1, g2."
    )


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (Status.DEGRADED, [pod_view("c", is_ready=False, reason="CrashLoopBackOff")]),
        (Status.DEGRADED, [out_of_traffic("c", reason="Starting")]),
        (Status.STARTING, [pod_view("c", is_ready=False, reason="Starting")]),
        (Status.READY, []),
        (Status.SCALED_DOWN, []),
    ],
)
def test_another_pod_that_is_missing_has_the_usual_next_step(
    status: Status, more: list[Any]
) -> None:
    assert (
        serving_view(status=status, pods=(out_of_traffic("b"), *more)).recovery == status.recovery
    )


def test_the_timeline_has_both_ways() -> None:
    recorded = Recorded()
    recorded.change(pods=pods("", ""))
    recorded.change(pods=pods("", "hot 91 °C"))
    recorded.change(pods=pods("", "hot 92 °C"))
    recorded.change(pods=pods("", "hot 92 °C, last ready"))
    recorded.change(pods=pods("", ""))
    assert recorded.texts() == [
        ("condition", "Pod …1-1 is hot 91 °C, out of traffic"),
        ("condition", "Pod …1-1 is hot 92 °C, the last ready Pod in traffic"),
        ("condition", "Pod …1-1 has cooled down"),
    ]


def test_a_pod_whose_readiness_follows_a_moment_later_is_out_once() -> None:
    recorded = Recorded()
    recorded.change(pods=pods("", ""))
    hot = pods("", "hot 91 °C")
    recorded.change(pods=tuple(replace(one, is_ready=True) for one in hot))
    recorded.change(pods=hot)
    assert recorded.texts() == [("condition", "Pod …1-1 is hot 91 °C, out of traffic")]


def test_what_the_objects_tell_is_the_same_change_as_what_was_seen() -> None:
    recorded = Recorded()
    recorded.change(pods=pods("", ""))
    hot = tuple(replace(one, ready_changed_at=START) for one in pods("", "hot 91 °C"))
    recorded.change(pods=hot)
    (seen,) = [one for one in recorded.recorder.entries("d")[1:] if one.identity]
    found = [
        one
        for one in derive_entries({"metadata": {"name": "llama"}}, (), hot)
        if one.identity[:1] == ("heat",)
    ]
    assert [(one.text, one.identity) for one in found] == [(seen.text, seen.identity)]
