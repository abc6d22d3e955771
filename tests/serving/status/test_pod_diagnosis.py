from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from servedeck.serving.objects.records import Pod
from servedeck.serving.status.container_failures import RECENT_RESTART_WINDOW
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import (
    NOW,
    ago,
    condition,
    event,
    last_terminated,
    pod,
    running,
    waiting,
)
from tests.serving.status.pod_factory import (
    NO_GPU,
    PULL_DENIED,
    TRACEBACK,
    crashing_pod,
    pending_pod,
    unscheduled_pod,
    with_resources,
)


def diagnose_pod(given: Pod, *events: Any) -> Diagnosis:
    return diagnose(given, events, NOW)


def test_the_raw_text_stays_available() -> None:
    assert diagnose_pod(unscheduled_pod(NO_GPU)).raw_message == NO_GPU
    assert (
        diagnose_pod(pending_pod(waiting("ErrImagePull", PULL_DENIED))).raw_message == PULL_DENIED
    )
    assert diagnose_pod(crashing_pod(1, message=TRACEBACK)).raw_message == TRACEBACK


def test_a_finding_names_what_is_scarce() -> None:
    asked = with_resources(unscheduled_pod(NO_GPU), limits={"nvidia.com/gpu": "8"})
    assert diagnose_pod(asked).insufficient_resources == (("nvidia.com/gpu", 8, 5),)
    assert diagnose_pod(unscheduled_pod(NO_GPU)).insufficient_resources == ()


def test_containers_that_ask_for_the_same_share_one_record() -> None:
    raw = (
        b'{"spec": {"containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "2"}}}'
        b', {"name": "b"}]}}'
    )
    one, other = (msgspec.json.decode(raw, type=Pod) for _ in range(2))
    assert one.spec.containers[0].resources is other.spec.containers[0].resources
    assert one.spec.containers[0].resources.limits == {"nvidia.com/gpu": "2"}


def test_a_finding_names_its_container() -> None:
    given = pod(
        running(), waiting("CrashLoopBackOff", name="transformer", lastState=last_terminated(1))
    )
    assert diagnose_pod(given).container == "transformer"


def test_the_registrys_answer_is_found_in_the_event_where_the_status_lacks_it() -> None:
    given = pending_pod(waiting("ImagePullBackOff", 'Back-off pulling image "acme/llm:1"'))
    pulled = event("Failed", f'Failed to pull image "acme/llm:1": {PULL_DENIED}')
    assert diagnose_pod(given, event("Failed", "Error: ErrImagePull"), pulled).message == (
        "Image acme/llm:1 of inference-server cannot be pulled: pull access denied, "
        "repository does not exist or may require authorization"
    )


def test_the_reason_does_not_change_with_every_pull() -> None:
    reasons = {
        diagnose_pod(pending_pod(waiting(reason, PULL_DENIED))).reason
        for reason in ("ErrImagePull", "ImagePullBackOff")
    }
    assert len(reasons) == 1


def restarted_pod(**when: float) -> Pod:
    return pod(
        running(
            ready=False,
            started=False,
            restartCount=2,
            started_at=ago(**when),
            lastState=last_terminated(137, "OOMKilled", "", **when),
        )
    )


def test_a_pod_that_restarted_lately_keeps_its_error_until_ten_minutes_passed() -> None:
    given = restarted_pod(minutes=4)
    first = diagnose(given, (), NOW)
    assert (first.health, first.reason) == (PodHealth.ERROR, "OOMKilled")
    assert first.reevaluate_at == NOW + timedelta(minutes=6)
    just_before = diagnose(given, (), first.reevaluate_at - timedelta(seconds=1))
    assert just_before == first
    after = diagnose(given, (), first.reevaluate_at)
    assert (after.health, after.reevaluate_at) == (PodHealth.STARTING, None)
    assert after.message == (
        "inference-server is running but not ready yet (restarted 2 times, last: OOMKilled)"
    )


def test_the_ten_minutes_count_from_the_restart_not_from_the_crash_before_the_back_off() -> None:
    given = pod(
        running(
            ready=False,
            restartCount=9,
            started_at=ago(minutes=6),
            lastState=last_terminated(1, minutes=11),
        )
    )
    assert diagnose_pod(given).reevaluate_at == NOW - timedelta(minutes=6) + RECENT_RESTART_WINDOW


def test_a_ready_pod_that_restarted_lately_is_healthy_and_says_so() -> None:
    given = pod(
        running(restartCount=1, started_at=ago(minutes=5), lastState=last_terminated(1, minutes=5)),
        conditions=(condition("Ready"),),
    )
    first = diagnose(given, (), NOW)
    assert (first.health, first.reason) == (PodHealth.OK, "")
    assert first.message == ("Ready again, restarted once: inference-server exited with code 1")
    assert first.reevaluate_at == NOW + timedelta(minutes=5)
    assert diagnose(given, (), first.reevaluate_at) == Diagnosis(PodHealth.OK)


def test_the_probe_says_why_a_running_pod_is_not_ready() -> None:
    events = (
        event(
            "Unhealthy", "Readiness probe failed: too old", "inference-server", when=ago(hours=2)
        ),
        event("Unhealthy", "Readiness probe failed: not mine", "transformer"),
        event(
            "Unhealthy",
            'Readiness probe failed: Get "http://10.0.0.9:8000/health": dial tcp 10.0.0.9:8000: '
            "connect: connection refused",
            "inference-server",
        ),
    )
    got = diagnose_pod(pod(running(ready=False)), *events)
    assert got.message == (
        "inference-server is not ready: readiness probe failed: 10.0.0.9:8000: connection refused"
    )
    status = event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503")
    got = diagnose_pod(pod(running(ready=False, started=False)), status)
    assert got.message == "inference-server is not ready: startup probe failed: HTTP status 503"


def test_a_probe_of_an_earlier_instance_is_ignored() -> None:
    old = event("Unhealthy", "Readiness probe failed: x", "inference-server", when=ago(hours=2))
    assert "probe" not in diagnose_pod(pod(running(ready=False)), old).message


def test_a_container_killed_by_its_liveness_probe_says_so() -> None:
    killed = event(
        "Unhealthy",
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
        "inference-server",
        when=ago(minutes=2),
    )
    got = diagnose_pod(crashing_pod(137), killed)
    assert got.reason == "liveness probe failed"
    assert got.message == (
        "inference-server was killed because its liveness probe failed: HTTP status 500 "
        "(restarted 3 times)"
    )
    unready = event("Unhealthy", "Readiness probe failed: x", when=ago(minutes=2))
    assert diagnose_pod(crashing_pod(137), unready).reason == "exit code 137"
    assert diagnose_pod(crashing_pod(137, "OOMKilled"), killed).reason == "OOMKilled"


def test_a_node_that_is_not_ready_is_an_error_of_its_pods() -> None:
    given = pod(running(), conditions=(condition("Ready", "False"),))
    got = diagnose_pod(given, event("NodeNotReady", "Node is not ready"))
    assert (got.health, got.reason) == (PodHealth.ERROR, "NodeNotReady")
    history = event("NodeNotReady", "Node is not ready", when=ago(minutes=62))
    assert diagnose_pod(given, history).reason == "NotReady", "it was ready again an hour ago"


def test_a_pod_that_does_not_end_is_stuck() -> None:
    ending = pod(running(), deletionTimestamp=ago(seconds=-10))
    first = diagnose_pod(ending)
    assert (first.health, first.reason) == (PodHealth.TERMINATING, "Terminating")
    assert first.reevaluate_at == NOW + timedelta(seconds=40)
    stuck = diagnose(ending, (), first.reevaluate_at)
    assert (stuck.health, stuck.reason, stuck.reevaluate_at) == (
        PodHealth.TERMINATING,
        "Stuck terminating",
        None,
    )
    assert stuck.message.endswith("UTC: node gpu-1 has not confirmed its deletion")
    held = pod(running(), deletionTimestamp=ago(hours=1), finalizers=["acme.io/hold"])
    assert diagnose_pod(held).message == (
        "Stuck terminating since 2026-03-01 11:00 UTC: waiting for finalizer acme.io/hold"
    )


def test_messages_are_one_line_of_bounded_length() -> None:
    for reason in ("ErrImagePull", "CreateContainerError", "ContainerCreating"):
        got = diagnose_pod(pending_pod(waiting(reason, "long\nlong " * 5000)))
        assert "\n" not in got.message
        assert len(got.message) < 500
