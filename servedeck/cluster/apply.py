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

from servedeck.cluster.http.connection import Answer, Connection
from servedeck.cluster.http.errors import AnswerError, ApiError, ClusterError
from servedeck.serving.objects.diff import (
    Change,
    Conflict,
    Difference,
    admitted,
    changed,
    conflicts,
)
from servedeck.serving.objects.manifests import encode
from servedeck.serving.objects.records import MANAGED_BY_LABEL, MANAGER, REVISION_ANNOTATION
from servedeck.serving.text import one_line, sanitise

Manifest = Mapping[str, Any]

PLURALS = {
    "Deployment": "deployments",
    "Service": "services",
    "HTTPRoute": "httproutes",
    "VirtualService": "virtualservices",
    "Ingress": "ingresses",
    "Pod": "pods",
}
"""Kinds that servedeck writes or previews."""

_APPLY = "application/apply-patch+yaml"


class Place(NamedTuple):
    """Where an object lives."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> Place:
        meta = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], meta["namespace"], meta["name"])

    @property
    def collection(self) -> str:
        root = (
            f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        )
        return f"{root}/namespaces/{quote(self.namespace, safe='')}/{PLURALS[self.kind]}"

    @property
    def path(self) -> str:
        return f"{self.collection}/{quote(self.name, safe='')}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Why(StrEnum):
    """What kind of no the API server gave; the screens offer a different way out for each."""

    TAKEN = "name taken"
    PERMISSION = "permission"
    QUOTA = "quota"
    POLICY = "policy"
    INVALID = "invalid"
    CONFLICT = "conflict"
    NAMESPACE = "namespace"
    UNKNOWN_KIND = "unknown kind"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Refusal:
    why: Why
    message: str
    """One sentence, sanitised."""
    fields: tuple[str, ...] = ()
    """Paths of the object that the server named, ".spec.replicas"."""
    conflicts: tuple[Conflict, ...] = ()
    """For a conflict, whose field each is and both values."""


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Preview:
    """What one object would become; nothing was stored."""

    place: Place
    action: Action | None
    """None where the server refuses."""
    refusal: Refusal | None = None
    admission: tuple[Difference, ...] = ()
    changes: tuple[Change, ...] = ()
    """Fields of the stored object that would change."""
    restarts: bool = False
    """Whether the Pods of this Deployment would be replaced."""


class Made(NamedTuple):
    place: Place
    uid: str
    created: bool
    """False where the object stood there before: undo leaves such an object alone."""


@dataclass(frozen=True, slots=True)
class Outcome:
    made: tuple[Made, ...]
    refusal: Refusal | None = None
    failed: Place | None = None


class Owner(NamedTuple):
    """Whose an existing object is, as far as it says so itself."""

    place: Place
    managers: tuple[str, ...]
    ours: bool
    """True where servedeck made it."""


async def preview(
    connection: Connection, manifests: Sequence[Manifest], *, force: bool = False
) -> tuple[Preview, ...]:
    """Ask the API server what applying `manifests` would do, object by object.

    Raises ClusterError only where the server cannot be asked at all; a refusal is part of the
    answer.
    """
    return tuple([await _preview(connection, manifest, force) for manifest in manifests])


async def _preview(connection: Connection, manifest: Manifest, force: bool) -> Preview:
    place = Place.of(manifest)
    try:
        answer = await _apply(connection, manifest, dry_run=True, force=force)
        existing = None if answer.status == 201 else await connection.get_json(place.path)
    except ApiError as error:
        return Preview(place, None, await _refusal_in_full(connection, manifest, error))
    stored = answer.json()
    found = admitted(manifest, stored)
    if existing is None:
        return Preview(place, Action.CREATE, admission=tuple(found))
    # What others added before is theirs, and not what admission makes of this write.
    there = set(admitted(manifest, existing))
    found = [one for one in found if one.sent or one not in there]
    changes = changed(_without_bookkeeping(existing), _without_bookkeeping(stored))
    action = Action.CHANGE if changes else Action.UNCHANGED
    restarts = place.kind == "Deployment" and _restarts(existing, stored)
    return Preview(place, action, None, tuple(found), tuple(changes), restarts)


def _restarts(before: Manifest, after: Manifest) -> bool:
    """Whether a Deployment that has Pods replaces them: its template differs and it rolls out."""
    old, new = _mapping(before.get("spec")), _mapping(after.get("spec"))
    has_pods = bool(old.get("replicas")) and not new.get("paused")
    return has_pods and old.get("template") != new.get("template")


async def _refusal_in_full(connection: Connection, manifest: Manifest, error: ApiError) -> Refusal:
    """A refusal; a conflict with the values that stand against each other, where they may be
    read."""
    refused = refusal(error)
    if refused.why is not Why.CONFLICT:
        return refused
    existing: Manifest = {}
    with contextlib.suppress(ApiError):  # the conflict is told without the values then
        existing = await connection.get_json(Place.of(manifest).path)
    return replace(refused, conflicts=conflicts(error.causes, manifest, existing))


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
            f"/api/v1/namespaces/{namespace}/pods",
            params=[("dryRun", "All"), ("fieldManager", MANAGER)],
            body=json.dumps(pod).encode(),
            content_type="application/json",
        )
    except ApiError as error:
        refused = refusal(error)
        return None if refused.why is Why.PERMISSION else refused
    answer.json()  # a page of somebody in between is no yes
    return None


async def apply(
    connection: Connection,
    manifests: Sequence[Manifest],
    *,
    create: bool = False,
    force: bool = False,
    on_made: Callable[[Made], None] = lambda made: None,
) -> Outcome:
    """Apply `manifests` in their order and stop at the first that is refused.

    With `create`, an object that exists already is a refusal, not a change. With `force`, fields
    that others own are taken over. The outcome says what was made until then. Where the connection
    was lost before an answer came, the object is asked for once more, so that it is not left out of
    what undo removes.
    """
    made: list[Made] = []
    for manifest in manifests:
        place = Place.of(manifest)
        try:
            before = await _uid(connection, place)
        except ClusterError as error:
            return Outcome(tuple(made), _refusal(error), place)
        if before is not None and create:
            return Outcome(tuple(made), _taken(place), place)
        try:
            answer = await _apply(connection, manifest, force=force)
            uid = _uid_of(answer.json())
        except ApiError as error:
            return Outcome(tuple(made), _refusal(error), place)
        except ClusterError as error:
            with contextlib.suppress(ClusterError):  # still away: then only the operator can look
                after = await _uid(connection, place)
                if before is None and after is not None:
                    made.append(Made(place, after, created=True))
            return Outcome(tuple(made), _refusal(error), place)
        if before is None and answer.status != 201:
            # Between our look and our write somebody else made it: it is theirs.
            return Outcome(tuple(made), _taken(place), place)
        made.append(Made(place, uid, created=before is None))
        on_made(made[-1])
    return Outcome(tuple(made))


async def _uid(connection: Connection, place: Place) -> str | None:
    """uid of the object that stands at `place`, None where none does."""
    try:
        return _uid_of(await connection.get_json(place.path))
    except ApiError as error:
        if error.code == 404:
            return None
        raise


def _uid_of(stored: Manifest) -> str:
    uid = _mapping(stored.get("metadata")).get("uid")
    if not isinstance(uid, str) or not uid:
        raise AnswerError("The server answered with an object without uid; is it a Kubernetes API?")
    return uid


def _taken(place: Place) -> Refusal:
    return Refusal(Why.TAKEN, f"{place} exists already; choose another name.")


async def undo(connection: Connection, made: Sequence[Made]) -> tuple[tuple[Place, Refusal], ...]:
    """Delete what `apply` created, last first; returns what could not be deleted and why.

    The uid is a precondition: an object that somebody put there since then stays.
    """
    left: list[tuple[Place, Refusal]] = []
    for one in reversed(made):
        if not one.created:
            continue
        body = {"preconditions": {"uid": one.uid}, "propagationPolicy": "Background"}
        try:
            await connection.request(
                "DELETE",
                one.place.path,
                body=json.dumps(body).encode(),
                content_type="application/json",
            )
        except ClusterError as error:
            if not isinstance(error, ApiError) or error.code not in (404, 409):
                left.append((one.place, _refusal(error)))
    return tuple(left)


async def taken(connection: Connection, manifests: Sequence[Manifest]) -> tuple[Owner, ...]:
    """The objects of `manifests` that exist already; objects that may not be read count as free,
    since applying will tell."""
    found: list[Owner] = []
    for manifest in manifests:
        place = Place.of(manifest)
        try:
            stored = await connection.get_json(place.path)
        except ApiError as error:
            if error.code in (403, 404):
                continue
            raise
        meta = _mapping(stored.get("metadata"))
        fields = meta.get("managedFields")
        managers = {
            one_line(sanitise(str(_mapping(field).get("manager"))))
            for field in (fields if isinstance(fields, list) else ())
        }
        ours = _mapping(meta.get("labels")).get(MANAGED_BY_LABEL) == MANAGER
        found.append(Owner(place, tuple(sorted(managers)), ours))
    return tuple(found)


def _apply(
    connection: Connection, manifest: Manifest, *, dry_run: bool = False, force: bool = False
) -> Awaitable[Answer]:
    params = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
    if dry_run:
        params.append(("dryRun", "All"))
    if force:
        params.append(("force", "true"))
    return connection.request(
        "PATCH",
        Place.of(manifest).path,
        params=params,
        body=encode(manifest),
        content_type=_APPLY,
    )


# -- reading the server's answers ---------------------------------------------------------------

_FIELD = re.compile(r"(\.[\w.\[\]\"=/-]+): field not declared in schema")


def refusal(error: ApiError) -> Refusal:
    """What a refused write means. The server uses 403 for four different things and answers an
    unknown field of server-side apply with 500; the message tells them apart."""
    text = one_line(sanitise(error.message or str(error)))
    fields = tuple(
        one_line(sanitise(str(cause["field"]))) for cause in error.causes if cause.get("field")
    )
    if error.code == 409 and error.reason == "AlreadyExists":
        return Refusal(Why.TAKEN, text)
    if error.code == 409:
        return Refusal(Why.CONFLICT, text, fields)
    if error.code == 403:
        if "quota" in text:
            return Refusal(Why.QUOTA, text)
        if " cannot " in text:
            return Refusal(Why.PERMISSION, str(error))
        return Refusal(Why.POLICY, text)
    if error.code == 404:
        if error.details.get("kind") == "namespaces" or "namespaces " in text:
            return Refusal(Why.NAMESPACE, f"{text}: create it or choose another namespace.")
        return Refusal(Why.UNKNOWN_KIND, "The cluster does not know this kind of object.")
    if error.code in (400, 422) or _FIELD.search(text):
        undeclared = tuple(_FIELD.findall(text))
        return Refusal(Why.INVALID, text, fields or undeclared)
    return Refusal(Why.SERVER, str(error))


def _refusal(error: ClusterError) -> Refusal:
    """The same for any failure: without an answer, the server is what is wrong."""
    return refusal(error) if isinstance(error, ApiError) else Refusal(Why.SERVER, str(error))


_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid")


def _without_bookkeeping(stored: Manifest) -> dict[str, Any]:
    meta = _mapping(stored.get("metadata"))
    meta = {key: value for key, value in meta.items() if key not in _BOOKKEEPING}
    # The Deployment's controller may write it between the two answers that are compared.
    notes = {k: v for k, v in _mapping(meta.get("annotations")).items() if k != REVISION_ANNOTATION}
    return {**stored, "metadata": {**meta, "annotations": notes}, "status": None}


def _mapping(value: Any) -> Mapping[str, Any]:
    """An object of the server's answer; {} where something else stands there."""
    return value if isinstance(value, Mapping) else {}
