"""Credential plugins."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.auth.credentials import CredentialManager
from servedeck.cluster.auth.exec_plugin import Credential, ExecPlugin
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
from servedeck.cluster.http.errors import ApiError, ConfigError, CredentialsError
from tests.cluster.auth.credential_fixtures import (
    API_VERSION,
    FAR_FUTURE,
    TokenCheckingServer,
    connected_as,
    count_runs,
    make_exec_user,
    plugin_script,
    write_script,
)
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig
from tests.waiting import with_timeout


async def test_plugin_is_run_once_while_its_token_lives(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    plugin = write_script(
        tmp_path / "plugin", plugin_script(count, token="t-RUN", expirationTimestamp=FAR_FUTURE)
    )
    token_checking_api.accepted_tokens = {"t-1"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        await asyncio.gather(*(connection.get("/fine") for _ in range(12)))
    assert count_runs(count) == 1


async def test_plugin_is_run_again_once_its_token_ran_out(tmp_path: Path) -> None:
    count = tmp_path / "count"
    expiry = "2030-01-01T00:00:00.123456789+09:00"
    plugin = write_script(
        tmp_path / "plugin", plugin_script(count, token="t-RUN", expirationTimestamp=expiry)
    )
    file = write_kubeconfig(tmp_path / "config", "https://x", make_exec_user(plugin))
    now = datetime(2029, 12, 31, 14, tzinfo=UTC)
    credentials = CredentialManager(
        load_kubeconfig(ConnectionOptions((file,)), {}).get_context(), now=lambda: now
    )
    for _ in range(2):
        assert (await credentials.current()).authorization == "Bearer t-1"
    now = datetime(2029, 12, 31, 14, 59, 55, tzinfo=UTC)
    assert (await credentials.current()).authorization == "Bearer t-2"


async def test_an_expiry_in_the_past_counts_as_none_until_a_401(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    past = "2001-01-01T00:00:00Z"
    plugin = write_script(
        tmp_path / "plugin", plugin_script(count, token="t-RUN", expirationTimestamp=past)
    )
    token_checking_api.accepted_tokens = {"t-1", "t-2"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        for _ in range(5):
            await connection.get("/fine")
        assert count_runs(count) == 1
        token_checking_api.accepted_tokens = {"t-2"}
        await connection.get("/fine")
    assert token_checking_api.seen_tokens[-2:] == ["t-1", "t-2"]


async def test_plugin_is_run_again_once_after_a_401(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="t-RUN"))
    token_checking_api.accepted_tokens = {"t-2"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        await asyncio.gather(*(connection.get("/fine") for _ in range(12)))
        assert count_runs(count) == 2, "a dozen rejected requests renew together"
        token_checking_api.accepted_tokens = set()
        with pytest.raises(ApiError):
            await connection.get("/fine")


async def test_a_login_made_since_counts_at_once_where_the_operator_asks(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("old")
    async with connected_as(token_checking_api, tmp_path, {"tokenFile": "token"}) as connection:
        with pytest.raises(ApiError):
            await connection.get("/fine")
        (tmp_path / "token").write_text("new")
        token_checking_api.accepted_tokens = {"new"}
        with pytest.raises(ApiError):  # a dozen watches must not refresh concurrently
            await connection.get("/fine")
        connection.reset_backoff()
        await connection.get("/fine")


async def test_plugin_gets_environment_arguments_and_cluster(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    plugin = write_script(
        tmp_path / "bin" / "plugin",
        f'echo "$KUBERNETES_EXEC_INFO" > {output}\necho "$1 $COLOR $(cat | wc -c)" >> {output}\n'
        + plugin_script(tmp_path / "count", token="t"),
    )
    token_checking_api.accepted_tokens = {"t"}
    user = make_exec_user(
        os.path.relpath(plugin, tmp_path),
        args=["login"],
        env=[{"name": "COLOR", "value": "blue"}],
        provideClusterInfo=True,
        interactiveMode="IfAvailable",
    )
    extension = {"name": API_VERSION.partition("/")[0] + "/exec", "extension": {"audience": "me"}}
    async with connected_as(
        token_checking_api, tmp_path, user, extensions=[extension]
    ) as connection:
        await connection.get("/fine")
    info, arguments = output.read_text().splitlines()
    assert json.loads(info) == {
        "apiVersion": API_VERSION,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {"server": token_checking_api.url, "config": {"audience": "me"}},
        },
    }
    assert arguments.split() == ["login", "blue", "0"]


async def test_certificate_of_a_plugin_is_used_and_replaced(tmp_path: Path) -> None:
    ca = create_authority(tmp_path)
    for name in ("server", "client", "client2"):
        issue_certificate(tmp_path, name)
    api = FakeApiServer()
    subjects: list[str] = []

    async def who(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert") or {}
        subjects.append(dict(pair[0] for pair in shown.get("subject", ()))["commonName"])
        code = 401 if len(subjects) == 2 else 200
        return web.json_response({}, status=code)

    api.add_route("/fine", who)
    answers = [
        json.dumps(
            {
                "apiVersion": API_VERSION,
                "kind": "ExecCredential",
                "status": {
                    "clientCertificateData": (tmp_path / f"{name}.crt").read_text(),
                    "clientKeyData": (tmp_path / f"{name}.key").read_text(),
                },
            }
        )
        for name in ("client", "client2")
    ]
    (tmp_path / "answer").write_text(answers[0])
    plugin = write_script(tmp_path / "plugin", f"cat {tmp_path}/answer")
    tls = make_server_context(tmp_path, "server", ca)
    async with (
        serve(api, tls=tls),
        connected_as(
            api, tmp_path, make_exec_user(plugin), **{"certificate-authority": str(ca)}
        ) as connection,
    ):
        await connection.get("/fine")
        (tmp_path / "answer").write_text(answers[1])
        await connection.get("/fine")
    assert subjects == ["client", "client", "client2"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("echo 'token expired, run login' >&2; exit 3", "exit code 3: token expired, run login;"),
        ("exit 1", "failed with exit code 1;"),
        ("echo nonsense", "did not write an ExecCredential"),
        ("echo '{}'", "answered with apiVersion (none)"),
        (f'echo \'{{"apiVersion": "{API_VERSION}"}}\'', "neither a token nor a certificate"),
        (
            f'echo \'{{"apiVersion": "{API_VERSION}beta1", "status": {{"token": "x"}}}}\'',
            "use the same in both",
        ),
        ("head -c 2000000 /dev/zero | tr '\\0' ' '", "wrote more than 1 MiB"),
        (
            f'echo \'{{"apiVersion": "{API_VERSION}", "status": {{"token": "x\\\\ny"}}}}\'',
            "contains a line break",
        ),
        (
            f'echo \'{{"apiVersion": "{API_VERSION}", "status": {{"clientKeyData": "x"}}}}\'',
            "client certificate without its key",
        ),
        (
            f'echo \'{{"apiVersion": "{API_VERSION}", "status":'
            ' {"token": "x", "expirationTimestamp": "soon"}}\'',
            "not RFC 3339",
        ),
    ],
)
async def test_plugins_that_fail_are_reported(
    token_checking_api: TokenCheckingServer, tmp_path: Path, body: str, expected: str
) -> None:
    plugin = write_script(tmp_path / "plugin", body)
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        with pytest.raises(CredentialsError) as caught:
            await connection.get("/fine")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_what_a_plugin_says_on_failing_is_quoted_without_its_tokens(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    secret = "s3cr3t" * 100
    plugin = write_script(
        tmp_path / "plugin",
        f"echo 'cached token: {secret}' >&2; echo 'sent Authorization: Bearer {secret} to x' >&2\n"
        "exit 3",
    )
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        with pytest.raises(CredentialsError) as caught:
            await connection.get("/fine")
    assert "sent Authorization: Bearer [hidden] to x" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_missing_plugin_shows_how_to_install_it(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    user = make_exec_user("no-such-plugin", installHint="Run:\n  apt install it")
    async with connected_as(token_checking_api, tmp_path, user) as connection:
        with pytest.raises(CredentialsError, match=r"not installed .*Run: apt install it"):
            await connection.get("/fine")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1"),
        ({"apiVersion": API_VERSION}, "has no command"),
        (
            {"command": "x", "apiVersion": API_VERSION, "interactiveMode": "Always"},
            "needs a terminal",
        ),
        (
            {"command": "x", "apiVersion": API_VERSION, "interactiveMode": "Sometimes"},
            "use Never, IfAvailable or Always",
        ),
        ({"command": "x", "apiVersion": API_VERSION, "args": "a"}, "not a list"),
        ({"command": "x", "apiVersion": API_VERSION, "env": [{"value": "a"}]}, "without a name"),
    ],
)
async def test_plugin_entries_that_cannot_be_used(
    tmp_path: Path, entry: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        await open_connection(write_kubeconfig(tmp_path / "config", "https://x", {"exec": entry}))


async def test_megabytes_on_standard_error_do_not_block_a_plugin(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    noise = "head -c 3000000 /dev/zero | tr '\\0' x >&2\n"
    plugin = write_script(tmp_path / "plugin", noise + plugin_script(tmp_path / "count", token="t"))
    token_checking_api.accepted_tokens = {"t"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        await with_timeout(connection.get("/fine"))


def test_secrets_stay_out_of_repr() -> None:
    assert "secret" not in repr(Credential("Bearer secret", b"secret", b"secret"))


def test_command_of_a_plugin_is_looked_for_beside_its_kubeconfig(tmp_path: Path) -> None:
    for command, found in (
        ("./bin/plugin", str(tmp_path / "bin" / "plugin")),
        ("/abs/plugin", "/abs/plugin"),
        ("plugin", "plugin"),
    ):
        file = write_kubeconfig(tmp_path / "config", "https://x", make_exec_user(command))
        here = load_kubeconfig(ConnectionOptions((file,)), {}).get_context()
        assert ExecPlugin.from_user(here.user, here.cluster).command == found
