"""The TaskStore of one process: nothing to install, and nothing lost in a power cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from servedeck.async_queue.tasks import (
    Attempt,
    FailureReason,
    FeedEvent,
    QueueMinute,
    StateCounts,
    Task,
    WorkerStatus,
)
from servedeck.gateway.stores.group_commit import CommitObserver, observe_nothing
from servedeck.gateway.stores.signals import Signals
from servedeck.gateway.stores.sqlite import control as controls
from servedeck.gateway.stores.sqlite import reads, sweeping, writes
from servedeck.gateway.stores.sqlite.database import Database, Transaction
from servedeck.gateway.stores.store import (
    Callback,
    Change,
    Claimed,
    Content,
    Control,
    End,
    Found,
    NewTask,
    Outputs,
    Response,
    States,
    StoreError,
    Submitted,
    Swept,
)
from servedeck.gateway.stores.task_records import DEFAULT_KEEP, FEED_KEPT

RESERVE_BYTES = 32 << 20

_FEED = ""
"""Key of the feed's signal; those of tasks are their ids."""

T = TypeVar("T")


class SqliteStore:
    """See TaskStore.

    `reserve`: bytes of the disk that new tasks leave free, so that those that were accepted can
    still end. `timeout`: seconds after which a call counts as not answered. `clock`: seconds since
    the epoch. `feed_kept`: events that are kept at least."""

    def __init__(
        self,
        path: Path,
        *,
        reserve: int = RESERVE_BYTES,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.time,
        feed_kept: int = FEED_KEPT,
        observe_commit: CommitObserver = observe_nothing,
    ) -> None:
        self._clock = clock
        self._feed_kept = feed_kept
        self._feed_end = 0
        self._keep = DEFAULT_KEEP
        self._met_overdue = 0
        """Tasks that claims have ended as expired since the last sweep."""
        self._signals = Signals()
        self._workers: dict[str, tuple[WorkerStatus, float]] = {}
        self._db = Database(path, clock, reserve, timeout, self._on_commit, observe_commit)

    def _on_commit(self, feed_end: int, touched: set[str]) -> None:
        if feed_end != self._feed_end:
            self._feed_end = feed_end
            self._signals.notify((_FEED,))
        self._signals.notify(touched)

    async def open(self) -> None:
        await self._db.open()

    async def close(self) -> None:
        await self._db.close()
        self._signals.notify_all()

    async def check(self) -> str:
        try:
            has_room = await self._db.write(writes.check)
        except StoreError as error:
            return str(error)
        return "" if has_room else "warning: its disk has no room for new tasks."

    # -- accepting ------------------------------------------------------------------------------

    async def submit(self, task: NewTask, max_depth: int) -> Submitted:
        return await self._db.write(lambda tx: writes.submit(tx, task, max_depth), is_submit=True)

    # -- delivering -----------------------------------------------------------------------------

    async def claim(
        self,
        worker: str,
        pods: Sequence[str],
        *,
        limit: int,
        concurrency: int,
        pod_concurrency: int,
        lease: float,
    ) -> list[Claimed]:
        def take(tx: Transaction) -> tuple[list[Claimed], int]:
            return writes.claim(
                tx, worker, pods, limit, concurrency, pod_concurrency, lease, self._keep
            )

        claimed, overdue = await self._db.write(take)
        self._met_overdue += overdue
        return claimed

    async def beat(self, held: Sequence[tuple[str, int]], lease: float) -> list[str]:
        return await self._db.write(lambda tx: writes.beat(tx, held, lease))

    async def release(self, worker: str, held: Sequence[tuple[str, int]], age: float) -> int:
        return await self._db.write(lambda tx: writes.release(tx, worker, held, age))

    async def finish(self, end: End) -> bool:
        return await self._db.write(lambda tx: writes.finish(tx, end))

    async def retry(self, id: str, attempt: int, delay: float, record: Attempt) -> bool:
        return await self._db.write(lambda tx: writes.retry(tx, id, attempt, delay, record))

    async def append_output(self, id: str, attempt: int, data: bytes) -> bool:
        return await self._db.write(lambda tx: writes.append_output(tx, id, attempt, data))

    async def sweep(self, keep: float) -> Swept:
        self._keep = keep
        swept = await self._db.write(lambda tx: sweeping.sweep(tx, keep, self._feed_kept))
        expired = swept.ended.get(FailureReason.EXPIRED, 0) + self._met_overdue
        self._met_overdue = 0
        return swept._replace(ended={**swept.ended, FailureReason.EXPIRED: expired})

    async def report(self, worker: WorkerStatus, ttl: float) -> None:
        # Not stored: when this process ends, there is no worker any longer.
        if ttl > 0:
            self._workers[worker.name] = (worker, self._clock() + ttl)
        else:
            self._workers.pop(worker.name, None)

    # -- callbacks ------------------------------------------------------------------------------

    async def claim_callbacks(self, limit: int, lease: float) -> list[Callback]:
        return await self._db.write(lambda tx: writes.claim_callbacks(tx, limit, lease))

    async def settle_callback(self, id: str, retry_after: float | None) -> None:
        await self._db.write(lambda tx: writes.settle_callback(tx, id, retry_after))

    # -- reading --------------------------------------------------------------------------------

    async def find(self, id: str) -> Found | None:
        return await self._db.read(lambda db: reads.find(db, id))

    async def position(self, id: str) -> int | None:
        return await self._db.read(lambda db: reads.position(db, id))

    async def read_request(self, id: str) -> Content | None:
        return await self._db.read(lambda db: reads.read_request(db, id))

    async def read_response(self, id: str) -> Response | None:
        return await self._db.read(lambda db: reads.read_response(db, id))

    async def read_attempts(self, id: str) -> list[Attempt]:
        return await self._db.read(lambda db: reads.read_attempts(db, id))

    async def read_outputs(self, id: str, attempt: int, after: int, wait: float) -> Outputs:
        async def look() -> Outputs:
            return await self._db.read(lambda db: reads.read_outputs(db, id, attempt, after))

        return await self._wait_for(id, look, lambda one: bool(one.parts) or one.has_ended, wait)

    async def time(self) -> float:
        return self._clock()

    async def page(
        self, states: States, after: str, limit: int, *, oldest_first: bool = False
    ) -> list[Task]:
        return await self._db.read(lambda db: reads.page(db, states, after, limit, oldest_first))

    async def find_many(self, ids: Sequence[str]) -> list[Task]:
        return await self._db.read(lambda db: reads.find_many(db, ids))

    async def counts(self) -> StateCounts:
        return await self._db.read(reads.counts)

    async def oldest_pending(self) -> float | None:
        return await self._db.read(reads.oldest_pending)

    async def running(self) -> dict[str, int]:
        return await self._db.read(reads.running)

    async def minutes(self) -> list[QueueMinute]:
        return await self._db.read(lambda db: reads.minutes(db, self._clock()))

    async def workers(self) -> list[WorkerStatus]:
        now = self._clock()
        self._workers = {name: one for name, one in self._workers.items() if one[1] > now}
        return [worker for worker, _ in self._workers.values()]

    async def feed_end(self) -> str:
        return str(await self._db.read(reads.feed_end))

    async def read_feed(self, after: str, limit: int, wait: float) -> list[FeedEvent]:
        async def look() -> list[FeedEvent]:
            return await self._db.read(lambda db: reads.read_feed(db, after, limit))

        return await self._wait_for(_FEED, look, bool, wait)

    async def _wait_for(
        self,
        key: str,
        look: Callable[[], Awaitable[T]],
        is_enough: Callable[[T], bool],
        wait: float,
    ) -> T:
        """What `look` gives, looked at again after each change until it is enough."""
        if wait <= 0:
            return await look()
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        with self._signals.watching(key) as changed:
            while True:
                changed.clear()
                found = await look()
                if is_enough(found) or loop.time() >= end:
                    return found
                try:
                    async with asyncio.timeout_at(end):
                        await changed.wait()
                except TimeoutError:
                    return found

    # -- acting ---------------------------------------------------------------------------------

    async def cancel(self, id: str, keep: float) -> Change:
        return await self._db.write(lambda tx: writes.cancel(tx, id, keep))

    async def redrive(self, id: str, lifetime: float, credentials: bytes | None) -> Change:
        return await self._db.write(lambda tx: writes.redrive(tx, id, lifetime, credentials))

    async def move_to_front(self, ids: Sequence[str]) -> list[Change]:
        return await self._db.write(lambda tx: writes.move_to_front(tx, ids))

    async def forget(self, id: str) -> Change:
        return await self._db.write(lambda tx: sweeping.forget(tx, id))

    async def unneeded_objects(self, limit: int) -> list[str]:
        return await self._db.write(lambda tx: sweeping.unneeded_objects(tx, limit))

    async def drop_objects(self, names: Sequence[str]) -> None:
        await self._db.write(lambda tx: sweeping.drop_objects(tx, names))

    async def expire_rest(self) -> None:
        """Nothing: see TaskStore."""

    async def control(self) -> Control:
        return await self._db.read(controls.read_control)

    async def set_control(self, control: Control, expected: Control | None = None) -> bool:
        return await self._db.write(lambda tx: controls.set_control(tx, control, expected))
