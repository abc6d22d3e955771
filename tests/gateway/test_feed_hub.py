"""The one reader of the feed in a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.async_queue.tasks import FeedEvent, TaskState
from servedeck.gateway.feed_hub import FeedHub
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import Content, NewTask
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout


class CountingStore(SqliteStore):
    reads = 0

    async def read_feed(self, after: str, limit: int, wait: float) -> list[FeedEvent]:
        self.reads += 1
        return await super().read_feed(after, limit, wait)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    store = CountingStore(tmp_path / "tasks.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def hub(store: CountingStore) -> AsyncIterator[FeedHub]:
    hub = FeedHub(store)
    running = asyncio.create_task(hub.run())
    yield hub
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def submit(store: SqliteStore, id: str) -> None:
    body = Content(b"{}", size=2)
    await store.submit(
        NewTask(id=id, lifetime=1e6, max_attempts=1, owner="", head=b"{}", body=body), 9
    )


async def test_nothing_is_read_while_nobody_listens(store: CountingStore, hub: FeedHub) -> None:
    for number in range(3):
        await submit(store, f"{number:044x}")
        await asyncio.sleep(0)
    assert store.reads == 0
    with hub.watching("x"):
        await wait_until(lambda: store.reads > 0)


async def test_a_listener_is_told_that_it_may_have_missed_some_then_of_each(
    store: CountingStore, hub: FeedHub
) -> None:
    await submit(store, f"{1:044x}")
    heard: list[list[FeedEvent]] = []
    with hub.listening(heard.append):
        await wait_until(lambda: heard == [[]])
        await submit(store, f"{2:044x}")
        await wait_until(lambda: len(heard) > 1)
    assert [(one.id, one.state) for one in heard[1]] == [(f"{2:044x}", TaskState.PENDING)]


async def test_whoever_watches_a_task_misses_no_change(store: CountingStore, hub: FeedHub) -> None:
    """The change may come before the hub has found the end of the feed."""
    for number in range(20):
        id = f"{number:044x}"
        await submit(store, id)
        with hub.watching(id) as changed:
            await store.cancel(id, 1e6)
            await with_timeout(changed.wait())


async def test_a_listener_that_can_wait_holds_up_no_other(
    store: CountingStore, hub: FeedHub
) -> None:
    patient: list[list[FeedEvent]] = []
    heard: list[list[FeedEvent]] = []
    with hub.listening(patient.append, 10 * WAIT_SECONDS), hub.listening(heard.append):
        await wait_until(lambda: heard == [[]])
        for number in range(1, 4):
            await submit(store, f"{number:044x}")
            await wait_until(lambda number=number: len(heard) > number)
    assert patient == heard
