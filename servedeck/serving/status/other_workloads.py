"""The state of a serving that is no Deployment, by the rules for Deployments where they apply."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from servedeck.serving.objects.records import Condition, Event, Pod, Workload
from servedeck.serving.objects.workload_records import InferenceService, StatefulSet
from servedeck.serving.status import reasons
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.events import event_time, latest_distinct
from servedeck.serving.status.pods import is_ready
from servedeck.serving.status.status import ServingStatus, Status, evaluate

DiagnosedPod = tuple[Pod, Diagnosis]

_CREATION_WRAPPER = re.compile(r"create Pod \S+ in StatefulSet \S+ failed error: ")
"""Kubernetes 1.34, pkg/controller/statefulset/stateful_pod_control.go."""


def evaluate_stateful_set(
    stateful_set: Workload, pods: Sequence[DiagnosedPod], events: Sequence[Event], pods_known: bool
) -> ServingStatus:
    """The state of a StatefulSet. It has no condition that says why no Pod can be created: without
    a Pod, its last Event does."""
    if not pods and pods_known and stateful_set.spec.replicas > 0:
        failures = [one for one in events if one.reason == "FailedCreate"]
        if newest := latest_distinct(failures, 1):
            message = _CREATION_WRAPPER.sub("", newest[0].message)
            condition = Condition(
                "ReplicaFailure", "True", newest[0].reason, message, event_time(newest[0])
            )
            stateful_set = msgspec.structs.replace(
                stateful_set,
                status=msgspec.structs.replace(stateful_set.status, conditions=(condition,)),
            )
    return evaluate(stateful_set, (), pods, pods_known, kind="StatefulSet")


def stateful_set_badge(stateful_set: StatefulSet) -> str:
    """ "updating 1/3" while Pods of two revisions are wanted, "" otherwise."""
    state = stateful_set.status
    desired = stateful_set.spec.replicas
    if not desired or not state.update_revision or state.current_revision == state.update_revision:
        return ""
    return f"updating {min(state.updated_replicas, desired)}/{desired}"


def evaluate_groups(
    groups_of: Workload, groups: Sequence[Sequence[DiagnosedPod]], size: int, pods_known: bool
) -> ServingStatus:
    """The state of a LeaderWorkerSet: a group is one replica and is ready when all of its `size`
    Pods are. The leader is the first Pod of a group."""
    found = evaluate(
        groups_of,
        (),
        [_diagnose_group(group, size) for group in groups if group],
        pods_known,
        kind="LeaderWorkerSet",
    )
    failing = sum(
        diagnosis.health in (PodHealth.ERROR, PodHealth.PENDING)
        for group in groups
        for _, diagnosis in group
    )
    return found._replace(failing_count=failing)


def _diagnose_group(group: Sequence[DiagnosedPod], size: int) -> DiagnosedPod:
    """The Pod that stands for its group: the first one that keeps it from being ready, else the
    leader."""
    active = [pair for pair in group if pair[1].health is not PodHealth.TERMINATING]
    if not active:
        return group[0]
    for health in (PodHealth.ERROR, PodHealth.PENDING, PodHealth.STARTING):
        for pair in active:
            if pair[1].health is health:
                return pair
    for pod, diagnosis in active:
        if not is_ready(pod):
            return pod, diagnosis
    leader, diagnosis = active[0]
    if len(active) < size:
        message = f"{len(active)} of {size} Pods of the group of {leader.metadata.name} exist"
        return leader, Diagnosis(PodHealth.STARTING, "Incomplete group", message)
    return leader, diagnosis


def evaluate_plain_pod(
    pod_as_workload: Workload, pods: Sequence[DiagnosedPod], pods_known: bool
) -> ServingStatus:
    """The state of a Pod without a controller. One that is deleted or has ended stays so: nothing
    replaces it."""
    for pod, diagnosis in pods:
        if diagnosis.health is PodHealth.TERMINATING:
            has_ended = pod.status.phase == "Succeeded"
            return ServingStatus(
                Status.ERROR if has_ended else Status.PENDING,
                diagnosis.reason,
                diagnosis.message,
                0,
            )
    return evaluate(pod_as_workload, (), pods, pods_known, kind="Pod")


def evaluate_inference_service(service: InferenceService) -> ServingStatus:
    """The state of an InferenceService by its conditions."""
    desired = service.spec.predictor.min_replicas
    conditions = service.status.conditions
    ready = next((one for one in conditions if one.type == "Ready"), None)
    if ready is not None and ready.status == "True":
        return ServingStatus(Status.READY, "", "", 0, desired)
    failure = service.status.model_status.last_failure_info
    explained = [one for one in conditions if one.status == "False" and (one.message or one.reason)]
    main = ready if ready in explained else (explained[0] if explained else ready)
    reason = failure.reason or (main.reason if main is not None else "")
    message = failure.message or (main.message if main is not None else "")
    if ready is None or ready.status != "False":
        state = Status.STARTING
        message = message or "KServe has not reported that it is ready"
    else:
        state = Status.ERROR
        message = message or "KServe reports that it is not ready"
    return ServingStatus(state, reasons.shorten(reason), reasons.shorten_message(message), 0)
