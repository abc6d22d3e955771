"""Writes to the terminal beside the event loop, which never waits for it."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
from collections import deque
from collections.abc import Callable

FULL = 64 * 1024
"""Bytes waiting, from which on nothing more should be drawn; a whole screen is about 20 kB."""

_CHUNK = 4096
"""Bytes of one call: what cannot be taken back."""

_PATIENCE = 0.3
"""Seconds that `stop` leaves for what waits, after which it is dropped."""

_LAST = 1.0
"""Seconds that `stop` leaves for the last that is written, after which the terminal is given up."""


class Writer(threading.Thread):
    """Takes what is written at once and writes it in the background.

    Textual's own thread has a queue of 30 places and blocks who writes while it is full: for ever,
    where the terminal is gone and the thread with it. This one takes all and says when it is
    `full`; whoever draws leaves out pictures then, and is called when there is room again.
    `lost` and `room` are called in this thread.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        encoding: str = "utf-8",
        lost: Callable[[], None],
        room: Callable[[], None],
    ) -> None:
        super().__init__(name="terminal-output", daemon=True)
        self._descriptor = descriptor
        self._encoding = encoding
        self._lost = lost
        self._room = room
        self._pending: deque[bytes] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._last = b""
        self._dropping = False
        self._given_up = False
        self._dead = False
        self._refused = False

    def write(self, text: str) -> None:
        """Never blocks. What is written after `stop`, or to a terminal that is gone, is dropped."""
        data = text.encode(self._encoding, "replace")
        with self._changed:
            if data and not (self._dead or self._stopping):
                self._pending.append(data)
                self._waiting += len(data)
                self._changed.notify()

    def full(self) -> bool:
        """Whether pictures are to be left out now; if so, `room` is called later."""
        with self._changed:
            full = self._waiting >= FULL
            self._refused = self._refused or full
            return full

    def stop(self, last: str = "") -> None:
        """Write what waits, then `last`, and end. A terminal that is too slow for what waits gets
        `last` alone, which must begin with an escape, since it may follow half a sequence. Nothing
        is written after this returned, but for one call that hangs."""
        with self._changed:
            self._last = last.encode(self._encoding, "replace")
            self._stopping = True
            self._changed.notify()
        self.join(_PATIENCE)
        if self.is_alive():
            self._dropping = True
            with contextlib.suppress(termios.error):  # what the system holds for it, too
                termios.tcflush(self._descriptor, termios.TCOFLUSH)
            self.join(_LAST)
            self._given_up = True

    def run(self) -> None:
        try:
            while data := self._next():
                for start in range(0, len(data), _CHUNK):
                    self._send(memoryview(data)[start : start + _CHUNK], lambda: self._dropping)
            self._send(memoryview(self._last), lambda: self._given_up)
        except OSError:
            with self._changed:
                self._dead = True
                self._pending.clear()
                self._waiting = 0
            self._lost()

    def _next(self) -> bytes:
        with self._changed:
            while not self._pending and not self._stopping:
                self._changed.wait()
            data = b"" if self._dropping else b"".join(self._pending)
            self._pending.clear()
            return data

    def _send(self, data: memoryview, dropped: Callable[[], bool]) -> None:
        while data and not dropped():
            try:
                done = os.write(self._descriptor, data)
            except BlockingIOError:  # another program that has the terminal too made it so
                select.select([], [self._descriptor], [], 0.1)
                continue
            data = data[done:]
            with self._changed:
                self._waiting -= done
                has_room = self._refused and self._waiting < FULL // 2
                if has_room:
                    self._refused = False
            if has_room:
                self._room()
