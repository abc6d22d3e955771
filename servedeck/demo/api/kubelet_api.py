"""What the API asks of the nodes: logs of containers, commands in them, and ports of Pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class LogOptions:
    """Which lines of a container's log, as in core/v1 PodLogOptions.

    `since`: lines at or after this time (from sinceTime or sinceSeconds). `tail`: only that many
    of the last ones. `timestamps`: each line begins with its RFC 3339 time with nanoseconds and a
    space. `previous`: of the previous instance. `follow`: until that instance ends. limitBytes is
    applied by the API server.
    """

    follow: bool = False
    previous: bool = False
    since: datetime | None = None
    tail: int | None = None
    timestamps: bool = False


@dataclass(frozen=True)
class ProxyRequest:
    """A request as it reaches the Pod; `path` begins with "/" and includes the query string."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class ProxyResponse:
    """The Pod's response; a streamed body is forwarded chunk by chunk."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


@dataclass(frozen=True)
class CommandOutput:
    """What a command in a container printed, and its exit code."""

    out: bytes = b""
    err: bytes = b""
    exit_code: int = 0


@dataclass(frozen=True)
class ContainerUsage:
    """What a container has used in the `window` seconds before `time` (since the epoch)."""

    container: str
    time: float
    window: float
    cpu: float
    """Cores."""
    memory: int
    """Bytes."""


class ExecutableNotFoundError(Exception):
    """The container has no such program; str() is its name."""


class KubeletApi(Protocol):
    """What the API server needs of the nodes. A StatusError they raise becomes its response."""

    def logs(
        self, pod: dict[str, Any], container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """Complete lines with their newlines, in chunks of any size. The API server has checked
        that the container is in the Pod's spec and has, or had, an instance."""
        ...

    async def proxy(self, pod: dict[str, Any], port: int, request: ProxyRequest) -> ProxyResponse:
        """The response of the process that listens on the port. ConnectionRefusedError where none
        does; the API server then responds with 503, as the real one."""
        ...

    async def connect(
        self, pod: dict[str, Any], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the process that listens on the port. ConnectionRefusedError where none
        does."""
        ...

    def usage(self, pod: dict[str, Any]) -> list[ContainerUsage]:
        """Of the containers that have run for a whole window."""
        ...

    async def run_command(
        self, pod: dict[str, Any], container: str, command: Sequence[str]
    ) -> CommandOutput:
        """Run a command in a running container. Raises ExecutableNotFoundError."""
        ...
