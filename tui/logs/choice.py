"""Which logs of a serving are shown: Pods, container, instance, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servedeck.fleet.views import PodView
from servedeck.logs.instances import LogSelection
from servedeck.logs.streams import LogSince

ALL_CONTAINERS = ""
"""Stands for all containers of the Pods, init containers too."""

SINCE_CHOICES: tuple[tuple[str, LogSince], ...] = (
    ("last lines", LogSince()),
    ("1m", LogSince(seconds=60)),
    ("5m", LogSince(seconds=300)),
    ("15m", LogSince(seconds=900)),
    ("1h", LogSince(seconds=3600)),
    ("6h", LogSince(seconds=21_600)),
    ("all", LogSince(tail=None)),
)
"""Name and value of each choice of how far back a log begins."""


@dataclass(frozen=True)
class LogChoice:
    """What the operator has chosen."""

    pods: frozenset[str] | None = None
    """Names of Pods; None for all of the serving, those of a rollout too."""
    container: str | None = None
    """Name of a container, or ALL_CONTAINERS; None for that of the inference server."""
    previous: bool = False
    """The previous instance of each container first, also where it did not crash."""
    since: str = SINCE_CHOICES[0][0]
    """Name of one of SINCE_CHOICES."""

    @property
    def log_since(self) -> LogSince:
        return dict(SINCE_CHOICES)[self.since]

    def chosen_pods(self, pods: Sequence[PodView]) -> list[PodView]:
        """Those of the serving's Pods that are chosen."""
        return [pod for pod in pods if self.pods is None or pod.name in self.pods]

    def container_name(self, pods: Sequence[PodView], server_container: str) -> str:
        """The chosen container, else that of the inference server, else the first one;
        ALL_CONTAINERS where no container is known."""
        if self.container is not None:
            return self.container
        names = container_names(self.chosen_pods(pods))
        if server_container in names:
            return server_container
        return names[0] if names else ALL_CONTAINERS

    def selection(self, pods: Sequence[PodView], server_container: str) -> LogSelection:
        """The choice as the streams need it."""
        name = self.container_name(pods, server_container)
        containers = None if name == ALL_CONTAINERS else frozenset((name,))
        return LogSelection(self.pods, containers, self.previous)


def since_for(age_seconds: float) -> str:
    """The name of the shortest choice that reaches back so far."""
    for name, since in SINCE_CHOICES:
        if since.seconds is not None and since.seconds > age_seconds:
            return name
    return SINCE_CHOICES[-1][0]


def container_names(pods: Sequence[PodView]) -> list[str]:
    """Names of the containers of the Pods, init containers last."""
    containers = [container for pod in pods for container in pod.containers]
    containers.sort(key=lambda container: container.init)
    return list(dict.fromkeys(container.name for container in containers))


def next_container(current: str, names: Sequence[str]) -> str:
    """The container after `current`; all of them after the last one."""
    cycle = [*names, ALL_CONTAINERS]
    at = cycle.index(current) if current in cycle else -1
    return cycle[(at + 1) % len(cycle)]


def waiting_reason(pods: Sequence[PodView], container: str) -> str:
    """Why there are no lines yet, in a few words; "" if there is no reason."""
    if not pods:
        return "nothing to follow"
    for pod in pods:
        found = [one for one in pod.containers if container in (one.name, ALL_CONTAINERS)]
        if any(one.state not in ("", "Waiting") or one.has_previous for one in found):
            return ""
    what = "the container to start" if pods[0].containers and pods[0].node else "the Pod to start"
    return f"waiting for {what}: {pods[0].reason or pods[0].status}"
