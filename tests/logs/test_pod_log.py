"""One request for a log, its refusals, and the text of its lines."""

from __future__ import annotations

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadTimeoutError
from servedeck.logs.pod_log import (
    LogRefusedError,
    RefusalKind,
    read_last_lines,
    read_log,
)
from tests.cluster.fake_api_server import FakeApiServer
from tests.logs.fake_kubelet import FakeKubelet, make_line


async def test_last_lines_have_no_timestamps(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    await container.write(*[make_line(at, f"line {at}") for at in range(50)])
    container.latest.tail = make_line(50, "the end")
    await container.end(1)
    await container.start()
    await container.write(make_line(60, "another instance"))
    last = await read_last_lines(connection, "default", "web", "main", tail=3, previous=True)
    assert last == ["line 48", "line 49", "the end"]
    assert await read_last_lines(connection, "default", "web", "main") == ["another instance"]


async def test_a_whole_log_has_its_timestamps(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    lines = [make_line(at, f"line {at}") for at in range(5000)]
    await container.write(*lines)
    found = [
        line
        async for batch in read_log(connection, "default", "web", "main", tail=4000, since=90.7)
        for line in batch
    ]
    assert found == [line.decode() for line in lines[-4000:]]
    query = container.queries[0]
    assert (query["tailLines"], query["sinceSeconds"]) == ("4000", "90")
    assert "follow" not in query


async def test_a_long_line_is_cut_where_that_is_asked_for(
    kubelet: FakeKubelet, connection: Connection
) -> None:
    container = kubelet.add()
    await container.write(make_line(1, "x" * 1000))
    batches = read_log(connection, "default", "web", "main", max_line_bytes=100)
    (line,) = [line async for batch in batches for line in batch]
    assert line == make_line(1, "x" * 69).decode() + " … [931 more bytes]"


async def test_lines_are_harmless(kubelet: FakeKubelet, connection: Connection) -> None:
    container = kubelet.add()
    await container.write(
        make_line(1, "\x1b]52;c;aGk=\x07copied \x1b[2Jcleared\r"),
        make_line(2, "line").replace(b"line", b"b\xff\xfed"),
        make_line(3, "a\u2028b\u202e"),
        b"failed to watch file: no such thing",
        make_line(4, "   two words"),
        make_line(5, ""),
    )
    assert await read_last_lines(connection, "default", "web", "main") == [
        "copied cleared",
        "b\ufffd\ufffdd",
        "a b",
        "failed to watch file: no such thing",
        "   two words",
        "",
    ]


@pytest.mark.parametrize(
    ("code", "message", "kind", "sentence"),
    [
        (
            403,
            'pods "web" is forbidden',
            RefusalKind.FORBIDDEN,
            "Cannot read logs in namespace default: needs get on pods and on pods/log in that"
            " namespace.",
        ),
        (
            404,
            'pods "web" not found',
            RefusalKind.POD_DELETED,
            "Pod default/web was deleted, and its log with it.",
        ),
        (
            400,
            'previous terminated container "main" in pod "web" not found',
            RefusalKind.NO_PREVIOUS,
            "Container main has no earlier log: it has not restarted, or its log was deleted.",
        ),
        (
            400,
            'container "main" in pod "web" is waiting to start: ContainerCreating',
            RefusalKind.WAITING,
            'No log of container main yet: container "main" in pod "web" is waiting to start:'
            " ContainerCreating.",
        ),
        (
            400,
            "container main is not valid for pod web",
            RefusalKind.OTHER,
            "No log: container main is not valid for pod web.",
        ),
        (
            500,
            "failed to open log file: open /var/log/pods/x/0.log: no such file or directory",
            RefusalKind.REMOVED,
            "The log of this container of default/web (main) was removed from the node.",
        ),
        (
            502,
            "dial tcp 10.0.0.1:10250: i/o timeout",
            RefusalKind.NODE,
            "The node does not return the log (502: dial tcp 10.0.0.1:10250: i/o timeout).",
        ),
        (
            429,
            "slow down",
            RefusalKind.BUSY,
            "The server limits the request rate (429).",
        ),
    ],
)
async def test_refusals_are_named(
    kubelet: FakeKubelet,
    connection: Connection,
    code: int,
    message: str,
    kind: RefusalKind,
    sentence: str,
) -> None:
    kubelet.add().refusal = (code, message)
    with pytest.raises(LogRefusedError) as refused:
        await read_last_lines(connection, "default", "web", "main")
    assert (refused.value.kind, str(refused.value), refused.value.code) == (kind, sentence, code)


async def test_a_pod_without_a_node_has_no_log_yet(
    api: FakeApiServer, connection: Connection
) -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    api.add_route("/api/v1/namespaces/default/pods/web/log", respond)
    with pytest.raises(LogRefusedError, match="yet: the Pod is not scheduled yet") as refused:
        await read_last_lines(connection, "default", "web", "main")
    assert refused.value.kind is RefusalKind.WAITING


async def test_a_node_that_sends_nothing_is_given_up(
    kubelet: FakeKubelet, api: FakeApiServer, connection: Connection
) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async with kubelet.changed:
            await kubelet.changed.wait()
        return response

    api.add_route("/api/v1/namespaces/default/pods/web/log", respond)
    batches = read_log(connection, "default", "web", "main", read_timeout=0.05)
    with pytest.raises(ReadTimeoutError):
        await anext(batches)
