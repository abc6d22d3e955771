"""What the objects of a serving tell about the time before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from servedeck.serving.status.timeline import MAX_ENTRIES_PER_SERVING, TimelineKind
from servedeck.serving.status.timeline_objects import MAX_READINESS_ENTRIES, derive_entries
from tests.serving.factories import NOW, ago


@dataclass(frozen=True)
class Container:
    name: str = "main"
    restarts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    finish_reason: str = ""


@dataclass(frozen=True)
class Pod:
    name: str = "chat-6b8f-9qk2x"
    uid: str = "pod"
    status: str = "Running"
    is_ready: bool = False
    node: str = "gpu-1"
    ready_changed_at: datetime | None = None
    disruption: str = ""
    disrupted_at: datetime | None = None
    heat: str = ""
    containers: tuple[Container, ...] = ()


def deployment(*conditions: dict[str, Any], revision: str = "15") -> dict[str, Any]:
    return {
        "metadata": {
            "name": "chat",
            "creationTimestamp": ago(days=2),
            "annotations": {"deployment.kubernetes.io/revision": revision},
        },
        "status": {"conditions": list(conditions)},
    }


def replicaset(revision: str, *images: str, history: str = "", **created: float) -> dict[str, Any]:
    annotations = {"deployment.kubernetes.io/revision": revision}
    if history:
        annotations["deployment.kubernetes.io/revision-history"] = history
    containers = [{"image": image} for image in images]
    return {
        "metadata": {"creationTimestamp": ago(**created), "annotations": annotations},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def condition(kind: str, status: str = "True", reason: str = "", **times: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, **times}


def texts(*arguments: Any) -> list[tuple[str, str, timedelta]]:
    entries = derive_entries(*arguments)
    assert not any(one.observed for one in entries)
    return [(one.kind.value, one.text, NOW - one.time) for one in sorted_by_time(entries)]


def sorted_by_time(entries: list[Any]) -> list[Any]:
    return sorted(entries, key=lambda one: one.time)


def test_rollouts_with_the_images_that_changed() -> None:
    replicasets = [
        replicaset("15", "x/proxy:v1", "vllm/server:v3", minutes=9),
        replicaset("1", "x/proxy:v1", "vllm/server:v1", days=2),
        replicaset("14", "x/proxy:v1", "vllm/server:v2", hours=3),
        replicaset("13", "x/proxy:v1", "vllm/server:v1", hours=5),
    ]
    assert texts(deployment(), replicasets, ()) == [
        ("rollout", "created", timedelta(days=2)),
        ("rollout", "rollout to revision 13", timedelta(hours=5)),
        ("rollout", "rollout to revision 14 (image v2)", timedelta(hours=3)),
        ("rollout", "rollout to revision 15 (image v3)", timedelta(minutes=9)),
    ]


def test_a_replicaset_that_a_rollback_used_again_was_created_by_its_first_rollout() -> None:
    entries = derive_entries(
        {}, [replicaset("5", "a:1", history="2,4", hours=3), replicaset("3", "a:2", hours=2)], ()
    )
    assert [one.identity for one in sorted_by_time(entries)] == [
        ("rollout", "2"),
        ("rollout", "3"),
    ]


def test_the_pods_of_a_large_serving_do_not_displace_other_entries() -> None:
    count = MAX_READINESS_ENTRIES + 5
    pods = [
        Pod(f"chat-{at}", str(at), is_ready=True, ready_changed_at=NOW - timedelta(minutes=at))
        for at in range(count)
    ]
    crashed = Container(restarts=1, finished_at=NOW - timedelta(hours=9), finish_reason="Error")
    entries = derive_entries({}, (), [*pods, Pod("chat-x", "x", containers=(crashed,))])
    ready = [one.time for one in entries if "became ready" in one.text]
    assert sorted(ready) == sorted(
        NOW - timedelta(minutes=at) for at in range(MAX_READINESS_ENTRIES)
    )
    assert len(entries) == MAX_READINESS_ENTRIES + 1


def test_of_many_restarts_the_newest_are_told():
    """A timeline shows no more; building those of 2,000 Pods took 20 ms."""
    count = MAX_ENTRIES_PER_SERVING + 50
    ages = [(at * 7) % count for at in range(count)]
    pods = [
        Pod(
            f"chat-{age}",
            str(age),
            containers=(Container(restarts=1, finished_at=NOW - timedelta(minutes=age)),),
        )
        for age in ages
    ]
    lost = Pod("chat-lost", "lost", "NodeLost", ready_changed_at=NOW - timedelta(days=1))
    entries = derive_entries({}, (), [*pods, lost])
    restarts = [one.time for one in entries if one.kind is TimelineKind.RESTART]
    assert sorted(restarts) == sorted(
        NOW - timedelta(minutes=age) for age in range(MAX_ENTRIES_PER_SERVING)
    )
    assert [one.kind for one in entries].count(TimelineKind.NODE) == 1


@pytest.mark.parametrize(
    ("found", "text", "age"),
    [
        (
            condition(
                "Progressing",
                reason="NewReplicaSetAvailable",
                lastUpdateTime=ago(minutes=5),
                lastTransitionTime=ago(days=2),
            ),
            "rollout of revision 15 finished",
            timedelta(minutes=5),
        ),
        (
            condition(
                "Progressing",
                "False",
                "ProgressDeadlineExceeded",
                lastUpdateTime=ago(minutes=5),
                lastTransitionTime=ago(minutes=6),
            ),
            "rollout did not finish within its progress deadline",
            timedelta(minutes=6),
        ),
        (
            condition("Progressing", "Unknown", "DeploymentPaused", lastUpdateTime=ago(minutes=5)),
            "rollout paused",
            timedelta(minutes=5),
        ),
        (
            condition("Available", "False", "MinimumReplicas", lastTransitionTime=ago(minutes=4)),
            "too few replicas are available",
            timedelta(minutes=4),
        ),
        (
            condition("Available", lastTransitionTime=ago(minutes=4)),
            "enough replicas are available",
            timedelta(minutes=4),
        ),
        (
            condition("ReplicaFailure", "True", "FailedCreate", lastTransitionTime=ago(minutes=4)),
            "Pods cannot be created (FailedCreate)",
            timedelta(minutes=4),
        ),
        (
            condition("Odd", "False", "Why", lastTransitionTime=ago(minutes=4)),
            "condition Odd became False (Why)",
            timedelta(minutes=4),
        ),
    ],
)
def test_conditions_of_the_deployment(found: dict[str, Any], text: str, age: timedelta) -> None:
    assert texts(deployment(found), (), ())[1][1:] == (text, age)


@pytest.mark.parametrize(
    "found",
    [
        condition("Progressing", reason="ReplicaSetUpdated", lastUpdateTime=ago(minutes=5)),
        condition("ReplicaFailure", "False", lastTransitionTime=ago(minutes=5)),
        condition("Available"),
        condition("Available", lastTransitionTime="yesterday"),
        condition("Available", lastTransitionTime="2026-11-23T02:00:00"),
    ],
)
def test_conditions_that_tell_nothing(found: dict[str, Any]) -> None:
    assert len(derive_entries(deployment(found), (), ())) == 1


@pytest.mark.parametrize(
    ("transition", "is_known"),
    [({"days": 2}, True), ({"minutes": 5}, False), ({"minutes": 6}, True)],
)
def test_a_rollout_that_a_pause_reports_again_finished_at_an_unknown_time(
    transition: dict[str, float], is_known: bool
) -> None:
    """A resume of a complete rollout sets both times; one in between is followed by progress."""
    found = condition(
        "Progressing",
        reason="NewReplicaSetAvailable",
        lastUpdateTime=ago(minutes=5),
        lastTransitionTime=ago(**transition),
    )
    entries = derive_entries(deployment(found), [replicaset("15", "a:1", hours=3)], ())
    assert any("finished" in one.text for one in entries) is is_known


def test_a_first_rollout_that_took_no_time_is_finished() -> None:
    times = {"lastUpdateTime": ago(minutes=5), "lastTransitionTime": ago(minutes=5)}
    found = condition("Progressing", reason="NewReplicaSetAvailable", **times)
    entries = derive_entries(deployment(found), [replicaset("15", "a:1", minutes=5)], ())
    assert any("finished" in one.text for one in entries)


@pytest.mark.parametrize(
    ("pod", "kind", "text"),
    [
        (
            Pod(containers=(Container("main", 7, NOW, NOW, "OOMKilled"),)),
            TimelineKind.RESTART,
            "main restarted after OOMKilled (Pod …6b8f-9qk2x, 7 restarts so far)",
        ),
        (
            Pod(containers=(Container("main", 1, NOW, None, ""),)),
            TimelineKind.RESTART,
            "main restarted (Pod …6b8f-9qk2x)",
        ),
        (
            Pod(containers=(Container("main", 0, None, NOW, "exit code 1"),)),
            TimelineKind.RESTART,
            "main ended with exit code 1 (Pod …6b8f-9qk2x)",
        ),
        (
            Pod(is_ready=True, ready_changed_at=NOW),
            TimelineKind.CONDITION,
            "Pod …6b8f-9qk2x became ready",
        ),
        (
            Pod(status="Unknown", ready_changed_at=NOW),
            TimelineKind.NODE,
            "node gpu-1 of Pod …6b8f-9qk2x does not respond",
        ),
        (
            Pod(disruption="DeletionByTaintManager", disrupted_at=NOW),
            TimelineKind.NODE,
            "Pod …6b8f-9qk2x was deleted because its node gpu-1 has a taint that it does not"
            " tolerate",
        ),
        (
            Pod(disruption="Other", disrupted_at=NOW, node=""),
            TimelineKind.NODE,
            "Pod …6b8f-9qk2x was disrupted (Other)",
        ),
    ],
)
def test_pods(pod: Pod, kind: TimelineKind, text: str) -> None:
    (entry,) = derive_entries({"metadata": {"name": "chat"}}, (), [pod])
    assert (entry.kind, entry.text, entry.time) == (kind, text, NOW)


def test_healthy_containers_and_pods_that_are_not_ready_yet_tell_nothing() -> None:
    containers = (
        Container("init", 0, None, NOW, "Completed"),
        Container("main", 0, NOW, None, ""),
    )
    assert derive_entries({}, (), [Pod(ready_changed_at=NOW, containers=containers)]) == []


def test_objects_with_fields_of_the_wrong_type_tell_nothing() -> None:
    wrong = {"metadata": {"creationTimestamp": 5, "annotations": []}, "status": {"conditions": {}}}
    assert derive_entries(wrong, [wrong, {}], ()) == []
