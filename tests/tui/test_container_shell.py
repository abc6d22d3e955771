"""A shell in a container: kubectl has the terminal until it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servedeck.cluster.command_options import CommandOptions
from tests.tui.sessions import SERVEDECK, TerminalSession
from tui.container_shell import Container, kubectl_environ, shell_command

CONTAINER = Container("chat", "llama-0", "inference-server")


def test_the_command_names_context_namespace_and_container() -> None:
    assert shell_command(CONTAINER, CommandOptions("prod", "/a"))[:12] == [
        *("kubectl", "--kubeconfig", "/a", "--context", "prod", "-n", "chat"),
        *("exec", "-it", "llama-0", "-c", "inference-server"),
    ]


def test_without_a_context_or_a_container_kubectl_decides() -> None:
    command = shell_command(Container("chat", "llama-0", ""), CommandOptions())
    assert command[:6] == ["kubectl", "-n", "chat", "exec", "-it", "llama-0"]
    assert "-c" not in command[:7]


def test_a_shell_needs_the_permission_to_create_an_exec() -> None:
    assert CONTAINER.operation.required_permission == ("create", "pods/exec")


def test_kubectl_uses_the_same_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/x/config")
    assert kubectl_environ(None)["KUBECONFIG"] == "/home/x/config"
    files = (Path("/a"), Path("/b"))
    assert kubectl_environ(files)["KUBECONFIG"] == f"/a{os.pathsep}/b"


@contextmanager
def open_pod(directory: Path, kubectl: str) -> Iterator[TerminalSession]:
    """The page of a Pod of the demo, in a terminal; `kubectl` is the program of that name."""
    program = directory / "kubectl"
    program.write_text(f"#!/bin/sh\n{kubectl}\n")
    program.chmod(0o700)
    env = {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}
    command = [*SERVEDECK, "--demo", "open", "search/bge-m3"]
    session = TerminalSession(command, (120, 40), env)
    try:
        session.wait_text("Basic Information")
        session.press("\r")
        session.wait_text("Pod search/bge-m3-")
        session.wait_text("inference-server")
        yield session
        session.press("\x03")
        assert session.exit_code() == 0
    finally:
        session.close()


def test_the_shell_has_the_terminal_until_it_ends(tmp_path: Path) -> None:
    kubectl = 'echo "$*" | cut -d " " -f 3-8; read -r line; echo "typed $line" >"$0.out"'
    with open_pod(tmp_path, kubectl) as session:
        session.press("s")
        session.wait_text("--context demo -n search exec -it")
        session.press("exit\r")
        session.wait_text("The shell has ended")
        session.wait_text("Pod search/bge-m3-")
    assert (tmp_path / "kubectl.out").read_text() == "typed exit\n"


def test_an_error_of_kubectl_stays_until_it_is_read(tmp_path: Path) -> None:
    with open_pod(tmp_path, "echo the server refused; exit 3") as session:
        session.press("s")
        session.wait_text("the server refused")
        session.wait_text("kubectl ended with exit code 3")
        session.press("\r")
        session.wait_text("The shell has ended")
