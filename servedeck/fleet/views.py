"""What the screens and the command line show: immutable views, compared by value.

A view is complete: showing one needs no other data. All strings are sanitized; times are aware
datetimes in UTC; ages are computed on display.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import is_
from typing import NamedTuple

from servedeck.serving.capacity import InsufficientResource
from servedeck.serving.conventions import REVISION_LABEL, SERVING_LABEL
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.start_times import Start
from servedeck.serving.status.status import Status

DEPLOYMENT_KIND = "Deployment"

SHOWN_PODS = 3
"""Pods of a group that are shown one by one while they live: each has a log. Finished ones are
shown as a group only."""
_MAX_NODES = 3
"""Nodes that a group names; of more, only the number."""


REPORTED_KINDS = frozenset({"DaemonSet", "InferenceService", "RayCluster", "RayService", "Rollout"})
"""Kinds of workload whose Pods are not read."""


class NamespacedName(NamedTuple):
    """Identity of a serving on screen: it stays the same when its workload is replaced."""

    namespace: str
    name: str
    kind: str = DEPLOYMENT_KIND
    """Kind of the workload."""

    @property
    def is_deployment(self) -> bool:
        return self.kind == DEPLOYMENT_KIND

    def __str__(self) -> str:
        """ "team-a/llama", or "StatefulSet team-a/llama" for another kind than Deployment."""
        path = f"{self.namespace}/{self.name}"
        return path if self.is_deployment else f"{self.kind} {path}"


@dataclass(frozen=True, slots=True)
class EventView:
    time: datetime | None
    type: str
    reason: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class ContainerView:
    name: str
    state: str
    """Waiting, Running, Terminated, or "" before the kubelet reported one."""
    ready: bool
    restarts: int
    init: bool
    has_previous: bool
    """True if a terminated instance's log can be requested (kubectl logs --previous)."""
    container_id: str
    started_at: datetime | None = None
    """When the current instance started; None if it does not run."""
    finished_at: datetime | None = None
    """When the last terminated instance finished."""
    finish_reason: str = ""
    """Why it finished, "OOMKilled" or "exit code 1"; "" if none has."""
    exit_code: int | None = None
    """The exit code of the last terminated instance; None if none has."""
    waiting_reason: str = ""
    """Why it waits, "CrashLoopBackOff"; "" if it does not."""
    start: Start | None = None
    """How long it took to be ready, see `servedeck.serving.status.start_times.find_start`; None for
    an init container."""


@dataclass(frozen=True, slots=True)
class PodView:
    name: str
    namespace: str
    uid: str
    status: str
    """kubectl's STATUS column."""
    ready: str
    """kubectl's READY column, "1/2"."""
    is_ready: bool
    restarts: int
    last_finished_at: datetime | None
    node: str
    created: datetime | None
    health: PodHealth
    reason: str
    """Short reason, "OOMKilled"; "" for a healthy Pod."""
    message: str
    """The failure reason in words."""
    container: str
    """Container that fails; "" if it is the Pod itself."""
    old_revision: bool
    containers: tuple[ContainerView, ...]
    events: tuple[EventView, ...]
    """Warnings about the Pod, newest first, at most 10."""
    insufficient_resources: tuple[InsufficientResource, ...] = ()
    """Requested resources of which nodes do not have enough free."""
    ip: str = ""
    qos_class: str = ""
    """Guaranteed, Burstable or BestEffort."""
    accelerators: str = ""
    """Requested accelerators, "4 NVIDIA GPU"; "" for none."""
    last_termination: str = ""
    """How the last instance of a container ended, "OOMKilled (137)"; "" if none did."""
    revision: str = ""
    """Revision of the Deployment that the Pod belongs to; "" if it is unknown."""
    finished: bool = False
    """It has ended and does not start again (phase Failed or Succeeded)."""
    ready_changed_at: datetime | None = None
    """When the Pod became ready, or stopped to be."""
    disruption: str = ""
    """Reason of its condition DisruptionTarget, "DeletionByTaintManager"; "" without one."""
    disrupted_at: datetime | None = None
    """When it got that condition."""
    heat: str = ""
    """ "hot 91 °C" while the temperature policy counts it as too hot; "" otherwise."""
    _search_text: str = field(default="", init=False, repr=False, compare=False)

    @property
    def search_text(self) -> str:
        """The text that the filter's free text searches, in lower case. Built on first use and
        cached, as a view never changes."""
        if not self._search_text:
            object.__setattr__(self, "_search_text", _build_pod_search_text(self))
        return self._search_text


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
    """The Pods that fail for the same reason together, so that hundreds of them take one line: by
    health, reason, failing container and revision; each group is where its first Pod is. Finished
    Pods are grouped apart from living ones.

    A ReplicaSet replaces a Pod that its node rejects at once, and the rejected ones stay until
    12,500 terminated Pods exist in the cluster (kube-controller-manager,
    --terminated-pod-gc-threshold).
    """
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


def changed_pods(
    before: Sequence[PodView], after: Sequence[PodView]
) -> list[tuple[PodView | None, PodView]]:
    """The Pods that were added or changed, each with its view before, None for an added one.

    Of thousands few change: what is at the same place from the start, and from the end, is left out
    first, which takes less than a twentieth of the time of looking every Pod up.
    """
    start = _count_same(before, after)
    before, after = before[start:], after[start:]
    end = _count_same(before[::-1], after[::-1])
    earlier = {pod.uid: pod for pod in before[: len(before) - end]}
    return [
        (earlier.get(pod.uid), pod)
        for pod in after[: len(after) - end]
        if earlier.get(pod.uid) is not pod
    ]


def _count_same(one: Sequence[PodView], other: Sequence[PodView]) -> int:
    """How many leading items are the same objects."""
    same = list(map(is_, one, other))
    return same.index(False) if False in same else len(same)


def _creation_key(pod: PodView) -> tuple[float, str]:
    return (0.0 if pod.created is None else pod.created.timestamp()), pod.name


@dataclass(frozen=True, slots=True)
class ServingView:
    key: NamespacedName
    uid: str
    status: Status
    reason: str
    """Short reason for the badge, "" if there is none."""
    message: str
    """The main failure reason in words."""
    failing: int
    """Number of Pods in an error or pending state."""
    rollout: str
    """Badge, "updating 1/3"; "" without a rollout in progress."""
    ready: int
    desired: int
    template: str
    model: str
    accelerator: str
    """Display name of the accelerator, "" for none; for dynamic resource allocation the name of the
    claim, "resource claim single-gpu": the Pods do not say which devices it selects."""
    accelerator_resource: str
    """Its resource key, "nvidia.com/gpu"; "" for a resource claim."""
    accelerator_count: int
    """Accelerators for each replica."""
    restarts: int
    endpoint: Endpoint
    autoscaler: str
    """"KEDA 1-10", "HPA 1-10", or ""."""
    image: str
    server_container: str
    """Container of the Pods that runs the inference server; "" if there is none."""
    created: datetime | None
    labels: dict[str, str]
    description: str
    managed: bool
    """False for a Deployment that is only recognized as a serving and was not created by
    servedeck."""
    pods: tuple[PodView, ...]
    """Failing first, then in kubectl's order; those that failed for good last."""
    events: tuple[EventView, ...]
    """Warnings about the Deployment and its ReplicaSets, newest first, at most 10."""
    objectives: str = ""
    """Of the annotation, see `servedeck.serving.objectives`."""
    model_source: str = ""
    """URI that the model is loaded from, "hf://org/model", where `model` does not say it."""
    owner: str = ""
    """Object whose controller reverts changes of the Deployment, "InferenceService llama"; "" for
    none."""
    revision: str = ""
    """Revision of the Deployment; "" while it has none."""
    rollout_message: str = ""
    """Why the rollout cannot go on, in one sentence; "" if it can, as far as known."""
    rollout_way_out: str = ""
    """Value of the field rollout with which it goes on; "" where none helps."""
    pods_known: bool = True
    """False if its Pods, or the ReplicaSets that own them, may not be listed."""
    has_async_queue: bool = False
    """Whether the Deployment of an async gateway for it is there."""
    _search_text: str = field(default="", init=False, repr=False, compare=False)
    _pod_groups: tuple[PodGroup, ...] = field(default=(), init=False, repr=False, compare=False)
    _failing_pods: tuple[PodView, ...] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def kind(self) -> str:
        """Kind of its workload, "Deployment"."""
        return self.key.kind

    @property
    def is_adopted(self) -> bool:
        """Whether another tool made it, and servedeck's label was added to it."""
        return not self.managed and SERVING_LABEL in self.labels

    @property
    def revision_of(self) -> str:
        """Name of the serving of its namespace that it is a second revision of, "" for none."""
        return self.labels.get(REVISION_LABEL, "")

    @property
    def revision_text(self) -> str:
        """ "revision of llama"; "" if it is none."""
        return f"revision of {self.revision_of}" if self.revision_of else ""

    @property
    def readonly_reason(self) -> str:
        """Why servedeck does not change it, one sentence; "" if it does."""
        if self.key.is_deployment:
            return ""
        return f"{self._kind_text} is shown read-only."

    @property
    def _kind_text(self) -> str:
        article = "An" if self.kind[:1] in "AEIOU" else "A"
        return f"{article} {self.kind}"

    @property
    def is_rollout_blocked(self) -> bool:
        """Whether old Pods of the serving hold what its new Pods wait for."""
        return bool(self.rollout_way_out)

    @property
    def recovery(self) -> str:
        """Recovery step for the operator; "" if none is needed."""
        if self.is_rollout_blocked:
            value = f"rollout={shlex.quote(self.rollout_way_out)}"
            return f"Let an old Pod stop first: servedeck set {self.key} {value}"
        if hot := self._hot_pods:
            nodes = ", ".join(dict.fromkeys(filter(None, (pod.node for pod in hot))))
            where = f" of {nodes}" if nodes else ""
            return f"Wait until it has cooled down. If it persists, check the cooling{where}."
        return self.status.recovery

    @property
    def _hot_pods(self) -> list[PodView]:
        """Those that the temperature policy has taken out of traffic, if no Pod misses for another
        reason."""
        if self.status in (Status.READY, Status.SCALED_DOWN):
            return []
        missing = [pod for pod in self.pods if not pod.is_ready]
        return missing if all(pod.heat and pod.reason == pod.heat for pod in missing) else []

    @property
    def heat(self) -> str:
        """Badge of the temperature policy, "hot 91 °C", "2 Pods hot"; "" without a hot Pod."""
        hot = [pod.heat for pod in self.pods if pod.heat]
        return f"{len(hot)} Pods hot" if len(hot) > 1 else "".join(hot)

    def without_pods(self) -> ServingView:
        """All but the Pods and what changes with each of their restarts, to be compared."""
        return replace(self, pods=(), events=(), restarts=0)

    @property
    def no_pods_text(self) -> str:
        """Why `pods` is empty, in one sentence."""
        if self.pods_known:
            return "The serving has no Pods."
        if self.kind in REPORTED_KINDS:
            return f"{self._kind_text} is shown by what its controller reports, without its Pods."
        owner = "Pods or ReplicaSets" if self.key.is_deployment else "Pods"
        return f"Its Pods are not known: {owner} may not be listed."

    @property
    def search_text(self) -> str:
        """The text that the filter's free text searches, in lower case: what the list shows of the
        serving and the status shows of its Pods. Built on first use and cached, as a view never
        changes."""
        if not self._search_text:
            object.__setattr__(self, "_search_text", _build_search_text(self))
        return self._search_text

    @property
    def pod_groups(self) -> tuple[PodGroup, ...]:
        """The Pods, equal ones together. Built on first use and cached."""
        if not self._pod_groups:
            object.__setattr__(self, "_pod_groups", group_pods(self.pods))
        return self._pod_groups

    @property
    def main_group(self) -> PodGroup | None:
        """The largest group of failing Pods with the reason of the serving, if one line stands for
        them; None otherwise."""
        return max(
            (
                group
                for group in group_pods(self.failing_pods)
                if group.is_collapsed and group.reason == self.reason
            ),
            key=lambda group: group.count,
            default=None,
        )

    @property
    def failing_pods(self) -> tuple[PodView, ...]:
        """Pods in error or unable to start, of any revision, still in the order of `pods`. Built on
        first use and cached."""
        if self._failing_pods is None:
            failing = tuple([pod for pod in self.pods if pod.health in _FAILING])
            object.__setattr__(self, "_failing_pods", failing)
            return failing
        return self._failing_pods


_FAILING = (PodHealth.ERROR, PodHealth.PENDING)
_SEPARATOR = "\n"
"""Separates two searched texts, so that no match spans both."""


def _build_search_text(view: ServingView) -> str:
    texts = {
        str(view.key): None,
        view.status.value: None,
        view.reason: None,
        view.message: None,
        view.rollout: None,
        view.rollout_message: None,
        view.template: None,
        view.model: None,
        view.model_source: None,
        view.owner: None,
        view.accelerator: None,
        view.image: None,
        view.revision_text: None,
        view.endpoint.url or view.endpoint.cluster_url: None,
    }
    own = _SEPARATOR.join(text for text in texts if text).casefold()
    return _SEPARATOR.join((own, *(pod.search_text for pod in view.pods)))


def _build_pod_search_text(pod: PodView) -> str:
    texts = dict.fromkeys((pod.name, pod.status, pod.reason, pod.message, pod.node))
    return _SEPARATOR.join(text for text in texts if text).casefold()
