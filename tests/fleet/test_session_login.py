"""Logins that fail, wait for a person or are renewed, and a server that falls silent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.watch.kinds import DEPLOYMENTS
from servedeck.cluster.watch.reflector import ReflectorPhase
from servedeck.fleet import liveness, login_watch
from servedeck.fleet.liveness import LivenessCheck
from tests.fleet.factories import deployment
from tests.fleet.fake_cluster import FakeCluster, FakeConnection
from tests.fleet.session_recorder import FAST_CONFIG, SessionRecorder, recorded_session
from tests.waiting import wait_until

PATIENT = replace(FAST_CONFIG, retry_delay=(3600.0, 3600.0), unauthorized_delay=(3600.0, 3600.0))
"""Nothing is retried by itself."""


def fake_connection(watched: SessionRecorder) -> FakeConnection:
    return cast(FakeConnection, watched.session.connection)


async def test_a_renewed_login_is_used_without_waiting_for_a_retry(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_watch, "LOGIN_CHECK_SECONDS", 0.01)
    cluster.error_code = 401
    async with recorded_session(cluster, reflector_config=PATIENT) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.UNAUTHORIZED)
        await wait_until(lambda: fake_connection(watched).renewed_logins < -3, "it looks again")
        assert watched.session.state.phase is ReflectorPhase.UNAUTHORIZED
        cluster.error_code = 0
        fake_connection(watched).renewed_logins = 1
        await watched.wait_until_live()
        checks = fake_connection(watched).renewed_logins
        cluster.put(deployment(replicas=3))
        await watched.wait_until_live()
        assert fake_connection(watched).renewed_logins == checks, "it looks while it failed only"


async def test_a_retry_that_is_asked_for_reads_the_login_again(cluster: FakeCluster) -> None:
    cluster.error_code = 401
    async with recorded_session(cluster, reflector_config=PATIENT) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.UNAUTHORIZED)
        before = fake_connection(watched).backoff_resets
        cluster.error_code = 0
        watched.session.retry_now()
        assert fake_connection(watched).backoff_resets == before + 1
        await watched.wait_until_live()


async def test_when_one_kind_is_logged_in_again_the_others_do_not_wait(
    cluster: FakeCluster,
) -> None:
    cluster.error_code = 401
    async with recorded_session(cluster, reflector_config=PATIENT) as watched:
        reflectors = watched.session._reflectors
        await watched.wait_until(
            lambda: (
                reflectors
                and all(one.phase is ReflectorPhase.UNAUTHORIZED for one in reflectors.values())
            )
        )
        cluster.error_code = 0
        reflectors[DEPLOYMENTS].retry_now()
        await watched.wait_until_live()


async def test_contexts_are_those_of_the_kubeconfig_that_was_read_last(
    cluster: FakeCluster,
) -> None:
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        connection = fake_connection(watched)
        connection.kubeconfig = replace(connection.kubeconfig, context_names=("a", "b"))
        assert watched.session.contexts == ("a", "b")


async def test_why_a_changed_kubeconfig_does_not_help_is_said_first(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_watch, "LOGIN_CHECK_SECONDS", 0.01)
    problem = "The kubeconfig config has no context 'main'; it has renamed."
    cluster.error_code = 401
    async with recorded_session(cluster, reflector_config=PATIENT) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.UNAUTHORIZED)
        message = watched.session.state.message
        fake_connection(watched).login_problem = problem
        await watched.wait_until(lambda: watched.session.state.message == f"{problem} {message}")
        fake_connection(watched).login_problem = ""
        await watched.wait_until(lambda: watched.session.state.message == message)
        cluster.error_code = 0
        fake_connection(watched).renewed_logins = 1
        await watched.wait_until_live()
        fake_connection(watched).login_problem = problem
        assert not watched.session.state.message, "it is not needed"


async def test_the_same_context_again_retries_at_once(cluster: FakeCluster) -> None:
    cluster.error_code = 401
    async with recorded_session(cluster, reflector_config=PATIENT) as watched:
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.UNAUTHORIZED)
        cluster.error_code = 0
        await watched.session.switch(context=watched.session.context)
        await watched.wait_until_live()
        assert fake_connection(watched).backoff_resets == 1


async def test_what_a_plugin_says_is_the_message_of_the_state(cluster: FakeCluster) -> None:
    said: list[str] = []
    options = ConnectionOptions(all_namespaces=True, report_wait=said.append)
    async with recorded_session(cluster, options) as watched:
        await watched.wait_until_live()
        fake_connection(watched).set_login_notice("open https://example.com/device")
        await watched.wait_until(
            lambda: watched.session.state.message == "open https://example.com/device"
        )
        assert not watched.session.state.has_failed
        fake_connection(watched).set_login_notice("")
        await watched.wait_until(lambda: not watched.session.state.message)
    assert said == ["open https://example.com/device", ""]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "QUIET_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_falls_silent_is_noticed_though_its_watches_are_open(
    cluster: FakeCluster,
) -> None:
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        cluster.is_silent = True
        await watched.wait_until(lambda: watched.session.state.phase is ReflectorPhase.RETRYING)
        state = watched.session.state
        assert "does not answer" in state.message
        assert state.stale_for is not None
        cluster.is_silent = False
        cluster.put(deployment(replicas=2))
        await watched.wait_until_live()
        assert watched.session.state.stale_for is None


@pytest.mark.usefixtures("impatient")
async def test_an_unexpected_error_does_not_end_the_check_of_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[float] = []

    async def probe(seconds: float) -> None:
        asked.append(seconds)
        raise TypeError("not expected")

    task = asyncio.create_task(LivenessCheck(lambda: 0.0, probe, lambda _: None).run())
    await wait_until(lambda: len(asked) > 1 or task.done())
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert "not expected" in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_quiet_server_that_answers_keeps_its_watches(cluster: FakeCluster) -> None:
    async with recorded_session(cluster) as watched:
        await watched.wait_until_live()
        watches = set(cluster.watches)
        await wait_until(lambda: fake_connection(watched).probes > 5)
        assert set(cluster.watches) == watches
        assert watched.session.state.phase is ReflectorPhase.LIVE
