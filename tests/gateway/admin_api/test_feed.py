"""The feed of changes: in order, without a hole, resumed, reset, and bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from servedeck.async_queue.tasks import FeedEvent
from servedeck.gateway.admin_api import feed
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
async def following(rig: Rig, after: str = "", **headers: str) -> AsyncIterator[Follower]:
    query = f"?after={after}" if after else ""
    async with rig.session.get(rig.url + FEED + query, headers=headers) as response:
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
