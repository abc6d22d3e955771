"""API servers behind a SOCKS5 proxy, by the kubeconfig or the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from servedeck.cluster.http.errors import ConfigError, ConnectionFailedError
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import (
    FakeApiServer,
    bind_port,
    open_connection,
    serve,
    write_kubeconfig,
)
from tests.cluster.http.test_addresses import get_once, respond_ok
from tests.cluster.socks_proxy import SocksProxy

NAME = "api.cluster.invalid"


async def stream_lines(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"one\ntwo\n")
    return response


async def echo(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
    await socket.prepare(request)
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


def make_api() -> FakeApiServer:
    api = FakeApiServer()
    api.add_route("/fine", respond_ok)
    api.add_route("/lines", stream_lines)
    api.add_route("/echo", echo)
    return api


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("socks")
    create_authority(folder)
    create_authority(folder, "other")
    issue_certificate(folder, "named", alt_names=f"DNS:{NAME}")
    issue_certificate(folder, "server")
    return folder


@pytest.mark.parametrize(
    ("scheme", "user", "login"),
    [
        ("socks5", None, ""),
        ("SOCKS5H", None, ""),
        ("socks5", ("bob", "s3cret/@"), "bob:s3cret%2F%40@"),
    ],
)
async def test_requests_streams_and_websockets_go_through_the_proxy(
    tmp_path: Path, certificates: Path, scheme: str, user: tuple[str, str] | None, login: str
) -> None:
    tls = make_server_context(certificates, "named")
    async with serve(make_api(), tls=tls) as port, SocksProxy(port, user).serve() as proxy:
        file = write_kubeconfig(
            tmp_path / "config",
            f"https://{NAME}:6443",
            {"token": "t"},
            **{
                "proxy-url": f"{scheme}://{login}127.0.0.1:{proxy.port}",
                "certificate-authority": str(certificates / "ca.crt"),
            },
        )
        connection = await open_connection(file)
        try:
            assert await connection.get("/fine") == b'{"fine": true}'
            async with connection.stream("/lines") as stream:
                assert [line async for line in stream] == [b"one", b"two"]
            protocols = ("v4.channel.k8s.io",)
            async with connection.websocket("/echo", (), protocols) as socket:
                await socket.send(b"\x00hello")
                assert await socket.receive() == b"\x00hello"
        finally:
            await connection.close()
        # The proxy resolves the name, which may be known in its network only.
        assert set(proxy.asked) == {f"{NAME}:6443"}


async def test_the_proxy_of_the_environment(tmp_path: Path, certificates: Path) -> None:
    tls = make_server_context(certificates, "named")
    authority = {"certificate-authority": str(certificates / "ca.crt")}
    async with serve(make_api(), tls=tls) as port, SocksProxy(port).serve() as proxy:
        file = write_kubeconfig(tmp_path / "config", f"https://{NAME}", None, **authority)
        environ = {"HTTPS_PROXY": f"socks5://127.0.0.1:{proxy.port}"}
        assert await get_once(file, environ) == b'{"fine": true}'
        assert proxy.asked == [f"{NAME}:443"]


async def test_an_address_is_that_of_the_certificate(tmp_path: Path, certificates: Path) -> None:
    api = make_api()
    tls = make_server_context(certificates, "server")
    async with serve(api, tls=tls) as port, SocksProxy(port).serve() as proxy:
        options = {"proxy-url": f"socks5://127.0.0.1:{proxy.port}"}
        trusted = {**options, "certificate-authority": str(certificates / "ca.crt")}
        file = write_kubeconfig(tmp_path / "config", api.url, None, **trusted)
        assert await get_once(file) == b'{"fine": true}'
        for changes, expected in (
            ({"certificate-authority": str(certificates / "other.crt")}, "is not trusted"),
            ({"server": f"https://{NAME}"}, "set tls-server-name"),
        ):
            cluster = {"server": api.url, **trusted, **changes}
            server = cluster.pop("server")
            file = write_kubeconfig(tmp_path / "config", server, None, **cluster)
            with pytest.raises(ConnectionFailedError, match=expected):
                await get_once(file)


async def test_a_server_without_tls_is_said_so(tmp_path: Path) -> None:
    async with serve(make_api()) as port, SocksProxy(port).serve() as proxy:
        options = {"proxy-url": f"socks5://127.0.0.1:{proxy.port}"}
        file = write_kubeconfig(tmp_path / "config", f"https://{NAME}", None, **options)
        with pytest.raises(ConnectionFailedError, match="TLS with"):
            await get_once(file)
        file = write_kubeconfig(tmp_path / "config", f"http://{NAME}", None, **options)
        assert await get_once(file) == b'{"fine": true}'


@pytest.mark.parametrize(
    ("user", "reply", "expected"),
    [
        (("bob", "other"), 0, r"did not connect to api\.cluster\.invalid:443 \(.*password"),
        (None, 5, r"did not connect to api\.cluster\.invalid:443 \(Connection refused"),
        (None, 4, r"did not connect to api\.cluster\.invalid:443 \(Host unreachable"),
    ],
)
async def test_what_the_proxy_refuses_is_said_without_the_password(
    tmp_path: Path, user: tuple[str, str] | None, reply: int, expected: str
) -> None:
    async with SocksProxy(1, user).serve() as proxy:
        proxy.reply = reply
        options = {"proxy-url": f"socks5://bob:s3cret@127.0.0.1:{proxy.port}"}
        if user is None:
            options = {"proxy-url": f"socks5://127.0.0.1:{proxy.port}"}
        file = write_kubeconfig(tmp_path / "config", f"https://{NAME}", None, **options)
        with pytest.raises(ConnectionFailedError, match=expected) as caught:
            await get_once(file)
        assert "s3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_proxy_that_does_not_run_is_named(tmp_path: Path) -> None:
    with bind_port() as held:
        port = held.getsockname()[1]
        options = {"proxy-url": f"socks5://bob:s3cret@127.0.0.1:{port}"}
        file = write_kubeconfig(tmp_path / "config", f"https://{NAME}", None, **options)
        expected = rf"The proxy 127\.0\.0\.1:{port} cannot be reached; check proxy-url"
        with pytest.raises(ConnectionFailedError, match=expected) as caught:
            await get_once(file)
    assert "s3cret" not in str(caught.value)


async def test_another_server_name_is_no_choice_there(tmp_path: Path) -> None:
    options = {"proxy-url": "socks5://127.0.0.1", "tls-server-name": "kube"}
    file = write_kubeconfig(tmp_path / "config", f"https://{NAME}", None, **options)
    with pytest.raises(ConfigError, match="tls-server-name of the cluster 'cluster' cannot be"):
        await open_connection(file)
