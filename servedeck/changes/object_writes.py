"""What is sent to the API server for each object of a changed serving."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.objects.change import ObjectChange
from servedeck.serving.objects.diff import MISSING
from servedeck.serving.objects.field_changes import FieldConflict, foreign_conflict
from servedeck.serving.objects.managed_fields import (
    build_apply_configuration,
    foreign_changes,
    has_repeated_entries,
    has_update_entry,
)
from servedeck.serving.spec.mapping.json_values import JsonObject


@dataclass(frozen=True, slots=True)
class ObjectWrite:
    ref: ObjectRef
    body: JsonObject | None
    """Body of the server-side apply, or of an update if it has a resourceVersion; None if nothing
    changes."""
    rejection: Rejection | None = None
    """Why it cannot be sent."""


def plan_writes(change: ObjectChange, *, force: bool = False) -> list[ObjectWrite]:
    """One write for each object, in order.

    Server-side apply does not remove what other managers set: that is a conflict, or with `force`
    an update of the whole object as it was read, which the API server rejects if the object changed
    since. After an update the fields that it changed are not those of server-side apply any more,
    so that later changes of the object are updates too. So is a change of a list with several
    entries of the same key, which server-side apply does not accept.
    """
    found: list[ObjectWrite] = []
    for at, changed in enumerate(change.changed):
        ref = ObjectRef.from_manifest(changed)
        if at >= len(change.live):
            found.append(ObjectWrite(ref, changed))
        else:
            found.append(_plan_write(ref, change.live[at], changed, force))
    return found


def _plan_write(ref: ObjectRef, live: JsonObject, changed: JsonObject, force: bool) -> ObjectWrite:
    body = build_apply_configuration(live, changed, FIELD_MANAGER)
    if body is None:
        return ObjectWrite(ref, None)
    foreign = foreign_changes(live, changed, FIELD_MANAGER)
    needs_update = has_update_entry(live, FIELD_MANAGER) or has_repeated_entries(body)
    blocked = foreign if needs_update else [one for one in foreign if one.new is MISSING]
    if blocked and not force:
        conflicts = tuple(foreign_conflict(one) for one in blocked)
        return ObjectWrite(ref, None, _conflict(ref, conflicts))
    return ObjectWrite(ref, changed if needs_update or blocked else body)


def _conflict(ref: ObjectRef, conflicts: tuple[FieldConflict, ...]) -> Rejection:
    managers = sorted({one.manager for one in conflicts})
    return Rejection(
        RejectionReason.CONFLICT,
        f"This change conflicts with fields of {ref} that were set by {', '.join(managers)}.",
        tuple(one.path for one in conflicts),
        conflicts,
    )
