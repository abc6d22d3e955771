"""TLS to Valkey: what is trusted, the gateway's own certificate, and what its errors mean."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple

from redis import exceptions
from redis.asyncio.connection import RedisSSLContext, SSLConnection

from servedeck.gateway.stores.valkey.packed_connection import PackedConnection

_HOSTS_DIFFER = frozenset({62, 64})
_EXPIRED = 10
_UNTRUSTED = frozenset({18, 19, 20, 21})
"""OpenSSL's codes (X509_V_ERR_...): signed by itself, or by nobody who is known."""

_ASKED = "asks for a certificate: set store_certificate_file"
_OURS = "does not accept the certificate of store_certificate_file"
_NO_TLS = "does not speak TLS on this port"
_ALERTS = (
    ("CERTIFICATE_REQUIRED", _ASKED),
    # the same, by TLS 1.2
    ("HANDSHAKE_FAILURE", "refuses the connection: it may ask for store_certificate_file"),
    ("UNKNOWN_CA", _OURS),
    ("BAD_CERTIFICATE", _OURS),
    ("CERTIFICATE_EXPIRED", _OURS),
    ("WRONG_VERSION_NUMBER", _NO_TLS),
    ("RECORD_LAYER_FAILURE", _NO_TLS),  # the same, by newer OpenSSL
)

_log = logging.getLogger(__name__)


class TlsFileError(ValueError):
    """A file that cannot be used; str() is one sentence with the name of its setting."""


class TlsFiles(NamedTuple):
    """PEM files, as in GatewaySettings."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def make_context(self) -> ssl.SSLContext:
        """Raises TlsFileError."""
        for name, file in self._asdict().items():
            try:
                if file is not None:
                    file.read_bytes()
            except OSError as error:
                raise TlsFileError(f"store_{name}_file: {file}: {error.strerror}.") from None
        try:
            # without a CA of its own, those of the system
            context = ssl.create_default_context(cafile=self.ca)
        except OSError:
            raise TlsFileError(f"store_ca_file: {self.ca} has no certificate in PEM.") from None
        # CAs without key identifiers are common in clusters, and refused from Python 3.13 on
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.certificate is not None:
            try:
                # without a password OpenSSL would ask a terminal for one
                context.load_cert_chain(self.certificate, self.key, password="")
            except OSError:
                raise TlsFileError(
                    f"store_certificate_file: {self.certificate} needs a certificate and its key"
                    " in PEM, without a password."
                ) from None
        return context

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Other than before when a file has been replaced. Raises OSError."""
        found = (one.stat() for one in self if one is not None)
        return tuple((one.st_ino, one.st_mtime_ns) for one in found)


NO_FILES: Final = TlsFiles()


class TlsContext(RedisSSLContext):
    """One for all connections, as it takes 20 ms to make; made again for those to come when a file
    has been replaced, as certificates are renewed while the gateway runs. Raises TlsFileError."""

    __slots__ = ("_files", "_made", "_stamp", "is_proven")

    def __init__(self, files: TlsFiles) -> None:
        super().__init__(cert_reqs=ssl.CERT_REQUIRED, check_hostname=True)
        self._files = files
        self._made = files.make_context()
        self._stamp = files.stamp()
        self.is_proven = False
        """Whether a server has answered by TLS."""

    def get(self) -> ssl.SSLContext:
        try:
            if (stamp := self._files.stamp()) != self._stamp:
                # what cannot be used is tried again: the reason may end without another change
                self._made = self._files.make_context()
                self._stamp = stamp
        except (TlsFileError, OSError) as error:
            _log.warning("The files of TLS to the store were changed and cannot be used: %s", error)
        return self._made


class TlsClosedError(exceptions.ConnectionError):
    """The server closed a connection before its first answer."""


class TlsConnection(SSLConnection, PackedConnection):
    def __init__(self, *, tls: TlsContext, **options: Any) -> None:
        super().__init__(**options)
        self._tls = self.ssl_context = tls

    async def connect(self) -> None:
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except exceptions.ConnectionError as error:
            # by TLS 1.3 a certificate is refused after the handshake, and the alert that says so is
            # lost where something was sent meanwhile
            if type(error) is exceptions.ConnectionError and _is_closed(error):
                raise TlsClosedError(*error.args) from None
            raise
        self._tls.is_proven = True


def _is_closed(error: Exception) -> bool:
    reason = error.__cause__ or error.__context__
    return reason is None or isinstance(reason, ConnectionResetError | BrokenPipeError | EOFError)


def tls_sentence(address: str, error: ssl.SSLError | TlsClosedError) -> str:
    if isinstance(error, TlsClosedError):
        return (
            f"{address} closed the TLS connection: it asks for the certificate of"
            " store_certificate_file, or does not accept it."
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate of {address} {_refusal(error)}."
    for alert, sentence in _ALERTS:
        if alert in (error.reason or ""):
            return f"{address} {sentence}."
    return f"The TLS connection to {address} failed."


def _refusal(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _HOSTS_DIFFER:
        return "is for another host"
    if error.verify_code == _EXPIRED:
        return "has expired"
    if error.verify_code in _UNTRUSTED:
        return "is not signed by a CA that is trusted: set store_ca_file"
    return f"is not accepted: {error.verify_message.rstrip('.')}"
