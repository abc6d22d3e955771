from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.status.rollout import rollout_badge
from tests.serving.factories import condition, deployment

COMPLETE = condition("Progressing", "True", "NewReplicaSetAvailable")
IN_PROGRESS = condition("Progressing", "True", "ReplicaSetUpdated")
DEADLINE_EXCEEDED = condition("Progressing", "False", "ProgressDeadlineExceeded")


def replica_counts(total: int, updated: int, available: int) -> dict[str, int]:
    return {
        "observedGeneration": 1,
        "replicas": total,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"status": replica_counts(3, 3, 3), "conditions": (COMPLETE,)}, ""),
        ({"status": replica_counts(4, 1, 3), "conditions": (IN_PROGRESS,)}, "updating 1/3"),
        ({"status": replica_counts(4, 3, 3), "conditions": (IN_PROGRESS,)}, "updating 3/3"),
        ({"status": replica_counts(3, 3, 2), "conditions": (IN_PROGRESS,)}, "updating 3/3"),
        # At the start, the condition is still that of the previous rollout.
        ({"status": replica_counts(4, 1, 3), "conditions": (COMPLETE,)}, "updating 1/3"),
        # A Pod that crashes long after the rollout, and a scale-up: not rollouts.
        ({"status": replica_counts(3, 3, 2), "conditions": (COMPLETE,)}, ""),
        ({"status": replica_counts(2, 2, 2), "conditions": (COMPLETE,)}, ""),
        (
            {"status": replica_counts(3, 3, 3), "generation": 2, "conditions": (COMPLETE,)},
            "updating",
        ),
        ({"status": replica_counts(4, 1, 3), "conditions": (DEADLINE_EXCEEDED,)}, "rollout failed"),
        (
            {
                "status": replica_counts(4, 1, 3),
                "generation": 2,
                "conditions": (DEADLINE_EXCEEDED,),
            },
            "updating",
        ),
        ({"status": replica_counts(4, 1, 3), "paused": True}, "paused"),
        ({"status": replica_counts(1, 0, 0), "replicas": 0}, ""),
        # The first ReplicaSet is not an update.
        (
            {
                "status": replica_counts(1, 1, 0),
                "conditions": (IN_PROGRESS,),
                "annotations": {"deployment.kubernetes.io/revision": "1"},
            },
            "",
        ),
        ({}, "updating 0/3"),
    ],
)
def test_badge(fields: dict[str, Any], text: str) -> None:
    assert rollout_badge(deployment(**{"replicas": 3, **fields})) == text
