"""The client of a gateway's API at the URL of the settings, on a real gateway without an API server
in between, which has the Secret alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from servedeck.async_queue.admin_url import AdminUrlClient, display_url
from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import (
    AdminUrlError,
    AsyncQueueError,
    NotPermittedError,
    TooOldError,
    UnreachableError,
)
from servedeck.async_queue.queue_api import FeedChanges, Side, TaskQuery
from servedeck.async_queue.queue_api import TestRequest as Submission
from servedeck.async_queue.tasks import TaskAction, TaskState
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.cluster.http.transport_errors import describe_failure
from servedeck.config import Settings
from tests.async_queue.gateway_rig import KEYS, SECRET, GatewayRig
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import FakeApiServer, FaultHandler, serve
from tests.waiting import with_timeout

QUEUE = "/-/async/queue"
REQUEST = Submission("POST", "/v1/chat/completions", (), b'{"model": "llama"}')


def admin_url(rig: GatewayRig) -> str:
    return f"http://127.0.0.1:{rig.gateway.admin_port}"


@asynccontextmanager
async def asking(
    connection: Connection, url: str, key_file: Path | str = "", serving: str = "llama"
) -> AsyncIterator[AsyncQueueClient]:
    urls = AdminUrlClient(url, str(key_file), {})
    try:
        yield AsyncQueueClient(connection, "chat", serving, urls)
    finally:
        await urls.close()


@pytest.fixture
async def by_url(rig: GatewayRig, connection: Connection) -> AsyncIterator[AsyncQueueClient]:
    async with asking(connection, admin_url(rig)) as client:
        yield client


async def failure(
    connection: Connection, url: str, key_file: Path | str = "", serving: str = "llama"
) -> AsyncQueueError:
    async with asking(connection, url, key_file, serving) as client:
        with pytest.raises(AsyncQueueError) as raised:
            await client.queue_status()
    return raised.value


# -- a real gateway -------------------------------------------------------------------------------


async def test_tasks_are_read_and_changed(
    rig: GatewayRig, api: FakeApiServer, by_url: AsyncQueueClient
) -> None:
    await by_url.pause()
    [id] = await rig.submit()
    page = await by_url.list_tasks(TaskQuery(TaskState.PENDING))
    assert [one.id for one in page.items] == [id]
    assert (await by_url.read_body(id, Side.REQUEST, 2, 5)).data == b"model"
    assert (await by_url.read_body(id, Side.REQUEST, 99, 5)).data == b""
    assert (await by_url.change_tasks(TaskAction.CANCEL, [id])).changed == 1
    assert await rig.state(id) is TaskState.CANCELLED
    assert (await by_url.queue_status()).paused
    assert by_url.may_read_bodies
    assert {one.path for one in api.requests} == {SECRET}


async def test_the_feed(rig: GatewayRig, by_url: AsyncQueueClient) -> None:
    page = await by_url.list_tasks(TaskQuery())
    [id] = await rig.submit()

    async def first_change() -> str:
        async with aclosing(by_url.follow(page.feed)) as messages:
            async for message in messages:
                if isinstance(message, FeedChanges) and message.events:
                    return message.events[0].id
        raise AssertionError("the feed has ended")

    assert await with_timeout(first_change()) == id


async def test_the_key_of_a_file(
    rig: GatewayRig, api: FakeApiServer, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "chat-llama").write_text(f"{KEYS['admin-key']}\n")
    async with asking(connection, admin_url(rig), tmp_path / "{namespace}-{name}") as client:
        assert client.may_read_bodies is None
        [id] = await rig.submit()
        assert (await client.read_body(id, Side.REQUEST, 2, 5)).data == b"model"
        assert client.may_read_bodies
        (tmp_path / "admin-key").write_text("changed")
        (tmp_path / "chat-llama").write_text("changed")
        await client.pause()
    assert api.requests == []


async def test_a_file_with_the_view_key_withholds_bodies_and_actions(
    rig: GatewayRig, connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(KEYS["view-key"])
    async with asking(connection, admin_url(rig), file) as client:
        [id] = await rig.submit()
        assert (await client.task_detail(id)).id == id
        for work in (
            client.read_body(id, Side.REQUEST, 0, 5),
            client.change_tasks(TaskAction.CANCEL, [id]),
        ):
            with pytest.raises(NotPermittedError, match="The key in async_key_file may not do"):
                await work
        assert client.may_read_bodies is False


async def test_keys_that_cannot_be_used(
    rig: GatewayRig, connection: Connection, tmp_path: Path
) -> None:
    url, file = admin_url(rig), tmp_path / "key"
    said = await failure(connection, url, file)
    assert str(said) == f"async_key_file cannot be read: {file}: No such file or directory."
    for content in (b"", b"two\nlines", b"\xff", b"x" * 10_000):
        file.write_bytes(content)
        said = await failure(connection, url, file)
        assert isinstance(said, NotPermittedError) and "has no usable key" in str(said)
    file.write_text("another")
    said = await failure(connection, url, file)
    assert isinstance(said, NotPermittedError)
    assert str(said) == f"The async gateway at {url} does not accept the key in async_key_file."
    rig.set_secret(SECRET, dict.fromkeys(KEYS, "another"))
    said = await failure(connection, url)
    assert str(said).endswith("does not accept the key in Secret chat/llama-async.")


async def test_a_url_that_leads_to_the_gateway_of_another_serving(
    rig: GatewayRig, connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(KEYS["admin-key"])
    [id] = await rig.submit()
    async with asking(connection, admin_url(rig), file, "mistral") as client:
        for work in (client.pause(), client.change_tasks(TaskAction.CANCEL, [id])):
            with pytest.raises(AdminUrlError, match="of chat/llama, not of chat/mistral"):
                await work
        with pytest.raises(AdminUrlError):
            async for _ in client.follow(""):
                pass
    async with asking(connection, admin_url(rig), file) as client:
        assert not (await client.control()).paused
    assert await rig.state(id) is not TaskState.CANCELLED


async def test_a_read_only_connection_changes_nothing(
    rig: GatewayRig, connection: Connection
) -> None:
    readonly = await Connection.open(replace(connection.options, readonly=True))
    try:
        async with asking(readonly, admin_url(rig)) as client:
            [id] = await rig.submit()
            assert (await client.read_body(id, Side.REQUEST, 0, 2)).data == b'{"'
            for work in (client.pause(), client.change_tasks(TaskAction.CANCEL, [id])):
                with pytest.raises(ReadOnlyError):
                    await work
            with pytest.raises(ReadOnlyError):
                await client.submit(REQUEST)
            assert not (await client.control()).paused
    finally:
        await readonly.close()


async def test_requests_are_submitted_through_the_api_server(
    rig: GatewayRig, by_url: AsyncQueueClient
) -> None:
    await by_url.pause()
    id = await by_url.submit(REQUEST)
    assert (await by_url.task_detail(id)).state is TaskState.PENDING
    rig.forbid("/api/v1/namespaces/chat/services/llama-async:80/proxy/v1/chat/completions")
    with pytest.raises(NotPermittedError, match="also with async_admin_url: that needs create on"):
        await by_url.submit(REQUEST)


# -- what is no gateway ---------------------------------------------------------------------------


@asynccontextmanager
async def other_server(answer: FaultHandler) -> AsyncIterator[FakeApiServer]:
    other = FakeApiServer()
    other.add_route("/*", answer)
    async with serve(other):
        yield other


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (302, "", AdminUrlError, "redirects to another address (302), where no key is sent"),
        (200, "<html>log in", AdminUrlError, "does not answer as an async gateway: correct"),
        (200, "[]", AdminUrlError, "does not answer as an async gateway: correct"),
        (401, "log in", AdminUrlError, "refuses the request (401) before it comes to the async"),
        (403, "{}", AdminUrlError, "refuses the request (403) before it comes to the async"),
        (404, "page not found", AdminUrlError, "(404): turn the async queue on, or correct"),
        (418, "", UnreachableError, "does not answer as an async gateway (418)."),
        (502, "<html>bad", UnreachableError, "failed (502): no reason."),
        (404, '{"title": "Not found", "status": 404}', TooOldError, "turn the async queue on"),
        (503, '{"title": "\\u001b[31mred", "status": 503}', UnreachableError, "(503): "),
    ],
)
async def test_an_answer_that_is_none_of_the_gateway(
    rig: GatewayRig,
    connection: Connection,
    status: int,
    body: str,
    kind: type[AsyncQueueError],
    said: str,
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        elsewhere = {"Location": f"{other.url}/login"} if status == 302 else {}
        return web.Response(status=status, text=body, headers=elsewhere)

    async with other_server(answer) as other:
        error = await failure(connection, f"{other.url}/{{namespace}}/{{name}}/")
        assert type(error) is kind
        assert said in str(error) and str(error).isprintable()
        if kind is not TooOldError:
            assert f"{other.url}/chat/llama" in str(error)
        assert {one.path for one in other.requests} == {f"/chat/llama{QUEUE}"}


async def test_a_connection_that_is_refused_is_told_without_the_password(
    rig: GatewayRig, connection: Connection
) -> None:
    error = await failure(connection, "http://ops:hidden@127.0.0.1:1/{name}")
    assert isinstance(error, UnreachableError)
    assert str(error) == "http://127.0.0.1:1/llama refused the connection."


def test_an_address_that_aiohttp_does_not_take_is_told_without_the_password() -> None:
    said = describe_failure(aiohttp.InvalidURL("https://ops:hidden@gateways.test"))
    assert said == "is not the address of a server"


async def test_after_a_lost_connection_the_gateway_is_checked_again(
    connection: Connection, tmp_path: Path
) -> None:
    """As when a port-forward ends, and one to another serving begins."""
    serving, is_cut = "chat/llama", False

    async def answer(request: web.Request) -> web.StreamResponse:
        if is_cut:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"serving": serving, "changed": 0})

    (tmp_path / "key").write_text("key")
    async with (
        other_server(answer) as other,
        asking(connection, other.url, tmp_path / "key") as client,
    ):
        await client.pause()
        is_cut = True
        with pytest.raises(UnreachableError):
            await client.pause()
        serving, is_cut = "chat/mistral", False
        with pytest.raises(AdminUrlError, match="of chat/mistral, not of chat/llama"):
            await client.pause()
        assert other.requests[-1].path == QUEUE


async def test_certificates_are_verified(
    rig: GatewayRig, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = create_authority(tmp_path)
    issue_certificate(tmp_path, "server")

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"serving": "chat/llama", "changed": 0})

    other = FakeApiServer()
    other.add_route("/*", answer)
    async with serve(other, make_server_context(tmp_path, "server")):
        error = await failure(connection, other.url)
        assert isinstance(error, UnreachableError)
        assert f"{other.url} has a certificate that is not trusted (" in str(error)
        assert other.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        async with asking(connection, other.url) as client:
            await client.pause()


async def test_the_proxy_of_the_environment(rig: GatewayRig, connection: Connection) -> None:
    asked: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode().strip())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    urls = AdminUrlClient(
        "https://{name}.gateways.test", "", {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}
    )
    async with proxy:
        client = AsyncQueueClient(connection, "chat", "llama", urls)
        with pytest.raises(UnreachableError, match="the proxy refused to connect"):
            await with_timeout(client.queue_status())
    await urls.close()
    assert asked == ["CONNECT llama.gateways.test:443 HTTP/1.1"]


async def test_nothing_is_sent_once_it_is_closed(rig: GatewayRig, connection: Connection) -> None:
    for is_asked_before in (False, True):
        urls = AdminUrlClient(admin_url(rig), "", {})
        client = AsyncQueueClient(connection, "chat", "llama", urls)
        if is_asked_before:
            await client.queue_status()
        await urls.close()
        with pytest.raises(UnreachableError, match="The connection was closed"):
            await client.queue_status()


# -- the address ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gateways.test:8081", "is not an http:// or https:// address"),
        ("ftp://gateways.test", "is not an http:// or https:// address"),
        ("https://", "is not an http:// or https:// address"),
        ("https://a:b", "is not an http:// or https:// address"),
        ("https://a/b c", "is not an http:// or https:// address"),
        ("https://a/\x1b[31m", "is not an http:// or https:// address"),
        ("https://gateways.test/{serving}", "can only have {namespace} and {name} in braces"),
        ("https://gateways.test/?a={name}", "cannot have ? or #"),
        ("https://gateways.test/#{name}", "cannot have ? or #"),
        ("http://gateways.test/{name}", "the key would be sent unencrypted"),
        ("http://{name}.localhost", "the key would be sent unencrypted"),
        ("http://10.0.0.7:8081", "the key would be sent unencrypted"),
        ("http://127.0.0.1@gateways.test", "the key would be sent unencrypted"),
    ],
)
def test_an_address_that_cannot_be_used(url: str, said: str) -> None:
    with pytest.raises(AdminUrlError) as raised:
        AdminUrlClient(url)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("https://gateways.test/{namespace}/{name}/", "https://gateways.test/chat/llama"),
        ("https://{name}.{namespace}.test:8443", "https://llama.chat.test:8443"),
        ("http://localhost:8081", "http://localhost:8081"),
        ("http://127.0.0.2:8081/{name}", "http://127.0.0.2:8081/llama"),
        ("http://[::1]:8081", "http://[::1]:8081"),
    ],
)
def test_an_address_with_the_names_of_the_serving(url: str, filled: str) -> None:
    assert AdminUrlClient(url).url_of("chat", "llama") == filled


@pytest.mark.parametrize("name", ["..", "a/b", "a.b", "a?b", "a#b", "a@b", "{namespace}", "", "A"])
def test_a_name_that_could_lead_elsewhere(name: str) -> None:
    urls = AdminUrlClient("https://gateways.test/{namespace}/{name}", "/keys/{namespace}/{name}")
    for names in ((name, "llama"), ("chat", name)):
        with pytest.raises(AdminUrlError, match="cannot be a part of async_admin_url"):
            urls.url_of(*names)
        with pytest.raises(AdminUrlError, match="cannot be a part of async_admin_url"):
            urls.key_file_of(*names)


def test_the_settings() -> None:
    assert AdminUrlClient.from_settings(Settings(async_key_file="/key")) is None
    urls = AdminUrlClient.from_settings(Settings(async_admin_url="https://gateways.test"))
    assert urls is not None and urls.key_file_of("chat", "llama") is None
    urls = AdminUrlClient.from_settings(
        Settings(async_admin_url="https://gateways.test", async_key_file="~/{namespace}-{name}")
    )
    assert urls is not None
    assert urls.key_file_of("chat", "llama") == Path.home() / "chat-llama"


def test_the_password_of_an_address_is_not_displayed() -> None:
    assert display_url("https://me:se@cret@a.test/x@y") == "https://a.test/x@y"
