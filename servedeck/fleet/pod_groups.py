"""Groups Pods that fail for the same reason, so that hundreds of them take one line.

A ReplicaSet replaces a Pod that its node rejects at once, and the rejected ones stay until 12,500
terminated Pods exist in the cluster (kube-controller-manager, --terminated-pod-gc-threshold).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from servedeck.serving.duration import format_signed_duration
from servedeck.serving.status.diagnosis import PodHealth

if TYPE_CHECKING:
    from servedeck.fleet.views import PodView

SHOWN_PODS = 3
"""Pods of a group that are shown one by one while they live: each has a log. Finished ones are
shown as a group only."""
_MAX_NODES = 3
"""Nodes that a group names; of more, only the number."""


@dataclass(frozen=True, slots=True)
class PodGroup:
    """Pods with the same health and reason, in the order of the view; at least one."""

    health: PodHealth
    reason: str
    """Their short reason, or kubectl's STATUS if there is none."""
    finished: bool
    """They have ended and do not start again."""
    pods: tuple[PodView, ...]

    @property
    def count(self) -> int:
        return len(self.pods)

    @property
    def is_collapsed(self) -> bool:
        """Whether one line stands for them, instead of a row for each."""
        return self.count > (1 if self.finished else SHOWN_PODS)

    @property
    def newest(self) -> PodView:
        """The Pod that was created last."""
        return max(self.pods, key=_creation_key)

    @property
    def message(self) -> str:
        """The failure reason of the newest Pod in words."""
        return self.newest.message

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of their nodes, sorted."""
        return tuple(sorted({pod.node for pod in self.pods if pod.node}))

    @property
    def title(self) -> str:
        """ "706 × UnexpectedAdmissionError"."""
        return f"{self.count:,} × {self.reason}"

    def summary(self, now: datetime) -> str:
        """ "706 × UnexpectedAdmissionError on gpu-a, newest 2m"; the age is that of the newest."""
        text = self.title
        if nodes := self.nodes:
            place = ", ".join(nodes) if len(nodes) <= _MAX_NODES else f"{len(nodes)} nodes"
            text += f" on {place}"
        created = self.newest.created
        if created is not None:
            text += f", newest {format_signed_duration((now - created).total_seconds())}"
        return text


def group_pods(pods: Iterable[PodView]) -> tuple[PodGroup, ...]:
    """The Pods grouped by health, reason, failing container and revision; each group is where its
    first Pod is. Finished Pods are grouped apart from living ones."""
    found: dict[tuple[object, ...], list[PodView]] = {}
    for pod in pods:
        reason = pod.reason or pod.status
        key = (pod.finished, pod.health, reason, pod.container, pod.old_revision)
        found.setdefault(key, []).append(pod)
    return tuple(
        PodGroup(first.health, first.reason or first.status, first.finished, tuple(members))
        for members in found.values()
        for first in members[:1]
    )


def _creation_key(pod: PodView) -> tuple[float, str]:
    return (0.0 if pod.created is None else pod.created.timestamp()), pod.name
