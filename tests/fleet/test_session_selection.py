"""Which context and namespace a session shows."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.errors import ConfigError
from servedeck.cluster.watch.reflector import ReflectorPhase
from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.fleet.factories import (
    deployment,
    pod,
    replicaset,
)
from tests.fleet.fake_cluster import FakeCluster
from tests.fleet.session_recorder import LLAMA, recorded_session


async def test_without_permission_for_all_namespaces_that_of_the_context_is_shown() -> None:
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


async def test_without_any_permission_it_says_so_and_waits_for_one() -> None:
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
        changed = frozenset[NamespacedName]().union(*(each.keys for each in watched.changes))
        assert changed == {LLAMA, NamespacedName("team-b", "far")}
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


async def test_all_namespaces_stays_selected_after_a_context_switch() -> None:
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
