"""Sending what a plan says, one request after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from servedeck.changes.object_writes import ObjectWrite, apply_writes
from servedeck.changes.operations.operation import ObjectDeletion
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionLostError,
    InvalidResponseError,
    ReadTimeoutError,
)
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.serving.spec.mapping.json_values import JsonObject

LOSSES = (ConnectionLostError, ReadTimeoutError, InvalidResponseError)
"""Errors after which a request may have been executed."""
_MAX_ROLE_ATTEMPTS, _ROLE_SECONDS = 25, 0.2
"""For how long a new Role may be unknown to the API server that creates its RoleBinding."""


class RejectedError(Exception):
    """A request was rejected; str() is one sentence."""


class ChangedError(Exception):
    """An object is not as it was planned; str() is one sentence."""


class LostError(Exception):
    """The response to a request was lost, which may have been executed; str() is one sentence."""

    def __init__(self, message: str, ref: ObjectRef) -> None:
        super().__init__(message)
        self.ref = ref


def is_lost(error: ClusterError) -> bool:
    """Whether the request may have been executed."""
    return isinstance(error, LOSSES) or (isinstance(error, ApiError) and error.may_be_executed)


async def send_writes(
    connection: Connection, writes: Sequence[ObjectWrite], *, force: bool
) -> list[ObjectRef]:
    """Apply them in order; returns those that were written. Raises RejectedError, ChangedError,
    LostError and ClusterError: those before are written."""
    done: list[ObjectRef] = []
    for one in writes:
        result = await apply_writes(connection, [one], force=force)
        for _ in range(_MAX_ROLE_ATTEMPTS):
            if not _is_role_unknown(one.ref, result.rejection):
                break
            await asyncio.sleep(_ROLE_SECONDS)
            result = await apply_writes(connection, [one], force=force)
        rejection = result.rejection
        if rejection is not None:
            text = f"{one.ref}: {rejection.message}"
            if rejection.reason is RejectionReason.SERVER_ERROR:
                raise LostError(text, one.ref)
            if rejection.reason is RejectionReason.CONFLICT and not rejection.conflicts:
                raise ChangedError(text)
            raise RejectedError(text)
        done.append(one.ref)
    return done


def _is_role_unknown(ref: ObjectRef, rejection: Rejection | None) -> bool:
    """Whether a RoleBinding is refused as its Role, which was created just before, is not in the
    API server's cache yet (404)."""
    return (
        ref.kind == "RoleBinding"
        and rejection is not None
        and rejection.reason is RejectionReason.UNKNOWN_KIND
    )


async def delete_object(
    connection: Connection, deletion: ObjectDeletion, *, dry_run: bool = False
) -> None:
    """Delete the object if it still has the uid; one that is gone is no error. Raises
    ClusterError."""
    body: JsonObject = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": deletion.uid},
        "propagationPolicy": "Background",
    }
    if dry_run:
        body["dryRun"] = ["All"]
    try:
        await connection.request("DELETE", deletion.path, body=body)
    except ApiError as error:
        # With 409 there is another object of the name.
        if error.code not in (404, 409):
            raise
