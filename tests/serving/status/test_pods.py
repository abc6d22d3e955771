"""Test vectors of kubernetes v1.36 pkg/printers/internalversion/printers_test.go, and edge
cases."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from servedeck.serving.objects.records import Pod
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.pods import format_restarts, pod_columns, pod_sort_key
from tests.serving.factories import (
    NOW,
    ago,
    condition,
    container,
    healthy,
    last_terminated,
    pod,
    running,
    terminated,
    waiting,
)

INITIALIZED = condition("Initialized")
READY = condition("Ready")
SIDECARS = ("side-1", "side-2")


def sidecar(number: int, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return container(f"side-{number}", state=state or {"running": {}}, **status)


CASES: dict[str, tuple[Pod, str, str, int]] = {
    "the phase alone": (pod(phase="Pending"), "0/1", "Pending", 0),
    "a reason before the phase": (
        pod(phase="Failed", status={"reason": "Evicted"}),
        "0/1",
        "Evicted",
        0,
    ),
    "running and ready": (healthy(), "1/1", "Running", 0),
    "running, not ready: the phase stays": (pod(running(ready=False)), "0/1", "Running", 0),
    "one container crashes, the other runs": (
        pod(waiting("CrashLoopBackOff", restartCount=6), running("transformer")),
        "1/2",
        "CrashLoopBackOff",
        6,
    ),
    "the first container has the last word": (
        pod(waiting("A", name="a"), terminated(1, "B", name="b")),
        "0/2",
        "A",
        0,
    ),
    "waiting without a reason": (pod(waiting(), phase="Pending"), "0/1", "Pending", 0),
    "a signal": (
        pod(container("a", state={"terminated": {"signal": 9}})),
        "0/1",
        "Signal:9",
        0,
    ),
    "an exit code": (
        pod(container("a", state={"terminated": {"exitCode": 3}})),
        "0/1",
        "ExitCode:3",
        0,
    ),
    "a terminated state with nothing in it": (
        pod(container("a", state={"terminated": {}})),
        "0/1",
        "ExitCode:0",
        0,
    ),
    "completed beside running, not Ready": (
        pod(terminated(0, "Completed", name="a"), running("b")),
        "1/2",
        "NotReady",
        0,
    ),
    "completed beside running, Ready": (
        pod(terminated(0, "Completed", name="a"), running("b"), conditions=(READY,)),
        "1/2",
        "Running",
        0,
    ),
    "completed alone": (
        pod(terminated(0, "Completed"), phase="Succeeded"),
        "0/1",
        "Completed",
        0,
    ),
    "scheduling gated": (
        pod(
            phase="Pending",
            conditions=(condition("PodScheduled", "False", "SchedulingGated"),),
        ),
        "0/1",
        "SchedulingGated",
        0,
    ),
    "gated by the reason alone": (
        pod(phase="Pending", conditions=(condition("PodScheduled", "True", "SchedulingGated"),)),
        "0/1",
        "SchedulingGated",
        0,
    ),
    "an init container after another": (
        pod(
            waiting(),
            init=(
                terminated(0, name="i1"),
                running("i2", ready=False, started=None, restartCount=3),
            ),
            phase="Pending",
        ),
        "0/1",
        "Init:1/2",
        3,
    ),
    "init restarts are forgotten": (
        pod(
            running(restartCount=4),
            init=(terminated(0, "Completed", name="i", restartCount=2),),
            conditions=(INITIALIZED,),
        ),
        "1/1",
        "Running",
        4,
    ),
    "init waiting": (
        pod(init=(waiting("ImagePullBackOff", name="i"),), phase="Pending"),
        "0/1",
        "Init:ImagePullBackOff",
        0,
    ),
    "init waiting for its turn": (
        pod(init=(waiting("PodInitializing", name="i"),), phase="Pending"),
        "0/1",
        "Init:0/1",
        0,
    ),
    "init ended with a reason": (
        pod(init=(terminated(1, "Error", name="i"),), phase="Pending"),
        "0/1",
        "Init:Error",
        0,
    ),
    "init ended by a signal": (
        pod(
            init=(container("i", state={"terminated": {"exitCode": 137, "signal": 9}}),),
            phase="Pending",
        ),
        "0/1",
        "Init:Signal:9",
        0,
    ),
    "init ended with a code": (
        pod(init=(terminated(2, name="i"),), phase="Pending"),
        "0/1",
        "Init:ExitCode:2",
        0,
    ),
    "an init status that the spec does not know": (
        pod(
            init=(container("ghost", state={}), container("side-2", state={})),
            sidecars=SIDECARS,
            phase="Pending",
        ),
        "0/2",
        "Init:0/2",
        0,
    ),
    "sidecar running, not started": (
        pod(
            init=(sidecar(1, started=False, ready=False), sidecar(2, {"waiting": {}})),
            sidecars=SIDECARS,
            phase="Pending",
        ),
        "0/3",
        "Init:0/2",
        0,
    ),
    "first sidecar started": (
        pod(
            init=(sidecar(1, started=True, ready=False), sidecar(2, started=False)),
            sidecars=SIDECARS,
            phase="Pending",
        ),
        "0/3",
        "Init:1/2",
        0,
    ),
    "first sidecar started and ready": (
        pod(
            init=(sidecar(1, started=True, ready=True), sidecar(2, started=False)),
            sidecars=SIDECARS,
            phase="Pending",
        ),
        "1/3",
        "Init:1/2",
        0,
    ),
    "sidecars count and keep their restarts": (
        pod(
            running(restartCount=1),
            init=(
                sidecar(1, started=True, ready=True, restartCount=3),
                sidecar(2, started=True, ready=True),
            ),
            sidecars=SIDECARS,
            conditions=(INITIALIZED,),
        ),
        "3/3",
        "Running",
        4,
    ),
    "a started sidecar that is not ready leaves the main status": (
        pod(
            running(),
            init=(sidecar(1, started=True, ready=False),),
            sidecars=SIDECARS,
            conditions=(INITIALIZED,),
        ),
        "1/2",
        "Running",
        0,
    ),
    "a sidecar that failed before Initialized": (
        pod(
            waiting("PodInitializing"),
            init=(sidecar(1, {"terminated": {"exitCode": 137, "reason": "Error"}}),),
            sidecars=SIDECARS,
            phase="Pending",
        ),
        "0/2",
        "Init:Error",
        0,
    ),
    "Initialized, a sidecar crashes, main ended": (
        pod(
            terminated(1, "Error"),
            init=(sidecar(1, {"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=2),),
            sidecars=SIDECARS,
            conditions=(INITIALIZED,),
        ),
        "0/2",
        "Error",
        2,
    ),
    "Initialized, a sidecar crashes, main is fine": (
        pod(
            running(),
            init=(sidecar(1, {"waiting": {"reason": "CrashLoopBackOff"}}),),
            sidecars=SIDECARS,
            conditions=(INITIALIZED,),
        ),
        "1/2",
        "Init:CrashLoopBackOff",
        0,
    ),
    "sidecars ended after Succeeded": (
        pod(
            terminated(0, "Completed"),
            init=tuple(
                sidecar(n, {"terminated": {"exitCode": 137, "reason": "Error"}}) for n in (1, 2)
            ),
            sidecars=SIDECARS,
            phase="Succeeded",
            conditions=(INITIALIZED,),
        ),
        "0/3",
        "Completed",
        0,
    ),
    "deleted while pending": (
        pod(phase="Pending", deletionTimestamp=ago(seconds=1)),
        "0/1",
        "Terminating",
        0,
    ),
    "deleted while initializing": (
        pod(
            init=(running("i", ready=False, started=None),),
            phase="Pending",
            deletionTimestamp=ago(seconds=1),
        ),
        "0/1",
        "Terminating",
        0,
    ),
    "deleted after it succeeded": (
        pod(terminated(0, "Completed"), phase="Succeeded", deletionTimestamp=ago(seconds=1)),
        "0/1",
        "Completed",
        0,
    ),
    "deleted after it failed": (
        pod(terminated(1, "Error"), phase="Failed", deletionTimestamp=ago(seconds=1)),
        "0/1",
        "Error",
        0,
    ),
    "deleted on a lost node": (
        pod(running(), status={"reason": "NodeLost"}, deletionTimestamp=ago(seconds=1)),
        "1/1",
        "Unknown",
        0,
    ),
    "lost, not deleted": (pod(running(), status={"reason": "NodeLost"}), "1/1", "NodeLost", 0),
    "nothing at all": (Pod(), "0/0", "", 0),
}


@pytest.mark.parametrize("name", CASES)
def test_columns_are_kubectls(name: str) -> None:
    given, ready, status, restarts = CASES[name]
    found = pod_columns(given)
    assert (found.ready, found.status, found.restart_count) == (ready, status, restarts)


def test_restarts_tell_when_the_newest_instance_ended() -> None:
    crashed = running(restartCount=3, lastState=last_terminated(1, minutes=5))
    older = running("transformer", restartCount=1, lastState=last_terminated(1, hours=2))
    assert format_restarts(pod_columns(pod(crashed, older)), NOW) == "4 (5m ago)"
    assert format_restarts(pod_columns(pod(running(restartCount=2))), NOW) == "2"
    assert format_restarts(pod_columns(pod(running(lastState=last_terminated(1)))), NOW) == "0"


def test_restarts_of_sidecars_have_a_time_once_initialized() -> None:
    side = running("side-1", restartCount=1, lastState=last_terminated(1, minutes=3))
    plain = terminated(0, name="i", restartCount=7, lastState=last_terminated(1, minutes=1))
    found = pod_columns(
        pod(running(), init=(plain, side), sidecars=("side-1",), conditions=(INITIALIZED,))
    )
    assert format_restarts(found, NOW) == "1 (3m ago)"


def named_pod(name: str, **fields: Any) -> Pod:
    return pod(
        fields.pop("container", running()),
        name=name,
        node=fields.pop("node", "gpu-1"),
        conditions=fields.pop("conditions", ()),
        phase=fields.pop("phase", "Running"),
        **fields,
    )


def test_pods_are_ordered_as_kubectl_picks_them() -> None:
    def ready(**since: float) -> tuple[dict[str, Any]]:
        return (condition("Ready") | {"lastTransitionTime": ago(**since)},)

    expected = [
        named_pod("unassigned", node="", phase="Pending"),
        named_pod("pending", phase="Pending"),
        named_pod("unknown", phase="Unknown"),
        named_pod("deleted-first", deletionTimestamp=ago(minutes=9)),
        named_pod("deleted-later", deletionTimestamp=ago(minutes=1)),
        named_pod("not-ready-restarts", container=running(restartCount=5)),
        named_pod("not-ready-young", creationTimestamp=ago(minutes=1)),
        named_pod("not-ready-old", creationTimestamp=ago(hours=9)),
        named_pod("ready-lately", conditions=ready(minutes=1)),
        named_pod("ready-restarts", conditions=ready(minutes=9), container=running(restartCount=2)),
        named_pod("ready-long", conditions=ready(minutes=9)),
    ]
    shuffled = expected.copy()
    random.Random(7).shuffle(shuffled)
    assert sorted(shuffled, key=pod_sort_key) == expected


def test_failing_pods_come_before_all_others_and_terminating_ones_last() -> None:
    pods = {
        PodHealth.TERMINATING: named_pod("a", node=""),
        PodHealth.OK: named_pod("b"),
        PodHealth.PENDING: named_pod("c"),
        PodHealth.ERROR: named_pod("d", conditions=(READY,)),
    }
    order = sorted(pods, key=lambda health: pod_sort_key(pods[health], health))
    assert order == [PodHealth.ERROR, PodHealth.PENDING, PodHealth.OK, PodHealth.TERMINATING]


def test_pods_that_failed_for_good_come_after_all_others() -> None:
    evicted = named_pod("evicted", phase="Failed")
    for health in PodHealth:
        living = pod_sort_key(named_pod("living"), health)
        assert living < pod_sort_key(evicted, PodHealth.ERROR), health


def test_a_time_in_the_future_does_not_break_the_age() -> None:
    crashed = running(restartCount=1, lastState=last_terminated(1, minutes=-1))
    assert format_restarts(pod_columns(pod(crashed)), NOW) == "1 (<invalid> ago)"
    assert format_restarts(pod_columns(pod(crashed)), NOW + timedelta(minutes=1)) == "1 (0s ago)"
