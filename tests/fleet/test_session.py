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

from servedeck.cluster.auth.kubeconfig import Target
from servedeck.cluster.http.errors import ConfigError
from servedeck.cluster.watch.kinds import DEPLOYMENTS
from servedeck.cluster.watch.reflector import Phase, Timings
from servedeck.config import Settings
from servedeck.fleet import session as module
from servedeck.fleet.platform_config import PlatformConfig
from servedeck.fleet.session import Changes, Live, calm_gc
from servedeck.fleet.views import Key
from servedeck.serving.objects.records import Meta
from servedeck.serving.status.diagnosis import LATELY
from servedeck.serving.status.status import Status
from tests.fleet.cluster import Cluster
from tests.fleet.make import (
    crashing_status,
    deployment,
    http_route,
    pod,
    replicaset,
    service,
)
from tests.waiting import LIMIT, Skip, until

LLAMA = Key("team-a", "llama")
QUICK = Timings(
    retry=(0.01, 0.02), relist=(0.0, 0.0), probe=(0.02, 0.03), unauthorized=(0.01, 0.02)
)


class Watched:
    """A Live and everything that it published."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.changes: list[Changes] = []
        self.statuses: list[Status] = []
        self._news = asyncio.Event()
        live.subscribe(self._on)

    def _on(self, changes: Changes) -> None:
        self.changes.append(changes)
        view = self.live.fleet.view(LLAMA)
        if view is not None and (not self.statuses or self.statuses[-1] is not view.status):
            self.statuses.append(view.status)
        self._news.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def until_live(self) -> None:
        await self.until(lambda: self.live.state.phase is Phase.LIVE and self.live.state.settled)

    def status(self) -> Status | None:
        view = self.live.fleet.view(LLAMA)
        return view.status if view is not None else None


@asynccontextmanager
async def watching(
    cluster: Cluster, target: Target | None = None, **more: Any
) -> AsyncIterator[Watched]:
    before = asyncio.all_tasks()
    options: dict[str, Any] = {"calm_gc": False, "timings": QUICK, "connect": cluster.connect}
    live = Live(target or Target(all_namespaces=True), **(options | more))
    watched = Watched(live)
    await live.start()
    try:
        yield watched
    finally:
        await live.close()
        assert asyncio.all_tasks() == before, "a task is left behind"
        assert not cluster.watches, "a watch is left behind"
        assert all(connection.closed for connection in cluster.opened)


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put(deployment(), replicaset(), pod())
    return made


async def test_servings_are_shown_once_their_pods_are_known(cluster: Cluster) -> None:
    cluster.hold.clear()
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.live.state.phase is Phase.LISTING)
        await watched.until(lambda: watched.live.state.loaded >= 2)
        assert watched.live.fleet.views() == []
        assert not watched.live.state.settled
        cluster.hold.set()
        await watched.until_live()
        assert watched.statuses == [Status.READY], "no other status flashed by"
        assert watched.live.state.missing == ()


async def test_the_first_change_is_told_at_once_and_the_rest_together(
    cluster: Cluster, skip: Skip, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = 600.0
    async with watching(cluster, timings=Timings()) as watched:
        await watched.until_live()
        pulse = watched.live._pulse
        assert pulse is not None
        await until(lambda: pulse._handle is None, "all to be told")
        monkeypatch.setattr(pulse, "_interval", joined)  # so long that it is over by skipping alone
        skip(joined + 1)
        watched.changes.clear()
        cluster.put(pod(status=crashing_status()))
        await watched.until(lambda: watched.changes)
        known = watched.live._reflectors[DEPLOYMENTS].store
        cluster.put(deployment("other-2", replicas=0))
        await watched.until(lambda: len(watched.changes) == 2)  # not joined with what Pods did
        for number in range(3, 12):
            cluster.put(deployment(f"other-{number}", replicas=0))
        await until(lambda: len(known) == 11, "all changes")
        assert [len(each.keys) for each in watched.changes] == [1, 1]
        skip(joined + 1)
        await watched.until(lambda: len(watched.live.fleet.views()) == 11)
        assert [len(each.keys) for each in watched.changes] == [1, 1, 9]


async def test_nothing_is_told_and_nothing_wakes_while_nothing_happens(
    cluster: Cluster, skip: Skip
) -> None:
    loop = asyncio.get_running_loop()

    def next_due() -> float:
        scheduled = loop._scheduled  # type: ignore[attr-defined]
        left = (handle.when() - loop.time() for handle in scheduled if not handle.cancelled())
        return min(left, default=0.0)

    async with watching(cluster, timings=Timings()) as watched:
        await watched.until_live()
        # the next thing to wake for is the deadline of staleness
        await until(lambda: next_due() > 60, "rest", sign=next_due)
        watched.changes.clear()
        skip(50)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not watched.changes
        assert next_due() > 10


async def test_a_subscriber_that_fails_does_not_blind_the_others(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(cluster) as watched:

        def broken(_: Changes) -> None:
            raise RuntimeError("broken screen")

        end = watched.live.subscribe(broken)
        watched.live._subscribers.reverse()
        await watched.until_live()
        assert "broken screen" in caplog.text
        end()
        end()


async def test_a_lost_server_blanks_nothing_and_is_told(cluster: Cluster) -> None:
    async with watching(cluster) as watched:
        await watched.until_live()
        cluster.fall()
        await watched.until(lambda: watched.live.state.phase is Phase.RETRYING)
        state = watched.live.state
        assert "Nothing listens" in state.sentence or "broke" in state.sentence
        assert state.stale_for is not None and state.since is not None
        assert watched.status() is Status.READY
        cluster.down = False
        cluster.put(pod(status=crashing_status()))
        watched.live.retry_now()
        await watched.until(lambda: watched.status() is Status.ERROR)
        await watched.until_live()
        assert watched.live.state.stale_for is None


async def test_a_server_that_is_away_at_the_start_is_waited_for(cluster: Cluster) -> None:
    cluster.down = True
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.live.state.failed)
        assert watched.live.state.phase is Phase.RETRYING
        assert watched.live.state.stale_for is None, "there is nothing to be stale"
        cluster.down = False
        await watched.until_live()


async def test_when_one_kind_reaches_the_server_again_the_others_do_not_sit_out_their_pause(
    cluster: Cluster,
) -> None:
    patient = replace(QUICK, retry=(3600.0, 3600.0))
    async with watching(cluster, timings=patient) as watched:
        await watched.until_live()
        cluster.fall()
        reflectors = watched.live._reflectors
        needed = [one for kind, one in reflectors.items() if not kind.optional]
        await watched.until(lambda: all(one.phase is Phase.RETRYING for one in needed))
        cluster.down = False
        reflectors[DEPLOYMENTS].retry_now()
        await watched.until(lambda: all(one.phase is Phase.LIVE for one in needed))


async def test_a_kubeconfig_that_cannot_be_used_is_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY", (3600.0, 3600.0))  # no attempt but those asked for
    attempts = 0

    async def connect(target: Target) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConfigError("There is no kubeconfig; set KUBECONFIG.")
        return await cluster.connect(target)

    async with watching(cluster, connect=connect) as watched:
        await watched.until(lambda: watched.live.state.failed)
        assert watched.live.state.sentence == "There is no kubeconfig; set KUBECONFIG."
        for number in (2, 3):
            watched.live.retry_now()
            await until(lambda number=number: attempts == number, "the next attempt")
        await watched.until_live()


async def test_credentials_that_are_refused_are_told(cluster: Cluster) -> None:
    cluster.code = 401
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.live.state.phase is Phase.UNAUTHORIZED)
        assert "log in again" in watched.live.state.sentence
        cluster.code = 0
        await watched.until_live()


async def test_single_kinds_that_are_forbidden_are_named_and_the_rest_goes_on(
    cluster: Cluster,
) -> None:
    cluster.forbidden = {("events", ""), ("services", ""), ("configmaps", "*")}
    cluster.forbidden.add(("httproutes", ""))  # forbidden, and absent: no fault
    async with watching(cluster) as watched:
        await watched.until_live()
        assert watched.live.state.missing == ("list events", "list services")
        assert watched.status() is Status.READY


@pytest.mark.parametrize("kind", ["pods", "replicasets"])
async def test_without_pods_the_deployment_is_believed(cluster: Cluster, kind: str) -> None:
    cluster.forbidden = {(kind, "")}
    cluster.put(deployment(replicas=2, ready_replicas=1, replicas_=2))
    async with watching(cluster) as watched:
        await watched.until_live()
        assert watched.statuses == [Status.DEGRADED]
        assert any(kind in each for each in watched.live.state.missing)
        cluster.forbidden.clear()
        await watched.until(lambda: not watched.live.state.missing)
        await watched.until(lambda: watched.live.fleet.view(LLAMA).pods)  # type: ignore[union-attr]


async def test_a_right_that_is_taken_away_shows_no_false_status(cluster: Cluster) -> None:
    cluster.put(deployment(ready_replicas=1, replicas_=1))
    async with watching(cluster) as watched:
        await watched.until_live()
        cluster.forbidden = {("pods", "")}
        for queue, (plural, _, _) in cluster.watches.items():
            if plural == "pods":
                queue.put_nowait(None)
        await watched.until(lambda: watched.live.state.missing)
        assert watched.statuses == [Status.READY]
        assert watched.live.fleet.view(LLAMA).pods == ()  # type: ignore[union-attr]


async def test_without_the_right_to_all_namespaces_the_contexts_own_is_shown() -> None:
    cluster = Cluster(main="team-a")
    cluster.put(deployment(), replicaset(), pod(), deployment("far", namespace="team-b"))
    kinds = ("deployments", "replicasets", "pods", "events", "services", "ingresses")
    cluster.forbidden = {(kind, "") for kind in kinds}
    async with watching(cluster) as watched:
        await watched.until_live()
        live = watched.live
        assert live.namespace == "team-a"
        assert [view.key for view in live.fleet.views()] == [LLAMA]
        assert live.state.sentence.startswith("Only namespace team-a is shown")
        assert live.state.missing == ("list deployments.apps in all namespaces",)


async def test_without_any_right_it_says_so_and_waits_for_one() -> None:
    cluster = Cluster(main="team-a")
    cluster.put(deployment(), replicaset(), pod())
    cluster.forbidden = {("deployments", "*")}
    async with watching(cluster) as watched:
        live = watched.live
        await watched.until(lambda: live.namespace and live.state.phase is Phase.FORBIDDEN)
        assert live.state.sentence.startswith(
            "Cannot list deployments.apps in all namespaces, nor in team-a; choose"
        )
        cluster.forbidden.clear()
        await watched.until_live()
        assert live.state.sentence.startswith("Only namespace team-a")


@pytest.mark.parametrize(
    ("target", "widen", "named", "shown"),
    [
        (Target(), False, "", "default"),
        (Target(), True, "", ""),
        (Target(), True, "team-a", "team-a"),
        (Target(namespace="x"), True, "team-a", "x"),
        (Target(namespace="x", all_namespaces=True), False, "team-a", ""),
    ],
)
async def test_which_namespace_is_shown(
    target: Target, widen: bool, named: str, shown: str
) -> None:
    cluster = Cluster(main=named)
    async with watching(cluster, target, widen=widen) as watched:
        await watched.until_live()
        assert watched.live.namespace == shown


async def test_switching_the_namespace_keeps_the_connection_and_mixes_nothing() -> None:
    cluster = Cluster()
    cluster.put(deployment(), replicaset(), pod(), deployment("far", namespace="team-b"))
    async with watching(cluster) as watched:
        await watched.until_live()
        watched.changes.clear()
        await watched.live.switch(namespace="team-b")
        assert watched.live.fleet.views() == []
        await watched.until_live()
        assert [str(view.key) for view in watched.live.fleet.views()] == ["team-b/far"]
        told = frozenset[Key]().union(*(each.keys for each in watched.changes))
        assert told == {LLAMA, Key("team-b", "far")}
        assert len(cluster.opened) == 1
        await watched.live.switch(namespace="")
        await watched.until_live()
        assert len(watched.live.fleet.views()) == 2


async def test_switching_the_context_closes_the_old_one() -> None:
    first, second = Cluster(one="team-a", two=""), Cluster(one="team-a", two="")
    first.put(deployment(), replicaset(), pod())
    second.put(deployment("qwen", replicas=0))

    async def connect(target: Target) -> Any:
        return await (second if target.context == "two" else first).connect(target)

    async with watching(first, Target(), connect=connect, widen=True) as watched:
        await watched.until_live()
        assert watched.live.contexts == ("one", "two")
        assert watched.live.namespace == "team-a"
        await watched.live.switch(context="two")
        assert first.opened[0].closed and not first.watches
        await watched.until_live()
        assert (watched.live.context, watched.live.namespace) == ("two", "")
        assert [view.key.name for view in watched.live.fleet.views()] == ["qwen"]
    assert not second.watches


async def test_who_looks_at_all_namespaces_does_so_in_the_next_context_too() -> None:
    cluster = Cluster(one="", two="default")
    cluster.put(deployment(), replicaset(), pod())
    async with watching(cluster, Target(all_namespaces=True)) as watched:
        await watched.until_live()
        await watched.live.switch(context="two")
        await watched.until_live()
        assert (watched.live.context, watched.live.namespace) == ("two", "")
        assert watched.status() is Status.READY


async def test_a_context_that_fails_can_be_left_again(cluster: Cluster) -> None:
    async def connect(target: Target) -> Any:
        if target.context == "broken":
            raise ConfigError("There is no context broken.")
        return await cluster.connect(target)

    async with watching(cluster, connect=connect) as watched:
        await watched.until_live()
        await watched.live.switch(context="broken")
        await watched.until(lambda: watched.live.state.failed)
        assert watched.live.contexts == ("main",)
        assert watched.live.context == "broken"
        await watched.live.switch(context="main", namespace="")
        await watched.until_live()
        assert watched.status() is Status.READY


def selectors(cluster: Cluster, plural: str) -> set[str]:
    return {selector for kind, _, selector in cluster.watches.values() if kind == plural}


async def test_pods_without_the_label_are_watched_only_while_a_serving_needs_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINGER", 0.05)
    async with watching(cluster) as watched:
        await watched.until_live()
        assert selectors(cluster, "pods") == {"servedeck.dev/serving"}
        cluster.put(replicaset("r-wild", "d-wild"), pod("p-wild", "r-wild"), labelled=False)
        wild = deployment("wild", labelled=False)
        cluster.put(wild)
        key = Key("team-a", "wild")
        await watched.until(lambda: watched.live.fleet.view(key))
        view = watched.live.fleet.view(key)
        assert view is not None and view.status is Status.READY
        cluster.delete(wild)
        await watched.until(lambda: watched.live.fleet.view(key) is None)
        await until(lambda: "!servedeck.dev/serving" not in selectors(cluster, "pods"))
        assert watched.live.state.phase is Phase.LIVE


async def test_a_serving_without_the_label_is_waited_for_at_the_start(cluster: Cluster) -> None:
    cluster.put(deployment(labelled=False))
    cluster.put(replicaset(), pod(), labelled=False)
    async with watching(cluster) as watched:
        await watched.until_live()
        assert watched.statuses == [Status.READY]


async def test_the_platforms_configmap_gives_the_host(cluster: Cluster) -> None:
    cluster.absent.discard("httproutes")
    cluster.put(service(), http_route(host="*.example"))
    config = PlatformConfig(
        metadata=Meta(name="servedeck", namespace="servedeck-system", uid="c"),
        data={"endpoint_host": "ai.example", "endpoint_scheme": "gopher"},
    )
    cluster.put(config, plural="configmaps")

    def url() -> str:
        view = watched.live.fleet.view(LLAMA)
        return view.endpoint.url if view is not None else ""

    async with watching(cluster, settings=Settings()) as watched:
        await watched.until(lambda: url() == "https://ai.example/team-a/llama")
        assert watched.live.settings.endpoint_host == "ai.example"


async def test_an_error_is_forgiven_by_the_clock_alone(cluster: Cluster, skip: Skip) -> None:
    began = asyncio.get_running_loop().time()
    start = datetime.now(UTC)

    def now() -> datetime:
        return start + timedelta(seconds=asyncio.get_running_loop().time() - began)

    crashed = start - LATELY + timedelta(seconds=900)
    cluster.put(pod(status=crashing_status(crashed, waiting=False)))
    async with watching(cluster, now=now) as watched:
        await watched.until(lambda: watched.status() is Status.ERROR)
        skip(901)
        await watched.until(lambda: watched.status() is Status.STARTING)
        assert watched.statuses == [Status.ERROR, Status.STARTING]


async def test_silence_is_suspicious_after_a_while(
    cluster: Cluster, skip: Skip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + skip.skipped)
    async with watching(cluster, timings=Timings(quiet=900)) as watched:
        await watched.until_live()
        skip(1000)
        await watched.until(lambda: watched.live.state.stale_for is not None)
        assert watched.live.state.phase is Phase.RETRYING
        assert "asked again" in watched.live.state.sentence


async def test_closing_before_anything_answered_leaves_nothing(cluster: Cluster) -> None:
    cluster.hold.clear()
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.live.state.phase is Phase.LISTING)
    async with watching(cluster):
        pass


def test_the_collector_is_calmed() -> None:
    before = gc.get_threshold()
    try:
        calm_gc()
        assert gc.get_threshold()[0] == 50_000
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
