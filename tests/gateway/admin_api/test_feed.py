"""The feed of changes: in order, without a hole, resumed, reset, and bounded."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from servedeck.async_queue.tasks import FeedEvent, WorkerStatus
from servedeck.gateway.admin_api import feed, queue_watch
from servedeck.gateway.stores.store import FeedTrimmedError, StoreUnavailableError
from servedeck.gateway.stores.valkey.store import ValkeyStore
from tests.gateway.admin_api.rig import Rig, running_rig
from tests.waiting import wait_until, with_timeout

FEED = "/-/async/feed"


@pytest.fixture(params=["sqlite", "valkey"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    store = None
    if request.param == "valkey":
        store = ValkeyStore("chat/llama", request.getfixturevalue("valkey_server").url)
    async with running_rig(tmp_path, store) as rig:
        yield rig


class Event(NamedTuple):
    kind: str
    id: str
    data: Any


class Follower:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments: list[str] = []

    async def next(self) -> Event:
        """The next event that has data."""
        kind, id, data = "message", "", []
        while True:
            raw = await with_timeout(self.response.content.readline())
            if not raw:
                raise EOFError
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments.append(line)
            elif line:
                name, _, value = line.partition(": ")
                if name == "id":
                    id = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    data.append(value)
            elif data:
                return Event(kind, id, json.loads("\n".join(data)))
            else:
                id = ""

    async def changes(self, count: int) -> list[tuple[str, str]]:
        """(id, state) of so many changes."""
        found: list[tuple[str, str]] = []
        while len(found) < count:
            event = await self.next()
            assert event.kind == "message"
            assert event.id == event.data[-1]["cursor"]
            found += [(one["id"], one["state"]) for one in event.data]
        assert len(found) == count
        return found


@asynccontextmanager
async def following(
    rig: Rig, after: str = "", events: str = "", **headers: str
) -> AsyncIterator[Follower]:
    given = {"after": after, "events": events}
    params = {name: value for name, value in given.items() if value}
    async with rig.session.get(rig.url + FEED, params=params, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Follower(response)


async def test_changes_come_once_and_in_order(rig: Rig) -> None:
    async with following(rig) as follower:
        id = await rig.submit()
        await rig.end(await rig.claim())
        assert await follower.changes(3) == [
            (id, "pending"),
            (id, "processing"),
            (id, "completed"),
        ]


async def test_without_a_cursor_it_begins_now(rig: Rig) -> None:
    await rig.submit()
    async with following(rig) as follower:
        later = await rig.submit()
        assert await follower.changes(1) == [(later, "pending")]


@pytest.mark.parametrize("by", ["query", "header"])
async def test_it_is_resumed_after_an_event(rig: Rig, by: str) -> None:
    ids = [await rig.submit() for _ in range(3)]
    async with following(rig, after="0") as follower:
        assert await follower.changes(3) == [(one, "pending") for one in ids]
    events = await rig.context.store.read_feed("0", 10, 0)
    cursor = events[0].cursor
    more = {"Last-Event-ID": cursor} if by == "header" else {}
    async with following(rig, after="" if by == "header" else cursor, **more) as follower:
        assert await follower.changes(2) == [(one, "pending") for one in ids[1:]]
        last = await rig.submit()
        assert await follower.changes(1) == [(last, "pending")]


async def test_a_feed_cut_at_any_event_has_no_hole(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While tasks are submitted, and with parts so small that all ways are taken."""
    monkeypatch.setattr(feed, "_BATCH", 3)
    monkeypatch.setattr(feed, "_BUFFER", 4)
    monkeypatch.setattr(feed, "_BATCH_SECONDS", 0.0)
    count = 200

    async def submit_all() -> list[str]:
        return [await rig.submit() for _ in range(count)]

    submitting = asyncio.create_task(submit_all())
    found: list[str] = []
    cursor = "0"
    while len(found) < count:
        async with following(rig, after=cursor) as follower:
            for _ in range(5):
                if len(found) < count:
                    event = await follower.next()
                    found += [one["id"] for one in event.data]
                    cursor = event.id
    assert found == await submitting


async def test_many_followers_have_the_same(rig: Rig) -> None:
    reads = 0
    read_feed = rig.context.store.read_feed

    async def counted(after: str, limit: int, wait: float) -> list[FeedEvent]:
        nonlocal reads
        reads += wait == 0  # the hub waits
        return await read_feed(after, limit, wait)

    def have_caught_up() -> bool:
        clients = rig.app._feed._clients
        return not any(one._is_behind or one._waiting for one in clients)

    followed: list[FeedEvent] = []
    with rig.context.hub.listening(followed.extend):
        async with (
            following(rig, after="0") as one,
            following(rig, after="0") as two,
            following(rig, after="0") as three,
        ):
            first = await rig.submit()
            for follower in (one, two, three):
                assert await follower.changes(1) == [(first, "pending")]
            await wait_until(lambda: followed and have_caught_up())
            rig.context.store.read_feed = counted  # type: ignore[method-assign]
            second = await rig.submit()
            for follower in (one, two, three):
                assert await follower.changes(1) == [(second, "pending")]
            assert reads == 0


async def test_a_cursor_that_is_trimmed_is_a_reset(rig: Rig) -> None:
    await rig.submit()
    end = await rig.context.store.feed_end()
    read_feed = rig.context.store.read_feed

    async def trimmed(after: str, limit: int, wait: float) -> list[FeedEvent]:
        if after == "0":
            raise FeedTrimmedError("trimmed")
        return await read_feed(after, limit, wait)

    rig.context.store.read_feed = trimmed  # type: ignore[method-assign]
    async with following(rig, after="0") as follower:
        event = await follower.next()
        assert event == Event("reset", end, {"feed": end})
        later = await rig.submit()
        assert await follower.changes(1) == [(later, "pending")]


async def test_a_cursor_of_a_store_that_is_no_more_is_a_reset(rig: Rig) -> None:
    await rig.submit()
    end = await rig.context.store.feed_end()
    async with following(rig, after="9" * 18) as follower:
        assert await follower.next() == Event("reset", end, {"feed": end})
        later = await rig.submit()
        assert await follower.changes(1) == [(later, "pending")]


@pytest.mark.parametrize("after", ["x", "1-2-3", "-1", "1%0A2", "9" * 50])
async def test_a_cursor_that_is_none_is_refused(rig: Rig, after: str) -> None:
    status, problem = await rig.ask("GET", f"{FEED}?after={after}")
    assert (status, problem["title"]) == (400, "Wrong after")


async def test_a_store_that_is_away_ends_no_feed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_RETRY_SECONDS", 0.01)
    first = await rig.submit()
    read_feed = rig.context.store.read_feed
    failures = 0

    async def away(after: str, limit: int, wait: float) -> list[FeedEvent]:
        nonlocal failures
        failures += 1
        raise StoreUnavailableError("away")

    rig.context.store.read_feed = away  # type: ignore[method-assign]
    async with following(rig, after="0") as follower:
        await wait_until(lambda: failures >= 3)
        rig.context.store.read_feed = read_feed  # type: ignore[method-assign]
        assert await follower.changes(1) == [(first, "pending")]
        assert follower.comments


async def test_a_comment_comes_while_nothing_changes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_COMMENT_SECONDS", 0.01)
    async with following(rig) as follower:
        while not (await with_timeout(follower.response.content.readline())).startswith(b":"):
            pass


async def test_a_client_that_reads_nothing_is_cut(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(feed, "_SEND_SECONDS", 0.05)
    monkeypatch.setattr(feed, "_COMMENT_SECONDS", 0.0)
    big = [
        FeedEvent(cursor=str(n), id="x" * 2000, state=None, attempt=0, time=0.0)
        for n in range(1, 1001)
    ]

    read_feed = rig.context.store.read_feed

    async def endless(after: str, limit: int, wait: float) -> list[FeedEvent]:
        # the hub, which waits, reads on as before
        return await read_feed(after, limit, wait) if wait else big

    reader, writer = await asyncio.open_connection("127.0.0.1", int(rig.url.rpartition(":")[2]))
    rig.context.store.read_feed = endless  # type: ignore[method-assign]
    writer.write(b"GET /-/async/feed?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await writer.drain()
    await wait_until(lambda: "was cut" in caplog.text)
    await wait_until(lambda: not rig.app._feed._clients)
    writer.close()
    del reader


async def test_no_more_followers_than_allowed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_CLIENTS", 1)
    async with following(rig):
        status, problem = await rig.ask("GET", FEED)
        assert (status, problem["title"]) == (503, "Too many followers")
    await wait_until(lambda: not rig.app._feed._clients)
    async with following(rig):
        pass


async def test_the_end_of_the_gateway_ends_the_feed(rig: Rig) -> None:
    async with following(rig) as follower:
        await wait_until(lambda: rig.app._feed._clients)
        rig.app.close()
        with pytest.raises(EOFError):
            await follower.next()


# -- the state of the queue -----------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is read again at once."""
    monkeypatch.setattr(queue_watch, "_SECONDS", 0.01)


async def test_the_queue_comes_at_once_and_when_it_has_changed(rig: Rig, quick: None) -> None:
    async with following(rig, events="queue") as follower:
        first = await follower.next()
        assert (first.kind, first.id, first.data["counts"]["pending"]) == ("queue", "", 0)
        id = await rig.submit()
        assert (await follower.next()).data["counts"]["pending"] == 1
        await rig.post(f"/-/async/tasks/{id}/cancel")
        event = await follower.next()
        assert (event.kind, event.data["counts"]["cancelled"]) == ("queue", 1)
        assert event.data["time"] >= first.data["time"]


async def test_time_alone_is_no_change(rig: Rig, quick: None, monkeypatch: Any) -> None:
    await rig.submit()
    reads = 0
    read_counts = rig.context.store.counts

    async def counts() -> Any:
        nonlocal reads
        reads += 1
        # as a worker reports every few seconds
        worker = WorkerStatus(name="w", ready_pods=["vllm-0"], time=float(reads))
        await rig.context.store.report(worker, 3600.0)
        return await read_counts()

    async with following(rig, events="queue") as follower:
        while not (await follower.next()).data["counts"]["pending"]:
            pass
        monkeypatch.setattr(rig.context.store, "counts", counts)
        watch = rig.app._feed._queue
        await wait_until(lambda: reads > 2)  # of which the first has a worker more
        number, seen = watch.number, reads
        await wait_until(lambda: reads > seen + 20)
        # a minute of the clock may begin meanwhile
        assert watch.number <= number + 2


async def test_another_follower_gets_the_present_time(
    rig: Rig, quick: None, monkeypatch: Any
) -> None:
    """Though nothing else has changed since the last event."""
    async with following(rig, events="queue") as follower:
        first = await follower.next()
        time = rig.context.store.time

        async def later() -> float:
            return await time() + 45

        monkeypatch.setattr(rig.context.store, "time", later)
        watch = rig.app._feed._queue
        await wait_until(lambda: watch._status.time > first.data["time"] + 40)
        async with following(rig, events="queue") as other:
            event = await other.next()
            assert event.data["time"] > first.data["time"] + 40


async def test_tasks_and_the_queue_in_one_feed(rig: Rig, quick: None) -> None:
    async with following(rig, events="tasks,queue") as follower:
        id = await rig.submit()
        tasks, queues, last = [], [], ""
        while not tasks or not any(one["counts"]["pending"] for one in queues):
            event = await follower.next()
            if event.kind == "queue":
                queues.append(event.data)
                assert event.id == ""
            else:
                tasks += [(one["id"], one["state"]) for one in event.data]
                last = event.id
        assert tasks == [(id, "pending")]
    later = await rig.submit()
    async with following(rig, after=last, events="tasks") as follower:
        assert await follower.changes(1) == [(later, "pending")]


async def test_followers_share_one_reader_which_ends_with_them(
    rig: Rig, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    running = rig.context.store.running

    async def counted() -> dict[str, int]:
        reads["all"] += 1
        return await running()

    monkeypatch.setattr(rig.context.store, "running", counted)
    watch = rig.app._feed._queue
    async with following(rig) as follower:
        await rig.submit()
        await follower.next()
        assert (watch._reading, reads["all"]) == (None, 0)
    async with following(rig, events="queue") as one:
        await one.next()
        task = watch._reading
        async with following(rig, events="queue") as two, following(rig, events="queue") as three:
            for follower in (two, three):
                assert (await follower.next()).kind == "queue"
            assert watch._reading is task
        before = reads["all"]
        await wait_until(lambda: reads["all"] > before)  # for the one that is left
    await wait_until(lambda: watch._reading is None)
    assert task is not None
    await wait_until(task.done)
    await rig.submit()
    async with following(rig, events="queue") as follower:
        # what was known before is not sent
        assert (await follower.next()).data["counts"]["pending"] == 2


async def test_a_store_that_is_away_is_told_once(
    rig: Rig, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = rig.context.store.counts
    failures = 0

    async def away() -> Any:
        nonlocal failures
        failures += 1
        raise StoreUnavailableError(f"It is away ({failures}).")

    async with following(rig, events="queue") as follower:
        assert (await follower.next()).kind == "queue"
        monkeypatch.setattr(rig.context.store, "counts", away)
        assert await follower.next() == Event("store", "", {"message": "It is away (1)."})
        await wait_until(lambda: failures > 5)
        async with following(rig, events="queue") as other:
            assert (await other.next()).kind == "store"
        monkeypatch.setattr(rig.context.store, "counts", counts)
        # though nothing has changed
        assert (await follower.next()).kind == "queue"


async def test_the_queue_is_followed_from_before_the_store_answers(
    rig: Rig, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Any:
        raise StoreUnavailableError("It is away.")

    with monkeypatch.context() as patch:
        for name in ("counts", "feed_end"):
            patch.setattr(rig.context.store, name, away)
        assert (await rig.ask("GET", FEED))[0] == 503
        async with following(rig, events="queue") as follower:
            assert (await follower.next()).kind == "store"
            patch.undo()
            assert (await follower.next()).kind == "queue"


@pytest.mark.parametrize("events", ["everything", "tasks,", ",", "queue,pods"])
async def test_events_that_do_not_exist_are_refused(rig: Rig, events: str) -> None:
    status, problem = await rig.ask("GET", f"{FEED}?events={events}")
    assert (status, problem["title"]) == (400, "Wrong events")
