"""Commands that write several objects, and say what was written when they are interrupted."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from servedeck.cluster.write_log import WriteLog
from servedeck.commands.errors import CommandError
from servedeck.commands.output import write_lines

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_writing(command: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`. After the first signal no further write begins, and the command ends when
    that in flight is answered; the second one does not wait for the answer. Raises CommandError
    with what was written and what was not, and the exit code of the signal (128 and its number)."""
    return asyncio.run(_Guard().run(command))


class _Guard:
    def __init__(self) -> None:
        self._log = WriteLog()
        self._signal = 0
        self._task: asyncio.Task[Any] | None = None

    async def run(self, command: Coroutine[Any, Any, T]) -> T:
        self._log.begin()
        self._task = task = asyncio.create_task(command)
        loop = asyncio.get_running_loop()
        is_main = threading.current_thread() is threading.main_thread()  # only it gets signals
        handled = [one for one in _SIGNALS if is_main and signal.getsignal(one) != signal.SIG_IGN]
        for number in handled:
            loop.add_signal_handler(number, self._interrupt, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not self._signal:
                raise
            raise CommandError(self._log.summary(), 128 + self._signal) from None
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _interrupt(self, number: int) -> None:
        if self._signal:
            self._cancel()
            return
        self._signal = number
        if names := self._log.in_flight:
            with suppress(OSError):  # the terminal may be gone
                write_lines(
                    sys.stderr,
                    f"servedeck: Waiting for the response to the {', '.join(names)}; "
                    "interrupt again to leave without it.",
                )
        self._log.stop(self._cancel)
