"""Saving a planned edit once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import dropwhile
from typing import NamedTuple

from servedeck.changes.edit.admitted import admission_issues, choose_admitted, read_stored
from servedeck.changes.edit.edit import EditPlan, plan_edit
from servedeck.changes.edit.guarded_writes import (
    WriteOutcome,
    WriteState,
    create_guarded,
    delete_guarded,
    write_guarded,
)
from servedeck.changes.edit.undo import UndoPoint, make_undo_point
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.object_writes import ObjectWrite
from servedeck.cluster.apply import ObjectRef, PreviewAction
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.rejection import Rejection
from servedeck.cluster.write_log import expect_writes
from servedeck.serving.objects.change import object_uid
from servedeck.serving.objects.update_merge import (
    LostWriteState,
    find_changes_since,
    find_lost_write_state,
    has_change,
    move_to_version,
)
from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.spec.spec import ServingSpec


class SaveState(StrEnum):
    SAVED = "saved"
    UNCHANGED = "unchanged"
    """There was nothing to send."""
    BLOCKED = "blocked"
    """The plan has errors or undecided conflicts; nothing was sent."""
    REPLANNED = "replanned"
    """The serving changed since the plan was made: `plan` is the new one, to be confirmed."""
    REJECTED = "rejected"
    NOT_SAVED = "not saved"
    """The server could not be reached, or the answer was lost and nothing was saved."""
    UNKNOWN = "unknown"
    """The answer was lost, and what became of it cannot be read, or the server may still execute
    it."""


class LostWrite(NamedTuple):
    """A write whose answer was lost."""

    ref: ObjectRef
    version: str
    """The resourceVersion that it was sent for: while the object has it, the write may still be
    executed."""


@dataclass(frozen=True, slots=True)
class SaveResult:
    state: SaveState
    plan: EditPlan
    """What was saved; the new plan if the serving changed meanwhile. Its edit is the one to plan
    again: it knows what was not written."""
    message: str
    """What happened, in one sentence."""
    applied: tuple[ObjectRef, ...] = ()
    """Objects that were written."""
    rejection: Rejection | None = None
    undo: UndoPoint | None = None
    lost: LostWrite | None = None
    """If UNKNOWN: the write; those after it were not sent."""
    issues: tuple[Issue, ...] = ()
    """If SAVED: warnings at the fields that are not stored as wanted."""

    @property
    def unwritten(self) -> tuple[ObjectRef, ...]:
        """The existing objects that were not written, or may not be, after their Deployment was, or
        may be."""
        known = self.plan.edit.unwritten if self.state is not SaveState.SAVED else {}
        return tuple(
            ObjectRef.from_manifest(one)
            for one in self.plan.change.live
            if object_uid(one) in known
        )


async def save_edit(
    connection: Connection,
    plan: EditPlan,
    inventory: ClusterInventory,
    *,
    force: bool = False,
) -> SaveResult:
    """Send the planned writes, each once. If the serving is not as the plan was made from, nothing
    is sent and the plan is made again. `force` as for the plan. Raises ClusterError if the API
    server cannot be reached before anything is sent."""
    if plan.is_unchanged:
        return SaveResult(SaveState.UNCHANGED, plan, "Nothing changes.")
    if not plan.can_save:
        why = "conflicts are not decided" if plan.conflicts else "it has errors"
        return SaveResult(SaveState.BLOCKED, plan, f"The change is not saved: {why}.")
    current = await _find_current_objects(connection, plan)
    if current is None:
        return await _plan_again(connection, plan, inventory, (), force=force)
    applied: list[ObjectRef] = []
    expect_writes(one.ref for one in plan.change_plan.writes if one.is_sent)
    saved = {ObjectRef.from_manifest(one): one for one in current}
    lost = ""
    for at, (write, changed) in enumerate(
        zip(plan.change_plan.writes, plan.change.changed, strict=True)
    ):
        if not write.is_sent:
            continue
        if write.live is None:
            outcome = await create_guarded(connection, write)
        elif write.deletes:
            outcome = await delete_guarded(connection, replace(write, live=current[at]))
        else:
            wanted = (changed, *_admitted_objects(plan, write.ref))
            outcome = await write_guarded(
                connection, _as_of(write, current[at]), wanted, force=force
            )
        if outcome.state is WriteState.CHANGED:
            return await _plan_again(connection, plan, inventory, tuple(applied), force=force)
        if outcome.state is not WriteState.WRITTEN:
            return _failed(plan, write, outcome, tuple(applied))
        applied.append(write.ref)
        lost = outcome.error or lost
        saved.pop(write.ref, None)
        if outcome.stored is not None:
            saved[write.ref] = outcome.stored
    stored = _find_stored(plan, saved, applied)
    issues = tuple(admission_issues(plan.fields, plan.spec, stored)) if stored else ()
    texts = [lost, "The change was saved.", *(one.message for one in issues)]
    return SaveResult(
        SaveState.SAVED,
        plan,
        " ".join(filter(None, texts)),
        tuple(applied),
        undo=make_undo_point(plan, saved, stored),
        issues=issues,
    )


def _find_stored(
    plan: EditPlan, saved: Mapping[ObjectRef, JsonObject], applied: Sequence[ObjectRef]
) -> ServingSpec | None:
    """The serving as it was stored, where admission changed it; None if it is as wanted. `saved`
    are the objects after the save."""
    planned = {one.ref: one.stored for one in plan.change_plan.previews}
    is_as_planned = all(
        as_mapping(saved[one], "spec") == as_mapping(planned.get(one), "spec")
        for one in applied
        if one in saved
    )
    return plan.admitted if is_as_planned else read_stored(plan.current, (), saved)


def resolve_unknown(result: SaveResult, again: EditPlan) -> SaveResult:
    """What became of a save whose answer was lost (UNKNOWN), from the plan of its edit that was
    made again: SAVED if there is nothing left to change, NOT_SAVED if the write can no longer be
    executed, else UNKNOWN as before."""
    answers = "The API server answers again:"
    lost = result.lost
    if again.is_unchanged:
        # Nothing is left to change in the fields, but what another object gets follows from them.
        unsent = _find_unsent(result, again)
        sent = [one.ref for one in result.plan.change_plan.writes if one.is_sent]
        applied = tuple(one for one in sent if one not in unsent)
        if not unsent:
            current = _current_objects(again)
            stored = _find_stored(result.plan, current, applied)
            return replace(
                result,
                state=SaveState.SAVED,
                message=f"{answers} the change was saved.",
                applied=applied,
                undo=make_undo_point(result.plan, current, stored),
                lost=None,
            )
        message = f"{answers} {_done_text(result.plan, applied)}, {_names(unsent)} was not."
        return replace(
            result, state=SaveState.NOT_SAVED, message=message, applied=applied, lost=None
        )
    if lost is None:
        return result
    found = _find_current(again, lost.ref)
    applied = result.applied
    writes = zip(result.plan.change_plan.writes, result.plan.change.changed, strict=True)
    for write, changed in writes:
        if write.ref != lost.ref or not write.is_sent:
            continue
        wanted = (changed, *_admitted_objects(result.plan, write.ref))
        state = _find_lost_state(write, wanted, found, lost.version)
        if state is LostWriteState.POSSIBLE:
            message = (
                f"{lost.ref} does not have the change so far, but the API server may still "
                f"{'delete' if write.deletes else 'save'} it: look again before you repeat it."
            )
            return replace(result, message=message)
        if state is LostWriteState.EXECUTED:
            applied = (*applied, lost.ref)
    message = f"{answers} the change was not saved."
    if applied:
        done = _done_text(result.plan, applied)
        message = f"{answers} {done}, the rest of the change was not."
        if rest := tuple(one for one in result.unwritten if one not in applied):
            message = f"{answers} {done}, {_names(rest)} was not."
    return replace(result, state=SaveState.NOT_SAVED, message=message, applied=applied, lost=None)


def _admitted_objects(plan: EditPlan, ref: ObjectRef) -> tuple[JsonObject, ...]:
    """The object as the dry run of its write would store it, if that changes it."""
    return tuple(
        one.stored
        for one in plan.change_plan.previews
        if one.ref == ref and one.stored and one.action is not PreviewAction.UNCHANGED
    )


def _find_lost_state(
    write: ObjectWrite, wanted: Sequence[JsonObject], current: JsonObject | None, version: str
) -> LostWriteState:
    """What became of a write whose answer was lost; `wanted` are the objects that it may make,
    `current` is the object now, None for none."""
    if write.deletes:
        if current is None or object_uid(current) != object_uid(write.live or {}):
            return LostWriteState.EXECUTED
        is_same = as_mapping(current, "metadata").get("resourceVersion") == version
        return LostWriteState.POSSIBLE if is_same else LostWriteState.IMPOSSIBLE
    if write.live is not None:
        return find_lost_write_state(write.live, wanted, current, version)
    if current is None:
        return LostWriteState.POSSIBLE
    is_ours = any(has_change({}, one, current) for one in wanted)
    return LostWriteState.EXECUTED if is_ours else LostWriteState.IMPOSSIBLE


def _find_unsent(result: SaveResult, again: EditPlan) -> tuple[ObjectRef, ...]:
    """The objects after that of the lost write, which were not sent, that do not have the change
    as the newer plan read them."""
    lost, plan = result.lost, result.plan
    if lost is None:
        return ()
    found: list[ObjectRef] = []
    writes = zip(plan.change_plan.writes, plan.change.changed, strict=True)
    for write, changed in dropwhile(lambda one: one[0].ref != lost.ref, writes):
        if not write.is_sent or write.ref == lost.ref:
            continue
        current = _find_current(again, write.ref)
        if write.deletes:
            is_done = current is None or object_uid(current) != object_uid(write.live or {})
        else:
            wanted = (changed, *_admitted_objects(plan, write.ref))
            is_done = current is not None and (
                write.live is None or any(has_change(write.live, one, current) for one in wanted)
            )
        if not is_done:
            found.append(write.ref)
    return tuple(found)


def _find_current(plan: EditPlan, ref: ObjectRef) -> JsonObject | None:
    """An object as the plan read it; None if it is not there."""
    return _current_objects(plan).get(ref)


def _current_objects(plan: EditPlan) -> dict[ObjectRef, JsonObject]:
    return {ObjectRef.from_manifest(one): one for one in plan.change.live}


async def _find_current_objects(connection: Connection, plan: EditPlan) -> list[JsonObject] | None:
    """The objects of the plan as they are now, with any status; None if they differ from those that
    the plan was made from."""
    spec = plan.spec
    found = (await fetch_live_objects(connection, spec.namespace, spec.name)).objects
    planned = plan.change.live
    is_same = [ObjectRef.from_manifest(one) for one in found] == [
        ObjectRef.from_manifest(one) for one in planned
    ] and not any(find_changes_since(one, other) for one, other in zip(planned, found, strict=True))
    return found if is_same else None


def _as_of(write: ObjectWrite, live: JsonObject) -> ObjectWrite:
    """The write for the object as it is now, which differs from the planned one in its status and
    version only."""
    body = write.body
    if body is not None and write.live is not None and "resourceVersion" in body["metadata"]:
        body = move_to_version(write.live, body, live)
    return replace(write, body=body, live=live)


async def _plan_again(
    connection: Connection,
    plan: EditPlan,
    inventory: ClusterInventory,
    applied: tuple[ObjectRef, ...],
    *,
    force: bool,
) -> SaveResult:
    plan = _note_unwritten(plan, applied)
    try:
        again = await plan_edit(connection, plan.edit, inventory, force=force)
    except ClusterError as error:
        if not applied:
            raise
        message = f"{error} {_done_text(plan, applied)} before; the rest of the change was not."
        return SaveResult(SaveState.NOT_SAVED, plan, message, applied)
    message = "The serving was changed by somebody else meanwhile; the plan was made again."
    if applied:
        message = f"{_done_text(plan, applied)}, then {message[:1].lower()}{message[1:]}"
    return SaveResult(SaveState.REPLANNED, again, message, applied)


def _failed(
    plan: EditPlan, write: ObjectWrite, outcome: WriteOutcome, applied: tuple[ObjectRef, ...]
) -> SaveResult:
    before = f" {_done_text(plan, applied)} before." if applied else ""
    done, do = ("deleted", "delete") if write.deletes else ("saved", "save")
    is_unknown = outcome.state is WriteState.UNKNOWN
    plan = _note_unwritten(plan, applied, write.ref if is_unknown else None)
    if outcome.state is WriteState.REJECTED:
        assert outcome.rejection is not None
        message = f"{write.ref}: {outcome.rejection.message}{before}"
        return SaveResult(SaveState.REJECTED, plan, message, applied, rejection=outcome.rejection)
    if outcome.state is WriteState.NOT_WRITTEN:
        what = f"{write.ref}" if applied or write.deletes else "The change"
        message = f"{outcome.error} {what} was not {done}.{before}"
        return SaveResult(SaveState.NOT_SAVED, plan, message, applied)
    what = f"{write.ref}" if write.deletes else "the change"
    message = (
        f"{outcome.error} It is not known whether {what} was {done}, and the API server may "
        f"still {do} it: look at {write.ref} before you repeat it.{before}"
    )
    lost = LostWrite(write.ref, outcome.version)
    return SaveResult(SaveState.UNKNOWN, plan, message, applied, lost=lost)


def _note_unwritten(
    plan: EditPlan, applied: tuple[ObjectRef, ...], lost: ObjectRef | None = None
) -> EditPlan:
    """The plan, whose edit has what is still to be written once the Deployment is written, or may
    be (the write `lost`): the fields of the serving alone do not say so, because they have their
    wanted values then."""
    unwritten = dict(plan.edit.unwritten)
    deployment = plan.current.objects.deployment
    ref = ObjectRef.from_manifest(deployment)
    for write in plan.change_plan.writes:
        uid = object_uid(write.live or {})
        if write.ref in applied:
            unwritten.pop(uid, None)
        elif uid and write.ref != ref and write.body is not None and ref in (*applied, lost):
            unwritten.setdefault(uid, deployment)
    edit = plan.edit
    choices = edit.choices
    if plan.admitted is not None:
        choices = choose_admitted(edit.base.spec, edit.wanted, plan.admitted, choices)
    return replace(plan, edit=replace(edit, unwritten=unwritten, choices=choices))


def _done_text(plan: EditPlan, refs: tuple[ObjectRef, ...]) -> str:
    """That these objects were saved, or deleted, in a clause."""
    deletions = {one.ref for one in plan.change_plan.writes if one.deletes}
    deleted = tuple(one for one in refs if one in deletions)
    saved = tuple(one for one in refs if one not in deletions)
    clauses = ((saved, "saved"), (deleted, "deleted"))
    return " and ".join(f"{_names(some)} was {verb}" for some, verb in clauses if some)


def _names(refs: tuple[ObjectRef, ...]) -> str:
    return " and ".join(map(str, refs))
