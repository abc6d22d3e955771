"""OIDC logins and unsupported auth providers."""

from __future__ import annotations

import base64
import json
import stat
import time
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
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig


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
