"""What is sent to the API server for each object of a changed serving, and sending it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from servedeck.cluster import apply
from servedeck.cluster.apply import (
    AppliedObject,
    ApplyResult,
    ObjectRef,
    Preview,
    PreviewAction,
)
from servedeck.cluster.deletion import delete_object, preview_deletion
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.rejection import Rejection, RejectionReason, rejection_from_error
from servedeck.cluster.write_log import expect_writes
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.objects.change import ObjectChange, ObjectKey
from servedeck.serving.objects.diff import MISSING
from servedeck.serving.objects.field_changes import FieldConflict, foreign_conflict
from servedeck.serving.objects.managed_fields import (
    build_apply_configuration,
    foreign_changes,
    has_repeated_entries,
    has_update_entry,
)
from servedeck.serving.objects.update_merge import (
    find_changes_since,
    find_concurrent_changes,
    move_to_version,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str

_MAX_ATTEMPTS = 10
"""Attempts to update an object while controllers write its status, as they do several times a
second during a rollout."""

Result = TypeVar("Result", Preview, ApplyResult)


@dataclass(frozen=True, slots=True)
class ObjectWrite:
    ref: ObjectRef
    body: JsonObject | None
    """Body of the server-side apply, or of an update if it has a resourceVersion; None if nothing
    changes."""
    rejection: Rejection | None = None
    """Why it cannot be sent."""
    live: JsonObject | None = None
    """The object as it was read; None if it is to be created."""
    deletes: bool = False
    """Whether the object is deleted; the body is None then."""

    @property
    def is_sent(self) -> bool:
        """Whether there is anything to send."""
        return self.body is not None or self.deletes


def plan_writes(change: ObjectChange, *, force: bool = False) -> list[ObjectWrite]:
    """One write for each object, in order.

    Server-side apply does not remove what other managers set: that is a conflict, or with `force`
    an update of the whole object as it was read, which the API server rejects if the object changed
    since. After an update the fields that it changed are not those of server-side apply any more,
    so that later changes of the object are updates too. So is a change of a list with several
    entries of the same key, which server-side apply does not accept, and the removal of a field
    that nobody has set, such as a default of the API server.
    """
    found: list[ObjectWrite] = []
    for at, changed in enumerate(change.changed):
        ref = ObjectRef.from_manifest(changed)
        if at >= len(change.live):
            found.append(ObjectWrite(ref, changed))
        elif ObjectKey.of(changed) in change.removed:
            found.append(ObjectWrite(ref, None, live=change.live[at], deletes=True))
        else:
            found.append(_plan_write(ref, change.live[at], changed, force))
    return found


def _plan_write(ref: ObjectRef, live: JsonObject, changed: JsonObject, force: bool) -> ObjectWrite:
    body = build_apply_configuration(live, changed, FIELD_MANAGER)
    if body is None:
        return ObjectWrite(ref, None, live=live)
    foreign = foreign_changes(live, changed, FIELD_MANAGER)
    removed = [one for one in foreign if one.new is MISSING]
    needs_update = (
        has_update_entry(live, FIELD_MANAGER)
        or has_repeated_entries(body)
        or any(not one.managers for one in removed)
    )
    blocked = [one for one in (foreign if needs_update else removed) if one.managers]
    if blocked and not force:
        conflicts = tuple(foreign_conflict(one) for one in blocked)
        return ObjectWrite(ref, None, _conflict(ref, conflicts), live)
    return ObjectWrite(
        ref, changed if needs_update or blocked else _with_uid(body, live), live=live
    )


def _with_uid(body: JsonObject, live: JsonObject) -> JsonObject:
    """The apply configuration for this object alone: a server-side apply creates an object that is
    missing, but the API server rejects one with a uid (409)."""
    uid = as_mapping(live, "metadata").get("uid")
    return {**body, "metadata": {**body["metadata"], "uid": uid}} if uid else body


def _conflict(ref: ObjectRef, conflicts: tuple[FieldConflict, ...]) -> Rejection:
    managers = sorted({one.manager for one in conflicts})
    return Rejection(
        RejectionReason.CONFLICT,
        f"This change conflicts with fields of {ref} that were set by {', '.join(managers)}.",
        tuple(one.path for one in conflicts),
        conflicts,
    )


async def preview_writes(
    connection: Connection, writes: Sequence[ObjectWrite], *, force: bool
) -> tuple[Preview, ...]:
    """A preview for each object; one that does not change is not sent. Raises ClusterError if the
    server cannot be reached."""

    async def send(body: JsonObject, version: str) -> Preview:
        [found] = await apply.preview(connection, [body], force=force)
        return found

    found: list[Preview] = []
    for one in writes:
        if one.rejection is not None:
            found.append(Preview(one.ref, None, one.rejection))
        elif one.deletes and one.live is not None:
            found.append(await preview_deletion(connection, one.ref, one.live))
        elif one.body is None:
            found.append(Preview(one.ref, PreviewAction.UNCHANGED))
        else:
            found.append(await _send(connection, one, one.body, send))
    return tuple(found)


async def apply_writes(
    connection: Connection, writes: Sequence[ObjectWrite], *, force: bool
) -> ApplyResult:
    """Send the writes in order; stop at the first rejection. An object that was read is rejected if
    it was deleted or changed since, and one that was not there if it is now. Raises ClusterError if
    an object that changed meanwhile cannot be read."""

    async def send(body: JsonObject, version: str) -> ApplyResult:
        is_new = not version and "uid" not in body["metadata"]
        return await apply.apply(connection, [body], create=is_new, force=force, version=version)

    result = ApplyResult(())
    expect_writes(one.ref for one in writes if one.is_sent)
    for one in writes:
        if one.body is not None and result.rejection is None:
            sent = await _send(connection, one, one.body, send)
            result = replace(sent, applied=(*result.applied, *sent.applied))
        elif one.deletes and one.live is not None and result.rejection is None:
            deleted = await _delete(connection, one.ref, one.live)
            result = replace(deleted, applied=(*result.applied, *deleted.applied))
    return result


async def _delete(connection: Connection, ref: ObjectRef, live: JsonObject) -> ApplyResult:
    """Delete the object as it was read; one whose status alone changed meanwhile, too."""
    for _ in range(_MAX_ATTEMPTS):
        try:
            await delete_object(connection, ref, live)
        except ApiError as error:
            if error.code == 404:
                break
            if error.code != 409:
                return ApplyResult((), rejection_from_error(error), ref)
        except ClusterError as error:
            return ApplyResult((), rejection_from_error(error), ref)
        else:
            break
        try:
            current = await connection.get_json(ref.path)
        except ApiError as error:
            if error.code == 404:
                break
            return ApplyResult((), rejection_from_error(error), ref)
        if find_changes_since(live, current):
            message = f"{ref} was changed by somebody else at the same time; apply the file again."
            return ApplyResult((), Rejection(RejectionReason.CONFLICT, message), ref)
        live = current
    uid = as_str(as_mapping(live, "metadata").get("uid"))
    return ApplyResult((AppliedObject(ref, uid, created=False),))


async def _send(
    connection: Connection,
    write: ObjectWrite,
    body: JsonObject,
    send: Callable[[JsonObject, str], Awaitable[Result]],
) -> Result:
    """The result of `send` for the body and the resourceVersion that was read. It is sent again if
    the object has another version but the same spec, because then only a controller wrote its
    status."""
    live = write.live
    result = await send(body, _version(live))
    if _exists_already(result.rejection):
        done = "created" if live is None else "deleted and created again"
        message = f"{write.ref} was {done} by somebody else at the same time; apply the file again."
        return replace(result, rejection=Rejection(RejectionReason.CONFLICT, message))
    for _ in range(_MAX_ATTEMPTS - 1):
        if live is None or not _is_of_another_version(result.rejection):
            break
        try:
            current = await connection.get_json(write.ref.path)
        except ApiError as error:
            if error.code in (403, 404):  # the rejection says enough
                break
            raise
        is_update = "resourceVersion" in body["metadata"]
        if paths := (
            find_concurrent_changes(live, body, current)
            if is_update
            else find_changes_since(live, current)
        ):
            message = (
                f"{write.ref} was changed by somebody else at the same time "
                f"({', '.join(paths)}); apply the file again."
            )
            return replace(result, rejection=Rejection(RejectionReason.CONFLICT, message))
        body = move_to_version(live, body, current) if is_update else body
        live = current
        result = await send(body, _version(live))
    return result


def _version(live: JsonObject | None) -> str:
    return as_str(as_mapping(live, "metadata").get("resourceVersion")) or ""


def _exists_already(rejection: Rejection | None) -> bool:
    return rejection is not None and rejection.reason is RejectionReason.ALREADY_EXISTS


def _is_of_another_version(rejection: Rejection | None) -> bool:
    """Whether a write was rejected because the object has another resourceVersion; a conflict with
    a manager names fields."""
    return (
        rejection is not None
        and rejection.reason is RejectionReason.CONFLICT
        and not (rejection.fields or rejection.conflicts)
    )
