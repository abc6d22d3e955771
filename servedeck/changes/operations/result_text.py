"""What an operation has done, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.changes.operations.operation import OperationKind, OperationPlan
from servedeck.serving.status.rollout_status import desired_replicas
from servedeck.serving.text import format_count

_DONE_SENTENCES = {
    OperationKind.SCALE: "{target} is scaled to {replicas}.",
    OperationKind.START: "{target} is started with {replicas}.",
    OperationKind.STOP: "{target} is stopped.",
    OperationKind.RESTART: "{target} restarts.",
    OperationKind.PAUSE: "The rollout of {target} is paused.",
    OperationKind.RESUME: "The rollout of {target} is resumed.",
    OperationKind.ROLLBACK: "{target} goes back to revision {revision}.",
    OperationKind.DELETE: "{target} is deleted.",
    OperationKind.DELETE_POD: "{target} is being deleted.",
    OperationKind.CORDON: "{target} is cordoned.",
    OperationKind.UNCORDON: "{target} is uncordoned.",
}


def done_sentence(plan: OperationPlan, changed: Mapping[str, Any]) -> str:
    """`changed` is the object as the operation left it."""
    operation = plan.operation
    return _DONE_SENTENCES[operation.kind].format(
        target=operation.target,
        replicas=format_count(desired_replicas(changed), "replica"),
        revision=operation.revision,
    )
