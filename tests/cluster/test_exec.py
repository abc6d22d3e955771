"""One command in a container: its output, its exit code, and how it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from aiohttp import web

from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.exec import (
    CommandFailedError,
    CommandTarget,
    kubectl_exec_command,
    parse_command,
    run_command,
)
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ConnectionLostError
from tests.cluster.channel_server import websocket_handler
from tests.cluster.fake_api_server import FakeApiServer
from tests.waiting import wait_until, with_timeout

PATH = "/api/v1/namespaces/default/pods/llama/exec"
TARGET = CommandTarget("default", "llama", "server")
SUCCESS = b'\x03{"metadata":{},"status":"Success"}'


def serve_messages(api: FakeApiServer, *messages: bytes) -> None:
    async def serve(_request: web.Request, websocket: web.WebSocketResponse) -> None:
        for message in messages:
            await websocket.send_bytes(message)

    api.add_route(PATH, websocket_handler(serve))


async def run(connection: Connection, command: Sequence[str] = ("ls",)) -> tuple[int, list[str]]:
    lines: list[str] = []
    code = await with_timeout(run_command(connection, TARGET, command, lines.extend))
    return code, lines


def failure(**fields: object) -> bytes:
    return b"\x03" + json.dumps({"status": "Failure", **fields}).encode()


async def test_output_and_errors_are_lines(api: FakeApiServer, connection: Connection) -> None:
    serve_messages(api, b"\x01", b"\x01one\ntw", b"\x02oops\n", b"\x01o\nthree", SUCCESS)
    assert await run(connection, ["ls", "-l", "a b"]) == (0, ["one", "oops", "two", "three"])
    query = api.requests[0].query
    assert query.getall("command") == ["ls", "-l", "a b"]
    assert (query["container"], query["stdin"], query["tty"]) == ("server", "false", "false")


async def test_the_exit_code_is_that_of_the_status(
    api: FakeApiServer, connection: Connection
) -> None:
    causes = [{"reason": "ExitCode", "message": "127"}]
    status = failure(reason="NonZeroExitCode", details={"causes": causes})
    serve_messages(api, status[:20], b"\x03" + status[20:])
    assert await run(connection) == (127, [])


@pytest.mark.parametrize("message", ["9" * 5000, "--5", "1_0", "", "٣"])
async def test_an_exit_code_that_is_no_number_is_none(
    api: FakeApiServer, connection: Connection, message: str
) -> None:
    causes = [{"reason": "ExitCode", "message": message}]
    serve_messages(api, failure(reason="NonZeroExitCode", details={"causes": causes}))
    with pytest.raises(CommandFailedError, match="could not be run: NonZeroExitCode"):
        await run(connection)


async def test_a_flood_is_read_in_parts_between_which_others_run(
    api: FakeApiServer, connection: Connection
) -> None:
    serve_messages(api, b"\x01" + b"\n" * (1 << 18), SUCCESS)
    turns, seen = 0, []

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    try:
        code = await with_timeout(
            run_command(connection, TARGET, ["yes"], lambda lines: seen.append((turns, len(lines))))
        )
    finally:
        other.cancel()
    assert code == 0 and sum(count for _, count in seen) == 1 << 18
    assert max(count for _, count in seen) <= 1 << 14
    assert len({turn for turn, _ in seen}) == len(seen), "others had a turn between two parts"


async def test_a_command_that_did_not_run_says_why(
    api: FakeApiServer, connection: Connection
) -> None:
    serve_messages(api, failure(reason="InternalError", message="no such \x1b[31mfile."))
    with pytest.raises(CommandFailedError) as raised:
        await run(connection)
    assert str(raised.value) == "The command could not be run: no such file."


async def test_a_status_that_is_no_json_is_shown(
    api: FakeApiServer, connection: Connection
) -> None:
    serve_messages(api, b"\x03container not found")
    with pytest.raises(CommandFailedError, match="container not found"):
        await run(connection)


async def test_without_a_status_the_connection_was_lost(
    api: FakeApiServer, connection: Connection
) -> None:
    serve_messages(api, b"\x01half\n")
    with pytest.raises(ConnectionLostError, match="ended before the command did"):
        await run(connection)


async def test_output_is_sanitized_and_long_lines_are_cut(
    api: FakeApiServer, connection: Connection
) -> None:
    euro = "€\n".encode()
    serve_messages(
        api,
        b"\x01\x1b]52;c;x\x07red\x1b[0m\n10%\r20%\r\n",
        b"\x01" + euro[:2],
        b"\x01" + euro[2:],
        *(b"\x01" + b"x" * 4000 for _ in range(3)),
        b"\x01\n\xff\n",
        SUCCESS,
    )
    _, lines = await run(connection)
    assert lines[:3] == ["red", "20%", "€"]
    assert len(lines[3]) == 4096
    assert lines[4] == "\N{REPLACEMENT CHARACTER}"


async def test_canceling_closes_the_connection(api: FakeApiServer, connection: Connection) -> None:
    is_closed = asyncio.Event()
    lines: list[str] = []

    async def serve(_request: web.Request, websocket: web.WebSocketResponse) -> None:
        await websocket.send_bytes(b"\x01begun\n")
        await websocket.receive()
        is_closed.set()

    api.add_route(PATH, websocket_handler(serve))
    running = asyncio.create_task(run_command(connection, TARGET, ["sleep"], lines.extend))
    await wait_until(lambda: lines, "the output")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await with_timeout(is_closed.wait())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nvidia-smi", ["nvidia-smi"]),
        (" ls -l 'a b' ", ["ls", "-l", "a b"]),
        ("env | sort", ["sh", "-c", "env | sort"]),
        ("echo $HOME", ["sh", "-c", "echo $HOME"]),
        ("ls *.log", ["sh", "-c", "ls *.log"]),
        ("A=1 env", ["sh", "-c", "A=1 env"]),
        ("dd if=/dev/zero", ["dd", "if=/dev/zero"]),
        ("echo 'unfinished", ["sh", "-c", "echo 'unfinished"]),
        ("  ", []),
    ],
)
def test_a_command_with_shell_syntax_is_run_by_a_shell(text: str, words: list[str]) -> None:
    assert parse_command(text) == words


def test_the_equivalent_command_of_kubectl() -> None:
    assert kubectl_exec_command(TARGET, ["sh", "-c", "env | sort"], CommandOptions("prod")) == (
        "kubectl --context prod -n default exec llama -c server -- sh -c 'env | sort'"
    )
    plain = CommandTarget("default", "llama", "")
    assert (
        kubectl_exec_command(plain, ["ls"], CommandOptions())
        == "kubectl -n default exec llama -- ls"
    )
