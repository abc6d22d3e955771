"""Runs a session on the fake cluster and records its changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.watch.reflector import ReflectorConfig, ReflectorPhase
from servedeck.fleet.session import ClusterSession, SessionChanges
from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.fleet.fake_cluster import FakeCluster
from tests.waiting import WAIT_SECONDS

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
