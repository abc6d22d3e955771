"""What holds a rollout up, and a serving's rollouts as text."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.detail.rollout import Rollouts, build_rollouts
from servedeck.detail.rollout_text import format_rollouts
from servedeck.fleet.views import PodView
from servedeck.serving.status.diagnosis import PodHealth
from tests.serving.factories import NOW, ago
from tests.serving.revision_factory import (
    deployment,
    manager,
    progressing,
    replicaset,
    template,
)
from tests.tui import fakes

OLD, NEW = template("vllm/vllm-openai:v1"), template("vllm/vllm-openai:v2")
MESSAGE = "0/6 nodes are available: 6 Insufficient nvidia.com/gpu"
FAILURE = {
    "type": "ReplicaFailure",
    "status": "True",
    "message": 'pods "llama-x" is forbidden: exceeded quota: gpus, requested: 1, used: 2, limited: '
    "2",
}


def rollouts(*pods: PodView, **changes: Any) -> Rollouts:
    """A rollout in progress: one of two new Pods, two old ones."""
    status = {"updatedReplicas": 1, "replicas": 3} | changes.pop("status", {})
    conditions = [progressing("ReplicaSetUpdated"), *changes.pop("conditions", [])]
    current = changes.pop("current", replicaset(2, NEW, pods=1, ready=0))
    live = deployment(2, NEW, status=status, conditions=conditions, **changes)
    view = fakes.serving("llama", pods=pods)
    return build_rollouts(live, [current, replicaset(1, OLD, pods=2)], view)


def pod(name: str, health: PodHealth = PodHealth.STARTING, **changes: Any) -> PodView:
    ready = health is PodHealth.OK
    return fakes.pod(name, health=health, **{"is_ready": ready, **changes})


def old_pod(name: str = "old-1", health: PodHealth = PodHealth.OK, **changes: Any) -> PodView:
    return pod(name, health, old_revision=True, **changes)


def unschedulable(name: str = "new-1") -> PodView:
    return pod(name, PodHealth.PENDING, node="", reason="Unschedulable", message=MESSAGE)


IMAGE = {"reason": "ImagePullBackOff", "message": "Image x:1 cannot be pulled: not found"}
STUCK = {"reason": "Stuck terminating", "message": "Stuck terminating since noon: waiting"}
SURGE_ONLY = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
ONE_LESS = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
RECREATE = {"type": "Recreate"}
LOADING = {"message": "Loading the model"}


@pytest.mark.parametrize(
    ("pods", "changes", "expected"),
    [
        (
            [pod("new-1", PodHealth.ERROR, **IMAGE)],
            {"generation": 6},
            "The Deployment controller has not observed the last change yet.",
        ),
        (
            [pod("new-1", PodHealth.ERROR, **IMAGE)],
            {"paused": True},
            "It is paused: a change of the Pod template is not rolled out until it is resumed.",
        ),
        (
            [],
            {"paused": True, "current": replicaset(3, template("other"))},
            "It is paused: the changed Pod template is not rolled out until it is resumed.",
        ),
        (
            [pod("new-1", PodHealth.ERROR, **IMAGE)],
            {"conditions": [FAILURE]},
            "No Pod can be created: exceeded quota: gpus, requested: 1, used: 2, limited: 2.",
        ),
        (
            [pod("new-1", PodHealth.ERROR, **IMAGE), old_pod()],
            {},
            "New Pod new-1: Image x:1 cannot be pulled: not found.",
        ),
        (
            [
                pod("new-1", PodHealth.ERROR, **IMAGE),
                pod("new-2", PodHealth.ERROR, reason="exit code 1", message="exited"),
                pod("new-3", PodHealth.ERROR, **IMAGE),
            ],
            {},
            "3 new Pods: Image x:1 cannot be pulled: not found.",
        ),
        (
            [unschedulable(), old_pod(), old_pod("old-2")],
            {"strategy": SURGE_ONLY},
            f"No node has room for a new Pod beside 2 old Pods: {MESSAGE}. maxUnavailable of 0"
            " keeps each old Pod until a new one is available.",
        ),
        (
            [unschedulable(), old_pod()],
            {"strategy": ONE_LESS},
            f"No node has room for a new Pod beside 1 old Pod: {MESSAGE}.",
        ),
        ([unschedulable()], {}, f"New Pod new-1: {MESSAGE}."),
        (
            [unschedulable(), old_pod(health=PodHealth.TERMINATING, **STUCK)],
            {},
            f"New Pod new-1: {MESSAGE}. Old Pod old-1: Stuck terminating since noon: waiting.",
        ),
        (
            [old_pod(health=PodHealth.TERMINATING), old_pod("old-2")],
            {"strategy": RECREATE, "status": {"updatedReplicas": 0}},
            "Waiting for 2 old Pods to terminate (Recreate).",
        ),
        (
            [old_pod(health=PodHealth.TERMINATING, **STUCK)],
            {"strategy": RECREATE, "status": {"updatedReplicas": 0}},
            "Waiting for 1 old Pod to terminate (Recreate): old-1: Stuck terminating since noon: "
            "waiting.",
        ),
        (
            [pod("new-1", PodHealth.OK), old_pod(health=PodHealth.TERMINATING, **STUCK)],
            {},
            "Old Pod old-1: Stuck terminating since noon: waiting.",
        ),
        (
            [pod("new-1", **LOADING), pod("new-2"), old_pod()],
            {},
            "Waiting for 2 new Pods to become ready: Loading the model.",
        ),
        (
            [pod("new-1"), old_pod()],
            {"progressDeadlineSeconds": 60, "conditions": []},
            "Waiting for 1 new Pod to become ready.",
        ),
        (
            [pod("new-1", PodHealth.OK), old_pod()],
            {
                "minReadySeconds": 30,
                "current": replicaset(2, NEW, pods=1),
                "status": {"readyReplicas": 3, "availableReplicas": 2},
            },
            "Ready Pods become available after minReadySeconds (30 s).",
        ),
        (
            [pod("a", PodHealth.TERMINATING), pod("b", PodHealth.TERMINATING)],
            {
                "strategy": RECREATE,
                "status": {"updatedReplicas": 0},
                "current": replicaset(2, template("other")),
            },
            "Waiting for 2 old Pods to terminate (Recreate).",
        ),
        ([pod("new-1", PodHealth.OK), old_pod()], {}, ""),
        ([], {}, ""),
    ],
)
def test_what_holds_a_rollout_up(pods: list[PodView], changes: dict[str, Any], expected: str):
    assert rollouts(*pods, **changes).hold_up == expected


def test_the_deadline_is_the_reason_only_without_another():
    def failed(*pods: PodView) -> str:
        live = deployment(
            2,
            NEW,
            status={"updatedReplicas": 1},
            conditions=[progressing("ProgressDeadlineExceeded")],
        )
        current = replicaset(2, NEW, pods=1, ready=0)
        return build_rollouts(live, [current], fakes.serving("llama", pods=pods)).hold_up

    assert failed() == "It made no progress within progressDeadlineSeconds (600 s)."
    assert failed(pod("new-1")) == "Waiting for 1 new Pod to become ready."


def test_a_complete_rollout_is_not_held_up_by_a_failing_pod():
    live = deployment(2, NEW, status={"availableReplicas": 1})
    view = fakes.serving("llama", pods=(pod("new-1", PodHealth.ERROR, **IMAGE),))
    assert build_rollouts(live, [replicaset(2, NEW)], view).hold_up == ""


def test_what_is_not_shown_is_said():
    live = deployment(2, NEW, revisionHistoryLimit=0)
    assert build_rollouts(live, [], None).notes == (
        "revisionHistoryLimit is 0: Kubernetes keeps no earlier revisions.",
    )
    sentence = "Cannot list replicasets.apps in namespace team-a."
    assert build_rollouts(live, [], None, missing_permission=sentence).notes == (
        f"{sentence} Earlier revisions are not shown.",
    )


def test_as_text():
    live = deployment(
        3,
        template("vllm/vllm-openai:v2", args=["--model", "a b"]),
        status={"updatedReplicas": 1, "replicas": 3},
        conditions=[progressing("ReplicaSetUpdated", ago(minutes=4))],
        managed_fields=[manager("kubectl-set")],
        cause="faster",
        revisionHistoryLimit=0,
    )
    current = replicaset(
        3, live["spec"]["template"], pods=1, ready=0, created=ago(minutes=5), cause="faster"
    )
    view = fakes.serving("llama", pods=(pod("new-1", **LOADING), old_pod()))
    found = build_rollouts(live, [current, replicaset(2, NEW, pods=2)], view)
    assert format_rollouts(found, NOW) == [
        'Rollout:   Waiting for deployment "llama" rollout to finish: 1 out of 2 new replicas have '
        "been updated...",
        "Pods:      1 of 2 updated, 0 ready, 2 available, 2 old",
        "Strategy:  RollingUpdate, maxSurge 1, maxUnavailable 0",
        "Times:     started 5m ago, 6m until the progress deadline",
        "Held up:   Waiting for 1 new Pod to become ready: Loading the model.",
        "",
        "REVISION   AGE  DESIRED  CURRENT  READY  IMAGE                CHANGE  CHANGED BY"
        "            CHANGE CAUSE  ARGUMENTS",
        "3 current  5m   1        1        0      vllm/vllm-openai:v2  args    kubectl-set (Update)"
        "  faster        --model 'a b'",
        "2          98d  2        2        2      vllm/vllm-openai:v2  -       not recorded"
        "          -             --model m",
        "revisionHistoryLimit is 0: Kubernetes keeps no earlier revisions.",
    ]


def test_a_complete_rollout_has_no_times_and_an_exceeded_deadline_says_so():
    complete = build_rollouts(deployment(2, NEW), [replicaset(2, NEW, pods=2)], None)
    assert not any(line.startswith(("Times", "Held up")) for line in format_rollouts(complete, NOW))
    late = progressing("ReplicaSetUpdated", ago(minutes=11))
    live = deployment(2, NEW, status={"updatedReplicas": 1}, conditions=[late])
    assert "Times:     progress deadline exceeded" in format_rollouts(
        build_rollouts(live, [], None), NOW
    )
