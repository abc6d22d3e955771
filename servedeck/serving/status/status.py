"""The six states of a serving, each with its recovery step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from servedeck.serving.objects.records import Condition, Pod, ReplicaSet, Workload
from servedeck.serving.status import reasons
from servedeck.serving.status.cause import Finding, Signal
from servedeck.serving.status.cause_lookup import find_cause
from servedeck.serving.status.diagnosis import Diagnosis, PodHealth
from servedeck.serving.status.pods import is_ready
from servedeck.serving.status.rollout import find_condition

WAITING_FOR_CONTROLLER = "Waiting for controller"
"""Reason of the status while the controller has not acted on the latest change."""


class Status(StrEnum):
    """In the order of the list: most urgent first."""

    ERROR = "Error"
    DEGRADED = "Degraded"
    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    SCALED_DOWN = "Scaled Down"

    @property
    def description(self) -> str:
        """Description of the state, in one or two sentences."""
        return _DESCRIPTIONS[self]

    @property
    def recovery(self) -> str:
        """Recovery step for the operator; "" if none is needed."""
        return _RECOVERY_STEPS[self]

    @property
    def glyph(self) -> str:
        """One character, one cell wide in every locale, that distinguishes the states without
        color."""
        return _GLYPHS[self]


_DESCRIPTIONS = {
    Status.READY: "All Pods are in the Ready state. The service is operating normally.",
    Status.STARTING: "Pods are starting. Not yet Ready, e.g., still loading the model.",
    Status.DEGRADED: "Only some Pods are Ready. Requests are still served but overall performance "
    "is reduced.",
    Status.ERROR: "One or more Pods are in an error state such as CrashLoopBackOff.",
    Status.PENDING: "Pods are not scheduled. Resource shortage or image pull failure.",
    Status.SCALED_DOWN: "Replicas were scaled to 0.",
}

_RECOVERY_STEPS = {
    Status.READY: "",
    Status.STARTING: "Wait briefly. If it persists, check the logs.",
    Status.DEGRADED: "Check the logs and Events of the failing Pods.",
    Status.ERROR: "Check the failure reason and the logs of the failing Pods.",
    Status.PENDING: "Check cluster resource availability and image settings.",
    Status.SCALED_DOWN: "Change Replicas to 1 or more if needed.",
}

# None of them is "ambiguous" in Unicode's East Asian Width, so none takes two cells in a CJK
# terminal.
_GLYPHS = {
    Status.READY: "✓",
    Status.STARTING: "↻",
    Status.DEGRADED: "!",
    Status.ERROR: "✗",
    Status.PENDING: "◌",
    Status.SCALED_DOWN: "-",
}


class ServingStatus(NamedTuple):
    """State of a serving and its main failure reason."""

    status: Status
    reason: str
    """Short reason, "OOMKilled"; "" if there is none."""
    message: str
    """The failure reason in one sentence; "" if there is none."""
    failing_count: int
    """Number of Pods in an error or pending state."""
    ready_count: int = 0
    """Number of ready Pods that the rules used."""


def evaluate(
    deployment: Workload,
    replicasets: Sequence[ReplicaSet],
    pods: Sequence[tuple[Pod, Diagnosis]],
    pods_known: bool,
    *,
    serving_count: int = 0,
    kind: str = "Deployment",
) -> ServingStatus:
    """The state of a serving; the first matching rule applies.

    1. Scaled Down: no replica is requested.
    2. Ready: at least as many Pods are ready as requested, and the controller has observed the
       current generation.
    3. Degraded: some are ready, but fewer than requested.
    4. Error: none is ready, and a Pod is in an error state, or no Pod can be created
       (ReplicaFailure), or the rollout exceeded its progress deadline.
    5. Pending: none is ready, and a Pod is not scheduled or cannot pull its image, or there is
       none yet.
    6. Starting: otherwise.

    `pods` are those of all the Deployment's `replicasets`, each with its diagnosis; terminating
    ones are ignored. Of those that serve requests (`serves_requests`) the number is enough,
    `serving_count`, without the Pods. If `pods_known` is false (no permission to list them) the
    counts in the Deployment's status are used. The reason is the most common one; Pods that ended
    are left out where they are history. `kind` is that of the workload.
    """
    desired = deployment.spec.replicas
    active_pods = _without_history(pods, desired, serving_count)
    failing = [pair for pair in active_pods if _is_failing(pair)]
    errors = [pair for pair in failing if pair[1].health is PodHealth.ERROR]
    if pods_known:
        ready = serving_count + _count_ready(active_pods)
        exist = serving_count > 0 or bool(active_pods)
    else:
        ready = deployment.status.ready_replicas
        exist = deployment.status.replicas > 0

    def make_status(status: Status, reason: str = "", message: str = "") -> ServingStatus:
        if reason.casefold() == status.value.casefold():
            reason = ""  # it would repeat the status
        return ServingStatus(status, reason, message, len(failing), ready)

    if desired <= 0:
        return make_status(Status.SCALED_DOWN)

    creation = _creation_failure(deployment, replicasets)
    failure = _dominant_reason(errors or failing)
    only_ended = not serving_count and not any(_is_alive(pair) for pair in active_pods)
    if creation is not None and (failure is None or only_ended):
        reason = reasons.shorten(creation.reason) or "FailedCreate"
        failure = reason, describe_creation_failure(reason, creation.message)
    observed = deployment.metadata.generation <= deployment.status.observed_generation

    if ready >= desired and observed:
        return make_status(Status.READY, *(failure or ()))
    if 0 < ready < desired:
        if failure is None:
            return make_status(
                Status.DEGRADED,
                message=_degraded_message(
                    active_pods,
                    ready,
                    desired,
                    pods_known,
                    noun="groups" if kind == "LeaderWorkerSet" else "Pods",
                ),
            )
        return make_status(Status.DEGRADED, *failure)

    progressing = find_condition(deployment, "Progressing")
    overdue = progressing is not None and progressing.reason == "ProgressDeadlineExceeded"
    if ready == 0:
        if errors or creation is not None or overdue:
            if failure is None and progressing is not None:
                failure = progressing.reason, _deadline_exceeded_message(active_pods)
            return make_status(Status.ERROR, *(failure or ()))
        if failing and failure is not None:
            return make_status(Status.PENDING, *failure)
        if not exist:
            return make_status(Status.PENDING, "No Pods", "No Pod exists yet")
    if ready >= desired:
        message = f"The {kind} controller has not acted on the latest change yet"
        return make_status(Status.STARTING, WAITING_FOR_CONTROLLER, message)
    if not pods_known:
        message = "Its Pods cannot be listed, so nothing more is known"
        return make_status(Status.STARTING, "", message)
    starting = _dominant_reason(
        [pair for pair in active_pods if pair[1].health is PodHealth.STARTING]
    )
    return make_status(Status.STARTING, *(starting or ()))


def serves_requests(pod: Pod, diagnosis: Diagnosis) -> bool:
    """Whether the Pod is healthy, ready, and has not ended."""
    return diagnosis.health is PodHealth.OK and pod.status.phase != "Failed" and is_ready(pod)


def _without_history(
    pods: Sequence[tuple[Pod, Diagnosis]], desired: int, serving_count: int
) -> list[tuple[Pod, Diagnosis]]:
    """The Pods that count, beside `serving_count` others that serve requests. One that ended
    (evicted, rejected by its node) does not, if the others are ready, or if a living Pod fails,
    which is the present cause, or if it ended long ago and a living Pod has replaced it.

    A Pod that is not scheduled yet or that its node has not started is no living one that fails:
    its node may reject it as it did those before.
    """
    active = [pair for pair in pods if pair[1].health is not PodHealth.TERMINATING]
    alive = [pair for pair in active if _is_alive(pair)]
    if not alive and not serving_count:
        return active
    if serving_count + _count_ready(alive) >= desired or any(
        _is_failing(pair) and pair[1].reason != "Unscheduled" for pair in alive
    ):
        return alive
    return [pair for pair in active if not pair[1].is_history]


def _count_ready(pods: Sequence[tuple[Pod, Diagnosis]]) -> int:
    return sum(diagnosis.health is PodHealth.OK and is_ready(pod) for pod, diagnosis in pods)


def _is_alive(pair: tuple[Pod, Diagnosis]) -> bool:
    return pair[0].status.phase != "Failed"


def _is_failing(pair: tuple[Pod, Diagnosis]) -> bool:
    return pair[1].health in (PodHealth.ERROR, PodHealth.PENDING)


def _dominant_reason(pods: Sequence[tuple[Pod, Diagnosis]]) -> tuple[str, str] | None:
    """Reason and message for `pods`: the most common reason, with the message of the newest Pod
    that has it. Pods that ended are used only if there are no others."""
    if not pods:
        return None
    alive = [pair for pair in pods if _is_alive(pair)] or pods
    shared = Counter(diagnosis.reason for _, diagnosis in alive)
    _, diagnosis = max(
        alive, key=lambda pair: (shared[pair[1].reason], pair[1].reason, _created_at_key(pair[0]))
    )
    return diagnosis.reason, diagnosis.message


def _created_at_key(pod: Pod) -> tuple[float, str]:
    created = pod.metadata.creation_timestamp
    return (0.0 if created is None else created.timestamp()), pod.metadata.name


def _creation_failure(deployment: Workload, replicasets: Sequence[ReplicaSet]) -> Condition | None:
    """The condition with the reason why Pods cannot be created (quota, admission): the Deployment's
    own, or that of its current ReplicaSet, which is set first."""
    found = find_condition(deployment, "ReplicaFailure")
    if found is not None and found.status == "True":
        return found
    revision = deployment.metadata.annotations.revision
    for replicaset in replicasets:
        if replicaset.metadata.annotations.revision == revision:
            for found in replicaset.status.conditions:
                if found.type == "ReplicaFailure" and found.status == "True":
                    return found
    return None


def describe_creation_failure(reason: str, message: str) -> str:
    """Why the ReplicaSet controller cannot create Pods: quota, LimitRange, admission."""
    why = reasons.strip_creation_wrappers(message)
    found = find_cause(
        Finding(Signal.CREATION, reason, message, {"colon_why": f": {why}" if why else ""})
    )
    assert found is not None, "the table has a row for every failed creation"
    return found.text


def _degraded_message(
    active_pods: Sequence[tuple[Pod, Diagnosis]],
    ready: int,
    desired: int,
    pods_known: bool,
    *,
    noun: str,
) -> str:
    message = f"{ready} of {desired} {noun} are ready"
    starting = _dominant_reason(
        [pair for pair in active_pods if pair[1].health is PodHealth.STARTING]
    )
    if starting is not None and starting[1]:
        return f"{message}; {starting[1]}"
    return message if pods_known else f"{message}; its Pods cannot be listed"


def _deadline_exceeded_message(active_pods: Sequence[tuple[Pod, Diagnosis]]) -> str:
    message = "The rollout has not finished within its progress deadline"
    starting = _dominant_reason(
        [pair for pair in active_pods if pair[1].health is PodHealth.STARTING]
    )
    if starting is not None and starting[1]:
        return reasons.shorten(f"{message}; {starting[1]}")
    return message
