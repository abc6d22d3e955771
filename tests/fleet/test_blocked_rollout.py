"""The badge of a rollout that the serving's own old Pods block, from the watched objects."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from servedeck.fleet.fleet import Fleet
from servedeck.fleet.query import parse_query
from servedeck.fleet.view_json import serving_json
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.objects.records import (
    DeploymentStrategy,
    Pod,
    PodContainer,
    PodSpec,
    ResourceRequirements,
    RollingUpdateDeployment,
)
from servedeck.serving.status.rollout import BLOCKED_BADGE
from servedeck.serving.status.status import Status
from tests.fleet.factories import PENDING_STATUS, START, change, deployment, pod, replicaset

KEY = NamespacedName("team-a", "llama")
GPUS = ResourceRequirements(limits={"nvidia.com/gpu": "8"})


def gpu_pod(uid: str, owner: str, node: str = "", **options: Any) -> Pod:
    containers = (PodContainer(name="inference-server", resources=GPUS),)
    found = pod(uid, owner, **options)
    return replace(found, spec=PodSpec(node_name=node, containers=containers))


def view_of(max_unavailable: int, *, new_status: Any = PENDING_STATUS) -> ServingView:
    counts = {"updated_replicas": 1, "ready_replicas": 1, "available_replicas": 1}
    live = deployment(revision="2", status_replicas=2, **counts)
    amounts = RollingUpdateDeployment(1, max_unavailable)
    strategy = DeploymentStrategy("RollingUpdate", amounts)
    fleet = Fleet()
    for one in (
        replace(live, spec=replace(live.spec, strategy=strategy)),
        replicaset("r-1", revision="1"),
        replicaset("r-2", revision="2"),
        gpu_pod("p-1", "r-1", "gpu-1"),
        gpu_pod("p-2", "r-2", status=new_status),
    ):
        fleet.apply(change(one, "ADDED"))
    fleet.flush(START + timedelta(hours=1))
    view = fleet.view(KEY)
    assert view is not None
    return view


def test_a_blocked_rollout_has_a_badge_a_message_and_a_way_out() -> None:
    view = view_of(0)
    assert (view.status, view.rollout) == (Status.READY, BLOCKED_BADGE)
    assert view.is_rollout_blocked
    assert view.rollout_message.startswith("A new Pod needs 8 NVIDIA GPU, which the old Pod")
    assert view.recovery == (
        "Let an old Pod stop first: servedeck set team-a/llama rollout=replace"
    )
    found = serving_json(view)
    assert (found["rollout"], found["rolloutMessage"], found["recovery"]) == (
        BLOCKED_BADGE,
        view.rollout_message,
        view.recovery,
    )
    assert parse_query("blocked").matches(view)


def test_a_rollout_that_stops_an_old_pod_first_has_its_progress() -> None:
    view = view_of(1)
    assert (view.rollout, view.rollout_message) == ("updating 1/1", "")
    assert not view.is_rollout_blocked
    assert view.recovery == view.status.recovery


def test_the_badge_goes_when_the_new_pod_has_a_node() -> None:
    view = view_of(0, new_status=None)
    assert (view.rollout, view.is_rollout_blocked) == ("updating 1/1", False)
