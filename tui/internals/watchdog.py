"""Ends the program when it is told to, also where its event loop hangs."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
from collections.abc import Callable
from time import monotonic

from servedeck.terminal import PARENT

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""Signals that end the program; the end of its terminal or of its parent is a SIGHUP."""

LIMIT = 1.0
"""Seconds from a signal until the end is forced."""

_TOGETHER = 0.1
"""Seconds within which several signals are one wish: make passes on what its whole group got."""

_ATTEMPT = 0.25
"""Seconds for each of the last things that are tried when the end is forced."""

_LOOK = 1.0
"""Seconds between two looks for the parent, where the system cannot say when it ends."""


class Watchdog:
    """A thread to which the kernel hands signals whatever the main thread does.

    `notice` is called in that thread with every signal that is handled, once for those that end;
    it must not block. LIMIT after that, or at a second signal, `last` and `restore` are tried and
    the process ends with 128 + the first signal. It owns the wakeup descriptor of the signal
    module, so nothing may use `loop.add_signal_handler`.
    """

    def __init__(
        self,
        notice: Callable[[int], None],
        *,
        last: Callable[[], None],
        restore: Callable[[], None],
        others: tuple[signal.Signals, ...] = (),
    ) -> None:
        """`others` are handled besides those that end. To be called in the main thread."""
        self._notice = notice
        self._last = last
        self._restore = restore
        self._first: int | None = None
        self._began = 0.0
        self._deadline: float | None = None
        self._reader, self._writer = os.pipe()
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*ENDING, *others):
            self.listen(number)
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    @property
    def ending(self) -> bool:
        return self._first is not None

    @staticmethod
    def listen(number: int) -> None:
        """Have a signal handled here. Its number reaches the thread through the wakeup descriptor;
        the handler itself has nothing to do. To be called in the main thread."""
        signal.signal(number, _nothing)

    def lost(self) -> None:
        """The terminal is gone; from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        # Giving the terminal back from the background would stop the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            parent = self._watch_parent(selector)
            while True:
                for key, _ in selector.select(self._patience(watched=parent is not None)):
                    if key.fd == self._reader:
                        for number in os.read(self._reader, 4096):
                            self._take(number)
                    else:
                        selector.unregister(key.fd)
                        self._begin(signal.SIGHUP)
                if PARENT > 1 and parent is None and os.getppid() != PARENT:
                    self._begin(signal.SIGHUP)
                if self._deadline is not None and monotonic() >= self._deadline:
                    self._force()

    def _watch_parent(self, selector: selectors.BaseSelector) -> int | None:
        """Have the parent's end reported; None where the system cannot."""
        if PARENT <= 1:
            return None  # the first process of a system or of a container, or one outside of it
        try:
            descriptor = os.pidfd_open(PARENT)
            if os.getppid() == PARENT:  # else it ended before, and its number may be another's
                selector.register(descriptor, selectors.EVENT_READ)
                return descriptor
            os.close(descriptor)
        except (AttributeError, OSError):
            pass
        return None

    def _patience(self, *, watched: bool) -> float | None:
        if self._deadline is not None:
            return max(0.0, self._deadline - monotonic())
        return None if watched or PARENT <= 1 else _LOOK

    def _take(self, number: int) -> None:
        if number == 0:
            self._begin(signal.SIGHUP)
        elif number not in ENDING:
            self._notice(number)
        elif self._first is None:
            self._begin(number)
        elif number != signal.SIGHUP:  # the end of a terminal brings several of these
            self._deadline = min(self._deadline or 0.0, max(monotonic(), self._began + _TOGETHER))

    def _begin(self, number: int) -> None:
        if self._first is None:
            self._first = int(number)
            self._began = monotonic()
            self._deadline = self._began + LIMIT
            self._notice(number)

    def _force(self) -> None:
        """End now; neither the app nor the terminal can keep us longer than _ATTEMPT each."""
        for step in (self._last, self._restore):
            _attempt(step)
        os._exit(128 + (self._first or 0))


def _nothing(number: int, frame: object) -> None:
    """The handler of every signal: see `Watchdog.listen`."""


def _attempt(step: Callable[[], None]) -> None:
    def run() -> None:
        with contextlib.suppress(Exception):
            step()

    thread = threading.Thread(target=run, daemon=True)  # takes over that SIGTTOU is blocked
    thread.start()
    thread.join(_ATTEMPT)
