"""One reflector on a real API server: despite connection errors, its store equals a list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.resources import EVENT
from servedeck.cluster.watch import kinds
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorConfig,
    ReflectorPhase,
)
from tests.control_plane import objects
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.proxies import FaultProxy, TcpProxy, status_response
from tests.waiting import WAIT_SECONDS, wait_until

FAST_CONFIG = ReflectorConfig(
    watch_read_timeout=3.0,
    watch_duration=(300.0, 300.0),
    retry_delay=(0.1, 1.0),
    unavailable_delay=(0.3, 0.6),
    unauthorized_delay=(0.3, 0.6),
)
"""Read timeouts and delays short enough for a test."""


class RecordMirror:
    """A copy of the store, built from the changes alone."""

    def __init__(self) -> None:
        self.resource_versions: dict[str, str] = {}
        self.reflector: Reflector
        self.phases: list[ReflectorPhase] = []
        self.syncs = 0
        """Number of complete lists so far, paginated or streamed."""

    def on_change(self, change: RecordChange) -> None:
        if change.type == "SYNC":
            self.syncs += 1
            return
        meta = change.record.metadata
        if change.type == "DELETED":
            del self.resource_versions[meta.uid]
        else:
            assert (meta.uid in self.resource_versions) is (change.type == "MODIFIED")
            self.resource_versions[meta.uid] = meta.resource_version

    def on_state(self, reflector: Reflector) -> None:
        if not self.phases or self.phases[-1] is not reflector.phase:
            self.phases.append(reflector.phase)


@asynccontextmanager
async def run_reflector(
    kubeconfig: Path,
    kind: ResourceKind,
    namespace: str | None,
    config: ReflectorConfig = FAST_CONFIG,
) -> AsyncIterator[RecordMirror]:
    connection = await Connection.open(ConnectionOptions(kubeconfig=(kubeconfig,)))
    mirror = RecordMirror()
    mirror.reflector = Reflector(
        connection, kind, namespace, mirror.on_change, mirror.on_state, config=config
    )
    task = asyncio.create_task(mirror.reflector.run())
    try:
        yield mirror
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()


async def assert_equal(
    mirror: RecordMirror,
    plane: ControlPlane,
    kind: ResourceKind,
    namespace: str | None,
    limit: float = WAIT_SECONDS,
) -> None:
    """Assert that within `limit` seconds the store and the copy both equal a fresh list."""

    def sign() -> str:
        reflector = mirror.reflector
        return f"{reflector.phase} {reflector.error} {mirror.phases}"

    def listed() -> dict[str, str]:
        items = plane.request("GET", kind.list_path(namespace))["items"]
        return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in items}

    def equal() -> bool:
        store = mirror.reflector.records
        held = {uid: record.metadata.resource_version for uid, record in store.items()}
        return (
            mirror.reflector.phase is ReflectorPhase.LIVE
            and held == mirror.resource_versions == listed()
        )

    await wait_until(equal, "the store to equal a list", limit, describe_state=sign)


def create_services(plane: ControlPlane, namespace: str, *names: str) -> None:
    for name in names:
        plane.create(f"/api/v1/namespaces/{namespace}/services", objects.service(name))


async def test_pages_the_first_list_and_follows(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    create_services(control_plane, namespace, *(f"first-{n:02}" for n in range(25)))
    timings = ReflectorConfig(page_size=10)
    async with run_reflector(kubeconfig, kinds.SERVICES, namespace, timings) as mirror:
        await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
        assert mirror.syncs == 1
        create_services(control_plane, namespace, "later")
        path = f"/api/v1/namespaces/{namespace}/services"
        control_plane.request("DELETE", f"{path}/first-00")
        control_plane.request("PATCH", f"{path}/first-01", {"metadata": {"labels": {"a": "b"}}})
        await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
        assert mirror.syncs == 1


async def test_lists_again_where_the_history_was_compacted(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_services(control_plane, namespace, "kept", "gone")
    async with TcpProxy(control_plane.url).serve() as proxy:
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with run_reflector(kubeconfig, kinds.SERVICES, namespace) as mirror:
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
            proxy.set_stalled()
            create_services(control_plane, namespace, "new")
            control_plane.request("DELETE", f"/api/v1/namespaces/{namespace}/services/gone")
            control_plane.compact_etcd()
            await asyncio.to_thread(control_plane.restart)
            proxy.reset_connections()
            proxy.set_stalled(False)
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
            assert mirror.syncs == 2, "410 was not seen"


async def test_events_survive_compaction_without_bookmarks(
    control_plane: ControlPlane, namespace: str
) -> None:
    kind = ResourceKind(EVENT, kinds.EVENTS.record_type, has_bookmarks=False)
    control_plane.create_deployment(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    async with TcpProxy(control_plane.url).serve() as proxy:
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with run_reflector(kubeconfig, kind, namespace) as mirror:
            await assert_equal(mirror, control_plane, kind, namespace)
            proxy.set_stalled()
            for number in range(5):
                control_plane.create_warning_event(pod, "FailedMount", f"attempt {number}")
            control_plane.compact_etcd()
            control_plane.create_warning_event(pod, "FailedMount", "after")
            proxy.reset_connections()
            proxy.set_stalled(False)
            await assert_equal(mirror, control_plane, kind, namespace)
            assert mirror.syncs == 2, "410 was not seen"


async def test_a_stalled_connection_is_detected(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_services(control_plane, namespace, "one")
    async with TcpProxy(control_plane.url).serve() as proxy:
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with run_reflector(kubeconfig, kinds.SERVICES, namespace) as mirror:
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
            proxy.set_stalled()
            create_services(control_plane, namespace, "two")
            await wait_until(lambda: ReflectorPhase.RETRYING in mirror.phases, "the silence")
            assert mirror.reflector.error
            assert len(mirror.reflector.records) == 1, "what was known stays"
            proxy.reset_connections()
            proxy.set_stalled(False)
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)


async def test_a_frozen_api_server_is_noticed(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    async with run_reflector(kubeconfig, kinds.SERVICES, namespace) as mirror:
        await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
        control_plane.pause("kube-apiserver")
        try:
            await wait_until(lambda: ReflectorPhase.RETRYING in mirror.phases, "the silence")
        finally:
            control_plane.resume("kube-apiserver")
        await asyncio.to_thread(create_services, control_plane, namespace, "after")
        await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)


async def test_an_overloaded_server_is_left_alone_for_as_long_as_it_asks(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_services(control_plane, namespace, "one")
    token = control_plane.tokens["admin"]
    pauses: list[float] = []
    pause = Reflector._wait_before_retry

    async def noted(reflector: Reflector, seconds: float) -> None:
        pauses.append(seconds)
        await pause(reflector, seconds)

    monkeypatch.setattr(Reflector, "_wait_before_retry", noted)
    async with FaultProxy(control_plane.url, token, control_plane.ssl_context).serve() as proxy:
        proxy.rule = lambda _: status_response(
            429, "TooManyRequests", "too many requests", Retry_After="1"
        )
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with run_reflector(kubeconfig, kinds.SERVICES, namespace) as mirror:
            await wait_until(lambda: len(pauses) >= 3, "three attempts")
            assert set(pauses) == {1.0}
            assert mirror.reflector.phase is ReflectorPhase.RETRYING
            assert "429" in mirror.reflector.error
            proxy.rule = lambda _: None
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)


async def test_server_errors_on_lists_and_watches_are_retried(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_services(control_plane, namespace, "one")
    token = control_plane.tokens["admin"]
    async with FaultProxy(control_plane.url, token, control_plane.ssl_context).serve() as proxy:
        left = {"list": 3, "watch": 3}

        def first_three(request: web.Request) -> web.Response | None:
            what = "watch" if "watch" in request.query else "list"
            left[what] -= 1
            if left[what] >= 0:
                return status_response(500, "InternalError", "etcdserver: leader changed")
            return None

        proxy.rule = first_three
        kubeconfig = control_plane.write_kubeconfig(server=proxy.url)
        async with run_reflector(kubeconfig, kinds.SERVICES, namespace) as mirror:
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
            create_services(control_plane, namespace, "two")
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
            assert proxy.fault_count == 6


async def test_what_is_forbidden_is_reported_and_seen_once_it_is_granted(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_services(control_plane, namespace, "one")
    kubeconfig = control_plane.write_kubeconfig("nobody")
    async with run_reflector(kubeconfig, kinds.SERVICES, namespace) as mirror:
        await wait_until(
            lambda: mirror.reflector.phase is ReflectorPhase.FORBIDDEN, "the rejection"
        )
        assert mirror.reflector.error == (
            f"Cannot list services in namespace {namespace}: needs list and watch on services."
        )
        rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}
        control_plane.grant("nobody", [rule], namespace=namespace)
        await wait_until(
            lambda: "Cannot watch services" in mirror.reflector.error,
            "the missing verb",
            describe_state=lambda: mirror.reflector.error,
        )
        rule["verbs"] = ["list", "watch"]
        control_plane.grant("nobody", [rule], namespace=namespace)
        await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
        control_plane.revoke("nobody", namespace=namespace)


async def test_a_custom_resource_is_missing_until_it_is_installed(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.remove_crds()
    try:
        async with run_reflector(kubeconfig, kinds.HTTP_ROUTES, namespace) as mirror:
            await wait_until(
                lambda: mirror.reflector.phase is ReflectorPhase.MISSING,
                "the kind to be missing",
                describe_state=lambda: mirror.reflector.error,
            )
            await asyncio.to_thread(control_plane.add_crds)
            path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
            control_plane.create(path, objects.http_route(namespace, "llama"))
            await assert_equal(mirror, control_plane, kinds.HTTP_ROUTES, namespace)
            assert len(mirror.resource_versions) == 1
    finally:
        control_plane.add_crds()


async def test_a_token_that_was_revoked_is_renewed_by_the_plugin(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}
    control_plane.grant("viewer", [rule], namespace=namespace)
    old = control_plane.tokens["viewer"]
    secret, plugin = tmp_path / "token", tmp_path / "plugin"
    secret.write_text(old)
    plugin.write_text(
        "#!/bin/sh\n"
        f"echo run >> {tmp_path}/runs\n"
        'printf \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        f'"status":{{"token":"%s"}}}}\' "$(cat {secret})"\n'
    )
    plugin.chmod(0o755)
    login = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    kubeconfig = control_plane.write_kubeconfig("viewer", credentials={"exec": login})
    async with run_reflector(kubeconfig, kinds.SERVICES, namespace) as mirror:
        await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
        control_plane.tokens["viewer"] = f"{old}-new"
        try:
            await asyncio.to_thread(control_plane.restart)
            await wait_until(lambda: ReflectorPhase.UNAUTHORIZED in mirror.phases, "401")
            assert "credentials" in mirror.reflector.error
            secret.write_text(control_plane.tokens["viewer"])
            create_services(control_plane, namespace, "after")
            await assert_equal(mirror, control_plane, kinds.SERVICES, namespace)
        finally:
            control_plane.tokens["viewer"] = old
            await asyncio.to_thread(control_plane.restart)
    assert len((tmp_path / "runs").read_text().split()) >= 2
