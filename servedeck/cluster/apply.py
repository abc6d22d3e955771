"""Server-side apply: writing objects, previewing a write with a dry run, and rolling it back.

Every write uses the field manager `servedeck`. A field owned by another manager results in a
conflict, which is returned unless `force` is set. A manifest with a resource version is a whole
object: it replaces the one of that version (an update). Writes are never retried.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote

from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import ApiError, ClusterError, InvalidResponseError
from servedeck.cluster.http.response_warnings import read_warnings
from servedeck.cluster.rejection import (
    Rejection,
    RejectionReason,
    rejection_from_api_error,
    rejection_from_error,
)
from servedeck.cluster.resources import POD, RESOURCES_BY_KIND
from servedeck.serving.conventions import FIELD_MANAGER, MANAGED_BY_LABEL
from servedeck.serving.edit.restart_forecast import restarts_pods
from servedeck.serving.objects.field_changes import (
    AdmissionChange,
    FieldChange,
    admission_changes,
    find_field_changes,
    parse_conflicts,
)
from servedeck.serving.objects.manifests import encode_manifest
from servedeck.serving.objects.records import REVISION_ANNOTATION
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.text import one_line, sanitize

Manifest = Mapping[str, Any]

_APPLY_PATCH_TYPE = "application/apply-patch+yaml"


class ObjectRef(NamedTuple):
    """API version, kind, namespace and name of an object."""

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


class PreviewAction(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Preview:
    """Result of a dry run for one object; nothing is stored."""

    ref: ObjectRef
    action: PreviewAction | None
    """None if the server rejects the write."""
    rejection: Rejection | None = None
    admission_changes: tuple[AdmissionChange, ...] = ()
    field_changes: tuple[FieldChange, ...] = ()
    """Fields of the stored object that would change."""
    restarts_pods: bool = False
    """True if the change replaces the Pods of this Deployment."""
    warnings: tuple[str, ...] = ()
    """Warnings of the API server and its admission webhooks."""
    stored: JsonObject | None = field(default=None, compare=False, repr=False)
    """The object as it would be stored, with what admission changes; None if nothing is sent, or
    it is rejected or deleted."""


class AppliedObject(NamedTuple):
    ref: ObjectRef
    uid: str
    created: bool
    """False if the object already existed; a rollback does not delete it."""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    applied: tuple[AppliedObject, ...]
    rejection: Rejection | None = None
    failed_ref: ObjectRef | None = None


class ExistingObject(NamedTuple):
    """Field managers of an existing object."""

    ref: ObjectRef
    managers: tuple[str, ...]
    managed_by_servedeck: bool
    """True if the object has servedeck's managed-by label."""
    is_being_deleted: bool = False
    """Whether it waits for its finalizers."""


async def preview(
    connection: Connection, manifests: Sequence[Manifest], *, force: bool = False
) -> tuple[Preview, ...]:
    """Dry-run `manifests`, one by one. Rejections are part of the result.

    Raises ClusterError if the server cannot be reached or its response is invalid.
    """
    return tuple([await _preview_object(connection, manifest, force) for manifest in manifests])


async def _preview_object(connection: Connection, manifest: Manifest, force: bool) -> Preview:
    ref = ObjectRef.from_manifest(manifest)
    try:
        response = await send_object(connection, manifest, dry_run=True, force=force)
        existing = None if response.status == 201 else await connection.get_json(ref.path)
    except ApiError as error:
        return Preview(ref, None, await _rejection_with_conflicts(connection, manifest, error))
    stored, warnings = response.json(), read_warnings(response.headers)
    # An update has the fields that the server manages as they were read.
    sent, after = (_without_server_managed_fields(one) for one in (manifest, stored))
    admission = admission_changes(sent, after)
    if existing is None:
        changes = tuple(admission)
        return Preview(ref, PreviewAction.CREATE, None, changes, warnings=warnings, stored=stored)
    before = _without_server_managed_fields(existing)
    # Changes already present in the stored object are not caused by this write.
    existing_changes = set(admission_changes(sent, before))
    admission = [change for change in admission if change.sent or change not in existing_changes]
    changed = tuple(find_field_changes(before, after))
    action = PreviewAction.CHANGE if changed else PreviewAction.UNCHANGED
    restarts = ref.kind == "Deployment" and restarts_pods(existing, stored)
    return Preview(ref, action, None, tuple(admission), changed, restarts, warnings, stored)


async def _rejection_with_conflicts(
    connection: Connection, manifest: Manifest, error: ApiError
) -> Rejection:
    """The rejection for `error`; a conflict includes both values, if the object can be read."""
    rejection = rejection_from_api_error(error)
    if rejection.reason is not RejectionReason.CONFLICT:
        return rejection
    existing: Manifest = {}
    with contextlib.suppress(ApiError):  # without them, the conflict is returned without values
        existing = await connection.get_json(ObjectRef.from_manifest(manifest).path)
    return replace(rejection, conflicts=parse_conflicts(error.causes, manifest, existing))


class PodPreview(NamedTuple):
    """The dry run of a Pod."""

    rejection: Rejection | None = None
    pod: Mapping[str, Any] | None = None
    """The Pod as it is admitted, with the defaults of limit ranges; None if it is rejected, or if
    the user may not create Pods."""


async def preview_pod(connection: Connection, deployment: Manifest) -> PodPreview:
    """Dry-run the creation of one Pod of `deployment`. Quotas, limit ranges and Pod security are
    enforced on Pods only, so the dry run of the Deployment does not cover them."""
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
        response = await connection.request(
            "POST",
            POD.collection_path(namespace),
            params=[("dryRun", "All"), ("fieldManager", FIELD_MANAGER)],
            body=json.dumps(pod).encode(),
            content_type="application/json",
        )
    except ApiError as error:
        rejection = rejection_from_api_error(error)
        return PodPreview(None if rejection.reason is RejectionReason.PERMISSION else rejection)
    # Raises for anything but a JSON object, such as a proxy's login page.
    return PodPreview(pod=response.json())


NO_VERSION = "1"
"""A resourceVersion that no object has: the API server writes to its storage before any is created.
A server-side apply with it creates an object that is missing; without it, it would change one that
somebody else creates at the same time."""


async def apply(
    connection: Connection,
    manifests: Sequence[Manifest],
    *,
    create: bool = False,
    force: bool = False,
    version: str = "",
    on_applied: Callable[[AppliedObject], None] = lambda applied: None,
) -> ApplyResult:
    """Apply `manifests` in order; stop at the first rejection.

    With `create`, an existing object is rejected instead of changed. With `force`, fields owned by
    other managers are taken over. With `version`, there is one manifest, of an object with this
    resourceVersion: it is rejected if the object has another one. The result lists the objects
    applied before a rejection. If the connection is lost before a response, the object is read
    again, so that delete_created can delete it if it was created. What does not exist is created or
    rejected: one that another client creates at the same time is not changed.
    """
    applied: list[AppliedObject] = []
    for manifest in manifests:
        ref = ObjectRef.from_manifest(manifest)
        try:
            uid_before = await _fetch_uid(connection, ref)
        except ClusterError as error:
            return ApplyResult(tuple(applied), rejection_from_error(error), ref)
        if uid_before is not None and create:
            return ApplyResult(tuple(applied), _already_exists(ref), ref)
        sent_version = NO_VERSION if uid_before is None else version
        try:
            response = await send_object(connection, manifest, force=force, version=sent_version)
            uid = _object_uid(response.json())
        except ApiError as error:
            rejection = rejection_from_error(error)
            if uid_before is None and error.code == 409:
                with contextlib.suppress(ClusterError):
                    if await _fetch_uid(connection, ref) is not None:
                        rejection = _already_exists(ref)
            return ApplyResult(tuple(applied), rejection, ref)
        except ClusterError as error:
            with contextlib.suppress(ClusterError):  # unreachable: outcome unknown
                uid_after = await _fetch_uid(connection, ref)
                if uid_before is None and uid_after is not None:
                    applied.append(AppliedObject(ref, uid_after, created=True))
            return ApplyResult(tuple(applied), rejection_from_error(error), ref)
        if uid_before is None and response.status != 201:
            # Another client created it between the read and the apply, so it must not be rolled
            # back.
            return ApplyResult(tuple(applied), _already_exists(ref), ref)
        applied.append(AppliedObject(ref, uid, created=uid_before is None))
        on_applied(applied[-1])
    return ApplyResult(tuple(applied))


async def _fetch_uid(connection: Connection, ref: ObjectRef) -> str | None:
    """uid of the object, None if it does not exist."""
    try:
        return _object_uid(await connection.get_json(ref.path))
    except ApiError as error:
        if error.code == 404:
            return None
        raise


def _object_uid(obj: Manifest) -> str:
    uid = as_mapping(obj, "metadata").get("uid")
    if not isinstance(uid, str) or not uid:
        raise InvalidResponseError(
            "The server answered with an object without a uid; is it a Kubernetes API?"
        )
    return uid


def _already_exists(ref: ObjectRef) -> Rejection:
    return Rejection(RejectionReason.ALREADY_EXISTS, f"{ref} already exists; choose another name.")


async def delete_created(
    connection: Connection, applied: Sequence[AppliedObject]
) -> tuple[tuple[ObjectRef, Rejection], ...]:
    """Delete the objects that `apply` created, in reverse order. Returns those that could not be
    deleted, with the reason.

    The uid is a precondition, so an object re-created by another client is not deleted.
    """
    failures: list[tuple[ObjectRef, Rejection]] = []
    for target in reversed(applied):
        if not target.created:
            continue
        body = {"preconditions": {"uid": target.uid}, "propagationPolicy": "Background"}
        try:
            await connection.request(
                "DELETE",
                target.ref.path,
                body=json.dumps(body).encode(),
                content_type="application/json",
            )
        except ClusterError as error:
            if not isinstance(error, ApiError) or error.code not in (404, 409):
                failures.append((target.ref, rejection_from_error(error)))
    return tuple(failures)


async def find_existing(
    connection: Connection, manifests: Sequence[Manifest]
) -> tuple[ExistingObject, ...]:
    """The objects of `manifests` that already exist. Objects that the user may not read are
    omitted; applying them reports the conflict."""
    existing_objects: list[ExistingObject] = []
    for manifest in manifests:
        ref = ObjectRef.from_manifest(manifest)
        try:
            stored = await connection.get_json(ref.path)
        except ApiError as error:
            if error.code in (403, 404):
                continue
            raise
        meta = as_mapping(stored, "metadata")
        fields = meta.get("managedFields")
        managers = {
            one_line(sanitize(str(as_mapping(one).get("manager"))))
            for one in (fields if isinstance(fields, list) else ())
        }
        managed_by_servedeck = as_mapping(meta, "labels").get(MANAGED_BY_LABEL) == FIELD_MANAGER
        existing_objects.append(
            ExistingObject(
                ref,
                tuple(sorted(managers)),
                managed_by_servedeck,
                is_being_deleted=bool(meta.get("deletionTimestamp")),
            )
        )
    return tuple(existing_objects)


def send_object(
    connection: Connection,
    manifest: Manifest,
    *,
    dry_run: bool = False,
    force: bool = False,
    version: str = "",
) -> Awaitable[ApiResponse]:
    """Send one write, once. With `version`, the API server rejects it if the object has another
    resourceVersion. A server-side apply creates an object that is missing, with or without a
    version; only one with a metadata.uid is rejected then. Raises ClusterError."""
    params = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
    if dry_run:
        params.append(("dryRun", "All"))
    if force:
        params.append(("force", "true"))
    is_update = "resourceVersion" in manifest["metadata"]
    if version:
        metadata = {**manifest["metadata"], "resourceVersion": version}
        manifest = {**manifest, "metadata": metadata}
    return connection.request(
        "PUT" if is_update else "PATCH",
        ObjectRef.from_manifest(manifest).path,
        params=[one for one in params if not is_update or one[0] != "force"],
        body=encode_manifest(manifest),
        content_type="application/json" if is_update else _APPLY_PATCH_TYPE,
    )


_SERVER_MANAGED_FIELDS = (
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
)


def _without_server_managed_fields(obj: Manifest) -> dict[str, Any]:
    meta = as_mapping(obj, "metadata")
    meta = {key: value for key, value in meta.items() if key not in _SERVER_MANAGED_FIELDS}
    # The Deployment controller may update it between the two responses that are compared.
    annotations = {
        k: v for k, v in as_mapping(meta, "annotations").items() if k != REVISION_ANNOTATION
    }
    return {**obj, "metadata": {**meta, "annotations": annotations}, "status": None}
