"""How a bundle reads: once more after a lost connection, and not at all after the second one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import pytest

from servedeck.bundle import reader as reader_module
from servedeck.bundle.reader import (
    PARALLEL_REQUESTS,
    ClusterReader,
    ServerLostError,
    TimeLimitError,
)
from servedeck.cluster import resources
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ConnectionFailedError,
    ConnectionLostError,
    ReadTimeoutError,
)

REFUSED = ConnectionFailedError("Connection refused.")


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_RETRY_SECONDS", 0.0)


class FakeConnection:
    """Answers each request with the next result."""

    def __init__(self, *results: Any) -> None:
        self._results: Iterator[Any] = iter(results)
        self.requests = 0

    async def get_json(self, _path: str, _params: object = ()) -> Any:
        self.requests += 1
        result = next(self._results)
        if isinstance(result, Exception):
            raise result
        return result


def make_reader(*results: Any) -> tuple[ClusterReader, FakeConnection]:
    connection = FakeConnection(*results)
    return ClusterReader(cast("Connection", connection)), connection


async def read(reader: ClusterReader) -> Any:
    return await reader.get_object(resources.NODE, "", "gpu-1")


async def test_a_lost_connection_is_tried_once_more() -> None:
    for error in (REFUSED, ConnectionLostError("Lost.")):
        reader, _ = make_reader(error, {"kind": "Node"})
        assert await read(reader) == {"kind": "Node"}
        assert (reader.lost, reader.problems) == ("", [])


async def test_after_a_second_failure_nothing_more_is_requested() -> None:
    reader, connection = make_reader(REFUSED, REFUSED)
    assert await read(reader) is None
    assert await reader.get_object(resources.NODE, "", "gpu-2") is None
    assert connection.requests == 2
    assert reader.lost == "Connection refused."
    assert reader.problems == [
        ("Node gpu-1", "Connection refused."),
        ("Node gpu-2", "Connection refused."),
    ]


async def test_a_server_that_does_not_answer_is_not_asked_again() -> None:
    reader, connection = make_reader(ReadTimeoutError("It does not answer."))
    assert await read(reader) is None
    assert connection.requests == 1
    assert reader.lost == "It does not answer."


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (403, "Not allowed: needs get on nodes."),
        (404, "It does not exist, or was deleted meanwhile."),
        (500, "The server failed (500): broken."),
    ],
)
async def test_a_rejected_request_is_a_problem_of_the_object(code: int, reason: str) -> None:
    reader, _ = make_reader(ApiError(code, message="broken"))
    assert await read(reader) is None
    assert reader.problems == [("Node gpu-1", reason)]
    assert (resources.NODE, "gpu-1") in reader.absent or code != 404
    assert not reader.lost


@pytest.mark.parametrize("error", [ConnectionLostError("Lost."), ReadTimeoutError("Slow.")])
async def test_a_log_that_breaks_off_is_not_read_again(error: Exception) -> None:
    reader, _ = make_reader()
    calls = 0

    async def request() -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error)):
        await reader.call(request, is_stream=True)
    assert (calls, reader.lost) == (1, "")


async def test_no_request_is_made_after_the_deadline() -> None:
    reader, _ = make_reader()
    reader.deadline = asyncio.get_running_loop().time()
    with pytest.raises(TimeLimitError):
        await reader.call(asyncio.Event().wait)
    assert reader.seconds_left == 0.0


async def test_only_a_few_requests_are_made_at_a_time() -> None:
    reader, _ = make_reader()
    running = most = 0

    async def request() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    requests: list[Callable[[], Awaitable[None]]] = [request] * 20
    await asyncio.gather(*(reader.call(one) for one in requests))
    assert most == PARALLEL_REQUESTS


async def test_a_lost_server_is_an_error_for_each_request() -> None:
    reader, _ = make_reader()
    reader.lost = "It is gone."
    with pytest.raises(ServerLostError, match="It is gone"):
        await reader.call(asyncio.Event().wait)
