"""What is recorded of servings that change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from servedeck.fleet.fleet import Fleet
from servedeck.fleet.history import ServingHistory
from servedeck.fleet.timeline_recorder import TimelineRecorder
from servedeck.fleet.views import ContainerView, NamespacedName, PodView, ServingView
from servedeck.serving.objects.records import Condition
from servedeck.serving.status.rollout import BLOCKED_BADGE
from servedeck.serving.status.status import WAITING_FOR_CONTROLLER, Status
from servedeck.serving.status.timeline import MAX_ENTRIES_PER_SERVING, TimelineKind
from servedeck.serving.status.timeline_objects import derive_entries
from tests.fleet.factories import (
    START,
    change,
    crashing_status,
    deployment,
    pod,
    pod_view,
    ready_status,
    replicaset,
    serving_view,
)

KEY = NamespacedName("team-a", "llama")
VIEW = serving_view(
    "team-a/llama", uid="d", status=Status.READY, desired=2, revision="14", image="x/server:v1"
)
NOW = START + timedelta(hours=1)


class Recorded:
    """A recorder of one serving; each change is a minute after the one before."""

    def __init__(self, view: ServingView = VIEW) -> None:
        self.recorder = TimelineRecorder()
        self.now = NOW
        self.view = view
        self.recorder.record(KEY, view, NOW)

    def change(self, view: ServingView | None = None, **fields: object) -> None:
        self.now += timedelta(minutes=1)
        self.view = replace(view or self.view, **fields)
        self.recorder.record(KEY, self.view, self.now)

    def texts(self, uid: str = "d") -> list[tuple[str, str]]:
        return [(one.kind.value, one.text) for one in self.recorder.entries(uid)[1:]]


def container(restarts: int, **fields: object) -> ContainerView:
    base = ContainerView("main", "Running", True, restarts, False, False, "cri://1")
    return replace(base, **fields)


def with_restarts(restarts: int, **fields: object) -> tuple[PodView, ...]:
    one = pod_view("llama-1-aaaaa", uid="p")
    return (replace(one, containers=(container(restarts, **fields),)),)


def test_a_serving_that_is_seen_first_has_a_status_of_unknown_age() -> None:
    recorded = Recorded()
    (first,) = recorded.recorder.entries("d")
    assert first.is_first_status
    assert (first.time, first.status) == (NOW, Status.READY)
    recorded.change(message="other", ready=1)
    assert recorded.texts() == []
    assert recorded.recorder.entries("unknown") == ()


def test_changes_of_one_moment_are_recorded_with_the_status_last() -> None:
    recorded = Recorded()
    recorded.change(
        status=Status.ERROR,
        reason="OOMKilled",
        desired=3,
        revision="15",
        image="x/server:v2",
        rollout="updating 1/3",
    )
    assert recorded.texts() == [
        ("rollout", "rollout to revision 15 (image v2)"),
        ("scale", "scaled from 2 to 3 replicas"),
        ("status", "Ready → Error: OOMKilled"),
    ]
    entries = recorded.recorder.entries("d")
    assert entries[-1].status is Status.ERROR
    assert {one.time for one in entries[1:]} == {NOW + timedelta(minutes=1)}
    assert all(one.observed for one in entries)


def test_a_change_that_the_controller_has_not_observed_for_a_moment_is_no_other_status() -> None:
    """Such as a pause, which changes no Pod: the serving is Ready since before."""
    recorded = Recorded()
    recorded.change(status=Status.STARTING, reason=WAITING_FOR_CONTROLLER)
    recorded.change(status=Status.READY, reason="", rollout="paused")
    assert recorded.texts() == [("rollout", "rollout paused")]
    recorded.change(status=Status.STARTING, reason=WAITING_FOR_CONTROLLER)
    recorded.change(status=Status.DEGRADED, reason="")
    assert recorded.texts()[1:] == [("status", "Ready → Degraded")]


def test_a_rollout_names_its_image_when_the_revision_follows_later() -> None:
    recorded = Recorded()
    recorded.change(image="x/server:v2")
    recorded.change(rollout="paused")
    recorded.change(revision="15", rollout="updating 0/2")
    recorded.change(revision="16")
    assert [text for _kind, text in recorded.texts() if text.startswith("rollout to")] == [
        "rollout to revision 15 (image v2)",
        "rollout to revision 16",
    ]


def test_rollouts_from_their_start_to_their_end() -> None:
    recorded = Recorded()
    recorded.change(revision="15", rollout="updating 0/2")
    recorded.change(rollout="updating 1/2")
    recorded.change(rollout="paused")
    recorded.change(rollout="updating 1/2")
    recorded.change(rollout=BLOCKED_BADGE, rollout_way_out="replace")
    recorded.change(rollout="updating 1/2", rollout_way_out="")
    recorded.change(rollout="rollout failed")
    recorded.change(rollout="")
    assert [text for _kind, text in recorded.texts()] == [
        "rollout to revision 15",
        "rollout paused",
        "rollout resumed",
        "rollout blocked by its own old Pods",
        "rollout did not finish within its progress deadline",
        "rollout of revision 15 finished",
    ]


def test_restarts_of_one_container_are_one_entry_until_the_status_changes() -> None:
    recorded = Recorded(replace(VIEW, pods=with_restarts(1)))
    for restarts in (2, 3, 5):
        finished = recorded.now + timedelta(seconds=30)
        recorded.change(
            pods=with_restarts(restarts, finished_at=finished, finish_reason="OOMKilled")
        )
    entry = recorded.recorder.entries("d")[-1]
    assert (entry.kind, entry.count) == (TimelineKind.RESTART, 4)
    assert entry.text == "main restarted after OOMKilled (Pod …1-aaaaa)"
    assert entry.time == NOW + timedelta(seconds=30)
    assert entry.end == NOW + timedelta(minutes=2, seconds=30)
    recorded.change(status=Status.ERROR)
    recorded.change(pods=with_restarts(6))
    assert [one.count for one in recorded.recorder.entries("d")[1:]] == [4, 1, 1]
    assert len(recorded.recorder) == 3


def test_a_lost_node_and_a_disrupted_pod() -> None:
    one = pod_view("llama-1-aaaaa", uid="p", node="gpu-1")
    recorded = Recorded(replace(VIEW, pods=(one,)))
    recorded.change(pods=(replace(one, status="Unknown"),))
    recorded.change(pods=(replace(one, status="Unknown", ready="0/1"),))
    gone = replace(one, disruption="DeletionByPodGC", disrupted_at=NOW)
    recorded.change(pods=(gone,))
    recorded.change(pods=(replace(gone, status="Terminating"),))
    assert recorded.texts() == [
        ("node", "node gpu-1 of Pod …1-aaaaa does not respond"),
        ("node", "Pod …1-aaaaa was deleted because its node gpu-1 does not exist anymore"),
    ]


def test_a_serving_made_again_has_its_own_timeline_and_the_old_one_ends() -> None:
    recorded = Recorded()
    recorded.change(uid="new", status=Status.STARTING)
    assert recorded.texts() == [("status", "deleted")]
    (first,) = recorded.recorder.entries("new")
    assert (first.status, first.is_first_status) == (Status.STARTING, True)
    recorded.recorder.record(KEY, None, recorded.now)
    recorded.recorder.record(KEY, None, recorded.now)
    assert recorded.texts("new") == [("status", "deleted")]
    assert recorded.texts() == [("status", "deleted")]


def test_servings_of_another_namespace_are_not_deleted_and_continue_later() -> None:
    recorded = Recorded()
    recorded.recorder.forget_views()
    recorded.change(status=Status.ERROR)
    assert recorded.texts() == [("status", "Ready → Error")]


def test_the_oldest_entries_are_dropped() -> None:
    recorded = Recorded()
    for replicas in range(MAX_ENTRIES_PER_SERVING + 10):
        recorded.change(desired=replicas + 10)
    texts = recorded.texts()
    assert len(texts) == len(recorded.recorder) == MAX_ENTRIES_PER_SERVING
    assert texts[-1] == ("scale", "scaled from 218 to 219 replicas")


def test_the_oldest_entries_of_all_servings_are_dropped() -> None:
    recorder = TimelineRecorder(max_entries=600)
    for minute in range(101):
        for number in range(6):
            key = NamespacedName("team-a", f"s{number}")
            view = replace(VIEW, key=key, uid=f"u{number}", desired=minute + 1)
            recorder.record(key, view, NOW + timedelta(minutes=minute))
    assert len(recorder) == 600
    recorder.record(key, replace(view, desired=1000), NOW + timedelta(minutes=200))
    assert len(recorder) == 100
    assert recorder.entries("u5")[-1].text == "scaled from 101 to 1000 replicas"


def test_a_restart_that_the_fleet_sees_and_the_pod_tells_is_the_same() -> None:
    fleet, history = Fleet(), ServingHistory()
    for record in (deployment(), replicaset(), pod(status=ready_status())):
        fleet.apply(change(record, "ADDED"))
    history.record(fleet.flush(NOW), fleet, NOW)
    finished = NOW + timedelta(minutes=1)
    fleet.apply(change(pod(status=crashing_status(finished))))
    later = NOW + timedelta(minutes=2)
    history.record(fleet.flush(later), fleet, later)
    view = fleet.view(KEY)
    assert view is not None
    _first, restart, status = history.timeline.entries("d-llama")
    assert restart.text == "inference-server restarted after OOMKilled (Pod p-llama)"
    assert (restart.time, restart.count) == (finished, 3)
    assert status.text.startswith("Ready → Error")
    assert restart.identity in {one.identity for one in derive_entries({}, (), view.pods)}


def test_while_the_list_is_loading_nothing_is_deleted() -> None:
    fleet, history = Fleet(), ServingHistory()
    for record in (deployment(), replicaset(), pod()):
        fleet.apply(change(record, "ADDED"))
    history.record(fleet.flush(NOW), fleet, NOW)
    history.record([KEY], Fleet(), NOW, is_loading=lambda: True)
    assert [one.text for one in history.timeline.entries("d-llama")] == [
        "Ready when servedeck saw it first"
    ]
    history.record([KEY], fleet, NOW)
    history.record([KEY], Fleet(), NOW)
    assert history.timeline.entries("d-llama")[-1].text == "deleted"


def test_servings_of_another_namespace_are_not_deleted_even_if_it_is_listed_at_once() -> None:
    fleet, history = Fleet(), ServingHistory()
    for record in (deployment(), replicaset(), pod()):
        fleet.apply(change(record, "ADDED"))
    history.record(fleet.flush(NOW), fleet, NOW, target=("prod", "team-a"))
    history.record([KEY], Fleet(), NOW, target=("prod", "team-b"))
    history.record([KEY], fleet, NOW, target=("prod", "team-a"))
    assert len(history.timeline.entries("d-llama")) == 1
    later = NOW + timedelta(minutes=1)
    fleet.apply(change(deployment(replicas=2)))
    history.record(fleet.flush(later), fleet, later, target=("prod", "team-a"))
    assert "scaled from 1 to 2 replicas" in [
        one.text for one in history.timeline.entries("d-llama")
    ]


def test_the_view_has_the_times_of_its_pods() -> None:
    fleet = Fleet()
    disrupted = Condition(
        type="DisruptionTarget",
        status="True",
        reason="EvictionByEvictionAPI",
        last_transition_time=NOW,
    )
    status = ready_status(restarts=1, finished=START)
    status = type(status)(
        phase=status.phase,
        conditions=(*status.conditions, disrupted),
        container_statuses=status.container_statuses,
    )
    for record in (deployment(revision="7"), replicaset(revision="7"), pod(status=status)):
        fleet.apply(change(record, "ADDED"))
    fleet.flush(NOW)
    view = fleet.view(KEY)
    assert view is not None
    (one,) = view.pods
    assert view.revision == "7"
    assert (one.ready_changed_at, one.disruption, one.disrupted_at) == (
        START,
        "EvictionByEvictionAPI",
        NOW,
    )
    (server,) = one.containers
    assert (server.started_at, server.finished_at, server.finish_reason) == (
        START,
        START,
        "exit code 137",
    )
