"""Runs a program of the operator, an editor or a shell, in the terminal that the app has."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from textual.app import SuspendNotSupported

from tui.internals.driver import DriverCallbacks, TerminalDriver

if TYPE_CHECKING:
    from tui.internals.app_hooks import TerminalApp


class NoTerminalError(OSError):
    """The app has no terminal to give to another program."""


_START = 'kill -STOP $$; exec "$@"'
"""Stops before the program begins, until it has the terminal: a ctrl+c before that would end
servedeck."""


async def run_in_foreground(
    app: TerminalApp, command: Sequence[str], environ: Mapping[str, str] | None = None
) -> int:
    """Give the terminal to a program until it ends; returns its exit code, negative for a signal.
    The event loop goes on meanwhile, so watches stay alive. Raises OSError if it cannot be
    started."""
    driver = app.terminal_driver
    if not isinstance(driver, TerminalDriver):
        raise NoTerminalError("There is no terminal to run it in")
    callbacks = cast(DriverCallbacks, app)
    code, failure = 0, None
    try:
        # With batch_update nothing is painted: the stopped writer would block the event loop.
        with app.batch_update(), app.suspend():
            callbacks.handle_suspend()
            try:  # an error must not leave the block: the terminal would not be restored
                code = await asyncio.to_thread(_run, command, driver.fileno, environ)
            except OSError as error:
                failure = error
    except SuspendNotSupported as error:
        raise NoTerminalError("There is no terminal to run it in") from error
    callbacks.handle_resume()
    if failure is not None:
        raise failure
    return code


def _run(command: Sequence[str], terminal: int, environ: Mapping[str, str] | None) -> int:
    """Run the program as the terminal's foreground process group, so that ctrl+c and ctrl+backslash
    reach it alone. If it stops itself (ctrl+z in vim), it continues: no shell could resume it."""
    if (
        shutil.which(command[0], path=(os.environ if environ is None else environ).get("PATH"))
        is None
    ):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    process = subprocess.Popen(  # noqa: S603 -- the operator's own editor or kubectl
        ["/bin/sh", "-c", _START, "sh", *command],
        process_group=0,
        env=None if environ is None else dict(environ),
    )
    try:
        while True:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode
            _set_foreground(terminal, process.pid)
            os.killpg(process.pid, signal.SIGCONT)
    finally:
        _set_foreground(terminal, os.getpgrp())


def _set_foreground(terminal: int, group: int) -> None:
    with _blocked(signal.SIGTTOU), contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, group)


@contextlib.contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """Block a signal in this thread: a background process that changes the terminal's foreground
    group would be stopped by it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
