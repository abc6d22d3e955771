"""Which instances of which containers have a log, as the watches show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from servedeck.fleet.views import ContainerView, PodView
from servedeck.serving.status.diagnosis import PodHealth

_HEALTH_ORDER = {PodHealth.ERROR: 0, PodHealth.PENDING: 1}
_GENERIC_REASONS = ("", "Error", "Completed")


class LogSelection(NamedTuple):
    """Which logs are read."""

    pods: frozenset[str] | None = None
    """Names of Pods; None for all."""
    containers: frozenset[str] | None = None
    """Names of containers; None for all, init containers included."""
    previous: bool = False
    """Whether the instance before the current one is read first even if it did not crash."""


class ContainerKey(NamedTuple):
    """A container of one Pod; a Pod that is made again by the same name is another."""

    pod_uid: str
    container: str


@dataclass(frozen=True, slots=True)
class ContainerInstance:
    """The latest instance of a container, and how the one that ended last did so.

    The restart count is the number of the instance: it rises when the next one is created, and
    stays while the container waits for that (kubernetes pkg/kubelet/kuberuntime, startContainer).
    """

    namespace: str
    pod: str
    pod_uid: str
    container: str
    init: bool
    restart_count: int
    container_id: str
    running: bool
    terminated: bool
    """Whether this instance has ended. The container may wait for its next start meanwhile."""
    waiting_reason: str
    """Why it has not started, or not again, "CrashLoopBackOff"; "" if it does not wait."""
    has_previous: bool
    """Whether the node may have the log of the instance before this one."""
    exit_code: int | None
    """Exit code of the instance that ended last; None if none has."""
    exit_reason: str
    """"OOMKilled"; "" if it says no more than the exit code."""
    started_at: datetime | None
    """When this instance started, if it is running."""
    finished_at: datetime | None
    """When the instance that ended last did so."""
    pod_finished: bool
    """The Pod has ended and starts no container again."""
    has_siblings: bool
    """Whether its Pod has other containers."""

    @property
    def key(self) -> ContainerKey:
        return ContainerKey(self.pod_uid, self.container)

    @property
    def exists(self) -> bool:
        """Whether this instance has started, so that it may have a log."""
        return self.running or self.terminated

    @property
    def crashed_before(self) -> bool:
        """Whether the instance before this one failed."""
        return self.running and self.has_previous and bool(self.exit_code)

    @property
    def label(self) -> str:
        """ "chat-7f9c", with the container if the Pod has others: "chat-7f9c transformer"."""
        return f"{self.pod} {self.container}" if self.has_siblings else self.pod

    @property
    def exit_text(self) -> str:
        """How the instance that ended last did so, "exit 137 OOMKilled"."""
        if self.exit_code is None:
            return ""
        return f"exit {self.exit_code} {self.exit_reason}".rstrip()


def find_instance(pod: PodView, container: ContainerView) -> ContainerInstance:
    """The latest instance of a container."""
    running = container.state == "Running"
    waits = container.state == "Waiting"
    # a container that waits has ended if an instance ended before: the kubelet then returns that
    # instance's log, and has none of an earlier one
    terminated = container.state == "Terminated" or (waits and container.has_previous)
    reason = container.finish_reason
    if reason in _GENERIC_REASONS or reason.startswith(("exit code ", "signal ")):
        reason = ""
    return ContainerInstance(
        namespace=pod.namespace,
        pod=pod.name,
        pod_uid=pod.uid,
        container=container.name,
        init=container.init,
        restart_count=container.restarts,
        container_id=container.container_id,
        running=running,
        terminated=terminated,
        waiting_reason=(container.waiting_reason or pod.reason or pod.status) if waits else "",
        has_previous=container.has_previous and not waits,
        exit_code=container.exit_code,
        exit_reason=reason,
        started_at=container.started_at,
        finished_at=container.finished_at,
        pod_finished=pod.finished,
        has_siblings=len(pod.containers) > 1,
    )


def select_instances(
    pods: Iterable[PodView], selection: LogSelection
) -> dict[ContainerKey, ContainerInstance]:
    """The selected instances: those of failing Pods first, otherwise in the order of the Pods."""
    chosen = [pod for pod in pods if selection.pods is None or pod.name in selection.pods]
    chosen.sort(key=lambda pod: _HEALTH_ORDER.get(pod.health, 2))
    return {
        ContainerKey(pod.uid, container.name): find_instance(pod, container)
        for pod in chosen
        for container in pod.containers
        if selection.containers is None or container.name in selection.containers
    }
