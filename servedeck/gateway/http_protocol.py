"""What uvicorn's protocol on httptools lacks for clients that are not trusted: limits on the size
of a head, on its time and on connections, and the checks of RFC 9112 that httptools omits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 64 << 10
"""Request line and headers. Also the most that is read of chunk extensions and trailers at a time,
which httptools would collect without limit."""
HEAD_SECONDS = 30.0
"""From the connection, or the first byte of a further request, to the end of the head."""
MAX_CONNECTIONS = 4096

_LINGER_SECONDS = 1.0
"""For how long what a refused client still sends is read: else the kernel resets the connection,
and the client may never see why."""

CLOSE_EXTENSION = "servedeck.close"
"""Key of scope["extensions"]: a function that closes the connection without ending the response,
so that a client sees that it is not complete."""

# Before a request is read, nothing is known of what the client accepts: short, and always closing.
_TOO_LARGE = (431, "Request Header Fields Too Large")
_TIMEOUT = (408, "Request Timeout")
_TOO_MANY = (503, "Service Unavailable")


class LimitedProtocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = True
        self._has_progressed = False
        self._bytes_without_progress = 0
        self._is_refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._cycles: list[RequestResponseCycle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(*_TOO_MANY)
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        # uvicorn tells only the last request of a pipeline.
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.message_event.set()
        self._cycles.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        if self._is_in_head and self._head_timer is None:
            self._start_head_timer()
        self._has_progressed = False
        super().data_received(data)
        if self.parser is None or self.transport.is_closing():
            return
        if self._has_progressed:
            self._bytes_without_progress = 0
        else:
            self._bytes_without_progress += len(data)
            if self._bytes_without_progress > MAX_HEAD_BYTES:
                self._refuse(*_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # httptools reports trailers here too. uvicorn would add them to the headers of a request
        # that the application has already checked.
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._has_progressed = True
        self._stop_head_timer()
        self._check_head()
        super().on_headers_complete()
        cycle = self.cycle
        if self.parser.should_upgrade():
            # No protocol is switched to, and what follows may not be a request of this one.
            cycle.keep_alive = False
        extensions: dict[str, Any] = {CLOSE_EXTENSION: _closing(cycle)}
        cycle.scope["extensions"] = extensions
        self._cycles = [one for one in self._cycles if not one.response_complete]
        self._cycles.append(cycle)

    def _check_head(self) -> None:
        """Raises ValueError, which httptools turns into its own error: 400, and closed."""
        version = self.parser.get_http_version()
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
                raise ValueError("transfer coding that is not chunked")
        if version not in ("1.0", "1.1") or hosts > 1 or (not hosts and version == "1.1"):
            raise ValueError("not one Host, or not HTTP/1")

    def on_body(self, body: bytes) -> None:
        self._has_progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_progressed = True
        self._is_in_head = True
        super().on_message_complete()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._time_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _time_out(self) -> None:
        self._head_timer = None
        if any(not one.response_complete for one in self._cycles):
            return  # an earlier request of the connection is still being answered
        self._refuse(*_TIMEOUT)

    def send_400_response(self, msg: str) -> None:
        # uvicorn would write it into a response that has begun.
        self._refuse(400, "Bad Request")

    def _refuse(self, status: int, phrase: str) -> None:
        """Answer the request that is being read, unless that could be taken for the answer to
        another one, and close the connection."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._stop_head_timer()
        open_cycles = [one for one in self._cycles if not one.response_complete]
        if all(one.more_body and not one.response_started for one in open_cycles):
            body = b'{"title":"%s","status":%d}' % (phrase.encode(), status)
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%s"
                % (status, phrase.encode(), len(body), body)
            )
        for cycle in open_cycles:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def _closing(cycle: RequestResponseCycle) -> Callable[[], None]:
    def close() -> None:
        cycle.disconnected = True
        cycle.message_event.set()
        cycle.transport.close()

    return close


def quiet_uvicorn() -> None:
    """uvicorn warns of every request that is not HTTP: as many lines as a client likes."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
