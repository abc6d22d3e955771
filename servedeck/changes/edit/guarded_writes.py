"""Writing, creating or deleting an object of an edit once: only if it is still as it was read, and
with an answer to whether it was written when the connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from servedeck.changes.object_writes import ObjectWrite
from servedeck.cluster import apply
from servedeck.cluster.deletion import delete_object
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionLostError,
    InvalidResponseError,
    ReadTimeoutError,
)
from servedeck.cluster.rejection import Rejection, RejectionReason, rejection_from_api_error
from servedeck.serving.objects.update_merge import (
    LostWriteState,
    find_changes_since,
    find_lost_write_state,
    move_to_version,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str

_MAX_ATTEMPTS = 10
"""Attempts while controllers write the status, as they do several times a second in a rollout. The
API server has rejected each attempt before the next one."""
_PAUSES = (0.2, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to read what became of a write whose answer was lost."""
_LOST = (ConnectionLostError, ReadTimeoutError, InvalidResponseError, TimeoutError)
"""After these the server may have executed the write."""


class WriteState(Enum):
    WRITTEN = auto()
    CHANGED = auto()
    """Somebody else changed the object; nothing was written."""
    REJECTED = auto()
    NOT_WRITTEN = auto()
    """The server could not be reached, or the answer was lost and the object has another version,
    so that the write is not executed any more."""
    UNKNOWN = auto()
    """The answer was lost, and the object cannot be read or is as it was: the server may still
    execute the write."""


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    state: WriteState
    stored: JsonObject | None = None
    """The object after writing it."""
    rejection: Rejection | None = None
    error: str = ""
    """Why there was no answer, in one sentence; "" if there was one."""
    version: str = ""
    """If UNKNOWN, the resourceVersion that the write was sent for."""


async def write_guarded(
    connection: Connection,
    write: ObjectWrite,
    wanted: Sequence[JsonObject],
    *,
    force: bool = False,
) -> WriteOutcome:
    """Send the write of an existing object. It carries the resourceVersion of the object as it was
    read, so that the API server rejects it if anybody wrote the object since; if only the status
    differs, it is sent with the new version. `wanted` are the whole objects of which it makes one:
    as it is wanted, and as admission changes it, where that is known."""
    live, body = write.live, write.body
    assert live is not None
    assert body is not None
    for _ in range(_MAX_ATTEMPTS):
        try:
            sent = await apply.send_object(connection, body, force=force, version=_version(live))
            return WriteOutcome(WriteState.WRITTEN, sent.json())
        except ApiError as error:
            rejection = rejection_from_api_error(error)
            if error.may_be_executed:
                return await _read_back(connection, write, live, wanted, str(error))
            if not _is_of_another_version(rejection):
                return WriteOutcome(WriteState.REJECTED, rejection=rejection)
        except _LOST as error:
            return await _read_back(connection, write, live, wanted, str(error))
        except ClusterError as error:  # it was never sent
            return WriteOutcome(WriteState.NOT_WRITTEN, error=str(error))
        try:
            current = await connection.get_json(write.ref.path)
        except ClusterError as error:
            return WriteOutcome(WriteState.NOT_WRITTEN, error=_describe(error, write))
        if find_changes_since(live, current):
            return WriteOutcome(WriteState.CHANGED, rejection=rejection)
        if "resourceVersion" in body["metadata"]:
            body = move_to_version(live, body, current)
        live = current
    return WriteOutcome(WriteState.REJECTED, rejection=rejection)


async def create_guarded(connection: Connection, write: ObjectWrite) -> WriteOutcome:
    """Create an object, once; CHANGED if one of its name is there by now. It is sent with a
    resourceVersion that no object has: a server-side apply would change one that somebody else
    creates at the same time."""
    body = write.body
    assert body is not None
    try:
        if await _read(connection, write) is not None:
            return WriteOutcome(WriteState.CHANGED)
        sent = await apply.send_object(connection, body, version=apply.NO_VERSION)
        return WriteOutcome(WriteState.WRITTEN, sent.json())
    except ApiError as error:
        if not error.may_be_executed:
            rejection = rejection_from_api_error(error)
            if rejection.reason is RejectionReason.CONFLICT:  # also with the fields of that one
                return WriteOutcome(WriteState.CHANGED, rejection=rejection)
            return WriteOutcome(WriteState.REJECTED, rejection=rejection)
        text = str(error)
    except _LOST as error:
        text = str(error)
    except ClusterError as error:  # it was never sent
        return WriteOutcome(WriteState.NOT_WRITTEN, error=str(error))
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        try:
            if (found := await _read(connection, write)) is not None:
                return WriteOutcome(WriteState.WRITTEN, found, error=text)
        except (ClusterError, TimeoutError):
            continue
    return WriteOutcome(WriteState.UNKNOWN, error=text)


async def delete_guarded(connection: Connection, write: ObjectWrite) -> WriteOutcome:
    """Delete an object as it was read, of any status; one that is gone counts as deleted."""
    live = write.live
    assert live is not None
    for _ in range(_MAX_ATTEMPTS):
        try:
            await delete_object(connection, write.ref, live)
            return WriteOutcome(WriteState.WRITTEN)
        except ApiError as error:
            if error.code == 404:
                return WriteOutcome(WriteState.WRITTEN)
            if error.may_be_executed:
                return await _read_deletion(connection, write, live, str(error))
            if error.code != 409:
                return WriteOutcome(WriteState.REJECTED, rejection=rejection_from_api_error(error))
        except _LOST as error:
            return await _read_deletion(connection, write, live, str(error))
        except ClusterError as error:
            return WriteOutcome(WriteState.NOT_WRITTEN, error=str(error))
        try:
            current = await _read(connection, write)
        except ClusterError as error:
            return WriteOutcome(WriteState.NOT_WRITTEN, error=str(error))
        if current is None or _is_deleted(current, live):
            return WriteOutcome(WriteState.WRITTEN)
        if find_changes_since(live, current):
            return WriteOutcome(WriteState.CHANGED)
        live = current
    message = f"{write.ref} changes too often to be deleted; try again."
    return WriteOutcome(WriteState.NOT_WRITTEN, error=message)


async def _read_deletion(
    connection: Connection, write: ObjectWrite, live: JsonObject, error: str
) -> WriteOutcome:
    """What became of a deletion whose answer was lost."""
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        try:
            current = await _read(connection, write)
        except (ClusterError, TimeoutError):
            continue
        if current is None or _is_deleted(current, live):
            return WriteOutcome(WriteState.WRITTEN, error=error)
        if _version(current) != _version(live):
            return WriteOutcome(WriteState.NOT_WRITTEN, error=error)
    return WriteOutcome(WriteState.UNKNOWN, error=error, version=_version(live))


async def _read(connection: Connection, write: ObjectWrite) -> JsonObject | None:
    """The object now; None if there is none."""
    try:
        return await connection.get_json(write.ref.path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise


def _is_deleted(current: JsonObject, live: JsonObject) -> bool:
    """Whether the object waits for its finalizers, or another one has its name."""
    metadata = as_mapping(current, "metadata")
    return bool(metadata.get("deletionTimestamp")) or metadata.get("uid") != as_mapping(
        live, "metadata"
    ).get("uid")


def _describe(error: ClusterError, write: ObjectWrite) -> str:
    """Why an object cannot be read, in one sentence."""
    if isinstance(error, ApiError) and error.code == 404:
        return _deleted_text(write)
    return str(error)


def _deleted_text(write: ObjectWrite) -> str:
    return f"{write.ref} was deleted by somebody else meanwhile."


def _is_of_another_version(rejection: Rejection) -> bool:
    """Whether the object has another resourceVersion; a conflict with a manager names fields."""
    return rejection.reason is RejectionReason.CONFLICT and not rejection.fields


async def _read_back(
    connection: Connection,
    write: ObjectWrite,
    live: JsonObject,
    wanted: Sequence[JsonObject],
    error: str,
) -> WriteOutcome:
    """What became of a write whose answer was lost. Once the object has another version, the write
    can no longer be executed; while it has the same one, it is read again, and then it is not
    known, because the server may still come to it."""
    version = _version(live)
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        current: JsonObject | None = None
        try:
            current = await connection.get_json(write.ref.path)
        except ApiError as failure:
            if failure.code != 404:
                continue
        except (ClusterError, TimeoutError):
            continue
        match find_lost_write_state(live, wanted, current, version):
            case LostWriteState.EXECUTED:
                return WriteOutcome(WriteState.WRITTEN, current, error=error)
            case LostWriteState.IMPOSSIBLE:
                return WriteOutcome(WriteState.NOT_WRITTEN, error=error)
            case LostWriteState.DELETED:  # a write with a uid does not create it again
                return WriteOutcome(WriteState.NOT_WRITTEN, error=_deleted_text(write))
    return WriteOutcome(WriteState.UNKNOWN, error=error, version=version)


def _version(obj: JsonObject) -> str:
    return as_str(as_mapping(obj, "metadata").get("resourceVersion")) or ""
