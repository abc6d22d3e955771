from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.status.rollout import badge
from tests.serving.build import condition, deployment

COMPLETE = condition("Progressing", "True", "NewReplicaSetAvailable")
UNDER_WAY = condition("Progressing", "True", "ReplicaSetUpdated")
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded")


def counts(total: int, updated: int, available: int) -> dict[str, int]:
    return {
        "observedGeneration": 1,
        "replicas": total,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"status": counts(3, 3, 3), "conditions": (COMPLETE,)}, ""),
        ({"status": counts(4, 1, 3), "conditions": (UNDER_WAY,)}, "updating 1/3"),
        ({"status": counts(4, 3, 3), "conditions": (UNDER_WAY,)}, "updating 3/3"),
        ({"status": counts(3, 3, 2), "conditions": (UNDER_WAY,)}, "updating 3/3"),
        # The first moment, when the condition is still that of the rollout before.
        ({"status": counts(4, 1, 3), "conditions": (COMPLETE,)}, "updating 1/3"),
        # A Pod crashes long after the rollout, and a Deployment is scaled up: no rollouts.
        ({"status": counts(3, 3, 2), "conditions": (COMPLETE,)}, ""),
        ({"status": counts(2, 2, 2), "conditions": (COMPLETE,)}, ""),
        ({"status": counts(3, 3, 3), "generation": 2, "conditions": (COMPLETE,)}, "updating"),
        ({"status": counts(4, 1, 3), "conditions": (LATE,)}, "rollout failed"),
        ({"status": counts(4, 1, 3), "generation": 2, "conditions": (LATE,)}, "updating"),
        ({"status": counts(4, 1, 3), "paused": True}, "paused"),
        ({"status": counts(1, 0, 0), "replicas": 0}, ""),
        # The first ReplicaSet updates nothing.
        (
            {
                "status": counts(1, 1, 0),
                "conditions": (UNDER_WAY,),
                "annotations": {"deployment.kubernetes.io/revision": "1"},
            },
            "",
        ),
        ({}, "updating 0/3"),
    ],
)
def test_badge(fields: dict[str, Any], text: str) -> None:
    assert badge(deployment(**{"replicas": 3, **fields})) == text
