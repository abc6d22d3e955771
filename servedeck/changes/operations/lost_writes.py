"""Finding out what became of a request whose response was lost, without sending it again."""

from __future__ import annotations

from dataclasses import replace

from servedeck.changes.operations.adoption import with_created
from servedeck.changes.operations.operation import (
    LostWrite,
    ObjectCreation,
    ObjectDeletion,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.result_text import again, done_sentence, undo_generation
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.serving.objects.update_merge import (
    LostWriteState,
    find_lost_write_state,
    has_change,
)
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping


async def look_again(connection: Connection, result: OperationResult) -> OperationResult:
    """The result of an operation whose response was lost, as far as the objects show it now; it
    stays UNKNOWN while they cannot be read, or the request may still be executed. Any other result
    is returned as it is. Never raises ClusterError."""
    lost = result.lost
    if lost is None or result.outcome is not Outcome.UNKNOWN:
        return result
    try:
        if lost.plan.patch is not None and lost.path == lost.plan.patch.path:
            return await _look_at_patched(connection, result, lost)
        for creation in lost.plan.creations:
            if creation.path == lost.path:
                return await _look_at_created(connection, result, lost, creation)
        return await _look_at_deleted(connection, result, lost)
    except ClusterError:
        message = (
            f"{lost.error} It is not known whether {result.operation.target} was changed; it is "
            "not sent again."
        )
        return replace(result, message=message)


async def _look_at_patched(
    connection: Connection, result: OperationResult, lost: LostWrite
) -> OperationResult:
    plan, target = lost.plan, result.operation.target
    assert plan.patch is not None
    current = await _read(connection, lost.path)
    # A webhook may set something else each time: either is enough.
    wanted = (plan.patch.expected, plan.patch.patched)
    state = find_lost_write_state(plan.patch.live, wanted, current, lost.version)
    if state is LostWriteState.DELETED or current is None:
        return _failed(result, lost, f"{target} was deleted by somebody else meanwhile.")
    if state is LostWriteState.EXECUTED:
        rest = [one.target for one in plan.deletions]
        rest += [one.target for one in plan.creations]
        if rest:  # it was not sent
            return _failed(result, lost, f"{target} was changed. {_rest_text(lost, rest)}")
        return _done(result, lost, current)
    if state is LostWriteState.POSSIBLE:
        message = f"{lost.error} {target} has not changed so far; look again before you repeat it."
        return replace(result, message=message)
    if as_mapping(current, "spec") == as_mapping(plan.patch.live, "spec"):
        return _failed(result, lost, f"{target} was not changed.")
    text = f"{target} was changed by somebody else meanwhile and does not have this change."
    return _failed(result, lost, text)


async def _look_at_created(
    connection: Connection, result: OperationResult, lost: LostWrite, creation: ObjectCreation
) -> OperationResult:
    current = await _read(connection, creation.path)
    if current is None:
        text = f"{creation.target} was not created so far; look again before you repeat it."
        return replace(result, message=f"{lost.error} {text}")
    if not has_change({}, creation.manifest, current):
        text = f"{creation.target} was created by somebody else meanwhile."
        return _failed(result, lost, f"{text} {again(result.operation.kind).capitalize()}.")
    creations = lost.plan.creations
    lost = replace(lost, created=(*lost.created, current))
    if rest := [one.target for one in creations[creations.index(creation) + 1 :]]:
        return _failed(result, lost, f"{creation.target} was created. {_rest_text(lost, rest)}")
    return _done(result, lost, {})


def _rest_text(lost: LostWrite, rest: list[str]) -> str:
    """What was not sent after the lost request, and what to do."""
    names = ", ".join(rest)
    return f"Not done: {names}. {again(lost.plan.operation.kind).capitalize()} for the rest."


def _done(result: OperationResult, lost: LostWrite, current: JsonObject) -> OperationResult:
    """`current` is the patched object; {} if another request was lost."""
    return replace(
        result,
        outcome=Outcome.DONE,
        message=f"{done_sentence(lost.plan, current)} The response was lost: {lost.error}",
        undo=with_created(lost.plan.undo, lost.created),
        generation=undo_generation(lost.plan, current),
        lost=None,
    )


async def _look_at_deleted(
    connection: Connection, result: OperationResult, lost: LostWrite
) -> OperationResult:
    deletions = lost.plan.deletions
    remaining = [one for one in deletions if await _exists(connection, one)]
    if not remaining:
        message = f"{done_sentence(lost.plan, {})} The response was lost: {lost.error}"
        return replace(result, outcome=Outcome.DONE, message=message, lost=None)
    gone = [one.target for one in deletions if one not in remaining]
    text = f"Not deleted so far: {', '.join(one.target for one in remaining)}."
    if gone:
        text = f"Deleted: {', '.join(gone)}. {text}"
    if any(one.path == lost.path for one in remaining):
        return replace(result, message=f"{lost.error} {text} Look again before you repeat it.")
    # Those after the lost one were not sent.
    return _failed(result, lost, f"{text} Delete again for the rest.")


def _failed(result: OperationResult, lost: LostWrite, text: str) -> OperationResult:
    return replace(result, outcome=Outcome.REJECTED, message=f"{lost.error} {text}", lost=None)


async def _read(connection: Connection, path: str) -> JsonObject | None:
    """The object; None if it does not exist."""
    try:
        return await connection.get_json(path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise


async def _exists(connection: Connection, deletion: ObjectDeletion) -> bool:
    """Whether the object is there, and not being deleted."""
    metadata = as_mapping(await _read(connection, deletion.path), "metadata")
    return metadata.get("uid") == deletion.uid and not metadata.get("deletionTimestamp")
