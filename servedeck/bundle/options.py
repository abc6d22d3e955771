"""What a bundle may take, and what it will read: said before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servedeck.fleet.views import ContainerView, PodView, ServingView
from servedeck.serving.duration import format_duration
from servedeck.serving.quantity import format_quantity
from servedeck.serving.text import format_count

MIN_SIZE = 1 << 20
"""Bytes that a bundle takes at least to be of use."""


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """The limits of a bundle."""

    max_bytes: int = 100 << 20
    """Size of all files before they are compressed; the archive is smaller."""
    timeout: float = 120.0
    """Seconds within which the bundle is made."""
    tail_lines: int | None = 10_000
    """Last lines of each log; None for all."""
    tail_bytes: int | None = None
    """Last bytes of each log; None for as many as fit."""
    since: float | None = None
    """Only log lines of the last seconds; None for all."""


@dataclass(frozen=True, slots=True)
class LogStream:
    """A log of one container."""

    pod: PodView
    container: ContainerView
    previous: bool
    """Of the instance before the current one."""

    @property
    def title(self) -> str:
        """ "llama-6b8f-9qk2x/inference-server, previous instance"."""
        title = f"{self.pod.name}/{self.container.name}"
        return f"{title}, previous instance" if self.previous else title


def log_streams(pods: Sequence[PodView]) -> list[LogStream]:
    """The logs of the Pods, in their order, which has the failing ones first. Of a Pod, those of
    the failing container come first, and of a container its current instance."""
    streams = []
    for pod in pods:
        failing = [one for one in pod.containers if one.name == pod.container]
        others = [one for one in pod.containers if one.name != pod.container]
        for container in (*failing, *others):
            streams.append(LogStream(pod, container, False))
            if container.has_previous:
                streams.append(LogStream(pod, container, True))
    return streams


def describe_estimate(view: ServingView, options: BundleOptions) -> str:
    """One sentence: what is read, and what it takes at most."""
    pods = format_count(len(view.pods), "Pod")
    logs = format_count(len(log_streams(view.pods)), "log")
    size = format_quantity(options.max_bytes, binary=True)
    return (
        f"Bundle of {view.key}: {pods}, {logs}; at most {size} before compression and"
        f" {format_duration(options.timeout)}."
    )
