"""Since when a serving has its status, as its objects tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from servedeck.serving.status.status import Status
from servedeck.serving.status.status_start import find_status_start
from servedeck.serving.status.timeline import StatusStart
from tests.serving.factories import NOW, ago

NOT_READY = [Status.ERROR, Status.DEGRADED, Status.PENDING, Status.STARTING]


@dataclass(frozen=True)
class Pod:
    name: str = "chat-6b8f-9qk2x"
    status: str = "Running"
    is_ready: bool = False
    finished: bool = False
    created: datetime | None = NOW - timedelta(hours=5)
    ready_changed_at: datetime | None = None


def minutes_ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def deployment(*entries: dict[str, Any], available: str = "") -> dict[str, Any]:
    conditions = [{"type": "Progressing", "status": "False", "lastTransitionTime": ago(days=1)}]
    if available:
        conditions.append(
            {"type": "Available", "status": available, "lastTransitionTime": ago(minutes=7)}
        )
    return {
        "metadata": {
            "name": "chat",
            "creationTimestamp": ago(days=2),
            "managedFields": list(entries),
        },
        "spec": {"replicas": 0, "template": {"spec": {"nodeName": "gpu-1"}}},
        "status": {"conditions": conditions},
    }


def owner(manager: str, path: str = "f:replicas", subresource: str = "", **age: float) -> Any:
    found = {
        "manager": manager,
        "operation": "Update",
        "time": ago(**age),
        "fieldsV1": {"f:spec": {path: {}}},
    }
    return found | ({"subresource": subresource} if subresource else {})


def replicaset(created: dict[str, float], **scaled: float) -> dict[str, Any]:
    entries = [
        owner("kube-controller-manager", **scaled),
        owner("kube-controller-manager", "f:selector", "status", seconds=1),
    ]
    metadata = {"creationTimestamp": ago(**created), "managedFields": entries}
    return {"metadata": metadata, "spec": {"replicas": 0, "selector": {}}}


def test_scaled_down_since_a_replicaset_was_scaled_last() -> None:
    replicasets = [replicaset({"days": 1}, minutes=90), replicaset({"hours": 1}, minutes=9)]
    found = find_status_start(Status.SCALED_DOWN, (), deployment(), replicasets)
    assert found == StatusStart("0 replicas", minutes_ago(9))
    by_helm = deployment(owner("helm", minutes=1), owner("kubectl", "f:template", seconds=5))
    found = find_status_start(Status.SCALED_DOWN, (), by_helm, replicasets)
    assert found == StatusStart("0 replicas", minutes_ago(9), manager="helm")


def test_a_rollout_of_a_serving_that_is_scaled_down_hides_when_it_was() -> None:
    replicasets = [replicaset({"days": 1}, minutes=90), replicaset({"hours": 1}, hours=1)]
    found = find_status_start(Status.SCALED_DOWN, (), deployment(), replicasets)
    assert found == StatusStart("0 replicas", minutes_ago(60), may_be_older=True)


def test_without_replicasets_it_may_be_older() -> None:
    by_helm = deployment(owner("helm", minutes=9), owner("x", "f:replicas", "scale", days=1))
    found = find_status_start(Status.SCALED_DOWN, (), deployment(owner("helm", minutes=9)))
    assert found == StatusStart("0 replicas", minutes_ago(9), may_be_older=True, manager="helm")
    found = find_status_start(Status.SCALED_DOWN, (), by_helm)
    assert found == StatusStart("0 replicas", minutes_ago(9), may_be_older=True)


def test_created_without_replicas() -> None:
    expected = StatusStart("0 replicas", NOW - timedelta(days=2))
    created = deployment(owner("helm", days=2))
    assert find_status_start(Status.SCALED_DOWN, (), created) == expected
    replicasets = [replicaset({"days": 2}, days=2)]
    assert find_status_start(Status.SCALED_DOWN, (), created, replicasets) == expected


def test_nobody_owns_the_replicas() -> None:
    """The scale subresource has no owner with a time; managedFields may be cleared."""
    bare = [{"metadata": {}, "spec": {"replicas": 0}}]
    assert find_status_start(Status.SCALED_DOWN, (), deployment(), bare) is None
    assert find_status_start(Status.SCALED_DOWN, (), {}) is None


def test_ready_since_the_last_pod_became_ready() -> None:
    pods = [
        Pod(is_ready=True, ready_changed_at=minutes_ago(20)),
        Pod(is_ready=True, ready_changed_at=minutes_ago(3)),
        Pod(finished=True),
        Pod(status="Terminating"),
    ]
    found = find_status_start(Status.READY, pods, deployment(available="True"))
    assert found == StatusStart("all Pods are ready", minutes_ago(3))
    one = find_status_start(Status.READY, pods[:1], {})
    assert one == StatusStart("the Pod is ready", minutes_ago(20))


@pytest.mark.parametrize("other", [Pod(), Pod(is_ready=True)])
def test_ready_with_a_pod_that_does_not_tell(other: Pod) -> None:
    pods = [Pod(is_ready=True, ready_changed_at=minutes_ago(20)), other]
    assert find_status_start(Status.READY, pods, {}) is None
    assert find_status_start(Status.READY, (), {}) is None


@pytest.mark.parametrize("status", NOT_READY)
def test_unavailable_before_single_pods(status: Status) -> None:
    pods = [Pod(ready_changed_at=minutes_ago(60))]
    found = find_status_start(status, pods, deployment(available="False"))
    assert found == StatusStart("too few replicas are available", minutes_ago(7))


@pytest.mark.parametrize("status", NOT_READY)
def test_not_ready_since_the_first_pod_that_is_not(status: Status) -> None:
    pods = [
        Pod(is_ready=True, ready_changed_at=minutes_ago(90)),
        Pod("chat-6b8f-aaaaa", ready_changed_at=minutes_ago(12)),
        Pod("chat-6b8f-bbbbb", finished=True, ready_changed_at=minutes_ago(50)),
        Pod("chat-6b8f-ccccc", status="Terminating", ready_changed_at=minutes_ago(40)),
    ]
    found = find_status_start(status, pods, deployment(available="True"))
    assert found == StatusStart("Pod …6b8f-aaaaa is not ready", minutes_ago(12))
    never_ready = Pod("chat-6b8f-ddddd", created=minutes_ago(30))
    found = find_status_start(status, [*pods, never_ready], deployment(available="True"))
    assert found == StatusStart(
        "Pod …6b8f-ddddd (and 1 other Pod later) is not ready", minutes_ago(30)
    )
    assert find_status_start(status, pods[:1], deployment(available="True")) is None


@pytest.mark.parametrize("broken", [None, 3, "soon", [], {"conditions": 3}])
def test_any_shape_of_the_objects(broken: Any) -> None:
    for status in Status:
        value = {"metadata": {"managedFields": [{"time": broken}, broken]}, "status": broken}
        assert find_status_start(status, (), value, [value]) is None
