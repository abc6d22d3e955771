from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.log_parsing import MAX_LINE_BYTES, LineSplitter, LogPosition, parse_timestamp
from servedeck.cluster.logs import (
    NOTICE_PREFIX,
    LogConfig,
    LogStreamState,
    decode_lines,
    follow_log,
    read_last_lines,
)
from tests.cluster.fake_api_server import FakeApiServer, make_status, respond_with_status
from tests.waiting import wait_until

POD_PATH = "/api/v1/namespaces/default/pods/web"
FAST_CONFIG = LogConfig(read_timeout=0.4, poll_delay=(0.01, 0.05))
START_SECOND = 1_800_000_000


class FakeLogApi:
    """Serves one Pod and its container's log as a kubelet does, and breaks off on request."""

    def __init__(self, api: FakeApiServer) -> None:
        self.api = api
        self.logs: list[list[bytes]] = [[]]
        self.state: dict[str, Any] = {"running": {}}
        self.last_state: dict[str, Any] = {}
        self.phase = "Running"
        self.ended = False
        self.break_after_bytes: list[int] = []
        """Number of bytes after which each of the next responses breaks off."""
        self.changed = asyncio.Condition()
        self.queries: list[dict[str, str]] = []
        api.add_route(POD_PATH, self._get_pod)
        api.add_route(f"{POD_PATH}/log", self._get_log)

    async def write(self, *lines: bytes) -> None:
        self.logs[-1].extend(lines)
        await self.notify()

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def restart(self, code: int = 1, reason: str = "Error") -> None:
        self.last_state = {"terminated": {"exitCode": code, "reason": reason}}
        self.logs.append([])
        await self.notify()

    async def end(self, phase: str = "Succeeded") -> None:
        self.state, self.phase, self.ended = {"terminated": {"exitCode": 0}}, phase, True
        await self.notify()

    async def _get_pod(self, _: web.Request) -> web.StreamResponse:
        container = {
            "name": "main",
            "restartCount": len(self.logs) - 1,
            "state": self.state,
            "lastState": self.last_state,
        }
        pod = {"status": {"phase": self.phase, "containerStatuses": [container]}}
        return web.json_response({"metadata": {"name": "web"}, **pod})

    async def _get_log(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.queries.append(query)
        log = self.logs[-2] if query.get("previous") else self.logs[-1]
        since = datetime.fromisoformat(query.get("sinceTime", "1970-01-01T00:00:00Z"))
        second = int(since.timestamp())
        begin = max(0, len(log) - int(query["tailLines"])) if "tailLines" in query else 0
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        cut = self.break_after_bytes.pop(0) if self.break_after_bytes else None
        sent = 0
        while True:
            lines = [
                line for line in log[begin:] if (parse_timestamp(line) or (second, 0))[0] >= second
            ]
            begin = len(log)
            data = b"".join(line + b"\n" for line in lines)
            if cut is not None and sent + len(data) >= cut:
                await response.write(data[: cut - sent])
                assert request.transport is not None
                request.transport.abort()
                return response
            if data:
                await response.write(data)
                sent += len(data)
            over = log is not self.logs[-1] or self.ended
            if query.get("follow") != "true" or over:
                return response
            async with self.changed:
                await self.changed.wait()


def make_line(number: int, second: float | None = None, text: str = "") -> bytes:
    """A log line with a timestamp, as written by the kubelet."""
    moment = START_SECOND + (number // 100 if second is None else second)
    whole = datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = int((moment % 1) * 1e9) if second is not None else number % 100 // 7 * 1000
    return f"{whole}.{fraction:09d}Z {text or f'line {number}'}".encode()


@pytest.fixture
async def log_api(api: FakeApiServer) -> FakeLogApi:
    return FakeLogApi(api)


class FollowResult:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.error: BaseException | None = None
        self.done = False
        self._changed = asyncio.Condition()

    @property
    def log_lines(self) -> list[str]:
        return [text for text in self.lines if not text.startswith(NOTICE_PREFIX)]

    @property
    def notices(self) -> list[str]:
        return [
            text.removeprefix(NOTICE_PREFIX)
            for text in self.lines
            if text.startswith(NOTICE_PREFIX)
        ]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        await wait_until(condition, describe_state=lambda: (len(self.lines), self.lines[-5:]))


@asynccontextmanager
async def follow_in_background(
    connection: Connection, **options: Any
) -> AsyncIterator[FollowResult]:
    followed = FollowResult()

    async def collect() -> None:
        try:
            async for lines in follow_log(
                connection, "default", "web", "main", config=FAST_CONFIG, **options
            ):
                followed.lines += lines
        except ApiError as error:
            followed.error = error
        followed.done = True

    task = asyncio.create_task(collect())
    try:
        yield followed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_follows_lines_as_they_come(log_api: FakeLogApi, connection: Connection) -> None:
    await log_api.write(*map(make_line, range(50)))
    async with follow_in_background(connection, tail=10) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 10)
        await log_api.write(make_line(50), make_line(51))
        await followed.wait_until(lambda: len(followed.lines) == 12)
    assert followed.lines == [f"line {number}" for number in range(40, 52)]
    assert log_api.queries[0]["timestamps"] == "true"


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_or_doubled_over_breaks(
    log_api: FakeLogApi, connection: Connection, seed: int
) -> None:
    rng = random.Random(seed)
    number = 3000
    # many lines share a timestamp, some are identical, some slightly out of order
    moments = sorted(round(rng.uniform(0, 6), rng.choice((0, 1, 3))) for _ in range(number))
    for index in range(0, number - 1, 97):
        moments[index], moments[index + 1] = moments[index + 1], moments[index]
    lines = [
        make_line(index, moments[index], "same" if index % 5 == 0 else f"line {index}")
        for index in range(number)
    ]
    log_api.break_after_bytes = [rng.randrange(200, 40_000) for _ in range(12)]
    await log_api.write(*lines[:500])
    async with follow_in_background(connection, tail=200) as followed:
        written = 500
        while written < number:
            step = rng.randrange(1, 400)
            await log_api.write(*lines[written : written + step])
            written = min(number, written + step)
            if rng.random() < 0.5:  # otherwise more is written before this is read
                last = lines[written - 1].decode().partition(" ")[2]
                await followed.wait_until(lambda last=last: last in followed.log_lines[-500:])
        await log_api.write(make_line(0, 7, "the end"))
        await followed.wait_until(lambda: "the end" in followed.log_lines)
    wanted = [text.decode().partition(" ")[2] for text in lines] + ["the end"]
    # if the first response broke off before its first line, the tail was requested again
    assert followed.log_lines == wanted[-len(followed.log_lines) :]
    assert len(followed.log_lines) > 200
    assert sum("sinceTime" in query for query in log_api.queries) >= 6


async def test_an_idle_log_stream_is_reconnected(
    log_api: FakeLogApi, connection: Connection
) -> None:
    await log_api.write(*map(make_line, range(20)))
    async with follow_in_background(connection, tail=5) as followed:
        await followed.wait_until(lambda: len(log_api.queries) >= 3)
        await log_api.write(make_line(20))
        await followed.wait_until(lambda: "line 20" in followed.lines)
    assert followed.lines == [f"line {number}" for number in range(15, 21)]
    assert "sinceTime" in log_api.queries[1]


async def test_restart_is_reported_and_the_new_instance_followed(
    log_api: FakeLogApi, connection: Connection
) -> None:
    await log_api.write(*map(make_line, range(20)))
    async with follow_in_background(connection, tail=5) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 5)
        log_api.break_after_bytes = []
        log_api.logs[-1].append(make_line(20, text="last words"))
        await log_api.restart(137, "OOMKilled")
        await followed.wait_until(lambda: bool(followed.notices))
        await log_api.write(make_line(900, text="hello again"))
        await followed.wait_until(lambda: "hello again" in followed.lines)
    assert followed.lines[5] == "last words"
    assert followed.notices == [
        "Container main exited with code 137, OOMKilled. It restarted (restart 1)."
    ]


async def test_crash_loop_waits_for_the_next_start(
    log_api: FakeLogApi, connection: Connection
) -> None:
    await log_api.write(make_line(1))
    log_api.state = {"waiting": {"reason": "CrashLoopBackOff"}}
    log_api.ended = True
    streams: list[LogStreamState] = []
    async with follow_in_background(connection, on_state=streams.append) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 2)
        assert followed.notices == ["Container main is not running. Waiting for its next start."]
        assert streams == [LogStreamState.OPEN, LogStreamState.WAITING]
        log_api.state, log_api.ended = {"running": {}}, False
        await log_api.restart(1)
        await log_api.write(make_line(200, text="up"))
        await followed.wait_until(lambda: "up" in followed.lines)
        assert streams[-1] is LogStreamState.OPEN
    assert followed.notices[1] == "Container main exited with code 1. It restarted (restart 1)."
    assert followed.log_lines == ["line 1", "up"]


async def test_ends_with_the_pod(
    log_api: FakeLogApi, connection: Connection, api: FakeApiServer
) -> None:
    await log_api.write(make_line(1))
    async with follow_in_background(connection) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 1)
        await log_api.end()
        await followed.wait_until(lambda: followed.done)
    assert followed.notices == ["Container main exited with code 0. No more lines will follow."]
    api.add_route(POD_PATH, respond_with_status(404, "NotFound"))
    async with follow_in_background(connection) as followed:
        await followed.wait_until(lambda: followed.done)
    assert followed.notices == ["Pod default/web was deleted."]


async def test_a_pod_that_has_no_log_yet_says_why_once(
    log_api: FakeLogApi, connection: Connection, api: FakeApiServer
) -> None:
    log_api.state = {}
    waiting = 'container "main" in pod "web" is waiting to start: ContainerCreating'
    rejected = 0

    async def unscheduled(_: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def not_yet(_: web.Request) -> web.StreamResponse:
        nonlocal rejected
        rejected += 1
        return web.json_response(make_status(400, "BadRequest", waiting), status=400)

    api.add_route(f"{POD_PATH}/log", unscheduled)
    async with follow_in_background(connection) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 1)
        api.add_route(f"{POD_PATH}/log", not_yet)
        await followed.wait_until(lambda: len(followed.lines) == 2)
        await followed.wait_until(lambda: rejected > 3)
        log_api.state = {"running": {}}
        api.add_route(f"{POD_PATH}/log", log_api._get_log)
        await log_api.write(make_line(1))
        await followed.wait_until(lambda: len(followed.lines) == 3)
    assert followed.notices == [
        "No log of container main yet: the Pod is not scheduled yet.",
        f"No log of container main yet: {waiting}.",
    ]


async def test_unreachable_node_is_reported_and_tried_again(
    log_api: FakeLogApi, connection: Connection, api: FakeApiServer
) -> None:
    api.add_route(f"{POD_PATH}/log", respond_with_status(502, "", "dial tcp: no route to host"))
    streams: list[LogStreamState] = []
    async with follow_in_background(connection, on_state=streams.append) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 1)
        assert streams == [LogStreamState.RECONNECTING]
        api.add_route(f"{POD_PATH}/log", log_api._get_log)
        await log_api.write(make_line(1))
        await followed.wait_until(lambda: "line 1" in followed.lines)
        assert streams == [LogStreamState.RECONNECTING, LogStreamState.OPEN]
    assert followed.notices == [
        "The node does not return the log (502: dial tcp: no route to host)."
    ]


async def test_a_forbidden_log_names_the_permission(
    log_api: FakeLogApi, connection: Connection, api: FakeApiServer
) -> None:
    api.add_route(f"{POD_PATH}/log", respond_with_status(403, "Forbidden", "no"))
    async with follow_in_background(connection) as followed:
        await followed.wait_until(lambda: followed.done)
    assert str(followed.error) == (
        "Cannot read logs of default/web: needs get on pods and on pods/log in namespace default."
    )


async def test_previous_instance_and_last_lines(
    log_api: FakeLogApi, connection: Connection, api: FakeApiServer
) -> None:
    await log_api.write(*map(make_line, range(30)))
    await log_api.restart()
    async with follow_in_background(connection, previous=True, tail=None) as followed:
        await followed.wait_until(lambda: followed.done)
    assert len(followed.lines) == 30
    last = await read_last_lines(connection, "default", "web", "main", tail=20, previous=True)
    assert last == [f"line {number}" for number in range(10, 30)]
    api.add_route(
        f"{POD_PATH}/log",
        respond_with_status(
            400, "BadRequest", 'previous terminated container "main" in pod "web" not found'
        ),
    )
    with pytest.raises(ApiError, match="has no earlier log"):
        await read_last_lines(connection, "default", "web", "main", previous=True)


async def test_lines_are_harmless(log_api: FakeLogApi, connection: Connection) -> None:
    await log_api.write(
        make_line(1, text="\x1b]52;c;aGk=\x07copied \x1b[2Jcleared\r"),
        make_line(2).replace(b"line", b"b\xff\xfed"),
        make_line(3, text="a\u2028b\u202e"),
        b"failed to watch file: no such file",
        make_line(4, text="   two words"),
        make_line(5)[:31],
    )
    async with follow_in_background(connection, tail=None) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 6)
    assert followed.lines == [
        "copied cleared",
        "b\ufffd\ufffdd 2",
        "a b",
        "failed to watch file: no such file",
        "   two words",
        "",
    ]


async def test_timestamps_stay_where_they_are_wanted(
    log_api: FakeLogApi, connection: Connection
) -> None:
    await log_api.write(make_line(1))
    async with follow_in_background(connection, timestamps=True) as followed:
        await followed.wait_until(lambda: len(followed.lines) == 1)
    assert followed.lines == [make_line(1).decode()]


# -- the parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000, 10_000_000])
def test_long_lines_are_cut_the_same_however_they_arrive(size: int) -> None:
    text = (
        b"short\n"
        + b"x" * (MAX_LINE_BYTES + 1234)
        + b"\nnext\n"
        + b"y" * MAX_LINE_BYTES
        + b"\nlast"
    )
    if size < 1000:
        text = text[-MAX_LINE_BYTES:]
    splitter = LineSplitter()
    lines: list[bytes] = []
    for index in range(0, len(text), size):
        lines += splitter.feed(text[index : index + size])
        assert len(splitter._partial_line) <= MAX_LINE_BYTES
    lines += splitter.finish()
    if size >= 1000:
        assert lines[0] == b"short"
        assert lines[1] == b"x" * MAX_LINE_BYTES + " … [1234 more bytes]".encode()
        assert lines[2:] == [b"next", b"y" * MAX_LINE_BYTES, b"last"]
    else:
        assert b"\n".join(lines) == text


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2026-01-01T00:00:00.000000001Z x", (1767225600, 1)),
        ("2026-01-01T09:00:00.5+09:00 x", (1767225600, 500_000_000)),
        ("2026-01-01T00:00:00Z", (1767225600, 0)),
        ("2026-01-01T00:00:00", None),
        ("2026-99-01T00:00:00Z x", None),
        ("unable to retrieve container logs", None),
        ("", None),
    ],
)
def test_timestamps(text: str, stamp: tuple[int, int] | None) -> None:
    assert parse_timestamp(text.encode()) == stamp


def test_position_remembers_seconds_not_the_whole_log() -> None:
    position = LogPosition()
    for number in range(0, 100_000, 100):
        position.record([make_line(number + index) for index in range(100)])
    assert len(position._hashes_by_second) <= 3


def test_rotated_file_loses_nothing_that_is_still_there() -> None:
    position = LogPosition()
    position.record([make_line(number) for number in range(300)])
    assert position.begin_resume()
    new = [make_line(number) for number in range(300, 500)]
    assert position.filter_new(new[:50]) + position.filter_new(new[50:]) == new


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))))
def test_lines_read_alone_and_together_are_the_same(lines: list[bytes]) -> None:
    assert decode_lines(lines) == [each for line in lines for each in decode_lines([line])]
