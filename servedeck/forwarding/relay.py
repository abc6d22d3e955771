"""The bytes between a local client and a Pod, in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass

from servedeck.cluster.http.errors import ClusterError
from servedeck.cluster.port_forward import PodConnection, PodConnectionError

_CHUNK_BYTES = 32 << 10
_REPLAY_BYTES = 1 << 20
"""How much of a request is kept until the Pod answers, to send it to another Pod if this one did
not accept the connection."""
ANSWERED_SECONDS = 1.0
"""Silence after which a connection ends whose client has closed it after an answer. The client may
have closed one direction only, which TCP does not tell apart; container runtimes wait as long
(containerd, sandbox_portforward_linux.go)."""
UNANSWERED_SECONDS = 30.0
"""The same for a client that waits for an answer, or has given it up."""
_FLUSH_SECONDS = 60.0
"""How long a client may take for its last bytes."""


@dataclass
class Traffic:
    """What a port-forward has moved."""

    connections: int = 0
    """Connections so far."""
    open_connections: int = 0
    sent_bytes: int = 0
    """To the Pods."""
    received_bytes: int = 0


class ClientConnection:
    """A local client, while its connection is forwarded; until a Pod answers, to one after the
    other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._traffic = traffic
        self._request: bytearray | None = bytearray()
        """What the client sent before the first answer; None once it cannot be sent again."""
        self._is_answered = False
        """Whether the last bytes came from the Pod."""
        self._last_answer_at = 0.0

    def can_retry(self, error: ClusterError) -> bool:
        """Whether another Pod can take over after the error: no process got any of the bytes."""
        if not isinstance(error, PodConnectionError) or error.was_connected:
            return False
        return self._request is not None

    async def relay(self, pod: PodConnection) -> None:
        """Forward bytes until the Pod or the client ends the connection. Raises ClusterError if the
        connection to the Pod is lost."""
        upload = asyncio.create_task(self._upload(pod))
        download = asyncio.create_task(self._download(pod))
        try:
            await asyncio.wait((upload, download), return_when=asyncio.FIRST_COMPLETED)
            if not download.done():
                error = upload.exception()
                if error is None:
                    await self._wait_for_rest(download)
                elif isinstance(error, ClusterError):  # the reason may still be to be read
                    await asyncio.wait((download,), timeout=ANSWERED_SECONDS)
            for one in (download, upload):
                if one.done() and (failure := one.exception()) is not None:
                    raise failure
        except OSError:
            return  # the client is gone
        finally:
            for one in (upload, download):
                one.cancel()
            await asyncio.gather(upload, download, return_exceptions=True)

    async def _upload(self, pod: PodConnection) -> None:
        """Forward what the client sends, until it ends its direction."""
        if self._request:
            await pod.write(bytes(self._request))
        while data := await self._reader.read(_CHUNK_BYTES):
            if self._request is not None:
                self._request += data
                if len(self._request) > _REPLAY_BYTES:
                    self._request = None
            self._is_answered = False
            self._traffic.sent_bytes += len(data)
            await pod.write(data)

    async def _download(self, pod: PodConnection) -> None:
        """Forward what the Pod sends, until it closes the connection."""
        while data := await pod.read():
            self._request = None
            self._is_answered = True
            self._last_answer_at = asyncio.get_running_loop().time()
            self._traffic.received_bytes += len(data)
            self._writer.write(data)
            await self._writer.drain()

    async def _wait_for_rest(self, download: asyncio.Task[None]) -> None:
        """The client has ended its direction: wait for the answer while it arrives."""
        loop = asyncio.get_running_loop()
        ended_at = loop.time()
        while not download.done():
            limit = ANSWERED_SECONDS if self._is_answered else UNANSWERED_SECONDS
            remaining = max(ended_at, self._last_answer_at) + limit - loop.time()
            if remaining <= 0:
                return
            await asyncio.wait((download,), timeout=remaining)

    async def finish(self) -> None:
        """Close the connection after the last bytes."""
        self._writer.close()
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._writer.wait_closed()
        except TimeoutError:
            self.reset()
        except OSError:
            pass  # the client was faster

    def reset(self) -> None:
        """Close the connection so that the client sees an error, not the end of an answer."""
        client: socket.socket | None = self._writer.get_extra_info("socket")
        if client is not None:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()
