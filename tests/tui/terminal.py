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

QUERIES = ((b"\x1b[?2026$p", b"\x1b[?2026;2$y"),)


class Terminal:
    """Runs `argv` until `close`; every byte it writes is kept."""

    def __init__(
        self, argv: list[str], size: tuple[int, int], env: Mapping[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
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
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def read(self, seconds: float) -> bytes:
        """What arrives within a time."""
        end = time.monotonic() + seconds
        taken = b""
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:
                break
            taken += data
            for query, answer in QUERIES:
                if query in data:
                    os.write(self.fd, answer)
            # pyte prints private sequences with "$" or "<", which terminals do not
            self._stream.feed(data.replace(b"\x1b[?2026$p", b"").replace(b"\x1b[?2048$p", b""))
        self.raw += taken
        return taken

    def wait(self, condition: Callable[[], object], what: str, limit: float = 20.0) -> None:
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f"timed out waiting for {what}; the screen:\n{self.text}"
            self.read(0.05)

    def settle(self, quiet: float = 0.4, limit: float = 10.0) -> bytes:
        """Read until nothing has come for a while; returns what came."""
        taken = b""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            data = self.read(quiet)
            taken += data
            if not data:
                return taken
        return taken

    def close(self) -> int:
        """End the program if it still runs; returns its exit status."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return status

    def ended(self) -> bool:
        self.read(0.05)
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run_app(kind: str, size: tuple[int, int], env: Mapping[str, str] | None = None) -> Terminal:
    return Terminal([sys.executable, "-m", "tests.tui.terminal_app", kind], size, env)
