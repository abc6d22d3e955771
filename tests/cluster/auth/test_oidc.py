"""OIDC logins and unsupported auth providers."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.auth import oidc
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
from servedeck.cluster.http.errors import ConfigError, CredentialsError
from tests.cluster.auth.credential_fixtures import TokenCheckingServer, connected_as
from tests.cluster.certificates import create_authority, issue_certificate, make_server_context
from tests.cluster.fake_api_server import (
    FakeApiServer,
    bind_port,
    open_connection,
    serve,
    write_kubeconfig,
)


def make_jwt(expires: float, name: str = "") -> str:
    parts = [{"alg": "none"}, {"exp": int(expires), "name": f"{name}???>>>"}]
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    ]
    return ".".join((*encoded, "signature"))


def make_oidc_user(**config: str) -> dict[str, Any]:
    return {"auth-provider": {"name": "oidc", "config": config}}


async def test_oidc_token_is_used_while_it_lives(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    token = make_jwt(time.time() + 3600)
    token_checking_api.accepted_tokens = {token}
    async with connected_as(
        token_checking_api, tmp_path, make_oidc_user(**{"id-token": token})
    ) as connection:
        await connection.get("/fine")


class IdentityProvider(FakeApiServer):
    """An OpenID Connect provider that gives `token` for any refresh token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.token_endpoint = ""
        """The address to name; "" for the provider's own."""
        self.forms: list[dict[str, str]] = []
        self.add_route("/.well-known/openid-configuration", self.describe)
        self.add_route("/token", self.give_token)

    async def describe(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"token_endpoint": self.token_endpoint or f"{self.url}/token"})

    async def give_token(self, request: web.Request) -> web.StreamResponse:
        self.forms.append({key: str(value) for key, value in (await request.post()).items()})
        return web.json_response({"id_token": self.token, "refresh_token": "second-secret"})


@pytest.fixture
def renewed() -> str:
    return make_jwt(time.time() + 3600, "new")


@pytest.fixture
async def issuer(tmp_path: Path, renewed: str) -> AsyncIterator[IdentityProvider]:
    create_authority(tmp_path)
    issue_certificate(tmp_path, "issuer")
    issuer = IdentityProvider(renewed)
    async with serve(issuer, tls=make_server_context(tmp_path, "issuer")):
        yield issuer


def make_expired_user(issuer_url: str, **more: str) -> dict[str, Any]:
    """A user whose login has to be renewed; the authority is that of the fixture `issuer`."""
    config = {
        "id-token": make_jwt(time.time() - 5),
        "refresh-token": "first-secret",
        "client-id": "app",
        "client-secret": "client-password",
        "idp-issuer-url": issuer_url,
        "idp-certificate-authority": "ca.crt",
    }
    return make_oidc_user(**{**config, **more})


async def fail_to_renew(
    token_checking_api: TokenCheckingServer, tmp_path: Path, user: dict[str, Any]
) -> str:
    """The sentence that a request ends with, since the login cannot be renewed."""
    async with connected_as(token_checking_api, tmp_path, user) as connection:
        with pytest.raises(CredentialsError) as caught:
            await connection.get("/fine")
    return str(caught.value)


async def test_oidc_login_is_renewed_and_written_back(
    token_checking_api: TokenCheckingServer,
    issuer: IdentityProvider,
    renewed: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for logger in (None, "httpx", "httpcore"):  # another test may have set their levels
        caplog.set_level(logging.DEBUG, logger)
    token_checking_api.accepted_tokens = {renewed}
    file = write_kubeconfig(
        tmp_path / "config", token_checking_api.url, make_expired_user(issuer.url)
    )
    file.chmod(0o600)
    connection = await open_connection(file)
    await connection.get("/fine")
    await connection.close()
    assert issuer.forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "first-secret",
            "client_id": "app",
            "client_secret": "client-password",
        }
    ]
    config = (
        load_kubeconfig(ConnectionOptions((file,)), {})
        .get_context()
        .user.entry["auth-provider"]["config"]
    )
    assert (config["id-token"], config["refresh-token"]) == (renewed, "second-secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert caplog.records
    for secret in ("first-secret", "second-secret", "client-password", renewed):
        assert secret not in caplog.text


@pytest.mark.parametrize("authority", ["", "other.crt"])
async def test_no_secret_is_sent_to_a_provider_whose_certificate_is_not_trusted(
    token_checking_api: TokenCheckingServer,
    issuer: IdentityProvider,
    tmp_path: Path,
    authority: str,
) -> None:
    create_authority(tmp_path, "other")
    user = make_expired_user(issuer.url, **{"idp-certificate-authority": authority})
    message = await fail_to_renew(token_checking_api, tmp_path, user)
    assert message.startswith(
        f"Cannot renew the OpenID Connect login of user 'me' at {issuer.url}: "
    )
    assert "its certificate is not trusted (unable to get local issuer certificate)" in message
    assert (issuer.requests, issuer.forms) == ([], [])


@pytest.mark.parametrize("code", [302, 307, 308])
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token"])
async def test_a_redirect_of_the_provider_is_not_followed(
    token_checking_api: TokenCheckingServer,
    issuer: IdentityProvider,
    tmp_path: Path,
    path: str,
    code: int,
) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers={"Location": f"{issuer.url}/elsewhere"})

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise AssertionError("the redirect was followed")

    issuer.add_route(path, redirect)
    issuer.add_route("/elsewhere", elsewhere)
    message = await fail_to_renew(token_checking_api, tmp_path, make_expired_user(issuer.url))
    assert message.endswith(f"at {issuer.url}: the provider answered {code}; log in again.")
    assert issuer.forms == []


async def test_no_secret_is_sent_without_tls(
    token_checking_api: TokenCheckingServer, issuer: IdentityProvider, tmp_path: Path
) -> None:
    issuer.token_endpoint = f"{token_checking_api.url}/token"
    message = await fail_to_renew(token_checking_api, tmp_path, make_expired_user(issuer.url))
    assert "names no token endpoint with an https:// address; log in again" in message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "Expecting value"),
        ("[]", "the provider's response is not a JSON object"),
        ("{}", "the provider gave no id token"),
        ('{"id_token": 1}', "the provider gave no id token"),
    ],
)
async def test_a_response_without_a_token_is_a_one_line_error(
    token_checking_api: TokenCheckingServer,
    issuer: IdentityProvider,
    tmp_path: Path,
    body: str,
    message: str,
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    issuer.add_route("/token", answer)
    assert message in await fail_to_renew(
        token_checking_api, tmp_path, make_expired_user(issuer.url)
    )


async def test_a_provider_that_does_not_respond_is_a_one_line_error(
    token_checking_api: TokenCheckingServer,
    issuer: IdentityProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    issuer.add_route("/token", hang)
    monkeypatch.setattr(oidc, "REQUEST_SECONDS", 0.3)
    message = await fail_to_renew(token_checking_api, tmp_path, make_expired_user(issuer.url))
    assert "no answer within 0.3 s" in message


async def test_a_provider_that_is_down_is_a_one_line_error(
    token_checking_api: TokenCheckingServer, issuer: IdentityProvider, tmp_path: Path
) -> None:
    with bind_port() as unused:  # bound, and nobody listens
        url = f"https://127.0.0.1:{unused.getsockname()[1]}"
        message = await fail_to_renew(token_checking_api, tmp_path, make_expired_user(url))
    assert message.endswith(f"at {url}: Connection refused; log in again.")


async def test_a_proxy_that_cannot_be_used_is_a_one_line_error(
    token_checking_api: TokenCheckingServer,
    issuer: IdentityProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connected_as(
        token_checking_api, tmp_path, make_expired_user(issuer.url)
    ) as connection:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
        with pytest.raises(CredentialsError, match="SOCKS proxy"):
            await connection.get("/fine")


async def test_oidc_login_with_nothing_to_renew_it(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    user = make_oidc_user(**{"id-token": make_jwt(time.time() - 5)})
    async with connected_as(token_checking_api, tmp_path, user) as connection:
        with pytest.raises(CredentialsError, match="log in again"):
            await connection.get("/fine")


@pytest.mark.parametrize(
    ("authority", "message"),
    [
        ({"idp-certificate-authority": "gone.crt"}, "No such file or directory"),
        ({"idp-certificate-authority": "config"}, "idp-certificate-authority cannot be used"),
        ({"idp-certificate-authority-data": "a"}, "idp-certificate-authority cannot be used"),
    ],
)
async def test_an_authority_that_cannot_be_read_is_a_one_line_error(
    token_checking_api: TokenCheckingServer, tmp_path: Path, authority: dict[str, str], message: str
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
    async with connected_as(token_checking_api, tmp_path, user) as connection:
        with pytest.raises(CredentialsError, match=message) as caught:
            await connection.get("/fine")
    assert "[Errno" not in str(caught.value)


@pytest.mark.parametrize("name", ["azure", "gcp"])
async def test_other_providers_are_rejected(tmp_path: Path, name: str) -> None:
    user = {"auth-provider": {"name": name, "config": {}}}
    with pytest.raises(ConfigError, match=f"auth-provider '{name}', which kubectl removed"):
        await open_connection(write_kubeconfig(tmp_path / "config", "https://x", user))


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.e30.c", "a.bnVsbA.c", "a.W10.c"])
def test_tokens_that_are_none(token: str) -> None:
    assert oidc._jwt_expiry(token) is None
