"""Builds views from records: of one Pod, one Event, one autoscaler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from servedeck.fleet.views import ContainerView, EventView, NamespacedName, PodView, ServingView
from servedeck.serving.accelerators import accelerator_display_name, is_accelerator
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.objects import detection
from servedeck.serving.objects.records import (
    Condition,
    ContainerStateTerminated,
    ContainerStatus,
    DeploymentMeta,
    Event,
    HorizontalPodAutoscaler,
    Pod,
    PodContainer,
    ScaledObject,
    Workload,
)
from servedeck.serving.quantity import parse_quantity
from servedeck.serving.status import pods
from servedeck.serving.status.diagnosis import Diagnosis
from servedeck.serving.status.events import event_count, event_time, latest_distinct
from servedeck.serving.status.pod_fields import container_statuses
from servedeck.serving.status.reasons import shell_exit_code, termination_reason
from servedeck.serving.status.start_times import find_start
from servedeck.serving.status.status import Status
from servedeck.serving.temperature import TEMPERATURE_GATE, heat_text
from servedeck.serving.text import one_line, sanitize

_MIN_TIME = datetime.min.replace(tzinfo=UTC)
MAX_EVENTS = 10
"""Maximum number of Events of one object; the newest are used."""


class WorkloadFacts(NamedTuple):
    """What a view says of the workload alone, whatever its Pods do."""

    workload: Workload
    accelerators: detection.Accelerators
    server: detection.DetectedServer
    owner: str
    managed: bool
    image: str


def find_workload_facts(workload: Workload) -> WorkloadFacts:
    """Detect them. Worth keeping: it takes a sixth of the time in which a changed Pod is joined."""
    server = detection.detect_deployment(workload)
    return WorkloadFacts(
        workload,
        detection.detect_accelerators(workload.spec.template),
        server,
        detection.detect_owner(workload),
        detection.is_managed(workload),
        one_line(server.container.image) if server.container is not None else "",
    )


def build_event_views(events: Iterable[Event]) -> tuple[EventView, ...]:
    """The newest Events, newest first, without duplicate texts."""
    return tuple(
        EventView(
            time=event_time(event),
            type=event.type,
            reason=event.reason,
            message=event.message,
            count=event_count(event),
        )
        for event in latest_distinct(events, MAX_EVENTS)
    )


def build_pod_view(
    pod: Pod,
    diagnosis: Diagnosis,
    events: Sequence[Event],
    *,
    namespace: str,
    old_revision: bool,
    revision: str,
    previous: PodView | None,
) -> PodView:
    """The view of a Pod. Parts that equal those of `previous` are reused, so 5,000 Pods keep one
    copy of unchanged parts."""
    columns = pods.pod_columns(pod)
    ready = _find_condition(pod, "Ready")
    disruption = _find_condition(pod, "DisruptionTarget")
    gate = _find_condition(pod, TEMPERATURE_GATE)
    is_disrupted = disruption is not None and disruption.status == "True"
    view = PodView(
        name=pod.metadata.name,
        namespace=namespace,
        uid=pod.metadata.uid,
        status=columns.status,
        ready=_interned(columns.ready),
        is_ready=pods.is_ready(pod),
        restarts=columns.restart_count,
        last_finished_at=columns.last_finished_at,
        node=_interned(pod.spec.node_name),
        created=pod.metadata.creation_timestamp,
        health=diagnosis.health,
        reason=diagnosis.reason,
        message=diagnosis.message,
        container=diagnosis.container,
        old_revision=old_revision,
        containers=_build_container_views(pod),
        events=build_event_views(events) if events else (),
        insufficient_resources=diagnosis.insufficient_resources,
        ip=pod.status.pod_ip,
        qos_class=_interned(pod.status.qos_class),
        accelerators=_accelerators_text(pod),
        last_termination=_last_termination_text(pod),
        revision=_interned(revision),
        finished=pod.status.phase in ("Failed", "Succeeded"),
        ready_changed_at=ready.last_transition_time if ready is not None else None,
        disruption=_interned(disruption.reason) if disruption and is_disrupted else "",
        disrupted_at=disruption.last_transition_time if disruption and is_disrupted else None,
        heat=_interned(heat_text(gate.reason, gate.message)) if gate is not None else "",
    )
    if previous is None:
        return view
    if view == previous:
        return previous
    if view.containers == previous.containers:
        return replace(view, containers=previous.containers)
    return view


def _accelerators_text(pod: Pod) -> str:
    counts: dict[str, int] = {}
    for container in pod.spec.containers:
        for resource, amount in container.resources.limits.items():
            if is_accelerator(resource):
                try:
                    counts[resource] = counts.get(resource, 0) + int(parse_quantity(amount))
                except ValueError:
                    continue
    return _interned(
        ", ".join(
            f"{count} {accelerator_display_name(resource)}"
            for resource, count in sorted(counts.items())
            if count
        )
    )


def _last_termination_text(pod: Pod) -> str:
    """How the container that finished last ended."""
    ends = [
        terminated
        for _, container in container_statuses(pod)
        if (terminated := container.last_state.terminated or container.state.terminated) is not None
        and not (container in pod.status.init_container_statuses and not terminated.exit_code)
    ]
    if not ends:
        return ""
    last = max(ends, key=lambda one: one.finished_at or _MIN_TIME)
    reason = last.reason or ("Completed" if not last.exit_code else "Error")
    return _interned(f"{reason} ({last.exit_code})")


def _build_container_views(pod: Pod) -> tuple[ContainerView, ...]:
    statuses = {status.name: status for status in pod.status.init_container_statuses}
    init = [
        _build_container_view(pod, spec, statuses.get(spec.name), True)
        for spec in pod.spec.init_containers
    ]
    statuses = {status.name: status for status in pod.status.container_statuses}
    main = [
        _build_container_view(pod, spec, statuses.get(spec.name), False)
        for spec in pod.spec.containers
    ]
    return (*init, *main)


def _build_container_view(
    pod: Pod, spec: PodContainer, status: ContainerStatus | None, init: bool
) -> ContainerView:
    if status is None:
        return ContainerView(_interned(spec.name), "", False, 0, init, False, "")
    if status.state.running is not None:
        state = "Running"
    elif status.state.terminated is not None:
        state = "Terminated"
    elif status.state.waiting is not None:
        state = "Waiting"
    else:
        state = ""
    finished = status.state.terminated or status.last_state.terminated
    running, waiting = status.state.running, status.state.waiting
    return ContainerView(
        name=_interned(spec.name),
        state=state,
        ready=status.ready,
        restarts=status.restart_count,
        init=init,
        has_previous=status.last_state.terminated is not None,
        container_id=status.container_id,
        started_at=running.started_at if running is not None else None,
        finished_at=finished.finished_at if finished is not None else None,
        finish_reason=_interned(_finish_reason(finished)) if finished is not None else "",
        exit_code=shell_exit_code(finished) if finished is not None else None,
        waiting_reason=_interned(waiting.reason) if waiting is not None else "",
        start=None if init else find_start(pod, spec, status),
    )


def _finish_reason(finished: ContainerStateTerminated) -> str:
    if finished.reason == "Completed":
        return finished.reason
    return termination_reason(finished)


def _find_condition(pod: Pod, kind: str) -> Condition | None:
    return next((one for one in pod.status.conditions if one.type == kind), None)


@lru_cache(maxsize=4096)
def _interned(text: str) -> str:
    """One string for equal texts: names of containers and nodes are repeated in every Pod."""
    return text


def unreadable_view(
    key: NamespacedName, deployment: Workload | None, error: Exception
) -> ServingView:
    """The view of a serving whose objects cannot be evaluated: the error and its name."""
    meta = deployment.metadata if deployment is not None else DeploymentMeta()
    why = one_line(sanitize(f"{type(error).__name__}: {error}"))
    return ServingView(
        key=key,
        uid=meta.uid,
        status=Status.ERROR,
        reason="Unreadable",
        message=f"unreadable objects ({why}); please report this",
        failing=0,
        rollout="",
        ready=0,
        desired=deployment.spec.replicas if deployment is not None else 0,
        template="",
        model="",
        accelerator="",
        accelerator_resource="",
        accelerator_count=0,
        restarts=0,
        endpoint=Endpoint(),
        autoscaler="",
        image="",
        server_container="",
        created=meta.creation_timestamp,
        labels=meta.labels,
        description="",
        managed=False,
        pods=(),
        events=(),
    )


def format_autoscalers(
    scaled_objects: Iterable[ScaledObject], autoscalers: Iterable[HorizontalPodAutoscaler]
) -> str:
    """ "KEDA 1-10", "HPA 1-10", or "". The autoscaler that KEDA creates for a ScaledObject is
    omitted."""
    texts = [
        f"KEDA {autoscaler.spec.min_replica_count}-{autoscaler.spec.max_replica_count}"
        for autoscaler in sorted(scaled_objects, key=lambda one: one.metadata.name)
    ] or [
        f"HPA {autoscaler.spec.min_replicas}-{autoscaler.spec.max_replicas}"
        for autoscaler in sorted(autoscalers, key=lambda one: one.metadata.name)
    ]
    return ", ".join(texts)
