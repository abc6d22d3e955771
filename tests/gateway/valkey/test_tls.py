"""valkeys:// against a real server with TLS, and what is said of certificates that do not fit."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.gateway.settings import GatewaySettingsError, load_settings
from servedeck.gateway.stores.opening import open_store
from servedeck.gateway.stores.store import StoreUnavailableError, TaskStore
from servedeck.gateway.stores.valkey.tls import TlsContext, TlsFiles
from tests.cluster.certificates import create_authority, issue_certificate
from tests.control_plane.processes import ReservedPort
from tests.gateway.conftest import StartValkey
from tests.gateway.process.rig import GatewayProcess, InferenceServer, curl, get_json, submit
from tests.gateway.stores.cases import claim_one, end_of, state_of, task_of
from tests.gateway.stores.cases import submit as submit_task
from tests.gateway.valkey.helpers import SERVING
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import WAIT_SECONDS, wait_until

SECRET = "s" * 32


class TlsServer:
    """A server that speaks TLS on `port`; PEM files are named without their folder."""

    def __init__(self, server: ValkeyServer, port: int, folder: Path) -> None:
        self._server, self._folder = server, folder
        self.port = port
        self.address = f"Valkey at 127.0.0.1:{port}"
        self.set("tls-ca-cert-file", folder / "ca.crt", "tls-auth-clients", "no")
        self.use("server")
        self.set("tls-port", port)

    def set(self, *parameters: object) -> None:
        answer = self._server.ask("CONFIG", "SET", *map(str, parameters))
        assert answer.startswith("+OK"), answer

    def use(self, name: str) -> None:
        file = self._folder / name
        self.set("tls-cert-file", f"{file}.crt", "tls-key-file", f"{file}.key")

    def settings(self, host: str = "127.0.0.1", **files: str) -> dict[str, object]:
        """`files`: ca, certificate and key."""
        named = {f"store_{kind}_file": str(self._folder / one) for kind, one in files.items()}
        return {
            "serving": SERVING,
            "store": f"valkeys://{host}:{self.port}",
            "store_timeout": WAIT_SECONDS,
            "upstreams": ["http://127.0.0.1:1"],
            **named,
        }

    def store(self, host: str = "127.0.0.1", **files: str) -> TaskStore:
        return open_store(load_settings(None, self.settings(host, **files)))

    async def refusal(self, host: str = "127.0.0.1", **files: str) -> str:
        """Why a store with these files cannot be opened."""
        store = self.store(host, **files)
        with pytest.raises(StoreUnavailableError) as caught:
            await store.open()
        await store.close()
        return str(caught.value)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other-ca"):
        create_authority(folder, name)
    for name in ("server", "client"):
        issue_certificate(folder, name)
    issue_certificate(folder, "elsewhere", alt_names="DNS:valkey.example.com")
    issue_certificate(folder, "of-other-ca", "other-ca")
    (folder / "no-pem").write_text("no certificate\n")
    both = (folder / "client.crt").read_text() + (folder / "client.key").read_text()
    (folder / "client-with-key.pem").write_text(both)
    return folder


@pytest.fixture
def server(start_valkey: StartValkey, certificates: Path) -> Iterator[TlsServer]:
    valkey = start_valkey()
    if "tls-port" not in valkey.ask("CONFIG", "GET", "tls-port"):
        reason = "this Valkey is built without TLS"
        if os.environ.get("SERVEDECK_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    port = ReservedPort()
    yield TlsServer(valkey, port.number, certificates)
    port.close()


async def test_a_task_from_its_submission_to_its_end(server: TlsServer) -> None:
    store = server.store(ca="ca.crt")
    await store.open()
    assert await store.check() == ""
    id = await submit_task(store)
    claimed = await claim_one(store)
    assert claimed.id == id
    assert await store.finish(end_of(claimed))
    assert (await task_of(store, id)).state == "completed"
    assert await store.read_feed("0", 10, 0)
    await store.close()


async def test_a_certificate_that_is_not_trusted(server: TlsServer) -> None:
    untrusted = (
        f"The certificate of {server.address} is not signed by a CA that is trusted:"
        " set store_ca_file."
    )
    assert await server.refusal() == untrusted  # by the system
    assert await server.refusal(ca="other-ca.crt") == untrusted
    server.use("elsewhere")
    refusal = await server.refusal(ca="ca.crt")
    assert refusal == f"The certificate of {server.address} is for another host."


async def test_a_server_that_asks_for_a_certificate(server: TlsServer) -> None:
    server.set("tls-auth-clients", "yes")
    for protocols in ("TLSv1.3", "TLSv1.2"):
        server.set("tls-protocols", protocols)
        refused = {"certificate": "of-other-ca.crt", "key": "of-other-ca.key"}
        for files in ({}, refused):
            refusal = await server.refusal(ca="ca.crt", **files)
            assert refusal.startswith(server.address)
            assert "store_certificate_file" in refusal
        accepted = {"certificate": "client.crt", "key": "client.key"}
        for files in (accepted, {"certificate": "client-with-key.pem"}):
            store = server.store(ca="ca.crt", **files)
            await store.open()
            await submit_task(store)
            await store.close()


async def test_a_port_without_tls(server: TlsServer, start_valkey: StartValkey) -> None:
    plain = start_valkey()
    server.port = plain.port
    # it waits for the end of what it takes for a command
    store = open_store(load_settings(None, server.settings(ca="ca.crt") | {"store_timeout": 0.3}))
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    assert str(caught.value) == (
        f"Valkey at 127.0.0.1:{plain.port} did not answer in 0.3 s;"
        " it may not speak TLS on this port."
    )
    await store.close()


async def test_a_port_of_something_else(server: TlsServer) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        server.port = other.sockets[0].getsockname()[1]
        refusal = await server.refusal(ca="ca.crt")
    assert refusal == f"Valkey at 127.0.0.1:{server.port} does not speak TLS on this port."


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca": "none"}, "store_ca_file: .*/none: No such file or directory"),
        ({"ca": "no-pem"}, "store_ca_file: .*/no-pem has no certificate in PEM"),
        ({"certificate": "none"}, "store_certificate_file: .*/none: No such file"),
        ({"certificate": "client.crt", "key": "none"}, "store_key_file: .*/none: No such file"),
        ({"certificate": "client.crt"}, "store_certificate_file: .* its key in PEM"),
        ({"certificate": "client.crt", "key": "server.key"}, "store_certificate_file: .* its key"),
        ({"key": "client.key"}, "store_key_file needs store_certificate_file"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    server: TlsServer, files: dict[str, str], said: str
) -> None:
    with pytest.raises(GatewaySettingsError, match=rf"^{said}.*\.$"):
        server.store(**files)


def test_certificates_need_tls(server: TlsServer) -> None:
    for name in ("ca", "certificate"):
        settings = server.settings(**{name: "ca.crt"}) | {"store": "valkey://h"}
        with pytest.raises(
            GatewaySettingsError, match=f"^store_{name}_file needs a store with TLS"
        ):
            load_settings(None, settings)


async def test_certificates_are_renewed_while_it_runs(
    server: TlsServer, certificates: Path, tmp_path: Path
) -> None:
    """A CA that is replaced is used by the next connection; one that cannot be used changes
    nothing."""
    authority = tmp_path / "authority.crt"
    authority.write_bytes((certificates / "ca.crt").read_bytes())
    store = server.store(ca=str(authority))
    await store.open()
    id = await submit_task(store)

    async def replace(text: str) -> None:
        new = tmp_path / "new"
        new.write_text(text)
        new.replace(authority)
        # what is sent next needs a connection
        for one in (store._valkey._commands, store._valkey._blocking):  # type: ignore[attr-defined]
            await one.connection_pool.disconnect()

    await replace("")
    assert await state_of(store, id) == "pending"
    server.use("of-other-ca")
    await replace((certificates / "other-ca.crt").read_text())
    assert await state_of(store, id) == "pending"
    await replace((certificates / "ca.crt").read_text())
    with pytest.raises(StoreUnavailableError, match="is not signed by a CA that is trusted"):
        await store.find(id)
    await store.close()


def test_a_file_that_could_not_be_read_once_is_read_again(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, new = tmp_path / "authority.crt", tmp_path / "new"
    authority.write_bytes((certificates / "ca.crt").read_bytes())
    context = TlsContext(TlsFiles(ca=authority))
    before = context.get()
    new.write_bytes((certificates / "other-ca.crt").read_bytes())
    new.replace(authority)

    def read(_: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        assert context.get() is before
    after = context.get()
    assert after.get_ca_certs() != before.get_ca_certs()
    assert context.get() is after


async def test_a_gateway_says_why_it_is_not_ready(server: TlsServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    async with InferenceServer().serving() as inference:
        more = {"upstreams": [inference.url], "secret_file": "secret"}
        gateway = GatewayProcess(tmp_path, **server.settings(ca="other-ca.crt") | more)
        try:
            await gateway.start(until="cannot be used yet")
            status, body = await get_json(f"{gateway.admin_url}/readyz")
            assert status == 503
            assert body["message"] == (
                f"The certificate of {server.address} is not signed by a CA that is trusted:"
                " set store_ca_file."
            )
            server.use("of-other-ca")
            await gateway.until("is ready")
            status, body = await get_json(f"{gateway.admin_url}/readyz")
            assert (status, body["message"]) == (200, "")
            id = await submit(gateway)
            await wait_until(lambda: inference.arrived)
            status, _, answer = await curl(
                f"{gateway.public_url}/-/async/tasks/{id}/result", "-H", "Prefer: wait=60"
            )
            assert status == 200, answer
        finally:
            await gateway.close()
