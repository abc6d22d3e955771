"""Servings that are no Deployments: StatefulSets, LeaderWorkerSets, InferenceServices, Pods without
a controller, and those of `reported_workloads`. They are shown, never changed.

Objects are joined by uid: a StatefulSet's Pods, the StatefulSets of a LeaderWorkerSet (that of the
leaders is its own, that of the workers is the leader Pod's) and their Pods. What is listed already
is not listed again: the StatefulSets of a listed LeaderWorkerSet, and an InferenceService for which
a Deployment is listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from servedeck.fleet import reported_workloads
from servedeck.fleet.index import OwnedRecords, RecordIndex, controller_uid, record_uid
from servedeck.fleet.reported_workloads import ReportedRecord
from servedeck.fleet.views import REPORTED_KINDS, NamespacedName, ServingView
from servedeck.serving.objects import detection, kserve
from servedeck.serving.objects.records import Deployment, Event, Pod, Record, Workload
from servedeck.serving.objects.reported_records import DaemonSet, RayCluster, RayService, Rollout
from servedeck.serving.objects.workload_records import (
    GROUP_LABEL,
    InferenceService,
    LeaderWorkerSet,
    PlainPod,
    StatefulSet,
)
from servedeck.serving.status import status
from servedeck.serving.status.diagnosis import Diagnosis
from servedeck.serving.status.other_workloads import (
    evaluate_groups,
    evaluate_inference_service,
    evaluate_plain_pod,
    evaluate_stateful_set,
    stateful_set_badge,
)

STATEFUL_SET = "StatefulSet"
LEADER_WORKER_SET = "LeaderWorkerSet"
INFERENCE_SERVICE = "InferenceService"
POD = "Pod"

Key = NamespacedName
R = TypeVar("R", StatefulSet, LeaderWorkerSet, InferenceService, PlainPod, ReportedRecord)
OtherRecord = StatefulSet | LeaderWorkerSet | InferenceService | PlainPod | ReportedRecord


def key_of(record: Record, kind: str) -> Key:
    """Key of a workload of that kind."""
    meta = record.metadata  # type: ignore[attr-defined]
    return Key(meta.namespace, meta.name, kind)


@dataclass(frozen=True, slots=True)
class OtherWorkload:
    """A serving that is no Deployment, with its Pods."""

    record: OtherRecord
    kind: str
    workload: Workload
    """The record in the shape of a Deployment."""
    groups: tuple[tuple[Pod, ...], ...] = ()
    """The Pods of each replica, the leader first."""
    event_uids: tuple[str, ...] = ()
    """uids of the objects whose Events concern it: its own, and those of the StatefulSets of a
    LeaderWorkerSet."""

    @property
    def pods(self) -> list[Pod]:
        return [pod for group in self.groups for pod in group]

    @property
    def needs_stateful_set_pods(self) -> bool:
        return self.kind in (STATEFUL_SET, LEADER_WORKER_SET)

    @property
    def rollout(self) -> str:
        """Badge of a rollout in progress."""
        match self.record:
            case StatefulSet():
                return stateful_set_badge(self.record)
            case DaemonSet() | Rollout() | RayService() | RayCluster():
                return reported_workloads.badge(self.record)
        return ""

    def evaluate(
        self, diagnoses: Sequence[tuple[Pod, Diagnosis]], events: Sequence[Event], pods_known: bool
    ) -> status.ServingStatus:
        """Its state; `diagnoses` are those of `pods`, in their order."""
        match self.record:
            case StatefulSet():
                return evaluate_stateful_set(self.workload, diagnoses, events, pods_known)
            case LeaderWorkerSet():
                rest = iter(diagnoses)
                groups = [[next(rest) for _ in group] for group in self.groups]
                size = self.record.spec.leader_worker_template.size
                return evaluate_groups(self.workload, groups, size, pods_known)
            case InferenceService():
                return evaluate_inference_service(self.record)
            case PlainPod():
                return evaluate_plain_pod(self.workload, diagnoses, pods_known)
            case _:
                return reported_workloads.evaluate(self.record, events)

    def complete(self, view: ServingView) -> ServingView:
        """The view with what the shape of a Deployment does not say."""
        if self.kind in REPORTED_KINDS:
            view = replace(view, pods_known=False)
        match self.record:
            case LeaderWorkerSet():
                return replace(view, accelerator_count=_count_group_accelerators(self.record))
            case InferenceService():
                return reported_workloads.with_predictor(view, self.record)
            case DaemonSet() | Rollout() | RayService() | RayCluster():
                return reported_workloads.complete(view, self.record)
        return view


def _count_group_accelerators(record: LeaderWorkerSet) -> int:
    """Accelerators of one group."""
    template = record.spec.leader_worker_template
    leader = detection.detect_accelerators(record.leader_template).number
    worker = detection.detect_accelerators(template.worker_template).number
    return leader + worker * max(0, template.size - 1)


class OtherWorkloads:
    """The records of these kinds, and the servings among them."""

    RECORD_TYPES: tuple[type[Record], ...] = (
        StatefulSet,
        LeaderWorkerSet,
        InferenceService,
        PlainPod,
        *reported_workloads.RECORD_TYPES,
    )

    def __init__(self) -> None:
        self._stateful_sets: RecordIndex[StatefulSet, Key | str] = RecordIndex(_stateful_set_keys)
        self._leader_worker_sets: RecordIndex[LeaderWorkerSet, Key] = RecordIndex(
            lambda record: (key_of(record, LEADER_WORKER_SET),)
        )
        self._inference_services: RecordIndex[InferenceService, Key] = RecordIndex(
            lambda record: (key_of(record, INFERENCE_SERVICE),)
        )
        self._plain_pods: RecordIndex[PlainPod, Key] = RecordIndex(
            lambda record: (key_of(record, POD),)
        )
        self._reported: RecordIndex[ReportedRecord, Key] = RecordIndex(
            lambda record: (key_of(record, type(record).__name__),)
        )
        self._stateful_set_pods: OwnedRecords[Pod] = OwnedRecords(STATEFUL_SET)
        self._listed: dict[Key, None] = {}
        """Keys of the servings among them, in order of arrival."""
        self._serving_of_deployment: dict[Key, Key] = {}
        """The InferenceService of a listed Deployment, by the key of that."""
        self._deployment_counts: dict[Key, int] = {}
        """Number of listed Deployments of an InferenceService."""
        self.leader_worker_sets_settled = True
        """False while it is not known whether the LeaderWorkerSet of a StatefulSet is listed."""

    # -- what is listed -------------------------------------------------------------------------

    def keys(self) -> Iterable[Key]:
        """Keys of the servings."""
        return self._listed.keys()

    def has_key(self, key: Key) -> bool:
        """Whether the serving is listed."""
        return key in self._listed

    @property
    def needs_stateful_set_pods(self) -> bool:
        """Whether a serving has Pods of StatefulSets."""
        return any(key.kind in (STATEFUL_SET, LEADER_WORKER_SET) for key in self._listed)

    def get_pod(self, uid: str) -> Pod | None:
        """A Pod of these workloads."""
        return self._stateful_set_pods.get(uid) or self._plain_pods.get(uid)

    def find(self, key: Key) -> OtherWorkload | None:
        """The serving of that key; None if it is none, or is not listed."""
        record: OtherRecord | None
        match key.kind:
            case "StatefulSet":
                record = _newest(self._stateful_sets.lookup(key))
                if record is None or self._is_part_of_listed(record):
                    return None
                pods = tuple((pod,) for pod in self._pods_of(record.metadata.uid))
                return _if_serving(
                    OtherWorkload(record, key.kind, record, pods, (record.metadata.uid,))
                )
            case "LeaderWorkerSet":
                record = _newest(self._leader_worker_sets.lookup(key))
                return _if_serving(self._find_groups(record)) if record is not None else None
            case "InferenceService":
                record = _newest(self._inference_services.lookup(key))
                if record is None or self._deployment_counts.get(key):
                    return None
                return OtherWorkload(
                    record, key.kind, record.to_workload(), event_uids=(record.metadata.uid,)
                )
            case "Pod":
                pod = _newest(self._plain_pods.lookup(key))
                if pod is None:
                    return None
                return OtherWorkload(
                    pod, key.kind, pod.to_workload(), ((pod,),), (pod.metadata.uid,)
                )
            case kind if kind in reported_workloads.KINDS:
                found = _newest(self._reported.lookup(key))
                if found is None or not reported_workloads.is_serving(found):
                    return None
                return OtherWorkload(
                    found, kind, found.to_workload(), event_uids=(found.metadata.uid,)
                )
        return None

    def _is_part_of_listed(self, record: StatefulSet) -> bool:
        """Whether it belongs to a LeaderWorkerSet that is known, or may be."""
        group = _group_key(record)
        return group is not None and (
            not self.leader_worker_sets_settled or self._leader_worker_sets.has_key(group)
        )

    def stateful_sets_of(self, key: Key) -> list[StatefulSet]:
        """The StatefulSets of a LeaderWorkerSet: that of the leaders, and those of the workers."""
        if key.kind != LEADER_WORKER_SET:
            return []
        group = self.find(key)
        uids = group.event_uids if group is not None else ()
        return [one for uid in uids if (one := self._stateful_sets.get(uid)) is not None]

    def _find_groups(self, record: LeaderWorkerSet) -> OtherWorkload:
        groups: list[tuple[Pod, ...]] = []
        uids = [record.metadata.uid]
        for leaders in self._stateful_sets.lookup(record.metadata.uid):
            uids.append(leaders.metadata.uid)
            for leader in self._pods_of(leaders.metadata.uid):
                group = [leader]
                for workers in self._stateful_sets.lookup(leader.metadata.uid):
                    uids.append(workers.metadata.uid)
                    group += self._pods_of(workers.metadata.uid)
                groups.append(tuple(group))
        return OtherWorkload(
            record, LEADER_WORKER_SET, record.to_workload(), tuple(groups), tuple(uids)
        )

    def _pods_of(self, uid: str) -> list[Pod]:
        pods = self._stateful_set_pods.owned_by(uid).values()
        return sorted(pods, key=lambda pod: (len(pod.metadata.name), pod.metadata.name))

    # -- changes --------------------------------------------------------------------------------

    def update(self, record: Record, *, deleted: bool) -> set[Key]:
        """Store or delete a record; returns the keys of the servings that it may concern."""
        match record:
            case StatefulSet():
                affected: set[Key] = set()
                for key in self._stateful_sets.update(record, deleted=deleted):
                    affected |= self.keys_of_object(key) if isinstance(key, str) else {key}
            case LeaderWorkerSet():
                affected = set(self._leader_worker_sets.update(record, deleted=deleted))
                for key in tuple(affected):
                    affected |= {
                        key_of(one, STATEFUL_SET) for one in self._stateful_sets.lookup(key)
                    }
            case InferenceService():
                affected = set(self._inference_services.update(record, deleted=deleted))
            case PlainPod():
                affected = set(self._plain_pods.update(record, deleted=deleted))
            case DaemonSet() | Rollout() | RayService() | RayCluster():
                affected = set(self._reported.update(record, deleted=deleted))
            case _:
                return set()
        self._update_listed(affected)
        return affected

    def update_pod(self, pod: Pod, *, deleted: bool) -> set[Key]:
        """Store or delete a Pod of a StatefulSet; returns the keys of the servings that it may
        concern."""
        found: set[Key] = set()
        for owner in self._stateful_set_pods.update(pod, deleted=deleted, unlabeled=False):
            found |= self.keys_of_object(owner)
        return found

    def set_leader_worker_sets_settled(self, settled: bool) -> set[Key]:
        """Set whether all LeaderWorkerSets are listed, or cannot be; returns the keys of the
        servings that it may concern."""
        if settled is self.leader_worker_sets_settled:
            return set()
        self.leader_worker_sets_settled = settled
        known = self._stateful_sets.keys()
        affected = {key for key in known if not isinstance(key, str) and key.kind == STATEFUL_SET}
        self._update_listed(affected)
        return affected

    def update_deployment(self, key: Key, deployment: Deployment | None) -> set[Key]:
        """Set the listed Deployment of that key, None for none; returns the InferenceServices that
        it concerns."""
        name = ""
        if deployment is not None:
            name = kserve.service_name(deployment.metadata.labels, deployment.spec.template)
        service = Key(key.namespace, name, INFERENCE_SERVICE) if name else None
        before = self._serving_of_deployment.pop(key, None)
        if service is not None:
            self._serving_of_deployment[key] = service
        if service == before:
            return set()
        affected = {one for one in (before, service) if one is not None}
        if before is not None:
            self._deployment_counts[before] -= 1
            if not self._deployment_counts[before]:
                del self._deployment_counts[before]
        if service is not None:
            self._deployment_counts[service] = self._deployment_counts.get(service, 0) + 1
        self._update_listed(affected)
        return affected

    def _update_listed(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if self.find(key) is None:
                self._listed.pop(key, None)
            else:
                self._listed.setdefault(key)

    def keys_of_object(self, uid: str) -> set[Key]:
        """Servings that the object with the uid belongs to: a workload, a StatefulSet of a
        LeaderWorkerSet, or a Pod."""
        found: set[Key] = set()
        if (stateful_set := self._stateful_sets.get(uid)) is not None:
            found |= self._keys_of_stateful_set(stateful_set)
        elif (pod := self._stateful_set_pods.get(uid)) is not None:
            found |= self.keys_of_object(controller_uid(pod, STATEFUL_SET))
        elif (group := self._leader_worker_sets.get(uid)) is not None:
            found.add(key_of(group, LEADER_WORKER_SET))
        elif (service := self._inference_services.get(uid)) is not None:
            found.add(key_of(service, INFERENCE_SERVICE))
        elif (plain := self._plain_pods.get(uid)) is not None:
            found.add(key_of(plain, POD))
        elif (reported := self._reported.get(uid)) is not None:
            found.add(key_of(reported, type(reported).__name__))
        return found

    def _keys_of_stateful_set(self, record: StatefulSet) -> set[Key]:
        group = _group_key(record)
        own = key_of(record, STATEFUL_SET)
        return {own, group} if group is not None else {own}


def _stateful_set_keys(record: StatefulSet) -> Iterable[Key | str]:
    """Its own key, that of the LeaderWorkerSet that its label names, and the uid of its
    controller."""
    yield key_of(record, STATEFUL_SET)
    if (group := _group_key(record)) is not None:
        yield group
    for owner in record.metadata.owner_references:
        if owner.controller:
            yield owner.uid


def _group_key(record: StatefulSet) -> Key | None:
    name = record.metadata.labels.get(GROUP_LABEL, "")
    return Key(record.metadata.namespace, name, LEADER_WORKER_SET) if name else None


def _if_serving(found: OtherWorkload) -> OtherWorkload | None:
    record = found.record
    templates = [found.workload.spec.template]
    if isinstance(record, LeaderWorkerSet):
        templates.append(record.spec.leader_worker_template.worker_template)
    labels = record.metadata.labels
    is_one = any(detection.is_serving_template(labels, template) for template in templates)
    return found if is_one else None


def _newest(records: Iterable[R]) -> R | None:
    """Of several records of one name the one that was created last: while an object is replaced,
    both may exist briefly."""
    return max(
        records,
        key=lambda record: (
            (created := record.metadata.creation_timestamp) is not None and created.timestamp(),
            record_uid(record),
        ),
        default=None,
    )
