"""Where callbacks may go.

A URL is allowed if its host is one of `callback_hosts`: an entry `host` allows the ports 80 and
443, `host:port` that port. Its name is resolved here, and the connection goes to the address that
was checked, so that a name cannot change in between. What a public name resolves to must be a
public address. Private and loopback addresses are allowed only where the operator clearly meant
them: for an entry with a port, for a name of the cluster (ending in .svc or .svc.cluster.local),
and for an entry that is an address itself. Link-local addresses, where clouds have their metadata,
are allowed only for the last.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from yarl import URL

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CLUSTER_SUFFIXES = (".svc", ".svc.cluster.local")

_TRANSLATED_NETWORK = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST_NETWORK = ipaddress.IPv6Network("2000::/3")
"""The public addresses of IPv6. Others lead to IPv4 (::127.0.0.1, 64:ff9b:1::/48) or are local
(fec0::/10), though Python takes some of them for public."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class CallbackRefusedError(OSError):
    """The settings, or its address, do not allow it; str() says why."""


def check_target(url: str, allowed: Sequence[str]) -> URL:
    """The URL of a callback, if its scheme, host and port are allowed. Raises
    CallbackRefusedError."""
    try:
        target = URL(url)
        host, port = clean_host(target.host or ""), target.port
    except ValueError:
        raise CallbackRefusedError("it is not a URL.") from None
    if target.scheme not in _DEFAULT_PORTS or not host or port is None:
        raise CallbackRefusedError("it is not an http or https URL.")
    if target.user is not None or target.password is not None:
        raise CallbackRefusedError("its URL has a user.")
    if find_entry(host, port, allowed) is None:
        raise CallbackRefusedError(f"{host} with port {port} is not among callback_hosts.")
    return target.with_fragment(None)


def is_allowed_address(text: str, entry: str) -> bool:
    """Whether a name that the entry of the settings allows may have this address."""
    address: _Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or _translated(address) or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    host, _, port = entry.partition(":")
    is_meant = bool(port) or clean_host(host).endswith(_CLUSTER_SUFFIXES)
    is_public = address.is_global and (address.version == 4 or address in _UNICAST_NETWORK)
    return is_meant or is_public


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address behind a translator (NAT64, RFC 6052)."""
    if address not in _TRANSLATED_NETWORK:
        return None
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def find_entry(host: str, port: int, allowed: Sequence[str]) -> str | None:
    """The entry of the settings that allows this host and port."""
    for entry in allowed:
        name, _, number = entry.partition(":")
        ports = (int(number),) if number else tuple(_DEFAULT_PORTS.values())
        if clean_host(name) == host and port in ports:
            return entry
    return None


def clean_host(host: str) -> str:
    """As names are compared."""
    return host.rstrip(".").lower()
