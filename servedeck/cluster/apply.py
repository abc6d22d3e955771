"""Writing objects: server-side apply, its preview by the API server's own dry run, and undoing.

Every write carries the field manager `servedeck`. A field that somebody else owns is answered with
a conflict, which is shown, unless `force` is asked for. Nothing here retries a write by itself.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote

from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.resources import POD, RESOURCES_BY_KIND
from servedeck.serving.conventions import FIELD_MANAGER, MANAGED_BY_LABEL
from servedeck.serving.objects.diff import (
    AdmissionChange,
    FieldChange,
    FieldConflict,
    admission_changes,
    diff_objects,
    parse_conflicts,
)
from servedeck.serving.objects.manifests import encode_manifest
from servedeck.serving.objects.records import REVISION_ANNOTATION
from servedeck.serving.text import one_line, sanitize

Manifest = Mapping[str, Any]

_APPLY_PATCH_TYPE = "application/apply-patch+yaml"


class ObjectRef(NamedTuple):
    """Where an object lives."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> ObjectRef:
        meta = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], meta["namespace"], meta["name"])

    @property
    def collection_path(self) -> str:
        version = self.api_version.rpartition("/")[2]
        return RESOURCES_BY_KIND[self.kind].collection_path(self.namespace, version)

    @property
    def path(self) -> str:
        return f"{self.collection_path}/{quote(self.name, safe='')}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class RefusalReason(StrEnum):
    """What kind of no the API server gave; the screens offer a different way out for each."""

    ALREADY_EXISTS = "name taken"
    PERMISSION = "permission"
    QUOTA = "quota"
    POLICY = "policy"
    INVALID = "invalid"
    CONFLICT = "conflict"
    NAMESPACE_NOT_FOUND = "namespace"
    UNKNOWN_KIND = "unknown kind"
    SERVER_ERROR = "server"


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: RefusalReason
    message: str
    """One sentence, sanitised."""
    fields: tuple[str, ...] = ()
    """Paths of the object that the server named, ".spec.replicas"."""
    conflicts: tuple[FieldConflict, ...] = ()
    """For a conflict, whose field each is and both values."""


class PreviewAction(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Preview:
    """What one object would become; nothing was stored."""

    ref: ObjectRef
    action: PreviewAction | None
    """None where the server refuses."""
    refusal: Refusal | None = None
    admission_changes: tuple[AdmissionChange, ...] = ()
    field_changes: tuple[FieldChange, ...] = ()
    """Fields of the stored object that would change."""
    restarts_pods: bool = False
    """Whether the Pods of this Deployment would be replaced."""


class AppliedObject(NamedTuple):
    ref: ObjectRef
    uid: str
    created: bool
    """False where the object stood there before: undo leaves such an object alone."""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    applied: tuple[AppliedObject, ...]
    refusal: Refusal | None = None
    failed_ref: ObjectRef | None = None


class Ownership(NamedTuple):
    """Whose an existing object is, as far as it says so itself."""

    ref: ObjectRef
    managers: tuple[str, ...]
    managed_by_servedeck: bool
    """True where servedeck made it."""


async def preview(
    connection: Connection, manifests: Sequence[Manifest], *, force: bool = False
) -> tuple[Preview, ...]:
    """Ask the API server what applying `manifests` would do, object by object.

    Raises ClusterError only where the server cannot be asked at all; a refusal is part of the
    answer.
    """
    return tuple([await _preview_object(connection, manifest, force) for manifest in manifests])


async def _preview_object(connection: Connection, manifest: Manifest, force: bool) -> Preview:
    place = ObjectRef.from_manifest(manifest)
    try:
        answer = await _send_apply(connection, manifest, dry_run=True, force=force)
        existing = None if answer.status == 201 else await connection.get_json(place.path)
    except ApiError as error:
        return Preview(place, None, await _refusal_with_conflicts(connection, manifest, error))
    stored = answer.json()
    found = admission_changes(manifest, stored)
    if existing is None:
        return Preview(place, PreviewAction.CREATE, admission_changes=tuple(found))
    # What others added before is theirs, and not what admission makes of this write.
    there = set(admission_changes(manifest, existing))
    found = [one for one in found if one.sent or one not in there]
    changes = diff_objects(
        _without_server_managed_fields(existing), _without_server_managed_fields(stored)
    )
    action = PreviewAction.CHANGE if changes else PreviewAction.UNCHANGED
    restarts = place.kind == "Deployment" and _restarts_pods(existing, stored)
    return Preview(place, action, None, tuple(found), tuple(changes), restarts)


def _restarts_pods(before: Manifest, after: Manifest) -> bool:
    """Whether a Deployment that has Pods replaces them: its template differs and it rolls out."""
    old, new = _as_mapping(before.get("spec")), _as_mapping(after.get("spec"))
    has_pods = bool(old.get("replicas")) and not new.get("paused")
    return has_pods and old.get("template") != new.get("template")


async def _refusal_with_conflicts(
    connection: Connection, manifest: Manifest, error: ApiError
) -> Refusal:
    """A refusal; a conflict with the values that stand against each other, where they may be
    read."""
    refused = refusal_from_api_error(error)
    if refused.reason is not RefusalReason.CONFLICT:
        return refused
    existing: Manifest = {}
    with contextlib.suppress(ApiError):  # the conflict is told without the values then
        existing = await connection.get_json(ObjectRef.from_manifest(manifest).path)
    return replace(refused, conflicts=parse_conflicts(error.causes, manifest, existing))


async def preview_pod(connection: Connection, deployment: Manifest) -> Refusal | None:
    """Ask whether one Pod of `deployment` would be let in: quota, limits and Pod security are
    checked on Pods only, so a Deployment's own dry run says nothing of them.

    None where the Pod is admitted or the right to ask is missing.
    """
    template = deployment["spec"]["template"]
    namespace = deployment["metadata"]["namespace"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{deployment['metadata']['name'][:50]}-preview-",
            "namespace": namespace,
            "labels": dict(template["metadata"].get("labels", {})),
        },
        "spec": template["spec"],
    }
    try:
        answer = await connection.request(
            "POST",
            POD.collection_path(namespace),
            params=[("dryRun", "All"), ("fieldManager", FIELD_MANAGER)],
            body=json.dumps(pod).encode(),
            content_type="application/json",
        )
    except ApiError as error:
        refused = refusal_from_api_error(error)
        return None if refused.reason is RefusalReason.PERMISSION else refused
    answer.json()  # a page of somebody in between is no yes
    return None


async def apply(
    connection: Connection,
    manifests: Sequence[Manifest],
    *,
    create: bool = False,
    force: bool = False,
    on_applied: Callable[[AppliedObject], None] = lambda made: None,
) -> ApplyResult:
    """Apply `manifests` in their order and stop at the first that is refused.

    With `create`, an object that exists already is a refusal, not a change. With `force`, fields
    that others own are taken over. The outcome says what was made until then. Where the connection
    was lost before an answer came, the object is asked for once more, so that it is not left out of
    what undo removes.
    """
    made: list[AppliedObject] = []
    for manifest in manifests:
        place = ObjectRef.from_manifest(manifest)
        try:
            before = await _fetch_uid(connection, place)
        except ClusterError as error:
            return ApplyResult(tuple(made), _refusal_from_error(error), place)
        if before is not None and create:
            return ApplyResult(tuple(made), _already_exists(place), place)
        try:
            answer = await _send_apply(connection, manifest, force=force)
            uid = _object_uid(answer.json())
        except ApiError as error:
            return ApplyResult(tuple(made), _refusal_from_error(error), place)
        except ClusterError as error:
            with contextlib.suppress(ClusterError):  # still away: then only the operator can look
                after = await _fetch_uid(connection, place)
                if before is None and after is not None:
                    made.append(AppliedObject(place, after, created=True))
            return ApplyResult(tuple(made), _refusal_from_error(error), place)
        if before is None and answer.status != 201:
            # Between our look and our write somebody else made it: it is theirs.
            return ApplyResult(tuple(made), _already_exists(place), place)
        made.append(AppliedObject(place, uid, created=before is None))
        on_applied(made[-1])
    return ApplyResult(tuple(made))


async def _fetch_uid(connection: Connection, ref: ObjectRef) -> str | None:
    """uid of the object that stands at `place`, None where none does."""
    try:
        return _object_uid(await connection.get_json(ref.path))
    except ApiError as error:
        if error.code == 404:
            return None
        raise


def _object_uid(obj: Manifest) -> str:
    uid = _as_mapping(obj.get("metadata")).get("uid")
    if not isinstance(uid, str) or not uid:
        raise InvalidResponseError(
            "The server answered with an object without uid; is it a Kubernetes API?"
        )
    return uid


def _already_exists(ref: ObjectRef) -> Refusal:
    return Refusal(RefusalReason.ALREADY_EXISTS, f"{ref} already exists; choose another name.")


async def rollback_created(
    connection: Connection, applied: Sequence[AppliedObject]
) -> tuple[tuple[ObjectRef, Refusal], ...]:
    """Delete what `apply` created, last first; returns what could not be deleted and why.

    The uid is a precondition: an object that somebody put there since then stays.
    """
    left: list[tuple[ObjectRef, Refusal]] = []
    for one in reversed(applied):
        if not one.created:
            continue
        body = {"preconditions": {"uid": one.uid}, "propagationPolicy": "Background"}
        try:
            await connection.request(
                "DELETE",
                one.ref.path,
                body=json.dumps(body).encode(),
                content_type="application/json",
            )
        except ClusterError as error:
            if not isinstance(error, ApiError) or error.code not in (404, 409):
                left.append((one.ref, _refusal_from_error(error)))
    return tuple(left)


async def find_existing(
    connection: Connection, manifests: Sequence[Manifest]
) -> tuple[Ownership, ...]:
    """The objects of `manifests` that exist already; objects that may not be read count as free,
    since applying will tell."""
    found: list[Ownership] = []
    for manifest in manifests:
        place = ObjectRef.from_manifest(manifest)
        try:
            stored = await connection.get_json(place.path)
        except ApiError as error:
            if error.code in (403, 404):
                continue
            raise
        meta = _as_mapping(stored.get("metadata"))
        fields = meta.get("managedFields")
        managers = {
            one_line(sanitize(str(_as_mapping(field).get("manager"))))
            for field in (fields if isinstance(fields, list) else ())
        }
        ours = _as_mapping(meta.get("labels")).get(MANAGED_BY_LABEL) == FIELD_MANAGER
        found.append(Ownership(place, tuple(sorted(managers)), ours))
    return tuple(found)


def _send_apply(
    connection: Connection, manifest: Manifest, *, dry_run: bool = False, force: bool = False
) -> Awaitable[ApiResponse]:
    params = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
    if dry_run:
        params.append(("dryRun", "All"))
    if force:
        params.append(("force", "true"))
    is_update = "resourceVersion" in manifest["metadata"]
    return connection.request(
        "PUT" if is_update else "PATCH",
        ObjectRef.from_manifest(manifest).path,
        params=[one for one in params if not is_update or one[0] != "force"],
        body=encode_manifest(manifest),
        content_type="application/json" if is_update else _APPLY_PATCH_TYPE,
    )


# -- reading the server's answers ---------------------------------------------------------------

_UNDECLARED_FIELD_PATTERN = re.compile(r"(\.[\w.\[\]\"=/-]+): field not declared in schema")


def refusal_from_api_error(error: ApiError) -> Refusal:
    """What a refused write means. The server uses 403 for four different things and answers an
    unknown field of server-side apply with 500; the message tells them apart."""
    text = one_line(sanitize(error.message or str(error)))
    fields = tuple(
        one_line(sanitize(str(cause["field"]))) for cause in error.causes if cause.get("field")
    )
    if error.code == 409 and error.reason == "AlreadyExists":
        return Refusal(RefusalReason.ALREADY_EXISTS, text)
    if error.code == 409:
        return Refusal(RefusalReason.CONFLICT, text, fields)
    if error.code == 403:
        if "quota" in text:
            return Refusal(RefusalReason.QUOTA, text)
        if " cannot " in text:
            return Refusal(RefusalReason.PERMISSION, str(error))
        return Refusal(RefusalReason.POLICY, text)
    if error.code == 404:
        if error.details.get("kind") == "namespaces" or "namespaces " in text:
            return Refusal(
                RefusalReason.NAMESPACE_NOT_FOUND, f"{text}: create it or choose another namespace."
            )
        return Refusal(RefusalReason.UNKNOWN_KIND, "The cluster does not have this kind of object.")
    if error.code in (400, 422) or _UNDECLARED_FIELD_PATTERN.search(text):
        undeclared = tuple(_UNDECLARED_FIELD_PATTERN.findall(text))
        return Refusal(RefusalReason.INVALID, text, fields or undeclared)
    return Refusal(RefusalReason.SERVER_ERROR, str(error))


def _refusal_from_error(error: ClusterError) -> Refusal:
    """The same for any failure: without an answer, the server is what is wrong."""
    return (
        refusal_from_api_error(error)
        if isinstance(error, ApiError)
        else Refusal(RefusalReason.SERVER_ERROR, str(error))
    )


_SERVER_MANAGED_FIELDS = (
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
)


def _without_server_managed_fields(obj: Manifest) -> dict[str, Any]:
    meta = _as_mapping(obj.get("metadata"))
    meta = {key: value for key, value in meta.items() if key not in _SERVER_MANAGED_FIELDS}
    # The Deployment's controller may write it between the two answers that are compared.
    notes = {
        k: v for k, v in _as_mapping(meta.get("annotations")).items() if k != REVISION_ANNOTATION
    }
    return {**obj, "metadata": {**meta, "annotations": notes}, "status": None}


def _as_mapping(value: Any) -> Mapping[str, Any]:
    """An object of the server's answer; {} where something else stands there."""
    return value if isinstance(value, Mapping) else {}
