"""The login of a connection: cluster, user and credentials of one context, read again where their
files have changed.

A renewed token, certificate or CA stands in the kubeconfig or in the files that it names, which
`aws eks update-kubeconfig`, `gcloud container clusters get-credentials`, `kubectl config` and the
kubelet rewrite. What was read counts until it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from servedeck.cluster.auth.credentials import CredentialManager
from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import ConnectionOptions, Kubeconfig, KubeconfigContext
from servedeck.cluster.auth.kubeconfig_loader import kubeconfig_files, load_kubeconfig
from servedeck.cluster.http.errors import ConfigError, CredentialsError
from servedeck.cluster.http.proxies import select_proxy
from servedeck.cluster.http.request_headers import make_headers

_log = logging.getLogger(__name__)

_LASTING_PROBLEM_SECONDS = 1.0
"""Seconds between two checks that find files unusable in the same way, after which that is
reported: until then they may be half written."""


class _Loaded(NamedTuple):
    kubeconfig: Kubeconfig
    context: KubeconfigContext
    credentials: CredentialManager
    digests: tuple[str, ...]
    """Digest of each kubeconfig file, "" of one that cannot be read."""


class Login:
    """Create it with `Login.open`. Its attributes change with `reload`.

    The context is always the same one: a `current-context` that others set is not followed.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        environ: Mapping[str, str],
        loaded: _Loaded,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.revision = 1
        """Counts the changes of the cluster or the user."""
        self.server_revision = 1
        """Counts the changes of the server's address: another server may have other objects."""
        self.on_notice: Callable[[str], None] = lambda _notice: None
        """Called when `notice` changes."""
        self.on_other_server: Callable[[], None] = lambda: None
        """Called when `server_revision` changed."""
        self.context_names = loaded.kubeconfig.context_names
        """Names of all contexts, as they were read last."""
        self.lasting_problem = ""
        """Why the files, which have changed, cannot be used, one sentence; "" if they can, or may
        be half written. What was read before is used on."""
        self._options = options
        self._environ = environ
        self._loaded = loaded
        self._clock = clock
        self._lock = asyncio.Lock()
        self._begun_checks = self._ended_check = 0
        """Number of checks of the files, and the last that was not canceled."""
        self._last_problem, self._problem_since = "", 0.0
        loaded.credentials.on_notice = self._pass_on

    @classmethod
    async def open(cls, options: ConnectionOptions, environ: Mapping[str, str]) -> Login:
        """Read the files. Raises ConfigError if they cannot be used."""
        loaded = await asyncio.to_thread(_load, options, environ, options.context)
        return cls(options, environ, loaded)

    @property
    def kubeconfig(self) -> Kubeconfig:
        return self._loaded.kubeconfig

    @property
    def context(self) -> KubeconfigContext:
        return self._loaded.context

    @property
    def credentials(self) -> CredentialManager:
        return self._loaded.credentials

    @property
    def notice(self) -> str:
        """What a credential plugin that runs for long does, one sentence; "" if none does."""
        return self.credentials.notice

    async def current(self) -> Credential:
        """The credential to send. Raises CredentialsError if there is none."""
        if not self.credentials.is_ready and not self.credentials.is_new:
            # Before a plugin asks a person: somebody may have logged in.
            await self.reload(self.revision)
        credentials = self.credentials
        try:
            return await credentials.current()
        except CredentialsError:
            if self.credentials is credentials:
                raise
            return await self.credentials.current()  # another login was found meanwhile

    async def renew(self, used: Credential, revision: int) -> Credential | None:
        """After a 401 for `used` of that revision: another credential, None if there is none.
        Raises CredentialsError."""
        if await self.reload(revision):
            newest = await self.current()
            if newest != used:
                return newest
        credentials = self.credentials
        try:
            renewed = await credentials.renew(used)
        except CredentialsError:
            if self.credentials is credentials:
                raise
        else:
            if self.credentials is credentials:
                return renewed
        return await self.current()  # another login was found meanwhile

    async def try_again(self) -> bool:
        """After a failure: whether the login may be good now, because a file has changed or a
        plugin gave another credential since an earlier call. Waits for no plugin, which may wait
        for a person while somebody writes a login to the kubeconfig."""
        return await self.reload(self.revision) or self.credentials.try_again()

    async def reload(self, revision: int) -> bool:
        """Read the files again if they have changed. Whether the cluster or the user is another one
        than in `revision`. Files that are half written or cannot be used change nothing."""
        begun = self._begun_checks
        async with self._lock:
            if self.revision != revision:
                return True
            if self._ended_check > begun:
                return False  # a check that began after this call has found nothing
            self._begun_checks += 1
            try:
                found = await asyncio.to_thread(self._load_if_changed)
            except ConfigError as error:
                self._ended_check = self._begun_checks
                self._note_problem(str(error))
                return False
            self._ended_check = self._begun_checks
            self._note_problem("")
            return found is not None and await self._replace(found)

    async def read_context_names(self) -> tuple[str, ...]:
        """Read the names of all contexts again; those read before while the files cannot be
        used."""
        with contextlib.suppress(ConfigError):
            found = await asyncio.to_thread(load_kubeconfig, self._options, self._environ)
            if found.service_account_dir == self.kubeconfig.service_account_dir:
                self.context_names = found.context_names
        return self.context_names

    def _note_problem(self, problem: str) -> None:
        if problem != self._last_problem:
            self._last_problem, self._problem_since = problem, self._clock()
            self.lasting_problem = ""
            if problem:
                _log.warning("the kubeconfig changed and cannot be used: %s", problem)
        elif self._clock() - self._problem_since >= _LASTING_PROBLEM_SECONDS:
            self.lasting_problem = problem

    async def _replace(self, found: _Loaded) -> bool:
        before = self._loaded
        self.context_names = found.kubeconfig.context_names
        same_login = found.credentials.is_same_login(before.credentials)
        same_cluster = found.context.cluster == before.context.cluster
        if same_login:
            found = found._replace(credentials=before.credentials)
        self._loaded = found
        if same_login and same_cluster:
            return False
        self.revision += 1
        if found.context.cluster.server != before.context.cluster.server:
            self.server_revision += 1
            self.on_other_server()
        if not same_login:
            found.credentials.on_notice = self._pass_on
            before.credentials.on_notice = lambda _notice: None
            await before.credentials.close()
            self._pass_on("")
        return True

    async def close(self) -> None:
        """End a plugin that runs."""
        self.on_notice = lambda _notice: None
        await self.credentials.close()

    def _load_if_changed(self) -> _Loaded | None:
        before = self._loaded
        if _digests(self._options, self._environ) == before.digests and all(
            _read(file) == content for file, content in _named_files(before)
        ):
            return None
        found = _load(self._options, self._environ, before.context.name)
        is_in_cluster = found.kubeconfig.service_account_dir is not None
        if is_in_cluster != (before.kubeconfig.service_account_dir is not None):
            raise ConfigError("The kubeconfig is empty.")
        transport = importlib.import_module("servedeck.cluster.http.transport")
        make_headers(found.context)
        transport.make_ssl_context(found.context.cluster, found.credentials.client_certificate)
        select_proxy(found.context.cluster, self._environ, may_be_socks=True)
        return found

    def _pass_on(self, notice: str) -> None:
        self.on_notice(notice)


def _load(
    options: ConnectionOptions, environ: Mapping[str, str], context_name: str | None
) -> _Loaded:
    """Raises ConfigError."""
    digests = _digests(options, environ)  # first: no change in between is missed
    kubeconfig = load_kubeconfig(options, environ)
    context = kubeconfig.get_context(context_name)
    return _Loaded(kubeconfig, context, CredentialManager(context), digests)


def _named_files(loaded: _Loaded) -> Iterator[tuple[Path, bytes]]:
    """The certificates and the key that the kubeconfig names, with what was read. A token file is
    read again when it is old."""
    cluster, credential = loaded.context.cluster, loaded.credentials.client_certificate
    if cluster.certificate_authority_file is not None:
        yield cluster.certificate_authority_file, cluster.certificate_authority
    for key, content in (
        ("client-certificate", credential.certificate),
        ("client-key", credential.private_key),
    ):
        if (path := loaded.context.user.get_pem_path(key)) is not None:
            yield path, content


def _digests(options: ConnectionOptions, environ: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        hashlib.sha256(_read(file)).hexdigest() for file in kubeconfig_files(options, environ)
    )


def _read(file: Path) -> bytes:
    """Content of a file; b"" if it cannot be read, or is a pipe, which can be read only once."""
    try:
        return file.read_bytes() if file.is_file() else b""
    except OSError:
        return b""
