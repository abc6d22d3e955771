"""What the objects of a serving tell about the time before servedeck was started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from heapq import nlargest
from operator import itemgetter
from typing import Any

from servedeck.serving.objects.records import REVISION_ANNOTATION
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, as_time, mappings
from servedeck.serving.status.rollout_status import was_interrupted
from servedeck.serving.status.status_start import UNAVAILABLE_TEXT
from servedeck.serving.status.timeline import MAX_ENTRIES_PER_SERVING, TimelineEntry, TimelineKind
from servedeck.serving.status.timeline_texts import (
    DEADLINE_TEXT,
    NODE_LOST_STATUSES,
    PAUSED_TEXT,
    ContainerTimes,
    PodTimes,
    disruption_text,
    finished_text,
    node_lost_text,
    restart_text,
    rollout_text,
    short_pod_name,
    temperature_text,
)

REVISION_HISTORY_ANNOTATION = "deployment.kubernetes.io/revision-history"
"""Earlier revisions of a ReplicaSet that a rollback made current again (kubernetes
pkg/controller/deployment/util/deployment_util.go, RevisionHistoryAnnotation)."""

MAX_READINESS_ENTRIES = 20
"""How many "Pod became ready" entries are kept, the newest: a large serving has thousands, which
would displace all other entries."""


def derive_entries(
    deployment: Mapping[str, Any],
    replicasets: Iterable[Mapping[str, Any]],
    pods: Iterable[PodTimes],
) -> list[TimelineEntry]:
    """Entries from the JSON of a Deployment ({} while it is unknown), the JSON of the ReplicaSets
    that it owns, and its Pods, in no particular order; of the Pods' restarts the newest
    MAX_ENTRIES_PER_SERVING."""
    serving = as_str(as_mapping(deployment, "metadata").get("name"))
    replicasets = tuple(replicasets)
    entries = _deployment_entries(deployment, _current_creation(deployment, replicasets))
    entries += _replicaset_entries(replicasets, has_creation=bool(entries))
    return entries + _pod_entries(pods, serving)


def _entry(time: datetime, kind: TimelineKind, text: str, *identity: str) -> TimelineEntry:
    return TimelineEntry(time, kind, text, observed=False, identity=identity)


# -- Deployment ---------------------------------------------------------------------------------


def _current_creation(
    deployment: Mapping[str, Any], replicasets: Iterable[Mapping[str, Any]]
) -> datetime | None:
    """When the current ReplicaSet was created; of the Deployment, if that is unknown."""
    number = _revision(deployment)
    current = next((one for one in replicasets if number and _revision(one) == number), deployment)
    return as_time(as_mapping(current, "metadata").get("creationTimestamp"))


def _deployment_entries(
    deployment: Mapping[str, Any], current_created: datetime | None
) -> list[TimelineEntry]:
    metadata = as_mapping(deployment, "metadata")
    entries: list[TimelineEntry] = []
    created = as_time(metadata.get("creationTimestamp"))
    if created is not None:
        entries.append(_entry(created, TimelineKind.ROLLOUT, "created", "created"))
    revision = _revision(deployment)
    interrupted = current_created is not None and was_interrupted(deployment, current_created)
    for condition in mappings(as_mapping(deployment, "status").get("conditions")):
        found = _condition_entry(condition, revision, interrupted=interrupted)
        if found is not None:
            entries.append(found)
    return entries


def _condition_entry(
    condition: Mapping[str, Any], revision: str, *, interrupted: bool
) -> TimelineEntry | None:
    """The last change that a condition tells. Of the condition Progressing, lastTransitionTime is
    when its status changed, lastUpdateTime when its reason did (kubernetes
    pkg/controller/deployment/progress.go and util/deployment_util.go, SetDeploymentCondition).

    After a pause, the controller reports a rollout that was complete before as available again,
    without progress in between: when it finished is not known then."""
    kind, status = as_str(condition.get("type")), as_str(condition.get("status"))
    reason = as_str(condition.get("reason"))
    changed = as_time(condition.get("lastTransitionTime"))
    updated = as_time(condition.get("lastUpdateTime")) or changed
    if kind == "Progressing":
        is_reported_again = interrupted and updated == changed
        if reason == "NewReplicaSetAvailable" and updated is not None and not is_reported_again:
            return _entry(
                updated, TimelineKind.ROLLOUT, finished_text(revision), "finished", revision
            )
        if reason == "ProgressDeadlineExceeded" and changed is not None:
            return _entry(changed, TimelineKind.ROLLOUT, DEADLINE_TEXT, "deadline", revision)
        if reason == "DeploymentPaused" and updated is not None:
            return _entry(updated, TimelineKind.ROLLOUT, PAUSED_TEXT)
        return None
    if changed is None or (kind == "ReplicaFailure" and status != "True"):
        return None
    why = f" ({reason})" if reason else ""
    if kind == "Available":
        words = "enough replicas are available" if status == "True" else UNAVAILABLE_TEXT
        return _entry(changed, TimelineKind.CONDITION, words)
    if kind == "ReplicaFailure":
        return _entry(changed, TimelineKind.CONDITION, f"Pods cannot be created{why}")
    return _entry(changed, TimelineKind.CONDITION, f"condition {kind} became {status}{why}")


# -- ReplicaSets --------------------------------------------------------------------------------


def _replicaset_entries(
    replicasets: Iterable[Mapping[str, Any]], *, has_creation: bool
) -> list[TimelineEntry]:
    """The rollouts: a ReplicaSet is created by the first rollout to its template. A rollback uses
    it again; its time is unknown."""
    dated = [
        (created, one)
        for one in replicasets
        if (created := as_time(as_mapping(one, "metadata").get("creationTimestamp")))
    ]
    dated.sort(key=lambda pair: pair[0])
    entries: list[TimelineEntry] = []
    previous: tuple[str, ...] = ()
    for created, replicaset in dated:
        images = _images(replicaset)
        revision = _first_revision(replicaset)
        changed = [image for image in images if image not in previous]
        before = (
            previous[images.index(changed[0])] if changed and len(previous) == len(images) else ""
        )
        if revision and not (revision == "1" and has_creation):
            text = rollout_text(revision, changed[0] if changed else "", before)
            entries.append(_entry(created, TimelineKind.ROLLOUT, text, "rollout", revision))
        previous = images
    return entries


def _first_revision(replicaset: Mapping[str, Any]) -> str:
    annotations = as_mapping(replicaset, "metadata", "annotations")
    history = as_str(annotations.get(REVISION_HISTORY_ANNOTATION)).split(",")
    return history[0] or _revision(replicaset)


def _revision(value: Mapping[str, Any]) -> str:
    return as_str(as_mapping(value, "metadata", "annotations").get(REVISION_ANNOTATION))


def _images(replicaset: Mapping[str, Any]) -> tuple[str, ...]:
    pod_spec = as_mapping(replicaset, "spec", "template", "spec")
    return tuple(as_str(one.get("image")) for one in mappings(pod_spec.get("containers")))


# -- Pods ---------------------------------------------------------------------------------------


def _pod_entries(pods: Iterable[PodTimes], serving: str) -> list[TimelineEntry]:
    """Entries of the Pods. Of the many that a large serving has, only the newest are built."""
    entries: list[TimelineEntry] = []
    restarts: list[tuple[datetime, PodTimes, ContainerTimes]] = []
    became_ready: list[tuple[datetime, PodTimes]] = []
    for pod in pods:
        for container in pod.containers:
            time = container.finished_at or (container.started_at if container.restarts else None)
            # An init container that completed has neither failed nor restarted.
            if time is not None and (container.restarts or container.finish_reason != "Completed"):
                restarts.append((time, pod, container))
        if pod.disruption and pod.disrupted_at is not None:
            text = disruption_text(pod, serving)
            entries.append(
                _entry(pod.disrupted_at, TimelineKind.NODE, text, "node", pod.uid, pod.disruption)
            )
        if pod.ready_changed_at is None:
            continue
        if pod.status in NODE_LOST_STATUSES:
            text = node_lost_text(pod, serving)
            entries.append(
                _entry(pod.ready_changed_at, TimelineKind.NODE, text, "node", pod.uid, "lost")
            )
        elif pod.heat and not pod.is_ready:
            text = temperature_text(pod, serving)
            entries.append(
                _entry(pod.ready_changed_at, TimelineKind.CONDITION, text, "heat", pod.uid, "hot")
            )
        elif pod.is_ready:
            became_ready.append((pod.ready_changed_at, pod))
    entries += [
        _restart_entry(time, pod, container, serving)
        for time, pod, container in nlargest(MAX_ENTRIES_PER_SERVING, restarts, key=itemgetter(0))
    ]
    entries += [
        _entry(
            time, TimelineKind.CONDITION, f"Pod {short_pod_name(pod.name, serving)} became ready"
        )
        for time, pod in nlargest(MAX_READINESS_ENTRIES, became_ready, key=itemgetter(0))
    ]
    return entries


def _restart_entry(
    time: datetime, pod: PodTimes, container: ContainerTimes, serving: str
) -> TimelineEntry:
    """The last restart, or end, of a container."""
    name = short_pod_name(pod.name, serving)
    return _entry(
        time,
        TimelineKind.RESTART,
        restart_text(container, name, total=container.restarts > 1),
        "restart",
        pod.uid,
        container.name,
        str(container.restarts),
    )
