"""A store under test, and the tasks it is given.

Time: the SQLite store has a clock that only `pass_time` moves; Valkey has its server's. So a test
gives SHORT to what is to pass, calls `pass_time`, and gives LONG to what must not; it never relies
on SHORT not having passed yet."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from servedeck.async_queue.tasks import Attempt, FeedEvent, Task, TaskState
from servedeck.gateway.messages import RequestHead, ResponseHead
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import (
    Claimed,
    Content,
    End,
    FeedTrimmedError,
    NewTask,
    SubmitOutcome,
    Submitted,
    TaskStore,
)
from tests.waiting import WAIT_SECONDS

SHORT = 0.02
LONG = 3600.0
DEPTH = 1_000_000
PODS = ("pod-a", "pod-b")

_numbers = itertools.count(1)


class StoreCase(Protocol):
    store: TaskStore
    has_clock: bool
    """Whether pass_time takes any number of seconds without waiting."""

    async def pass_time(self, seconds: float = SHORT) -> None: ...

    async def reopen(self) -> None:
        """A new store of the same tasks, as after a restart."""

    async def leftovers(self) -> set[str]:
        """Where something of a task is still stored, apart from the feed and counts."""

    async def stored_bytes(self) -> bytes:
        """Everything that is stored, to look for what must not be."""

    async def trim_feed(self, keep: int) -> None:
        """Forget all but the last `keep` events."""

    async def close(self) -> None: ...


class SqliteCase:
    has_clock = True

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self._settings = settings
        self.now = float(int(time.time()))
        self.store: TaskStore = self.new_store()

    def new_store(self, **settings: Any) -> SqliteStore:
        values: dict[str, Any] = {"reserve": 0, "timeout": WAIT_SECONDS, **self._settings}
        return SqliteStore(self.path, clock=lambda: self.now, **{**values, **settings})

    async def pass_time(self, seconds: float = SHORT) -> None:
        self.now += seconds

    async def reopen(self) -> None:
        await self.store.close()
        self.store = self.new_store()
        await self.store.open()

    async def leftovers(self) -> set[str]:
        expected = {"feed", "count", "minute", "setting", "sqlite_sequence"}
        with sqlite3.connect(self.path) as db:
            tables = [
                row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            found = {
                name for name in tables if db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
            }
        db.close()
        return found - expected

    async def stored_bytes(self) -> bytes:
        await self.reopen()  # what is in the write-ahead log is written to the file
        return b"".join(one.read_bytes() for one in self.path.parent.glob(f"{self.path.name}*"))

    async def trim_feed(self, keep: int) -> None:
        await self.store.close()
        self.store = self.new_store(feed_kept=keep)
        await self.store.open()
        await self.store.sweep(LONG)

    async def close(self) -> None:
        await self.store.close()


class ValkeyCase:
    has_clock = False

    def __init__(self, url: str, serving: str = "demo/chat") -> None:
        import redis.asyncio

        self._serving = serving
        self._url = url
        self._client: Any = redis.asyncio.Redis.from_url(url.replace("valkey://", "redis://"))
        self.store: TaskStore = self._new_store()

    def _new_store(self) -> TaskStore:
        from servedeck.gateway.stores.valkey.store import ValkeyStore

        return ValkeyStore(self._serving, self._url, timeout=WAIT_SECONDS)

    async def pass_time(self, seconds: float = SHORT) -> None:
        until = await self._time() + seconds
        while await self._time() <= until:
            await asyncio.sleep(0.001)

    async def _time(self) -> float:
        seconds, micros = await self._client.time()
        return float(seconds) + float(micros) / 1e6

    async def reopen(self) -> None:
        await self.store.close()
        self.store = self._new_store()
        await self.store.open()

    async def leftovers(self) -> set[str]:
        # Each id is 44 digits; keys and members of other kinds have none.
        found = set()
        async for key in self._client.scan_iter():
            if len(key.rpartition(b":")[2]) == ID_LENGTH:
                found.add(key.decode())
            elif await self._client.type(key) == b"zset":
                members = await self._client.zrange(key, 0, -1)
                found |= {key.decode() for one in members if len(one) == ID_LENGTH}
        return found

    async def stored_bytes(self) -> bytes:
        parts = []
        async for key in self._client.scan_iter():
            parts += [key, await self._client.dump(key) or b""]
        return b"".join(parts)

    async def trim_feed(self, keep: int) -> None:
        async for key in self._client.scan_iter(_type="stream"):
            if len(key.rpartition(b":")[2]) != ID_LENGTH:
                await self._client.xtrim(key, maxlen=keep, approximate=False)

    async def close(self) -> None:
        await self.store.close()
        await self._client.aclose()


# -- tasks ----------------------------------------------------------------------------------------

ID_LENGTH = 44


def next_id() -> str:
    """Ids that sort by age, as those of Identity do."""
    return f"{next(_numbers):0{ID_LENGTH}x}"


def new_task(owner: str = "a", **changes: Any) -> NewTask:
    head = RequestHead(path="/v1/completions?n=1", model="demo", headers=[("accept", "*/*")])
    body = changes.pop("data", b'{"prompt": "hello"}')
    values: dict[str, Any] = {
        "id": next_id(),
        "owner": owner,
        "lifetime": LONG,
        "max_attempts": 3,
        "head": msgspec.json.encode(head),
        "body": Content(data=body, size=len(body)),
    }
    return NewTask(**{**values, **changes})


async def submit(store: TaskStore, owner: str = "a", **changes: Any) -> str:
    """The id of a new task."""
    result = await store.submit(new_task(owner, **changes), DEPTH)
    assert result.outcome is SubmitOutcome.ACCEPTED
    return result.id


async def resubmit(store: TaskStore, task: NewTask) -> Submitted:
    return await store.submit(task, DEPTH)


async def claim(
    store: TaskStore,
    limit: int = 1,
    pods: Sequence[str] = PODS,
    *,
    worker: str = "worker-1",
    concurrency: int = 0,
    pod_concurrency: int = 10_000,
    lease: float = LONG,
) -> list[Claimed]:
    return await store.claim(
        worker,
        pods,
        limit=limit,
        concurrency=concurrency,
        pod_concurrency=pod_concurrency,
        lease=lease,
    )


async def claim_one(store: TaskStore, **settings: Any) -> Claimed:
    (claimed,) = await claim(store, **settings)
    return claimed


async def claim_all(store: TaskStore) -> list[str]:
    return [one.id for one in await claim(store, DEPTH)]


def attempt_of(claimed: Claimed, message: str = "", **changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "attempt": claimed.attempt,
        "pod": claimed.pod,
        "worker": "worker-1",
        "began": 1.0,
        "ended": 2.0,
        "message": message,
    }
    return Attempt(**{**values, **changes})


RESPONSE_HEAD = msgspec.json.encode(
    ResponseHead(status=200, headers=[("content-type", "application/json")])
)


def end_of(
    claimed: Claimed, state: TaskState = TaskState.COMPLETED, data: bytes = b"ok", **changes: Any
) -> End:
    is_completed = state is TaskState.COMPLETED
    values: dict[str, Any] = {
        "id": claimed.id,
        "attempt": claimed.attempt,
        "state": state,
        "reason": "" if is_completed else "refused",
        "message": "" if is_completed else "The server answered 400.",
        "status": 200 if is_completed else 400,
        "head": RESPONSE_HEAD,
        "body": Content(data=data, size=len(data)),
        "record": attempt_of(claimed),
        "keep": LONG,
    }
    return End(**{**values, **changes})


async def fail(store: TaskStore, id: str, **changes: Any) -> None:
    """Claim a task, which must be the next, and end it as Failed."""
    claimed = await claim_one(store)
    assert claimed.id == id
    assert await store.finish(end_of(claimed, TaskState.FAILED, **changes))


async def task_of(store: TaskStore, id: str) -> Task:
    found = await store.find(id)
    assert found is not None
    return found.task


async def state_of(store: TaskStore, id: str) -> TaskState | None:
    found = await store.find(id)
    return found.task.state if found else None


async def read_all(store: TaskStore, after: str = "0", limit: int = 1000) -> list[FeedEvent]:
    """All events after the cursor, in parts of at most `limit`."""
    events: list[FeedEvent] = []
    while part := await store.read_feed(after, limit, 0):
        events += part
        after = part[-1].cursor
    return events


async def is_trimmed(store: TaskStore, after: str) -> bool:
    try:
        await store.read_feed(after, 10, 0)
    except FeedTrimmedError:
        return True
    return False
