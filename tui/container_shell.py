"""A shell in a container, through kubectl: it has the terminal until it ends."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.cluster.command_options import CommandOptions
from tui.internals.foreground_process import run_in_foreground

if TYPE_CHECKING:
    from tui.internals.app_hooks import TerminalApp
    from tui.screens.base import ActionScreen

_SHELL = "command -v bash >/dev/null 2>&1 && exec bash; exec sh"
"""What runs in the container: bash if it has one."""

_WAIT_AFTER_ERROR = (
    '"$@"; code=$?; [ $code -eq 0 ] || { '
    'printf "kubectl ended with exit code %s; enter goes back to servedeck. " $code; read -r _; }'
)
"""Runs kubectl, and keeps its error on the screen until it is read."""


class Container(NamedTuple):
    namespace: str
    pod: str
    name: str
    """"" for the Pod's default container."""

    @property
    def run_operation(self) -> Operation:
        """Says which permission a single command needs."""
        return Operation(OperationKind.RUN, self.namespace, self.pod)

    @property
    def operation(self) -> Operation:
        """Says which permission a shell needs."""
        return Operation(OperationKind.EXEC, self.namespace, self.pod)


def shell_command(container: Container, options: CommandOptions) -> list[str]:
    """The command of kubectl for a shell in the container."""
    words = ["kubectl", *options.words, "-n", container.namespace, "exec", "-it", container.pod]
    words += ["-c", container.name] if container.name else []
    return [*words, "--", "sh", "-c", _SHELL]


def find_kubectl() -> str:
    """Path of kubectl; "" if it is not installed."""
    return shutil.which("kubectl") or ""


def kubectl_environ(kubeconfig: Sequence[Path] | None) -> dict[str, str]:
    """The environment in which kubectl uses the same kubeconfig files as servedeck, None for those
    of the environment."""
    environ = dict(os.environ)
    if kubeconfig:
        environ["KUBECONFIG"] = os.pathsep.join(map(str, kubeconfig))
    return environ


async def open_shell(
    screen: ActionScreen[Any], container: Container, environ: Mapping[str, str]
) -> None:
    """Give the terminal to a shell in the container."""
    app = screen.app_context
    command = shell_command(container, app.command_options)
    try:
        await run_in_foreground(
            cast("TerminalApp", screen.app),
            ["sh", "-c", _WAIT_AFTER_ERROR, "sh", *command],
            environ,
        )
    except OSError as error:
        screen.show_message(f"The shell cannot be opened: {error.strerror or error}.", "error", 20)
    else:
        shown = shlex.join(command[: command.index("--")])
        screen.show_message(f"The shell has ended: {shown}")
