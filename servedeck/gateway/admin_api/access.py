"""Who may do what on the admin port."""

from __future__ import annotations

import hmac
import logging
from enum import IntEnum
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from servedeck.gateway.asgi import HttpError, Scope, header_values
from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError

KEY_HEADER = b"x-servedeck-key"

_PROXY_HEADERS = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"x-request-id"}
)
_HERE = frozenset({"127.0.0.1", "::1"})
"""Addresses of a client on this host. The others of 127.0.0.0/8 are not: from 127.0.0.6 the proxy
of a service mesh in the Pod (Istio) passes on requests from elsewhere."""


_log = logging.getLogger(__name__)


class Access(IntEnum):
    """What a caller may do; each includes those before it."""

    NONE = 0
    VIEW = 1
    """Read everything but the bodies of requests and responses."""
    ADMIN = 2


class AccessCheck:
    """The keys of the settings. They are read again when their files have changed, as the kubelet
    changes those of a Secret; as long as they cannot be used then, those of before are. Raises
    GatewaySettingsError if they cannot be used at the start."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        # Before they are read, so that a change in between is found.
        self._seen = self._look()
        self._admin, self._view = _read_keys(settings)
        self._problem = ""
        """Why the files cannot be used, as it was logged."""

    def _look(self) -> list[_FileState | None]:
        return [
            _state_of(one) for one in (self._settings.admin_key_file, self._settings.view_key_file)
        ]

    def _refresh(self) -> None:
        """Costs a stat of each file, unless one has changed. What cannot be used is read again each
        time: a file that could not be read for once does not change when it can be."""
        seen = self._look()
        if seen == self._seen:
            return
        try:
            self._admin, self._view = _read_keys(self._settings)
        except GatewaySettingsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("The keys of the admin port stay as they were: %s", error)
            return
        self._seen, self._problem = seen, ""
        _log.info("The keys of the admin port were read again, as their files have changed.")

    def require(self, scope: Scope, needed: Access) -> None:
        """Raises HttpError."""
        self._refresh()
        keys = header_values(scope, KEY_HEADER)
        if not keys:
            if self._admin is None and _is_local(scope):
                return
            raise HttpError(
                401,
                "A key is needed",
                "Send the key of the gateway in the header X-Servedeck-Key."
                if self._admin or self._view
                else "The gateway has no admin_key_file, so that only callers from its own host"
                " may use this port.",
            )
        granted = self._granted(keys[0]) if len(keys) == 1 else Access.NONE
        if granted is Access.NONE:
            raise HttpError(
                401, "The key is wrong", "X-Servedeck-Key is not a key of this gateway."
            )
        if granted < needed:
            raise HttpError(
                403, "The key may only read", "This needs the key that is in admin_key_file."
            )

    def _granted(self, key: bytes) -> Access:
        # Hashes have one length, so that the comparison does not tell that of the key; both are
        # compared always.
        digest = sha256(key.strip()).digest()
        is_admin = hmac.compare_digest(digest, self._admin or b"")
        is_view = hmac.compare_digest(digest, self._view or b"")
        if is_admin:
            return Access.ADMIN
        return Access.VIEW if is_view else Access.NONE


class _FileState(NamedTuple):
    """By which a file that was written, or replaced, differs from what it was."""

    device: int
    inode: int
    modified: int
    size: int


def _state_of(file: Path | None) -> _FileState | None:
    """None for a file that is not there."""
    if file is None:
        return None
    try:
        found = file.stat()  # of what it leads to: the kubelet replaces a link on the way
    except OSError:
        return None
    return _FileState(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _read_keys(settings: GatewaySettings) -> tuple[bytes | None, bytes | None]:
    admin = _read_key("admin_key_file", settings.admin_key_file)
    view = _read_key("view_key_file", settings.view_key_file)
    if admin and admin == view:
        raise GatewaySettingsError("admin_key_file and view_key_file must have different keys.")
    return admin, view


def _read_key(name: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise GatewaySettingsError(f"{name}: {file}: {error.strerror}.") from None
    if not key:
        raise GatewaySettingsError(f"{name}: {file} is empty.")
    return sha256(key).digest()


def _is_local(scope: Scope) -> bool:
    """Whether a program on this host asks. A page of another site in a browser on this host does
    not count: it sends Origin, or reaches the port by a name of its own (DNS rebinding). Nor does
    what a proxy on this host passes on."""
    client = scope.get("client")
    headers = dict(scope["headers"])
    if client is None or b"origin" in headers or not _PROXY_HEADERS.isdisjoint(headers):
        return False
    return client[0].removeprefix("::ffff:") in _HERE and _is_loopback(
        _host_name(headers.get(b"host", b""))
    )


def _host_name(host: bytes) -> str:
    text = host.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
