"""Ends the program when it is told to, also where its event loop hangs."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
from collections.abc import Callable
from time import monotonic

from servedeck.terminal import PARENT_PID

EXIT_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""Signals that end the program; the end of its terminal or of its parent is a SIGHUP."""

FORCED_EXIT_SECONDS = 1.0
"""Seconds from a signal until the end is forced."""

_DUPLICATE_SIGNAL_SECONDS = 0.1
"""Seconds within which several signals are one wish: make passes on what its whole group got."""

_CLEANUP_SECONDS = 0.25
"""Seconds for each of the last things that are tried when the end is forced."""

_PARENT_POLL_SECONDS = 1.0
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
        on_signal: Callable[[int], None],
        *,
        cleanup: Callable[[], None],
        restore_terminal: Callable[[], None],
        extra_signals: tuple[signal.Signals, ...] = (),
    ) -> None:
        """`others` are handled besides those that end. To be called in the main thread."""
        self._on_signal = on_signal
        self._cleanup = cleanup
        self._restore_terminal = restore_terminal
        self._first_signal: int | None = None
        self._first_signal_at = 0.0
        self._deadline: float | None = None
        self._reader, self._writer = os.pipe()
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*EXIT_SIGNALS, *extra_signals):
            self.install_handler(number)
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    @property
    def exiting(self) -> bool:
        return self._first_signal is not None

    @staticmethod
    def install_handler(number: int) -> None:
        """Have a signal handled here. Its number reaches the thread through the wakeup descriptor;
        the handler itself has nothing to do. To be called in the main thread."""
        signal.signal(number, _ignore_signal)

    def report_terminal_lost(self) -> None:
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
                for key, _ in selector.select(
                    self._select_timeout(parent_watched=parent is not None)
                ):
                    if key.fd == self._reader:
                        for number in os.read(self._reader, 4096):
                            self._handle_signal(number)
                    else:
                        selector.unregister(key.fd)
                        self._begin_exit(signal.SIGHUP)
                if PARENT_PID > 1 and parent is None and os.getppid() != PARENT_PID:
                    self._begin_exit(signal.SIGHUP)
                if self._deadline is not None and monotonic() >= self._deadline:
                    self._force_exit()

    def _watch_parent(self, selector: selectors.BaseSelector) -> int | None:
        """Have the parent's end reported; None where the system cannot."""
        if PARENT_PID <= 1:
            return None  # the first process of a system or of a container, or one outside of it
        try:
            descriptor = os.pidfd_open(PARENT_PID)
            if os.getppid() == PARENT_PID:  # else it ended before, and its number may be another's
                selector.register(descriptor, selectors.EVENT_READ)
                return descriptor
            os.close(descriptor)
        except (AttributeError, OSError):
            pass
        return None

    def _select_timeout(self, *, parent_watched: bool) -> float | None:
        if self._deadline is not None:
            return max(0.0, self._deadline - monotonic())
        return None if parent_watched or PARENT_PID <= 1 else _PARENT_POLL_SECONDS

    def _handle_signal(self, number: int) -> None:
        if number == 0:
            self._begin_exit(signal.SIGHUP)
        elif number not in EXIT_SIGNALS:
            self._on_signal(number)
        elif self._first_signal is None:
            self._begin_exit(number)
        elif number != signal.SIGHUP:  # the end of a terminal brings several of these
            self._deadline = min(
                self._deadline or 0.0,
                max(monotonic(), self._first_signal_at + _DUPLICATE_SIGNAL_SECONDS),
            )

    def _begin_exit(self, number: int) -> None:
        if self._first_signal is None:
            self._first_signal = int(number)
            self._first_signal_at = monotonic()
            self._deadline = self._first_signal_at + FORCED_EXIT_SECONDS
            self._on_signal(number)

    def _force_exit(self) -> None:
        """End now; neither the app nor the terminal can keep us longer than _ATTEMPT each."""
        for step in (self._cleanup, self._restore_terminal):
            _run_with_timeout(step)
        os._exit(128 + (self._first_signal or 0))


def _ignore_signal(number: int, frame: object) -> None:
    """The handler of every signal: see `Watchdog.listen`."""


def _run_with_timeout(step: Callable[[], None]) -> None:
    def run() -> None:
        with contextlib.suppress(Exception):
            step()

    thread = threading.Thread(target=run, daemon=True)  # takes over that SIGTTOU is blocked
    thread.start()
    thread.join(_CLEANUP_SECONDS)
