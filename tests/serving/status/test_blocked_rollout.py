"""A rollout that waits for what the old Pods of the same serving hold, and rollouts that do not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from servedeck.serving.objects.records import (
    Deployment,
    DeploymentStrategy,
    Pod,
    RollingUpdateDeployment,
)
from servedeck.serving.status.blocked_rollout import BlockedRollout, find_blocked_rollout
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import NOW, deployment, running
from tests.serving.factories import pod as make_pod
from tests.serving.status.pod_factory import unscheduled_pod, with_resources

GPU = "nvidia.com/gpu"
FULL = (
    "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {x: }."
)


def rolling(surge: int | str, unavailable: int | str) -> DeploymentStrategy:
    return DeploymentStrategy("RollingUpdate", RollingUpdateDeployment(surge, unavailable))


def workload(strategy: DeploymentStrategy | None = None, **fields: Any) -> Deployment:
    found = deployment(**fields)
    return replace(found, spec=replace(found.spec, strategy=strategy or rolling(1, 0)))


def new_pod(message: str = FULL, selector: dict[str, str] | None = None, **limits: str) -> Pod:
    found = with_resources(unscheduled_pod(message), limits=limits or {GPU: "8"})
    return replace(found, spec=replace(found.spec, node_selector=selector or {}))


def old_pod(node: str = "gpu-a", limits: dict[str, str] | None = None, **fields: Any) -> Pod:
    selector = fields.pop("selector", {})
    found = make_pod(running(), node=node, **fields)
    found = with_resources(found, limits={GPU: "8"} if limits is None else limits)
    return replace(found, spec=replace(found.spec, node_selector=selector))


def blocked(
    new: Pod | None = None, *old: Pod, live: Deployment | None = None
) -> BlockedRollout | None:
    new = new or new_pod()
    return find_blocked_rollout(
        live or workload(), [(new, diagnose(new, (), NOW))], old or (old_pod(),)
    )


def test_an_old_pod_that_holds_what_a_new_one_needs_blocks_the_rollout() -> None:
    assert blocked() == (
        "A new Pod needs 8 NVIDIA GPU, which the old Pod of this serving holds; with "
        "maxUnavailable 0 no old Pod stops before a new one is available, so the rollout waits.",
        "replace",
    )


def test_several_old_pods_are_counted_and_those_that_are_missing_are_unavailable() -> None:
    live = workload(rolling("25%", "25%"), replicas=3)
    found = blocked(new_pod(), old_pod("gpu-a"), old_pod("gpu-b"), live=live)
    assert found is not None
    assert (
        "which 2 old Pods of this serving hold; with maxUnavailable 25% (0 Pods)" in found.message
    )
    assert found.way_out == "maxSurge 0, maxUnavailable 2"


def test_old_pods_that_hold_nothing_are_missing() -> None:
    live = workload(replicas=3)
    found = blocked(new_pod(), old_pod(), old_pod(node=""), old_pod(phase="Failed"), live=live)
    assert found is not None
    assert "the old Pod of this serving holds" in found.message
    assert found.way_out == "maxSurge 0, maxUnavailable 3"


def test_memory_and_cpu_count_too() -> None:
    message = "0/1 nodes are available: 1 Insufficient memory, 1 Insufficient cpu."
    new = with_resources(unscheduled_pod(message), requests={"memory": "64Gi", "cpu": "8"})
    small = old_pod(limits={"memory": "64Gi", "cpu": "4"})
    assert blocked(new, small) is None
    assert blocked(new, small, old_pod(limits={"memory": "64Gi", "cpu": "8"})) is not None


@pytest.mark.parametrize(
    "strategy", [rolling(0, 1), rolling(1, 1), rolling("25%", 1), DeploymentStrategy("Recreate")]
)
def test_a_rollout_that_stops_an_old_pod_first_is_not_blocked(strategy: DeploymentStrategy) -> None:
    assert blocked(live=workload(strategy)) is None


@pytest.mark.parametrize("fields", [{"paused": True}, {"generation": 2}])
def test_a_rollout_that_has_not_begun_is_not_blocked(fields: dict[str, Any]) -> None:
    assert blocked(live=workload(**fields)) is None


@pytest.mark.parametrize(
    "message",
    [
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
        'persistentvolumeclaim "models" not found',
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
    ],
)
def test_pods_that_wait_for_something_else_are_not_blocked(message: str) -> None:
    assert blocked(new_pod(message)) is None


@pytest.mark.parametrize(
    "old",
    [
        old_pod(limits={GPU: "4"}),
        old_pod(limits={"amd.com/gpu": "8"}),
        old_pod(node=""),
        old_pod(phase="Failed"),
        old_pod(selector={"gpu": "a100"}),
    ],
)
def test_an_old_pod_in_whose_place_the_new_one_has_no_room_does_not_block(old: Pod) -> None:
    assert blocked(new_pod(selector={"gpu": "h100"}), old) is None


def test_an_old_pod_on_a_node_that_the_new_one_selects_blocks() -> None:
    selector = {"gpu": "h100"}
    assert blocked(new_pod(selector=selector), old_pod(selector=selector)) is not None


def test_there_is_room_soon_where_an_old_pod_ends() -> None:
    ending = old_pod("gpu-b", deletionTimestamp="2026-03-01T12:00:00Z")
    assert blocked(new_pod(), old_pod(), ending) is None


@pytest.mark.parametrize(
    "why",
    [
        "1 node(s) were unschedulable",
        "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }",
    ],
)
def test_a_closed_node_may_be_that_of_the_old_pod(why: str) -> None:
    new = new_pod(f"0/2 nodes are available: 1 Insufficient nvidia.com/gpu, {why}.")
    assert blocked(new, old_pod("gpu-a")) is None
    assert blocked(new, old_pod("gpu-a"), old_pod("gpu-b")) is not None


def test_a_new_pod_with_a_node_or_that_ends_waits_for_nothing() -> None:
    new = new_pod()
    placed = replace(new, spec=replace(new.spec, node_name="gpu-b"))
    ending = replace(new, metadata=replace(new.metadata, deletion_timestamp=NOW))
    for one in (placed, ending):
        found = find_blocked_rollout(workload(), [(one, diagnose(new, (), NOW))], [old_pod()])
        assert found is None
