"""Sending a planned operation to the API server: once, and only if its object has not changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servedeck.changes.operations.lost_writes import look_again
from servedeck.changes.operations.operation import (
    LostWrite,
    ObjectDeletion,
    ObjectPatch,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.result_text import done_sentence
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
from servedeck.serving.conventions import FIELD_MANAGER
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
    """Send the plan. Never raises ClusterError: what failed is in the result.

    The patch has the resourceVersion of the object, so that nothing is overwritten unseen. If only
    its status or metadata changed since, it is sent again with the new one; if its spec did, the
    result is OUTDATED. If the response is lost, the object is read to learn whether it was
    executed; it is never sent again.
    """
    operation = plan.operation
    if not plan.is_possible:
        outcome = Outcome.REJECTED if plan.blocked else Outcome.UNCHANGED
        return OperationResult(operation, outcome, plan.blocked or plan.unchanged)
    sender = _Sender(connection)
    try:
        changed = await sender.send(plan)
    except OutdatedError as error:
        return OperationResult(operation, Outcome.OUTDATED, sender.with_progress(str(error)))
    except _ResponseLostError as error:
        lost = LostWrite(plan, error.path, error.version, str(error))
        result = OperationResult(operation, Outcome.UNKNOWN, str(error), lost=lost)
        return await look_again(connection, result)
    except ClusterError as error:
        return OperationResult(
            operation, Outcome.REJECTED, sender.with_progress(rejection_text(error))
        )
    generation = as_mapping(changed, "metadata").get("generation")
    return OperationResult(
        operation,
        Outcome.DONE,
        done_sentence(plan, changed),
        plan.undo,
        generation if isinstance(generation, int) else None,
        tuple(dict.fromkeys(sender.warnings)),
    )


def rejection_text(error: ClusterError) -> str:
    """Why a write failed, one sentence."""
    if isinstance(error, ApiError) and error.code in (404, 409):
        return str(error)  # an admission webhook may answer with any code
    return rejection_from_error(error).message


async def dry_run_plan(connection: Connection, plan: OperationPlan) -> tuple[str, ...]:
    """Send the plan as a dry run; returns the warnings of the API server. Raises OutdatedError if
    the object is not as it was planned, and ClusterError."""
    sender = _Sender(connection, dry_run=True)
    try:
        await sender.send(plan)
    except _ResponseLostError as error:
        assert isinstance(error.__cause__, ClusterError)
        raise error.__cause__ from None
    return tuple(dict.fromkeys(sender.warnings))


class _Sender:
    """Sends the patch of a plan, or its deletions in order."""

    def __init__(self, connection: Connection, *, dry_run: bool = False) -> None:
        self._connection = connection
        self._dry_run = dry_run
        self._deleted: list[str] = []
        self.warnings: list[str] = []

    async def send(self, plan: OperationPlan) -> Mapping[str, Any]:
        """The patched object, {} for deletions. Raises OutdatedError, _ResponseLostError and
        ClusterError."""
        if plan.patch is not None:
            return await self._patch(plan.patch, plan.operation.target)
        for one in plan.deletions:
            await self._delete(one)
        return {}

    def with_progress(self, message: str) -> str:
        """The message, with what was deleted before."""
        if not self._deleted:
            return message
        deleted = ", ".join(self._deleted)
        return f"{message.rstrip('.')}. Deleted before: {deleted}; delete again for the rest."

    async def _patch(self, patch: ObjectPatch, target: str) -> Mapping[str, Any]:
        params = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        current: Mapping[str, Any] = patch.live
        for _ in range(_MAX_ATTEMPTS):
            version = as_str(as_mapping(current, "metadata").get("resourceVersion"))
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

    async def _delete(self, deletion: ObjectDeletion) -> None:
        body: JsonObject = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": deletion.uid},
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
                return  # somebody else has deleted it
            if error.code == 409:
                current = await self._read(deletion.path, deletion.target)
                if as_mapping(current, "metadata").get("uid") != deletion.uid:
                    raise OutdatedError(
                        f"{deletion.target} was deleted and created again by somebody else."
                    ) from error
            raise
        self._deleted.append(deletion.target)

    async def _request(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]],
        body: JsonObject,
        content_type: str = "application/json",
        version: str = "",
    ) -> ApiResponse:
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
                raise _ResponseLostError(error, path, version) from error
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
    annotations = as_mapping(before, "annotations"), as_mapping(now, "annotations")
    touched = as_mapping(patch.patch, "metadata", "annotations")
    if _guarded_spec(patch.live) != _guarded_spec(current) or any(
        annotations[0].get(key) != annotations[1].get(key) for key in touched
    ):
        return "was changed by somebody else at the same time"
    return ""


def _guarded_spec(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec without the taints of a node, which its controller writes as part of its status."""
    return {key: value for key, value in as_mapping(obj, "spec").items() if key != "taints"}
