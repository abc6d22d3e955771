"""What turning an async queue on or off would do now, and what it did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from servedeck.changes.async_queue.settings_conflicts import with_settings_conflicts
from servedeck.changes.object_writes import ObjectWrite, preview_writes
from servedeck.changes.operations.operation import ObjectDeletion, Outcome
from servedeck.cluster.apply import ObjectRef, Preview, PreviewAction
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.rejection import RejectionReason
from servedeck.serving.async_limits import LIMITS, AsyncQueueSettings, LimitChange, format_limit
from servedeck.serving.objects.field_changes import FieldChange


class AsyncQueueAction(StrEnum):
    """The value is the last word of the command."""

    ON = "on"
    OFF = "off"


CHANGE_PERMISSIONS = (("patch", "configmaps"), ("patch", "deployments.apps"))
"""Verb and resource, as in kubectl, that turning it on or changing its limits needs in any case;
the names are the gateway's. deploy/rbac/async.yaml has all."""


@dataclass(frozen=True, slots=True)
class AsyncQueueOptions:
    """What somebody wants of an async queue."""

    action: AsyncQueueAction
    namespace: str
    serving: str
    changes: tuple[tuple[str, Any], ...] = ()
    """Of ON: names of AsyncQueueSettings and their values; others stay as they are."""
    force: bool = False
    """Overwrite fields that other managers have set."""
    seen: AsyncQueueSettings | None = None
    """Of a change of the limits of a queue that is on: those that somebody saw who chose `changes`.
    The change is refused if others have changed the same ones since, or turned the queue off. None:
    it does not matter."""

    @property
    def target(self) -> str:
        """ "chat/llama"."""
        return f"{self.namespace}/{self.serving}"


@dataclass(frozen=True, slots=True)
class AsyncQueuePlan:
    """All sentences are sanitized."""

    options: AsyncQueueOptions
    blocked: str = ""
    """Why it is not possible, one sentence; nothing is sent then."""
    unchanged: str = ""
    """Why there is nothing to do, one sentence."""
    creates_secret: bool = False
    """Whether the Secret with random keys is made."""
    creates_view_secret: bool = False
    """Whether the Secret for viewers is made, which needs the one with random keys."""
    replaced_view_secret: ObjectDeletion | None = None
    """The Secret for viewers that has another key, and is deleted before it is made again."""
    password_from: str = ""
    """Secret that the password of the store is copied from, namespace/name/key; "" for none."""
    writes: tuple[ObjectWrite, ...] = ()
    """Of the gateway's objects, before those of the routes."""
    route_writes: tuple[ObjectWrite, ...] = ()
    deletions: tuple[ObjectDeletion, ...] = ()
    """Of OFF, in the order in which they are sent: callers are shut out by the first ones, before
    the tasks are counted."""
    rejections: tuple[Preview, ...] = ()
    """Writes that the API server, or a conflict with another manager, does not allow."""
    effects: tuple[str, ...] = ()
    """What happens, in sentences."""
    kept: tuple[str, ...] = ()
    """What stays when it is turned off, "Secret llama-async"."""
    warnings: tuple[str, ...] = ()
    limit_changes: tuple[LimitChange, ...] = ()
    """Of ON: limits that change; all where the queue is off."""
    settings: AsyncQueueSettings | None = None
    """Of ON: as they would be."""
    closed: bool | None = False
    """Of ON: whether the queue accepts no task; None if it is not known."""
    unfinished: int | None = 0
    """Of OFF: tasks that have not ended; None if it is not known."""

    @property
    def differences(self) -> tuple[FieldChange, ...]:
        """The limits that change, as text."""
        return tuple(
            FieldChange(
                LIMITS[one.name].label,
                "none" if one.old is None else format_limit(one.name, one.old),
                format_limit(one.name, one.new),
            )
            for one in self.limit_changes
        )

    @property
    def is_possible(self) -> bool:
        return not (self.blocked or self.unchanged)

    @property
    def opens_queue(self) -> bool:
        """Of ON: whether the queue is opened, or may be. A change of the limits opens none."""
        return self.closed is not False and self.options.seen is None

    @property
    def needs_cancellation(self) -> bool:
        """Whether tasks are cancelled, or may be lost, which must be confirmed."""
        return self.unfinished is None or self.unfinished > 0


@dataclass(frozen=True, slots=True)
class AsyncQueueResult:
    options: AsyncQueueOptions
    outcome: Outcome
    message: str
    """What happened, in sentences."""
    lost: ObjectRef | None = None
    """Of UNKNOWN: the object of the request whose response was lost."""


async def with_previews(connection: Connection, plan: AsyncQueuePlan) -> AsyncQueuePlan:
    """The plan after a dry run of its writes: without those that change nothing, and blocked if one
    is rejected. Raises ClusterError."""
    sent = (*plan.writes, *plan.route_writes)
    previews = await preview_writes(connection, sent, force=plan.options.force)
    created = {(one.ref.kind, one.ref.name) for one in previews if _is_created(one)}
    previews = tuple(_with_role(one, created) for one in previews)
    previews = tuple(map(with_settings_conflicts, previews, sent))
    rejections = tuple(one for one in previews if one.rejection is not None)
    changing = {one.ref for one in previews if one.action is not PreviewAction.UNCHANGED}
    warnings = dict.fromkeys(text for one in previews for text in one.warnings)
    plan = replace(
        plan,
        writes=tuple(one for one in plan.writes if one.ref in changing),
        route_writes=tuple(one for one in plan.route_writes if one.ref in changing),
        rejections=rejections,
        warnings=(*plan.warnings, *warnings),
    )
    if not rejections:
        return plan
    first = rejections[0].rejection
    assert first is not None
    return replace(plan, blocked=f"{rejections[0].ref}: {first.message}")


def _is_created(preview: Preview) -> bool:
    return preview.action is PreviewAction.CREATE


def _with_role(preview: Preview, created: set[tuple[str, str]]) -> Preview:
    """A RoleBinding whose Role is made by the same plan: the dry run did not store the Role, so
    that who may not bind any role is told that it is not found (404)."""
    found = preview.rejection
    is_unknown = (
        preview.ref.kind == "RoleBinding"
        and ("Role", preview.ref.name) in created
        and found is not None
        and found.reason is RejectionReason.UNKNOWN_KIND
    )
    return Preview(preview.ref, PreviewAction.CREATE) if is_unknown else preview


def join(refs: Iterable[ObjectRef]) -> str:
    """ "Service llama-async, Role llama-async"."""
    return ", ".join(f"{one.kind} {one.name}" for one in refs)
