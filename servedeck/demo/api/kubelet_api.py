"""What the API asks of the nodes: logs of containers, and requests to ports of Pods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class LogOptions:
    """Which lines of a container's log, as in core/v1 PodLogOptions.

    `since`: lines at or after this moment (from sinceTime or sinceSeconds). `tail`: the last so
    many of those. `timestamps`: each line begins with its RFC 3339 time with nanoseconds and a
    blank. `previous`: of the instance before. `follow`: go on until that instance ends. The API
    itself cuts the stream at limitBytes.
    """

    follow: bool = False
    previous: bool = False
    since: datetime | None = None
    tail: int | None = None
    timestamps: bool = False


@dataclass(frozen=True)
class ProxyRequest:
    """A request as it reaches the Pod: `path` begins with "/" and holds the query string."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class ProxyResponse:
    """The Pod's answer; a streamed body is sent chunk by chunk as it comes."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


class KubeletApi(Protocol):
    """The workloads behind the Pods. A StatusError that they raise is the API's answer."""

    def logs(
        self, pod: dict[str, Any], container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """Complete lines, each with its newline, in chunks of any size. The container exists in
        the Pod's spec and, as its status says, has (had) an instance; the API has checked that."""
        ...

    async def proxy(self, pod: dict[str, Any], port: int, request: ProxyRequest) -> ProxyResponse:
        """The answer of the process that listens on the port. ConnectionRefusedError when none
        does (the API answers 502, as the real one)."""
        ...
