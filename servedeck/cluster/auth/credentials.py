"""Credentials for the API server and their renewal: tokens, token files, exec plugins, auth
providers.

The order of precedence is client-go's (rest/transport.go, clientcmd/client_config.go): token file,
token, user and password, exec plugin, auth provider; a client certificate is combined with any of
them.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Protocol

from servedeck.cluster.auth.exec_plugin import Credential, ExecPlugin
from servedeck.cluster.auth.kubeconfig import KubeconfigContext
from servedeck.cluster.auth.oidc import make_auth_provider
from servedeck.cluster.http.errors import ConfigError, CredentialsError, describe_error

_TOKEN_FILE_MAX_AGE = 10.0
"""Seconds after which a token file is read again; client-go uses about a minute."""
_EXPIRY_MARGIN = timedelta(seconds=10)
_FAILURE_BACKOFF = 5.0
"""Seconds before a failed renewal is retried: all watches fail at the same time."""


class CredentialManager:
    """The credentials of one context, shared by all requests of a connection.

    `current()` returns the credential to send. `renew(used)`, after a 401, returns a newer one than
    `used`, or None if there is none.
    """

    def __init__(self, context: KubeconfigContext, clock: Callable[[], float] = monotonic) -> None:
        self._user = context.user
        self._clock = clock
        self._client_certificate = self._read_certificate()
        self._source = _make_source(context)
        self._lock = asyncio.Lock()
        self._credential: Credential | None = None
        self._fetched_at = 0.0
        self._last_failure: CredentialsError | None = None
        self._failed_at = 0.0
        self._rejected: tuple[Credential, float] | None = None

    async def current(self) -> Credential:
        """The credential to send. Raises CredentialsError if there is none."""
        if self._credential is not None and self._is_fresh(self._credential):
            return self._credential
        async with self._lock:
            if self._credential is not None and self._is_fresh(self._credential):
                return self._credential
            return await self._fetch()

    async def renew(self, used: Credential) -> Credential | None:
        """A newer credential than `used`; None if the server rejected the newest one."""
        async with self._lock:
            if self._credential is not None and self._credential != used:
                return self._credential
            if (
                self._rejected
                and self._rejected[0] == used
                and self._clock() - self._rejected[1] < _FAILURE_BACKOFF
            ):
                return None
            self._client_certificate = await asyncio.to_thread(self._read_certificate)
            credential = await self._fetch(renew=True)
            if credential == used:
                self._rejected = (used, self._clock())
                return None
            return credential

    def reset_backoff(self) -> None:
        """Retry immediately after a failure: the operator may have logged in again."""
        self._last_failure = self._rejected = None

    def _is_fresh(self, credential: Credential) -> bool:
        if (
            credential.expires_at is not None
            and datetime.now(UTC) >= credential.expires_at - _EXPIRY_MARGIN
        ):
            return False
        return not (
            isinstance(self._source, _TokenFileSource)
            and self._clock() - self._fetched_at > _TOKEN_FILE_MAX_AGE
        )

    async def _fetch(self, *, renew: bool = False) -> Credential:
        now = self._clock()
        if self._last_failure is not None and now - self._failed_at < _FAILURE_BACKOFF:
            raise self._last_failure
        try:
            credential = await self._source.fetch(renew=renew)
            # otherwise aiohttp would report a lost connection
            if not credential.authorization.isprintable():
                raise CredentialsError(
                    f"The token of user {self._user.name!r} contains a line break or another "
                    f"character that a header cannot contain; log in again, or fix its source."
                )
        except CredentialsError as error:
            self._last_failure, self._failed_at = error, self._clock()
            raise
        self._last_failure, self._fetched_at = None, self._clock()
        if not credential.certificate and self._client_certificate.certificate:
            credential = Credential(
                credential.authorization,
                self._client_certificate.certificate,
                self._client_certificate.private_key,
                credential.expires_at,
            )
        self._credential = credential
        return credential

    def _read_certificate(self) -> Credential:
        certificate, key = (
            self._user.get_pem("client-certificate"),
            self._user.get_pem("client-key"),
        )
        if bool(certificate) != bool(key):
            raise ConfigError(
                f"The user {self._user.name!r} has a client certificate without its key, or a key"
                " without its certificate; give both."
            )
        return Credential("", certificate, key)


class _CredentialSource(Protocol):
    """Source of a credential. `renew`: the server rejected the last one."""

    async def fetch(self, *, renew: bool) -> Credential: ...


class _StaticSource:
    def __init__(self, header: str) -> None:
        self._credential = Credential(header)

    async def fetch(self, *, renew: bool) -> Credential:
        return self._credential


class _TokenFileSource:
    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self._user = user

    async def fetch(self, *, renew: bool) -> Credential:
        try:
            token = (await asyncio.to_thread(self._path.read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(
                f"Cannot read the token file {self._path} of user {self._user!r}: "
                f"{describe_error(error)}"
            ) from error
        if not token:
            raise CredentialsError(
                f"The token file {self._path} of user {self._user!r} is empty; log in again."
            )
        return Credential(f"Bearer {token}")


class _ExecPluginSource:
    def __init__(self, plugin: ExecPlugin) -> None:
        self._plugin = plugin

    async def fetch(self, *, renew: bool) -> Credential:
        return await self._plugin.run()


def _make_source(context: KubeconfigContext) -> _CredentialSource:
    user = context.user
    if path := user.get_path("tokenFile"):
        return _TokenFileSource(path, user.name)
    if token := user.get_str("token"):
        return _StaticSource(f"Bearer {token}")
    if name := user.get_str("username"):
        pair = f"{name}:{user.get_str('password')}".encode()
        return _StaticSource(f"Basic {base64.b64encode(pair).decode()}")
    if user.entry.get("exec"):
        return _ExecPluginSource(ExecPlugin.from_user(user, context.cluster))
    if user.entry.get("auth-provider"):
        return make_auth_provider(user)
    return _StaticSource("")
