"""A gateway in several processes on one Valkey, to be killed, and what it has accepted."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from servedeck.async_queue.tasks import FINAL_STATES, TaskState
from servedeck.gateway.settings import make_settings
from servedeck.gateway.stores.opening import open_store
from servedeck.gateway.stores.store import START, FeedTrimmedError, StoreError, TaskStore
from tests.gateway.process.rig import GatewayProcess
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import WAIT_SECONDS

SERVING = "chat/llama"
LEASE = 2.0
"""Seconds."""
_PAGE = 10_000


class GatewayCluster:
    """Processes by name; each has a folder of its own."""

    def __init__(self, folder: Path, valkey: ValkeyServer, upstream: str, **settings: Any) -> None:
        self.valkey = valkey
        self._folder = folder
        secret = folder / "secret"
        secret.write_bytes(secrets.token_bytes(32))
        self._settings = {
            "serving": SERVING,
            "store": valkey.url,
            "secret_file": str(secret),
            "upstreams": [upstream],
            "max_depth": 1_000_000,
            "max_attempts": 100,
            "lease": LEASE,
            "backoff": 0.05,
        } | settings
        self.processes: dict[str, GatewayProcess] = {}

    async def start(self, name: str, role: str) -> GatewayProcess:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        process = GatewayProcess(folder, **self._settings | {"role": role})
        self.processes[name] = process
        await process.start()
        return process

    async def kill(self, name: str) -> None:
        await self.processes[name].end(signal.SIGKILL)

    async def restart(self, name: str) -> GatewayProcess:
        """kill -9, and a new start."""
        await self.kill(name)
        await self.processes[name].start()
        return self.processes[name]

    async def close(self) -> None:
        for one in self.processes.values():
            await one.close()

    def open_store(self) -> TaskStore:
        values = {key: one for key, one in self._settings.items() if key != "role"}
        return open_store(make_settings(values))


async def wait_until_drained(store: TaskStore) -> None:
    """Until no task is open."""
    async with asyncio.timeout(2 * WAIT_SECONDS):
        while True:
            try:
                if (await store.counts()).backlog == 0:
                    return
            except StoreError:
                with suppress(StoreError):  # it may still be loading
                    await store.open()
            await asyncio.sleep(0.1)


class Account:
    """What the feed tells of the tasks, from its beginning."""

    def __init__(self) -> None:
        self.ends: dict[str, list[TaskState]] = defaultdict(list)
        self.states: Counter[TaskState] = Counter()
        self.claims: Counter[str] = Counter()
        self._cursor = START

    async def read_on(self, store: TaskStore, wait: float = 0) -> None:
        """The events since the last call; waits at most so many seconds for the first."""
        while events := await store.read_feed(self._cursor, _PAGE, wait):
            for one in events:
                if one.state in FINAL_STATES:
                    self.ends[one.id].append(one.state)
                    self.states[one.state] += 1
                elif one.state is TaskState.PROCESSING:
                    self.claims[one.id] += 1
            self._cursor = events[-1].cursor

    async def follow(self, store: TaskStore) -> None:
        """Read on until it is cancelled, also after the store was away."""
        while True:
            try:
                await self.read_on(store, 1.0)
            except FeedTrimmedError:
                raise
            except StoreError:
                await asyncio.sleep(0.1)

    def lost(self, accepted: Iterable[str]) -> list[str]:
        """Accepted tasks that have not ended."""
        return [one for one in accepted if one not in self.ends]

    @property
    def ended_twice(self) -> list[str]:
        return [id for id, ends in self.ends.items() if len(ends) > 1]

    @property
    def claimed_again(self) -> int:
        """Tasks that were delivered more than once."""
        return sum(count > 1 for count in self.claims.values())
