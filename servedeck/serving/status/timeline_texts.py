"""The texts of a timeline, the same for what is observed and what the objects tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from servedeck.serving.temperature import KEPT_SUFFIX

DISRUPTIONS = {
    "PreemptionByScheduler": "was preempted by a Pod with a higher priority",
    "DeletionByTaintManager": "was deleted because its node{node} has a taint that it does not"
    " tolerate",
    "EvictionByEvictionAPI": "was evicted from its node{node} by a request, for example a drain",
    "DeletionByPodGC": "was deleted because its node{node} does not exist anymore",
    "TerminationByKubelet": "was terminated by its node{node}, which is short of resources or shuts"
    " down",
}
"""Reasons of the condition DisruptionTarget
(https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions)."""

NODE_LOST_STATUSES = frozenset({"Unknown", "NodeLost"})
"""kubectl's STATUS of a Pod whose node does not respond."""


class ContainerTimes(Protocol):
    """A container, as `servedeck.fleet.views.ContainerView` has it."""

    @property
    def name(self) -> str: ...
    @property
    def restarts(self) -> int: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def finish_reason(self) -> str: ...


class PodTimes(Protocol):
    """A Pod, as `servedeck.fleet.views.PodView` has it."""

    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def node(self) -> str: ...
    @property
    def ready_changed_at(self) -> datetime | None: ...
    @property
    def disruption(self) -> str: ...
    @property
    def disrupted_at(self) -> datetime | None: ...
    @property
    def heat(self) -> str: ...
    @property
    def containers(self) -> Sequence[ContainerTimes]: ...


DEADLINE_TEXT = "rollout did not finish within its progress deadline"
PAUSED_TEXT = "rollout paused"
BLOCKED_TEXT = "rollout blocked by its own old Pods"


def finished_text(revision: str) -> str:
    """That the rollout of a revision finished; it may be unknown."""
    return f"rollout of revision {revision} finished" if revision else "rollout finished"


def rollout_text(revision: str, image: str, previous_image: str) -> str:
    """ "rollout to revision 15 (image v0.11.1)"; without the image if it is that of before."""
    text = f"rollout to revision {revision}"
    if image and image != previous_image:
        return f"{text} (image {short_image(image, previous_image)})"
    return text


def restart_text(container: ContainerTimes, pod_name: str, *, total: bool = False) -> str:
    """ "inference-server restarted after OOMKilled (Pod …6b8f-9qk2x)"; `total` adds the number of
    restarts so far."""
    if container.restarts:
        what = "restarted" + (
            f" after {container.finish_reason}" if container.finish_reason else ""
        )
    else:
        what = "ended" + (f" with {container.finish_reason}" if container.finish_reason else "")
    so_far = f", {container.restarts:,} restarts so far" if total else ""
    return f"{container.name} {what} (Pod {pod_name}{so_far})"


def disruption_text(pod: PodTimes, serving: str) -> str:
    """Why a Pod was taken from its node."""
    words = DISRUPTIONS.get(pod.disruption, f"was disrupted ({pod.disruption})")
    node = f" {pod.node}" if pod.node else ""
    return f"Pod {short_pod_name(pod.name, serving)} {words.replace('{node}', node)}"


def temperature_text(pod: PodTimes, serving: str) -> str:
    """That the temperature policy counts a Pod as too hot, or no more."""
    name = f"Pod {short_pod_name(pod.name, serving)}"
    if not pod.heat:
        return f"{name} has cooled down"
    if pod.heat.endswith(KEPT_SUFFIX):
        return f"{name} is {pod.heat.removesuffix(KEPT_SUFFIX)}, the last ready Pod in traffic"
    return f"{name} is {pod.heat}, out of traffic"


def node_lost_text(pod: PodTimes, serving: str) -> str:
    """That a Pod's node does not respond."""
    node = f" {pod.node}" if pod.node else ""
    return f"node{node} of Pod {short_pod_name(pod.name, serving)} does not respond"


def short_pod_name(pod: str, serving: str) -> str:
    """The name of a Pod without the name of the serving at its start, "…6b8f-9qk2x"."""
    rest = pod.removeprefix(f"{serving}-")
    return pod if rest == pod else f"…{rest}"


def short_image(image: str, previous: str = "") -> str:
    """An image in a few words: its tag if only that differs from the previous image, else its last
    component. A digest is cut to twelve digits."""
    name, separator, tag = _split_image(image)
    if not separator:
        return name.rpartition("/")[2]
    if separator == "@":
        tag = f"{tag.removeprefix('sha256:')[:12]}"
    if not previous or _split_image(previous)[0] == name:
        return tag
    return f"{name.rpartition('/')[2]}{separator}{tag}"


def _split_image(image: str) -> tuple[str, str, str]:
    """Name, "@" or ":" or "", and digest or tag. A port of the registry is no tag."""
    name, separator, digest = image.partition("@")
    if separator:
        return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name, "@", digest
    path, slash, last = image.rpartition("/")
    base, separator, tag = last.partition(":")
    return f"{path}{slash}{base}", separator, tag
