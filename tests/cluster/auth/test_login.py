"""A kubeconfig, certificates and tokens that are renewed while a connection is open."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from servedeck.cluster.auth import credentials, exec_plugin, kubeconfig_loader
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ConnectionFailedError
from servedeck.fleet import login_watch
from servedeck.fleet.login_watch import LoginWatch
from tests.cluster.auth.credential_fixtures import (
    TokenCheckingServer,
    connected_as,
    count_runs,
    make_exec_user,
    plugin_script,
    write_script,
)
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout


def replace_atomically(file: Path, text: str) -> None:
    temporary = file.with_name("temporary")
    temporary.write_text(text)
    temporary.replace(file)


def rewrite_in_place(file: Path, text: str) -> None:
    file.write_text(text)


def read(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(file.read_text())
    return value


def with_user(file: Path, user: dict[str, Any]) -> str:
    document = read(file)
    document["users"][0]["user"] = user
    return yaml.safe_dump(document)


@pytest.mark.parametrize("write", [replace_atomically, rewrite_in_place])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"token": "old"}, {"token": "new"}),
        ({}, {"token": "new"}),
        ({"tokenFile": "old-token"}, {"tokenFile": "new-token"}),
        ({"token": "old"}, {"tokenFile": "new-token"}),
        ({"token": "old"}, make_exec_user("./plugin")),
        (make_exec_user("./missing"), {"token": "new"}),
    ],
)
async def test_a_login_that_the_kubeconfig_has_since_is_used(
    token_checking_api: TokenCheckingServer,
    tmp_path: Path,
    write: Callable[[Path, str], None],
    old: dict[str, Any],
    new: dict[str, Any],
) -> None:
    (tmp_path / "old-token").write_text("old")
    (tmp_path / "new-token").write_text("new")
    write_script(tmp_path / "plugin", plugin_script(tmp_path / "count", token="new"))
    token_checking_api.accepted_tokens = {"new"}
    async with connected_as(token_checking_api, tmp_path, old) as connection:
        for _ in range(2):
            with pytest.raises(Exception, match=r"log in again|is not installed"):
                await connection.get("/fine")
        file = tmp_path / "config"
        write(file, with_user(file, new))
        await connection.get("/fine")


@pytest.mark.parametrize("half", ["", "apiVersion: v1\nusers: [", "users: []\n", "no-context"])
async def test_a_half_written_kubeconfig_changes_nothing_and_the_whole_one_counts(
    token_checking_api: TokenCheckingServer, tmp_path: Path, half: str
) -> None:
    token_checking_api.accepted_tokens = {"one"}
    file = tmp_path / "config"
    async with connected_as(token_checking_api, tmp_path, {"token": "one"}) as connection:
        await connection.get("/fine")
        whole = with_user(file, {"token": "two"})
        file.write_text(half if half != "no-context" else whole.replace("here", "there"))
        token_checking_api.accepted_tokens = {"two"}
        with pytest.raises(ApiError, match="does not accept the credentials of user 'me'"):
            await connection.get("/fine")
        assert token_checking_api.seen_tokens[-1] == "one", "what was known is kept"
        file.write_text(whole)
        assert await connection.try_login_again()
        await connection.get("/fine")


async def test_why_a_kubeconfig_cannot_be_used_is_said_once_it_is_not_half_written(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    async with connected_as(token_checking_api, tmp_path, {"token": "one"}) as connection:
        now = [0.0]
        connection._login._clock = lambda: now[0]
        whole = file.read_text()
        for content in (whole[:50], whole.replace("here", "there")):
            file.write_text(content)
            assert not await connection.try_login_again()
            assert not connection.login_problem, "it may be half written"
            now[0] += 2.0
        assert not await connection.try_login_again()
        expected = f"The kubeconfig {file} has no context 'here'; it has there."
        assert connection.login_problem == expected
        assert await connection.read_context_names() == ("there",)
        assert connection.context_name == "here"
        file.write_text(whole)
        assert not await connection.try_login_again()
        assert not connection.login_problem


async def test_contexts_that_were_added_are_read(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    async with connected_as(token_checking_api, tmp_path, {"token": "one"}) as connection:
        assert connection.context_names == ("here",)
        document = read(file)
        document["contexts"].append({"name": "new", "context": document["contexts"][0]["context"]})
        file.write_text(yaml.safe_dump(document))
        assert await connection.read_context_names() == ("here", "new")
        assert connection.context_names == ("here", "new")
        file.write_text("contexts: [")
        assert await connection.read_context_names() == ("here", "new"), "half written"


async def test_a_user_that_would_act_as_nobody_in_groups_changes_nothing(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    token_checking_api.accepted_tokens = {"one"}
    file = tmp_path / "config"
    async with connected_as(token_checking_api, tmp_path, {"token": "one"}) as connection:
        whole = {"token": "two", "as": "admin", "as-groups": ["admins"]}
        half = {key: value for key, value in whole.items() if key != "as"}
        file.write_text(with_user(file, half))
        assert not await connection.try_login_again()
        await connection.get("/fine")
        file.write_text(with_user(file, whole))
        token_checking_api.accepted_tokens = {"two"}
        assert await connection.try_login_again()
        await connection.get("/fine")


async def test_a_user_whose_entry_is_half_written_is_read_again_after_an_anonymous_request(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == "Bearer two":
            return web.json_response({})
        body = {"message": 'User "system:anonymous" cannot get path "/fine"', "code": 403}
        return web.json_response(body, status=403)

    token_checking_api.add_route("/fine", handle)
    file = tmp_path / "config"
    async with connected_as(token_checking_api, tmp_path, {}) as connection:
        with pytest.raises(ApiError, match="treats the request as anonymous"):
            await connection.get("/fine")
        file.write_text(with_user(file, {"token": "two"}))
        await connection.get("/fine")


async def test_a_current_context_that_others_set_is_not_followed(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    token_checking_api.accepted_tokens = {"two"}
    async with connected_as(token_checking_api, tmp_path, {"token": "one"}) as connection:
        document = read(file)
        document["users"][0]["user"] = {"token": "two"}
        document["users"].append({"name": "other", "user": {"token": "other"}})
        document["contexts"].append(
            {"name": "prod", "context": {"cluster": "cluster", "user": "other", "namespace": "p"}}
        )
        document["current-context"] = "prod"
        file.write_text(yaml.safe_dump(document))
        await connection.get("/fine")
        assert (connection.context_name, connection.user_name) == ("here", "me")
        assert connection.kubeconfig.context_names == ("here", "prod")
    assert "other" not in token_checking_api.seen_tokens


async def test_what_others_change_in_the_kubeconfig_runs_no_plugin(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    count, file = tmp_path / "count", tmp_path / "config"
    plugin = write_script(tmp_path / "plugin", f"echo run >> {count}; exit 1")
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        with pytest.raises(Exception, match="exit code 1"):
            await connection.get("/fine")
        for number in range(3):
            document = read(file)
            document["users"].append({"name": f"u{number}", "user": {"token": "x"}})
            file.write_text(yaml.safe_dump(document))
            assert not await connection.try_login_again()
        assert count_runs(count) == 1
        file.write_text(with_user(file, make_exec_user(plugin, args=["--profile", "b"])))
        assert await connection.try_login_again(), "its own entry changed"
        with pytest.raises(Exception, match="exit code 1"):
            await connection.get("/fine")
    assert count_runs(count) == 2


async def test_a_plugin_that_waits_is_ended_for_the_login_that_the_kubeconfig_has_since(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    pid, file = tmp_path / "pid", tmp_path / "config"
    plugin = write_script(tmp_path / "plugin", f"echo $$ > {pid}; exec sleep 600")
    token_checking_api.accepted_tokens = {"new"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        request = asyncio.create_task(connection.get("/fine"))
        await wait_until(lambda: pid.exists() and pid.read_text())
        file.write_text(with_user(file, {"token": "new"}))
        assert await connection.try_login_again()
        await with_timeout(request)
        await wait_until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


async def test_a_rejected_request_that_waits_for_a_plugin_gets_the_login_that_was_found_meanwhile(
    token_checking_api: TokenCheckingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "NOTICE_SECONDS", 3600.0)
    count, file = tmp_path / "count", tmp_path / "config"
    body = f"test -e {count} && echo run >> {count} && exec sleep 600\n"
    plugin = write_script(tmp_path / "plugin", body + plugin_script(count, token="old"))
    token_checking_api.accepted_tokens = {"new"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        request = asyncio.create_task(connection.get("/fine"))
        await wait_until(lambda: count_runs(count) == 2)
        file.write_text(with_user(file, {"token": "new"}))
        assert await connection.try_login_again()
        await with_timeout(request)
    assert token_checking_api.seen_tokens == ["old", "new"]


async def test_the_kubeconfig_is_read_while_a_plugin_that_is_tried_again_waits(
    token_checking_api: TokenCheckingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_FAILURE_BACKOFF", 0.0)
    count, file = tmp_path / "count", tmp_path / "config"
    body = f"echo run >> {count}\ntest $(wc -l < {count}) -gt 1 && exec sleep 600\nexit 1"
    plugin = write_script(tmp_path / "plugin", body)
    token_checking_api.accepted_tokens = {"new"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        with pytest.raises(Exception, match="exit code 1"):
            await connection.get("/fine")
        assert not await with_timeout(connection.try_login_again())
        await wait_until(lambda: count_runs(count) == 2)
        assert not await with_timeout(connection.try_login_again())
        file.write_text(with_user(file, {"token": "new"}))
        assert await with_timeout(connection.try_login_again())
        await connection.get("/fine")
    assert count_runs(count) == 2


async def test_a_plugin_that_is_tried_again_is_noticed_when_it_has_given_a_credential(
    token_checking_api: TokenCheckingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_FAILURE_BACKOFF", 0.0)
    count, retries = tmp_path / "count", list[str]()
    body = f"test -e {count} || {{ echo run > {count}; exit 1; }}\n"
    plugin = write_script(tmp_path / "plugin", body + plugin_script(count, token="t"))
    monkeypatch.setattr(login_watch, "LOGIN_CHECK_SECONDS", 0.01)
    token_checking_api.accepted_tokens = {"t"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        with pytest.raises(Exception, match="exit code 1"):
            await connection.get("/fine")
        watch = LoginWatch(
            lambda: not retries, connection.try_login_again, lambda: retries.append("retry")
        )
        watch.check()
        await wait_until(lambda: retries)
        await watch.stop()
        await connection.get("/fine")
    assert count_runs(count) == 2


async def test_a_dozen_requests_read_the_files_together(
    token_checking_api: TokenCheckingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_checking_api.accepted_tokens = {"new"}
    file = tmp_path / "config"
    async with connected_as(token_checking_api, tmp_path, {"token": "old"}) as connection:
        file.write_text(with_user(file, {"token": "new"}))
        loads: list[Path] = []
        load = kubeconfig_loader._load_file
        monkeypatch.setattr(
            kubeconfig_loader, "_load_file", lambda path: (loads.append(path), load(path))[1]
        )
        await asyncio.gather(*(connection.get("/fine") for _ in range(12)))
    assert len(loads) == 1


async def test_a_check_that_was_canceled_is_no_check_that_found_nothing(
    token_checking_api: TokenCheckingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    async with connected_as(token_checking_api, tmp_path, {"token": "old"}) as connection:
        login, loads = connection._login, list[threading.Event]()
        load = login._load_if_changed

        def load_when_allowed() -> object:
            may_end = threading.Event()
            loads.append(may_end)
            assert may_end.wait(WAIT_SECONDS)
            return load()

        monkeypatch.setattr(login, "_load_if_changed", load_when_allowed)
        first = asyncio.create_task(login.reload(login.revision))
        await wait_until(lambda: len(loads) == 1)
        others = [asyncio.create_task(login.reload(login.revision)) for _ in range(2)]
        await asyncio.sleep(0)
        loads[0].set()
        assert not await with_timeout(first)
        await wait_until(lambda: len(loads) == 2)
        file.write_text(with_user(file, {"token": "new"}))
        others[0].cancel()
        loads[1].set()
        await wait_until(lambda: len(loads) == 3 or others[1].done())
        for may_end in loads:
            may_end.set()
        assert await with_timeout(others[1])


async def test_the_login_may_move_to_another_file_of_several(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    second = write_kubeconfig(tmp_path / "second", token_checking_api.url, {"token": "old"})
    token_checking_api.accepted_tokens = {"new"}
    environ = {"KUBECONFIG": f"{first}:{second}"}
    connection = await Connection.open(ConnectionOptions(), environ)
    try:
        with pytest.raises(ApiError):
            await connection.get("/fine")
        # A login tool writes the first file of KUBECONFIG, which was not there before.
        first.write_text(yaml.safe_dump({"users": [{"name": "me", "user": {"token": "new"}}]}))
        await connection.get("/fine")
    finally:
        await connection.close()


async def test_a_server_that_moves_is_found(tmp_path: Path) -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.json_response({})

    first, second = FakeApiServer(), FakeApiServer()
    for api in (first, second):
        api.add_route("/fine", respond)
    async with serve(second):
        async with serve(first):
            file = write_kubeconfig(tmp_path / "config", first.url)
            connection = await open_connection(file)
            await connection.get("/fine")
            connection.supports_watch_list = False
            assert await connection.server_version() == (1, 33)
        try:
            with pytest.raises(Exception, match=r"refused|was lost"):
                await connection.get("/fine")
            assert connection.server_revision == 1
            write_kubeconfig(file, second.url)
            await connection.get("/fine")
            assert (connection.server, connection.server_revision) == (second.url, 2)
            second.minor_version = 36
            assert await connection.server_version() == (1, 36)
            assert connection.supports_watch_list, "that of the first server"
        finally:
            await connection.close()


# -- certificates --------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    folder.mkdir()
    for authority in ("ca", "ca2"):
        create_authority(folder, authority)
        issue_certificate(folder, f"server-{authority}", authority)
    for client in ("client", "client2"):
        issue_certificate(folder, client)
    return folder


def authority_entry(folder: Path, name: str, tmp_path: Path, *, inline: bool) -> dict[str, str]:
    if inline:
        data = base64.b64encode((folder / f"{name}.crt").read_bytes()).decode()
        return {"certificate-authority-data": data}
    shutil.copy(folder / f"{name}.crt", tmp_path / "authority")
    return {"certificate-authority": "authority"}


@pytest.mark.parametrize("inline", [True, False])
async def test_a_renewed_authority_is_trusted(
    certificates: Path, tmp_path: Path, inline: bool
) -> None:
    async def respond(_: web.Request) -> web.StreamResponse:
        response = web.json_response({})
        response.force_close()  # each request has a handshake of its own
        return response

    api = FakeApiServer()
    api.add_route("/fine", respond)
    tls = make_server_context(certificates, "server-ca")
    async with serve(api, tls=tls):
        entry = authority_entry(certificates, "ca", tmp_path, inline=inline)
        file = write_kubeconfig(tmp_path / "config", api.url, None, **entry)
        connection = await open_connection(file)
        try:
            await connection.get("/fine")
            tls.load_cert_chain(certificates / "server-ca2.crt", certificates / "server-ca2.key")
            with pytest.raises(ConnectionFailedError, match="is not trusted"):
                await connection.get("/fine")
            entry = authority_entry(certificates, "ca2", tmp_path, inline=inline)
            write_kubeconfig(file, api.url, None, **entry)
            await asyncio.gather(*(connection.get("/fine") for _ in range(6)))
            await connection.get("/fine")
        finally:
            await connection.close()


@asynccontextmanager
async def serve_client(certificates: Path, subjects: list[str]) -> AsyncIterator[FakeApiServer]:
    """A server that accepts the client certificate `client2` only."""

    async def who(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert") or {}
        subject = dict(pair[0] for pair in shown.get("subject", ())).get("commonName", "")
        subjects.append(subject)
        return web.json_response({}, status=200 if subject == "client2" else 401)

    api = FakeApiServer()
    api.add_route("/fine", who)
    tls = make_server_context(certificates, "server-ca", certificates / "ca.crt")
    assert tls.verify_mode is ssl.CERT_OPTIONAL
    async with serve(api, tls=tls):
        yield api


def client_entry(certificates: Path, name: str, tmp_path: Path, *, inline: bool) -> dict[str, str]:
    entry = {}
    for key, kind in (("client-certificate", "crt"), ("client-key", "key")):
        content = (certificates / f"{name}.{kind}").read_bytes()
        if inline:
            entry[f"{key}-data"] = base64.b64encode(content).decode()
        else:
            (tmp_path / kind).write_bytes(content)
            entry[key] = kind
    return entry


@pytest.mark.parametrize("inline", [True, False])
async def test_a_renewed_client_certificate_is_used(
    certificates: Path, tmp_path: Path, inline: bool
) -> None:
    subjects: list[str] = []
    async with serve_client(certificates, subjects) as api:
        authority = {"certificate-authority": str(certificates / "ca.crt")}
        entry = client_entry(certificates, "client", tmp_path, inline=inline)
        file = write_kubeconfig(tmp_path / "config", api.url, entry, **authority)
        connection = await open_connection(file)
        try:
            with pytest.raises(ApiError):
                await connection.get("/fine")
            entry = client_entry(certificates, "client2", tmp_path, inline=inline)
            write_kubeconfig(file, api.url, entry, **authority)
            await connection.get("/fine")
        finally:
            await connection.close()
    assert subjects == ["client", "client", "client2"]


async def test_a_server_is_probed_with_the_client_certificate_of_a_new_login(
    certificates: Path, tmp_path: Path
) -> None:
    subjects: list[str] = []
    async with serve_client(certificates, subjects) as api:
        answer = api._find_route("/fine")
        assert answer is not None
        api.add_route("/version", answer)
        authority = {"certificate-authority": str(certificates / "ca.crt")}
        entry = client_entry(certificates, "client2", tmp_path, inline=True)
        file = write_kubeconfig(tmp_path / "config", api.url, entry, **authority)
        connection = await open_connection(file)
        try:
            await connection.probe(WAIT_SECONDS)
        finally:
            await connection.close()
    assert subjects == ["client2"]


async def test_a_certificate_whose_key_is_not_there_yet_waits_for_it(
    certificates: Path, tmp_path: Path
) -> None:
    subjects: list[str] = []
    async with serve_client(certificates, subjects) as api:
        authority = {"certificate-authority": str(certificates / "ca.crt")}
        entry = client_entry(certificates, "client", tmp_path, inline=False)
        connection = await open_connection(
            write_kubeconfig(tmp_path / "config", api.url, entry, **authority)
        )
        try:
            shutil.copy(certificates / "client2.crt", tmp_path / "crt")
            with pytest.raises(ApiError, match="does not accept the credentials"):
                await connection.get("/fine")
            assert not await connection.try_login_again()
            shutil.copy(certificates / "client2.key", tmp_path / "key")
            await connection.get("/fine")
        finally:
            await connection.close()
    assert subjects == ["client", "client", "client2"]


# -- in a Pod ------------------------------------------------------------------------------------


def publish(account: Path, authority: Path, token: str, version: str) -> None:
    """What the kubelet does: a new folder, to which the link `..data` is switched at once."""
    folder = account / f"..{version}"
    folder.mkdir(parents=True)
    (folder / "token").write_text(token)
    shutil.copy(authority, folder / "ca.crt")
    (folder / "namespace").write_text("team")
    link = account / "..data_tmp"
    link.symlink_to(folder.name)
    link.replace(account / "..data")
    for name in ("token", "ca.crt", "namespace"):
        if not (account / name).is_symlink():
            (account / name).symlink_to(f"..data/{name}")


async def test_token_and_authority_of_a_service_account_are_renewed(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, accepted = TokenCheckingServer(), {"one"}
    api.accepted_tokens = accepted
    tls = make_server_context(certificates, "server-ca")
    account = tmp_path / "account"
    publish(account, certificates / "ca.crt", "one", "1")
    monkeypatch.setattr(kubeconfig_loader, "SERVICE_ACCOUNT_DIR", account)
    async with serve(api, tls=tls) as port:
        environ = {
            "HOME": str(tmp_path),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(port),
        }
        connection = await Connection.open(ConnectionOptions(), environ)
        try:
            await connection.get("/fine")
            publish(account, certificates / "ca.crt", "two", "2")
            accepted.clear()
            accepted.add("two")
            await connection.get("/fine")
        finally:
            await connection.close()
        # The certificate is presented to new connections only.
        connection = await Connection.open(ConnectionOptions(), environ)
        try:
            tls.load_cert_chain(certificates / "server-ca2.crt", certificates / "server-ca2.key")
            with pytest.raises(ConnectionFailedError, match="is not trusted"):
                await connection.get("/fine")
            publish(account, certificates / "ca2.crt", "two", "3")
            await connection.get("/fine")
        finally:
            await connection.close()


# -- pipes ---------------------------------------------------------------------------------------


async def test_a_kubeconfig_from_a_pipe_is_read_once(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    text = write_kubeconfig(
        tmp_path / "config", token_checking_api.url, {"tokenFile": str(tmp_path / "token")}
    ).read_bytes()
    (tmp_path / "token").write_text("one")
    token_checking_api.accepted_tokens = {"one"}
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as file:
            file.write(text)
        options = ConnectionOptions((Path(f"/dev/fd/{reader}"),))
        for _ in range(2):
            connection = await Connection.open(options, {})
            try:
                await connection.get("/fine")
                (tmp_path / "token").write_text("two")
                token_checking_api.accepted_tokens = {"two"}
                await connection.get("/fine")
            finally:
                await connection.close()
    finally:
        os.close(reader)
        kubeconfig_loader._pipe_contents.clear()


def test_a_pipe_without_a_writer_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeconfig_loader, "_PIPE_TIMEOUT", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Exception, match=r"Cannot read the kubeconfig .*pipe: nothing was written"):
        kubeconfig_loader.load_kubeconfig(ConnectionOptions((pipe,)), {})


def test_an_endless_kubeconfig_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig_loader, "_MAX_FILE_BYTES", 1 << 20)
    try:
        with pytest.raises(Exception, match="is longer than 1 MiB"):
            kubeconfig_loader.load_kubeconfig(ConnectionOptions((Path("/dev/zero"),)), {})
    finally:
        kubeconfig_loader._pipe_contents.clear()
