"""One command in a container, through the API server and the kubelet, without input.

Protocol: `v4.channel.k8s.io` over a WebSocket. Each message begins with the number of its channel:
1 has the output of the command, 2 its errors, 3 a Status at the end. Sources: kubernetes
staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand, staging/src/k8s.io/client-go/
tools/remotecommand/v4.go. v5 adds the end of the input, which is not used here.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from servedeck.cluster.command_options import CommandOptions
from servedeck.cluster.http.errors import ClusterError, ConnectionLostError, clean_message
from servedeck.cluster.resources import POD
from servedeck.serving.text import sanitize

if TYPE_CHECKING:
    from servedeck.cluster.http.connection import Connection

_PROTOCOLS = ("v4.channel.k8s.io",)
_OUTPUT, _ERRORS, _STATUS = 1, 2, 3
_MAX_STATUS_BYTES = 1 << 16
_MAX_LINE_LENGTH = 4096
"""Characters of a line; the rest is cut. A program may write without any newline."""
_SLICE_BYTES = 16 << 10
"""Bytes of output that are read between two yields to the event loop."""
_EXIT_CODE = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_SHELL_SYNTAX = frozenset("|&;<>()$`*?[]{}~#!\n")
"""Characters that mean something to a shell."""


class CommandFailedError(ClusterError):
    """The command could not be run."""


@dataclass(frozen=True, slots=True)
class CommandTarget:
    """Where a command runs."""

    namespace: str
    pod: str
    container: str
    """"" for the Pod's default container."""


def parse_command(text: str) -> list[str]:
    """The words of a typed command: as they are if they need no shell, which an image may lack,
    else as `sh -c TEXT`. [] for an empty text."""
    stripped = text.strip()
    if _SHELL_SYNTAX & set(stripped) or _begins_with_assignment(stripped):
        return ["sh", "-c", stripped]
    try:
        return shlex.split(stripped)
    except ValueError:  # a quotation without its end: the shell says so
        return ["sh", "-c", stripped]


def _begins_with_assignment(text: str) -> bool:
    first = text.split(maxsplit=1)[:1]
    return bool(first) and first[0].partition("=")[0].isidentifier() and "=" in first[0]


def kubectl_exec_command(
    target: CommandTarget, command: Sequence[str], options: CommandOptions
) -> str:
    """The equivalent command of kubectl, quoted for a shell."""
    words = ["kubectl", *options.shown_words, "-n", target.namespace, "exec", target.pod]
    words += ["-c", target.container] if target.container else []
    return shlex.join([*words, "--", *command])


async def run_command(
    connection: Connection,
    target: CommandTarget,
    command: Sequence[str],
    on_lines: Callable[[list[str]], None],
) -> int:
    """Run the command until it ends; returns its exit code. `on_lines` gets complete lines of
    output and errors as they arrive, sanitized.

    Canceling it closes the connection; a process that does not write to it may go on. Raises
    CommandFailedError if it could not be run, and other ClusterErrors.
    """
    path = f"{POD.object_path(target.namespace, target.pod)}/exec"
    params = [("stdout", "true"), ("stderr", "true"), ("stdin", "false"), ("tty", "false")]
    params += [("container", target.container)] if target.container else []
    params += [("command", word) for word in command]
    lines = {_OUTPUT: _LineReader(), _ERRORS: _LineReader()}
    status = b""
    async with connection.websocket(path, params, _PROTOCOLS) as websocket:
        while (message := await websocket.receive()) is not None:
            channel, payload = (message[0], message[1:]) if message else (0, b"")
            if channel in lines:
                for at in range(0, len(payload), _SLICE_BYTES):
                    if found := lines[channel].feed(payload[at : at + _SLICE_BYTES]):
                        on_lines(found)
                    await asyncio.sleep(0)  # keys are handled between two parts
            elif channel == _STATUS:
                status = (status + payload)[:_MAX_STATUS_BYTES]
            await asyncio.sleep(0)
    for one in lines.values():
        if rest := one.finish():
            on_lines(rest)
    return _exit_code(status)


class _LineReader:
    """Sanitized lines of one channel."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""

    def feed(self, data: bytes) -> list[str]:
        *lines, self._partial = (self._partial + self._decoder.decode(data)).split("\n")
        self._partial = self._partial[:_MAX_LINE_LENGTH]
        return [_clean(line) for line in lines]

    def finish(self) -> list[str]:
        rest = self._partial + self._decoder.decode(b"", final=True)
        return [_clean(rest)] if rest else []


def _clean(line: str) -> str:
    """A line for the terminal; of a progress line only what was written last."""
    return sanitize(line.rstrip("\r").rpartition("\r")[2][:_MAX_LINE_LENGTH])


class _Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None


class _CommandStatus(msgspec.Struct):
    status: str = ""
    reason: str = ""
    message: str = ""
    details: _Details | None = None


def _exit_code(raw: bytes) -> int:
    """The exit code of the Status at the end. Raises ClusterError if the command did not run, or
    the connection ended before the command did."""
    if not raw:
        raise ConnectionLostError("The connection ended before the command did.")
    try:
        status = msgspec.json.decode(raw, type=_CommandStatus)
    except (msgspec.DecodeError, ValueError) as error:
        text = raw.decode("utf-8", "replace")
        raise CommandFailedError(f"The command could not be run: {clean_message(text)}") from error
    if status.status == "Success":
        return 0
    for cause in (status.details.causes if status.details is not None else None) or ():
        if cause.reason == "ExitCode" and _EXIT_CODE.fullmatch(cause.message):
            return int(cause.message)
    reason = clean_message(status.message or status.reason).rstrip(".") or "no reason given"
    raise CommandFailedError(f"The command could not be run: {reason}.")
