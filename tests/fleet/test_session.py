from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ConfigError
from servedeck.cluster.watch.kinds import DEPLOYMENTS
from servedeck.cluster.watch.reflector import ReflectorConfig, ReflectorPhase
from servedeck.config import Settings
from servedeck.fleet import session as module
from servedeck.fleet.platform_config import PlatformConfig
from servedeck.fleet.session import ClusterSession, SessionChanges, tune_gc
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
from tests.waiting import WAIT_SECONDS, TimeSkipper, wait_until

LLAMA = NamespacedName("team-a", "llama")
FAST_CONFIG = ReflectorConfig(
    retry_delay=(0.01, 0.02),
    relist_delay=(0.0, 0.0),
    unavailable_delay=(0.02, 0.03),
    unauthorized_delay=(0.01, 0.02),
)


class SessionRecorder:
    """A ClusterSession and all changes that it published."""

    def __init__(self, session: ClusterSession) -> None:
        self.session = session
        self.changes: list[SessionChanges] = []
        self.statuses: list[Status] = []
        self._changed = asyncio.Event()
        session.subscribe(self._on_changes)

    def _on_changes(self, changes: SessionChanges) -> None:
        self.changes.append(changes)
        view = self.session.fleet.view(LLAMA)
        if view is not None and (not self.statuses or self.statuses[-1] is not view.status):
            self.statuses.append(view.status)
        self._changed.set()

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def wait_until_live(self) -> None:
        await self.wait_until(
            lambda: self.session.state.phase is ReflectorPhase.LIVE and self.session.state.settled
        )

    def llama_status(self) -> Status | None:
        view = self.session.fleet.view(LLAMA)
        return view.status if view is not None else None


@asynccontextmanager
async def recorded_session(
    cluster: FakeCluster, options: ConnectionOptions | None = None, **more: Any
) -> AsyncIterator[SessionRecorder]:
    before = asyncio.all_tasks()
    arguments: dict[str, Any] = {
        "tune_gc": False,
        "reflector_config": FAST_CONFIG,
        "connect": cluster.connect,
    }
    session = ClusterSession(
        options or ConnectionOptions(all_namespaces=True), **(arguments | more)
    )
    watched = SessionRecorder(session)
    await session.start()
    try:
        yield watched
    finally:
        await session.close()
        assert asyncio.all_tasks() == before, "a task is left behind"
        assert not cluster.watches, "a watch is left behind"
        assert all(connection.closed for connection in cluster.connections)


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.put(deployment(), replicaset(), pod())
    return made


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


async def test_the_first_change_is_told_at_once_and_the_rest_together(
    cluster: FakeCluster, skip: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = 600.0
    async with recorded_session(cluster, reflector_config=ReflectorConfig()) as watched:
        await watched.wait_until_live()
        pulse = watched.session._debouncer
        assert pulse is not None
        await wait_until(lambda: pulse._flush_handle is None, "all to be told")
        monkeypatch.setattr(pulse, "_interval", joined)  # too long to elapse without skipping
        skip(joined + 1)
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
        skip(joined + 1)
        await watched.wait_until(lambda: len(watched.session.fleet.views()) == 11)
        assert [len(each.keys) for each in watched.changes] == [1, 1, 9]


async def test_nothing_is_told_and_nothing_wakes_while_nothing_happens(
    cluster: FakeCluster, skip: TimeSkipper
) -> None:
    loop = asyncio.get_running_loop()

    def next_due() -> float:
        scheduled = loop._scheduled  # type: ignore[attr-defined]
        left = (handle.when() - loop.time() for handle in scheduled if not handle.cancelled())
        return min(left, default=0.0)

    async with recorded_session(cluster, reflector_config=ReflectorConfig()) as watched:
        await watched.wait_until_live()
        # the next scheduled call is the staleness deadline
        await wait_until(lambda: next_due() > 60, "rest", describe_state=next_due)
        watched.changes.clear()
        skip(50)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not watched.changes
        assert next_due() > 10


async def test_a_subscriber_that_fails_does_not_blind_the_others(
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


async def test_a_lost_server_blanks_nothing_and_is_told(cluster: FakeCluster) -> None:
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        cluster.shut_down()
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.RETRYING)
        state = watched.session.state
        assert "Connection refused" in state.message or "was lost" in state.message
        assert state.stale_for is not None and state.last_update_at is not None
        assert watched.llama_status() is Status.READY
        cluster.is_down = False
        cluster.put(pod(status=crashing_status()))
        watched.session.retry_now()
        await watched.wait_until(lambda: watched.llama_status() is Status.ERROR)
        await watched.wait_until_live()
        assert watched.session.state.stale_for is None


async def test_a_server_that_is_away_at_the_start_is_waited_for(cluster: FakeCluster) -> None:
    cluster.is_down = True
    async with recorded_session(cluster) as watched:
        await watched.wait_until(lambda: watched.session.state.has_failed)
        assert watched.session.state.phase is ReflectorPhase.RETRYING
        assert watched.session.state.stale_for is None, "there is nothing to be stale"
        cluster.is_down = False
        await watched.wait_until_live()


async def test_when_one_kind_reaches_the_server_again_the_others_do_not_sit_out_their_pause(
    cluster: FakeCluster,
) -> None:
    patient = replace(FAST_CONFIG, retry_delay=(3600.0, 3600.0))
    async with recorded_session(cluster, reflector_config=patient) as watched:
        await watched.wait_until_live()
        cluster.shut_down()
        reflectors = watched.session._reflectors
        needed = [one for kind, one in reflectors.items() if not kind.optional]
        await watched.wait_until(
            lambda: all(one.phase is ReflectorPhase.RETRYING for one in needed)
        )
        cluster.is_down = False
        reflectors[DEPLOYMENTS].retry_now()
        await watched.wait_until(lambda: all(one.phase is ReflectorPhase.LIVE for one in needed))


async def test_a_kubeconfig_that_cannot_be_used_is_tried_again(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no attempts except requested ones
    monkeypatch.setattr(module, "_CONNECT_BACKOFF", (3600.0, 3600.0))
    attempts = 0

    async def connect(target: ConnectionOptions) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConfigError("There is no kubeconfig; set KUBECONFIG.")
        return await cluster.connect(target)

    async with recorded_session(cluster, connect=connect) as watched:
        await watched.wait_until(lambda: watched.session.state.has_failed)
        assert watched.session.state.message == "There is no kubeconfig; set KUBECONFIG."
        for number in (2, 3):
            watched.session.retry_now()
            await wait_until(lambda number=number: attempts == number, "the next attempt")
        await watched.wait_until_live()


async def test_credentials_that_are_refused_are_told(cluster: FakeCluster) -> None:
    cluster.error_code = 401
    async with recorded_session(cluster) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.UNAUTHORIZED)
        assert "log in again" in watched.session.state.message
        cluster.error_code = 0
        await watched.wait_until_live()


async def test_single_kinds_that_are_forbidden_are_named_and_the_rest_goes_on(
    cluster: FakeCluster,
) -> None:
    cluster.forbidden = {("events", ""), ("services", ""), ("configmaps", "*")}
    cluster.forbidden.add(("httproutes", ""))  # forbidden and absent: not an error
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert watched.session.state.missing_permissions == ("list events", "list services")
        assert watched.llama_status() is Status.READY


@pytest.mark.parametrize("kind", ["pods", "replicasets"])
async def test_without_pods_the_deployment_is_believed(cluster: FakeCluster, kind: str) -> None:
    cluster.forbidden = {(kind, "")}
    cluster.put(deployment(replicas=2, ready_replicas=1, status_replicas=2))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert watched.statuses == [Status.DEGRADED]
        assert any(kind in each for each in watched.session.state.missing_permissions)
        cluster.forbidden.clear()
        await watched.wait_until(lambda: not watched.session.state.missing_permissions)
        await watched.wait_until(lambda: watched.session.fleet.view(LLAMA).pods)  # type: ignore[union-attr]


async def test_a_right_that_is_taken_away_shows_no_false_status(cluster: FakeCluster) -> None:
    cluster.put(deployment(ready_replicas=1, status_replicas=1))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        cluster.forbidden = {("pods", "")}
        for queue, (plural, _, _) in cluster.watches.items():
            if plural == "pods":
                queue.put_nowait(None)
        await watched.wait_until(lambda: watched.session.state.missing_permissions)
        assert watched.statuses == [Status.READY]
        assert watched.session.fleet.view(LLAMA).pods == ()  # type: ignore[union-attr]


async def test_without_the_right_to_all_namespaces_the_contexts_own_is_shown() -> None:
    cluster = FakeCluster(main="team-a")
    cluster.put(deployment(), replicaset(), pod(), deployment("far", namespace="team-b"))
    kinds = ("deployments", "replicasets", "pods", "events", "services", "ingresses")
    cluster.forbidden = {(kind, "") for kind in kinds}
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        live = watched.session
        assert live.namespace == "team-a"
        assert [view.key for view in live.fleet.views()] == [LLAMA]
        assert live.state.message.startswith("Only namespace team-a is shown")
        assert live.state.missing_permissions == ("list deployments.apps in all namespaces",)


async def test_without_any_right_it_says_so_and_waits_for_one() -> None:
    cluster = FakeCluster(main="team-a")
    cluster.put(deployment(), replicaset(), pod())
    cluster.forbidden = {("deployments", "*")}
    async with recorded_session(cluster) as watched:
        live = watched.session
        await watched.wait_until(
            lambda: live.namespace and live.state.phase is ReflectorPhase.FORBIDDEN
        )
        assert live.state.message.startswith(
            "Cannot list deployments.apps in all namespaces, nor in team-a; choose"
        )
        cluster.forbidden.clear()
        await watched.wait_until_live()
        assert live.state.message.startswith("Only namespace team-a")


@pytest.mark.parametrize(
    ("target", "widen", "named", "shown"),
    [
        (ConnectionOptions(), False, "", "default"),
        (ConnectionOptions(), True, "", ""),
        (ConnectionOptions(), True, "team-a", "team-a"),
        (ConnectionOptions(namespace="x"), True, "team-a", "x"),
        (ConnectionOptions(namespace="x", all_namespaces=True), False, "team-a", ""),
    ],
)
async def test_which_namespace_is_shown(
    target: ConnectionOptions, widen: bool, named: str, shown: str
) -> None:
    cluster = FakeCluster(main=named)
    async with recorded_session(cluster, target, default_all_namespaces=widen) as watched:
        await watched.wait_until_live()
        assert watched.session.namespace == shown


async def test_switching_the_namespace_keeps_the_connection_and_mixes_nothing() -> None:
    cluster = FakeCluster()
    cluster.put(deployment(), replicaset(), pod(), deployment("far", namespace="team-b"))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        watched.changes.clear()
        await watched.session.switch(namespace="team-b")
        assert watched.session.fleet.views() == []
        await watched.wait_until_live()
        assert [str(view.key) for view in watched.session.fleet.views()] == ["team-b/far"]
        told = frozenset[NamespacedName]().union(*(each.keys for each in watched.changes))
        assert told == {LLAMA, NamespacedName("team-b", "far")}
        assert len(cluster.connections) == 1
        await watched.session.switch(namespace="")
        await watched.wait_until_live()
        assert len(watched.session.fleet.views()) == 2


async def test_switching_the_context_closes_the_old_one() -> None:
    first, second = FakeCluster(one="team-a", two=""), FakeCluster(one="team-a", two="")
    first.put(deployment(), replicaset(), pod())
    second.put(deployment("qwen", replicas=0))

    async def connect(target: ConnectionOptions) -> Any:
        return await (second if target.context == "two" else first).connect(target)

    async with recorded_session(
        first, ConnectionOptions(), connect=connect, default_all_namespaces=True
    ) as watched:
        await watched.wait_until_live()
        assert watched.session.contexts == ("one", "two")
        assert watched.session.namespace == "team-a"
        await watched.session.switch(context="two")
        assert first.connections[0].closed and not first.watches
        await watched.wait_until_live()
        assert (watched.session.context, watched.session.namespace) == ("two", "")
        assert [view.key.name for view in watched.session.fleet.views()] == ["qwen"]
    assert not second.watches


async def test_who_looks_at_all_namespaces_does_so_in_the_next_context_too() -> None:
    cluster = FakeCluster(one="", two="default")
    cluster.put(deployment(), replicaset(), pod())
    async with recorded_session(cluster, ConnectionOptions(all_namespaces=True)) as watched:
        await watched.wait_until_live()
        await watched.session.switch(context="two")
        await watched.wait_until_live()
        assert (watched.session.context, watched.session.namespace) == ("two", "")
        assert watched.llama_status() is Status.READY


async def test_a_context_that_fails_can_be_left_again(cluster: FakeCluster) -> None:
    async def connect(target: ConnectionOptions) -> Any:
        if target.context == "broken":
            raise ConfigError("There is no context broken.")
        return await cluster.connect(target)

    async with recorded_session(cluster, connect=connect) as watched:
        await watched.wait_until_live()
        await watched.session.switch(context="broken")
        await watched.wait_until(lambda: watched.session.state.has_failed)
        assert watched.session.contexts == ("main",)
        assert watched.session.context == "broken"
        await watched.session.switch(context="main", namespace="")
        await watched.wait_until_live()
        assert watched.llama_status() is Status.READY


def watched_selectors(cluster: FakeCluster, plural: str) -> set[str]:
    return {selector for kind, _, selector in cluster.watches.values() if kind == plural}


async def test_pods_without_the_label_are_watched_only_while_a_serving_needs_them(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_UNLABELED_STOP_DELAY", 0.05)
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert watched_selectors(cluster, "pods") == {"servedeck.dev/serving"}
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
    config = PlatformConfig(
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


async def test_an_error_is_forgiven_by_the_clock_alone(
    cluster: FakeCluster, skip: TimeSkipper
) -> None:
    began = asyncio.get_running_loop().time()
    start = datetime.now(UTC)

    def now() -> datetime:
        return start + timedelta(seconds=asyncio.get_running_loop().time() - began)

    crashed = start - RECENT_RESTART_WINDOW + timedelta(seconds=900)
    cluster.put(pod(status=crashing_status(crashed, waiting=False)))
    async with recorded_session(cluster, now=now) as watched:
        await watched.wait_until(lambda: watched.llama_status() is Status.ERROR)
        skip(901)
        await watched.wait_until(lambda: watched.llama_status() is Status.STARTING)
        assert watched.statuses == [Status.ERROR, Status.STARTING]


async def test_silence_is_suspicious_after_a_while(
    cluster: FakeCluster, skip: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + skip.skipped)
    async with recorded_session(
        cluster, reflector_config=ReflectorConfig(watch_read_timeout=900)
    ) as watched:
        await watched.wait_until_live()
        skip(1000)
        await watched.wait_until(lambda: watched.session.state.stale_for is not None)
        assert watched.session.state.phase is ReflectorPhase.RETRYING
        assert "reconnecting" in watched.session.state.message


async def test_closing_before_anything_answered_leaves_nothing(cluster: FakeCluster) -> None:
    cluster.pod_list_gate.clear()
    async with recorded_session(cluster) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.LISTING)
    async with recorded_session(cluster):
        pass


def test_the_collector_is_calmed() -> None:
    before = gc.get_threshold()
    try:
        tune_gc()
        assert gc.get_threshold()[0] == 50_000
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
