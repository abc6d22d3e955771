"""Lost servers, rejected credentials and missing permissions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ConfigError
from servedeck.cluster.watch.kinds import DEPLOYMENTS
from servedeck.cluster.watch.reflector import ReflectorPhase
from servedeck.fleet import session as module
from servedeck.serving.status.status import Status
from tests.fleet.factories import (
    crashing_status,
    deployment,
    pod,
)
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import FAST_CONFIG, LLAMA, recorded_session
from tests.waiting import wait_until


async def test_a_lost_server_keeps_the_views_and_is_reported(cluster: FakeCluster) -> None:
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


async def test_a_server_that_is_unavailable_at_the_start_is_waited_for(
    cluster: FakeCluster,
) -> None:
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
    patient = replace(FAST_CONFIG, retry_delay=(3600.0, 3600.0), min_watch_duration=0.0)
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


async def test_kinds_whose_watches_are_cut_off_as_they_open_do_not_wake_each_other(
    cluster: FakeCluster,
) -> None:
    patient = replace(FAST_CONFIG, retry_delay=(3600.0, 3600.0), min_watch_duration=3600.0)
    async with recorded_session(cluster, reflector_config=patient) as watched:
        await watched.wait_until_live()
        cluster.shut_down()
        reflectors = watched.session._reflectors
        needed = [one for kind, one in reflectors.items() if not kind.optional]
        await watched.wait_until(
            lambda: all(one.phase is ReflectorPhase.RETRYING for one in needed)
        )
        cluster.is_down = False
        watched_before = [one.watch_count for one in needed]
        reflectors[DEPLOYMENTS].retry_now()
        await watched.wait_until(lambda: reflectors[DEPLOYMENTS].phase is ReflectorPhase.LIVE)
        for _ in range(100):
            await asyncio.sleep(0)
        more = sum(one.watch_count for one in needed) - sum(watched_before)
        assert more == 1


async def test_kinds_whose_watches_were_cut_off_go_on_once_that_of_another_one_lasts(
    cluster: FakeCluster,
) -> None:
    patient = replace(FAST_CONFIG, retry_delay=(3600.0, 3600.0), min_watch_duration=3600.0)
    async with recorded_session(cluster, reflector_config=patient) as watched:
        await watched.wait_until_live()
        cluster.shut_down()
        reflectors = watched.session._reflectors
        needed = [one for kind, one in reflectors.items() if not kind.optional]
        await watched.wait_until(
            lambda: all(one.phase is ReflectorPhase.RETRYING for one in needed)
        )
        cluster.is_down = False
        reflectors[DEPLOYMENTS]._config = replace(patient, min_watch_duration=0.0)
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


async def test_credentials_that_are_rejected_are_reported(cluster: FakeCluster) -> None:
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
async def test_without_pods_the_deployments_status_is_used(cluster: FakeCluster, kind: str) -> None:
    cluster.forbidden = {(kind, "")}
    cluster.put(deployment(replicas=2, ready_replicas=1, status_replicas=2))
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        assert watched.statuses == [Status.DEGRADED]
        assert any(kind in each for each in watched.session.state.missing_permissions)
        cluster.forbidden.clear()
        await watched.wait_until(lambda: not watched.session.state.missing_permissions)
        await watched.wait_until(lambda: watched.session.fleet.view(LLAMA).pods)  # type: ignore[union-attr]


async def test_a_revoked_permission_shows_no_wrong_status(cluster: FakeCluster) -> None:
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
