"""Following a stream by the id of its task, and resuming it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.public_api import follow
from servedeck.gateway.public_api.sse import EventSplitter
from servedeck.gateway.stores.store import Claimed
from tests.gateway.public_api.harness import EVENT_STREAM, LONG, Gateway, record, running_gateway
from tests.waiting import with_timeout

BODY = {"model": "m", "stream": True}


class Reader:
    """Reads the events of a stream as they come; comments are left out."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self._splitter = EventSplitter()
        self._events: list[bytes] = []
        self.comments = 0

    async def next(self) -> bytes | None:
        """None at the end."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if not event.startswith(b":"):
                    return event
                self.comments += 1
            data = await with_timeout(self.response.content.readany())
            if not data:
                return None
            self._events += self._splitter.feed(data)

    async def rest(self) -> list[bytes]:
        events: list[bytes] = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


def following(
    gateway: Gateway, id: str, last: str = ""
) -> aiohttp.client._BaseRequestContextManager[aiohttp.ClientResponse]:
    headers = {"Last-Event-ID": last} if last else {}
    return gateway.session.get(f"{gateway.url}/-/async/tasks/{id}/stream", headers=headers)


async def submit(gateway: Gateway) -> str:
    id: str = (await gateway.submit(BODY)).json()["id"]
    return id


async def add(gateway: Gateway, claimed: Claimed, data: bytes) -> None:
    assert await gateway.store.append_output(claimed.id, claimed.attempt, data)


async def end(gateway: Gateway, claimed: Claimed, body: bytes) -> None:
    await gateway.end(claimed, body, headers=EVENT_STREAM, is_event_stream=True)


async def test_events_come_while_the_task_runs(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        async with following(gateway, id) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            reader = Reader(response)
            claimed = await gateway.claim()
            await add(gateway, claimed, b"data: 1\n\ndata: 2\n\n")
            assert await reader.next() == b"id: 1-1\ndata: 1\n\n"
            assert await reader.next() == b"id: 1-2\ndata: 2\n\n"
            await add(gateway, claimed, b"event: x\r\ndata: 3\r\n\r\n")
            assert await reader.next() == b"id: 1-3\nevent: x\r\ndata: 3\r\n\r\n"
            # What was not stored as a part comes from the response.
            body = b"data: 1\n\ndata: 2\n\nevent: x\r\ndata: 3\r\n\r\ndata: [DONE]\n\n"
            await end(gateway, claimed, body)
            assert await reader.rest() == [b"id: 1-4\ndata: [DONE]\n\n"]


@pytest.mark.parametrize("has_ended", [True, False])
async def test_resuming_after_any_event(tmp_path: Path, has_ended: bool) -> None:
    events = [b"data: %d\n\n" % number for number in range(6)]
    body = b"".join(events)
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        claimed = await gateway.claim()
        # Parts need not end where events end.
        for begin in range(0, len(body), 7):
            await add(gateway, claimed, body[begin : begin + 7])
        if has_ended:
            await end(gateway, claimed, body)
        for number in range(7):
            async with following(gateway, id, f"1-{number}" if number else "") as response:
                reader = Reader(response)
                for expected in range(number, 6):
                    event = await reader.next()
                    assert event == b"id: 1-%d\ndata: %d\n\n" % (expected + 1, expected)
                if has_ended:
                    assert await reader.next() is None


async def test_another_attempt_is_announced(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        claimed = await gateway.claim()
        async with following(gateway, id) as response:
            reader = Reader(response)
            await add(gateway, claimed, b"data: 1\n\n")
            assert await reader.next() == b"id: 1-1\ndata: 1\n\n"
            assert await gateway.store.retry(id, claimed.attempt, 0, record(claimed))
            claimed = await gateway.claim()
            await add(gateway, claimed, b"data: again\n\n")
            restart = await reader.next()
            assert restart is not None
            assert restart.startswith(b"event: restart\nid: 2-0\ndata: ")
            data = msgspec.json.decode(restart.split(b"data: ")[1])
            assert data["attempt"] == 2
            assert await reader.next() == b"id: 2-1\ndata: again\n\n"
            await end(gateway, claimed, b"data: again\n\n")
            assert await reader.next() is None
        # A client that resumes in the old attempt is told, too.
        async with following(gateway, id, "1-1") as response:
            first, second = await Reader(response).rest()
            assert first == restart
            assert second == b"id: 2-1\ndata: again\n\n"


async def test_an_attempt_that_sent_nothing_is_not_announced(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        claimed = await gateway.claim()
        async with following(gateway, id) as response:
            reader = Reader(response)
            assert await gateway.store.retry(id, claimed.attempt, 0, record(claimed))
            claimed = await gateway.claim()
            await add(gateway, claimed, b"data: 1\n\n")
            assert await reader.next() == b"id: 2-1\ndata: 1\n\n"


async def test_the_end_without_a_stream_is_an_error_event(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        async with following(gateway, id) as response:
            reader = Reader(response)
            claimed = await gateway.claim()
            await add(gateway, claimed, b"data: 1\n\n")
            await reader.next()
            await gateway.fail(claimed, FailureReason.EXHAUSTED, "It closed the connection.")
            [event] = await reader.rest()
            assert event.startswith(b"event: error\ndata: ")
            error = msgspec.json.decode(event.split(b"data: ")[1])["error"]
            assert error == {
                "message": "It closed the connection.",
                "type": "task_failed",
                "code": "exhausted",
            }
        # Followed later, it is answered as the result is.
        async with following(gateway, id) as response:
            assert response.status == 502


async def test_a_cancelled_task(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        async with following(gateway, id) as response:
            reader = Reader(response)
            assert (await gateway.ask("POST", f"/-/async/tasks/{id}/cancel")).status == 200
            [event] = await reader.rest()
            assert b'"code":"cancelled"' in event
        async with following(gateway, id) as response:
            assert response.status == 409


async def test_an_answer_that_is_no_stream_is_the_result(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        await gateway.end(
            await gateway.claim(),
            b'{"error": 1}',
            state=TaskState.FAILED,
            reason=FailureReason.REFUSED,
            status=400,
        )
        async with following(gateway, id) as response:
            assert response.status == 400
            assert await response.read() == b'{"error": 1}'


async def test_a_task_that_does_not_stream(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = (await gateway.submit()).json()["id"]
        async with following(gateway, id) as response:
            assert response.status == 409
            assert "stream" in (await response.json(content_type=None))["detail"]


async def test_the_head_of_a_stream_does_not_wait_for_its_end(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        answer = await gateway.ask("HEAD", f"/-/async/tasks/{id}/stream")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Type"].startswith("text/event-stream")


async def test_a_bad_last_event_id(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        for value in ("x", "1", "1-", "-1-2", "1-2-3"):
            async with following(gateway, id, value) as response:
                assert response.status == 400


async def test_comments_come_while_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "COMMENT_SECONDS", 0.01)
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        for _ in range(2):  # while it waits, and while it runs
            async with following(gateway, id) as response:
                data = b""
                while data.count(b": waiting\n\n") < 4:
                    data += await with_timeout(response.content.readany())
                assert not data.replace(b": waiting\n\n", b"")
            if (await gateway.store.counts()).pending:
                await gateway.claim()


async def test_draining_cuts_streams_off(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        waiting, running = await submit(gateway), await submit(gateway)
        async with following(gateway, running) as two, following(gateway, waiting) as one:
            claimed = await gateway.claim()
            assert claimed.id == waiting
            await add(gateway, claimed, b"data: 1\n\n")
            assert await Reader(one).next() == b"id: 1-1\ndata: 1\n\n"
            gateway.app.drain()
            for response in (one, two):
                with pytest.raises(aiohttp.ClientPayloadError):
                    await with_timeout(response.read())


async def test_a_follower_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        hub = gateway.context.hub
        async with following(gateway, id) as response:
            await with_timeout(response.content.readany())
            assert id in hub._watched

        async def gone() -> None:
            while hub._watched:
                await asyncio.sleep(0.005)

        await with_timeout(gone())


async def test_a_delayed_attempt_is_waited_for(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as gateway:
        id = await submit(gateway)
        claimed = await gateway.claim()
        await add(gateway, claimed, b"data: 1\n\n")
        assert await gateway.store.retry(id, claimed.attempt, LONG, record(claimed))
        async with following(gateway, id) as response:
            reader = Reader(response)
            assert (await gateway.store.move_to_front([id]))[0].changed
            claimed = await gateway.claim()
            await end(gateway, claimed, b"data: 2\n\n")
            events = await reader.rest()
            # The parts of the first attempt are relayed if they are still kept.
            assert events[-1] == b"id: 2-1\ndata: 2\n\n"


_PIECES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b":", b"\n\n", b"\r\n\r\n", b"\xff"])
)


@given(_PIECES, st.lists(st.integers(min_value=0, max_value=40)))
def test_events_do_not_depend_on_the_parts_they_come_in(
    pieces: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(pieces)
    whole = EventSplitter()
    expected = [*whole.feed(stream), whole.rest()]
    assert b"".join(expected) == stream
    splitter = EventSplitter()
    found: list[bytes] = []
    last = 0
    for cut in [*sorted(cuts), len(stream)]:
        found += splitter.feed(stream[last:cut])
        last = max(last, min(cut, len(stream)))
    assert [*found, splitter.rest()] == expected
