from __future__ import annotations

import asyncio
import gc
import time
from datetime import UTC, datetime, timedelta

import pytest

from servedeck.cluster.watch import debounce
from servedeck.cluster.watch.kinds import DEPLOYMENTS, PLAIN_PODS
from servedeck.cluster.watch.reflector import ReflectorConfig, ReflectorPhase
from servedeck.config import Settings
from servedeck.fleet import clock_watch, liveness
from servedeck.fleet import session as module
from servedeck.fleet.platform_config import PlatformConfigMap
from servedeck.fleet.session import SessionChanges, tune_gc
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import ObjectMeta
from servedeck.serving.status.container_failures import RECENT_RESTART_WINDOW
from servedeck.serving.status.status import Status
from tests.fleet.factories import (
    crashing_status,
    deployment,
    http_route,
    pod,
    replicaset,
    service,
)
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import LLAMA, recorded_session
from tests.waiting import TimeSkipper, wait_until


async def test_servings_are_shown_once_their_pods_are_known(cluster: FakeCluster) -> None:
    cluster.pod_list_gate.clear()
    async with recorded_session(cluster) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.LISTING)
        await watched.wait_until(lambda: watched.session.state.loaded >= 2)
        assert watched.session.fleet.views() == []
        assert not watched.session.state.settled
        cluster.pod_list_gate.set()
        await watched.wait_until_live()
        assert watched.statuses == [Status.READY], "no other status flashed by"
        assert watched.session.state.missing_permissions == ()


async def test_the_first_change_is_reported_at_once_and_the_rest_together(
    cluster: FakeCluster, skip_time: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = 600.0
    async with recorded_session(cluster, reflector_config=ReflectorConfig()) as watched:
        await watched.wait_until_live()
        debouncer = watched.session._debouncer
        assert debouncer is not None
        await wait_until(lambda: debouncer._flush_handle is None, "all to be notified")
        monkeypatch.setattr(debouncer, "_interval", joined)  # too long to elapse without skipping
        skip_time(joined + 1)
        watched.changes.clear()
        cluster.put(pod(status=crashing_status()))
        await watched.wait_until(lambda: watched.changes)
        known = watched.session._reflectors[DEPLOYMENTS].records
        cluster.put(deployment("other-2", replicas=0))
        await watched.wait_until(lambda: len(watched.changes) == 2)  # not merged with Pod changes
        for number in range(3, 12):
            cluster.put(deployment(f"other-{number}", replicas=0))
        await wait_until(lambda: len(known) == 11, "all changes")
        assert [len(each.keys) for each in watched.changes] == [1, 1]
        skip_time(joined + 1)
        await watched.wait_until(lambda: len(watched.session.fleet.views()) == 11)
        assert [len(each.keys) for each in watched.changes] == [1, 1, 9]


async def test_changes_of_the_prioritized_serving_do_not_wait_for_those_of_others(
    cluster: FakeCluster, skip_time: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put(deployment("other"), replicaset("r-other", "d-other"), pod("p-other", "r-other"))
    async with recorded_session(cluster, reflector_config=ReflectorConfig()) as watched:
        await watched.wait_until_live()
        debouncer = watched.session._debouncer
        assert debouncer is not None
        await wait_until(lambda: debouncer._flush_handle is None, "all to be notified")
        monkeypatch.setattr(debouncer, "_interval", 600.0)  # too long to elapse without skipping
        skip_time(601)
        watched.changes.clear()

        cluster.put(pod("p-other", "r-other", crashing_status()))
        await watched.wait_until(lambda: watched.changes)
        cluster.put(pod("p-other", "r-other"))
        await wait_until(lambda: debouncer._flush_handle is not None, "the change to wait")
        assert len(watched.changes) == 1
        watched.session.prioritize(LLAMA)
        cluster.put(pod(status=crashing_status()))
        await watched.wait_until(lambda: len(watched.changes) == 2)
        assert watched.changes[1].keys == {LLAMA}
        assert debouncer._flush_handle is not None, "the other one still waits"
        skip_time(601)
        await watched.wait_until(lambda: len(watched.changes) == 3)
        assert watched.changes[2].keys == {NamespacedName("team-a", "other")}


async def test_a_change_of_a_serving_that_is_no_longer_prioritized_is_reported(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorded_session(cluster, reflector_config=ReflectorConfig()) as watched:
        await watched.wait_until_live()
        session = watched.session
        assert session._priority_debouncer is not None
        monkeypatch.setattr(session._priority_debouncer, "_interval", 600.0)
        session.prioritize(LLAMA)
        watched.changes.clear()
        cluster.put(pod(status=crashing_status()))
        await watched.wait_until(lambda: watched.changes)
        cluster.put(pod())
        await wait_until(lambda: LLAMA in session.fleet.pending(), "the change to wait")
        session.prioritize(None)  # the page is closed
        assert session._debouncer is not None and session._debouncer._flush_handle is not None
        await watched.wait_until(lambda: watched.statuses[-1] is Status.READY)


async def test_nothing_is_reported_while_the_operator_waits_for_a_key(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debounce, "MAX_HOLD_SECONDS", 600.0)
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        session, is_busy = watched.session, True
        session.prioritize(LLAMA)
        session.hold_while(lambda: is_busy)
        assert session.connection is not None
        assert session.connection.is_held(), "its watches wait too"
        session.connection.is_held = lambda: False  # what is known already is not reported either
        watched.changes.clear()
        cluster.put(pod(status=crashing_status()))
        cluster.put(deployment("other"))
        await wait_until(lambda: len(session.fleet.pending()) == 2, "both changes")
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not watched.changes
        is_busy = False
        both = {LLAMA, NamespacedName("team-a", "other")}
        await watched.wait_until(
            lambda: both <= {key for one in watched.changes for key in one.keys}
        )


async def test_an_error_of_the_prioritized_serving_expires_in_time(cluster: FakeCluster) -> None:
    """A crash without another one after it is no error after some minutes; nothing reports that."""
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        session = watched.session
        session.prioritize(LLAMA)
        left = timedelta(seconds=60)
        crash = session.server_now() - RECENT_RESTART_WINDOW + left
        cluster.put(pod(status=crashing_status(crash, waiting=False)))
        await watched.wait_until(lambda: session.fleet.next_reevaluation() is not None)
        debouncer = session._debouncer
        assert debouncer is not None and debouncer._wake_handle is not None
        assert debouncer._wake_handle.when() - asyncio.get_running_loop().time() <= 60


async def test_nothing_is_reported_and_nothing_wakes_while_nothing_happens(
    cluster: FakeCluster, skip_time: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "QUIET_SECONDS", 3600.0)  # the server is asked in between
    monkeypatch.setattr(clock_watch, "CHECK_SECONDS", 3600.0)
    loop = asyncio.get_running_loop()

    def next_due() -> float:
        scheduled = loop._scheduled  # type: ignore[attr-defined]
        left = (handle.when() - loop.time() for handle in scheduled if not handle.cancelled())
        return min(left, default=0.0)

    # that a kind is asked for again which the cluster does not have is no rest
    config = ReflectorConfig(unavailable_delay=(3600.0, 3600.0))
    async with recorded_session(cluster, reflector_config=config) as watched:
        await watched.wait_until_live()
        # the next scheduled call is the staleness deadline
        await wait_until(lambda: next_due() > 60, "rest", describe_state=next_due)
        watched.changes.clear()
        skip_time(50)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not watched.changes
        assert next_due() > 10


async def test_a_subscriber_that_fails_does_not_affect_the_others(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with recorded_session(cluster) as watched:

        def broken(_: SessionChanges) -> None:
            raise RuntimeError("broken screen")

        end = watched.session.subscribe(broken)
        watched.session._subscribers.reverse()
        await watched.wait_until_live()
        assert "broken screen" in caplog.text
        end()
        end()


def watched_selectors(cluster: FakeCluster, plural: str) -> set[str]:
    return {selector for kind, _, selector in cluster.watches.values() if kind == plural}


async def test_pods_without_the_label_are_watched_only_while_a_serving_needs_them(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STOP_DELAY", 0.05)
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        always = {"servedeck.dev/serving", PLAIN_PODS.label_selector}
        assert watched_selectors(cluster, "pods") == always
        cluster.put(replicaset("r-wild", "d-wild"), pod("p-wild", "r-wild"), labeled=False)
        wild = deployment("wild", labeled=False)
        cluster.put(wild)
        key = NamespacedName("team-a", "wild")
        await watched.wait_until(lambda: watched.session.fleet.view(key))
        view = watched.session.fleet.view(key)
        assert view is not None and view.status is Status.READY
        cluster.delete(wild)
        await watched.wait_until(lambda: watched.session.fleet.view(key) is None)
        await wait_until(lambda: "!servedeck.dev/serving" not in watched_selectors(cluster, "pods"))
        assert watched.session.state.phase is ReflectorPhase.LIVE


async def test_a_serving_without_the_label_is_waited_for_at_the_start(cluster: FakeCluster) -> None:
    cluster.put(deployment(labeled=False))
    cluster.put(replicaset(), pod(), labeled=False)
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert watched.statuses == [Status.READY]


async def test_the_platforms_configmap_gives_the_host(cluster: FakeCluster) -> None:
    cluster.absent_kinds.discard("httproutes")
    cluster.put(service(), http_route(host="*.example"))
    config = PlatformConfigMap(
        metadata=ObjectMeta(name="servedeck", namespace="servedeck-system", uid="c"),
        data={"endpoint_host": "ai.example", "endpoint_scheme": "gopher"},
    )
    cluster.put(config, plural="configmaps")

    def url() -> str:
        view = watched.session.fleet.view(LLAMA)
        return view.endpoint.url if view is not None else ""

    async with recorded_session(cluster, settings=Settings()) as watched:
        await watched.wait_until(lambda: url() == "https://ai.example/team-a/llama")
        assert watched.session.settings.endpoint_host == "ai.example"


async def test_an_error_expires_by_the_clock_alone(
    cluster: FakeCluster, skip_time: TimeSkipper
) -> None:
    began = asyncio.get_running_loop().time()
    start = datetime.now(UTC)

    def now() -> datetime:
        return start + timedelta(seconds=asyncio.get_running_loop().time() - began)

    crashed = start - RECENT_RESTART_WINDOW + timedelta(seconds=900)
    cluster.put(pod(status=crashing_status(crashed, waiting=False)))
    async with recorded_session(cluster, now=now) as watched:
        await watched.wait_until(lambda: watched.llama_status() is Status.ERROR)
        skip_time(901)
        await watched.wait_until(lambda: watched.llama_status() is Status.STARTING)
        assert watched.statuses == [Status.ERROR, Status.STARTING]


async def test_a_stalled_watch_becomes_stale(
    cluster: FakeCluster, skip_time: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + skip_time.skipped)
    async with recorded_session(
        cluster, reflector_config=ReflectorConfig(watch_read_timeout=900)
    ) as watched:
        await watched.wait_until_live()
        skip_time(1000)
        await watched.wait_until(lambda: watched.session.state.stale_for is not None)
        assert watched.session.state.phase is ReflectorPhase.RETRYING
        assert "reconnecting" in watched.session.state.message


async def test_closing_before_anything_answered_leaves_nothing(cluster: FakeCluster) -> None:
    cluster.pod_list_gate.clear()
    async with recorded_session(cluster) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.LISTING)
    async with recorded_session(cluster):
        pass


def test_the_garbage_collector_is_tuned() -> None:
    before = gc.get_threshold()
    try:
        tune_gc()
        assert gc.get_threshold()[0] == 20_000
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
