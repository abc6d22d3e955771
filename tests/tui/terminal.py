"""A program in a pseudo terminal: its bytes, and the screen that a terminal makes of them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping

import pyte

from benchmarks.terminal import read_lines
from tui.internals.input import PASTE_END, PASTE_START

QUERY_REPLIES = ((b"\x1b[?2026$p", b"\x1b[?2026;2$y"),)

IDLE_REQUEST = f"{PASTE_START}are you idle?{PASTE_END}"
"""What `terminal_app` answers with `IDLE` when it has dealt with all keys before. A paste is told
from keys, and ends what may have begun before it: an escape, a paste without marks."""

IDLE_REPLY = b"\x1b]7777;idle\x07"

CHANGE_REQUEST = f"{PASTE_START}change!{PASTE_END}"
"""On it `terminal_app changes` changes a row."""


class PtyTerminal:
    """Runs `argv` until `close`; every byte it writes is kept."""

    def __init__(
        self, argv: list[str], size: tuple[int, int], env: Mapping[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._partial_reply = b""
        self._idle_replies = 0
        self._closed = False
        self.started = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            given = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
            given |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | dict(env or {})
            for name in ("TMUX", "COLUMNS", "LINES"):
                given.pop(name, None)
            os.execve(argv[0], argv, given)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    @property
    def lines(self) -> list[str]:
        """The text of each line."""
        return read_lines(self.screen)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def read(self, seconds: float) -> bytes:
        """What arrives within a time."""
        end = time.monotonic() + seconds
        taken = b""
        while not self._closed and (left := end - time.monotonic()) > 0:
            taken += self._read_chunk(left)
        return taken

    def read_until_closed(self) -> bytes:
        """What arrives until the program has closed the terminal."""
        taken = b""
        while not self._closed:
            taken += self._read_chunk(1.0)
        return taken

    def wait(self, condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
        end = time.monotonic() + timeout
        while True:
            last = self._closed and self.has_exited()  # nothing comes any more
            if condition():
                return
            assert not last, f"the program ended before {what}; the screen:\n{self.text}"
            assert time.monotonic() < end, f"timed out waiting for {what}; the screen:\n{self.text}"
            self._read_chunk(0.05)

    def wait_until_idle(self) -> bytes:
        """Read until a program of `terminal_app` has done all that the keys so far ask for, or has
        ended; returns what it wrote."""
        before, length = self._idle_replies, len(self.raw)
        self.press(IDLE_REQUEST)
        self.wait(lambda: self._idle_replies > before or self._closed, "an idle program")
        return self.raw[length:]

    def _read_chunk(self, seconds: float) -> bytes:
        """What arrives next; nothing when nothing comes for a time, or the program has ended."""
        if self._closed:
            time.sleep(min(seconds, 0.01))
            return b""
        if not select.select([self.fd], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            data = b""
        self._closed = not data
        for query, answer in QUERY_REPLIES:
            if query in data:
                os.write(self.fd, answer)
        data = self._partial_reply + data
        self._idle_replies += data.count(IDLE_REPLY)
        data = data.replace(IDLE_REPLY, b"")
        # the answer may have come in part
        held = next(
            (n for n in range(len(IDLE_REPLY) - 1, 0, -1) if data.endswith(IDLE_REPLY[:n])), 0
        )
        self._partial_reply = data[len(data) - held :]
        data = data[: len(data) - held]
        # pyte prints private sequences with "$" or "<", which terminals do not
        self._stream.feed(data.replace(b"\x1b[?2026$p", b"").replace(b"\x1b[?2048$p", b""))
        self.raw += data
        return data

    def close(self) -> int:
        """End the program if it still runs; returns its exit status."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return status

    def has_exited(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run_app(kind: str, size: tuple[int, int], env: Mapping[str, str] | None = None) -> PtyTerminal:
    return PtyTerminal([sys.executable, "-m", "tests.tui.terminal_app", kind], size, env)
