"""Since when a serving has its status, as its objects tell: about the time before servedeck was
started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, as_time, mappings
from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline import StatusStart
from servedeck.serving.status.timeline_texts import short_pod_name
from servedeck.serving.text import format_count

UNAVAILABLE_TEXT = "too few replicas are available"
"""The Deployment's condition Available is not True."""


class PodReadiness(Protocol):
    """A Pod, as `servedeck.fleet.views.PodView` has it."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    @property
    def created(self) -> datetime | None: ...
    @property
    def ready_changed_at(self) -> datetime | None: ...


def find_status_start(
    status: Status,
    pods: Iterable[PodReadiness],
    deployment: Mapping[str, Any],
    replicasets: Iterable[Mapping[str, Any]] = (),
) -> StatusStart | None:
    """What the JSON of a Deployment ({} while it is unknown), that of its ReplicaSets, and its Pods
    tell about when the status began; None for nothing.

    A serving is scaled down since a ReplicaSet was scaled last, ready since its last Pod became
    ready, and in any other status since it became unavailable, else since the first of the Pods
    that are not ready now.
    """
    if status is Status.SCALED_DOWN:
        return _scaled_down_start(deployment, replicasets)
    if status is not Status.READY and (start := _unavailable_start(deployment)) is not None:
        return start
    live = [pod for pod in pods if not pod.finished and pod.status != "Terminating"]
    if status is Status.READY:
        return _ready_start(live)
    return _not_ready_start(live, as_str(as_mapping(deployment, "metadata").get("name")))


def _scaled_down_start(
    deployment: Mapping[str, Any], replicasets: Iterable[Mapping[str, Any]]
) -> StatusStart | None:
    """The controller of Deployments scales their ReplicaSets at once, and writes little else there.
    The Deployment itself does not tell: its scale subresource sets no time, and another manager may
    have changed something else since (kubernetes apimachinery pkg/util/managedfields/
    scalehandler.go; Kubernetes documentation, Server-Side Apply, "Field management")."""
    found = _owners_of_replicas(deployment)
    manager = as_str(found[0].get("manager")) if len(found) == 1 else ""
    scaled = [(one, _last_time(_owners_of_replicas(one))) for one in replicasets]
    dated = [(time, one) for one, time in scaled if time is not None]
    if not dated:
        time, created = _last_time(found), _creation_time(deployment)
        if time is None:
            return None
        return StatusStart("0 replicas", time, time != created, "" if time == created else manager)
    time, replicaset = max(dated, key=lambda pair: pair[0])
    if time == _creation_time(deployment):
        return StatusStart("0 replicas", time)
    # A ReplicaSet that is made while its Deployment has no replicas is never scaled.
    return StatusStart("0 replicas", time, time == _creation_time(replicaset), manager)


def _owners_of_replicas(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of managedFields that own `spec.replicas`."""
    entries = mappings(as_mapping(value, "metadata").get("managedFields"))
    return [one for one in entries if "f:replicas" in as_mapping(one, "fieldsV1", "f:spec")]


def _last_time(entries: Iterable[Mapping[str, Any]]) -> datetime | None:
    """The last time of entries of managedFields: that of the last change by their manager."""
    return max(filter(None, (as_time(one.get("time")) for one in entries)), default=None)


def _creation_time(value: Mapping[str, Any]) -> datetime | None:
    return as_time(as_mapping(value, "metadata").get("creationTimestamp"))


def _ready_start(pods: Sequence[PodReadiness]) -> StatusStart | None:
    known = [time for pod in pods if pod.is_ready and (time := pod.ready_changed_at) is not None]
    if not known or len(known) < len(pods):
        return None
    text = "the Pod is ready" if len(pods) == 1 else "all Pods are ready"
    return StatusStart(text, max(known))


def _unavailable_start(deployment: Mapping[str, Any]) -> StatusStart | None:
    for condition in mappings(as_mapping(deployment, "status").get("conditions")):
        time = as_time(condition.get("lastTransitionTime"))
        if condition.get("type") == "Available" and condition.get("status") != "True" and time:
            return StatusStart(UNAVAILABLE_TEXT, time)
    return None


def _not_ready_start(pods: Sequence[PodReadiness], serving: str) -> StatusStart | None:
    found = [
        (time, pod)
        for pod in pods
        if not pod.is_ready and (time := pod.ready_changed_at or pod.created) is not None
    ]
    if not found:
        return None
    time, first = min(found, key=lambda pair: pair[0])
    name = short_pod_name(first.name, serving)
    if len(found) == 1:
        return StatusStart(f"Pod {name} is not ready", time)
    others = format_count(len(found) - 1, "other Pod")
    return StatusStart(f"Pod {name} (and {others} later) is not ready", time)
