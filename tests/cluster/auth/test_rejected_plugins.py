"""Credential plugins whose tokens and certificates are not accepted, or cannot be used."""

from __future__ import annotations

import asyncio
import errno
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from servedeck.cluster.auth import exec_plugin
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, CertificateRefusedError, CredentialsError
from tests.cluster.auth.credential_fixtures import (
    API_VERSION,
    TokenCheckingServer,
    connected_as,
    count_runs,
    make_exec_user,
    plugin_script,
    write_script,
)
from tests.cluster.auth.test_plugin_waits import Clock, make_manager
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that is slow on a busy machine is not taken for one that waits for a person."""
    monkeypatch.setattr(exec_plugin, "NOTICE_SECONDS", 3600.0)


def set_clock(connection: Connection, clock: Clock) -> None:
    connection._login.credentials._clock = clock


# -- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["same", "t-RUN"])
@pytest.mark.parametrize("was_accepted", [False, True])
async def test_a_plugin_whose_tokens_are_rejected_is_not_run_for_each_request(
    token_checking_api: TokenCheckingServer, tmp_path: Path, token: str, was_accepted: bool
) -> None:
    """Also if it gives another one each time, as that of AWS does."""
    count, clock = tmp_path / "count", Clock()
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token=token))
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        set_clock(connection, clock)
        if was_accepted:
            token_checking_api.accepted_tokens = {"same", "t-1"}
            await connection.get("/fine")
            token_checking_api.accepted_tokens = set()
        runs = []
        for _ in range(4):
            for _ in range(5):
                with pytest.raises(ApiError):
                    await connection.get("/fine")
            runs.append(count_runs(count))
            clock.now += 601.0
        assert runs == [2, 3, 4, 5]
        token_checking_api.accepted_tokens = {"same", "t-6"}
        await connection.get("/fine")


async def test_pauses_between_rejected_tokens_grow(tmp_path: Path) -> None:
    count, clock = tmp_path / "count", Clock()
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="t-RUN"))
    manager = make_manager(tmp_path, plugin, clock)
    credential = await manager.current()
    for _ in range(100):
        credential = await manager.renew(credential) or credential
        clock.now += 5.0
    assert count_runs(count) == 7, "once more at once, then after 10, 20, 40, 80 and 160 s"
    manager.accept(credential)
    assert await manager.renew(credential) is not None, "an accepted one is renewed at once"


async def test_a_retry_of_the_operator_ends_the_pause_between_rejected_tokens(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="t-RUN"))
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        set_clock(connection, Clock())
        for _ in range(3):
            with pytest.raises(ApiError):
                await connection.get("/fine")
        assert count_runs(count) == 2
        token_checking_api.accepted_tokens = {"t-3"}
        connection.reset_backoff()
        await connection.get("/fine")


# -- certificates ---------------------------------------------------------------------------------


def give(answer: Path, certificate: Path, key: Path) -> None:
    """Let the plugin answer with this certificate and key."""
    status = {
        "clientCertificateData": certificate.read_text(),
        "clientKeyData": key.read_text(),
    }
    document = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}
    answer.write_text(json.dumps(document))


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with the certificates "server" and "client" of "ca", and "other" of "ca2"."""
    folder = tmp_path / "pki"
    folder.mkdir()
    create_authority(folder)
    create_authority(folder, "ca2")
    for name in ("server", "client"):
        issue_certificate(folder, name)
    issue_certificate(folder, "other", "ca2")
    return folder


async def test_a_certificate_and_a_key_that_cannot_be_used_are_asked_for_again(
    certificates: Path, tmp_path: Path
) -> None:
    """A plugin may read them from files that are just being renewed."""
    api = FakeApiServer()
    answer, clock = tmp_path / "answer", Clock()
    give(answer, certificates / "client.crt", certificates / "other.key")
    plugin = write_script(tmp_path / "plugin", f"cat {answer}")
    authority = {"certificate-authority": str(certificates / "ca.crt")}
    async with (
        serve(api, tls=make_server_context(certificates, "server", certificates / "ca.crt")),
        connected_as(api, tmp_path, make_exec_user(plugin), **authority) as connection,
    ):
        set_clock(connection, clock)
        with pytest.raises(CredentialsError) as caught:
            await connection.get("/version")
        assert str(caught.value) == (
            "The credential plugin 'plugin' returned a client certificate and a key that cannot be"
            " used (KEY_VALUES_MISMATCH); log in again, or run it by hand to see its output."
        )
        give(answer, certificates / "client.crt", certificates / "client.key")
        clock.now += 6.0
        await connection.get("/version")


async def test_a_certificate_that_no_temporary_file_takes_is_an_error_of_the_login(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, runs = tmp_path / "answer", tmp_path / "runs"
    give(answer, certificates / "client.crt", certificates / "client.key")
    plugin = write_script(tmp_path / "plugin", f"echo run >> {runs}\ncat {answer}")
    manager = make_manager(tmp_path, plugin, Clock())

    def fail(certificate: bytes, private_key: bytes) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exec_plugin, "find_pair_problem", fail)
    for _request in range(3):
        with pytest.raises(CredentialsError, match=r"temporary file: .*No space left on device"):
            await manager.current()
    assert runs.read_text().split() == ["run"]


@asynccontextmanager
async def serving_to(context: ssl.SSLContext) -> AsyncIterator[str]:
    """A server that answers each request with {} and sends the alert where it refuses the client's
    certificate, which asyncio's own server does not send. Yields its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        is_shaken = False
        try:
            while received := await reader.read(1 << 16):
                incoming.write(received)
                try:
                    if not is_shaken:
                        tls.do_handshake()
                        is_shaken = True
                    while tls.read():
                        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                except ssl.SSLError:
                    break
            writer.write(outgoing.read())
            writer.write_eof()
            while await reader.read(1 << 16):  # what is unread would reset the connection
                pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_plugin_whose_certificate_is_refused_in_the_handshake_is_run_again(
    certificates: Path, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Proxies such as Teleport's do that; the API server itself answers with 401."""
    context = make_server_context(certificates, "server", certificates / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    count, answer = tmp_path / "count", tmp_path / "answer"
    plugin = write_script(tmp_path / "plugin", f"echo run >> {count}\ncat {answer}")
    give(answer, certificates / "other.crt", certificates / "other.key")
    async with serving_to(context) as url:
        file = write_kubeconfig(
            tmp_path / "config",
            url,
            make_exec_user(plugin),
            **{"certificate-authority": str(certificates / "ca.crt")},
        )
        connection = await open_connection(file)
        set_clock(connection, clock := Clock())
        try:
            for _ in range(3):
                with pytest.raises(CertificateRefusedError, match="UNKNOWN_CA"):
                    await connection.get("/version")
            assert count_runs(count) == 2, "once more, not for each request"
            give(answer, certificates / "client.crt", certificates / "client.key")
            clock.now += 11.0
            assert (await connection.get_json("/version")) == {}
            assert count_runs(count) == 3
        finally:
            await connection.close()
