"""What uvicorn's protocol on httptools lacks for clients that are not trusted: limits on the size
of a head, on its time, on connections and on clients that do not read, and the checks of RFC 9112
that httptools omits. And what ASGI does not cover: ExchangeControl."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

MAX_HEAD_BYTES = 64 << 10
"""Request line and headers. Also the most that is read of chunk extensions and trailers at a time,
which httptools would collect without limit."""
HEAD_SECONDS = 30.0
"""From the connection, or the first byte of a further request, to the end of the head; again from
the answer to the request before, as until then a client may have to wait."""
MAX_CONNECTIONS = 4096

STALL_SECONDS = 60.0
"""For how long a client may take less than STALL_BYTES of a response that waits for it."""
STALL_BYTES = 64 << 10

_LINGER_SECONDS = 1.0
"""For how long what a refused client still sends is read: else the kernel resets the connection,
and the client may never see why."""

CONTROL_EXTENSION = "servedeck.control"
"""Key of scope["extensions"]: the ExchangeControl of a request."""

# Before a request is read, nothing is known of what the client accepts: short, and always closing.
_TOO_LARGE = (431, "Request Header Fields Too Large")
_TIMEOUT = (408, "Request Timeout")
_TOO_MANY = (503, "Service Unavailable")


class ExchangeControl:
    """What an application may do with a request and its response beside `receive` and `send`."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def close(self) -> None:
        """Close the connection without ending the response, so that a client sees that it is not
        complete."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()
        self._cycle.transport.close()

    def take_body(self) -> bytes | None:
        """The body, if all of it has come and none of it was received; else None."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or not cycle.message_event.is_set():
            return None
        body = bytes(cycle.body)
        cycle.body = bytearray()
        cycle.message_event.clear()
        return body

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write a whole response at once, as uvicorn takes two calls of the system for one. False
        if it has to be sent in the ordinary way; then nothing was written. `headers` are in lower
        case, and have the length of the body."""
        cycle = self._cycle
        if (
            cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or cycle.flow.write_paused
            or cycle.scope["method"] == "HEAD"
        ):
            return False
        lines = [b"%s: %s\r\n" % header for header in headers]
        head = b"".join(lines)
        if not head.count(b"\r") == head.count(b"\n") == len(lines):
            return False  # a header that is none, which uvicorn refuses
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[status], head, body))
        cycle.message_event.set()
        cycle.on_response()
        return True


class LimitedProtocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = True
        self._has_begun = False
        """The head that is read: a part of it has come."""
        self._has_progressed = False
        self._bytes_without_progress = 0
        self._is_refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._cycles: list[RequestResponseCycle] = []
        self._stall_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        """Bytes that had not been sent when the client was looked at last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _limit_unread(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(*_TOO_MANY)
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_stall_timer()
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
        self._has_progressed = False
        super().data_received(data)
        if self.parser is None or self.transport.is_closing():
            return
        # Most heads come whole: a timer for each would cost more than to read it.
        is_waited_for = self._has_begun or not self._has_progressed
        if self._is_in_head and is_waited_for and self._head_timer is None:
            self._start_head_timer()
        self._wait_for_rest()
        if self._has_progressed:
            self._bytes_without_progress = 0
        else:
            self._bytes_without_progress += len(data)
            if self._bytes_without_progress > MAX_HEAD_BYTES:
                self._refuse(*_TOO_LARGE)

    def _wait_for_rest(self) -> None:
        """A request may be answered before its body has come. What comes of that later ends the
        keep-alive timer of uvicorn, which starts no other: the connection would never be closed."""
        if (
            self._head_timer is None
            and self.timeout_keep_alive_task is None
            and self.cycle is not None
            and self.cycle.response_complete
        ):
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = self._has_begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # httptools reports trailers here too. uvicorn would add them to the headers of a request
        # that the application has already checked.
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = self._has_begun = False
        self._has_progressed = True
        self._stop_head_timer()
        self._check_head()
        super().on_headers_complete()
        cycle = self.cycle
        if self.parser.should_upgrade():
            # No protocol is switched to, and what follows may not be a request of this one.
            cycle.keep_alive = False
        extensions: dict[str, Any] = {CONTROL_EXTENSION: ExchangeControl(cycle)}
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

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head_timer is not None:
            self._stop_head_timer()
            if not self.transport.is_closing():
                self._start_head_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._start_stall_timer()

    def resume_writing(self) -> None:
        self._stop_stall_timer()
        super().resume_writing()

    def _start_stall_timer(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self._check_stall)

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _check_stall(self) -> None:
        """A response is in memory until it is sent: nobody may hold many of them for ever."""
        self._stall_timer = None
        if self._unsent - self.transport.get_write_buffer_size() < STALL_BYTES:
            self.transport.abort()
        else:
            self._start_stall_timer()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._time_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _time_out(self) -> None:
        self._head_timer = None
        if any(not one.response_complete for one in self._cycles):
            # An earlier request of the connection is still being answered.
            self._start_head_timer()
            return
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


def _limit_unread(transport: asyncio.Transport) -> None:
    """The same by the kernel, for what is too little to stop the writing, or comes after it."""
    found = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if found is not None and option is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.IPPROTO_TCP, option, int(STALL_SECONDS * 1000))


def quiet_uvicorn() -> None:
    """uvicorn warns of every request that is not HTTP: as many lines as a client likes."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
