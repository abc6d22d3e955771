"""Ports of the servers started by the tests."""

from __future__ import annotations

import random
import socket
import subprocess
import sys

import pytest

from tests.control_plane.processes import ReservedPort


@pytest.fixture
def candidate_ports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ports that are chosen next, before random ones."""
    numbers: list[int] = []
    by_chance = random.randrange
    monkeypatch.setattr(
        random, "randrange", lambda *ends: numbers.pop() if numbers else by_chance(*ends)
    )
    return numbers


@pytest.mark.skipif(sys.platform != "linux", reason="ports are reserved on Linux alone")
def test_two_runs_never_choose_the_same_port(candidate_ports: list[int]) -> None:
    program = (
        "from tests.control_plane.processes import ReservedPort\n"
        "port = ReservedPort()\n"
        "print(port.number, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        theirs = int(run.stdout.readline())
        candidate_ports.append(theirs)
        port = ReservedPort()
        assert candidate_ports == [] and port.number != theirs
        port.close()
        run.communicate("\n")


def test_a_port_that_something_listens_on_is_not_chosen(candidate_ports: list[int]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        candidate_ports.append(taken)
        port = ReservedPort()
        assert candidate_ports == [] and port.number != taken
        port.close()
