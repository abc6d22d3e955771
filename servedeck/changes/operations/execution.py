"""Sending a planned operation to the API server: once, and only if its object has not changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from servedeck.changes.async_queue.closing import QueueClosing
from servedeck.changes.operations.adoption import with_created
from servedeck.changes.operations.lost_writes import look_again
from servedeck.changes.operations.operation import (
    LostWrite,
    ObjectCreation,
    ObjectDeletion,
    ObjectPatch,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.result_text import again, done_sentence, undo_generation
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionLostError,
    InvalidResponseError,
    ReadTimeoutError,
)
from servedeck.cluster.http.response_warnings import read_warnings
from servedeck.cluster.rejection import rejection_from_error
from servedeck.cluster.write_log import expect_writes
from servedeck.serving.conventions import FIELD_MANAGER
from servedeck.serving.objects.object_document import editable_part
from servedeck.serving.objects.update_merge import find_concurrent_changes
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str

_MERGE_PATCH = "application/merge-patch+json"
_MAX_ATTEMPTS = 50
"""Attempts to patch an object while controllers write its status, as they do up to 20 times a
second during a rollout (kube-controller-manager, --kube-api-qps)."""

_LOSSES = (ConnectionLostError, ReadTimeoutError, InvalidResponseError)
"""Errors after which the request may have been executed; a ConnectionFailedError comes before it is
sent."""


class OutdatedError(Exception):
    """The object is not as it was planned. `str()` is one sentence."""


class _ResponseLostError(Exception):
    """The request may have been executed. `str()` is one sentence."""

    def __init__(self, error: ClusterError, path: str, version: str = "") -> None:
        super().__init__(str(error))
        self.path, self.version = path, version


async def run_plan(connection: Connection, plan: OperationPlan) -> OperationResult:
    """Send the plan: its patch, its deletions, its creations. Never raises ClusterError: what
    failed, and what was done before, is in the result.

    The patch has the resourceVersion of the object, so that nothing is overwritten unseen. If only
    its status or metadata changed since, it is sent again with the new one; if its spec did, the
    result is OUTDATED. If the response is lost, the object is read to learn whether it was
    executed; it is never sent again. A serving whose async queue has tasks that came after the plan
    is not deleted.
    """
    operation = plan.operation
    if not plan.is_possible:
        outcome = Outcome.REJECTED if plan.blocked else Outcome.UNCHANGED
        return OperationResult(operation, outcome, plan.blocked or plan.unchanged)
    if plan.queue_counted is None:
        return await _run(connection, plan)
    closing = QueueClosing(connection, plan)
    if refusal := await closing.begin():
        return OperationResult(operation, Outcome.REJECTED, refusal)
    return await closing.end(await _run(connection, plan, closing.before_deletion))


async def _run(
    connection: Connection,
    plan: OperationPlan,
    before_deletion: Callable[[ObjectDeletion], Awaitable[None]] | None = None,
) -> OperationResult:
    operation = plan.operation
    expect_writes([operation.target] if plan.patch is not None else [])
    expect_writes(one.ref for one in plan.deletions)
    expect_writes(one.target for one in plan.creations)
    sender = _Sender(connection, before_deletion=before_deletion)
    try:
        changed = await sender.send(plan)
    except OutdatedError as error:
        return OperationResult(operation, Outcome.OUTDATED, sender.with_progress(str(error)))
    except _ResponseLostError as error:
        lost = LostWrite(plan, error.path, error.version, str(error), tuple(sender.created))
        result = OperationResult(operation, Outcome.UNKNOWN, str(error), lost=lost)
        return await look_again(connection, result)
    except ClusterError as error:
        return OperationResult(
            operation, Outcome.REJECTED, sender.with_progress(rejection_text(error))
        )
    return OperationResult(
        operation,
        Outcome.DONE,
        done_sentence(plan, changed),
        with_created(plan.undo, sender.created),
        undo_generation(plan, changed),
        tuple(dict.fromkeys(sender.warnings)),
    )


def rejection_text(error: ClusterError) -> str:
    """Why a write failed, one sentence."""
    if isinstance(error, ApiError) and error.code in (404, 409):
        return str(error)  # an admission webhook may answer with any code
    return rejection_from_error(error).message


class CreationRefusedError(Exception):
    """The API server does not create an object; the cause is its ApiError."""

    def __init__(self, creation: ObjectCreation) -> None:
        super().__init__(creation.target)
        self.creation = creation


async def dry_run_plan(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """Send the plan as a dry run; returns it with the warnings of the API server and what a patched
    object would be. Raises OutdatedError if an object is not as it was planned,
    CreationRefusedError and ClusterError."""
    sender = _Sender(connection, dry_run=True)
    try:
        stored = await sender.send(plan)
    except _ResponseLostError as error:
        assert isinstance(error.__cause__, ClusterError)
        raise error.__cause__ from None
    except ApiError as error:
        if sender.creating is not None:
            raise CreationRefusedError(sender.creating) from error
        raise
    patch = plan.patch
    if patch is not None:
        patch = replace(patch, live=dict(sender.patched), dry_run=dict(stored))
    return replace(
        plan, patch=patch, warnings=tuple(dict.fromkeys((*plan.warnings, *sender.warnings)))
    )


class _Sender:
    """Sends the patch of a plan, its deletions and its creations, in order."""

    def __init__(
        self,
        connection: Connection,
        *,
        dry_run: bool = False,
        before_deletion: Callable[[ObjectDeletion], Awaitable[None]] | None = None,
    ) -> None:
        self._connection = connection
        self._dry_run = dry_run
        self._before_deletion = before_deletion
        self._again = ""
        """How the rest is done after an error, "delete again"."""
        self._patched = ""
        self._deleted: list[str] = []
        self.creating: ObjectCreation | None = None
        """What is being created."""
        self.created: list[JsonObject] = []
        """What was created, as the API server returned it."""
        self.patched: Mapping[str, Any] = {}
        """The object that the last patch was sent for."""
        self.warnings: list[str] = []

    async def send(self, plan: OperationPlan) -> Mapping[str, Any]:
        """The patched object, {} without a patch. Raises OutdatedError, _ResponseLostError and
        ClusterError."""
        self._again = again(plan.operation.kind)
        changed: Mapping[str, Any] = {}
        if plan.patch is not None:
            changed = await self._patch(plan.patch, plan.operation.target)
            self._patched = plan.operation.target
        for deletion in plan.deletions:
            if self._before_deletion is not None:
                await self._before_deletion(deletion)
            await self._delete(deletion)
        for creation in plan.creations:
            self.creating = creation
            self.created.append(await self._create(creation))
        return changed

    def with_progress(self, message: str) -> str:
        """The message, with what was done before."""
        done = [f"Changed before: {self._patched}"] if self._patched else []
        done += [f"Deleted before: {', '.join(self._deleted)}"] if self._deleted else []
        created = [ObjectRef.from_manifest(one) for one in self.created]
        done += [f"Created before: {', '.join(map(str, created))}"] if created else []
        if not done:
            return message
        return f"{message.rstrip('.')}. {'. '.join(done)}; {self._again} for the rest."

    async def _patch(self, patch: ObjectPatch, target: str) -> Mapping[str, Any]:
        params = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        current: Mapping[str, Any] = patch.live
        for _ in range(_MAX_ATTEMPTS):
            version = as_str(as_mapping(current, "metadata").get("resourceVersion"))
            self.patched = current
            try:
                response = await self._request(
                    "PATCH",
                    patch.path,
                    params,
                    _with_version(patch.patch, current),
                    _MERGE_PATCH,
                    version,
                )
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
                current = await self._read(patch.path, target)
                if problem := _changed_since(patch, current):
                    raise OutdatedError(f"{target} {problem}.") from error
                if as_mapping(current, "metadata").get("resourceVersion") == version:
                    raise  # it is not about the object's version
                continue
            try:
                return response.json()
            except InvalidResponseError as error:
                raise _ResponseLostError(error, patch.path, version) from error
        sentence = f"{target} is written too often by its controllers at the moment; try again."
        raise ApiError(409, message=sentence, display_message=sentence)

    async def _read(self, path: str, target: str) -> Mapping[str, Any]:
        try:
            return await self._connection.get_json(path)
        except ApiError as error:
            if error.code == 404:
                raise OutdatedError(f"{target} was deleted by somebody else.") from error
            raise

    async def _create(self, creation: ObjectCreation) -> JsonObject:
        """Create an object: unlike server-side apply, that never changes one of the same name."""
        params = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        collection, _, _ = creation.path.rpartition("/")
        try:
            response = await self._request(
                "POST", collection, params, creation.manifest, place=creation.path
            )
        except ApiError as error:
            if error.code == 409 and error.reason == "AlreadyExists":
                raise OutdatedError(
                    f"{creation.target} was created by somebody else at the same time."
                ) from error
            raise
        try:
            return response.json()
        except InvalidResponseError as error:
            raise _ResponseLostError(error, creation.path) from error

    async def _delete(self, deletion: ObjectDeletion) -> None:
        current = deletion.live
        for _ in range(_MAX_ATTEMPTS):
            version = as_str(as_mapping(current, "metadata").get("resourceVersion"))
            current = await self._try_to_delete(deletion, version)
            if current is None:
                return
        sentence = f"{deletion.target} is written too often at the moment; try again."
        raise ApiError(409, message=sentence, display_message=sentence)

    async def _try_to_delete(self, deletion: ObjectDeletion, version: str) -> JsonObject | None:
        """Delete the object if it has the version, or, with "", in any version. Returns the object
        if only its status or what the API server sets has changed since it was read; None if it is
        gone."""
        preconditions = {"uid": deletion.uid}
        if version:
            preconditions["resourceVersion"] = version
        body: JsonObject = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": preconditions,
            "propagationPolicy": "Background",
        }
        if self._dry_run:
            # The API server ignores the query if there is a body (kubernetes apiserver
            # pkg/endpoints/handlers/delete.go).
            body["dryRun"] = ["All"]
        try:
            await self._request("DELETE", deletion.path, [], body)
        except ApiError as error:
            if error.code == 404:
                return None  # somebody else has deleted it
            if error.code != 409:
                raise
            current = await self._read(deletion.path, deletion.target)
            metadata = as_mapping(current, "metadata")
            if metadata.get("uid") != deletion.uid:
                raise OutdatedError(
                    f"{deletion.target} was deleted and created again by somebody else."
                ) from error
            if deletion.live is None or metadata.get("resourceVersion") == version:
                raise  # it is not about the object's version
            if editable_part(current) != editable_part(deletion.live):
                raise OutdatedError(
                    f"{deletion.target} was changed by somebody else at the same time."
                ) from error
            return dict(current)
        self._deleted.append(deletion.target)
        return None

    async def _request(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]],
        body: JsonObject,
        content_type: str = "application/json",
        version: str = "",
        *,
        place: str = "",
    ) -> ApiResponse:
        """`place` is the path of the object, if the request is for another one."""
        if self._dry_run:
            params = [*params, ("dryRun", "All")]
        try:
            response = await self._connection.request(
                method, path, params=params, body=body, content_type=content_type
            )
        except ClusterError as error:
            if isinstance(error, _LOSSES) or (
                isinstance(error, ApiError) and error.may_be_executed
            ):
                raise _ResponseLostError(error, place or path, version) from error
            raise
        self.warnings += read_warnings(response.headers)
        return response


def _with_version(patch: JsonObject, current: Mapping[str, Any]) -> JsonObject:
    """The patch with what the API server compares with the stored object."""
    identity = {key: as_mapping(current, "metadata").get(key) for key in ("uid", "resourceVersion")}
    return {**patch, "metadata": {**as_mapping(patch, "metadata"), **identity}}


def _changed_since(patch: ObjectPatch, current: Mapping[str, Any]) -> str:
    """What somebody else did with the object that the plan does not know, as the end of a sentence;
    "" if only its status changed, or metadata that the patch does not touch."""
    before, now = as_mapping(patch.live, "metadata"), as_mapping(current, "metadata")
    if before.get("uid") != now.get("uid"):
        return "was deleted and created again by somebody else"
    if now.get("deletionTimestamp") and not before.get("deletionTimestamp"):
        return "is being deleted"
    sides = (patch.live, patch.patched, current)
    if find_concurrent_changes(*(_guarded_part(one) for one in sides)):
        return "was changed by somebody else at the same time"
    return ""


def _guarded_part(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object without the taints of a node, which its controller writes as part of its
    status."""
    spec = {key: value for key, value in as_mapping(obj, "spec").items() if key != "taints"}
    return {**obj, "spec": spec}
