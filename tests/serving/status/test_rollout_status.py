"""The rollout of a Deployment: its progress, its strategy and its deadline."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from servedeck.serving.spec.mapping.json_values import as_time
from servedeck.serving.status.revisions import read_revisions
from servedeck.serving.status.rollout_status import (
    RolloutPhase,
    RolloutStatus,
    read_rollout_status,
)
from servedeck.serving.status.strategy import Strategy
from tests.serving.factories import ago
from tests.serving.revision_factory import (
    deployment,
    manager,
    progressing,
    replicaset,
    template,
)

UPDATED = progressing("ReplicaSetUpdated")


def read(*replicasets: dict[str, Any], number: int = 2, **changes: Any) -> RolloutStatus:
    live = deployment(number, template("i:2"), **changes)
    return read_rollout_status(live, read_revisions(live, replicasets)[0])


WAITING = 'Waiting for deployment "llama" rollout to finish:'


@pytest.mark.parametrize(
    ("changes", "phase", "message"),
    [
        ({}, RolloutPhase.COMPLETE, 'deployment "llama" successfully rolled out'),
        (
            {"generation": 6},
            RolloutPhase.NOT_OBSERVED,
            "Waiting for deployment spec update to be observed...",
        ),
        (
            {"generation": 6, "paused": True},
            RolloutPhase.NOT_OBSERVED,
            "Waiting for deployment spec update to be observed...",
        ),
        (
            {"conditions": [progressing("ProgressDeadlineExceeded")]},
            RolloutPhase.FAILED,
            'deployment "llama" exceeded its progress deadline',
        ),
        ({"paused": True}, RolloutPhase.PAUSED, 'deployment "llama" is paused'),
        (
            {"status": {"updatedReplicas": 1, "replicas": 3}, "conditions": [UPDATED]},
            RolloutPhase.IN_PROGRESS,
            f"{WAITING} 1 out of 2 new replicas have been updated...",
        ),
        (
            {"status": {"updatedReplicas": 2, "replicas": 3}, "conditions": [UPDATED]},
            RolloutPhase.IN_PROGRESS,
            f"{WAITING} 1 old replicas are pending termination...",
        ),
        (
            {"status": {"availableReplicas": 1}, "conditions": [UPDATED]},
            RolloutPhase.IN_PROGRESS,
            f"{WAITING} 1 of 2 updated replicas are available...",
        ),
        (
            {"status": {"availableReplicas": 1}},
            RolloutPhase.COMPLETE,
            "1 of 2 updated replicas are available",
        ),
    ],
)
def test_the_messages_are_those_of_kubectl(
    changes: dict[str, Any], phase: RolloutPhase, message: str
):
    found = read(**changes)
    assert (found.phase, found.message) == (phase, message)


def test_the_numbers_of_pods():
    found = read(
        replicaset(2, template("i:2"), pods=1, ready=0),
        replicaset(1, template("i:1"), pods=2),
        status={"updatedReplicas": 1, "replicas": 3, "readyReplicas": 2, "availableReplicas": 2},
        conditions=[UPDATED],
    )
    assert (found.desired, found.updated, found.ready, found.available, found.old) == (
        2,
        1,
        0,
        2,
        2,
    )


@pytest.mark.parametrize(
    ("strategy", "replicas", "expected", "text"),
    [
        (
            {},
            3,
            Strategy("RollingUpdate", "25%", "25%", 1, 0),
            "RollingUpdate, maxSurge 25% (1 Pod), maxUnavailable 25% (0 Pods)",
        ),
        (
            {"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": "50%"}},
            5,
            Strategy("RollingUpdate", "50%", "50%", 3, 2),
            "RollingUpdate, maxSurge 50% (3 Pods), maxUnavailable 50% (2 Pods)",
        ),
        (
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}},
            3,
            Strategy("RollingUpdate", "0", "10%", 0, 1),
            "RollingUpdate, maxSurge 0, maxUnavailable 10% (1 Pod)",
        ),
        (
            {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 5}},
            3,
            Strategy("RollingUpdate", "2", "5", 2, 3),
            "RollingUpdate, maxSurge 2, maxUnavailable 5 (3 Pods)",
        ),
        (
            {},
            0,
            Strategy("RollingUpdate", "25%", "25%", 0, 0),
            "RollingUpdate, maxSurge 25% (0 Pods), maxUnavailable 25% (0 Pods)",
        ),
        ({"type": "Recreate"}, 3, Strategy("Recreate"), "Recreate"),
    ],
)
def test_the_strategy_with_its_numbers_of_pods(
    strategy: dict[str, Any], replicas: int, expected: Strategy, text: str
):
    found = read(strategy=strategy, replicas=replicas).strategy
    assert found == expected
    assert str(found) == text


def in_progress(**changes: Any) -> RolloutStatus:
    return read(
        replicaset(2, template("i:2"), pods=1, ready=0),
        **{"status": {"updatedReplicas": 1}, "conditions": [UPDATED], **changes},
    )


def test_the_deadline_counts_from_the_last_progress():
    found = in_progress(conditions=[progressing("ReplicaSetUpdated", ago(minutes=4))])
    assert found.deadline_at == as_time(ago(minutes=-6))
    assert in_progress(progressDeadlineSeconds=2**31 - 1).deadline_at is None
    assert in_progress(conditions=[]).deadline_at is None
    assert in_progress(conditions=[progressing()]).deadline_at is None
    assert in_progress(paused=True).deadline_at is None
    assert read().deadline_at is None


def test_a_rollout_starts_with_its_replicaset_and_a_rollback_with_the_change():
    managed = [manager("kubectl", time=ago(minutes=5))]
    new, again = (
        replicaset(2, template("i:2"), created=ago(hours=1), history=history)
        for history in ("", "1")
    )
    running: dict[str, Any] = {"status": {"updatedReplicas": 1}, "conditions": [UPDATED]}
    assert read(new, managed_fields=managed, **running).started_at == as_time(ago(hours=1))
    assert read(again, managed_fields=managed, **running).started_at == as_time(ago(minutes=5))
    assert read(again, **running).started_at is None
    assert read(managed_fields=managed).started_at == as_time(ago(minutes=5))
    assert read().started_at is None


def test_a_replicaset_that_is_older_than_another_one_was_made_current_again():
    """Also before the controller has given it a new revision number."""
    running: dict[str, Any] = {"status": {"updatedReplicas": 1}, "conditions": [UPDATED]}
    old = replicaset(1, template("i:2"), created=ago(hours=1))
    newer = replicaset(2, template("i:3"), created=ago(minutes=10))

    def started_at(**age: float) -> datetime | None:
        managed = [manager("kubectl", time=ago(**age))]
        return read(old, newer, managed_fields=managed, **running).started_at

    assert started_at(seconds=5) == as_time(ago(seconds=5))
    assert started_at(minutes=50) is None  # somebody else who owns no field of the template


@pytest.mark.parametrize(
    "changes",
    [{}, {"paused": True}, {"status": {"updatedReplicas": 1, "replicas": 1}}],
)
def test_a_rollout_that_was_complete_before_is_not_started_by_a_pause_or_by_scaling(
    changes: dict[str, Any],
):
    current = replicaset(2, template("i:2"), created=ago(days=3))
    conditions = [progressing("NewReplicaSetAvailable")]
    assert read(current, conditions=conditions, **changes).started_at is None


def test_a_rollout_in_progress_that_is_paused_keeps_its_start():
    current = replicaset(2, template("i:2"), created=ago(hours=1))
    found = read(current, paused=True, status={"updatedReplicas": 1}, conditions=[UPDATED])
    assert found.started_at == as_time(ago(hours=1))


def test_pods_that_cannot_be_created():
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "a" is\nforbidden'}
    assert read(conditions=[failure]).creation_error == 'pods "a" is forbidden'
    assert read(conditions=[{**failure, "status": "False"}]).creation_error == ""
    assert read(conditions=[{**failure, "message": None}]).creation_error == "unknown"


@pytest.mark.parametrize("live", [{}, {"spec": 1, "status": []}, {"status": {"conditions": [3]}}])
def test_malformed_deployments(live: dict[str, Any]):
    found = read_rollout_status(live, None)
    assert (found.phase, found.desired, found.updated) == (RolloutPhase.IN_PROGRESS, 1, 0)
