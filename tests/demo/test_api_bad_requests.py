"""Malformed requests are rejected with a Status and never end the server."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import aiohttp
import pytest

from servedeck.demo.api import read_handlers
from tests.demo.api_fixture import Api, place_pod
from tests.waiting import wait_until, with_timeout

Json = dict[str, Any]


async def raw(api: Api, request: bytes) -> bytes:
    host, port = api.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    answer = await with_timeout(reader.read(4000))
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"garbage\r\n\r\n", 405),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"GET /api HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 400),
        (b"BREW /api HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ],
)
async def test_invalid_http_also_gets_a_status(api: Api, request_: bytes, code: int) -> None:
    head, _, body = (await raw(api, request_)).partition(b"\r\n\r\n")
    assert head.split()[1] == str(code).encode()
    status = json.loads(body)
    assert (status["kind"], status["code"]) == ("Status", code)
    assert (await api.send("GET", "/api"))[0] == 200


async def test_a_content_length_beyond_the_limit_is_rejected(api: Api) -> None:
    head = (
        f"POST /{api.user.token}/api/v1/namespaces HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    )
    assert b"413" in (await raw(api, head.encode())).split(b"\r\n")[0]


BODIES = [
    b"\xff\xfe{}",
    b'{"metadata": {"name": "\\ud800"}, "data": {"k": "\\udfff"}}',
    b'{"metadata": {"name": "nan"}, "data": {"k": NaN}}',
    b"[" * 100_000,
    b'{"metadata":' * 3_000 + b"1",
    b'{"metadata": {"name": "big"}, "data": {"k": 1' + b"0" * 5_000 + b"}}",
    b'{"metadata": 5}',
    b'{"metadata": {"name": 5}}',
    b'{"metadata": {"name": "x", "labels": ["a"]}}',
    b'{"metadata": {"name": "x", "creationTimestamp": "yesterday"}}',
    b"null",
    b"5",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
async def test_malformed_bodies_are_rejected(api: Api, body: bytes, media: str) -> None:
    path = "/api/v1/namespaces/a/configmaps"
    code, text = await api.send("POST", path, body, Content_Type=media)
    if b"NaN" in body and media == "application/yaml":
        assert code == 201  # NaN is a string in YAML
        return
    assert code in (400, 422), text
    assert json.loads(text)["kind"] == "Status"


async def test_yaml_aliases_are_rejected(api: Api) -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((n, n) + (n - 1,) * 8)
        for n in range(ord("b"), ord("m"))
    )
    path = "/api/v1/namespaces/a/configmaps"
    code, text = await api.send("POST", path, bomb, Content_Type="application/yaml")
    assert code == 400 and b"aliases" in text


async def test_random_requests_never_end_the_server(api: Api) -> None:
    rng = random.Random(5)
    parts = [
        "api",
        "apis",
        "v1",
        "apps",
        "namespaces",
        "a",
        "pods",
        "p",
        "log",
        "proxy",
        "status",
        "scale",
        "deployments",
        "events",
        "..",
        "%00",
        "%2f",
        "é",
        "x" * 300,
        "openapi",
        "v3",
    ]
    queries = [
        "watch=1&resourceVersion=x",
        "limit=-5",
        "continue=%00",
        "as=Table",
        "labelSelector=((",
        "fieldSelector===",
        "dryRun=%F0%9F",
        "resourceVersion=-1",
    ]
    bodies = [None, b"", b"{}", b"[]", b'{"spec":{"replicas":1}}', b'[{"op":"add"}]', b"\x00"]
    medias = [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "",
    ]
    place_pod(api)
    for _ in range(600):
        path = "/" + "/".join(rng.choices(parts, k=rng.randint(0, 7)))
        path += f"?{rng.choice(queries)}&fieldManager=f"
        method = rng.choice(["GET", "POST", "PUT", "PATCH", "DELETE"])
        code, text = await api.send(
            method, path, rng.choice(bodies), Content_Type=rng.choice(medias)
        )
        # 500 is the response to an apply of a wrong type, and to a watch of an invalid version
        internal = code == 500 and b"InternalError" in text
        assert 200 <= code < 600 and not internal, (method, path, text)
    assert (await api.send("GET", "/api/v1/namespaces"))[0] == 200


async def test_a_watch_ends_with_its_client_and_with_the_server(api: Api) -> None:
    url = f"{api.server.url}/{api.user.token}/api/v1/pods?watch=1&resourceVersion={{}}"
    listeners = len(api.store._listeners)
    async with api.session.get(url.format(api.store.version)):
        assert len(api.store._listeners) == listeners + 1
    await wait_until(lambda: len(api.store._listeners) == listeners, "its end")
    async with api.session.get(url.format(api.store.version)) as answer:
        await with_timeout(api.server.stop())
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()


@pytest.mark.parametrize("encoded", [False, True])
async def test_an_unexpected_error_is_logged_without_the_token(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, encoded: bool
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("unexpected")

    monkeypatch.setattr(read_handlers, "list_objects", fail)
    token = "".join(f"%{ord(char):02x}" for char in api.user.token) if encoded else api.user.token
    head = f"GET /{token}/api/v1/pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert b" 500 " in await raw(api, head.encode())
    assert "GET /api/v1/pods" in caplog.text
    assert api.user.token not in caplog.text
    assert token not in caplog.text
