"""Since when a serving has its status, as its objects tell: about the time before servedeck was
started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from servedeck.serving.objects.managed_fields import owns_any
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, as_time, mappings
from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline_texts import short_pod_name
from servedeck.serving.text import format_count

UNAVAILABLE_TEXT = "too few replicas are available"
"""The Deployment's condition Available is not True."""
REPLICAS_PATH = ("spec", "replicas")


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


@dataclass(frozen=True, slots=True)
class StatusStart:
    """What is true since when."""

    text: str
    """ "Pod …6b8f-9qk2x is not ready"."""
    time: datetime
    is_latest: bool = False
    """True if it may have begun before."""
    manager: str = ""
    """Field manager that changed it, "kubectl"; "" if that does not apply."""


def find_status_start(
    status: Status,
    pods: Iterable[PodReadiness],
    deployment: Mapping[str, Any],
) -> StatusStart | None:
    """What the Deployment ({} while it is unknown) and the Pods tell about the begin of a status;
    None for nothing.

    A serving is scaled down since `spec.replicas` was written, ready since its last Pod became
    ready, and in any other status since it became unavailable, else since the first of the Pods
    that are not ready now.
    """
    if status is Status.SCALED_DOWN:
        return _scaled_down_start(deployment)
    live = [pod for pod in pods if not pod.finished and pod.status != "Terminating"]
    if status is Status.READY:
        return _ready_start(live)
    return _unavailable_start(deployment) or _not_ready_start(
        live, as_str(as_mapping(deployment, "metadata").get("name"))
    )


def _scaled_down_start(deployment: Mapping[str, Any]) -> StatusStart | None:
    """The time of an entry of managedFields is that of the last change by its manager. An entry of
    the subresource scale (kubectl scale, an autoscaler) changes nothing but the replicas; another
    one may have changed something else since (Kubernetes documentation, Server-Side Apply, Field
    management)."""
    metadata = as_mapping(deployment, "metadata")
    owners = [
        (time, entry)
        for entry in mappings(metadata.get("managedFields"))
        if owns_any(entry, deployment, [REPLICAS_PATH])
        and (time := as_time(entry.get("time"))) is not None
    ]
    if not owners:
        return None
    # Several managers own it if they applied the same number: the first one set it.
    time, entry = min(owners, key=lambda pair: pair[0])
    is_scale = entry.get("subresource") == "scale"
    was_created = time == as_time(metadata.get("creationTimestamp"))
    manager = "" if was_created else as_str(entry.get("manager"))
    return StatusStart("0 replicas", time, not is_scale and not was_created, manager)


def _ready_start(pods: Sequence[PodReadiness]) -> StatusStart | None:
    times = [pod.ready_changed_at for pod in pods if pod.is_ready]
    known = [time for time in times if time is not None]
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
