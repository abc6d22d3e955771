"""Writes to the terminal; the event loop never waits for it."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

FULL_BYTES = 64 * 1024
"""Number of pending bytes from which on frames are skipped; a whole screen is about 20 kB."""

_CHUNK_BYTES = 4096
"""Bytes of one write call, which cannot be canceled."""

_DIRECT_SECONDS = 0.001
"""Seconds in which the caller itself writes a frame: the system takes 8 kB before a terminal, or a
program like tmux, reads them, and most of them read within 0.2 ms."""

_DRAIN_SECONDS = 0.3
"""Seconds that `stop` waits for pending output, after which it is dropped."""

_FINAL_WRITE_SECONDS = 1.0
"""Seconds that `stop` waits for the final output, after which the terminal is abandoned."""


class TerminalWriter(threading.Thread):
    """Accepts output without blocking. What a terminal takes at once is written by the caller: a
    thread would first wait until the caller leaves the interpreter to it, 5 to 15 ms. The rest, and
    all output to anything else, is written in the background.

    Textual's own thread has a queue of 30 items and blocks the caller while it is full: forever, if
    the terminal is closed and the thread has ended. This one accepts all output and reports when it
    `is_full`; the caller skips frames then, and `on_drained` is called when there is space again.
    `on_lost` and `on_drained` are called in this thread.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        encoding: str = "utf-8",
        on_lost: Callable[[], None],
        on_drained: Callable[[], None],
    ) -> None:
        super().__init__(name="terminal-output", daemon=True)
        self._descriptor = descriptor
        self._encoding = encoding
        self._on_lost = on_lost
        self._on_drained = on_drained
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._condition = threading.Condition()
        self._stopping = False
        self._final = b""
        self._drop_pending = False
        self._abandoned = False
        self._failed = False
        self._reported_full = False
        self._direct_descriptor = _open_without_blocking(descriptor)
        """The same terminal, opened so that a write does not wait; None if that is not possible."""

    def write(self, text: str) -> None:
        """Never blocks. Output after `stop`, or to a closed terminal, is dropped."""
        data = text.encode(self._encoding, "replace")
        with self._condition:
            if self._failed or self._stopping:
                return
            if not self._pending_bytes:
                data = data[self._write_directly(data) :]
            if data:
                self._pending.append(data)
                self._pending_bytes += len(data)
                self._condition.notify()

    def _write_directly(self, data: bytes) -> int:
        """Number of bytes that the terminal took at once. An error is left to the thread, which
        gets and reports it too."""
        terminal, done = self._direct_descriptor, 0
        if terminal is None:
            return 0
        ends_at = monotonic() + _DIRECT_SECONDS
        with contextlib.suppress(OSError):
            while done < len(data) and (left := ends_at - monotonic()) > 0:
                try:
                    done += os.write(terminal, data[done:])
                except BlockingIOError:
                    select.select([], [terminal], [], left)
        return done

    def is_full(self) -> bool:
        """Whether frames must be skipped now; if so, `on_drained` is called later."""
        with self._condition:
            full = self._pending_bytes >= FULL_BYTES
            self._reported_full = self._reported_full or full
            return full

    def stop(self, final: str = "") -> None:
        """Write the pending output, then `final`, and end. A terminal that is too slow for the
        pending output gets only `final`, which must begin with an escape, since it may follow half
        a sequence. Nothing is written after this returns, except by one call that hangs."""
        with self._condition:
            self._final = final.encode(self._encoding, "replace")
            self._stopping = True
            self._condition.notify()
        self.join(_DRAIN_SECONDS)
        if self.is_alive():
            self._drop_pending = True
            with contextlib.suppress(termios.error):  # also what the system has buffered
                termios.tcflush(self._descriptor, termios.TCOFLUSH)
            self.join(_FINAL_WRITE_SECONDS)
            self._abandoned = True
        if self._direct_descriptor is not None:
            os.close(self._direct_descriptor)
            self._direct_descriptor = None

    def run(self) -> None:
        try:
            while data := self._next_data():
                for start in range(0, len(data), _CHUNK_BYTES):
                    self._send(
                        memoryview(data)[start : start + _CHUNK_BYTES], lambda: self._drop_pending
                    )
            self._send(memoryview(self._final), lambda: self._abandoned)
        except OSError:
            with self._condition:
                self._failed = True
                self._pending.clear()
                self._pending_bytes = 0
            self._on_lost()

    def _next_data(self) -> bytes:
        with self._condition:
            while not self._pending and not self._stopping:
                self._condition.wait()
            data = b"" if self._drop_pending else b"".join(self._pending)
            self._pending.clear()
            return data

    def _send(self, data: memoryview, canceled: Callable[[], bool]) -> None:
        while data and not canceled():
            try:
                done = os.write(self._descriptor, data)
            except BlockingIOError:  # set by another program that shares the terminal
                select.select([], [self._descriptor], [], 0.1)
                continue
            data = data[done:]
            with self._condition:
                self._pending_bytes -= done
                has_room = self._reported_full and self._pending_bytes < FULL_BYTES // 2
                if has_room:
                    self._reported_full = False
            if has_room:
                self._on_drained()


def _open_without_blocking(descriptor: int) -> int | None:
    """A new descriptor of the same terminal, whose writes do not wait. The given one is shared with
    other programs, such as the shell, so it stays as it is. None for anything but a terminal, and
    where it may not be opened (after `su`) or has no name (in some containers)."""
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return None
