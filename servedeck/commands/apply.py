"""Applying and exporting servings without a screen, for scripts and GitOps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servedeck.changes.inventory import Surroundings
from servedeck.changes.live_objects import stored
from servedeck.changes.plan import review
from servedeck.changes.platform_settings import platform_of
from servedeck.cluster.apply import Action, Preview, Refusal, Why, apply
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import AnswerError, ApiError, ClusterError
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE, Settings
from servedeck.serving.objects import import_objects
from servedeck.serving.objects.manifests import Shape
from servedeck.serving.objects.routes import Platform, RouteKind
from servedeck.serving.objects.unmanaged_fields import Leftover
from servedeck.serving.spec.document import place_of, to_yaml
from servedeck.serving.spec.issues import Severity
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import clip, one_line, sanitise

Say = Callable[[str], None]


class NoServingError(ClusterError):
    """There is no Deployment of that name."""


@dataclass(frozen=True, slots=True)
class Exported:
    yaml: str
    leftovers: tuple[str, ...]
    """What the objects say and the document does not, a sentence for each."""


async def export(connection: Connection, namespace: str, name: str) -> Exported:
    """The document of a serving that runs. Raises ClusterError, NoServingError among them."""
    objects = await stored(connection, namespace, name)
    if not objects:
        raise NoServingError(f"There is no Deployment {name} in namespace {namespace}.")
    read = import_objects.read(objects)
    return Exported(to_yaml(read.spec), tuple(map(said, read.leftovers)))


def said(leftover: Leftover) -> str:
    """A leftover in words."""
    where = one_line(sanitise(f"{leftover.object} {leftover.path}".strip()))
    then = "leaves it as it is" if leftover.kept else "writes its own in its place"
    return f"{where} is not in the document; applying it {then}."


async def route_kinds(connection: Connection) -> frozenset[RouteKind]:
    """Kinds of route that the API server knows."""
    groups = (await connection.get_json("/apis")).get("groups")
    if not isinstance(groups, list):
        raise AnswerError("The server names no API groups; is it a Kubernetes API?")
    names = {str(group.get("name")) for group in groups if isinstance(group, dict)}
    owners = {
        "gateway.networking.k8s.io": RouteKind.HTTP_ROUTE,
        "networking.istio.io": RouteKind.VIRTUAL_SERVICE,
        "networking.k8s.io": RouteKind.INGRESS,
    }
    return frozenset(kind for group, kind in owners.items() if group in names)


async def platform(connection: Connection, settings: Settings) -> Platform:
    """The platform of new servings: settings, completed by the cluster's ConfigMap where it may be
    read. Raises ClusterError where the server cannot be reached."""
    place = f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/configmaps/{PLATFORM_CONFIGMAP}"
    try:
        data = (await connection.get_json(place)).get("data")
    except ApiError as error:
        if error.code not in (403, 404):  # else a busy server would change where servings go
            raise
    else:
        if isinstance(data, dict):
            texts = {key: value for key, value in data.items() if isinstance(value, str)}
            settings, _ = settings.with_platform(texts)
    kinds = await route_kinds(connection)
    return platform_of(settings, kinds.__contains__)


async def apply_all(
    connection: Connection,
    specs: Sequence[ServingSpec],
    platform: Platform,
    *,
    dry_run: bool,
    say: Say,
    complain: Say,
    force: bool = False,
) -> bool:
    """Apply servings one by one, a line for each object and for what changes in it; True where all
    were accepted.

    A serving with an error is not applied at all. With `force`, fields that others own are taken
    over; without, they are an error. Raises ClusterError where the server cannot be
    reached.
    """
    namespaces = {spec.project for spec in specs}
    surroundings = Surroundings(connection, namespaces.pop() if len(namespaces) == 1 else "")
    surroundings.start()
    try:
        await surroundings.known()
        good = True
        for spec in specs:
            good &= await _apply_one(
                connection, spec, platform, surroundings, dry_run, say, complain, force
            )
        return good
    finally:
        await surroundings.close()


async def _apply_one(
    connection: Connection,
    spec: ServingSpec,
    platform: Platform,
    surroundings: Surroundings,
    dry_run: bool,
    say: Say,
    complain: Say,
    force: bool,
) -> bool:
    objects = await stored(connection, spec.project, spec.name)
    shape: Shape | None = None
    if objects:
        # What cannot be chosen anew (the selector) or was routed otherwise stays as it is.
        now = import_objects.read(objects)
        shape = now.shape
        platform = now.platform if now.platform.host else platform
    told = await review(
        connection, spec, platform, surroundings, create=False, shape=shape, force=force
    )
    # A serving that stays as it is may have its troubles: they are no reason to refuse it.
    stays = bool(told.previews) and all(one.action is Action.UNCHANGED for one in told.previews)
    conflicts = {
        one.refusal.message: one
        for one in told.previews
        if one.refusal is not None and _is_conflict(one.refusal)
    }
    for problem in told.problems:
        if problem.message in conflicts:
            _explain(spec, conflicts[problem.message], complain)
            continue
        field = f"{place_of(problem.field)}: " if problem.field else ""
        severity = Severity.WARNING if stays else problem.severity
        complain(f"{severity}: {spec.name}: {field}{problem.message}")
    if not (told.can_deploy or stays):
        return False
    if told.capacity and any(one.action is Action.CREATE for one in told.previews):
        complain(f"note: {spec.name}: {told.capacity}")
    if dry_run:
        for shown in told.previews:
            say(f"{_named(shown)} {_done(shown)} (server dry run)")
            _tell_changes(shown, say)
            for change in shown.admission:
                complain(f"note: admission sets {change.path} to {change.stored!r}")
        return True
    outcome = await apply(connection, told.manifests, force=force)
    for shown in told.previews[: len(outcome.made)]:
        say(f"{_named(shown)} {_done(shown)}")
        _tell_changes(shown, say)
    if outcome.refusal:
        complain(f"error: {outcome.failed}: {outcome.refusal.message}")
        if _is_conflict(outcome.refusal):
            complain(_WAYS_OUT)
    return outcome.refusal is None


_MOST_CHANGES = 20
_LONGEST_VALUE = 60
_WAYS_OUT = (
    "  To keep what they set, export the serving again and edit that; to overwrite it, give"
    " --force-conflicts."
)


def _tell_changes(shown: Preview, say: Say) -> None:
    for change in shown.changes[:_MOST_CHANGES]:
        old, new = clip(change.old, _LONGEST_VALUE), clip(change.new, _LONGEST_VALUE)
        say(f"  {change.path}: {old} -> {new}")
    if len(shown.changes) > _MOST_CHANGES:
        say(f"  … and {len(shown.changes) - _MOST_CHANGES} more")
    if shown.restarts:
        say("  its Pods restart")


def _is_conflict(refused: Refusal | None) -> bool:
    return refused is not None and refused.why is Why.CONFLICT


def _explain(spec: ServingSpec, shown: Preview, complain: Say) -> None:
    """Whose fields they are that the file sets otherwise, and the ways out."""
    assert shown.refusal is not None
    found = shown.refusal.conflicts
    if not found:
        complain(f"error: {spec.name}: {shown.refusal.message}")
    else:
        complain(f"error: {spec.name}: {_named(shown)} has fields that somebody else set:")
    for one in found[:_MOST_CHANGES]:
        theirs, ours = clip(one.theirs, _LONGEST_VALUE), clip(one.ours, _LONGEST_VALUE)
        complain(f"  {one.path}: {one.manager} set {theirs}, the file says {ours}")
    if len(found) > _MOST_CHANGES:
        complain(f"  … and {len(found) - _MOST_CHANGES} more")
    complain(_WAYS_OUT)


def _named(shown: Preview) -> str:
    group = shown.place.api_version.partition("/")[0] if "/" in shown.place.api_version else ""
    kind = shown.place.kind.lower() + (f".{group}" if group else "")
    return f"{kind}/{shown.place.name}"


def _done(shown: Preview) -> str:
    words = {Action.CREATE: "created", Action.CHANGE: "configured", Action.UNCHANGED: "unchanged"}
    return words[shown.action or Action.UNCHANGED]
