"""Streaming responses, read by chunks or by lines of limited length."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from servedeck.cluster.http.errors import (
    ConnectionLostError,
    InvalidResponseError,
    ReadTimeoutError,
)
from servedeck.cluster.http.transport_errors import to_cluster_error

if TYPE_CHECKING:
    import aiohttp

_MAX_LINE_BYTES = 32 << 20
"""Maximum line length; etcd limits objects to 1.5 MiB by default."""


class ResponseStream:
    """A streaming response. Iterate it once: by lines, by lists of lines, or by chunks."""

    def __init__(
        self, response: aiohttp.ClientResponse, server: str, context: str, read_timeout: float
    ) -> None:
        self.status = response.status
        self._server = server
        self._context = context
        self._response = response
        self._read_timeout = read_timeout
        protocol = response.connection.protocol if response.connection else None
        self._closed = protocol.closed if protocol is not None else None
        if self._closed is not None:
            self._closed.add_done_callback(lambda one: one.cancelled() or one.exception())

    async def chunks(self) -> AsyncIterator[bytes]:
        """Bytes as they arrive, until the end."""
        import aiohttp

        content = self._response.content
        while True:
            try:
                chunk = await content.readany()
            except TimeoutError as error:
                raise ReadTimeoutError(
                    f"{self._server} sent nothing for {self._read_timeout:.0f} s."
                ) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                cluster_error = to_cluster_error(error, self._server, self._context)
                if isinstance(cluster_error, ConnectionLostError):
                    cluster_error.closed_cleanly = self._closed_cleanly()
                raise cluster_error from error
            if not chunk:
                return
            yield chunk
            del chunk  # frees the memory while waiting, possibly for minutes

    def _closed_cleanly(self) -> bool:
        closed = self._closed
        return (
            closed is not None
            and closed.done()
            and not closed.cancelled()
            and closed.exception() is None
        )

    async def line_batches(self) -> AsyncIterator[list[bytes]]:
        """Lists of complete lines as they arrive; an incomplete last line is dropped."""
        partial_line: list[bytes] = []
        buffered_bytes = 0
        async for chunk in self.chunks():
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                partial_line.append(tail)
                buffered_bytes += len(tail)
                if buffered_bytes > _MAX_LINE_BYTES:
                    raise InvalidResponseError(
                        f"The server sent a line longer than {_MAX_LINE_BYTES >> 20} MiB."
                    )
                continue
            if partial_line:
                partial_line.append(head)
                head = b"".join(partial_line)
            partial_line, buffered_bytes = ([tail], len(tail)) if tail else ([], 0)
            lines = head.split(b"\n")
            del chunk, head
            yield lines
            del lines

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for batch in self.line_batches():
            for line in batch:
                yield line
