"""Exits the program on a signal, even if its event loop hangs."""

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
"""Signals that exit the program; a closed terminal or an exited parent counts as SIGHUP."""

FORCED_EXIT_SECONDS = 1.0
"""Seconds from a signal until a forced exit."""

_DUPLICATE_SIGNAL_SECONDS = 0.1
"""Seconds within which several signals count as one: make forwards those that its whole process
group received."""

_CLEANUP_SECONDS = 0.25
"""Timeout in seconds of each cleanup step in a forced exit."""

_PARENT_POLL_SECONDS = 1.0
"""Seconds between two checks of the parent, if the system cannot report its exit."""


class Watchdog:
    """A thread that receives signals from the kernel regardless of what the main thread does.

    `on_signal` is called in that thread with every signal that is handled, once for exit signals;
    it must not block. FORCED_EXIT_SECONDS after that, or at a second signal, `cleanup` and
    `restore_terminal` are attempted and the process exits with 128 + the first signal. It owns the
    wakeup descriptor of the signal module, so nothing may use `loop.add_signal_handler`.
    """

    def __init__(
        self,
        on_signal: Callable[[int], None],
        *,
        cleanup: Callable[[], None],
        restore_terminal: Callable[[], None],
        extra_signals: tuple[signal.Signals, ...] = (),
    ) -> None:
        """`extra_signals` are handled besides EXIT_SIGNALS. Call it in the main thread."""
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
        """Handle a signal here. Its number reaches the thread through the wakeup descriptor; the
        handler itself does nothing. Call it in the main thread."""
        signal.signal(number, _ignore_signal)

    def report_terminal_lost(self) -> None:
        """Report that the terminal is closed; may be called in any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        # Restoring the terminal from the background would stop the process.
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
        """Watch for the parent's exit; None if the system cannot report it."""
        if PARENT_PID <= 1:
            return None  # init of the system or container, or a process outside of it
        try:
            descriptor = os.pidfd_open(PARENT_PID)
            if os.getppid() == PARENT_PID:  # else it exited before, and its PID may be reused
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
        elif number != signal.SIGHUP:  # a closing terminal sends several of these
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
        """Exit now; the app and the terminal can delay it by at most _CLEANUP_SECONDS each."""
        for step in (self._cleanup, self._restore_terminal):
            _run_with_timeout(step)
        os._exit(128 + (self._first_signal or 0))


def _ignore_signal(number: int, frame: object) -> None:
    """The handler of every signal: see `Watchdog.install_handler`."""


def _run_with_timeout(step: Callable[[], None]) -> None:
    def run() -> None:
        with contextlib.suppress(Exception):
            step()

    thread = threading.Thread(target=run, daemon=True)  # inherits the blocked SIGTTOU
    thread.start()
    thread.join(_CLEANUP_SECONDS)
