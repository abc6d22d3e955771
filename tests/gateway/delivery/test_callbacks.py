"""Who is told of an end, with what, and how often."""

from __future__ import annotations

import base64
import hmac
import json
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.delivery import callbacks
from servedeck.gateway.delivery.callback_resolver import CallbackResolver
from servedeck.gateway.delivery.callback_targets import (
    CallbackRefusedError,
    check_target,
    is_allowed_address,
)
from servedeck.gateway.delivery.callbacks import sign
from tests.gateway.delivery.gateway import Gateway, MakeGateway
from tests.gateway.delivery.inference_server import InferenceServer, answers, serve
from tests.waiting import wait_until

KEY = b"0123456789abcdef0123456789abcdef"


async def make(
    make_gateway: MakeGateway, tmp_path: Path, url: str, receiver: InferenceServer, **settings: Any
) -> tuple[Gateway, str]:
    """A gateway, and the URL of the receiver by the name localhost."""
    (tmp_path / "secret").write_bytes(b"whsec_" + base64.b64encode(KEY) + b"\n")
    host = "localhost:" + receiver.url.rpartition(":")[2]
    values = {"callback_hosts": (host,), "callback_secret_file": tmp_path / "secret", **settings}
    return await make_gateway(url, **values), f"http://{host}/hook?x=1"


async def test_an_end_is_told_and_signed(tmp_path: Path, make_gateway: MakeGateway) -> None:
    async with (
        serve(answers(200, b"secret result")) as server,
        serve(answers(204, b"")) as receiver,
    ):
        gateway, url = await make(
            make_gateway, tmp_path, server.url, receiver, public_path="/team/llama"
        )
        id = await gateway.submit(callback=url, credentials=[("authorization", "Bearer key")])
        async with gateway.running():
            await gateway.wait_for(id)
            (request,) = await wait_until(lambda: receiver.requests)
            await wait_until(lambda: gateway.metric("callbacks_total", outcome="delivered"))
            # nothing more is due
            assert await gateway.store.claim_callbacks(10, 60) == []
        assert request.line == b"POST /hook?x=1 HTTP/1.1"
        stamp, name = request.header("webhook-timestamp"), request.header("webhook-id")
        signed = f"{name}.{stamp}.".encode() + request.body
        expected = base64.b64encode(hmac.digest(KEY, signed, sha256)).decode()
        assert request.header("webhook-signature") == f"v1,{expected}"
        body = json.loads(request.body)
        assert body["type"] == "task.completed"
        base = f"/team/llama/-/async/tasks/{id}"
        assert body["data"]["id"] == id
        assert body["data"]["status_url"] == base
        assert body["data"]["result_url"] == f"{base}/result"
        assert b"secret result" not in request.body
        assert b"key" not in request.body
        assert request.header("authorization") is None


async def test_a_failed_callback_is_tried_again(
    tmp_path: Path, make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "_DELAYS", (0.001, 0.001, 0.001, 0.001))
    monkeypatch.setattr(callbacks, "_POLL_SECONDS", (0.01, 0.01))
    async with serve(answers()) as server, serve(answers(500), answers(302), answers()) as receiver:
        gateway, url = await make(make_gateway, tmp_path, server.url, receiver)
        id = await gateway.submit(callback=url)
        async with gateway.running():
            await wait_until(lambda: gateway.metric("callbacks_total", outcome="delivered"))
        assert len(receiver.requests) == 3
        assert len({one.header("webhook-id") for one in receiver.requests}) == 1
        assert (await gateway.find(id)).state is TaskState.COMPLETED


@pytest.mark.parametrize(("status", "requests"), [(500, 5), (410, 1)])
async def test_a_callback_is_given_up(
    tmp_path: Path,
    make_gateway: MakeGateway,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    requests: int,
) -> None:
    monkeypatch.setattr(callbacks, "_DELAYS", (0.001, 0.001, 0.001, 0.001))
    monkeypatch.setattr(callbacks, "_POLL_SECONDS", (0.01, 0.01))
    async with serve(answers()) as server, serve(answers(status)) as receiver:
        gateway, url = await make(make_gateway, tmp_path, server.url, receiver)
        await gateway.submit(callback=url)
        outcome = "given_up" if status == 500 else "refused"
        async with gateway.running():
            await wait_until(lambda: gateway.metric("callbacks_total", outcome=outcome))
        assert len(receiver.requests) == requests
        assert await gateway.store.claim_callbacks(10, 60) == []


async def test_a_host_that_is_no_longer_allowed_gets_nothing(
    tmp_path: Path, make_gateway: MakeGateway
) -> None:
    async with serve(answers()) as server, serve(answers()) as receiver:
        gateway, url = await make(
            make_gateway, tmp_path, server.url, receiver, callback_hosts=("other:1",)
        )
        await gateway.submit(callback=url)
        async with gateway.running():
            await wait_until(lambda: gateway.metric("callbacks_total", outcome="not_allowed"))
        assert not receiver.requests


ALLOWED = ("Hooks.example.com", "svc.example.com:8443", "10.0.0.5", "a.team.svc")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/a?b=c",
        "http://hooks.example.com",
        "https://HOOKS.example.com./",
        "https://svc.example.com:8443/",
        "http://10.0.0.5/",
        "http://a.team.svc/",
    ],
)
def test_allowed_urls(url: str) -> None:
    check_target(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "ftp://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://svc.example.com/",
        "https://evil.com/",
        "https://hooks.example.com@evil.com/",
        "https://hooks.example.com.evil.com/",
        "https://evil.com\\@hooks.example.com/",
        "https://user@hooks.example.com/",
        "http://167772165/",
        "http://[::ffff:10.0.0.5]/",
        "http://10.0.0.6/",
        "http://hooks.example.com:x/",
    ],
)
def test_refused_urls(url: str) -> None:
    with pytest.raises(CallbackRefusedError):
        check_target(url, ALLOWED)


@pytest.mark.parametrize(
    ("address", "public", "meant"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f::1", True, True),
        ("10.0.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("100.64.0.1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("::127.0.0.1", False, True),
        ("::10.0.0.1", False, True),
        ("64:ff9b:1::7f00:1", False, True),
        ("fec0::1", False, True),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
    ],
)
def test_addresses(address: str, public: bool, meant: bool) -> None:
    assert is_allowed_address(address, "hooks.example.com") is public
    assert is_allowed_address(address, "hooks.example.com:443") is meant
    assert is_allowed_address(address, "a.team.svc") is meant


async def test_a_public_name_with_a_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve(answers()) as receiver:
        port = int(receiver.url.rpartition(":")[2])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_args, **_kwargs: found)
        monkeypatch.setattr(
            "servedeck.gateway.delivery.callback_targets._DEFAULT_PORTS", {"http": port}
        )
        for entry, is_reached in (
            ("hooks.example.com", False),
            (f"hooks.example.com:{port}", True),
        ):
            connector = TCPConnector(resolver=CallbackResolver((entry,)), use_dns_cache=False)
            async with ClientSession(connector=connector) as session:
                try:
                    async with session.post(f"http://hooks.example.com:{port}/"):
                        reached = True
                except OSError:
                    reached = False
            assert reached is is_reached
        assert len(receiver.requests) == 1


def test_the_signature_is_that_of_the_specification() -> None:
    # the example of the Standard Webhooks reference libraries
    headers = sign(
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_can_be_replaced() -> None:
    one = sign(b"a" * 32, "x", 1, b"")["webhook-signature"]
    other = sign(b"b" * 32, "x", 1, b"")["webhook-signature"]
    both = sign(b"a" * 32 + b"\n" + b"b" * 32 + b"\n", "x", 1, b"")["webhook-signature"]
    assert both == f"{one} {other}"


@pytest.mark.parametrize("secret", [b"", b"\n", b"whsec_???"])
def test_a_secret_that_cannot_sign_is_refused(secret: bytes) -> None:
    with pytest.raises(CallbackRefusedError):
        sign(secret, "x", 1, b"")
