"""What a rollout waits for: only what its own Pods wait for."""

from __future__ import annotations

from servedeck.fleet.rollout_progress import StageState, is_rollout_complete, rollout_stages
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.status import WAITING_FOR_CONTROLLER, Status
from tests.fleet.factories import pod_view, serving_view
from widgets.rollout_progress import progress_lines
from widgets.styled_line import plain_text

OLD = pod_view("old", old_revision=True, is_ready=True, node="gpu-1")
READY = pod_view("ready", is_ready=True, node="gpu-1", health=PodHealth.OK)
PULLING = pod_view("pulling", is_ready=False, node="gpu-1", containers=())
UNSCHEDULED = pod_view("unscheduled", is_ready=False, node="", health=PodHealth.STARTING)


def words(view: ServingView) -> str:
    head, _ = progress_lines(NamespacedName("chat", "llama"), rollout_stages(view), 300)
    return plain_text(head)


def rolling(*pods: object, **fields: object) -> ServingView:
    return serving_view(desired=3, ready=3, pods=pods, **fields)


def test_a_pod_that_is_not_created_yet_does_not_wait_for_a_node() -> None:
    view = rolling(OLD, OLD, OLD, PULLING)
    assert "pulling the image" in words(view)
    view = rolling(OLD, OLD, READY)
    assert "waiting until the other new Pods are created" in words(view)
    assert not is_rollout_complete(view)


def test_a_pod_without_a_node_waits_for_one() -> None:
    assert "waiting for a node" in words(rolling(OLD, OLD, READY, UNSCHEDULED))
    assert "waiting for a node" in words(rolling(UNSCHEDULED))


def test_a_container_that_cannot_be_created_has_its_image() -> None:
    reason, message = "CreateContainerConfigError", 'secret "hf" not found'
    pod = pod_view(
        "new", is_ready=False, node="gpu-1", health=PodHealth.ERROR, reason=reason, message=message
    )
    assert f"not started: {message}" in words(rolling(pod))


def test_pods_that_are_rejected_are_the_reason() -> None:
    message = "exceeded quota: gpu"
    view = rolling(READY, status=Status.DEGRADED, reason="QuotaExceeded", message=message)
    assert f"not scheduled: {message}" in words(view)


def test_a_serving_that_is_scaled_to_0_waits_for_nothing() -> None:
    view = serving_view(desired=0, ready=0, pods=(), status=Status.SCALED_DOWN)
    assert words(view).strip().startswith("chat/llama  is scaled to 0 replicas")
    assert is_rollout_complete(view)


def test_the_pods_of_before_a_change_are_not_its_rollout() -> None:
    waiting = rolling(READY, READY, READY, status=Status.STARTING, reason=WAITING_FOR_CONTROLLER)
    stages = rollout_stages(waiting)
    assert stages[0].state is StageState.IN_PROGRESS
    assert {one.state for one in stages[1:]} == {StageState.PENDING}
    assert not is_rollout_complete(waiting)
