"""Rollout stages of a new serving: requested, scheduled, image pulled, started, ready, endpoint."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from servedeck.fleet.views import PodView, ServingView
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.status import WAITING_FOR_CONTROLLER, Status


class StageState(StrEnum):
    DONE = "done"
    IN_PROGRESS = "in progress"
    FAILED = "failed"
    PENDING = "pending"


class Stage(NamedTuple):
    name: str
    state: StageState
    detail: str
    """"1/3" Pods in progress, or the message if it failed; "" otherwise."""
    lacks_pods: bool = False
    """Whether all Pods that exist have passed it, and the others are not created yet."""


POD_STAGES = ("scheduled", "image pulled", "started", "ready")

_AFTER_PULL = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Reasons of a container that the kubelet has pulled the image of (kubernetes
pkg/kubelet/kuberuntime/kuberuntime_container.go, startContainer)."""


def rollout_stages(view: ServingView) -> tuple[Stage, ...]:
    """Stages in order. A Pod stage is done when the desired number of Pods has passed it; it has
    failed when a failing Pod cannot reach it."""
    pods = [
        pod for pod in view.pods if not pod.old_revision and pod.health != PodHealth.TERMINATING
    ]
    if view.reason == WAITING_FOR_CONTROLLER:  # its Pods are those of before the change
        names = (*POD_STAGES, "endpoint")
        return (
            Stage("requested", StageState.IN_PROGRESS, ""),
            *(Stage(name, StageState.PENDING, "") for name in names),
        )
    stages = [Stage("requested", StageState.DONE, "")]
    if not view.desired:  # nothing is waited for
        names = (*POD_STAGES, "endpoint")
        return (*stages, *(Stage(name, StageState.PENDING, "") for name in names))
    current = min((_passed_stages(pod) for pod in pods), default=0) + 1
    lacks_pods = 0 < len(pods) < view.desired
    if (lacks_pods and _creation_failed(view)) or (not pods and view.reason):
        stages.append(Stage(POD_STAGES[0], StageState.FAILED, view.message or view.reason))
    for level, name in enumerate(POD_STAGES, 1):
        if len(stages) > level:
            continue
        passed = sum(_passed_stages(pod) >= level for pod in pods)
        stuck = next(
            (pod for pod in pods if _passed_stages(pod) == level - 1 and _is_failing(pod)), None
        )
        if view.desired and passed >= view.desired:
            stages.append(Stage(name, StageState.DONE, ""))
        elif stuck:
            stages.append(Stage(name, StageState.FAILED, stuck.message or stuck.reason))
        elif stages[-1].state is StageState.DONE or passed or level == current:
            count = f"{passed}/{view.desired}" if view.desired > 1 else ""
            stages.append(Stage(name, StageState.IN_PROGRESS, count, level < current))
        else:
            stages.append(Stage(name, StageState.PENDING, ""))
    stages.append(_endpoint_stage(view))
    return tuple(stages)


def is_rollout_complete(view: ServingView) -> bool:
    """Whether the rollout is finished: all replicas are ready, after which the endpoint does not
    change, or the serving is scaled down."""
    stages = rollout_stages(view)
    return not view.desired or all(stage.state is StageState.DONE for stage in stages[:-1])


def _creation_failed(view: ServingView) -> bool:
    """Whether the reason of the status is not one of a Pod: Pods are rejected, by a quota for
    example, or the progress deadline is over."""
    has_failed = view.status in (Status.READY, Status.DEGRADED, Status.ERROR)
    return has_failed and bool(view.reason) and not any(_is_failing(pod) for pod in view.pods)


def _endpoint_stage(view: ServingView) -> Stage:
    if view.endpoint.url and not view.endpoint.issue:
        return Stage("endpoint", StageState.DONE, view.endpoint.url)
    return Stage("endpoint", StageState.PENDING, view.endpoint.issue)


def _passed_stages(pod: PodView) -> int:
    """How many of POD_STAGES the Pod has passed."""
    if pod.is_ready:
        return 4
    if not pod.node:
        return 0
    main_containers = [one for one in pod.containers if not one.init]
    if main_containers and all(one.state == "Running" for one in main_containers):
        return 3
    pulled = (
        pod.restarts
        or pod.reason in _AFTER_PULL
        or any(one.state in ("Running", "Terminated") for one in main_containers)
    )
    return 2 if pulled else 1


def _is_failing(pod: PodView) -> bool:
    return pod.health in (PodHealth.ERROR, PodHealth.PENDING)
