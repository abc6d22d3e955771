"""How ports are written, and the sockets that listen on them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from servedeck.forwarding.ports import (
    ForwardPorts,
    PortError,
    open_sockets,
    parse_ports,
    suggest_local_port,
)


@pytest.mark.parametrize(
    ("text", "local", "remote"),
    [
        ("", None, 8000),
        ("9000", 9000, 9000),
        ("8080:9000", 8080, 9000),
        (":9000", 0, 9000),
        ("0:9000", 0, 9000),
        ("8080:", 8080, 8000),
        (" 8080:9000 ", 8080, 9000),
        ("0008080:0009000", 8080, 9000),
    ],
)
def test_ports_as_kubectl_reads_them(text: str, local: int | None, remote: int) -> None:
    assert parse_ports(text, 8000) == ForwardPorts(local, remote)


@pytest.mark.parametrize("text", ["http", "80:http", "-1", "65536", "1:2:3", "٨"])
def test_what_is_no_port_is_said(text: str) -> None:
    with pytest.raises(PortError, match="is not a port"):
        parse_ports(text, 8000)


def test_the_port_of_the_pods_is_not_0() -> None:
    with pytest.raises(PortError, match="between 1 and 65535"):
        parse_ports("8080:0", 8000)


@pytest.mark.parametrize("text", ["", "8080:"])
def test_a_server_whose_port_is_unknown_needs_one(text: str) -> None:
    with pytest.raises(PortError, match="not known; name the local and the remote port"):
        parse_ports(text, 0)


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port on which another program listens, with a free one after it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def close(sockets: list[socket.socket]) -> int:
    port: int = sockets[0].getsockname()[1]
    for one in sockets:
        one.close()
    return port


def test_a_chosen_port_that_is_in_use_is_an_error(busy_port: int) -> None:
    with pytest.raises(PortError, match=f"127.0.0.1:{busy_port} is in use by another program"):
        open_sockets("127.0.0.1", ForwardPorts(busy_port, 8000))


def test_without_a_choice_the_next_free_port_is_taken(busy_port: int) -> None:
    assert close(open_sockets("127.0.0.1", ForwardPorts(None, busy_port))) > busy_port
    assert suggest_local_port("127.0.0.1", busy_port) > busy_port


def test_a_privileged_port_has_another_one_locally() -> None:
    assert close(open_sockets("127.0.0.1", ForwardPorts(None, 80))) >= 8080


def test_an_address_of_another_host_is_an_error() -> None:
    with pytest.raises(PortError, match=r"192\.0\.2\.1 is no address of this host"):
        open_sockets("192.0.2.1", ForwardPorts(0, 8000))
    with pytest.raises(PortError, match="no address of this host"):
        open_sockets("no such host", ForwardPorts(0, 8000))


def test_all_addresses_of_a_name_get_the_same_port() -> None:
    sockets = open_sockets("localhost", ForwardPorts(0, 8000))
    assert len({one.getsockname()[1] for one in sockets}) == 1
    close(sockets)
