"""Sending a planned operation to the API server: once, and only if its object has not changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from servedeck.changes.operations.operation import (
    ObjectDeletion,
    ObjectPatch,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
    merge_patch,
)
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.rejection import rejection_from_error
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping

_MERGE_PATCH = "application/merge-patch+json"
_MAX_ATTEMPTS = 10
"""Attempts to patch an object while controllers write its status, as they do several times a second
during a rollout."""


class OutdatedError(Exception):
    """The object is not as it was planned. `str()` is one sentence."""


async def run_plan(connection: Connection, plan: OperationPlan) -> OperationResult:
    """Send the plan. Never raises ClusterError: what failed is in the result.

    The patch has the resourceVersion of the object, so that nothing is overwritten unseen. If only
    its status or metadata changed since, it is sent again; if its spec did, the result is OUTDATED.
    If the connection is lost before the response, the object is read to learn whether the change
    was made; it is never sent twice.
    """
    operation = plan.operation
    if not plan.is_possible:
        outcome = Outcome.REJECTED if plan.blocked else Outcome.UNCHANGED
        return OperationResult(operation, outcome, plan.blocked or plan.unchanged)
    try:
        changed = await send(connection, plan)
    except OutdatedError as error:
        return OperationResult(operation, Outcome.OUTDATED, str(error))
    except ApiError as error:
        message = rejection_from_error(error).message
        return OperationResult(operation, Outcome.REJECTED, _with_progress(message, error))
    except ClusterError as error:
        return await _find_out(connection, plan, error)
    return _done(plan, changed)


def _with_progress(message: str, error: ApiError) -> str:
    done = getattr(error, "__notes__", ())
    return " ".join((message, *done))


def _done(plan: OperationPlan, changed: Mapping[str, Any]) -> OperationResult:
    generation = as_mapping(changed, "metadata").get("generation")
    return OperationResult(
        plan.operation,
        Outcome.DONE,
        _DONE_SENTENCES[plan.operation.kind].format(
            target=plan.operation.target,
            replicas=_replicas_text(changed),
            revision=plan.operation.revision,
        ),
        plan.undo,
        generation if isinstance(generation, int) else None,
    )


def _replicas_text(changed: Mapping[str, Any]) -> str:
    number = as_mapping(changed, "spec").get("replicas", 1)
    return "1 replica" if number == 1 else f"{number} replicas"


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


# -- sending ------------------------------------------------------------------------------------


async def send(
    connection: Connection, plan: OperationPlan, *, dry_run: bool = False
) -> Mapping[str, Any]:
    """Send the patch, or the deletions in order; returns the patched object, {} for deletions.
    Raises OutdatedError if the object is not as it was planned, and ClusterError."""
    if plan.patch is not None:
        return await _send_patch(connection, plan.patch, dry_run)
    done: list[str] = []
    for one in plan.deletions:
        try:
            await _delete(connection, one.path, one.uid, dry_run)
        except ApiError as error:
            if error.code == 404:
                continue  # somebody else has deleted it
            if error.code == 409:
                raise OutdatedError(
                    f"{one.target} was deleted and created again by somebody else."
                ) from error
            if done and not dry_run:
                error.add_note(f"Deleted before: {', '.join(done)}.")
            raise
        done.append(one.target)
    return {}


async def _send_patch(
    connection: Connection, patch: ObjectPatch, dry_run: bool
) -> Mapping[str, Any]:
    params = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
    if dry_run:
        params.append(("dryRun", "All"))
    current: Mapping[str, Any] = patch.live
    for attempt in range(_MAX_ATTEMPTS):
        try:
            response = await connection.request(
                "PATCH",
                patch.path,
                params=params,
                body=_with_version(patch.patch, current),
                content_type=_MERGE_PATCH,
            )
        except ApiError as error:
            if error.code != 409 or attempt == _MAX_ATTEMPTS - 1:
                raise
            current = await connection.get_json(patch.path)
            if problem := _changed_since(patch.live, current):
                raise OutdatedError(problem) from error
            continue
        return response.json()
    raise AssertionError("unreachable")


def _with_version(patch: JsonObject, current: Mapping[str, Any]) -> JsonObject:
    """The patch with what the API server compares with the stored object."""
    identity = {key: as_mapping(current, "metadata").get(key) for key in ("uid", "resourceVersion")}
    return {**patch, "metadata": {**as_mapping(patch, "metadata"), **identity}}


def _changed_since(live: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Whether somebody else changed more than the status and the metadata, in one sentence."""
    before, now = as_mapping(live, "metadata"), as_mapping(current, "metadata")
    if before.get("uid") != now.get("uid"):
        return "It was deleted and created again by somebody else."
    if as_mapping(live, "spec") != as_mapping(current, "spec"):
        return "It was changed by somebody else at the same time."
    return ""


async def _delete(connection: Connection, path: str, uid: str, dry_run: bool) -> None:
    body: JsonObject = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": uid},
        "propagationPolicy": "Background",
    }
    await connection.request(
        "DELETE",
        path,
        params=[("dryRun", "All")] if dry_run else (),
        body=json.dumps(body).encode(),
    )


# -- a lost response ----------------------------------------------------------------------------


async def _find_out(
    connection: Connection, plan: OperationPlan, error: ClusterError
) -> OperationResult:
    """What was done of an operation whose response was lost."""
    operation = plan.operation
    try:
        if plan.patch is not None:
            current = await connection.get_json(plan.patch.path)
            left = "" if _is_applied(plan.patch.patch, current) else operation.target
        else:
            current = {}
            remaining = [one.target for one in plan.deletions if await _exists(connection, one)]
            gone = [one.target for one in plan.deletions if one.target not in remaining]
            left = ", ".join(remaining)
            if left and gone:
                message = f"Deleted: {', '.join(gone)}; not deleted: {left}. {error}"
                return OperationResult(operation, Outcome.REJECTED, message)
    except ClusterError:
        message = (
            f"{error} It is not known whether {operation.target} was changed; it is not sent again."
        )
        return OperationResult(operation, Outcome.UNKNOWN, message)
    if left:
        message = f"{operation.target} has not changed so far. {error}"
        return OperationResult(operation, Outcome.REJECTED, message)
    done = _done(plan, current)
    return replace(done, message=f"{done.message} The response was lost: {error}")


async def _exists(connection: Connection, deletion: ObjectDeletion) -> bool:
    """Whether the object is there, and not being deleted."""
    try:
        current = await connection.get_json(deletion.path)
    except ApiError as error:
        if error.code == 404:
            return False
        raise
    metadata = as_mapping(current, "metadata")
    return metadata.get("uid") == deletion.uid and not metadata.get("deletionTimestamp")


def _is_applied(patch: JsonObject, current: Mapping[str, Any]) -> bool:
    """Whether the object has what the patch sets."""
    return not merge_patch(current, _apply_merge_patch(dict(current), patch))


def _apply_merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _apply_merge_patch(result.get(key), value)
    return result
