from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects.records import Deployment, Pod, ReplicaSet
from servedeck.serving.status.diagnosis import diagnose
from servedeck.serving.status.status import Status, Verdict, judge
from tests.serving.build import (
    NOW,
    ago,
    condition,
    deployment,
    event,
    healthy,
    last,
    pod,
    replicaset,
    running,
    waiting,
)

CRASH = pod(waiting("CrashLoopBackOff", lastState=last(137, "OOMKilled")))
IMAGE = pod(waiting("ImagePullBackOff", 'Back-off pulling image "acme/llm:1"'), phase="Pending")
LOADING = pod(running(ready=False, started=False))
ENDING = pod(waiting("CrashLoopBackOff", lastState=last(1)), deletionTimestamp=ago(seconds=-10))
QUOTA = condition(
    "ReplicaFailure",
    "True",
    "FailedCreate",
    'pods "llama-7d4-x9" is forbidden: exceeded quota: gpu, requested: 1, used: 4, limited: 4',
)
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded", "timed out")


def verdict(
    given: Deployment, *pods: Pod, known: bool = True, replicasets: tuple[ReplicaSet, ...] = ()
) -> Verdict:
    found = [(each, diagnose(each, (), NOW)) for each in pods]
    return judge(given, replicasets, found, known)


def of(replicas: int = 1, *conditions: dict[str, Any], **fields: Any) -> Deployment:
    return deployment(replicas=replicas, conditions=conditions, **fields)


@pytest.mark.parametrize(
    ("given", "pods", "status", "reason", "failing"),
    [
        (of(0), [], Status.SCALED_DOWN, "", 0),
        (of(0), [healthy()], Status.SCALED_DOWN, "", 0),
        (of(-1), [], Status.SCALED_DOWN, "", 0),
        (of(2), [healthy(), healthy()], Status.READY, "", 0),
        (of(1), [healthy(), healthy()], Status.READY, "", 0),
        # A new ReplicaSet's Pods fail while the old ones serve.
        (of(1), [healthy(), IMAGE], Status.READY, "ImagePullBackOff", 1),
        (of(1, generation=2), [healthy()], Status.STARTING, "NotObserved", 0),
        (of(3), [healthy(), LOADING, LOADING], Status.DEGRADED, "", 0),
        (of(3), [healthy(), CRASH, IMAGE], Status.DEGRADED, "OOMKilled", 2),
        (of(2, QUOTA), [healthy()], Status.DEGRADED, "FailedCreate", 0),
        (of(2), [CRASH, LOADING], Status.ERROR, "OOMKilled", 1),
        (of(2), [CRASH, IMAGE, IMAGE], Status.ERROR, "OOMKilled", 3),
        (of(2, QUOTA), [], Status.ERROR, "FailedCreate", 0),
        (of(1, QUOTA), [CRASH], Status.ERROR, "OOMKilled", 1),
        (of(1, LATE), [LOADING], Status.ERROR, "ProgressDeadlineExceeded", 0),
        (of(1, LATE), [IMAGE], Status.ERROR, "ImagePullBackOff", 1),
        (of(2), [IMAGE, LOADING], Status.PENDING, "ImagePullBackOff", 1),
        (of(1), [], Status.PENDING, "NoPods", 0),
        (of(1), [ENDING], Status.PENDING, "NoPods", 0),
        (of(1), [ENDING, LOADING], Status.STARTING, "", 0),
        (of(2), [LOADING, LOADING], Status.STARTING, "", 0),
    ],
)
def test_the_first_rule_that_holds_decides(
    given: Deployment, pods: list[Pod], status: Status, reason: str, failing: int
) -> None:
    found = verdict(given, *pods)
    assert (found.status, found.reason, found.failing) == (status, reason, failing)
    if status in (Status.DEGRADED, Status.ERROR, Status.PENDING, Status.STARTING):
        assert found.message


def test_a_terminating_pod_is_not_ready_for_the_serving() -> None:
    ending = healthy(deletionTimestamp=ago(seconds=-10))
    found = verdict(of(2), healthy(), ending)
    assert (found.status, found.ready) == (Status.DEGRADED, 1)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"readyReplicas": 2, "replicas": 2}, Status.READY),
        ({"readyReplicas": 1, "replicas": 2}, Status.DEGRADED),
        ({"readyReplicas": 0, "replicas": 2}, Status.STARTING),
        ({}, Status.PENDING),
    ],
)
def test_where_pods_cannot_be_listed_the_deployments_counts_stand_in(
    status: dict[str, int], expected: Status
) -> None:
    found = verdict(of(2, status={"observedGeneration": 1, **status}), known=False)
    assert found.status is expected
    assert found.ready == status.get("readyReplicas", 0)


def test_known_pods_count_more_than_a_stale_deployment_status() -> None:
    given = of(1, status={"observedGeneration": 1, "readyReplicas": 1, "replicas": 1})
    assert verdict(given, CRASH).status is Status.ERROR


def test_the_current_replicasets_failure_counts_before_the_deployment_tells_it() -> None:
    given = of(1, annotations={"deployment.kubernetes.io/revision": "2"})
    old, current = replicaset(QUOTA, revision="1"), replicaset(QUOTA, revision="2")
    assert verdict(given, replicasets=(old,)).status is Status.PENDING
    found = verdict(given, replicasets=(old, current))
    assert (found.status, found.reason) == (Status.ERROR, "FailedCreate")
    assert found.message == (
        "No Pod can be created: exceeded quota: gpu, requested: 1, used: 4, limited: 4"
    )


def test_the_reason_is_the_one_that_most_pods_share() -> None:
    crash = pod(waiting("CrashLoopBackOff", lastState=last(1)))
    for order in ([CRASH, crash, crash], [crash, CRASH, crash], [crash, crash, CRASH]):
        assert verdict(of(3), *order).reason == "exit code 1"


def test_an_evicted_pod_speaks_only_where_no_living_one_does() -> None:
    evicted = pod(phase="Failed", status={"reason": "Evicted", "message": "low on memory"})
    assert verdict(of(1), evicted, evicted, CRASH).reason == "OOMKilled"
    assert verdict(of(1), evicted).reason == "Evicted"


def test_the_message_of_a_degraded_serving_tells_what_the_others_do() -> None:
    assert verdict(of(2), healthy(), LOADING).message == (
        "1 of 2 Pods are ready; inference-server runs and is not ready yet"
    )


def test_a_late_rollout_tells_what_its_pods_wait_for() -> None:
    probe = event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503")
    found = judge(of(1, LATE), (), [(LOADING, diagnose(LOADING, [probe], NOW))], True)
    assert found.message == (
        "The rollout has not finished within its progress deadline; inference-server is not "
        "ready: startup probe failed: HTTP status 503"
    )


def test_every_state_says_what_to_do_and_has_a_sign_of_its_own() -> None:
    assert [status for status in Status if not status.recovery] == [Status.READY]
    assert all(status.meaning for status in Status)
    assert len({status.glyph for status in Status}) == len(Status)
    assert all(len(status.glyph) == 1 for status in Status)
    assert Status.STARTING.recovery == "Wait briefly. If it persists, check the logs."
