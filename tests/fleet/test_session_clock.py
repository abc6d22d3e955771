"""A session whose clock differs from the API server's: 8 minutes ahead, as a laptop's after sleep
(K2s, issue 2215)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from servedeck.fleet import clock_watch
from servedeck.fleet.state import describe_clock_offset
from servedeck.serving.objects.records import (
    Condition,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    PodStatus,
)
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.status import Status
from tests.fleet.factories import pod
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import LLAMA, SessionRecorder, recorded_session

AHEAD = timedelta(minutes=8)


def server_time(cluster: FakeCluster) -> datetime:
    return datetime.fromtimestamp(time.time() + cluster.server_ahead, UTC)


def restarted_status(finished: datetime) -> PodStatus:
    """Running again after it ran out of memory, and not ready yet."""
    last = ContainerStateTerminated(exit_code=137, reason="OOMKilled", finished_at=finished)
    return PodStatus(
        phase="Running",
        conditions=(Condition(type="PodScheduled", status="True"),),
        container_statuses=(
            ContainerStatus(
                name="inference-server",
                restart_count=1,
                state=ContainerState(running=ContainerStateRunning(started_at=finished)),
                last_state=ContainerState(terminated=last),
            ),
        ),
    )


def llama_health(watched: SessionRecorder) -> PodHealth | None:
    view = watched.session.fleet.view(LLAMA)
    return view.pods[0].health if view is not None and view.pods else None


async def test_a_deletion_of_a_moment_ago_is_not_stuck(cluster: FakeCluster) -> None:
    cluster.server_ahead = -AHEAD.total_seconds()
    deadline = server_time(cluster) + timedelta(seconds=30)
    cluster.put(pod(deletion_timestamp=deadline))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        view = watched.session.fleet.view(LLAMA)
        assert view is not None
        assert view.pods[0].reason == "Terminating"
        state = watched.session.state
        assert state.clock_warning == (
            "The clock here is 8m ahead of the API server's; ages use the server's time."
        )
        assert not state.has_failed
        assert state.message == ""
        behind = datetime.now(UTC) - watched.session.server_now()
        assert abs(behind - AHEAD) < timedelta(minutes=1)


@pytest.mark.parametrize("ahead", [timedelta(minutes=-8), timedelta(minutes=8)])
async def test_a_crash_is_recent_by_the_servers_clock(
    cluster: FakeCluster, ahead: timedelta
) -> None:
    cluster.server_ahead = ahead.total_seconds()
    cluster.put(pod(status=restarted_status(server_time(cluster) - timedelta(minutes=5))))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert watched.llama_status() is Status.ERROR
        view = watched.session.fleet.view(LLAMA)
        assert view is not None and view.reason == "OOMKilled"


async def test_pods_are_evaluated_again_when_a_clock_is_set(cluster: FakeCluster) -> None:
    cluster.put(pod(status=restarted_status(datetime.now(UTC) - timedelta(minutes=12))))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert watched.session.state.clock_warning == ""
        assert llama_health(watched) is PodHealth.STARTING
        cluster.server_ahead = -AHEAD.total_seconds()
        cluster.connections[0].sync_clock()
        await watched.wait_until(lambda: llama_health(watched) is PodHealth.ERROR)
        await watched.wait_until(lambda: watched.changes[-1].state_changed)
        assert "8m ahead" in watched.session.state.clock_warning
        cluster.server_ahead = 0
        cluster.connections[0].sync_clock()
        await watched.wait_until(lambda: llama_health(watched) is PodHealth.STARTING)
        assert watched.session.state.clock_warning == ""


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the clocks all the time."""
    monkeypatch.setattr(clock_watch, "CHECK_SECONDS", 0.01)


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=1)])
@pytest.mark.usefixtures("soon")
async def test_a_server_whose_clock_is_set_while_its_watches_are_open_is_noticed(
    cluster: FakeCluster, step: timedelta
) -> None:
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        session = watched.session
        assert session.state.clock_warning == ""
        cluster.server_ahead = step.total_seconds()  # as NTP sets it
        await watched.wait_until(lambda: session.state.clock_warning)
        ahead = session.server_now() - datetime.now(UTC)
        assert abs(ahead - step) < timedelta(minutes=1)
        cluster.server_ahead = 0
        await watched.wait_until(lambda: session.state.clock_warning == "")


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=1)])
async def test_the_age_of_a_pod_is_right_at_once_when_the_clock_here_is_set(
    cluster: FakeCluster, step: timedelta
) -> None:
    moved = timedelta()
    cluster.local_time = lambda: time.time() + moved.total_seconds()
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        session, connection = watched.session, cluster.connections[0]
        before = session.server_now()
        moved = step
        # `server_now` adds the offset to the clock that was set.
        after = session.server_now() + step
        assert timedelta() <= after - before < timedelta(minutes=1)
        assert abs(connection.clock.offset + step) < timedelta(minutes=1)


@pytest.mark.usefixtures("soon")
async def test_pods_are_evaluated_again_when_the_clock_here_is_set(cluster: FakeCluster) -> None:
    moved = timedelta()
    cluster.local_time = lambda: time.time() + moved.total_seconds()
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        moved = timedelta(hours=1)
        await watched.wait_until(lambda: watched.session.state.clock_warning)


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (timedelta(seconds=60), ""),
        (timedelta(seconds=-60), ""),
        (timedelta(seconds=90), "The clock here is 2m behind the API server's"),
        (timedelta(minutes=-7, seconds=-50), "The clock here is 8m ahead of the API server's"),
        (timedelta(hours=-5), "The clock here is 5h ahead of the API server's"),
    ],
)
def test_the_difference_is_said_from_a_minute_on(offset: timedelta, words: str) -> None:
    sentence = describe_clock_offset(offset)
    assert sentence.partition(";")[0] == words
    assert not sentence or sentence.endswith("ages use the server's time.")
