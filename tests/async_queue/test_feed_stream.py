"""The feed of a gateway: parsing server-sent events, and following it through a Service proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import TooOldError, UnreachableError
from servedeck.async_queue.feed_stream import EventParser, ServerSentEvent
from servedeck.async_queue.queue_api import (
    FeedChanges,
    FeedMessage,
    FeedReset,
    QueueChanged,
    StoreLost,
)
from servedeck.async_queue.tasks import FeedEvent, TaskAction, TaskState
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import InvalidResponseError
from servedeck.gateway.stores.store import StoreError
from tests.async_queue.gateway_rig import ADMIN_PROXY, GatewayRig, running_rig
from tests.cluster.fake_api_server import FakeApiServer, stream_chunks
from tests.gateway.process.rig import InferenceServer
from tests.waiting import with_timeout

FEED = f"{ADMIN_PROXY}/-/async/feed"
EVENT = {"cursor": "7-1", "id": "a", "state": "completed", "attempt": 1, "time": 5.0}
STATUS = {
    "serving": "chat/llama",
    "version": "1",
    "time": 9.0,
    "counts": {},
    "backlog": 0,
    "concurrency": 0,
    "pod_concurrency": 1,
    "max_depth": 10,
}


# -- parsing --------------------------------------------------------------------------------------


def parse(text: bytes) -> list[ServerSentEvent]:
    return list(EventParser().feed(text.split(b"\n")))


def test_events_are_parsed() -> None:
    text = (
        b": a comment\nretry: 1000\nid: 3\n\n"
        b"data: one\ndata:two\r\n\r\n"
        b"event: queue\ndata: {}\nunknown: x\n\n"
        b": nothing\n\n"
        b"id: 4\ndata: three\n\nevent: lost\n\ndata: cut"
    )
    assert parse(text) == [
        ("message", b"", "3"),
        ("message", b"one\ntwo", "3"),
        ("queue", b"{}", "3"),
        ("message", b"three", "4"),
    ]


def test_an_event_that_never_ends_is_refused() -> None:
    parser = EventParser()
    with pytest.raises(InvalidResponseError, match="longer than 32 MiB"):
        for _ in range(40):
            list(parser.feed([b"data: " + b"x" * (1 << 20)]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "queue", "store"]),
            st.lists(st.binary().filter(lambda one: not {10, 13} & set(one)), min_size=1),
            st.sampled_from(["", "1", "2-3"]),
        )
    )
)
def test_what_is_written_is_parsed(events: list[tuple[str, list[bytes], str]]) -> None:
    text, wanted, last = b"", [], ""
    for kind, lines, id in events:
        last = id or last
        text += f"event: {kind}\n".encode() if kind else b""
        text += f"id: {id}\n".encode() if id else b""
        text += b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
        wanted.append((kind or "message", b"\n".join(lines), last))
    assert parse(text) == wanted


# -- messages -------------------------------------------------------------------------------------


def script(api: FakeApiServer, *chunks: bytes, end: bool = True) -> None:
    async def status(_: web.Request) -> web.StreamResponse:
        return web.json_response(STATUS)

    async def feed(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, *chunks, end=end)

    api.add_route(f"{ADMIN_PROXY}/-/async/queue", status)
    api.add_route(FEED, feed)


def sse(data: Any, kind: str = "", id: str = "") -> bytes:
    lines = [f"event: {kind}"] if kind else []
    lines += [f"id: {id}"] if id else []
    return "\n".join([*lines, f"data: {json.dumps(data)}", "", ""]).encode()


async def collect(client: AsyncQueueClient, after: str = "") -> list[FeedMessage]:
    """The messages until the feed ends."""
    found: list[FeedMessage] = []

    async def read() -> None:
        async for message in client.follow(after):
            found.append(message)

    with pytest.raises(UnreachableError, match="ended the feed"):
        await with_timeout(read())
    return found


async def test_messages_of_each_kind(
    rig: GatewayRig, api: FakeApiServer, client: AsyncQueueClient
) -> None:
    whole = (
        b"retry: 1000\nid: 5-0\n\n"
        + sse(STATUS, "queue")
        + sse([EVENT, EVENT | {"state": None, "cursor": "7-2"}], id="7-2")
        + sse({"later": 1}, "of-a-later-version")
        + sse({"message": "Valkey is away."}, "store")
        + sse({"feed": "9-0"}, "reset", "9-0")
        + b": nothing has changed\n\n"
    )
    # Cut anywhere: parts of lines and of characters arrive as they come.
    script(api, *(whole[first : first + 7] for first in range(0, len(whole), 7)))
    begin, queue, changes, lost, reset = await collect(client, "4-4")
    assert begin == FeedChanges((), "5-0")
    assert isinstance(queue, QueueChanged) and queue.status.time == 9.0
    assert isinstance(changes, FeedChanges) and changes.cursor == "7-2"
    assert [(one.cursor, one.state) for one in changes.events] == [
        ("7-1", TaskState.COMPLETED),
        ("7-2", None),
    ]
    assert lost == StoreLost("Valkey is away.")
    assert reset == FeedReset("9-0")
    assert [one.query.get("after") for one in api.requests if one.path == FEED] == ["4-4"]


@pytest.mark.parametrize(
    "event",
    [b"data: [{]\n\n", sse({"cursor": 1}), sse({}, "reset"), sse({"counts": 1}, "queue"),
     b'event: store\ndata: "\xff"\n\n'],
)  # fmt: skip
async def test_an_event_that_cannot_be_read(
    rig: GatewayRig, api: FakeApiServer, client: AsyncQueueClient, event: bytes
) -> None:
    script(api, event, end=False)
    with pytest.raises(TooOldError):
        await with_timeout(anext(client.follow("")))


async def test_a_queue_of_an_earlier_version(
    rig: GatewayRig, api: FakeApiServer, client: AsyncQueueClient
) -> None:
    script(api, sse(STATUS | {"time": None}, "queue"), end=False)
    with pytest.raises(TooOldError):
        await with_timeout(anext(client.follow("")))


# -- a real gateway -------------------------------------------------------------------------------


class Follower:
    """The messages of one feed."""

    def __init__(self, messages: AsyncIterator[FeedMessage]) -> None:
        self._messages = messages
        self.events: list[FeedEvent] = []
        self.cursor = ""

    async def until(self, kind: type[FeedMessage]) -> FeedMessage:
        """The next message of this kind."""

        async def find() -> FeedMessage:
            async for message in self._messages:
                if isinstance(message, FeedChanges):
                    self.events += message.events
                    self.cursor = message.cursor
                if isinstance(message, kind):
                    return message
            raise AssertionError("the feed has ended")

        return await with_timeout(find())

    async def until_ended(self, ids: list[str]) -> None:
        """Until all of these tasks have ended."""
        while not {one.id for one in self.events if one.state and one.state.is_final} >= set(ids):
            await self.until(FeedChanges)


@asynccontextmanager
async def following(client: AsyncQueueClient, after: str = "") -> AsyncIterator[Follower]:
    async with aclosing(client.follow(after)) as messages:
        yield Follower(messages)


async def test_changes_of_tasks_are_followed(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    server.open.set()
    async with following(client) as follower:
        await follower.until(FeedChanges)
        ids = await rig.submit(3)
        await follower.until_ended(ids)
    of_first = [one.state for one in follower.events if one.id == ids[0]]
    assert of_first == [TaskState.PENDING, TaskState.PROCESSING, TaskState.COMPLETED]


async def test_a_feed_that_was_cut_is_resumed_without_a_hole(
    rig: GatewayRig, server: InferenceServer, client: AsyncQueueClient
) -> None:
    server.open.set()
    async with following(client) as follower:
        await follower.until(FeedChanges)
        before = await rig.submit(2)
        await follower.until_ended(before)
        cursor = follower.cursor
        rig.cut_streams()
        with pytest.raises(UnreachableError):
            while True:
                await follower.until(FeedChanges)
    meanwhile = await rig.submit(2)
    async with following(client, cursor) as resumed:
        after = await rig.submit(1)
        await resumed.until_ended(meanwhile + after)
    seen = [(one.id, one.state) for one in follower.events + resumed.events]
    for id in before + meanwhile + after:
        assert [state for one, state in seen if one == id] == [
            TaskState.PENDING,
            TaskState.PROCESSING,
            TaskState.COMPLETED,
        ]


async def test_a_cursor_that_is_not_known_any_longer(
    rig: GatewayRig, client: AsyncQueueClient
) -> None:
    async with following(client, "99999999999999-0") as follower:
        message = await follower.until(FeedReset)
    assert isinstance(message, FeedReset) and message.cursor != "99999999999999-0"


async def test_the_state_of_the_queue_is_followed(
    rig: GatewayRig, client: AsyncQueueClient
) -> None:
    await client.pause()
    async with following(client) as follower:
        message = await follower.until(QueueChanged)
        assert isinstance(message, QueueChanged)
        assert (message.status.paused, message.status.counts.pending) == (True, 0)
        ids = await rig.submit(2)
        while message.status.counts.pending < 2:
            message = await follower.until(QueueChanged)
            assert isinstance(message, QueueChanged)
        assert message.status.oldest is not None and message.status.blocked_by
        await client.change_tasks(TaskAction.CANCEL, ids)
        while message.status.counts.cancelled < 2:
            message = await follower.until(QueueChanged)
            assert isinstance(message, QueueChanged)
        assert message.status.counts.pending == 0


async def test_the_state_of_the_queue_alone_is_followed(
    rig: GatewayRig, client: AsyncQueueClient
) -> None:
    await client.pause()
    async with aclosing(client.follow_queue()) as messages:
        message = await with_timeout(anext(messages))
        assert isinstance(message, QueueChanged) and message.status.counts.pending == 0
        await rig.submit(2)
        while message.status.counts.pending < 2:
            message = await with_timeout(anext(messages))
            assert isinstance(message, QueueChanged)
        rig.cut_streams()
        with pytest.raises(UnreachableError):
            while True:
                await with_timeout(anext(messages))


async def test_the_state_of_the_queue_alone_asks_for_no_tasks(
    rig: GatewayRig, api: FakeApiServer, client: AsyncQueueClient
) -> None:
    asked: list[str] = []

    async def feed(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["events"])
        chunks = (sse([], id="1-0"), sse({"message": "It is away."}, "store"))
        return await stream_chunks(request, *chunks, end=True)

    api.add_route(FEED, feed)
    async with aclosing(client.follow_queue()) as messages:
        assert await with_timeout(anext(messages)) == StoreLost("It is away.")
        with pytest.raises(UnreachableError, match="has ended the feed"):
            await with_timeout(anext(messages))
    assert asked == ["queue"]


async def test_a_store_that_is_lost_and_back(
    rig: GatewayRig, client: AsyncQueueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise StoreError("Valkey does not answer.")

    store = rig.gateway.context.store
    async with following(client) as follower:
        await follower.until(QueueChanged)
        with monkeypatch.context() as broken:
            for name in ("counts", "read_feed", "control"):
                broken.setattr(store, name, lost)
            message = await follower.until(StoreLost)
            assert isinstance(message, StoreLost) and "Valkey does not answer" in message.message
        await follower.until(QueueChanged)


async def test_a_gateway_that_was_restarted_goes_on_where_it_was(
    api: FakeApiServer, server: InferenceServer, connection: Connection, tmp_path: Path
) -> None:
    client = AsyncQueueClient(connection, "chat", "llama")
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(running_rig(api, tmp_path, server.url))
        async with following(client) as follower:
            await follower.until(FeedChanges)
            [id] = await rig.submit()
            while not follower.events:
                await follower.until(FeedChanges)
            cursor = follower.cursor
            server.open.set()
            await stack.aclose()
            with pytest.raises(UnreachableError):
                while True:
                    await follower.until(FeedChanges)
    async with (
        running_rig(api, tmp_path, server.url) as rig,
        following(client, cursor) as resumed,
    ):
        [other] = await rig.submit()
        await resumed.until_ended([id, other])
