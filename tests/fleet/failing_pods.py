"""Views of failing Pods: 706 that a node rejected, and living ones beside them
(https://github.com/NVIDIA/k8s-device-plugin/issues/231)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from servedeck.fleet.views import PodView, ServingView
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.status import Status
from tests.fleet.factories import START, pod_view, serving_view

NOW = START + timedelta(hours=3)
GROUP_LINE = "706 × UnexpectedAdmissionError on gpu-a, newest 2m"


def rejected(number: int, **fields: Any) -> PodView:
    created = NOW - timedelta(minutes=2 + number)
    defaults: dict[str, Any] = {
        "status": "UnexpectedAdmissionError",
        "reason": "UnexpectedAdmissionError",
        "message": "Node gpu-a rejected it",
        "health": PodHealth.ERROR,
        "is_ready": False,
        "node": "gpu-a",
        "finished": True,
        "created": created,
    }
    return pod_view(f"rejected-{number}", **defaults | fields)


def crashing(number: int, **fields: Any) -> PodView:
    defaults: dict[str, Any] = {
        "status": "CrashLoopBackOff",
        "reason": "OOMKilled",
        "health": PodHealth.ERROR,
        "is_ready": False,
        "node": "gpu-b",
    }
    return pod_view(f"crashing-{number}", **defaults | fields)


def rejected_serving(*living: PodView, **fields: Any) -> ServingView:
    pods = (*living, *(rejected(number) for number in range(706)))
    defaults: dict[str, Any] = {
        "status": Status.ERROR,
        "reason": "UnexpectedAdmissionError",
        "failing": 706,
        "pods": pods,
    }
    return serving_view(**defaults | fields)
