"""What is sent to the API server for each object of a changed serving."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.refusal import Refusal, RefusalReason
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.objects.change import ObjectChange
from servedeck.serving.objects.diff import FieldConflict, removal_conflict
from servedeck.serving.objects.managed_fields import apply_configuration, blocked_removals
from servedeck.serving.spec.mapping.json_values import JsonObject


@dataclass(frozen=True, slots=True)
class ObjectWrite:
    ref: ObjectRef
    body: JsonObject | None
    """Body of the server-side apply, or of an update if it has a resourceVersion; None if nothing
    changes."""
    refusal: Refusal | None = None
    """Why it cannot be sent."""


def plan_writes(change: ObjectChange, *, force: bool = False) -> list[ObjectWrite]:
    """One write for each object, in order. Server-side apply does not remove what other managers
    set: that is a conflict, or with `force` an update of the whole object as it was read, which the
    API server refuses if the object changed since."""
    found: list[ObjectWrite] = []
    for at, changed in enumerate(change.changed):
        ref = ObjectRef.from_manifest(changed)
        if at >= len(change.live):
            found.append(ObjectWrite(ref, changed))
            continue
        live = change.live[at]
        blocked = blocked_removals(live, changed, FIELD_MANAGER)
        if blocked and not force:
            conflicts = tuple(removal_conflict(one) for one in blocked)
            found.append(ObjectWrite(ref, None, _conflict(ref, conflicts)))
        elif blocked:
            found.append(ObjectWrite(ref, changed))
        else:
            found.append(ObjectWrite(ref, apply_configuration(live, changed, FIELD_MANAGER)))
    return found


def _conflict(ref: ObjectRef, conflicts: tuple[FieldConflict, ...]) -> Refusal:
    managers = sorted({one.manager for one in conflicts})
    return Refusal(
        RefusalReason.CONFLICT,
        f"Removing fields of {ref} conflicts with {', '.join(managers)}, which set them.",
        tuple(one.path for one in conflicts),
        conflicts,
    )
