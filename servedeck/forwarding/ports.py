"""Ports of a port-forward: how they are written, and a local socket for them."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.port_number import MAX_PORT, parse_port_number

DEFAULT_ADDRESS = "127.0.0.1"
_FIRST_UNPRIVILEGED_PORT = 1024
_PRIVILEGED_SUBSTITUTE = 8080
"""Local port for a privileged port of the Pods, as in Connect's command of kubectl."""
_TRIED_PORTS = 100
_LISTEN_BACKLOG = 128


class PortError(ClusterError):
    """The ports cannot be used; str() says why and what to do."""


class ForwardPorts(NamedTuple):
    local: int | None
    """None for the remote port or the next one that is free, 0 for any that is free."""
    remote: int
    """Port of the Pods."""


def parse_ports(text: str, server_port: int) -> ForwardPorts:
    """The ports of `[[LOCAL:]REMOTE]`, as kubectl port-forward reads them: "8080:8000", "8000" for
    both, ":8000" and "0:8000" for any free local port; and "8080:" and "" for `server_port`, 0 if
    that is unknown. Raises PortError."""
    local_text, colon, remote_text = text.strip().rpartition(":")
    if not colon:
        local_text = remote_text
    remote = _parse_port(remote_text, text) if remote_text else server_port
    if remote == 0 and remote_text:
        raise PortError(f"{text!r}: the port of the Pods is between 1 and {MAX_PORT}.")
    if remote == 0:
        raise PortError(
            "The port of the server is not known; name the local and the remote port, as 8000:8000."
        )
    if local_text:
        return ForwardPorts(_parse_port(local_text, text), remote)
    return ForwardPorts(0 if colon else None, remote)


def _parse_port(written: str, text: str) -> int:
    if (number := parse_port_number(written)) is not None:
        return number
    raise PortError(f"{text!r} is not a port; write [[LOCAL:]REMOTE], as 8000 or 8080:8000.")


def open_sockets(address: str, ports: ForwardPorts) -> list[socket.socket]:
    """Sockets that listen on every IP address of `address`, all on one port. Raises PortError."""
    if ports.local is not None:
        return _open_at(address, ports.local)
    first = ports.remote if ports.remote >= _FIRST_UNPRIVILEGED_PORT else _PRIVILEGED_SUBSTITUTE
    last = min(first + _TRIED_PORTS, MAX_PORT)
    for port in range(first, last):
        try:
            return _open_at(address, port)
        except _PortInUseError:
            continue
    return _open_at(address, last)


def suggest_local_port(address: str, remote: int) -> int:
    """A local port that is free now: the remote one, or the next. Raises PortError."""
    sockets = open_sockets(address, ForwardPorts(None, remote))
    port: int = sockets[0].getsockname()[1]
    for one in sockets:
        one.close()
    return port


class _PortInUseError(PortError):
    pass


def _open_at(address: str, port: int) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except OSError as error:
        raise PortError(
            f"{address} is no address of this host ({error.strerror}); use 127.0.0.1, or leave"
            " --address out."
        ) from error
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, target in dict.fromkeys(found):
            # All of them get the port that the first one was given.
            number = opened[0].getsockname()[1] if opened else port
            opened.append(_listen(family, kind, protocol, (target[0], number, *target[2:])))
    except OSError as error:
        for one in opened:
            one.close()
        raise _listen_error(error, address, port) from error
    return opened


def _listen(family: int, kind: int, protocol: int, target: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setblocking(False)
        one.bind(target)
        one.listen(_LISTEN_BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _listen_error(error: OSError, address: str, port: int) -> PortError:
    where = f"{address}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            return _PortInUseError(
                f"The port {where} is in use by another program; choose another local port."
            )
        case errno.EACCES:
            return PortError(
                f"The port {where} is reserved for root; choose one from"
                f" {_FIRST_UNPRIVILEGED_PORT} on."
            )
        case errno.EADDRNOTAVAIL:
            return PortError(f"{address} is no address of this host; use 127.0.0.1.")
    return PortError(f"Cannot listen on {where}: {error.strerror or error}.")
