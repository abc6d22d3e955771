"""What a rollout means: Pods, strategy in numbers, capacity, room on the nodes, duration."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from servedeck.serving.capacity import NodeCapacity, PlacedPod
from servedeck.serving.edit.restart_forecast import (
    RestartForecast,
    forecast_restart,
    last_rollout_duration,
    restarts_pods,
    unblocks_rollout,
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


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (2, 8, "6 Pods start with the old Pod template first; then 8 Pods restart"),
        (1, 2, "1 Pod starts with the old Pod template first; then 2 Pods restart"),
        (3, 1, "2 Pods stop first; then 1 Pod restarts"),
        (3, 2, "1 Pod stops first; then 2 Pods restart"),
        (3, 3, "3 Pods restart"),
    ],
)
def test_a_deployment_is_scaled_before_its_pods_are_replaced(
    before: int, after: int, text: str
) -> None:
    summary = forecast(deployment(before, before), replicas=after).summary
    assert summary.partition(" (")[0] == text
    assert f"at least {min(before, after)} of {after} " in summary


def test_pods_that_stop_first_make_room_for_new_ones() -> None:
    live = deployment(2, 2, strategy=rolling(1, 0))
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"][GPU] = 4
    assert forecast_of(live, HALF).issues
    assert forecast_of(live, HALF, replicas=1).issues == ()


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


@pytest.mark.parametrize(
    ("available", "text"),
    [(1, "none is available meanwhile"), (0, "none is available now")],
)
def test_where_none_stays_available_it_is_said_whether_one_is_now(
    available: int, text: str
) -> None:
    found = forecast(deployment(1, available, strategy=rolling(0, 1)))
    assert found.summary == (
        f"1 Pod restarts (RollingUpdate, maxSurge 0, maxUnavailable 1); {text}."
    )


def test_a_new_pod_that_waits_stops_nothing_where_none_is_available() -> None:
    live = deployment(1, 0, strategy=rolling(0, 1))
    [issue] = forecast_of(live, HALF).issues
    assert "it will wait, and nothing is served now." in issue.message


# -- room on the nodes --------------------------------------------------------------------------


def test_a_surge_pod_that_no_node_has_room_for_is_a_warning() -> None:
    found = forecast(deployment(1), [node(0)])
    assert found.surge_fits is False
    [issue] = found.issues
    assert issue.field == "rollout"
    assert not issue.is_error
    assert issue.message.startswith(
        "No node has room for a new Pod (8 NVIDIA GPU) beside 1 old Pod, and maxUnavailable 25% "
        "(0 Pods) keeps each old Pod until a new one is available: the rollout will wait."
    )
    assert issue.message.endswith(
        "or set rollout=replace: an old Pod then stops first, and nothing is served meanwhile."
    )


OWN = [PlacedPod("gpu-a", {GPU: Fraction(8)})]
HALF = [PlacedPod("gpu-a", {GPU: Fraction(4)})] * 2


def forecast_of(
    live: Json, own: list[PlacedPod] | None, free: int = 0, **spec: Any
) -> RestartForecast:
    return forecast_restart(live, with_image(live, **spec), [node(free)], own_pods=own)


@pytest.mark.parametrize(
    ("own", "free", "fits"), [(OWN, 0, True), (HALF, 0, False), (HALF, 4, True), ([], 0, False)]
)
def test_replace_is_proposed_only_if_an_old_pod_makes_enough_room(
    own: list[PlacedPod], free: int, fits: bool
) -> None:
    found = forecast_of(deployment(1, strategy=rolling(1, 0)), own, free)
    assert (found.replacement_fits, found.can_replace) == (fits, fits)
    [issue] = found.issues
    assert ("rollout=replace" in issue.message) is fits
    assert ("an old Pod that stops does not make enough room" in issue.message) is not fits


@pytest.mark.parametrize(
    ("strategy", "own", "consequence"),
    [
        (rolling(1, 0), OWN, "the rollout will wait, and maxUnavailable 0 keeps each old Pod"),
        (rolling(1, 0), None, "the rollout will wait, and maxUnavailable 0 keeps each old Pod"),
        (rolling(0, 1), OWN, "it will wait, and nothing is served meanwhile."),
        (rolling(0, 1), None, "it will wait, and nothing is served meanwhile."),
    ],
)
def test_where_no_node_may_run_a_new_pod_nothing_needs_to_be_freed(
    strategy: Json, own: list[PlacedPod] | None, consequence: str
) -> None:
    live = deployment(1, strategy=strategy)
    changed = with_image(live)
    changed["spec"]["template"]["spec"]["nodeSelector"] = {"zone": "us"}
    found = forecast_restart(live, changed, [node(8, zone="eu"), node(0)], own_pods=own)
    assert not found.can_replace
    [issue] = found.issues
    assert issue.message.startswith(
        f"No node can run a new Pod (2 excluded by node selector or affinity): {consequence}"
    )
    changed["spec"]["template"]["spec"]["nodeSelector"] = {"zone": "eu"}
    full = forecast_restart(live, changed, [node(0, zone="eu"), node(8)], own_pods=[])
    assert "Free these resources first" in full.issues[0].message


def test_a_pod_on_an_unknown_node_makes_no_room() -> None:
    own = [PlacedPod("gone", {GPU: Fraction(8)})]
    assert forecast_of(deployment(1, strategy=rolling(1, 0)), own).replacement_fits is False


def test_an_old_pod_that_stops_for_a_new_one_that_fits_nowhere_is_a_warning() -> None:
    live = deployment(1, strategy=rolling(0, 1))
    assert forecast_of(live, OWN).issues == ()
    [issue] = forecast_of(live, HALF).issues
    assert "not even in place of an old one: it will wait, and nothing is served" in issue.message


def test_missing_pods_keep_the_others_from_stopping() -> None:
    live = deployment(3, 2, strategy=rolling(0, 1))
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"][GPU] = 4
    found = forecast_of(live, HALF)
    [issue] = found.issues
    assert "only 2 of 3 are available, so that maxUnavailable 1 lets no old Pod stop" in (
        issue.message
    )
    assert "set rollout='maxSurge 0, maxUnavailable 2': an old Pod then stops first." in (
        issue.message
    )
    assert not forecast_of(live, HALF, strategy=rolling(0, 2)).issues


def test_an_unavailable_pod_on_a_node_is_not_missing() -> None:
    live = deployment(2, 1, strategy=rolling(1, 0))
    assert forecast_of(live, [*OWN, *OWN]).way_out == "replace"
    assert forecast_of(live, OWN).way_out == "maxSurge 0, maxUnavailable 2"


def test_an_unavailable_pod_stops_in_any_case_and_makes_room() -> None:
    live = deployment(2, 1, strategy=rolling(0, 1))
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"][GPU] = 4
    assert forecast_of(live, HALF).issues == ()


@pytest.mark.parametrize(
    ("strategy", "free", "is_said"),
    [(rolling(0, 1), 8, True), (rolling(0, 1), 0, False), (rolling(1, 0), 8, False)],
)
def test_where_a_new_pod_has_room_beside_the_old_ones_it_is_said(
    strategy: Json, free: int, is_said: bool
) -> None:
    text = forecast_of(deployment(1, strategy=strategy), OWN, free).summary
    assert text.endswith("with rollout=surge none stops first.") is is_said


# -- a rollout that waits -----------------------------------------------------------------------


def waiting_rollout(strategy: Json, replicas: int = 1, **status: Any) -> Json:
    """Its new Pod has no room beside the old ones."""
    live = deployment(replicas, replicas, strategy=strategy)
    live["metadata"]["generation"] = 2
    live["status"] |= {"observedGeneration": 2, "replicas": replicas + 1, "updatedReplicas": 1}
    live["status"] |= status
    return live


def with_strategy(live: Json, strategy: Json, **spec: Any) -> Json:
    changed = copy.deepcopy(live)
    changed["spec"] |= {"strategy": strategy, **spec}
    return changed


@pytest.mark.parametrize(
    ("live", "strategy", "spec", "unblocks"),
    [
        (waiting_rollout(rolling(1, 0)), rolling(0, 1), {}, True),
        (waiting_rollout(rolling(1, 0)), {"type": "Recreate"}, {}, True),
        (waiting_rollout(rolling(1, 1), 3), rolling(0, 2), {}, True),
        (waiting_rollout(rolling(1, 0)), rolling(2, 0), {}, False),
        (waiting_rollout(rolling(1, 1), 3), rolling(1, 0), {}, False),
        (waiting_rollout({"type": "Recreate"}), rolling(0, 1), {}, False),
        (waiting_rollout(rolling(1, 0)), rolling(0, 1), {"paused": True}, False),
        (waiting_rollout(rolling(1, 0)), rolling(0, 1), {"replicas": 0}, False),
        (waiting_rollout(rolling(1, 0)), rolling(0, 1), {"template": {}}, False),
        (waiting_rollout(rolling(1, 0), replicas=1), rolling(0, 1), {}, True),
        (waiting_rollout(rolling(1, 0), updatedReplicas=2), rolling(0, 1), {}, False),
        (waiting_rollout(rolling(1, 0), observedGeneration=1), rolling(0, 1), {}, False),
        (deployment(1, strategy=rolling(1, 0)), rolling(0, 1), {}, False),
    ],
)
def test_another_strategy_lets_a_rollout_go_on_if_it_lets_more_old_pods_stop(
    live: Json, strategy: Json, spec: Json, unblocks: bool
) -> None:
    assert unblocks_rollout(live, with_strategy(live, strategy, **spec)) is unblocks


@pytest.mark.parametrize(
    ("replicas", "capacity"),
    [(1, "none is available meanwhile"), (2, "at least 1 of 2 stay available")],
)
def test_what_a_rollout_does_that_goes_on_is_said(replicas: int, capacity: str) -> None:
    live = waiting_rollout(rolling(1, 0), replicas)
    changed = with_strategy(live, rolling(0, 1))
    found = forecast_restart(live, changed, [node(0)], reused=1, own_pods=OWN)
    pods = "1 old Pod is" if replicas == 1 else "2 old Pods are"
    assert found.summary == (
        f"The rollout that waits goes on, and {pods} replaced "
        f"(RollingUpdate, maxSurge 0, maxUnavailable 1); {capacity}."
    )
    assert found.issues == ()
    [issue] = forecast_restart(live, changed, [node(0)], reused=1, own_pods=HALF).issues
    assert "not even in place of an old one" in issue.message
    # It waited although a node has room, for a quota for example: surge would let it wait again.
    roomy = forecast_restart(live, changed, [node(8)], reused=1, own_pods=OWN)
    assert roomy.summary == found.summary


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
    reason: str = "NewReplicaSetAvailable",
    seconds: int = 90,
    transition: int = -3600,
    newer: int | None = None,
    **annotations: str,
) -> Any:
    """`seconds` and `transition` are the times of the condition, `newer` that of the creation of
    another ReplicaSet, after the creation of the current one."""
    live = deployment(1)
    live["status"]["conditions"] = [
        {
            "type": "Progressing",
            "reason": reason,
            "lastUpdateTime": (START + timedelta(seconds=seconds)).isoformat(),
            "lastTransitionTime": (START + timedelta(seconds=transition)).isoformat(),
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
    replicasets = [replicaset]
    if newer is not None:
        replicasets.append(copy.deepcopy(replicaset))
        replicasets[1]["metadata"] |= {
            "name": "chat-2",
            "uid": "r2",
            "creationTimestamp": (START + timedelta(seconds=newer)).isoformat(),
        }
        replicasets[1]["spec"]["template"]["spec"]["containers"][0]["image"] = "a:9"
    current, *_ = read_revisions(live, replicasets)
    return last_rollout_duration(live, current)


def test_the_last_rollout_took_from_its_replicaset_until_it_was_available() -> None:
    assert rolled_out() == timedelta(seconds=90)
    assert rolled_out(transition=1) == timedelta(seconds=90)  # the Deployment's first one
    assert rolled_out(newer=-60) == timedelta(seconds=90)


def test_the_duration_is_unknown_where_nothing_tells_it() -> None:
    assert rolled_out("ReplicaSetUpdated") is None
    assert rolled_out(seconds=0) is None
    assert rolled_out(**{"deployment.kubernetes.io/revision-history": "1,3"}) is None
    assert last_rollout_duration(deployment(), None) is None
    assert rolled_out(newer=30) is None  # rolled back since


@pytest.mark.parametrize("transition", [60, 90])
def test_a_pause_is_no_part_of_the_duration_which_is_unknown_then(transition: int) -> None:
    assert rolled_out(transition=transition) is None


def test_pods_of_an_earlier_revision_with_the_wanted_template_go_on() -> None:
    """As when a rollout that waits for room is taken back."""
    live = deployment(2, available=2, strategy=rolling(1, 0))
    found = forecast_restart(live, with_image(live), [node(free=0)], reused=2)
    assert (found.pods, found.surge_fits, found.issues) == (0, None, ())
    assert found.summary.startswith("No Pod restarts: those of an earlier revision")
    part = forecast_restart(live, with_image(live), [node(free=0)], reused=1)
    assert (part.pods, part.surge_fits) == (1, False)
