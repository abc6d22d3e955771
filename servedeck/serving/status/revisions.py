"""The revisions of a Deployment: one for each of its ReplicaSets, and who changed them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from servedeck.serving.objects.detection import server_container_index
from servedeck.serving.objects.diff import find_differences
from servedeck.serving.objects.managed_fields import owns_any
from servedeck.serving.objects.records import REVISION_ANNOTATION, Container
from servedeck.serving.objects.secret_values import mask_arguments
from servedeck.serving.objects.template_changes import (
    RESTART,
    Template,
    changed_field_names,
    normalize_template,
)
from servedeck.serving.spec.mapping.json_values import (
    JsonObject,
    as_int,
    as_list,
    as_mapping,
    as_str,
    as_time,
    mappings,
)
from servedeck.serving.text import one_line, sanitize

HISTORY_ANNOTATION = "deployment.kubernetes.io/revision-history"
CHANGE_CAUSE_ANNOTATION = "kubernetes.io/change-cause"
DEFAULT_HISTORY_LIMIT = 10
"""revisionHistoryLimit that the API server sets (kubernetes pkg/apis/apps/v1/defaults.go)."""


class FieldManager(NamedTuple):
    """A field manager that owns fields of an object."""

    name: str
    """"kubectl-set", "helm"."""
    operation: str
    """Update, or Apply for server-side apply."""
    time: datetime | None
    """When it changed the object last, in seconds."""

    def __str__(self) -> str:
        return f"{self.name} ({self.operation})" if self.operation else self.name


@dataclass(frozen=True, slots=True)
class Revision:
    """One Pod template that the Deployment has or had. Text is sanitized and on one line."""

    uid: str
    """That of its ReplicaSet; "" if it has none."""
    number: int
    """0 if it is unknown: the Deployment controller has not numbered it yet."""
    previous_numbers: tuple[int, ...]
    """Numbers that it had before rollbacks made it current again, the oldest first."""
    replicaset: str
    """Name of its ReplicaSet; "" if it has none, or none that can be read."""
    created: datetime | None
    """When its ReplicaSet was created."""
    reused_after: datetime | None
    """When the newest of the other ReplicaSets was created, if its own is older and is current: it
    has been made current again since; None if its own is the newest."""
    image: str
    """Image of the inference server."""
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    """Values that look secret are masked."""
    desired: int
    current: int
    ready: int
    """Numbers of Pods: wanted, existing and ready, as in `kubectl get replicasets`."""
    is_current: bool
    """Whether it is the Pod template that the Deployment has now."""
    change_cause: str
    """The annotation kubernetes.io/change-cause; "" if there is none."""
    repeats_change_cause: bool
    """Whether the one before it has the same: the controller copies the Deployment's annotation,
    so it may not have been updated with this change."""
    changed_by: FieldManager | None
    """Who changed the template; None for those before the current one, since Kubernetes does not
    keep it."""
    previous_number: int
    """Number of the revision before it; 0 if there is none."""
    changed_fields: tuple[str, ...]
    """Fields that differ from the one before it; see `changed_field_names`."""
    server_container: str
    """Container that runs the inference server."""
    template: JsonObject = field(compare=False, repr=False)
    """Its Pod template, normalized, not masked."""

    @property
    def name(self) -> str:
        """ "revision 3", or what it is while it has no number."""
        return f"revision {self.number}" if self.number else "the Deployment's Pod template"

    @property
    def is_reused(self) -> bool:
        """Whether a rollback, or a change back, made it current again: its ReplicaSet is older than
        the rollout."""
        return bool(self.previous_numbers) or self.reused_after is not None

    @property
    def is_restart(self) -> bool:
        """Whether it differs from the one before it only by `kubectl rollout restart`."""
        return self.changed_fields == (RESTART,)

    @property
    def change(self) -> str:
        """What distinguishes it from the one before it: "image, args", "restart", "rollback to
        2: image"; "" if there is none before it."""
        fields = ", ".join(self.changed_fields)
        if not self.previous_numbers:
            return fields
        rollback = f"rollback to {self.previous_numbers[-1]}"
        return f"{rollback}: {fields}" if fields and not self.is_restart else rollback


def read_revisions(
    deployment: JsonObject, replicasets: Iterable[JsonObject]
) -> tuple[Revision, ...]:
    """See `RevisionReader.read`."""
    return RevisionReader().read(deployment, replicasets)


class RevisionReader:
    """Reads the revisions of one Deployment as often as one of its ReplicaSets changes: those that
    are the same object as before are not read and compared again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[JsonObject, Revision]] = {}
        """By the id of the ReplicaSet's JSON, which the entry keeps alive."""
        self._changed_fields: dict[tuple[int, int], tuple[str, ...]] = {}
        """By the ids of two normalized templates."""

    def read(
        self, deployment: JsonObject, replicasets: Iterable[JsonObject]
    ) -> tuple[Revision, ...]:
        """The revisions of a Deployment, the newest first; the Deployment and the ReplicaSets, of
        which others' are ignored, as decoded and sanitized JSON.

        A ReplicaSet is current if its Pod template equals that of the Deployment; of several, the
        one that was created first (kubernetes pkg/controller/deployment/util/deployment_util.go,
        FindNewReplicaSet). While none is, the Deployment's own template is a revision without a
        ReplicaSet: it is paused, old Pods of a Recreate terminate, the controller or the watch is
        not that far, or ReplicaSets cannot be read.
        """
        uid = as_str(as_mapping(deployment, "metadata").get("uid"))
        wanted = normalize_template(as_mapping(deployment, "spec", "template"))
        known, self._known = self._known, {}
        for one in replicasets:
            if is_owned_by(one, uid):
                self._known[id(one)] = known.get(id(one)) or (one, _read_replicaset(one))
        found = [revision for _, revision in self._known.values()]
        found.sort(key=_sort_key, reverse=True)
        current = min(
            (one for one in found if one.template == wanted), key=_created_key, default=None
        )
        others = [one for one in found if one is not current]
        newest = replace(
            current or _template_revision(deployment, wanted, {one.number for one in found}),
            is_current=True,
            reused_after=_newest_after(current, others) if current is not None else None,
            change_cause=_annotation(deployment, CHANGE_CAUSE_ANNOTATION),
            changed_by=find_template_manager(
                deployment, others[0].template if others else None, wanted
            ),
        )
        return self._compare_neighbors([newest, *others])

    def _compare_neighbors(self, found: Sequence[Revision]) -> tuple[Revision, ...]:
        """Each with what distinguishes it from the next, which is the one before it in time."""
        known, self._changed_fields = self._changed_fields, {}
        compared = []
        for one, before in pairwise(found):
            key = id(before.template), id(one.template)
            fields = known.get(key)
            if fields is None:
                fields = changed_field_names(before.template, one.template, one.server_container)
            if before.uid and one.uid:  # otherwise nothing keeps the templates alive
                self._changed_fields[key] = fields
            compared.append(
                replace(
                    one,
                    previous_number=before.number,
                    changed_fields=fields,
                    repeats_change_cause=bool(one.change_cause)
                    and one.change_cause == before.change_cause,
                )
            )
        return (*compared, *found[-1:])


def is_owned_by(value: JsonObject, uid: str) -> bool:
    """Whether the object with this uid is the controller of an object."""
    owners = mappings(as_mapping(value, "metadata").get("ownerReferences"))
    return bool(uid) and any(one.get("uid") == uid and one.get("controller") for one in owners)


def history_limit(deployment: JsonObject) -> int:
    """How many revisions besides the current one Kubernetes keeps."""
    found = as_int(as_mapping(deployment, "spec").get("revisionHistoryLimit"))
    return DEFAULT_HISTORY_LIMIT if found is None else found


def find_template_manager(
    deployment: JsonObject, before: Template | None, after: Template
) -> FieldManager | None:
    """Who changed the Deployment's Pod template from `before`, None if that is unknown, to `after`,
    both normalized: of the managers that own a changed field, else of all that own fields of the
    template, the one that wrote last. Managers of the status or the scale own none.

    The API server updates an entry's time with each change by this manager, also of another field,
    and rounds it to seconds (kubernetes apimachinery
    pkg/util/managedfields/internal/managedfieldsupdater.go). Nobody owns a removed field.
    """
    entries = [
        one
        for one in mappings(as_mapping(deployment, "metadata").get("managedFields"))
        if as_mapping(one, "fieldsV1", "f:spec", "f:template") and not one.get("subresource")
    ]
    if before is not None and len(entries) > 1:
        changed = [("spec", "template", *one.path) for one in find_differences(before, after)]
        entries = [one for one in entries if owns_any(one, deployment, changed)] or entries
    return max(map(read_manager, entries), key=_time_key, default=None)


def read_manager(entry: Mapping[str, Any]) -> FieldManager:
    """The manager of an entry of managedFields."""
    return FieldManager(
        _line(entry.get("manager")) or "unknown",
        _line(entry.get("operation")),
        as_time(entry.get("time")),
    )


def _time_key(one: FieldManager) -> float:
    return one.time.timestamp() if one.time is not None else 0.0


# -- reading ------------------------------------------------------------------------------------


def _read_replicaset(value: JsonObject) -> Revision:
    metadata, spec, status = (as_mapping(value, key) for key in ("metadata", "spec", "status"))
    history = _annotation(value, HISTORY_ANNOTATION).split(",")
    return _make_revision(
        normalize_template(as_mapping(spec, "template")),
        uid=as_str(metadata.get("uid")),
        number=_revision_number(value),
        previous_numbers=tuple(int(one) for one in history if one.isdecimal() and len(one) < 10),
        replicaset=_line(metadata.get("name")),
        created=as_time(metadata.get("creationTimestamp")),
        desired=count(spec.get("replicas")),
        current=count(status.get("replicas")),
        ready=count(status.get("readyReplicas")),
        change_cause=_annotation(value, CHANGE_CAUSE_ANNOTATION),
    )


def _template_revision(
    deployment: JsonObject, template: JsonObject, other_numbers: Collection[int]
) -> Revision:
    """The Deployment's template, which no readable ReplicaSet has. The Deployment's number is that
    of its last ReplicaSet, so it is another's while the template has none."""
    status = as_mapping(deployment, "status")
    number = _revision_number(deployment)
    if number in other_numbers or not _has_replicaset(deployment):
        return _make_revision(template, number=0, desired=0, current=0, ready=0)
    return _make_revision(
        template,
        number=number,
        desired=count(as_mapping(deployment, "spec").get("replicas")),
        current=count(status.get("updatedReplicas")),
        ready=min(count(status.get(key)) for key in ("readyReplicas", "updatedReplicas")),
    )


def _make_revision(template: JsonObject, **values: Any) -> Revision:
    containers = mappings(as_mapping(template, "spec").get("containers"))
    server: Mapping[str, Any] = {}
    if containers:
        server = containers[server_container_index([_container(one) for one in containers]) or 0]
    base: dict[str, Any] = {
        "uid": "",
        "previous_numbers": (),
        "replicaset": "",
        "created": None,
        "reused_after": None,
        "change_cause": "",
    }
    return Revision(
        **base | values,
        image=_line(server.get("image")),
        command=_words(server.get("command")),
        arguments=_words(server.get("args")),
        is_current=False,
        repeats_change_cause=False,
        changed_by=None,
        previous_number=0,
        changed_fields=(),
        server_container=_line(server.get("name")),
        template=template,
    )


def _container(value: Mapping[str, Any]) -> Container:
    try:
        return msgspec.convert(value, Container)
    except (msgspec.ValidationError, UnicodeError):
        return Container(name=as_str(value.get("name")))


def _sort_key(one: Revision) -> tuple[int, float, str]:
    return one.number, _created_key(one), one.replicaset


def _created_key(one: Revision) -> float:
    return one.created.timestamp() if one.created is not None else 0.0


def _newest_after(current: Revision, others: Iterable[Revision]) -> datetime | None:
    """See `Revision.reused_after`."""
    if current.created is None:
        return None
    created = [one.created for one in others if one.created is not None]
    return max((one for one in created if one > current.created), default=None)


def _has_replicaset(deployment: JsonObject) -> bool:
    """Whether the controller has made a ReplicaSet of the template, as far as the Deployment alone
    says: it makes none while it is paused, or before the old Pods of a Recreate have terminated
    (kubernetes pkg/controller/deployment/recreate.go)."""
    spec = as_mapping(deployment, "spec")
    updated = count(as_mapping(deployment, "status").get("updatedReplicas"))
    is_recreate = as_mapping(spec, "strategy").get("type") == "Recreate"
    waits = is_recreate and count(spec.get("replicas")) > 0 and not updated
    return is_observed(deployment) and not spec.get("paused") and not waits


def is_observed(deployment: JsonObject) -> bool:
    """Whether the Deployment controller has observed the last change."""
    generation = count(as_mapping(deployment, "metadata").get("generation"))
    return generation <= count(as_mapping(deployment, "status").get("observedGeneration"))


def _revision_number(value: JsonObject) -> int:
    return as_int(_annotation(value, REVISION_ANNOTATION)) or 0


def _annotation(value: JsonObject, name: str) -> str:
    return _line(as_mapping(value, "metadata", "annotations").get(name))


def _words(value: object) -> tuple[str, ...]:
    words = [one for one in as_list(value) if isinstance(one, str)]
    return tuple(one_line(sanitize(one)) for one in mask_arguments(words))


def _line(value: object) -> str:
    return one_line(sanitize(as_str(value)))


def count(value: object) -> int:
    """A number of an object's fields; 0 if it is absent or of another type."""
    return as_int(value) or 0
