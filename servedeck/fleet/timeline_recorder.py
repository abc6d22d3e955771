"""Records how servings change while servedeck runs, by comparing each view with the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from servedeck.fleet.views import (
    ContainerView,
    NamespacedName,
    PodView,
    ServingView,
    changed_pods,
)
from servedeck.serving.status.status import WAITING_FOR_CONTROLLER, Status
from servedeck.serving.status.timeline import (
    MAX_ENTRIES_PER_SERVING,
    TimelineEntry,
    TimelineKind,
)
from servedeck.serving.status.timeline_texts import (
    BLOCKED_TEXT,
    DEADLINE_TEXT,
    NODE_LOST_STATUSES,
    PAUSED_TEXT,
    disruption_text,
    finished_text,
    node_lost_text,
    restart_text,
    rollout_text,
    short_pod_name,
    temperature_text,
)
from servedeck.serving.temperature import KEPT_SUFFIX

MAX_ENTRIES = 20_000
"""Entries of all servings together; the oldest are dropped."""
MAX_SERVINGS = 20_000
"""Servings, deleted ones included, whose first status is remembered."""

_EVICTION_MARGIN = 500
"""Entries that are dropped at once beyond MAX_ENTRIES: finding the oldest takes a sort."""
_AGGREGATED_ENTRIES = 30
"""Entries among which an earlier restart of the same container is looked for."""


class TimelineRecorder:
    """Entries of servings by the uid of their Deployment: a serving that is made again under the
    same name has a timeline of its own. Not thread-safe."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entry_count = 0
        self._views: dict[NamespacedName, ServingView] = {}
        """Each serving as it was last, with the image that its revision began with."""
        self._hidden_views: dict[str, ServingView] = {}
        """Servings that were shown last time, by uid, as they were then."""
        self._first_statuses: dict[str, tuple[datetime, Status]] = {}
        self._entries: dict[str, deque[TimelineEntry]] = {}

    def __len__(self) -> int:
        """Number of entries."""
        return self._entry_count

    def record(self, key: NamespacedName, view: ServingView | None, now: datetime) -> list[PodView]:
        """A serving was added, changed, or deleted (None). Returns its Pods that were added or
        changed."""
        before = self._views.get(key)
        if before is not None and (view is None or view.uid != before.uid):
            self._append(before.uid, _status_entry(now, "deleted", None))
            before = None
        if view is None:
            self._views.pop(key, None)
            return []
        before = before or self._hidden_views.pop(view.uid, None)
        self._views[key] = view
        if before is not None and view.revision == before.revision and view.image != before.image:
            # A changed image is in the Deployment before its ReplicaSet is: the rollout, which
            # follows, names the image that its revision replaces.
            self._views[key] = replace(view, image=before.image)
        if before is not None and view.reason == WAITING_FOR_CONTROLLER:
            # For a moment after each change of the Deployment, also one that changes no Pod (a
            # pause): it has its status since before, unless the controller finds another one.
            view = replace(view, status=before.status, reason=before.reason)
            self._views[key] = replace(self._views[key], status=view.status, reason=view.reason)
        pods = changed_pods(before.pods if before is not None else (), view.pods)
        if before is not None:
            for entry in _compare_views(before, view, pods, now):
                self._append(view.uid, entry)
        elif view.uid not in self._first_statuses:
            self._first_statuses[view.uid] = now, view.status
            if len(self._first_statuses) > MAX_SERVINGS:
                del self._first_statuses[next(iter(self._first_statuses))]
        return [pod for _earlier, pod in pods]

    def forget_views(self) -> None:
        """Other servings are shown (of another context or namespace). Those of before are not
        deleted; their entries stay, and continue when they are shown again: what has changed by
        then is an entry of that time."""
        if self._views:
            self._hidden_views = {view.uid: view for view in self._views.values()}
            self._views.clear()

    def entries(self, serving_uid: str) -> tuple[TimelineEntry, ...]:
        """The entries of a serving, the newest at the end. The first one is the status in which it
        was seen first."""
        first = self._first_statuses.get(serving_uid)
        entries = tuple(self._entries.get(serving_uid, ()))
        if first is None:
            return entries
        seen_at, status = first
        text = f"{status.value} when servedeck saw it first"
        entry = replace(_status_entry(seen_at, text, status), is_first_status=True)
        return (entry, *entries)

    # -- storing --------------------------------------------------------------------------------

    def _append(self, uid: str, entry: TimelineEntry) -> None:
        entries = self._entries.setdefault(uid, deque())
        if entry.kind is TimelineKind.RESTART and _aggregate(entries, entry):
            return
        entries.append(entry)
        self._entry_count += 1
        if len(entries) > MAX_ENTRIES_PER_SERVING:
            entries.popleft()
            self._entry_count -= 1
        if self._entry_count > self._max_entries:
            self._drop_oldest(self._entry_count - self._max_entries + _EVICTION_MARGIN)

    def _drop_oldest(self, count: int) -> None:
        oldest = sorted((one.end, uid) for uid, entries in self._entries.items() for one in entries)
        for _time, uid in oldest[:count]:
            self._entries[uid].popleft()
            self._entry_count -= 1
            if not self._entries[uid]:
                del self._entries[uid]


def _aggregate(entries: deque[TimelineEntry], entry: TimelineEntry) -> bool:
    """Add a restart to an earlier one of the same container, unless the serving has changed its
    status or was rolled out in between."""
    for back in range(1, min(len(entries), _AGGREGATED_ENTRIES) + 1):
        earlier = entries[-back]
        if earlier.kind in (TimelineKind.STATUS, TimelineKind.ROLLOUT):
            return False
        if earlier.kind is TimelineKind.RESTART and earlier.identity[:3] == entry.identity[:3]:
            del entries[-back]
            entries.append(
                replace(
                    entry,
                    time=earlier.time,
                    count=earlier.count + entry.count,
                    last_time=entry.end,
                )
            )
            return True
    return False


# -- comparing ----------------------------------------------------------------------------------


def _compare_views(
    before: ServingView,
    after: ServingView,
    pods: list[tuple[PodView | None, PodView]],
    now: datetime,
) -> Iterator[TimelineEntry]:
    """What has changed between two views of one serving, the status last. `pods` are the changed
    ones, each with its view before."""
    yield from _compare_rollout(before, after, now)
    if after.desired != before.desired:
        text = f"scaled from {before.desired} to {after.desired} replicas"
        yield TimelineEntry(now, TimelineKind.SCALE, text, observed=True)
    for earlier, pod in pods:
        if earlier is not None:
            yield from _compare_pods(earlier, pod, after.key.name, now)
    if after.status is not before.status:
        why = f": {after.reason}" if after.reason else ""
        text = f"{before.status.value} → {after.status.value}{why}"
        yield _status_entry(now, text, after.status)


def _status_entry(time: datetime, text: str, status: Status | None) -> TimelineEntry:
    return TimelineEntry(time, TimelineKind.STATUS, text, observed=True, status=status)


def _compare_rollout(
    before: ServingView, after: ServingView, now: datetime
) -> Iterator[TimelineEntry]:
    def entry(text: str, *identity: str) -> TimelineEntry:
        return TimelineEntry(now, TimelineKind.ROLLOUT, text, observed=True, identity=identity)

    revision = after.revision
    if revision and before.revision and revision != before.revision:
        text = rollout_text(revision, after.image, before.image)
        yield entry(text, "rollout", revision)
    if after.rollout == before.rollout:
        return
    if after.rollout == "paused":
        yield entry(PAUSED_TEXT)
    elif before.rollout == "paused":
        yield entry("rollout resumed")
    elif after.rollout == "rollout failed":
        yield entry(DEADLINE_TEXT, "deadline", revision)
    elif after.is_rollout_blocked:
        yield entry(BLOCKED_TEXT)
    elif not after.rollout and after.desired and revision == before.revision:
        yield entry(finished_text(revision), "finished", revision)


def _compare_pods(
    before: PodView, after: PodView, serving: str, now: datetime
) -> Iterator[TimelineEntry]:
    if after.disruption and after.disruption != before.disruption:
        yield TimelineEntry(
            after.disrupted_at or now,
            TimelineKind.NODE,
            disruption_text(after, serving),
            observed=True,
            identity=("node", after.uid, after.disruption),
        )
    if after.status in NODE_LOST_STATUSES and before.status not in NODE_LOST_STATUSES:
        yield TimelineEntry(
            now,
            TimelineKind.NODE,
            node_lost_text(after, serving),
            observed=True,
            identity=("node", after.uid, "lost"),
        )
    kept = (before.heat.endswith(KEPT_SUFFIX), after.heat.endswith(KEPT_SUFFIX))
    if bool(after.heat) != bool(before.heat) or kept[0] != kept[1]:
        is_out = bool(after.heat) and not kept[1]
        yield TimelineEntry(
            now,
            TimelineKind.CONDITION,
            temperature_text(after, serving),
            observed=True,
            identity=("heat", after.uid, "hot") if is_out else (),
        )
    if after.containers is not before.containers:
        known = {container.name: container for container in before.containers}
        for container in after.containers:
            earlier = known.get(container.name)
            if earlier is not None and container.restarts > earlier.restarts:
                yield _restart_entry(after, earlier, container, serving, now)


def _restart_entry(
    pod: PodView, before: ContainerView, after: ContainerView, serving: str, now: datetime
) -> TimelineEntry:
    time = after.finished_at or now
    return TimelineEntry(
        min(time, now),
        TimelineKind.RESTART,
        restart_text(after, short_pod_name(pod.name, serving)),
        observed=True,
        identity=("restart", pod.uid, after.name, str(after.restarts)),
        count=after.restarts - before.restarts,
    )
