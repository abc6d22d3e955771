"""How far a new serving has come: requested, scheduled, image pulled, started, ready, endpoint."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from servedeck.fleet.views import PodView, ServingView
from servedeck.serving.status.diagnosis import Health


class Progress(StrEnum):
    DONE = "done"
    NOW = "now"
    FAILED = "failed"
    WAITING = "waiting"


class Rung(NamedTuple):
    name: str
    progress: Progress
    detail: str
    """"1/3" Pods on the way, or the cause in words where it failed; "" otherwise."""


POD_RUNGS = ("scheduled", "image pulled", "started", "ready")


def ladder(view: ServingView) -> tuple[Rung, ...]:
    """Rungs from bottom to top. A rung of Pods is done when as many Pods as are desired have
    passed it; it has failed when a Pod is stuck below it for a cause."""
    pods = [pod for pod in view.pods if not pod.old_revision and pod.health != Health.TERMINATING]
    rungs = [Rung("requested", Progress.DONE, "")]
    if not pods and view.reason:
        rungs.append(Rung(POD_RUNGS[0], Progress.FAILED, view.message or view.reason))
    for level, name in enumerate(POD_RUNGS, 1):
        if len(rungs) > level:
            continue
        passed = sum(_level(pod) >= level for pod in pods)
        stuck = next((pod for pod in pods if _level(pod) == level - 1 and _failing(pod)), None)
        if view.desired and passed >= view.desired:
            rungs.append(Rung(name, Progress.DONE, ""))
        elif stuck:
            rungs.append(Rung(name, Progress.FAILED, stuck.message or stuck.reason))
        elif rungs[-1].progress is Progress.DONE or passed:
            count = f"{passed}/{view.desired}" if view.desired > 1 else ""
            rungs.append(Rung(name, Progress.NOW, count))
        else:
            rungs.append(Rung(name, Progress.WAITING, ""))
    rungs.append(_endpoint(view))
    return tuple(rungs)


def complete(view: ServingView) -> bool:
    """Nothing more will happen by itself: all replicas are ready and the endpoint is as it will
    be, or the serving is scaled down."""
    rungs = ladder(view)
    return not view.desired or all(rung.progress is Progress.DONE for rung in rungs[:-1])


def _endpoint(view: ServingView) -> Rung:
    if view.endpoint.url and not view.endpoint.problem:
        return Rung("endpoint", Progress.DONE, view.endpoint.url)
    return Rung("endpoint", Progress.WAITING, view.endpoint.problem)


def _level(pod: PodView) -> int:
    """How many of POD_RUNGS the Pod has passed."""
    if pod.is_ready:
        return 4
    if not pod.node:
        return 0
    serving = [one for one in pod.containers if not one.init]
    if serving and all(one.state == "Running" for one in serving):
        return 3
    pulled = pod.restarts or any(one.state in ("Running", "Terminated") for one in serving)
    return 2 if pulled else 1


def _failing(pod: PodView) -> bool:
    return pod.health in (Health.ERROR, Health.PENDING)
