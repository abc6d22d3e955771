"""The `auth-provider` entry of a kubeconfig: oidc, the only one that kubectl still has.

Source: kubernetes client-go plugin/pkg/client/auth/oidc/oidc.go. kubernetes-asyncio's own renewal
is not used: it does not verify the provider's certificate where the kubeconfig names none.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from servedeck.atomic_file import replace_file
from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import KubeconfigUser
from servedeck.cluster.auth.kubeconfig_yaml import dump_document, load_first_document
from servedeck.cluster.http.errors import ConfigError, CredentialsError, describe_error

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

REQUEST_SECONDS = 15.0
"""Seconds in which the provider must renew a login."""

_EXPIRY_MARGIN = timedelta(seconds=10)


def make_auth_provider(user: KubeconfigUser) -> OidcProvider:
    """The login that the user's `auth-provider` names; ConfigError where it is another one."""
    entry = user.entry["auth-provider"]
    name = entry.get("name") if isinstance(entry, dict) else None
    config = entry.get("config") or {} if isinstance(entry, dict) else {}
    if name == "oidc" and isinstance(config, dict):
        return OidcProvider(user, config)
    raise ConfigError(
        f"The user {user.name!r} logs in with the auth-provider {name!r}, which kubectl removed in"
        " 1.26; use the cloud's credential plugin (exec) instead."
    )


class OidcProvider:
    """An OpenID Connect login: an id token, renewed with a refresh token."""

    def __init__(self, user: KubeconfigUser, config: Mapping[str, Any]) -> None:
        self._user = user
        self._config = {key: str(value) for key, value in config.items() if value is not None}

    async def fetch(self, *, renew: bool) -> Credential:
        if not renew and (held := self._valid_credential()):
            return held
        # kubectl may have renewed it meanwhile, and a refresh token often works only once
        newer = await asyncio.to_thread(_load_provider_config, self._user)
        if newer and newer.get("id-token") != self._config.get("id-token"):
            self._config = newer
            if held := self._valid_credential():
                return held
        await self._refresh_tokens()
        if held := self._valid_credential():
            return held
        raise CredentialsError(f"The login of user {self._user.name!r} expired; log in again.")

    def _valid_credential(self) -> Credential | None:
        token = self._config.get("id-token", "")
        expires = _jwt_expiry(token)
        if not token or expires is None or expires - _EXPIRY_MARGIN <= datetime.now(UTC):
            return None
        return Credential(f"Bearer {token}", expires_at=expires)

    async def _refresh_tokens(self) -> None:
        whose = f"the OpenID Connect login of user {self._user.name!r}"
        issuer, refresh = self._config.get("idp-issuer-url"), self._config.get("refresh-token")
        if not issuer or not refresh or not self._config.get("client-id"):
            raise CredentialsError(
                f"Cannot renew {whose}: the kubeconfig lacks its issuer, client ID or refresh "
                "token; log in again."
            )
        if not issuer.startswith("https://"):
            raise CredentialsError(f"The issuer {issuer!r} of {whose} is not an https:// address.")
        authority = "idp-certificate-authority"
        try:
            context = await asyncio.to_thread(self._make_ssl_context, authority)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CredentialsError(
                f"Cannot renew {whose}: its {authority} cannot be used ({reason}); correct it in"
                f" {self._user.file}."
            ) from error
        try:
            given = await _request_tokens(context, issuer.rstrip("/"), self._config)
        except (OSError, ValueError) as error:
            raise CredentialsError(
                f"Cannot renew {whose} at {issuer}: {error}; log in again."
            ) from error
        self._config["id-token"] = given["id_token"]
        self._config["refresh-token"] = given.get("refresh_token") or refresh
        try:
            await asyncio.to_thread(_save_provider_config, self._user, self._config)
        except OSError as error:
            _log.warning("the renewed login could not be saved: %s", describe_error(error))

    def _make_ssl_context(self, key: str) -> ssl.SSLContext:
        """TLS context for the provider; called in a thread, where httpx is imported too."""
        import httpx  # noqa: F401

        return ssl.create_default_context(cadata=self._read_pem(key) or None)

    def _read_pem(self, key: str) -> str:
        """PEM text of `key`-data or of the file that `key` names; "" for neither."""
        if data := self._config.get(f"{key}-data"):
            return base64.b64decode(data).decode("ascii", "replace")
        path = self._config.get(key)
        return (self._user.file.absolute().parent / path).read_text("ascii") if path else ""


def _jwt_expiry(token: str) -> datetime | None:
    """`exp` of a JSON Web Token; None where it cannot be read. The API server
    verifies the signature."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = msgspec.json.decode(
            base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        )
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, msgspec.DecodeError, KeyError, TypeError, ValueError, OverflowError):
        return None


async def _request_tokens(
    context: ssl.SSLContext, issuer: str, config: Mapping[str, str]
) -> dict[str, str]:
    """The provider's answer to the refresh token. Redirects are not followed: they would send the
    token to an address that nobody named. Raises OSError and ValueError."""
    import httpx  # imported late because it is slow, and most logins do not need it

    form = {
        "grant_type": "refresh_token",
        "refresh_token": config["refresh-token"],
        "client_id": config["client-id"],
        "client_secret": config.get("client-secret", ""),
    }
    try:
        async with (
            # the client's own limit is one for each read: a slow answer would take forever
            asyncio.timeout(REQUEST_SECONDS),
            httpx.AsyncClient(
                verify=context, follow_redirects=False, timeout=REQUEST_SECONDS
            ) as client,
        ):
            response = await client.get(f"{issuer}/.well-known/openid-configuration")
            endpoint = _read_response(response).get("token_endpoint")
            if not isinstance(endpoint, str) or not endpoint.startswith("https://"):
                raise ValueError("the provider names no token endpoint with an https:// address")
            given = _read_response(await client.post(endpoint, data=form))
    except (TimeoutError, httpx.TimeoutException) as error:
        raise ValueError(f"no answer within {REQUEST_SECONDS:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, ImportError) as error:
        # ImportError: the environment names a SOCKS proxy, which httpx needs another package for
        raise ValueError(_find_reason(error)) from error
    if not isinstance(given.get("id_token"), str):
        raise ValueError("the provider gave no id token")
    return given


def _read_response(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a response."""
    if not response.is_success:
        raise ValueError(f"the provider answered {response.status_code}")
    given = response.json()
    if not isinstance(given, dict):
        raise ValueError("the provider's response is not a JSON object")
    return given


def _find_reason(error: BaseException) -> str:
    """What failed, from the innermost cause: httpx says only that all attempts failed."""
    reason = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, OSError):
            # asyncio replaces the system's text by "Connect call failed"
            known = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
            reason = known or str(cause) or reason
        cause = cause.__cause__ or cause.__context__
    return reason


def _load_provider_config(user: KubeconfigUser) -> dict[str, str] | None:
    try:
        _, entry = _load_kubeconfig_entry(user)
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return None
    return {key: str(value) for key, value in entry.items() if value is not None}


def _load_kubeconfig_entry(user: KubeconfigUser) -> tuple[dict[str, Any], dict[str, Any]]:
    """The kubeconfig file that defines the user, and the provider's part of it."""
    document = load_first_document(user.file.read_bytes())
    for item in document["users"]:
        if item["name"] == user.name:
            return document, item["user"]["auth-provider"]["config"]
    raise LookupError(user.name)


def _save_provider_config(user: KubeconfigUser, config: Mapping[str, str]) -> None:
    """Write renewed tokens back, as kubectl does: others use the same single-use refresh token."""
    try:
        document, entry = _load_kubeconfig_entry(user)
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise OSError(f"{user.file} changed meanwhile") from error
    entry.update({key: config[key] for key in ("id-token", "refresh-token")})
    with replace_file(user.file, private=False) as file:
        dump_document(document, file)
