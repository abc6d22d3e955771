"""The terminal driver: input, output, size, suspending, and a closed terminal."""

from __future__ import annotations

import contextlib
import contextvars
import os
import selectors
import signal
import sys
import termios
import threading
import tty
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from textual import events
from textual.constants import DISABLE_KITTY_KEY
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.message import Message
from textual.messages import InBandWindowResize

from tui.internals.input import InputParser
from tui.internals.watchdog import EXIT_SIGNALS, Watchdog
from tui.internals.writer import TerminalWriter

if TYPE_CHECKING:
    from textual.app import App

DEFAULT_SIZE = (80, 24)
"""Columns and lines while the size of the terminal is unknown."""

RESIZE_SETTLE_SECONDS = 0.1
"""Seconds without a size change after which the whole screen is redrawn."""

MAX_SIZE = (2000, 1000)
"""Maximum columns and lines to draw: a terminal that reports 65,535 squared would exhaust
memory."""

SWITCH_SECONDS = 0.001
"""Seconds after which a busy event loop leaves the interpreter to the thread that reads keys. A key
takes several such switches; Python's 5 ms for each add up to 15 to 20 ms while a fast log is
read."""

_KITTY_FLAGS = (
    linux_driver.KITTY_DISAMBIGUATE_ESCAPE_CODES
    | linux_driver.KITTY_REPORT_ALL_KEYS
    | linux_driver.KITTY_REPORT_ASSOCIATED_TEXT
)
KITTY_ON = "" if DISABLE_KITTY_KEY else f"\x1b[>{_KITTY_FLAGS}u"

MOUSE_OFF = "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"

APPLICATION_MODE_ON = (
    "\x1b[?1049h"  # the alternate screen
    "\x1b[?1000h\x1b[?1003h\x1b[?1015h\x1b[?1006h"  # the mouse
    "\x1b[?25l"  # no cursor
    "\x1b[?1004h"  # focus reporting
    f"{KITTY_ON}"
    "\x1b[?2004h"  # bracketed paste
    "\x1b[?7l"  # no line wrapping
)
APPLICATION_MODE_OFF = (
    "\x1b[?2026l"  # end a synchronized update
    f"{MOUSE_OFF}\x1b[0m\x1b[?2004l\x1b[?7h"
    "\x1b[<u"  # before the alternate screen ends, which has its own keyboard state
    "\x1b[?1049l\x1b[?25h\x1b[?1004l"
)


def terminal_size(descriptors: tuple[int, ...], environ: Mapping[str, str]) -> tuple[int, int]:
    """Columns and lines: each from the terminal, else from the environment, else from DEFAULT_SIZE,
    and at most MAX_SIZE."""
    known = (0, 0)
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            known = os.get_terminal_size(descriptor)
            break
    given = (environ.get(name, "") for name in ("COLUMNS", "LINES"))
    columns, lines = (
        min(real or (int(text) if text.isdecimal() and len(text) < 6 else 0) or default, most)
        for real, text, default, most in zip(known, given, DEFAULT_SIZE, MAX_SIZE, strict=True)
    )
    return columns, lines


class DriverCallbacks(Protocol):
    """What the driver needs of the app."""

    def exit_on_signal(self, number: int) -> None:
        """Exit as the signal requests, with its exit code."""

    def prepare_forced_exit(self) -> None:
        """Clean up before a forced exit; called in another thread, since the event loop hangs."""

    def redraw(self) -> None:
        """Redraw the whole screen: what the terminal shows is unknown."""

    def handle_suspend(self) -> None:
        """Another program has the terminal from now on."""

    def handle_resume(self) -> None:
        """Redraw the whole screen, after another program had the terminal."""


class TerminalDriver(LinuxDriver):
    """Replaces Textual's driver, which ignores the end of its input, blocks forever when its output
    is stuck, handles signals in the middle of running code, and on SIGCONT starts what already
    runs.
    """

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._can_stop = signal.getsignal(signal.SIGTSTP) != signal.SIG_IGN
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._callbacks = cast(DriverCallbacks, app)
        self._context = contextvars.copy_context()
        # Standard error, where Textual writes, may be a file.
        assert sys.__stdout__ is not None
        self._output_fd = sys.__stdout__.fileno()
        self._encoding = sys.__stdout__.encoding or "utf-8"
        self.last_input_at = 0.0
        """When input was read last, on the monotonic clock; set by the thread that reads it."""
        self._in_application_mode = False
        self._writer: TerminalWriter | None = None
        self._input_wake_fd = -1
        self._redraw_timer = self._loop.call_later(0.0, str)
        self._resize_pending = threading.Event()  # set while the size is about to be read
        self._stopping = False  # True from our own stop until SIGCONT
        self._continued = threading.Event()
        self._size = self._sent_size = size or self._get_terminal_size()
        self._watchdog = Watchdog(
            self._on_signal,
            cleanup=self._callbacks.prepare_forced_exit,
            restore_terminal=self._restore_terminal,
            extra_signals=(signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT),
        )

    # -- signals ----------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        """Handle a signal, in the watchdog's thread."""
        if number == signal.SIGCONT and self._stopping:
            self._continued.set()
        elif number == signal.SIGWINCH:
            if not self._resize_pending.is_set():
                self._resize_pending.set()
                self._call_in_loop(self._send_size)
        elif number == signal.SIGCONT:
            self._call_in_loop(self._handle_continue)
        elif number == signal.SIGTSTP:
            self._call_in_loop(self._suspend_self)
        elif number in EXIT_SIGNALS:
            self._call_in_loop(self._callbacks.exit_on_signal, number)

    def _call_in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: the watchdog does the rest
            self._loop.call_soon_threadsafe(function, *arguments, context=self._context.copy())

    # -- size -------------------------------------------------------------------------------------

    def _get_terminal_size(self) -> tuple[int, int]:
        return terminal_size((self._output_fd, self.fileno), os.environ)

    def _send_size(self) -> None:
        """Report the size to the app if it has changed. Sizes in between are skipped: the size is
        read when it is reported. A terminal that was small for a moment has lost its content,
        whether the app handled that size or not: the whole screen is redrawn at the end."""
        self._resize_pending.clear()
        self._redraw_timer.cancel()
        self._redraw_timer = self._loop.call_later(
            RESIZE_SETTLE_SECONDS, self._callbacks.redraw, context=self._context
        )
        size = self._get_terminal_size()
        if size != self._sent_size and self._in_application_mode:
            self._size = self._sent_size = size
            self._app.post_message(events.Resize(Size(*size), Size(*size)))

    # -- acquiring and releasing the terminal -----------------------------------------------------

    def start_application_mode(self) -> None:
        self._writer = TerminalWriter(
            self._output_fd,
            encoding=self._encoding,
            on_lost=self._watchdog.report_terminal_lost,
            on_drained=lambda: self._call_in_loop(self._callbacks.redraw),
        )
        self._writer.start()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._in_application_mode = True
        with contextlib.suppress(termios.error):
            self.attrs_before = termios.tcgetattr(self.fileno)
        self._enter_terminal_modes()
        reader, self._input_wake_fd = os.pipe()
        self._key_thread = threading.Thread(
            target=self._run_input_thread, args=(reader,), name="terminal-input", daemon=True
        )
        self._key_thread.start()
        self._request_terminal_sync_mode_support()
        if self._sent_size != self._get_terminal_size():
            self._send_size()

    def _enter_terminal_modes(self) -> None:
        """Switch to unbuffered input without echo, and to the alternate screen."""
        with contextlib.suppress(termios.error):
            attributes = termios.tcgetattr(self.fileno)
            attributes[tty.LFLAG] = self._patch_lflag(attributes[tty.LFLAG])
            attributes[tty.IFLAG] = self._patch_iflag(attributes[tty.IFLAG])
            attributes[tty.CC][termios.VMIN] = 1
            termios.tcsetattr(self.fileno, termios.TCSANOW, attributes)
        self.write(APPLICATION_MODE_ON)

    def disable_input(self) -> None:
        thread, self._key_thread = self._key_thread, None
        if thread is not None:
            self.write(MOUSE_OFF)
            os.close(self._input_wake_fd)
            thread.join(0.5)  # still blocked if another program took the input
            with contextlib.suppress(termios.error):
                termios.tcflush(self.fileno, termios.TCIFLUSH)

    def stop_application_mode(self) -> None:
        if self._in_application_mode:
            self.disable_input()
            self._in_application_mode = False
            self._restore_termios()
            self.close()

    def _restore_termios(self) -> None:
        if self.attrs_before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.stop(APPLICATION_MODE_OFF)

    def _restore_terminal(self) -> None:
        """Restore the terminal if the app cannot; called in another thread."""
        if self._writer is not None and self._in_foreground():
            self._restore_termios()
            os.write(self._output_fd, APPLICATION_MODE_OFF.encode())

    # -- input and output -------------------------------------------------------------------------

    def write(self, data: str) -> None:
        """Write in the background; dropped while another program has the terminal."""
        if self._writer is not None:
            self._writer.write(data)

    def is_output_full(self) -> bool:
        """Whether the terminal is so slow that frames must be skipped; `redraw` is called when it
        no longer is."""
        return self._writer is not None and self._writer.is_full()

    def _run_input_thread(self, wake_fd: int = -1) -> None:
        try:
            self._read_input(wake_fd)
        except Exception as error:
            self._call_in_loop(self._app._handle_exception, error)
        finally:
            os.close(wake_fd)

    def _read_input(self, wake_fd: int) -> None:
        """Read until the other end of `wake_fd` is closed."""
        parser = InputParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(wake_fd, selectors.EVENT_READ)
            ended = False
            while not ended:
                ready = {key.fd for key, _ in selector.select(parser.seconds_until_tick())}
                ended = wake_fd in ready
                if self.fileno in ready and (data := self._read_chunk()) is not None:
                    if not data:
                        self._watchdog.report_terminal_lost()
                        ended = True
                    if text := decode(data):  # empty if the data ends within a character
                        self._process_messages(parser.feed(text))
                self._process_messages(parser.flush() if ended else parser.tick())

    def _read_chunk(self) -> bytes | None:
        """The input; b"" if the terminal is closed, None if another program took the input."""
        try:
            return os.read(self.fileno, 4096)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _process_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if isinstance(message, (events.InputEvent, events.Paste)):
                self.last_input_at = message.time
            self.process_message(message)

    def send_message(self, message: Message) -> None:
        self._call_in_loop(self._app.post_message, message)

    def process_message(self, message: Message) -> None:
        if isinstance(message, events.Key) and message.key == "ctrl+backslash":
            os.kill(os.getpid(), signal.SIGQUIT)  # as in every terminal, even if the loop hangs
        elif not isinstance(message, (events.Resize, InBandWindowResize)):
            # The size is read from the system only: the terminal's own report may be older.
            super().process_message(message)

    # -- suspending -------------------------------------------------------------------------------

    def suspend_disabled_reason(self) -> str:
        """Why the program cannot be suspended to a shell, as a sentence; "" if it can."""
        # The process group of the session leader has no shell above it that could resume.
        if not self._can_stop or os.getpgrp() == os.getsid(0):
            return "servedeck was not started from a shell; it cannot be suspended."
        return ""

    def suspend(self) -> bool:
        """Stop the whole job, as ctrl+z does in a shell; returns after SIGCONT. False if the system
        did not stop it."""
        return self._suspend_with(lambda number: os.killpg(os.getpgrp(), number))

    def _suspend_self(self) -> None:
        """Handle SIGTSTP to this process, which the kernel ignores in an orphaned process group."""
        if self._in_application_mode and self.suspend_disabled_reason():
            return
        self._suspend_with(lambda number: os.kill(os.getpid(), number))

    def _suspend_with(self, send: Callable[[int], None]) -> bool:
        was_active = self._in_application_mode
        if was_active:
            self.stop_application_mode()
            self._callbacks.handle_suspend()
        stopped = self._stop_with_signal(send, signal.SIGTSTP)
        if was_active and (not stopped or self._wait_for_foreground(send)):
            self.start_application_mode()
            self._callbacks.handle_resume()
        return stopped

    def _wait_for_foreground(self, send: Callable[[int], None]) -> bool:
        """If continued in the background, stop again, as every program does that needs the
        terminal. False if the program exits instead."""
        while not self._in_foreground() and not self._watchdog.exiting:
            if not self._stop_with_signal(send, signal.SIGTTOU):
                self._watchdog.report_terminal_lost()
                return False
        return not self._watchdog.exiting

    def _stop_with_signal(self, send: Callable[[int], None], number: signal.Signals) -> bool:
        """Stop the process with a signal; False if it did not stop, since no process could continue
        it."""
        self._continued.clear()
        self._stopping = True
        signal.signal(number, signal.SIG_DFL)
        try:
            send(number)
            return self._continued.wait(0.5)
        finally:
            self._stopping = False
            if number == signal.SIGTSTP:
                self._watchdog.install_handler(number)

    def _handle_continue(self) -> None:
        """Handle SIGCONT after a stop without notice (SIGSTOP)."""
        if self._in_application_mode and self._wait_for_foreground(
            lambda number: os.kill(os.getpid(), number)
        ):
            self.write(APPLICATION_MODE_OFF)
            self._enter_terminal_modes()
            self._send_size()
            self._callbacks.handle_resume()

    def _in_foreground(self) -> bool:
        """Whether this process may read and write the terminal."""
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:
            # Not the controlling terminal (in a container), or closed, which a read reports.
            return True
