"""What an operation has done, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.changes.operations.operation import OperationKind, OperationPlan
from servedeck.serving.spec.mapping.json_values import as_mapping
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
    OperationKind.ADOPT: "{target} is adopted.",
    OperationKind.RELEASE: "{target} is not adopted any more.",
    OperationKind.EDIT: "{target} is changed.",
}


def done_sentence(plan: OperationPlan, changed: Mapping[str, Any]) -> str:
    """`changed` is the object as the operation left it."""
    operation = plan.operation
    sentence = _DONE_SENTENCES[operation.kind].format(
        target=operation.target,
        replicas=format_count(desired_replicas(changed), "replica"),
        revision=operation.revision,
    )
    if not plan.creations:
        return sentence
    # Without their names, so that a line of 80 columns has it all.
    kinds = " and ".join(one.target.partition(" ")[0] for one in plan.creations)
    return f"{sentence.removesuffix('.')}, with a new {kinds}."


def again(kind: OperationKind) -> str:
    """How the rest of an operation is done after an error, "delete again"."""
    return "undo again" if kind is OperationKind.RELEASE else f"{kind.value} again"


def undo_generation(plan: OperationPlan, changed: Mapping[str, Any]) -> int | None:
    """The generation that the object must still have to be put back; None if the undo looks at what
    it puts back itself: a label is no part of the generation."""
    generation = as_mapping(changed, "metadata").get("generation")
    is_label = plan.operation.kind in (OperationKind.ADOPT, OperationKind.RELEASE)
    return generation if isinstance(generation, int) and not is_label else None
