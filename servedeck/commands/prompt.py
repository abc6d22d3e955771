"""Questions on the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import termios

from servedeck.serving.text import one_line, sanitize

_MAX_ANSWER_BYTES = 4096
"""A terminal's line is not longer (termios(3), canonical mode)."""


class TerminalPrompt:
    """Asks on standard error and reads the answer from standard input."""

    @property
    def is_terminal(self) -> bool:
        """Whether somebody can be asked: both are a terminal."""
        # A stream that was closed before the start is None.
        return all(one.isatty() for one in (sys.stdin, sys.stderr))

    async def ask(self, question: str) -> str:
        """The line that is typed, without spaces at its ends; "" at the end of the input. What was
        typed before the question is discarded: it does not refer to it. The event loop runs
        meanwhile, so that a connection that the server closes is not used later."""
        number = sys.stdin.fileno()
        termios.tcflush(number, termios.TCIFLUSH)
        sys.stderr.write(f"{one_line(sanitize(question))} ")
        sys.stderr.flush()
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(number, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(number)
        return os.read(number, _MAX_ANSWER_BYTES).decode(errors="replace").strip()
