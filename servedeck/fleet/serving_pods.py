"""The evaluated Pods of one serving, kept between flushes.

Only Pods that have changed are evaluated again and put in their places: a change of one Pod among
thousands costs little more than of one among ten.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from servedeck.fleet.view_builder import build_pod_view
from servedeck.fleet.views import PodView
from servedeck.serving.objects.records import Event, Pod
from servedeck.serving.status.diagnosis import Diagnosis
from servedeck.serving.status.ended_instances import (
    EndedInstance,
    LogFinding,
    add_log_findings,
    find_ended_instance,
)
from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.pods import PodSortKey, pod_sort_key
from servedeck.serving.status.status import serves_requests

MAX_SINGLE_MOVES = 16
"""Up to so many changed Pods are put in their places one by one; of more, all Pods are sorted."""


class OwnedPods(NamedTuple):
    """The Pods that a ReplicaSet owns, or a workload without ReplicaSets."""

    pods: Mapping[str, Pod]
    """By uid."""
    owner_uid: str = ""
    revision: str = ""
    """Revision of the Deployment that they belong to; "" if it is unknown."""
    is_old_revision: bool = False
    changes: Set[str] | None = None
    """uids of the Pods that were added, changed or deleted since the last update; None if they are
    unknown."""


class _PodEntry(NamedTuple):
    """The last evaluation of one Pod."""

    pod: Pod
    diagnosis: Diagnosis
    view: PodView
    sort_key: PodSortKey
    unexplained: EndedInstance | None
    """The instance whose log may tell more than the Pod does."""


class ServingPods:
    """The Pods of one serving, as of the last update."""

    def __init__(
        self,
        namespace: str,
        events_of: Callable[[str], Sequence[Event]],
        log_findings_of: Callable[[str], Mapping[str, LogFinding]] = lambda _uid: {},
    ) -> None:
        """`events_of` returns the Events about the object with that uid, `log_findings_of` what the
        logs of the containers of the Pod with that uid say, by container."""
        self._namespace = namespace
        self._events_of = events_of
        self._log_findings_of = log_findings_of
        self._entries: dict[str, _PodEntry] = {}
        self._sort_keys: list[PodSortKey] = []
        self._sorted_views: list[PodView] = []
        """In the order of `_sort_keys`."""
        self._owners: list[tuple[str, str, bool]] = []
        """Those of the last update: uid, revision, and whether that is an old one."""
        self._all_stale = False
        self._reevaluate_at: dict[str, datetime] = {}
        self._not_serving: dict[str, None] = {}
        """uids of the Pods that do not serve requests."""
        self._unexplained: dict[str, EndedInstance] = {}
        """By uid of the Pod."""
        self.views: tuple[PodView, ...] = ()
        """Failing ones first; the same tuple until a Pod changes."""
        self.restart_count = 0

    @property
    def serving_count(self) -> int:
        """Number of Pods that serve requests, by `status.serves_requests`."""
        return len(self._entries) - len(self._not_serving)

    @property
    def not_serving(self) -> list[tuple[Pod, Diagnosis]]:
        """The other Pods, each with its diagnosis, in no particular order."""
        return [self.diagnosed(uid) for uid in self._not_serving]

    @property
    def new_without_resources(self) -> list[tuple[Pod, Diagnosis]]:
        """Pods of the current revision that no node has the resources for, each with its
        diagnosis."""
        entries = (self._entries[uid] for uid in self._not_serving)
        return [
            (entry.pod, entry.diagnosis)
            for entry in entries
            if entry.diagnosis.insufficient_resources and not entry.view.old_revision
        ]

    @property
    def unexplained_ends(self) -> list[EndedInstance]:
        """Instances of containers whose logs may tell why their Pods fail; at most one of a Pod, in
        no particular order."""
        return list(self._unexplained.values())

    def old_pods(self) -> Iterator[Pod]:
        """Pods of other revisions than the current one."""
        return (entry.pod for entry in self._entries.values() if entry.view.old_revision)

    @property
    def reevaluate_at(self) -> datetime | None:
        """When a Pod must be evaluated again although it has not changed; None for never."""
        return min(self._reevaluate_at.values(), default=None)

    def diagnosed(self, uid: str) -> tuple[Pod, Diagnosis]:
        """A Pod with its diagnosis. Raises KeyError for one of another serving."""
        entry = self._entries[uid]
        return entry.pod, entry.diagnosis

    def mark_all_stale(self) -> None:
        """Every Pod is to be evaluated again."""
        self._all_stale = True

    # -- updating -------------------------------------------------------------------------------

    def update(
        self, owners: Sequence[OwnedPods], now: datetime, stale: set[str] | None = None
    ) -> None:
        """Evaluate the Pods that were added or changed, whose revision changed, whose evaluation
        has expired, or whose uid is in `stale`: their Events changed. What is evaluated is removed
        from `stale`. After an exception the object must not be used again."""
        stale = set() if stale is None else stale
        identities = [(owner.owner_uid, owner.revision, owner.is_old_revision) for owner in owners]
        all_stale = self._all_stale or identities != self._owners
        self._owners, self._all_stale = identities, False
        entries = self._entries
        due = {uid for uid, time in self._reevaluate_at.items() if time <= now}
        due |= stale & entries.keys()
        evaluated = [
            (uid, self._evaluate(uid, owner, now))
            for owner in owners
            for uid in (owner.pods if all_stale else self._changed_uids(owner, due))
        ]
        new_count = sum(uid not in entries for uid, _ in evaluated)
        gone: set[str] = set()
        if sum(len(owner.pods) for owner in owners) != len(entries) + new_count:
            gone = entries.keys() - {uid for owner in owners for uid in owner.pods}
        if not evaluated and not gone:
            return
        one_by_one = len(evaluated) + len(gone) <= MAX_SINGLE_MOVES
        for uid in gone:
            self._remove(uid, reorder=one_by_one)
        for uid, entry in evaluated:
            stale.discard(uid)
            self._remove(uid, reorder=one_by_one)
            self._add(uid, entry, reorder=one_by_one)
        if not one_by_one:
            ordered = sorted(entries.values(), key=attrgetter("sort_key"))
            self._sort_keys = [entry.sort_key for entry in ordered]
            self._sorted_views = [entry.view for entry in ordered]
        self.views = tuple(self._sorted_views)

    def _changed_uids(self, owner: OwnedPods, due: Set[str]) -> Set[str]:
        """uids of the Pods of an owner that must be evaluated."""
        pods, entries = owner.pods, self._entries
        if owner.changes is None:
            changed = {
                uid
                for uid, pod in pods.items()
                if (entry := entries.get(uid)) is None or entry.pod is not pod
            }
        else:
            changed = owner.changes & pods.keys()
        return changed | (due & pods.keys())

    def _evaluate(self, uid: str, owner: OwnedPods, now: datetime) -> _PodEntry:
        pod, before = owner.pods[uid], self._entries.get(uid)
        events = self._events_of(pod.metadata.uid)
        evaluated, is_guessed = pod, False
        if findings := self._log_findings_of(uid):
            evaluated, is_guessed = add_log_findings(pod, findings)
        diagnosis = diagnose(evaluated, events, now)
        unexplained = None
        if diagnosis.is_unexplained or is_guessed:
            unexplained = find_ended_instance(pod, diagnosis.container)
        view = build_pod_view(
            pod,
            diagnosis,
            events,
            namespace=self._namespace,
            old_revision=owner.is_old_revision,
            revision=owner.revision,
            previous=before.view if before is not None else None,
        )
        return _PodEntry(pod, diagnosis, view, pod_sort_key(pod, diagnosis.health), unexplained)

    def _add(self, uid: str, entry: _PodEntry, *, reorder: bool) -> None:
        self._entries[uid] = entry
        self.restart_count += entry.view.restarts
        if not serves_requests(entry.pod, entry.diagnosis):
            self._not_serving[uid] = None
        if entry.unexplained is not None:
            self._unexplained[uid] = entry.unexplained
        if entry.diagnosis.reevaluate_at is not None:
            self._reevaluate_at[uid] = entry.diagnosis.reevaluate_at
        if reorder:
            at = bisect_left(self._sort_keys, entry.sort_key)
            self._sort_keys.insert(at, entry.sort_key)
            self._sorted_views.insert(at, entry.view)

    def _remove(self, uid: str, *, reorder: bool) -> None:
        entry = self._entries.pop(uid, None)
        if entry is None:
            return
        self.restart_count -= entry.view.restarts
        self._not_serving.pop(uid, None)
        self._unexplained.pop(uid, None)
        self._reevaluate_at.pop(uid, None)
        if reorder:
            at = bisect_left(self._sort_keys, entry.sort_key)
            del self._sort_keys[at], self._sorted_views[at]
