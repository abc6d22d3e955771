"""Who we are to the API server, and how that is renewed: tokens, token files, plugins, logins.

Order of precedence is client-go's (rest/transport.go, clientcmd/client_config.go): token file,
token, user and password, plugin, auth provider; a client certificate goes beside any of them.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Protocol

from servedeck.cluster.auth.exec_plugin import Credential, Plugin
from servedeck.cluster.auth.kubeconfig import Context
from servedeck.cluster.auth.oidc import provider
from servedeck.cluster.http.errors import ConfigError, CredentialsError, explain

_REREAD = 10.0
"""Seconds after which a token file is looked at again; client-go waits about a minute."""
_SKEW = timedelta(seconds=10)
_FAILURE_HOLDS = 5.0
"""Seconds for which a failed renewal is not repeated: a dozen watches fail at the same moment."""


class Credentials:
    """The credentials of one context, for all requests of a connection.

    `current()` gives what to send. `renew(used)` is for after a 401: it gives something newer than
    `used`, or None where there is nothing newer to be had.
    """

    def __init__(self, context: Context, clock: Callable[[], float] = monotonic) -> None:
        self._user = context.user
        self._clock = clock
        self._certificate = self._read_certificate()
        self._source = _source(context)
        self._lock = asyncio.Lock()
        self._held: Credential | None = None
        self._since = 0.0
        self._failure: CredentialsError | None = None
        self._failed_at = 0.0
        self._refused: tuple[Credential, float] | None = None

    async def current(self) -> Credential:
        """What to send now; CredentialsError where nothing can be had."""
        if self._held is not None and self._fresh(self._held):
            return self._held
        async with self._lock:
            if self._held is not None and self._fresh(self._held):
                return self._held
            return await self._fetch()

    async def renew(self, used: Credential) -> Credential | None:
        """Something newer than `used`; None where the server refused the newest there is."""
        async with self._lock:
            if self._held is not None and self._held != used:
                return self._held
            if (
                self._refused
                and self._refused[0] == used
                and self._clock() - self._refused[1] < _FAILURE_HOLDS
            ):
                return None
            self._certificate = await asyncio.to_thread(self._read_certificate)
            held = await self._fetch(renew=True)
            if held == used:
                self._refused = (used, self._clock())
                return None
            return held

    def forget_failures(self) -> None:
        """The operator may have logged in again: try at once where a failure would hold."""
        self._failure = self._refused = None

    def _fresh(self, held: Credential) -> bool:
        if held.expires is not None and datetime.now(UTC) >= held.expires - _SKEW:
            return False
        return not (isinstance(self._source, _TokenFile) and self._clock() - self._since > _REREAD)

    async def _fetch(self, *, renew: bool = False) -> Credential:
        now = self._clock()
        if self._failure is not None and now - self._failed_at < _FAILURE_HOLDS:
            raise self._failure
        try:
            held = await self._source.fetch(renew=renew)
            if not held.authorization.isprintable():  # the request would fail as if the line broke
                raise CredentialsError(
                    f"The token of user {self._user.name!r} holds a line break or another character"
                    " that no header takes; log in again, or mend where it comes from."
                )
        except CredentialsError as error:
            self._failure, self._failed_at = error, self._clock()
            raise
        self._failure, self._since = None, self._clock()
        if not held.certificate and self._certificate.certificate:
            held = Credential(
                held.authorization,
                self._certificate.certificate,
                self._certificate.key,
                held.expires,
            )
        self._held = held
        return held

    def _read_certificate(self) -> Credential:
        certificate, key = self._user.pem("client-certificate"), self._user.pem("client-key")
        if bool(certificate) != bool(key):
            raise ConfigError(
                f"The user {self._user.name!r} has a client certificate without its key, or a key"
                " without its certificate; give both."
            )
        return Credential("", certificate, key)


class _Source(Protocol):
    """Where a credential comes from. `renew`: the server refused the last one."""

    async def fetch(self, *, renew: bool) -> Credential: ...


class _Fixed:
    def __init__(self, header: str) -> None:
        self._credential = Credential(header)

    async def fetch(self, *, renew: bool) -> Credential:
        return self._credential


class _TokenFile:
    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self._user = user

    async def fetch(self, *, renew: bool) -> Credential:
        try:
            token = (await asyncio.to_thread(self._path.read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(
                f"Cannot read the token file {self._path} of user {self._user!r}: {explain(error)}"
            ) from error
        if not token:
            raise CredentialsError(
                f"The token file {self._path} of user {self._user!r} is empty; log in again."
            )
        return Credential(f"Bearer {token}")


class _FromPlugin:
    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    async def fetch(self, *, renew: bool) -> Credential:
        return await self._plugin.run()


def _source(context: Context) -> _Source:
    user = context.user
    if path := user.path("tokenFile"):
        return _TokenFile(path, user.name)
    if token := user.text("token"):
        return _Fixed(f"Bearer {token}")
    if name := user.text("username"):
        pair = f"{name}:{user.text('password')}".encode()
        return _Fixed(f"Basic {base64.b64encode(pair).decode()}")
    if user.entry.get("exec"):
        return _FromPlugin(Plugin.of(user, context.cluster))
    if user.entry.get("auth-provider"):
        return provider(user)
    return _Fixed("")
