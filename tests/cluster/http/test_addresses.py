"""Addresses of API servers and proxies, and what is sent where."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from servedeck.cluster.auth.kubeconfig import KubeconfigCluster
from servedeck.cluster.http import connection as connection_module
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ConfigError,
    ConnectionFailedError,
    ConnectionLostError,
)
from servedeck.cluster.http.proxies import select_proxy
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import (
    FakeApiServer,
    open_connection,
    respond_with_status,
    serve,
    write_kubeconfig,
)


async def respond_ok(_: web.Request) -> web.StreamResponse:
    return web.json_response({"fine": True})


async def get_once(file: Path, environ: dict[str, str] | None = None) -> bytes:
    connection = await open_connection(file, environ)
    try:
        return await connection.get("/fine")
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("addresses")
    create_authority(folder)
    create_authority(folder, "other")
    issue_certificate(folder, "server")
    return folder


@pytest.fixture
async def tls_api(certificates: Path) -> AsyncIterator[FakeApiServer]:
    api = FakeApiServer()
    api.add_route("/fine", respond_ok)
    async with serve(api, tls=make_server_context(certificates, "server")):
        yield api


# -- certificates ---------------------------------------------------------------------------------

BROKEN = b"-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "before",
    [
        b"",
        "# Prüfstelle für Zertifikate\nsubject=CN = ca\n".encode(),
        BROKEN,
        b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        b"other.crt",
        b"ca.key",
        b"ca.crt",
    ],
)
async def test_a_certificate_authority_is_read_as_in_go(
    certificates: Path, tls_api: FakeApiServer, tmp_path: Path, before: bytes
) -> None:
    if before.endswith((b".crt", b".key")):
        before = (certificates / before.decode()).read_bytes()
    bundle = before + (certificates / "ca.crt").read_bytes().replace(b"\n", b"\r\n")
    data = {"certificate-authority-data": base64.b64encode(bundle).decode()}
    assert await get_once(write_kubeconfig(tmp_path / "config", tls_api.url, None, **data))


@pytest.mark.parametrize("content", [BROKEN, b"nothing", b"key"])
async def test_without_any_certificate_the_system_s_authorities_are_not_trusted_instead(
    certificates: Path, tls_api: FakeApiServer, tmp_path: Path, content: bytes
) -> None:
    if content == b"key":
        content = (certificates / "ca.key").read_bytes()
    data = {"certificate-authority-data": base64.b64encode(content).decode()}
    with pytest.raises(ConfigError, match="contains no certificate"):
        await get_once(write_kubeconfig(tmp_path / "config", tls_api.url, None, **data))


async def test_a_certificate_for_another_name_says_what_to_do(
    certificates: Path, tls_api: FakeApiServer, tmp_path: Path
) -> None:
    data = {"certificate-authority": str(certificates / "ca.crt")}
    server = tls_api.url.replace("127.0.0.1", "localhost")
    with pytest.raises(ConnectionFailedError, match=r"Hostname mismatch.* tls-server-name"):
        await get_once(write_kubeconfig(tmp_path / "config", server, None, **data))


async def test_a_client_certificate_that_is_refused_is_said(
    certificates: Path, tmp_path: Path
) -> None:
    """With TLS 1.3 that comes after the handshake, in place of a response."""
    context = make_server_context(certificates, "server")
    context.verify_mode = ssl.CERT_REQUIRED

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while received := await reader.read(1 << 16):
            incoming.write(received)
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
            except ssl.SSLError:
                break
        writer.write(outgoing.read())  # asyncio's own server would not send the alert
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        data = {"certificate-authority": str(certificates / "ca.crt")}
        file = write_kubeconfig(tmp_path / "config", f"https://127.0.0.1:{port}", None, **data)
        with pytest.raises(ConnectionFailedError, match=r"refused the TLS .*CERTIFICATE_REQUIRED"):
            await get_once(file)


# -- credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user", [{"token": "s3cret"}, {"username": "u", "password": "s3cret"}, {"tokenFile": "/none"}]
)
async def test_no_credentials_are_sent_unencrypted_to_another_machine(
    tmp_path: Path, user: dict[str, str]
) -> None:
    proxy = FakeApiServer()
    proxy.add_route("/fine", respond_with_status(401, "Unauthorized"))
    async with serve(proxy):
        file = write_kubeconfig(
            tmp_path / "config", "http://kube.invalid", user, **{"proxy-url": proxy.url}
        )
        with pytest.raises(ApiError, match=r"not sent unencrypted .* use https://"):
            await get_once(file)
    assert "Authorization" not in proxy.requests[0].headers


async def test_credentials_are_sent_to_a_proxy_on_this_machine(
    api: FakeApiServer, tmp_path: Path
) -> None:
    api.add_route("/fine", respond_ok)
    for host in ("127.0.0.1", "localhost"):
        server = api.url.replace("127.0.0.1", host)
        await get_once(write_kubeconfig(tmp_path / "config", server, {"token": "t"}))
        assert api.requests[-1].headers["Authorization"] == "Bearer t"


async def test_user_and_password_of_the_address_are_sent_as_by_kubectl(
    api: FakeApiServer, tmp_path: Path
) -> None:
    api.add_route("/fine", respond_ok)
    server = api.url.replace("http://", "http://bob:p%40ss@")
    for user in (None, {"token": "t"}):
        await get_once(write_kubeconfig(tmp_path / "config", server, user))
        sent = api.requests[-1].headers["Authorization"]
        assert sent == f"Basic {base64.b64encode(b'bob:p@ss').decode()}"


async def test_the_token_of_the_entry_stands_in_for_a_file_that_is_missing(
    api: FakeApiServer, tmp_path: Path
) -> None:
    api.add_route("/fine", respond_ok)
    user = {"token": "t", "tokenFile": "gone"}
    await get_once(write_kubeconfig(tmp_path / "config", api.url, user))
    assert api.requests[-1].headers["Authorization"] == "Bearer t"
    (tmp_path / "gone").write_text("newer")
    await get_once(write_kubeconfig(tmp_path / "config", api.url, user))
    assert api.requests[-1].headers["Authorization"] == "Bearer newer"


@pytest.mark.parametrize(
    "user",
    [
        {"as": "a\nImpersonate-Group: system:masters"},
        {"as": "a", "as-groups": ["b\r\nc"]},
        {"as": "a", "as-user-extra": {"x": ["\x7f"]}},
    ],
)
async def test_impersonation_cannot_add_headers(tmp_path: Path, user: dict[str, object]) -> None:
    file = write_kubeconfig(tmp_path / "config", "https://x", {"token": "t", **user})
    with pytest.raises(ConfigError, match="line break or another control character"):
        await open_connection(file)


# -- responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    api: FakeApiServer, connection: Connection, method: str, status: int
) -> None:
    """A creation that is redirected with 301 would become a list, and look like a success."""
    other = FakeApiServer()
    other.add_route("/fine", respond_ok)
    async with serve(other):

        async def redirect(_: web.Request) -> web.StreamResponse:
            location = other.url.replace("http://", "http://u:s3cret@") + "/fine?token=s3cret"
            return web.Response(status=status, headers={"Location": location})

        api.add_route("/fine", redirect)
        with pytest.raises(ApiError, match=f"redirects the request to {other.url}") as caught:
            await connection.request(method, "/fine", body={} if method != "GET" else None)
        assert caught.value.code == status
        assert "s3cret" not in str(caught.value)
    assert other.requests == []


@pytest.mark.parametrize("location", ["", "/login", "https://[::1", "//login"])
async def test_a_redirect_to_nowhere_is_a_sentence(
    api: FakeApiServer, connection: Connection, location: str
) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location} if location else {})

    api.add_route("/fine", redirect)
    with pytest.raises(ApiError, match="redirects the request, which"):
        await connection.get("/fine")


async def test_a_long_header_of_a_proxy_with_a_login_is_read(
    api: FakeApiServer, connection: Connection
) -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.json_response({}, headers={"Set-Cookie": "x" * 20_000})

    api.add_route("/fine", respond)
    await connection.get("/fine")


async def test_reads_of_a_command_wait_where_the_server_limits_the_rate(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_MAX_RATE_LIMIT_WAIT", 0.01)
    limited = respond_with_status(429, "TooManyRequests", Retry_After="1")
    api.add_route("/fine", respond_ok)
    api.faults["other"] = [limited] * 2
    assert await connection.get_json("/fine") == {"fine": True}
    api.faults["other"] = [limited] * 9
    with pytest.raises(ApiError):
        await connection.get_json("/fine")
    assert len(api.requests) == 3 + 5
    with pytest.raises(ApiError):  # what has pauses of its own
        await connection.get("/fine")
    assert len(api.requests) == 3 + 5 + 1


# -- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proxy",
    [
        "bob:s3cret@host:3128",
        "localhost:3128",
        "//bob:s3cret@host",
        "http://",
        "http://bob:s3cret@",
        "http://bob:s3cret@host:99999",
        "http://bob:s3cret@host:port",
        "http://bob:s3cret@[::1",
        "http://bob:s3 cret@host",
        "http://bob:s3\ncret@host",
        "socks4://bob:s3cret@host",
        "socks5://bob:s3cret@host:99999",
        "socks5://bob:s3cret@",
        "bob:s3cret@host\n://",
    ],
)
async def test_a_proxy_that_is_none_is_a_one_line_error_without_its_password(
    tmp_path: Path, proxy: str
) -> None:
    file = write_kubeconfig(tmp_path / "config", "https://kube", None, **{"proxy-url": proxy})
    with pytest.raises(ConfigError, match=r"The proxy.* in proxy-url of the cluster") as caught:
        await open_connection(file)
    assert "cret" not in str(caught.value)


async def test_what_answers_in_place_of_a_proxy_is_said_without_its_password(
    tmp_path: Path,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-server\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        proxy = f"http://bob:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        file = write_kubeconfig(tmp_path / "config", "https://kube", None, **{"proxy-url": proxy})
        with pytest.raises(ConnectionLostError, match="does not answer in HTTP") as caught:
            await get_once(file)
    assert "s3cret" not in str(caught.value)


async def test_an_unknown_host_is_that_of_the_proxy(tmp_path: Path) -> None:
    proxy = {"proxy-url": "http://bob:s3cret@nowhere.invalid:3128"}
    file = write_kubeconfig(tmp_path / "config", "https://kube", None, **proxy)
    with pytest.raises(ConnectionFailedError, match=r"no host 'nowhere\.invalid' of the proxy"):
        await get_once(file)


@pytest.mark.parametrize(
    ("server", "no_proxy", "is_used"),
    [
        ("https://a.corp", "a.corp:443", False),
        ("https://a.corp", "a.corp:6443", True),
        ("http://a.corp", "a.corp:80", False),
        ("http://a.corp", "a.corp:443", True),
        ("https://10.0.0.1", "10.0.0.1:443", False),
        ("https://[fd00::1]:6443", "fd00:0::1", False),
        ("https://[fd00::1]:6443", "[fd00::1]", False),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", False),
        ("https://[fd00::1]:6443", "[fd00::1]:443", True),
        ("https://[fd00::1]:6443", "[fd00::2]", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("https://corp", "*.corp", True),
    ],
)
def test_no_proxy_names_addresses_and_ports_as_in_go(
    server: str, no_proxy: str, is_used: bool
) -> None:
    environ = {"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    proxy = select_proxy(KubeconfigCluster("c", server), environ)
    assert proxy == ("http://p:1" if is_used else None)
