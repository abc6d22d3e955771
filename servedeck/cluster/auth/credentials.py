"""Credentials for the API server and their renewal: tokens, token files, exec plugins, auth
providers.

The order of precedence is client-go's (rest/transport.go, clientcmd/client_config.go): user and
password of the server's address, token file, token, user and password, exec plugin, auth provider;
a client certificate is combined with any of them.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Protocol
from urllib.parse import unquote, urlsplit

from servedeck.atomic_file import require_regular_file
from servedeck.cluster.auth.exec_plugin import Credential, ExecPlugin, PluginFailedError
from servedeck.cluster.auth.kubeconfig import KubeconfigContext
from servedeck.cluster.auth.oidc import OidcProvider, make_auth_provider
from servedeck.cluster.http.errors import ConfigError, CredentialsError, describe_error

_TOKEN_FILE_MAX_AGE = 10.0
"""Seconds after which a token file is read again; client-go uses about a minute."""
_EXPIRY_MARGIN = timedelta(seconds=10)
_FAILURE_BACKOFF = 5.0
"""Seconds before a failed renewal is retried: all watches fail at the same time."""
_MAX_PLUGIN_BACKOFF, _MAX_REJECTED_BACKOFF = 30.0, 600.0
"""The same at most for a plugin, whose pause doubles with each failure, and where the server
rejects what a plugin or an OIDC provider gives: a plugin may open a page in a browser at once."""


class CredentialManager:
    """The credentials of one context, shared by all requests of a connection.

    `current()` returns the credential to send. `renew(used)`, after a 401, returns a newer one than
    `used`, or None if there is none. Both share one renewal, which goes on if a request that waits
    for it is canceled: a plugin may have opened a page in a browser.

    A plugin that asked a person to log in, or ran for so long that it may have, and gave no
    credential that the server accepts, is run again only after `reset_backoff`.
    """

    def __init__(
        self,
        context: KubeconfigContext,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.on_notice: Callable[[str], None] = lambda _notice: None
        """Called with `notice` when it changes."""
        self.notice = ""
        """What a plugin that runs for long does and says, one sentence; "" if none does."""
        self._user = context.user
        self._clock = clock
        self._now = now
        self._client_certificate = self._read_certificate()
        self._source = _make_source(context, self._set_notice)
        self._fetching: asyncio.Task[Credential] | None = None
        self._trial: asyncio.Task[bool] | None = None
        """What `try_again` began."""
        self._credential: Credential | None = None
        self._fetched_at = 0.0
        self._attempts = 0
        """Consecutive attempts without a credential that the server accepted."""
        self._last_failure: CredentialsError | None = None
        self._failed_at = 0.0
        self._rejected: tuple[Credential, float] | None = None
        self._is_replacement = False
        """Whether the newest one was asked for because the server rejected the one before."""
        self._waits_for_operator = False

    @property
    def is_ready(self) -> bool:
        """Whether `current` needs no renewal."""
        return self._credential is not None and self._is_fresh(self._credential)

    @property
    def latest(self) -> Credential | None:
        """The newest credential, which may have expired; None before the first."""
        return self._credential

    @property
    def is_new(self) -> bool:
        """Whether no credential has been asked for yet."""
        return self._credential is None and self._last_failure is None and self._fetching is None

    def is_same_login(self, other: CredentialManager) -> bool:
        """Whether both come from equal entries and client certificates."""
        return (
            self._user == other._user
            and self._client_certificate == other._client_certificate
            and self._source.settings == other._source.settings
        )

    @property
    def client_certificate(self) -> Credential:
        """The client certificate of the kubeconfig and its key, empty if there is none."""
        return self._client_certificate

    async def current(self) -> Credential:
        """The credential to send. Raises CredentialsError if there is none."""
        credential = self._credential
        if credential is not None and (
            self._is_fresh(credential) or self._is_rejected_for_now(credential)
        ):
            return credential
        return await self._fetch()

    async def renew(self, used: Credential) -> Credential | None:
        """A newer credential than `used`; None if the server rejected the newest one."""
        if self._credential is not None and self._credential != used:
            return self._credential
        if self._is_rejected_for_now(used):
            return None
        if self._attempts and self._source.asked_a_person:
            # It came from a login that the server does not accept: another one would not help.
            self._rejected, self._waits_for_operator = (used, self._clock()), True
            return None
        if self._is_replacement and self._is_paused(self._fetched_at):
            # Some plugins give another token each time; the server accepts none of them.
            self._rejected = (used, self._fetched_at)
            return None
        credential = await self._fetch(used)
        return None if credential == used else credential

    def try_again(self) -> bool:
        """After a failure or a rejection: whether a renewal that an earlier call began has given a
        credential. Otherwise begins one once the pause is over, and waits for none."""
        trial, is_needed = self._trial, self._last_failure is not None or self._rejected is not None
        if trial is None and is_needed:
            self._trial = asyncio.create_task(self._renew_again(), name="servedeck login again")
        elif trial is not None and trial.done():
            self._trial = None
            return not trial.cancelled() and trial.result()
        return False

    async def _renew_again(self) -> bool:
        try:
            if self._rejected is not None and self._credential is not None:
                return await self.renew(self._credential) is not None
            await self.current()
        except CredentialsError:
            return False
        return True

    def accept(self, credential: Credential) -> None:
        """The server accepted this credential."""
        if self._attempts and credential == self._credential:
            self._attempts, self._rejected, self._is_replacement = 0, None, False
            if self._last_failure is None:
                self._waits_for_operator = False

    def reset_backoff(self) -> None:
        """Retry immediately after a failure: the operator may have logged in again. A plugin that
        has waited for a person long enough to be reported is started again."""
        self._last_failure = self._rejected = None
        self._waits_for_operator = self._is_replacement = False
        self._attempts = 0
        if self.notice:
            self._source.restart()

    async def close(self) -> None:
        """End a plugin that runs; requests that wait for it fail."""
        tasks = [task for task in (self._trial, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _is_fresh(self, credential: Credential) -> bool:
        if (
            credential.expires_at is not None
            and self._now() >= credential.expires_at - _EXPIRY_MARGIN
        ):
            return False
        return not (
            isinstance(self._source, _TokenFileSource)
            and self._clock() - self._fetched_at > _TOKEN_FILE_MAX_AGE
        )

    def _is_rejected_for_now(self, credential: Credential) -> bool:
        """Whether the server rejected it, and it is too early for another one."""
        rejected = self._rejected
        return rejected is not None and rejected[0] == credential and self._is_paused(rejected[1])

    def _is_paused(self, since: float) -> bool:
        """Whether to wait before another attempt; the last one ended at `since`."""
        pause = _FAILURE_BACKOFF
        is_plugin = isinstance(self._source, _ExecPluginSource)
        if is_plugin or (self._last_failure is None and isinstance(self._source, _OidcSource)):
            most = _MAX_PLUGIN_BACKOFF if self._last_failure else _MAX_REJECTED_BACKOFF
            pause = min(pause * 2 ** min(max(self._attempts - 1, 0), 8), most)
        return self._waits_for_operator or self._clock() - since < pause

    async def _fetch(self, rejected: Credential | None = None) -> Credential:
        """The result of the renewal that runs, or of a new one because `rejected` was rejected."""
        if self._last_failure is not None and self._is_paused(self._failed_at):
            raise self._last_failure
        if self._fetching is None:
            self._fetching = asyncio.create_task(
                self._fetch_once(rejected), name="servedeck credentials"
            )
            self._fetching.add_done_callback(self._end_fetch)
        fetching = self._fetching
        try:
            return await asyncio.shield(fetching)
        except asyncio.CancelledError:
            if not fetching.cancelled() or ((task := asyncio.current_task()) and task.cancelling()):
                raise
            raise CredentialsError("The connection was closed.") from None

    def _end_fetch(self, task: asyncio.Task[Credential]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # those who wait get it; there may be none left

    async def _fetch_once(self, rejected: Credential | None) -> Credential:
        try:
            credential = await self._source.fetch(renew=rejected is not None)
            # otherwise aiohttp would report a lost connection
            if not credential.authorization.isprintable():
                raise CredentialsError(
                    f"The token of user {self._user.name!r} contains a line break or another "
                    f"character that a header cannot contain; log in again, or fix its source."
                )
        except CredentialsError as error:
            self._attempts += 1
            self._waits_for_operator = self._source.asked_a_person
            if self._waits_for_operator:
                error = CredentialsError(
                    f"{str(error).rstrip('.')}. It is not run again until you retry or the"
                    " kubeconfig changes."
                )
            self._last_failure, self._failed_at = error, self._clock()
            raise error from None
        finally:
            self._set_notice("")
        self._attempts += 1
        self._last_failure, self._fetched_at = None, self._clock()
        if not credential.certificate and self._client_certificate.certificate:
            credential = replace(
                credential,
                certificate=self._client_certificate.certificate,
                private_key=self._client_certificate.private_key,
            )
        expires = credential.expires_at
        if expires is not None and expires - _EXPIRY_MARGIN <= self._now():
            # The clock here is wrong, or the source's: it counts until the server rejects it.
            credential = replace(credential, expires_at=None)
        if rejected is not None:
            self._is_replacement = True
        self._rejected = (credential, self._clock()) if credential == rejected else None
        self._credential = credential
        return credential

    def _set_notice(self, notice: str) -> None:
        if notice != self.notice:
            self.notice = notice
            self.on_notice(notice)

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
    """Source of a credential."""

    @property
    def settings(self) -> object:
        """What it was made from besides the user's entry, to be compared."""

    @property
    def asked_a_person(self) -> bool:
        """Whether the last `fetch` asked a person to log in, or may have."""

    async def fetch(self, *, renew: bool) -> Credential:
        """`renew`: the server rejected the last one. Raises CredentialsError."""

    def restart(self) -> None:
        """Start a `fetch` in progress again."""


class _SilentSource:
    """A source that asks nobody."""

    settings: object = None
    asked_a_person = False

    def restart(self) -> None:
        """It does not wait for anybody."""


class _StaticSource(_SilentSource):
    def __init__(self, header: str) -> None:
        self._credential = Credential(header)

    async def fetch(self, *, renew: bool) -> Credential:
        return self._credential


class _TokenFileSource(_SilentSource):
    def __init__(self, path: Path, user: str, fallback: str = "") -> None:
        """`fallback` is the token of the entry, used until the file could be read once."""
        self._path = path
        self._user = user
        self._fallback = fallback

    async def fetch(self, *, renew: bool) -> Credential:
        try:
            require_regular_file(self._path)
            token = (await asyncio.to_thread(self._path.read_text, "utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            if self._fallback:
                return Credential(f"Bearer {self._fallback}")
            raise CredentialsError(
                f"Cannot read the token file {self._path} of user {self._user!r}: "
                f"{describe_error(error)}"
            ) from error
        if token:
            self._fallback = ""
        elif self._fallback:
            token = self._fallback
        else:
            raise CredentialsError(
                f"The token file {self._path} of user {self._user!r} is empty; log in again."
            )
        return Credential(f"Bearer {token}")


class _OidcSource(_SilentSource):
    def __init__(self, provider: OidcProvider) -> None:
        self._provider = provider

    async def fetch(self, *, renew: bool) -> Credential:
        return await self._provider.fetch(renew=renew)


class _ExecPluginSource:
    def __init__(self, plugin: ExecPlugin, on_notice: Callable[[str], None]) -> None:
        self.settings: object = plugin
        self.asked_a_person = False
        self._plugin = plugin
        self._on_notice = on_notice
        self._restart = asyncio.Event()

    async def fetch(self, *, renew: bool) -> Credential:
        self.asked_a_person = False

        def report(notice: str) -> None:
            self.asked_a_person = True
            self._on_notice(notice)

        while True:
            self._restart.clear()
            run = asyncio.create_task(self._plugin.run(on_notice=report))
            restart = asyncio.create_task(self._restart.wait())
            try:
                await asyncio.wait({run, restart}, return_when=asyncio.FIRST_COMPLETED)
                if not run.done():
                    self._on_notice("")
                    continue
                return run.result()
            except PluginFailedError as error:
                # Without a network it takes long, or names the address that it could not open.
                signs = (self.asked_a_person, error.asked_a_person)
                self.asked_a_person = all(signs) if error.lacked_network else any(signs)
                raise
            finally:
                for task in (run, restart):
                    task.cancel()
                await asyncio.wait({run, restart})

    def restart(self) -> None:
        self._restart.set()


def _make_source(context: KubeconfigContext, on_notice: Callable[[str], None]) -> _CredentialSource:
    user = context.user
    server = urlsplit(context.cluster.server)
    if not context.cluster.may_get_credentials:
        return _StaticSource("")
    if server.username:
        return _make_basic_source(unquote(server.username), unquote(server.password or ""))
    token = user.get_str("token")
    if path := user.get_path("tokenFile"):
        return _TokenFileSource(path, user.name, token)
    if token:
        return _StaticSource(f"Bearer {token}")
    if name := user.get_str("username"):
        return _make_basic_source(name, user.get_str("password"))
    if user.entry.get("exec"):
        return _ExecPluginSource(ExecPlugin.from_user(user, context.cluster), on_notice)
    if user.entry.get("auth-provider"):
        return _OidcSource(make_auth_provider(user))
    return _StaticSource("")


def _make_basic_source(name: str, password: str) -> _CredentialSource:
    pair = f"{name}:{password}".encode()
    return _StaticSource(f"Basic {base64.b64encode(pair).decode()}")
