"""The session through cluster and network failures: afterwards it matches the cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from servedeck.cluster.watch.reflector import ReflectorConfig
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.control_plane import objects
from tests.control_plane.assertions import assert_matches_cluster, started_session, wait_for_view
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.proxies import FaultProxy, TcpProxy, status_response
from tests.waiting import wait_until

READ_VERBS = ["get", "list", "watch"]
REQUIRED_RULES = [
    {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": READ_VERBS},
    {"apiGroups": [""], "resources": ["pods"], "verbs": READ_VERBS},
]
"""Permissions required for the list; Events, Services, routes and autoscalers are not included."""


@asynccontextmanager
async def random_changes(
    plane: ControlPlane, namespace: str
) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Create, change and delete servings while the body runs, as far as the API server allows.
    Yields a function that waits for a number of further changes."""
    rng = random.Random(7)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    changes = 0

    def change() -> None:
        nonlocal changes
        name = f"srv-{rng.randrange(12):02}"
        with suppress(RequestError, OSError):
            match rng.randrange(5):
                case 0:
                    plane.request("DELETE", f"{path}/{name}", timeout=5)
                case 1 | 2:
                    body = objects.deployment(name, replicas=rng.randrange(4))
                    plane.request("POST", path, body, timeout=5)
                case _:
                    spec = {"spec": {"replicas": rng.randrange(4)}}
                    plane.request("PATCH", f"{path}/{name}", spec, timeout=5)
            changes += 1

    async def go_on() -> None:
        while True:
            await asyncio.to_thread(change)
            await asyncio.sleep(0.05)

    async def changed(more: int) -> None:
        wanted = changes + more
        await wait_until(lambda: changes >= wanted, f"{more} changes")

    task = asyncio.create_task(go_on())
    try:
        yield changed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def phase_name(live: ClusterSession) -> str:
    return live.state.phase.name


async def retry_until(live: ClusterSession, condition: Callable[[], object]) -> None:
    """Retry repeatedly, as an operator does after a fix: servers and servedeck cache an error for
    some seconds."""

    def asked() -> object:
        live.retry_now()
        return condition()

    await wait_until(asked, "the news", interval=0.5, describe_state=lambda: live.state)


@pytest.mark.slow
async def test_api_server_killed_and_restarted_twenty_times(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    async with started_session(kubeconfig, namespace) as live:
        async with random_changes(control_plane, namespace):
            for _ in range(20):
                control_plane.kill("kube-apiserver")
                await wait_until(lambda: phase_name(live) != "LIVE", "the loss to be noticed")
                assert live.state.message, "the header has nothing to say"
                await asyncio.to_thread(control_plane.start)
                live.retry_now()
                await wait_until(
                    lambda: phase_name(live) == "LIVE",
                    "LIVE again",
                    describe_state=lambda: live.state,
                )
        await asyncio.to_thread(control_plane.restart_waiting_controllers)
        assert live.fleet.views()
        await assert_matches_cluster(live, control_plane, namespace)


async def test_recovers_by_itself_when_the_api_server_returns(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", replicas=2)
    key = NamespacedName(namespace, "llama")
    async with started_session(kubeconfig, namespace) as live:
        await wait_for_view(live, key, lambda view: view.ready == len(view.pods) == 2)
        control_plane.kill("kube-apiserver")
        await wait_until(lambda: phase_name(live) == "RETRYING", "the loss")
        kept = live.fleet.view(key)
        assert kept is not None and kept.ready == len(kept.pods) == 2, "what was known stays"
        await wait_until(lambda: live.state.stale_for is not None, "the age of the picture")
        await asyncio.to_thread(control_plane.start)
        control_plane.create_deployment(namespace, "new")
        await wait_for_view(live, NamespacedName(namespace, "new"), lambda view: view.desired == 1)
        await wait_until(
            lambda: phase_name(live) == "LIVE", "LIVE", describe_state=lambda: live.state
        )
        await assert_matches_cluster(live, control_plane, namespace)


async def test_a_stalled_connection_is_detected_reported_and_closed(
    control_plane: ControlPlane, namespace: str
) -> None:
    # a watch receives nothing until the read timeout: 90 s by default, bookmarks arrive sooner
    short_timeouts = ReflectorConfig(
        watch_read_timeout=3.0,
        list_read_timeout=3.0,
        retry_delay=(0.2, 0.5),
        watch_duration=(60.0, 60.0),
        watch_duration_without_bookmarks=(
            2.0,
            3.0,
        ),  # else Events are idle before the proxy stalls
    )
    control_plane.create_deployment(namespace, "llama")
    key = NamespacedName(namespace, "llama")
    async with TcpProxy(control_plane.url).serve() as proxy:
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with started_session(kubeconfig, namespace, timings=short_timeouts) as live:
            await wait_for_view(live, key, lambda view: view.ready)
            proxy.set_stalled()
            await asyncio.to_thread(
                control_plane.request,
                "PATCH",
                f"/apis/apps/v1/namespaces/{namespace}/deployments/llama",
                {"spec": {"replicas": 3}},
            )
            await wait_until(lambda: phase_name(live) == "RETRYING", "the silence to be noticed")
            assert "sent nothing" in live.state.message
            view = live.fleet.view(key)
            assert view is not None and view.desired == 1, "what was known stays"
            proxy.reset_connections()
            proxy.set_stalled(False)
            await wait_for_view(live, key, lambda view: view.desired == 3)


async def test_history_compacted_while_disconnected(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with TcpProxy(control_plane.url).serve() as proxy:
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with started_session(kubeconfig, namespace) as live:
            for number in range(6):
                control_plane.create_deployment(namespace, f"srv-{number:02}", replicas=2)
            await assert_matches_cluster(live, control_plane, namespace)
            proxy.set_stalled()
            async with random_changes(control_plane, namespace) as changed:
                await changed(30)
            control_plane.compact_etcd()
            await asyncio.to_thread(control_plane.restart)
            proxy.reset_connections()
            proxy.set_stalled(False)
            await assert_matches_cluster(live, control_plane, namespace)


async def test_connections_that_break_all_the_time(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with TcpProxy(control_plane.url).serve() as proxy:
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with started_session(kubeconfig, namespace) as live:
            async with random_changes(control_plane, namespace) as changed:
                for _ in range(20):
                    before = proxy.connections
                    proxy.reset_connections()
                    live.retry_now()
                    await wait_until(
                        lambda before=before: proxy.connections > before, "a connection"
                    )
                    await changed(2)
            await assert_matches_cluster(live, control_plane, namespace)


async def test_server_that_fails_and_rejects_half_of_the_time(
    control_plane: ControlPlane, namespace: str
) -> None:
    rng = random.Random(3)
    token = control_plane.tokens["admin"]
    async with FaultProxy(control_plane.url, token, control_plane.ssl_context).serve() as proxy:

        def rule(_: web.Request) -> web.Response | None:
            match rng.randrange(4):
                case 0:
                    return status_response(429, "TooManyRequests", "too many", Retry_After="1")
                case 1:
                    return status_response(500, "InternalError", "etcdserver: request timed out")
            return None

        proxy.rule = rule
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with started_session(kubeconfig, namespace, settled=False) as live:
            async with random_changes(control_plane, namespace) as changed:
                await changed(40)
                await wait_until(lambda: proxy.fault_count >= 3, "faults")
            await assert_matches_cluster(live, control_plane, namespace)


async def test_token_that_expired_is_reported_and_a_new_one_taken_up(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    control_plane.grant("viewer", REQUIRED_RULES, namespace=namespace)
    control_plane.create_deployment(namespace, "llama")
    old = control_plane.tokens["viewer"]
    secret = tmp_path / "token"
    secret.write_text(old)
    kubeconfig = control_plane.write_kubeconfig(
        "viewer", credentials={"tokenFile": str(secret)}, namespace=namespace
    )
    key = NamespacedName(namespace, "llama")
    async with started_session(kubeconfig, namespace, settled=False) as live:
        await wait_for_view(live, key, lambda view: view.status is Status.READY)
        control_plane.tokens["viewer"] = f"{old}-new"
        try:
            await asyncio.to_thread(control_plane.restart)
            await wait_until(
                lambda: phase_name(live) == "UNAUTHORIZED", "401", describe_state=lambda: live.state
            )
            assert "credentials" in live.state.message
            assert live.fleet.view(key) is not None, "what was known stays"
            secret.write_text(control_plane.tokens["viewer"])
            control_plane.create_deployment(namespace, "new")
            await retry_until(live, lambda: live.fleet.view(NamespacedName(namespace, "new")))
            assert phase_name(live) == "LIVE"
        finally:
            control_plane.tokens["viewer"] = old
            await asyncio.to_thread(control_plane.restart)


async def test_permissions_in_one_namespace_only(
    control_plane: ControlPlane, namespace: str
) -> None:
    """All namespaces are requested; that of the context is shown, with the reason why not all."""
    control_plane.grant("member", REQUIRED_RULES, namespace=namespace)
    control_plane.create_deployment(namespace, "llama", replicas=2)
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    async with started_session(kubeconfig, settled=False) as live:
        view = await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: view.ready == 2
        )
        assert view.status is Status.READY
        assert {view.key.namespace for view in live.fleet.views()} == {namespace}
        message = " ".join((live.state.message, *live.state.missing_permissions))
        assert namespace in message or "all namespaces" in message


async def test_each_missing_permission_is_named_and_the_rest_works(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.grant("member", REQUIRED_RULES[:1], namespace=namespace)
    control_plane.create_deployment(namespace, "llama", replicas=2)
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    async with started_session(kubeconfig, namespace, settled=False) as live:
        key = NamespacedName(namespace, "llama")
        view = await wait_for_view(live, key, lambda view: view.ready == 2)
        assert (view.status, view.pods) == (Status.READY, ())
        await wait_until(
            lambda: any("pods" in each for each in live.state.missing_permissions),
            "the missing right",
            describe_state=lambda: live.state,
        )
        control_plane.grant("member", REQUIRED_RULES, namespace=namespace)
        await retry_until(live, lambda: (view := live.fleet.view(key)) and len(view.pods) == 2)
        assert not any("pods" in each for each in live.state.missing_permissions)


async def test_a_user_without_permissions_sees_what_is_missing(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "llama")
    kubeconfig = control_plane.write_kubeconfig("nobody", namespace=namespace)
    async with started_session(kubeconfig, namespace, settled=False) as live:
        await wait_until(
            lambda: phase_name(live) == "FORBIDDEN",
            "the rejection",
            describe_state=lambda: live.state,
        )
        assert "deployments" in live.state.message
        assert live.fleet.views() == []
