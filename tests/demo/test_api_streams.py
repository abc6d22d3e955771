"""pods/portforward and pods/exec of the demo's API server."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.demo.api_fixture import Api, place_pod
from tests.waiting import with_timeout

POD = "/api/v1/namespaces/a/pods/p"
FORWARD = f"{POD}/portforward?ports=8000"
NUMBER = (8000).to_bytes(2, "little")


async def open_socket(
    api: Api, path: str, protocol: str = "v4.channel.k8s.io", token: str = ""
) -> aiohttp.ClientWebSocketResponse:
    return await api.session.ws_connect(
        api.server.url + path,
        protocols=(protocol,),
        headers={"Authorization": f"Bearer {token or api.user.token}"},
    )


async def messages(websocket: aiohttp.ClientWebSocketResponse) -> list[bytes]:
    """All messages until the end."""

    async def read() -> list[bytes]:
        return [message.data async for message in websocket]

    return await with_timeout(read())


async def status_of(api: Api, path: str, **options: Any) -> int:
    """The status of a rejected handshake."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await open_socket(api, path, **options)
    return raised.value.status


async def test_a_port_is_forwarded(api: Api) -> None:
    place_pod(api)
    websocket = await open_socket(api, FORWARD)
    assert [await websocket.receive_bytes() for _ in range(2)] == [b"\0" + NUMBER, b"\1" + NUMBER]
    await websocket.send_bytes(b"\0hello")
    assert await with_timeout(websocket.receive_bytes()) == b"\0hello"
    await websocket.close()


async def test_a_port_where_nothing_listens_is_an_error(api: Api) -> None:
    place_pod(api)
    api.kubelet.answer = None
    *_, error = await messages(await open_socket(api, FORWARD))
    assert error[:1] == b"\1" and error.endswith(b"connect: connection refused")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{POD}/portforward", 400),
        (f"{POD}/portforward?ports=x", 400),
        (f"{POD}/portforward?ports=1,2", 400),
        ("/api/v1/namespaces/a/pods/gone/portforward?ports=1", 404),
        (f"{POD}/exec", 400),
        (f"{POD}/exec?command=ls&container=x", 400),
        (f"{POD}/exec?command=ls&tty=true", 400),
    ],
)
async def test_what_is_wrong_is_rejected_before_the_upgrade(api: Api, path: str, code: int) -> None:
    place_pod(api)
    assert await status_of(api, path) == code


async def test_another_protocol_and_no_upgrade_are_rejected(api: Api) -> None:
    place_pod(api)
    assert await status_of(api, FORWARD, protocol="v3.channel.k8s.io") == 400
    code, body = await api.send("GET", FORWARD)
    assert (code, json.loads(body)["message"]) == (400, "Upgrade request required")


@pytest.mark.parametrize("path", [FORWARD, f"{POD}/exec?command=ls"])
async def test_a_viewer_may_open_none(api: Api, path: str) -> None:
    place_pod(api)
    assert await status_of(api, path, token=api.viewer.token) == 403


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
async def test_a_command_has_output_errors_and_an_exit_code(api: Api, protocol: str) -> None:
    place_pod(api)
    path = f"{POD}/exec?command=ls&command=-l&stdout=true"
    out, err, end = await messages(await open_socket(api, path, protocol))
    assert (out, err) == (b"\1c: ls -l\n", b"\2oops\n")
    status = json.loads(end[1:])
    assert end[0] == 3 and status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_a_program_that_does_not_exist_is_an_error(api: Api) -> None:
    place_pod(api)
    (end,) = await messages(await open_socket(api, f"{POD}/exec?command=vim"))
    assert "executable file not found" in json.loads(end[1:])["message"]


async def test_a_container_that_does_not_run_has_no_commands(api: Api) -> None:
    place_pod(api, {"waiting": {"reason": "CrashLoopBackOff"}})
    assert await status_of(api, f"{POD}/exec?command=ls") == 500
