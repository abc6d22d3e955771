from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck import __version__
from servedeck.cluster.auth.kubeconfig import KubeconfigCluster
from servedeck.cluster.http import connection as connection_module
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConfigError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidResponseError,
    ReadOnlyError,
    ReadTimeoutError,
)
from servedeck.cluster.http.proxies import select_proxy
from servedeck.cluster.resources import POD
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import (
    FakeApiServer,
    bind_port,
    open_connection,
    respond_with_status,
    serve,
    stream_chunks,
    write_kubeconfig,
)
from tests.waiting import TimeSkipper, with_timeout


async def respond_ok(_: web.Request) -> web.StreamResponse:
    return web.json_response({"fine": True})


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    create_authority(folder)
    create_authority(folder, "other")
    issue_certificate(folder, "server")
    issue_certificate(folder, "elsewhere", alt_names="DNS:kube.example")
    issue_certificate(folder, "client")
    issue_certificate(folder, "client2")
    return folder


async def get_once(file: Path, environ: dict[str, str] | None = None, path: str = "/fine") -> bytes:
    connection = await open_connection(file, environ)
    try:
        return await connection.get(path)
    finally:
        await connection.close()


# -- what is sent ---------------------------------------------------------------------------------


async def test_user_agent_and_authorization_headers(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add_route("/fine", respond_ok)
    await connection.get("/fine", {"labelSelector": "a in (b,c),!d"})
    sent = api.requests[0]
    assert sent.headers["User-Agent"] == f"servedeck/{__version__}"
    assert sent.headers["Authorization"] == "Bearer secret"
    assert sent.query["labelSelector"] == "a in (b,c),!d"
    assert (connection.context_name, connection.namespace, connection.user_name) == (
        "here",
        "default",
        "me",
    )


async def test_bytes_go_out_as_they_are_and_objects_as_json(
    api: FakeApiServer, connection: Connection
) -> None:
    bodies: list[tuple[str, bytes]] = []

    async def keep(request: web.Request) -> web.StreamResponse:
        bodies.append((request.headers["Content-Type"], await request.read()))
        return web.json_response({}, status=201)

    api.add_route("/fine", keep)
    answer = await connection.request(
        "PATCH", "/fine", body=b"a: 1", content_type="application/apply-patch+yaml"
    )
    await connection.request("POST", "/fine", body={"a": 1})
    assert answer.status == 201
    assert bodies == [
        ("application/apply-patch+yaml", b"a: 1"),
        ("application/json", b'{"a":1}'),
    ]


async def test_impersonation_headers(api: FakeApiServer, tmp_path: Path) -> None:
    api.add_route("/fine", respond_ok)
    user = {
        "token": "t",
        "as": "eve",
        "as-uid": "7",
        "as-groups": ["one", "two, three"],
        "as-user-extra": {"a.io/scopes": ["x", "y"]},
    }
    await get_once(write_kubeconfig(tmp_path / "config", api.url, user))
    headers = api.requests[0].headers
    assert headers["Impersonate-User"] == "eve"
    assert headers["Impersonate-Uid"] == "7"
    assert headers.getall("Impersonate-Group") == ["one", "two, three"]
    assert headers.getall("Impersonate-Extra-a.io%2Fscopes") == ["x", "y"]


async def test_impersonated_groups_without_a_user_are_rejected(
    api: FakeApiServer, tmp_path: Path
) -> None:
    file = write_kubeconfig(tmp_path / "config", api.url, {"token": "t", "as-groups": ["admins"]})
    with pytest.raises(ConfigError, match="without `as`"):
        await open_connection(file)


async def test_user_and_password(api: FakeApiServer, tmp_path: Path) -> None:
    api.add_route("/fine", respond_ok)
    await get_once(
        write_kubeconfig(tmp_path / "config", api.url, {"username": "u", "password": "p:1"})
    )
    sent = api.requests[0].headers["Authorization"]
    assert sent == f"Basic {base64.b64encode(b'u:p:1').decode()}"


async def test_no_compression_where_the_kubeconfig_says_so(
    api: FakeApiServer, tmp_path: Path
) -> None:
    api.add_route("/fine", respond_ok)
    await get_once(
        write_kubeconfig(tmp_path / "config", api.url, None, **{"disable-compression": "true"})
    )
    assert api.requests[0].headers["Accept-Encoding"] == "identity"


async def test_readonly_changes_nothing(api: FakeApiServer, tmp_path: Path) -> None:
    api.add_route("/fine", respond_ok)
    api.add_route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", respond_ok)
    connection = await open_connection(
        write_kubeconfig(tmp_path / "config", api.url), readonly=True
    )
    try:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(ReadOnlyError, match="--readonly"):
                await connection.request(method, "/fine", body={})
        with pytest.raises(ReadOnlyError):  # the API server ignores this query
            await connection.request("DELETE", "/fine", params={"dryRun": "All"}, body={})
        await connection.request("DELETE", "/fine", body={"dryRun": ["All"]})
        await connection.request("DELETE", "/fine", params={"dryRun": "All"})
        await connection.request("PATCH", "/fine", params={"dryRun": "All"}, body={})
        await connection.request(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body={}
        )
        assert [request.method for request in api.requests] == [
            "DELETE",
            "DELETE",
            "PATCH",
            "POST",
        ]
    finally:
        await connection.close()


# -- what comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "message", "expected"),
    [
        (401, "Unauthorized", "", "does not accept the credentials of user 'me'"),
        (403, "Forbidden", 'User "system:anonymous" cannot', "treats the request as anonymous"),
        (403, "Forbidden", "exceeded quota", "forbids this (403): exceeded quota"),
        (404, "NotFound", "no such thing", "rejected the request (404): no such thing"),
        (409, "Conflict", "changed", "rejected the request (409): changed"),
        (429, "TooManyRequests", "slow down", "limits the request rate (429); retry after 7 s"),
        (500, "InternalError", "etcd \x1b[31mdied", "failed (500): etcd died"),
    ],
)
async def test_rejections_are_sentences(
    api: FakeApiServer, connection: Connection, code: int, reason: str, message: str, expected: str
) -> None:
    api.add_route("/fine", respond_with_status(code, reason, message, Retry_After="7"))
    with pytest.raises(ApiError) as caught:
        await connection.get("/fine")
    assert expected in str(caught.value)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert caught.value.retry_after == 7.0
    assert caught.value.exit_code == 1


async def test_web_page_in_place_of_a_status(api: FakeApiServer, connection: Connection) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, text="<html>" + "x" * 999_999, content_type="text/html")

    api.add_route("/fine", page)
    with pytest.raises(ApiError, match="answered with a web page") as caught:
        await connection.get("/fine")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<!DOCTYPE html><title>Log in</title>", "answered with a web page"),
        ("\n <html>", "answered with a web page"),
        ("", "JSON that cannot be read"),
        ("{", "JSON that cannot be read"),
        ("log\x1b[31min", "JSON that cannot be read"),
        ("[]", "not answer with a JSON object"),
        ("null", "not answer with a JSON object"),
        ('"text"', "not answer with a JSON object"),
    ],
)
async def test_a_response_that_is_not_an_object_is_a_one_line_error(
    api: FakeApiServer, connection: Connection, body: str, expected: str
) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, content_type="text/html")

    api.add_route("/fine", page)
    with pytest.raises(InvalidResponseError, match=expected):
        await connection.get_json("/fine")
    answer = await connection.request("PATCH", "/fine", body={})
    with pytest.raises(InvalidResponseError, match=expected):
        answer.json()
    api.add_route("/version", page)
    assert await connection.server_version() is None


async def test_an_answer_with_bytes_that_are_no_text_is_still_read(
    api: FakeApiServer, connection: Connection
) -> None:
    async def odd(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"kind": "caf\xe9"}')

    api.add_route("/fine", odd)
    assert await connection.get_json("/fine") == {"kind": "caf\ufffd"}


async def test_answers_are_bounded(api: FakeApiServer, connection: Connection) -> None:
    async def long(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 2_000_000)

    api.add_route("/fine", long)
    with pytest.raises(InvalidResponseError, match="longer than 1 MiB"):
        await connection.get("/fine", max_bytes=1 << 20)


async def test_answer_that_breaks_off(api: FakeApiServer, connection: Connection) -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    api.add_route("/fine", breaks)
    with pytest.raises(ConnectionLostError, match="was lost in the middle of a response"):
        await connection.get("/fine")


async def test_a_read_timeout_ends_a_request_and_a_stream(
    api: FakeApiServer, connection: Connection, skip_time: TimeSkipper
) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, b"one\ntw", end=False)

    api.add_route("/fine", silent)
    with pytest.raises(ReadTimeoutError):
        await connection.request("GET", "/fine", timeout=0.2)
    lines = []
    with pytest.raises(ReadTimeoutError, match="sent nothing"):
        async with connection.stream("/fine", read_timeout=900) as stream:
            async for line in stream:
                lines.append(line)
                skip_time(901)
    assert lines == [b"one"]


async def test_stream_gives_whole_lines_however_they_are_cut(
    api: FakeApiServer, connection: Connection
) -> None:
    text = b"".join(b"line %d %s\n" % (index, b"x" * (index % 50)) for index in range(500))
    chunks = [text[index : index + 37] for index in range(0, len(text), 37)]

    async def pieces(request: web.Request) -> web.StreamResponse:
        return await stream_chunks(request, *chunks, b"unfinished")

    api.add_route("/fine", pieces)
    async with connection.stream("/fine") as stream:
        lines = [line async for line in stream]
    assert lines == text.splitlines()


async def test_a_stream_leaves_an_open_connection_to_the_next_request(
    api: FakeApiServer, connection: Connection
) -> None:
    clients: dict[str, int] = {}

    async def listed(request: web.Request) -> None:
        assert request.transport
        clients[f"list {len(clients)}"] = request.transport.get_extra_info("peername")[1]

    async def watched(request: web.Request) -> web.StreamResponse:
        assert request.transport
        clients["watch"] = request.transport.get_extra_info("peername")[1]
        return await stream_chunks(request, b"{}\n", end=False)

    api.faults["list"] = [listed, listed]
    api.faults["watch"] = [watched]
    await connection.get(api.path)
    async with connection.stream(api.path, {"watch": "true"}) as stream:
        await anext(aiter(stream.line_batches()))
    await connection.get(api.path)
    assert clients["list 0"] == clients["list 2"] != clients["watch"]


# -- no connection --------------------------------------------------------------------------------


async def test_nothing_listens(tmp_path: Path) -> None:
    with bind_port() as held:
        port = held.getsockname()[1]
        with pytest.raises(
            ConnectionFailedError, match=r"Connection refused by .*is the cluster up\?"
        ):
            await get_once(write_kubeconfig(tmp_path / "config", f"https://127.0.0.1:{port}"))


async def test_a_path_that_may_hold_a_token_stands_in_no_sentence(tmp_path: Path) -> None:
    async with serve(FakeApiServer()) as port:
        server = f"http://127.0.0.1:{port}/s3cret"
        with pytest.raises(ApiError) as rejected:
            await get_once(write_kubeconfig(tmp_path / "config", server, {"token": "wrong"}))
    with bind_port() as held, pytest.raises(ConnectionFailedError) as gone:
        port = held.getsockname()[1]
        await get_once(write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{port}/s3cret"))
    for text in (str(rejected.value), str(gone.value)):
        assert "s3cret" not in text
    assert f"127.0.0.1:{port}" in str(gone.value)


async def test_no_such_host(tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path / "config", "https://nowhere.invalid:6443")
    with pytest.raises(ConnectionFailedError, match=r"There is no host 'nowhere\.invalid'"):
        await get_once(file)


@pytest.mark.parametrize("server", ["https://:6443", "https://host:port", "nonsense://x"])
async def test_an_invalid_address(tmp_path: Path, server: str) -> None:
    with pytest.raises(ClusterError) as caught:
        await get_once(write_kubeconfig(tmp_path / "config", server))
    assert "Unexpected" not in str(caught.value)


async def test_plain_server_behind_https(api: FakeApiServer, tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path / "config", api.url.replace("http:", "https:"))
    with pytest.raises(ConnectionFailedError, match="TLS with"):
        await get_once(file)


# -- TLS ------------------------------------------------------------------------------------------


async def test_authority_of_the_kubeconfig_is_trusted(certificates: Path, tmp_path: Path) -> None:
    api = FakeApiServer()
    api.add_route("/fine", respond_ok)
    data = base64.b64encode((certificates / "ca.crt").read_bytes()).decode()
    async with serve(api, tls=make_server_context(certificates, "server")):
        file = write_kubeconfig(
            tmp_path / "a", api.url, None, **{"certificate-authority-data": data}
        )
        assert await get_once(file) == b'{"fine": true}'
        other = {"certificate-authority": str(certificates / "other.crt")}
        with pytest.raises(ConnectionFailedError, match="is not trusted"):
            await get_once(write_kubeconfig(tmp_path / "b", api.url, None, **other))
        insecure = {"insecure-skip-tls-verify": "true"}
        assert await get_once(write_kubeconfig(tmp_path / "c", api.url, None, **insecure))
        broken = {"certificate-authority-data": base64.b64encode(b"nothing").decode()}
        with pytest.raises(ConfigError, match="contains no certificate"):
            await get_once(write_kubeconfig(tmp_path / "d", api.url, None, **broken))


async def test_server_name_of_the_kubeconfig(certificates: Path, tmp_path: Path) -> None:
    api = FakeApiServer()
    api.add_route("/fine", respond_ok)
    ca = {"certificate-authority": str(certificates / "ca.crt")}
    async with serve(api, tls=make_server_context(certificates, "elsewhere")):
        with pytest.raises(ConnectionFailedError, match="is not trusted"):
            await get_once(write_kubeconfig(tmp_path / "a", api.url, None, **ca))
        named = {**ca, "tls-server-name": "kube.example"}
        assert await get_once(write_kubeconfig(tmp_path / "b", api.url, None, **named))


async def test_client_certificate_is_shown_and_leaves_no_file(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    api = FakeApiServer()
    subjects: list[Any] = []

    async def who(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert") or {}
        subjects.append(dict(pair[0] for pair in shown.get("subject", ())).get("commonName"))
        return web.json_response({})

    api.add_route("/fine", who)
    tls = make_server_context(certificates, "server", certificates / "ca.crt")
    data = base64.b64encode((certificates / "client.key").read_bytes()).decode()
    user = {"client-certificate": str(certificates / "client.crt"), "client-key-data": data}
    ca = {"certificate-authority": str(certificates / "ca.crt")}
    async with serve(api, tls=tls):
        await get_once(write_kubeconfig(tmp_path / "config", api.url, user, **ca))
    assert subjects == ["client"]
    assert list(folder.iterdir()) == [], "no key material stays behind"


async def test_halves_of_certificates_are_rejected(
    certificates: Path, api: FakeApiServer, tmp_path: Path
) -> None:
    half = {"client-certificate": str(certificates / "client.crt")}
    with pytest.raises(ConfigError, match="without its key"):
        await open_connection(write_kubeconfig(tmp_path / "a", api.url, half))
    crossed = half | {"client-key": str(certificates / "client2.key")}
    file = write_kubeconfig(tmp_path / "b", api.url.replace("http:", "https:"), crossed)
    with pytest.raises(ConfigError, match="cannot be used"):
        await get_once(file)


def test_strict_mode_is_off_as_in_kubectl(certificates: Path) -> None:
    from servedeck.cluster.auth.exec_plugin import Credential
    from servedeck.cluster.http.transport import make_ssl_context

    context = make_ssl_context(KubeconfigCluster("c", "https://x"), Credential())
    assert context is not None
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert make_ssl_context(KubeconfigCluster("c", "http://x"), Credential()) is None


async def test_an_open_connection_keeps_no_large_buffer(certificates: Path, tmp_path: Path) -> None:
    api = FakeApiServer()
    api.add_route("/fine", respond_ok)
    data = base64.b64encode((certificates / "ca.crt").read_bytes()).decode()
    async with serve(api, tls=make_server_context(certificates, "server")):
        file = write_kubeconfig(
            tmp_path / "a", api.url, None, **{"certificate-authority-data": data}
        )
        connection = await open_connection(file, None)
        tracemalloc.start()
        try:
            await connection.get("/fine")
            sizes = [trace.size for trace in tracemalloc.take_snapshot().traces]
        finally:
            tracemalloc.stop()
            await connection.close()
    assert max(sizes) <= 1 << 17


# -- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "environ", "proxy"),
    [
        ("https://kube:6443", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://kube:6443", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://kube:6443", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://11.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http://p:1"),
        ("https://a.corp", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x, .corp"}, None),
        ("https://a.corp", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "corp"}, None),
        ("https://acorp", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "corp"}, "http://p:1"),
        ("https://a.corp:1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.corp:2"}, "http://p:1"),
        ("https://a.corp:1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
    ],
)
def test_proxy_of_the_environment(server: str, environ: dict[str, str], proxy: str | None) -> None:
    assert select_proxy(KubeconfigCluster("c", server), environ) == proxy


async def test_proxy_of_the_kubeconfig_is_used(tmp_path: Path) -> None:
    proxy = FakeApiServer()
    proxy.add_route("/fine", respond_ok)
    async with serve(proxy):
        file = write_kubeconfig(
            tmp_path / "a", "http://kube.invalid", None, **{"proxy-url": proxy.url}
        )
        assert await get_once(file) == b'{"fine": true}'
        assert proxy.requests[0].headers["Host"] == "kube.invalid"
    with pytest.raises(ConnectionFailedError, match=r"The proxy 127\.0\.0\.1:.* cannot be reached"):
        await get_once(file)


async def test_proxies_of_other_kinds_are_rejected(tmp_path: Path) -> None:
    file = write_kubeconfig(
        tmp_path / "a", "https://kube", None, **{"proxy-url": "socks4://p:1080"}
    )
    with pytest.raises(ConfigError, match=r"socks4:// in proxy-url .*cannot be used"):
        await open_connection(file)


# -- imports --------------------------------------------------------------------------------------


def test_importing_the_cluster_package_and_the_logs_imports_no_http_client() -> None:
    code = (
        "import sys; from servedeck.cluster import access; from servedeck.logs import streams;"
        "from servedeck.cluster.auth import kubeconfig;"
        "from servedeck.cluster.http import connection, errors;"
        "from servedeck.cluster.watch import decode, kinds, reflector;"
        "print([m for m in ('kubernetes_asyncio', 'aiohttp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_closed_connection_says_so(api: FakeApiServer, connection: Connection) -> None:
    await connection.close()
    with pytest.raises(ClusterError, match="closed"):
        await with_timeout(connection.get("/fine"))


# -- the request rate -----------------------------------------------------------------------------


async def test_a_write_that_the_server_refuses_for_its_rate_is_sent_again_when_it_says(
    api: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_MAX_RATE_LIMIT_WAIT", 0.01)
    said: list[str] = []
    api.add_route("/fine", respond_ok)
    limited = respond_with_status(429, "TooManyRequests", Retry_After="86000")
    api.faults["other"] = [limited] * 3
    connection = await open_connection(
        write_kubeconfig(tmp_path / "config", api.url), report_wait=said.append
    )
    try:
        response = await connection.request("PATCH", "/fine", body={"a": 1})
        assert response.status == 200
        assert len(api.requests) == 4
        assert said == ["The server limits the request rate (429); sending again in 0 s."] * 3
        api.faults["other"] = [limited] * 9
        with pytest.raises(ApiError, match="limits the request rate"):
            await connection.request("PATCH", "/fine", body={"a": 1})
        assert len(api.requests) == 4 + 5
        with pytest.raises(ApiError, match="limits the request rate"):
            await connection.get("/fine")
        assert len(api.requests) == 4 + 5 + 1, "a list waits by itself"
    finally:
        await connection.close()


@pytest.mark.parametrize(("asked", "waited"), [("0.01", 1.0), ("7", 7.0), ("86000", 10.0)])
async def test_a_write_waits_as_long_as_the_server_asks_within_limits(
    api: FakeApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    waited: float,
) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    api.add_route("/fine", respond_ok)
    api.faults["other"] = [respond_with_status(429, "TooManyRequests", Retry_After=asked)]
    connection = await open_connection(write_kubeconfig(tmp_path / "config", api.url))
    try:
        with monkeypatch.context() as patch:
            patch.setattr("asyncio.sleep", note)
            await connection.request("PATCH", "/fine", body={"a": 1})
    finally:
        await connection.close()
    assert waited in slept


@pytest.mark.parametrize("place", ["services/queue:8080", "pods/queue-0:8080"])
async def test_a_service_behind_the_server_that_refuses_a_write_is_not_asked_again(
    api: FakeApiServer, tmp_path: Path, place: str
) -> None:
    path = f"/api/v1/namespaces/team/{place}/proxy/v1/tasks"
    said: list[str] = []
    full = respond_with_status(429, "", "the queue is full", Retry_After="1")
    api.faults["other"] = [full]
    api.add_route(path, respond_ok)
    connection = await open_connection(
        write_kubeconfig(tmp_path / "config", api.url), report_wait=said.append
    )
    try:
        with pytest.raises(ApiError) as caught:
            await connection.request("POST", path, body={"a": 1})
    finally:
        await connection.close()
    assert (caught.value.message, len(api.requests), said) == ("the queue is full", 1, [])


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_leads_to_another_path_is_rejected(name: str) -> None:
    with pytest.raises(ClusterError, match="is not a name that an object can have"):
        POD.collection_path(name)
    with pytest.raises(ClusterError, match="is not a name that an object can have"):
        POD.object_path("default", name)
    assert POD.object_path("%2e%2e", "a?b/c") == "/api/v1/namespaces/%252e%252e/pods/a%3Fb%2Fc"
