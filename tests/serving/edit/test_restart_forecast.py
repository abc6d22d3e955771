"""What a rollout means: Pods, strategy in numbers, capacity, room on the nodes, duration."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from servedeck.serving.capacity import NodeCapacity
from servedeck.serving.edit.restart_forecast import (
    RestartForecast,
    forecast_restart,
    last_rollout_duration,
    restarts_pods,
)
from servedeck.serving.status.revisions import read_revisions

Json = dict[str, Any]
GPU = "nvidia.com/gpu"


def deployment(replicas: int | None = 1, available: int = 1, **spec: Any) -> Json:
    container = {"name": "server", "image": "a:1", "resources": {"limits": {GPU: 8}}}
    found: Json = {
        "metadata": {"name": "chat", "uid": "d"},
        "spec": {
            "template": {
                "metadata": {"labels": {"app": "chat"}},
                "spec": {"containers": [container]},
            },
            **spec,
        },
        "status": {"availableReplicas": available},
    }
    if replicas is not None:
        found["spec"]["replicas"] = replicas
    return found


def with_image(live: Json, **spec: Any) -> Json:
    changed = copy.deepcopy(live)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "a:2"
    changed["spec"] |= spec
    return changed


def rolling(surge: int | str, unavailable: int | str) -> Json:
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    }


def node(free: int, **labels: str) -> NodeCapacity:
    allocatable = {GPU: Fraction(8), "pods": Fraction(110)}
    free_resources = {**allocatable, GPU: Fraction(free)}
    return NodeCapacity("gpu-a", allocatable, free_resources, "", (), labels)


def forecast(live: Json, nodes: list[NodeCapacity] | None = None, **spec: Any) -> RestartForecast:
    return forecast_restart(live, with_image(live, **spec), nodes)


# -- whether Pods restart -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "spec", "restarts"),
    [
        (deployment(), {}, True),
        (deployment(None), {}, True),
        (deployment(0), {}, False),
        (deployment(0), {"replicas": 2}, False),
        (deployment(2), {"replicas": 0}, False),
        (deployment(paused=True), {}, False),
        (deployment(paused=True), {"paused": False}, True),
    ],
)
def test_pods_restart_if_the_template_changes_and_there_are_some(
    live: Json, spec: Json, restarts: bool
) -> None:
    assert restarts_pods(live, with_image(live, **spec)) is restarts


def test_without_a_change_of_the_template_no_pod_restarts() -> None:
    assert not restarts_pods(deployment(2), deployment(3))


# -- capacity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "strategy", "surge", "unavailable", "min_available"),
    [
        (1, {}, 1, 0, 1),
        (3, {}, 1, 0, 3),
        (4, {}, 1, 1, 3),
        (10, rolling("25%", "25%"), 3, 2, 8),
        (10, rolling(0, 3), 0, 3, 7),
        (3, rolling(0, "30%"), 0, 1, 2),  # both round to 0: one may be unavailable
        (2, rolling("100%", 0), 2, 0, 2),
        (2, rolling(0, 5), 0, 2, 0),
        (3, {"type": "Recreate"}, 0, 0, 0),
    ],
)
def test_the_strategy_in_numbers(
    replicas: int, strategy: Json, surge: int, unavailable: int, min_available: int
) -> None:
    found = forecast(deployment(replicas, replicas, strategy=strategy))
    assert (found.strategy.surge_pods, found.strategy.unavailable_pods) == (surge, unavailable)
    assert found.min_available == min_available


def test_no_more_stay_available_than_there_are_now() -> None:
    found = forecast(deployment(3, 1))
    assert found.min_available == 1


def test_the_numbers_are_those_after_the_change() -> None:
    found = forecast(deployment(2, 2), replicas=8)
    assert (found.pods, found.replicas, found.strategy.surge_pods) == (2, 8, 2)


def test_it_is_said_in_sentences() -> None:
    assert forecast(deployment(1)).summary == (
        "1 Pod restarts (RollingUpdate, maxSurge 25% (1 Pod), maxUnavailable 25% (0 Pods)); "
        "at least 1 of 1 stays available."
    )
    recreate = forecast_restart(
        deployment(2),
        with_image(deployment(2), strategy={"type": "Recreate"}),
        None,
        timedelta(seconds=250),
    )
    assert recreate.summary == (
        "2 Pods restart (Recreate); none is available meanwhile. The last rollout took 4m10s."
    )


# -- room on the nodes --------------------------------------------------------------------------


def test_a_surge_pod_that_no_node_has_room_for_is_a_warning() -> None:
    found = forecast(deployment(1), [node(0)])
    assert found.surge_fits is False
    [issue] = found.issues
    assert issue.field == "replicas"
    assert not issue.is_error
    assert issue.message.startswith(
        "No node has room for a new Pod (8 NVIDIA GPU) beside 1 old Pod, and maxUnavailable of 0 "
        "keeps each old Pod until a new one is available: the rollout will wait."
    )
    assert "maxSurge to 0 and maxUnavailable to 1" in issue.message


@pytest.mark.parametrize(
    ("nodes", "strategy", "fits"),
    [
        ([node(8)], {}, True),
        ([node(0), node(8)], {}, True),
        (None, {}, None),
        ([], {}, False),
        ([node(0)], rolling(0, 1), None),
        ([node(0)], rolling(1, 1), None),
        ([node(0)], {"type": "Recreate"}, None),
    ],
)
def test_room_matters_only_where_a_new_pod_must_come_first(
    nodes: list[NodeCapacity] | None, strategy: Json, fits: bool | None
) -> None:
    found = forecast(deployment(1, strategy=strategy), nodes)
    assert found.surge_fits is fits
    assert bool(found.issues) is (fits is False)


@pytest.mark.parametrize(("label", "fits"), [("h100", True), ("a100", False)])
def test_only_nodes_that_the_node_selector_selects_have_room(label: str, fits: bool) -> None:
    live = deployment(1)
    live["spec"]["template"]["spec"]["nodeSelector"] = {"gpu": label}
    assert forecast(live, [node(8, gpu="h100")]).surge_fits is fits


# -- duration -----------------------------------------------------------------------------------

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def rolled_out(
    reason: str = "NewReplicaSetAvailable", seconds: int = 90, **annotations: str
) -> Any:
    live = deployment(1)
    live["status"]["conditions"] = [
        {
            "type": "Progressing",
            "reason": reason,
            "lastUpdateTime": (START + timedelta(seconds=seconds)).isoformat(),
        }
    ]
    replicaset = {
        "metadata": {
            "name": "chat-1",
            "uid": "r",
            "creationTimestamp": START.isoformat(),
            "ownerReferences": [{"uid": "d", "controller": True}],
            "annotations": {"deployment.kubernetes.io/revision": "1", **annotations},
        },
        "spec": {"template": copy.deepcopy(live["spec"]["template"])},
    }
    [current] = read_revisions(live, [replicaset])
    return last_rollout_duration(live, current)


def test_the_last_rollout_took_from_its_replicaset_until_it_was_available() -> None:
    assert rolled_out() == timedelta(seconds=90)


def test_the_duration_is_unknown_where_nothing_tells_it() -> None:
    assert rolled_out("ReplicaSetUpdated") is None
    assert rolled_out(seconds=0) is None
    assert rolled_out(**{"deployment.kubernetes.io/revision-history": "1,3"}) is None
    assert last_rollout_duration(deployment(), None) is None


def test_pods_of_an_earlier_revision_with_the_wanted_template_go_on() -> None:
    """As when a rollout that waits for room is taken back."""
    live = deployment(2, available=2, strategy=rolling(1, 0))
    found = forecast_restart(live, with_image(live), [node(free=0)], reused=2)
    assert (found.pods, found.surge_fits, found.issues) == (0, None, ())
    assert found.summary.startswith("No Pod restarts: those of an earlier revision")
    part = forecast_restart(live, with_image(live), [node(free=0)], reused=1)
    assert (part.pods, part.surge_fits) == (1, False)
