"""Runs a reflector against the scripted API server and records what it reports."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import PODS, ResourceKind
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorConfig,
    ReflectorPhase,
)
from tests.cluster.fake_api_server import (
    FakeApiServer,
    make_pod,
)
from tests.waiting import wait_until

FAST_CONFIG = ReflectorConfig(
    page_size=4,
    watch_read_timeout=3600.0,
    watch_duration=(3600.0, 3600.0),
    watch_duration_without_bookmarks=(1.0, 1.0),
    list_read_timeout=3600.0,
    retry_delay=(0.01, 0.1),
    relist_delay=(0.0, 0.01),
    unavailable_delay=(0.05, 0.1),
    unauthorized_delay=(0.05, 0.1),
    min_watch_duration=0.0,
)
"""Short delays between attempts. Limits that a busy machine could exceed are long or off: no
connection counts as dead, and no watch as too short."""


class StateSnapshot(NamedTuple):
    """The reported state of a reflector at one time."""

    phase: ReflectorPhase
    error: str
    record_count: int
    """Number of objects in the store."""


class RecordMirror:
    """A replica built from the changes alone; each change must be consistent with those before
    it."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}
        self.syncs = 0
        self.types: list[str] = []

    def __call__(self, change: RecordChange) -> None:
        self.types.append(change.type)
        if change.type == "SYNC":
            self.syncs += 1
            return
        uid = change.record.metadata.uid
        if change.type == "DELETED":
            del self.records[uid]
        else:
            assert (change.type == "ADDED") == (uid not in self.records)
            self.records[uid] = change.record


class RunningReflector:
    def __init__(
        self, reflector: Reflector, mirror: RecordMirror, states: list[StateSnapshot]
    ) -> None:
        self.reflector = reflector
        self.replica = mirror
        self.states = states

    @property
    def phases(self) -> list[ReflectorPhase]:
        """All phases so far, in order."""
        return [state.phase for state in self.states]

    async def wait_until_equal(self, api: FakeApiServer) -> None:
        """Wait until the phase is LIVE and the store, the replica and the server are equal."""
        await wait_until(
            lambda: (
                self.reflector.phase is ReflectorPhase.LIVE
                and resource_versions(self.reflector.records) == api.resource_versions
            ),
            f"{self.reflector.phase} {self.reflector.error}"
            f" {resource_versions(self.reflector.records)} == {api.resource_versions}",
        )
        assert self.replica.records == self.reflector.records

    async def wait_until_watching(self, api: FakeApiServer) -> None:
        """Wait until a watch is open on client and server."""
        await wait_until(lambda: self.reflector._watch_open and api.open_watches, "a watch")

    async def wait_for_phase(self, phase: ReflectorPhase) -> StateSnapshot:
        """The first state in that phase, past or future: the phase may be over when this
        returns."""
        await wait_until(
            lambda: phase in self.phases, f"phase {phase}", describe_state=lambda: self.states
        )
        return self.states[self.phases.index(phase)]


def resource_versions(records: dict[str, Any]) -> dict[str, str]:
    return {uid: record.metadata.resource_version for uid, record in records.items()}


@asynccontextmanager
async def run_reflector(
    connection: Connection,
    kind: ResourceKind = PODS,
    timings: ReflectorConfig = FAST_CONFIG,
    namespace: str | None = None,
) -> AsyncIterator[RunningReflector]:
    mirror, states = RecordMirror(), list[StateSnapshot]()
    reflector = Reflector(
        connection,
        kind,
        namespace,
        mirror,
        lambda r: states.append(StateSnapshot(r.phase, r.error, len(r.records))),
        config=timings,
        rng=random.Random(1),
    )
    task = asyncio.create_task(reflector.run())
    try:
        yield RunningReflector(reflector, mirror, states)
        assert not task.done(), "a reflector ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def add_pods(api: FakeApiServer, count: int = 3) -> None:
    for index in range(count):
        await api.put(make_pod(f"pod-{index}"))
