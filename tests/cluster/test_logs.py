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
from servedeck.cluster.log_parsing import LONGEST, Position, Splitter, timestamp
from servedeck.cluster.logs import MARK, LogTimings, Stream, follow, last_lines, texts
from tests.cluster.api import Api, answers, status
from tests.waiting import until

POD = "/api/v1/namespaces/default/pods/web"
FAST = LogTimings(quiet=0.4, poll=(0.01, 0.05))
START = 1_800_000_000


class Kubelet:
    """Answers for one Pod and its container's log as a kubelet does, and cuts off when told."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.logs: list[list[bytes]] = [[]]
        self.state: dict[str, Any] = {"running": {}}
        self.last: dict[str, Any] = {}
        self.phase = "Running"
        self.ended = False
        self.cuts: list[int] = []
        """Bytes after which the next answers break off."""
        self.changed = asyncio.Condition()
        self.queries: list[dict[str, str]] = []
        api.answer(POD, self._pod)
        api.answer(f"{POD}/log", self._log)

    async def write(self, *lines: bytes) -> None:
        self.logs[-1].extend(lines)
        await self.wake()

    async def wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def restart(self, code: int = 1, reason: str = "Error") -> None:
        self.last = {"terminated": {"exitCode": code, "reason": reason}}
        self.logs.append([])
        await self.wake()

    async def end(self, phase: str = "Succeeded") -> None:
        self.state, self.phase, self.ended = {"terminated": {"exitCode": 0}}, phase, True
        await self.wake()

    async def _pod(self, _: web.Request) -> web.StreamResponse:
        container = {
            "name": "main",
            "restartCount": len(self.logs) - 1,
            "state": self.state,
            "lastState": self.last,
        }
        pod = {"status": {"phase": self.phase, "containerStatuses": [container]}}
        return web.json_response({"metadata": {"name": "web"}, **pod})

    async def _log(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.queries.append(query)
        log = self.logs[-2] if query.get("previous") else self.logs[-1]
        since = datetime.fromisoformat(query.get("sinceTime", "1970-01-01T00:00:00Z"))
        second = int(since.timestamp())
        begin = max(0, len(log) - int(query["tailLines"])) if "tailLines" in query else 0
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else None
        sent = 0
        while True:
            lines = [line for line in log[begin:] if (timestamp(line) or (second, 0))[0] >= second]
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


def line(number: int, second: float | None = None, text: str = "") -> bytes:
    """A log line with a timestamp, as the kubelet writes them."""
    moment = START + (number // 100 if second is None else second)
    whole = datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = int((moment % 1) * 1e9) if second is not None else number % 100 // 7 * 1000
    return f"{whole}.{fraction:09d}Z {text or f'line {number}'}".encode()


@pytest.fixture
async def kubelet(api: Api) -> Kubelet:
    return Kubelet(api)


class Followed:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.error: BaseException | None = None
        self.done = False
        self._news = asyncio.Condition()

    @property
    def texts(self) -> list[str]:
        return [text for text in self.lines if not text.startswith(MARK)]

    @property
    def marks(self) -> list[str]:
        return [text.removeprefix(MARK) for text in self.lines if text.startswith(MARK)]

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, sign=lambda: (len(self.lines), self.lines[-5:]))


@asynccontextmanager
async def following(connection: Connection, **options: Any) -> AsyncIterator[Followed]:
    followed = Followed()

    async def collect() -> None:
        try:
            async for lines in follow(
                connection, "default", "web", "main", timings=FAST, **options
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


async def test_follows_lines_as_they_come(kubelet: Kubelet, connection: Connection) -> None:
    await kubelet.write(*map(line, range(50)))
    async with following(connection, tail=10) as followed:
        await followed.until(lambda: len(followed.lines) == 10)
        await kubelet.write(line(50), line(51))
        await followed.until(lambda: len(followed.lines) == 12)
    assert followed.lines == [f"line {number}" for number in range(40, 52)]
    assert kubelet.queries[0]["timestamps"] == "true"


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_or_doubled_over_breaks(
    kubelet: Kubelet, connection: Connection, seed: int
) -> None:
    chance = random.Random(seed)
    number = 3000
    # many lines share a timestamp, some are equal altogether, some a little out of order
    moments = sorted(round(chance.uniform(0, 6), chance.choice((0, 1, 3))) for _ in range(number))
    for index in range(0, number - 1, 97):
        moments[index], moments[index + 1] = moments[index + 1], moments[index]
    lines = [
        line(index, moments[index], "same" if index % 5 == 0 else f"line {index}")
        for index in range(number)
    ]
    kubelet.cuts = [chance.randrange(200, 40_000) for _ in range(12)]
    await kubelet.write(*lines[:500])
    async with following(connection, tail=200) as followed:
        written = 500
        while written < number:
            step = chance.randrange(1, 400)
            await kubelet.write(*lines[written : written + step])
            written = min(number, written + step)
            if chance.random() < 0.5:  # else more is written before this is read
                last = lines[written - 1].decode().partition(" ")[2]
                await followed.until(lambda last=last: last in followed.texts[-500:])
        await kubelet.write(line(0, 7, "the end"))
        await followed.until(lambda: "the end" in followed.texts)
    wanted = [text.decode().partition(" ")[2] for text in lines] + ["the end"]
    # where the first answer broke off before its first line, the tail was taken anew
    assert followed.texts == wanted[-len(followed.texts) :]
    assert len(followed.texts) > 200
    assert sum("sinceTime" in query for query in kubelet.queries) >= 6


async def test_a_quiet_log_is_doubted_and_goes_on(kubelet: Kubelet, connection: Connection) -> None:
    await kubelet.write(*map(line, range(20)))
    async with following(connection, tail=5) as followed:
        await followed.until(lambda: len(kubelet.queries) >= 3)
        await kubelet.write(line(20))
        await followed.until(lambda: "line 20" in followed.lines)
    assert followed.lines == [f"line {number}" for number in range(15, 21)]
    assert "sinceTime" in kubelet.queries[1]


async def test_restart_is_said_and_the_new_instance_followed(
    kubelet: Kubelet, connection: Connection
) -> None:
    await kubelet.write(*map(line, range(20)))
    async with following(connection, tail=5) as followed:
        await followed.until(lambda: len(followed.lines) == 5)
        kubelet.cuts = []
        kubelet.logs[-1].append(line(20, text="last words"))
        await kubelet.restart(137, "OOMKilled")
        await followed.until(lambda: bool(followed.marks))
        await kubelet.write(line(900, text="hello again"))
        await followed.until(lambda: "hello again" in followed.lines)
    assert followed.lines[5] == "last words"
    assert followed.marks == [
        "Container main ended with exit code 137, OOMKilled. It restarted (restart 1)."
    ]


async def test_crash_loop_waits_for_the_next_start(
    kubelet: Kubelet, connection: Connection
) -> None:
    await kubelet.write(line(1))
    kubelet.state = {"waiting": {"reason": "CrashLoopBackOff"}}
    kubelet.ended = True
    streams: list[Stream] = []
    async with following(connection, on_stream=streams.append) as followed:
        await followed.until(lambda: len(followed.lines) == 2)
        assert followed.marks == ["Container main is not running. Waiting for its next start."]
        assert streams == [Stream.OPEN, Stream.WAITING]
        kubelet.state, kubelet.ended = {"running": {}}, False
        await kubelet.restart(1)
        await kubelet.write(line(200, text="up"))
        await followed.until(lambda: "up" in followed.lines)
        assert streams[-1] is Stream.OPEN
    assert followed.marks[1] == "Container main ended with exit code 1. It restarted (restart 1)."
    assert followed.texts == ["line 1", "up"]


async def test_ends_with_the_pod(kubelet: Kubelet, connection: Connection, api: Api) -> None:
    await kubelet.write(line(1))
    async with following(connection) as followed:
        await followed.until(lambda: len(followed.lines) == 1)
        await kubelet.end()
        await followed.until(lambda: followed.done)
    assert followed.marks == ["Container main ended with exit code 0. Nothing more will come."]
    api.answer(POD, answers(404, "NotFound"))
    async with following(connection) as followed:
        await followed.until(lambda: followed.done)
    assert followed.marks == ["Pod default/web is gone."]


async def test_a_pod_that_has_no_log_yet_says_why_once(
    kubelet: Kubelet, connection: Connection, api: Api
) -> None:
    kubelet.state = {}
    waiting = 'container "main" in pod "web" is waiting to start: ContainerCreating'
    refused = 0

    async def unscheduled(_: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def not_yet(_: web.Request) -> web.StreamResponse:
        nonlocal refused
        refused += 1
        return web.json_response(status(400, "BadRequest", waiting), status=400)

    api.answer(f"{POD}/log", unscheduled)
    async with following(connection) as followed:
        await followed.until(lambda: len(followed.lines) == 1)
        api.answer(f"{POD}/log", not_yet)
        await followed.until(lambda: len(followed.lines) == 2)
        await followed.until(lambda: refused > 3)
        kubelet.state = {"running": {}}
        api.answer(f"{POD}/log", kubelet._log)
        await kubelet.write(line(1))
        await followed.until(lambda: len(followed.lines) == 3)
    assert followed.marks == [
        "No log of container main yet: the Pod is not scheduled yet.",
        f"No log of container main yet: {waiting}.",
    ]


async def test_unreachable_node_is_said_and_tried_again(
    kubelet: Kubelet, connection: Connection, api: Api
) -> None:
    api.answer(f"{POD}/log", answers(502, "", "dial tcp: no route to host"))
    streams: list[Stream] = []
    async with following(connection, on_stream=streams.append) as followed:
        await followed.until(lambda: len(followed.lines) == 1)
        assert streams == [Stream.RECONNECTING]
        api.answer(f"{POD}/log", kubelet._log)
        await kubelet.write(line(1))
        await followed.until(lambda: "line 1" in followed.lines)
        assert streams == [Stream.RECONNECTING, Stream.OPEN]
    assert followed.marks == ["The node does not give the log (502: dial tcp: no route to host)."]


async def test_forbidden_log_names_the_right(
    kubelet: Kubelet, connection: Connection, api: Api
) -> None:
    api.answer(f"{POD}/log", answers(403, "Forbidden", "no"))
    async with following(connection) as followed:
        await followed.until(lambda: followed.done)
    assert str(followed.error) == (
        "Cannot read logs of default/web: needs get on pods and on pods/log in namespace default."
    )


async def test_previous_instance_and_last_lines(
    kubelet: Kubelet, connection: Connection, api: Api
) -> None:
    await kubelet.write(*map(line, range(30)))
    await kubelet.restart()
    async with following(connection, previous=True, tail=None) as followed:
        await followed.until(lambda: followed.done)
    assert len(followed.lines) == 30
    last = await last_lines(connection, "default", "web", "main", tail=20, previous=True)
    assert last == [f"line {number}" for number in range(10, 30)]
    api.answer(
        f"{POD}/log",
        answers(400, "BadRequest", 'previous terminated container "main" in pod "web" not found'),
    )
    with pytest.raises(ApiError, match="has no earlier log"):
        await last_lines(connection, "default", "web", "main", previous=True)


async def test_lines_are_harmless(kubelet: Kubelet, connection: Connection) -> None:
    await kubelet.write(
        line(1, text="\x1b]52;c;aGk=\x07copied \x1b[2Jcleared\r"),
        line(2).replace(b"line", b"b\xff\xfed"),
        line(3, text="a\u2028b\u202e"),
        b"failed to watch file: no such file",
        line(4, text="   two words"),
        line(5)[:31],
    )
    async with following(connection, tail=None) as followed:
        await followed.until(lambda: len(followed.lines) == 6)
    assert followed.lines == [
        "copied cleared",
        "b\ufffd\ufffdd 2",
        "a b",
        "failed to watch file: no such file",
        "   two words",
        "",
    ]


async def test_timestamps_stay_where_they_are_wanted(
    kubelet: Kubelet, connection: Connection
) -> None:
    await kubelet.write(line(1))
    async with following(connection, timestamps=True) as followed:
        await followed.until(lambda: len(followed.lines) == 1)
    assert followed.lines == [line(1).decode()]


# -- the parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000, 10_000_000])
def test_long_lines_are_cut_the_same_however_they_arrive(size: int) -> None:
    text = b"short\n" + b"x" * (LONGEST + 1234) + b"\nnext\n" + b"y" * LONGEST + b"\nlast"
    if size < 1000:
        text = text[-LONGEST:]
    splitter = Splitter()
    lines: list[bytes] = []
    for index in range(0, len(text), size):
        lines += splitter.feed(text[index : index + size])
        assert len(splitter._rest) <= LONGEST
    lines += splitter.finish()
    if size >= 1000:
        assert lines[0] == b"short"
        assert lines[1] == b"x" * LONGEST + " … [1234 more bytes]".encode()
        assert lines[2:] == [b"next", b"y" * LONGEST, b"last"]
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
    assert timestamp(text.encode()) == stamp


def test_position_remembers_seconds_not_the_whole_log() -> None:
    position = Position()
    for number in range(0, 100_000, 100):
        position.take([line(number + index) for index in range(100)])
    assert len(position._taken) <= 3


def test_rotated_file_loses_nothing_that_is_still_there() -> None:
    position = Position()
    position.take([line(number) for number in range(300)])
    assert position.resume()
    new = [line(number) for number in range(300, 500)]
    assert position.fresh(new[:50]) + position.fresh(new[50:]) == new


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))))
def test_lines_read_alone_and_together_are_the_same(lines: list[bytes]) -> None:
    assert texts(lines) == [each for line in lines for each in texts([line])]
