from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.auth import oidc
from servedeck.cluster.auth.credentials import CredentialManager
from servedeck.cluster.auth.exec_plugin import Credential, ExecPlugin
from servedeck.cluster.auth.kubeconfig import ConnectionOptions, load_kubeconfig
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ConfigError, CredentialsError
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig
from tests.waiting import with_timeout

API_VERSION = "client.authentication.k8s.io/v1"
FAR_FUTURE = "2999-01-01T00:00:00Z"


def write_script(file: Path, body: str) -> Path:
    """Write an executable shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def plugin_script(count_file: Path, **status: Any) -> str:
    """Body of a plugin that counts its runs in a file and prints an ExecCredential. RUN is
    replaced by the run number."""
    answer = json.dumps({"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status})
    return (
        f"echo run >> {count_file}\nRUN=$(wc -l < {count_file} | tr -d ' ')\n"
        f"cat <<END | sed s/RUN/$RUN/\n{answer}\nEND"
    )


def make_exec_user(command: object, **more: Any) -> dict[str, Any]:
    return {"exec": {"apiVersion": API_VERSION, "command": str(command), **more}}


class TokenCheckingServer(FakeApiServer):
    """Accepts only the tokens in `accepted_tokens`."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted_tokens: set[str] = set()
        self.seen_tokens: list[str] = []
        self.add_route("/fine", self._check_token)

    async def _check_token(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.seen_tokens.append(token)
        code = 200 if token in self.accepted_tokens else 401
        return web.json_response({"code": code}, status=code)


@pytest.fixture
async def guarded() -> AsyncIterator[TokenCheckingServer]:
    api = TokenCheckingServer()
    async with serve(api):
        yield api


@asynccontextmanager
async def connected_as(
    api: FakeApiServer, tmp_path: Path, user: dict[str, Any], **cluster: Any
) -> AsyncIterator[Connection]:
    connection = await open_connection(
        write_kubeconfig(tmp_path / "config", api.url, user, **cluster)
    )
    try:
        yield connection
    finally:
        await connection.close()


def count_runs(count_file: Path) -> int:
    return len(count_file.read_text().splitlines()) if count_file.exists() else 0


# -- tokens ---------------------------------------------------------------------------------------


async def test_token_file_that_changes_is_read_again(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("one\n")
    guarded.accepted_tokens = {"one"}
    async with connected_as(
        guarded, tmp_path, {"tokenFile": "token", "token": "old"}
    ) as connection:
        await connection.get("/fine")
        guarded.accepted_tokens = {"two"}
        (tmp_path / "token").write_text("two\n")
        await connection.get("/fine")
        assert guarded.seen_tokens == ["one", "one", "two"], "a refused token is read again at once"
        (tmp_path / "token").unlink()
        guarded.accepted_tokens = set()
        with pytest.raises(CredentialsError, match="Cannot read the token file"):
            await connection.get("/fine")


async def test_token_file_is_read_again_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    now = 0.0
    file = write_kubeconfig(tmp_path / "config", "http://x", {"tokenFile": "token"})
    credentials = CredentialManager(
        load_kubeconfig(ConnectionOptions((file,)), {}).get_context(), lambda: now
    )
    assert (await credentials.current()).authorization == "Bearer one"
    (tmp_path / "token").write_text("two")
    assert (await credentials.current()).authorization == "Bearer one"
    now = 11.0
    assert (await credentials.current()).authorization == "Bearer two"


async def test_refused_token_is_tried_once(guarded: TokenCheckingServer, tmp_path: Path) -> None:
    async with connected_as(guarded, tmp_path, {"token": "wrong"}) as connection:
        with pytest.raises(ApiError, match="does not accept the credentials of user 'me'"):
            await connection.get("/fine")
    assert guarded.seen_tokens == ["wrong"]


# -- plugins --------------------------------------------------------------------------------------


async def test_plugin_is_run_once_while_its_token_lives(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    plugin = write_script(
        tmp_path / "plugin", plugin_script(count, token="t-RUN", expirationTimestamp=FAR_FUTURE)
    )
    guarded.accepted_tokens = {"t-1"}
    async with connected_as(guarded, tmp_path, make_exec_user(plugin)) as connection:
        await asyncio.gather(*(connection.get("/fine") for _ in range(12)))
    assert count_runs(count) == 1


async def test_plugin_is_run_again_once_its_token_ran_out(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    past = "2001-01-01T00:00:00.123456789+09:00"
    plugin = write_script(
        tmp_path / "plugin", plugin_script(count, token="t-RUN", expirationTimestamp=past)
    )
    guarded.accepted_tokens = {"t-1", "t-2"}
    async with connected_as(guarded, tmp_path, make_exec_user(plugin)) as connection:
        await connection.get("/fine")
        await connection.get("/fine")
    assert guarded.seen_tokens == ["t-1", "t-2"]


async def test_plugin_is_run_again_once_after_a_401(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="t-RUN"))
    guarded.accepted_tokens = {"t-2"}
    async with connected_as(guarded, tmp_path, make_exec_user(plugin)) as connection:
        await asyncio.gather(*(connection.get("/fine") for _ in range(12)))
        assert count_runs(count) == 2, "a dozen refused requests renew together"
        guarded.accepted_tokens = set()
        with pytest.raises(ApiError):
            await connection.get("/fine")


async def test_plugin_that_gives_the_same_again_is_not_run_for_each_request(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="same"))
    async with connected_as(guarded, tmp_path, make_exec_user(plugin)) as connection:
        for _ in range(5):
            with pytest.raises(ApiError):
                await connection.get("/fine")
    assert count_runs(count) == 2


async def test_a_login_made_since_counts_at_once_where_the_operator_asks(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("old")
    async with connected_as(guarded, tmp_path, {"tokenFile": "token"}) as connection:
        with pytest.raises(ApiError):
            await connection.get("/fine")
        (tmp_path / "token").write_text("new")
        guarded.accepted_tokens = {"new"}
        with pytest.raises(ApiError):  # a dozen watches must not refresh concurrently
            await connection.get("/fine")
        connection.reset_backoff()
        await connection.get("/fine")


async def test_plugin_gets_environment_arguments_and_cluster(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    plugin = write_script(
        tmp_path / "bin" / "plugin",
        f'echo "$KUBERNETES_EXEC_INFO" > {said}\necho "$1 $COLOUR $(cat | wc -c)" >> {said}\n'
        + plugin_script(tmp_path / "count", token="t"),
    )
    guarded.accepted_tokens = {"t"}
    user = make_exec_user(
        os.path.relpath(plugin, tmp_path),
        args=["login"],
        env=[{"name": "COLOUR", "value": "blue"}],
        provideClusterInfo=True,
        interactiveMode="IfAvailable",
    )
    extension = {"name": API_VERSION.partition("/")[0] + "/exec", "extension": {"audience": "me"}}
    async with connected_as(guarded, tmp_path, user, extensions=[extension]) as connection:
        await connection.get("/fine")
    info, arguments = said.read_text().splitlines()
    assert json.loads(info) == {
        "apiVersion": API_VERSION,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {"server": guarded.url, "config": {"audience": "me"}},
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
    ("body", "said"),
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
async def test_plugins_that_fail_are_said(
    guarded: TokenCheckingServer, tmp_path: Path, body: str, said: str
) -> None:
    plugin = write_script(tmp_path / "plugin", body)
    async with connected_as(guarded, tmp_path, make_exec_user(plugin)) as connection:
        with pytest.raises(CredentialsError) as caught:
            await connection.get("/fine")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_what_a_plugin_says_on_failing_is_quoted_without_its_tokens(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    secret = "s3cr3t" * 100
    plugin = write_script(
        tmp_path / "plugin",
        f"echo 'cached token: {secret}' >&2; echo 'sent Authorization: Bearer {secret} to x' >&2\n"
        "exit 3",
    )
    async with connected_as(guarded, tmp_path, make_exec_user(plugin)) as connection:
        with pytest.raises(CredentialsError) as caught:
            await connection.get("/fine")
    assert "sent Authorization: Bearer [hidden] to x" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_missing_plugin_shows_how_to_install_it(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    user = make_exec_user("no-such-plugin", installHint="Run:\n  apt install it")
    async with connected_as(guarded, tmp_path, user) as connection:
        with pytest.raises(CredentialsError, match=r"not installed .*Run: apt install it"):
            await connection.get("/fine")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1"),
        ({"apiVersion": API_VERSION}, "names no command"),
        (
            {"command": "x", "apiVersion": API_VERSION, "interactiveMode": "Always"},
            "needs a terminal",
        ),
        ({"command": "x", "apiVersion": API_VERSION, "args": "a"}, "not a list"),
        ({"command": "x", "apiVersion": API_VERSION, "env": [{"value": "a"}]}, "without a name"),
    ],
)
async def test_plugin_entries_that_cannot_be_used(
    tmp_path: Path, entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        await open_connection(write_kubeconfig(tmp_path / "config", "http://x", {"exec": entry}))


async def test_megabytes_on_standard_error_do_not_block_a_plugin(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    noise = "head -c 3000000 /dev/zero | tr '\\0' x >&2\n"
    plugin = write_script(tmp_path / "plugin", noise + plugin_script(tmp_path / "count", token="t"))
    guarded.accepted_tokens = {"t"}
    async with connected_as(guarded, tmp_path, make_exec_user(plugin)) as connection:
        await with_timeout(connection.get("/fine"))


def test_secrets_stay_out_of_repr() -> None:
    assert "secret" not in repr(Credential("Bearer secret", b"secret", b"secret"))


def test_command_of_a_plugin_is_looked_for_beside_its_kubeconfig(tmp_path: Path) -> None:
    for command, found in (
        ("./bin/plugin", str(tmp_path / "bin" / "plugin")),
        ("/abs/plugin", "/abs/plugin"),
        ("plugin", "plugin"),
    ):
        file = write_kubeconfig(tmp_path / "config", "http://x", make_exec_user(command))
        here = load_kubeconfig(ConnectionOptions((file,)), {}).get_context()
        assert ExecPlugin.from_user(here.user, here.cluster).command == found


# -- auth providers -------------------------------------------------------------------------------


def make_jwt(expires: float, name: str = "") -> str:
    parts = [{"alg": "none"}, {"exp": int(expires), "name": f"{name}???>>>"}]
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    ]
    return ".".join((*encoded, "signature"))


def make_oidc_user(**config: str) -> dict[str, Any]:
    return {"auth-provider": {"name": "oidc", "config": config}}


async def test_oidc_token_is_used_while_it_lives(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    token = make_jwt(time.time() + 3600)
    guarded.accepted_tokens = {token}
    async with connected_as(guarded, tmp_path, make_oidc_user(**{"id-token": token})) as connection:
        await connection.get("/fine")


async def test_oidc_login_is_renewed_and_written_back(tmp_path: Path) -> None:
    create_authority(tmp_path)
    issue_certificate(tmp_path, "issuer")
    issuer, api = FakeApiServer(), TokenCheckingServer()
    new = make_jwt(time.time() + 3600, "new")
    forms: list[dict[str, str]] = []

    async def well_known(_: web.Request) -> web.StreamResponse:
        return web.json_response({"token_endpoint": f"{issuer.url}/token"})

    async def token(request: web.Request) -> web.StreamResponse:
        forms.append({key: str(value) for key, value in (await request.post()).items()})
        return web.json_response({"id_token": new, "refresh_token": "second"})

    issuer.add_route("/.well-known/openid-configuration", well_known)
    issuer.add_route("/token", token)
    api.accepted_tokens = {new}
    async with serve(issuer, tls=make_server_context(tmp_path, "issuer")), serve(api):
        user = make_oidc_user(
            **{
                "id-token": make_jwt(time.time() - 5),
                "refresh-token": "first",
                "client-id": "app",
                "client-secret": "s",
                "idp-issuer-url": issuer.url,
                "idp-certificate-authority": "ca.crt",
            }
        )
        file = write_kubeconfig(tmp_path / "config", api.url, user)
        file.chmod(0o600)
        connection = await open_connection(file)
        await connection.get("/fine")
        await connection.close()
        assert forms[0]["refresh_token"] == "first"
        config = (
            load_kubeconfig(ConnectionOptions((file,)), {})
            .get_context()
            .user.entry["auth-provider"]["config"]
        )
        assert (config["id-token"], config["refresh-token"]) == (new, "second")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

        # no secret is sent to a provider whose certificate is not trusted
        user["auth-provider"]["config"].pop("idp-certificate-authority")
        connection = await open_connection(write_kubeconfig(tmp_path / "config", api.url, user))
        with pytest.raises(CredentialsError, match="Cannot renew"):
            await connection.get("/fine")
        await connection.close()
        assert len(forms) == 1


async def test_oidc_login_with_nothing_to_renew_it(
    guarded: TokenCheckingServer, tmp_path: Path
) -> None:
    user = make_oidc_user(**{"id-token": make_jwt(time.time() - 5)})
    async with connected_as(guarded, tmp_path, user) as connection:
        with pytest.raises(CredentialsError, match="log in again"):
            await connection.get("/fine")


@pytest.mark.parametrize(
    ("authority", "said"),
    [
        ({"idp-certificate-authority": "gone.crt"}, "No such file or directory"),
        ({"idp-certificate-authority": "config"}, "idp-certificate-authority cannot be used"),
        ({"idp-certificate-authority-data": "a"}, "idp-certificate-authority cannot be used"),
    ],
)
async def test_oidc_authority_that_cannot_be_read_is_a_sentence(
    guarded: TokenCheckingServer, tmp_path: Path, authority: dict[str, str], said: str
) -> None:
    user = make_oidc_user(
        **{
            "id-token": make_jwt(time.time() - 5),
            "refresh-token": "first",
            "client-id": "app",
            "idp-issuer-url": "https://127.0.0.1:1",
            **authority,
        }
    )
    async with connected_as(guarded, tmp_path, user) as connection:
        with pytest.raises(CredentialsError, match=said) as caught:
            await connection.get("/fine")
    assert "[Errno" not in str(caught.value)


@pytest.mark.parametrize("name", ["azure", "gcp"])
async def test_other_providers_are_refused(tmp_path: Path, name: str) -> None:
    user = {"auth-provider": {"name": name, "config": {}}}
    with pytest.raises(ConfigError, match=f"auth-provider '{name}', which kubectl dropped"):
        await open_connection(write_kubeconfig(tmp_path / "config", "http://x", user))


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.e30.c", "a.bnVsbA.c", "a.W10.c"])
def test_tokens_that_are_none(token: str) -> None:
    assert oidc._jwt_expiry(token) is None
