from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from servedeck.serving.objects.records import Deployment, Pod, ReplicaSet
from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.status import ServingStatus, Status, evaluate, serves_requests
from tests.serving.factories import (
    NOW,
    ago,
    condition,
    deployment,
    event,
    healthy,
    last_terminated,
    pod,
    replicaset,
    running,
    waiting,
)
from tests.serving.status.pod_factory import pending_pod, unscheduled_pod

CRASHING_POD = pod(waiting("CrashLoopBackOff", lastState=last_terminated(137, "OOMKilled")))
IMAGE_PULL_POD = pod(
    waiting("ImagePullBackOff", 'Back-off pulling image "acme/llm:1"'), phase="Pending"
)
LOADING_POD = pod(running(ready=False, started=False))
TERMINATING_POD = pod(
    waiting("CrashLoopBackOff", lastState=last_terminated(1)), deletionTimestamp=ago(seconds=-10)
)
QUOTA_EXCEEDED = condition(
    "ReplicaFailure",
    "True",
    "FailedCreate",
    'pods "llama-7d4-x9" is forbidden: exceeded quota: gpu, requested: 1, used: 4, limited: 4',
)
DEADLINE_EXCEEDED = condition("Progressing", "False", "ProgressDeadlineExceeded", "timed out")


def evaluate_serving(
    given: Deployment, *pods: Pod, known: bool = True, replicasets: tuple[ReplicaSet, ...] = ()
) -> ServingStatus:
    found = [(each, diagnose(each, (), NOW)) for each in pods]
    result = evaluate(given, replicasets, found, known)
    others = [pair for pair in found if not serves_requests(*pair)]
    count = len(found) - len(others)
    assert evaluate(given, replicasets, others, known, serving_count=count) == result
    return result


def make_deployment(replicas: int = 1, *conditions: dict[str, Any], **fields: Any) -> Deployment:
    return deployment(replicas=replicas, conditions=conditions, **fields)


@pytest.mark.parametrize(
    ("given", "pods", "status", "reason", "failing"),
    [
        (make_deployment(0), [], Status.SCALED_DOWN, "", 0),
        (make_deployment(0), [healthy()], Status.SCALED_DOWN, "", 0),
        (make_deployment(-1), [], Status.SCALED_DOWN, "", 0),
        (make_deployment(2), [healthy(), healthy()], Status.READY, "", 0),
        (make_deployment(1), [healthy(), healthy()], Status.READY, "", 0),
        # Pods of the new ReplicaSet fail while the old ones still serve.
        (make_deployment(1), [healthy(), IMAGE_PULL_POD], Status.READY, "ImagePullBackOff", 1),
        (
            make_deployment(1, generation=2),
            [healthy()],
            Status.STARTING,
            "Waiting for controller",
            0,
        ),
        (make_deployment(3), [healthy(), LOADING_POD, LOADING_POD], Status.DEGRADED, "", 0),
        (
            make_deployment(3),
            [healthy(), CRASHING_POD, IMAGE_PULL_POD],
            Status.DEGRADED,
            "OOMKilled",
            2,
        ),
        (make_deployment(2, QUOTA_EXCEEDED), [healthy()], Status.DEGRADED, "FailedCreate", 0),
        (make_deployment(2), [CRASHING_POD, LOADING_POD], Status.ERROR, "OOMKilled", 1),
        (
            make_deployment(2),
            [CRASHING_POD, IMAGE_PULL_POD, IMAGE_PULL_POD],
            Status.ERROR,
            "OOMKilled",
            3,
        ),
        (make_deployment(2, QUOTA_EXCEEDED), [], Status.ERROR, "FailedCreate", 0),
        (make_deployment(1, QUOTA_EXCEEDED), [CRASHING_POD], Status.ERROR, "OOMKilled", 1),
        (
            make_deployment(1, DEADLINE_EXCEEDED),
            [LOADING_POD],
            Status.ERROR,
            "ProgressDeadlineExceeded",
            0,
        ),
        (
            make_deployment(1, DEADLINE_EXCEEDED),
            [IMAGE_PULL_POD],
            Status.ERROR,
            "ImagePullBackOff",
            1,
        ),
        (make_deployment(2), [IMAGE_PULL_POD, LOADING_POD], Status.PENDING, "ImagePullBackOff", 1),
        (make_deployment(1), [], Status.PENDING, "No Pods", 0),
        (make_deployment(1), [TERMINATING_POD], Status.PENDING, "No Pods", 0),
        (make_deployment(1), [TERMINATING_POD, LOADING_POD], Status.STARTING, "", 0),
        (make_deployment(2), [LOADING_POD, LOADING_POD], Status.STARTING, "", 0),
    ],
)
def test_the_first_rule_that_holds_decides(
    given: Deployment, pods: list[Pod], status: Status, reason: str, failing: int
) -> None:
    found = evaluate_serving(given, *pods)
    assert (found.status, found.reason, found.failing_count) == (status, reason, failing)
    if status in (Status.DEGRADED, Status.ERROR, Status.PENDING, Status.STARTING):
        assert found.message


def test_a_terminating_pod_is_not_ready_for_the_serving() -> None:
    ending = healthy(deletionTimestamp=ago(seconds=-10))
    found = evaluate_serving(make_deployment(2), healthy(), ending)
    assert (found.status, found.ready_count) == (Status.DEGRADED, 1)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"readyReplicas": 2, "replicas": 2}, Status.READY),
        ({"readyReplicas": 1, "replicas": 2}, Status.DEGRADED),
        ({"readyReplicas": 0, "replicas": 2}, Status.STARTING),
        ({}, Status.PENDING),
    ],
)
def test_without_permission_to_list_pods_the_deployments_counts_are_used(
    status: dict[str, int], expected: Status
) -> None:
    found = evaluate_serving(
        make_deployment(2, status={"observedGeneration": 1, **status}), known=False
    )
    assert found.status is expected
    assert found.ready_count == status.get("readyReplicas", 0)


def test_known_pods_count_more_than_a_stale_deployment_status() -> None:
    given = make_deployment(1, status={"observedGeneration": 1, "readyReplicas": 1, "replicas": 1})
    assert evaluate_serving(given, CRASHING_POD).status is Status.ERROR


def test_the_current_replicasets_failure_counts_before_the_deployment_reports_it() -> None:
    given = make_deployment(1, annotations={"deployment.kubernetes.io/revision": "2"})
    old, current = (
        replicaset(QUOTA_EXCEEDED, revision="1"),
        replicaset(QUOTA_EXCEEDED, revision="2"),
    )
    assert evaluate_serving(given, replicasets=(old,)).status is Status.PENDING
    found = evaluate_serving(given, replicasets=(old, current))
    assert (found.status, found.reason) == (Status.ERROR, "FailedCreate")
    assert found.message == (
        "No Pod can be created: exceeded quota: gpu, requested: 1, used: 4, limited: 4"
    )


def test_the_reason_is_the_one_that_most_pods_share() -> None:
    crash = pod(waiting("CrashLoopBackOff", lastState=last_terminated(1)))
    for order in (
        [CRASHING_POD, crash, crash],
        [crash, CRASHING_POD, crash],
        [crash, crash, CRASHING_POD],
    ):
        assert evaluate_serving(make_deployment(3), *order).reason == "exit code 1"


def test_an_evicted_pod_counts_only_without_other_pods() -> None:
    evicted = pod(phase="Failed", status={"reason": "Evicted", "message": "low on memory"})
    assert (
        evaluate_serving(make_deployment(1), evicted, evicted, CRASHING_POD).reason == "OOMKilled"
    )
    assert evaluate_serving(make_deployment(1), evicted).reason == "Evicted"


def rejected(**when: float) -> Pod:
    """A Pod that its node rejected (https://github.com/NVIDIA/k8s-device-plugin/issues/231)."""
    return pod(
        phase="Failed",
        status={"reason": "UnexpectedAdmissionError", "message": "Allocate failed due to x"},
        conditions=(),
        creationTimestamp=ago(**when),
    )


@pytest.mark.parametrize(
    ("living", "status", "reason"),
    [
        (healthy(), Status.READY, ""),
        (CRASHING_POD, Status.ERROR, "OOMKilled"),
        (
            unscheduled_pod("0/1 nodes are available: 1 Too many pods."),
            Status.PENDING,
            "Unschedulable",
        ),
    ],
)
def test_pods_that_ended_are_history_beside_a_pod_with_a_state_of_its_own(
    living: Pod, status: Status, reason: str
) -> None:
    found = evaluate_serving(make_deployment(1), *[rejected(seconds=9)] * 706, living)
    assert (found.status, found.reason) == (status, reason)
    assert found.failing_count == (0 if status is Status.READY else 1)


@pytest.mark.parametrize("living", [LOADING_POD, pending_pod(conditions=(), node="")])
def test_a_pod_that_ended_a_moment_ago_counts_until_its_replacement_works(living: Pod) -> None:
    """The state does not change with every Pod that the node rejects."""
    found = evaluate_serving(make_deployment(1), rejected(minutes=9), living)
    assert (found.status, found.reason) == (Status.ERROR, "UnexpectedAdmissionError")
    found = evaluate_serving(make_deployment(1), rejected(minutes=11), living)
    assert found.status in (Status.STARTING, Status.PENDING)
    until = diagnose(rejected(minutes=9), (), NOW).reevaluate_at
    assert until == NOW + timedelta(minutes=1)


def test_pods_that_cannot_be_created_come_before_those_that_ended() -> None:
    refused = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: gpus")
    found = evaluate_serving(make_deployment(1, refused), rejected(hours=1))
    assert (found.status, found.reason) == (Status.ERROR, "FailedCreate")


def test_the_message_of_a_degraded_serving_says_what_the_other_pods_do() -> None:
    assert evaluate_serving(make_deployment(2), healthy(), LOADING_POD).message == (
        "1 of 2 Pods are ready; inference-server is running but not ready yet"
    )


def test_a_late_rollout_says_what_its_pods_wait_for() -> None:
    probe = event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503")
    found = evaluate(
        make_deployment(1, DEADLINE_EXCEEDED),
        (),
        [(LOADING_POD, diagnose(LOADING_POD, [probe], NOW))],
        True,
    )
    assert found.message == (
        "The rollout has not finished within its progress deadline; inference-server is not "
        "ready: startup probe failed: HTTP status 503"
    )


def test_every_state_says_what_to_do_and_has_a_sign_of_its_own() -> None:
    assert [status for status in Status if not status.recovery] == [Status.READY]
    assert all(status.description for status in Status)
    assert len({status.glyph for status in Status}) == len(Status)
    assert all(len(status.glyph) == 1 for status in Status)
    assert Status.STARTING.recovery == "Wait briefly. If it persists, check the logs."
