"""A program in a pseudo-terminal: pyte emulates the screen, and all bytes are counted."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import psutil
import pyte

from benchmarks import terminal_reader

QUERY_REPLIES = (
    (b"\x1b[?2026$p", b"\x1b[?2026;2$y"),  # synchronized output: supported
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b[c", b"\x1b[?62;4c"),
)
"""Queries that a real terminal replies to, and the replies."""

_UNSUPPORTED_SEQUENCES = re.compile(
    r"\x1b\[[<=>?][0-9;$]*[a-gi-km-zA-Z]"  # private sequences except h and l
    r"|\x1b[P_^\]][^\x1b\x07]*(?:\x1b\\|\x07)"
)
"""Sequences that pyte would render as text."""


def read_lines(screen: pyte.Screen) -> list[str]:
    """The text of each line. Unlike `screen.display` also in the middle of an update, when half of
    a wide character may be overwritten already."""
    columns = range(screen.columns)
    rows = (screen.buffer[y] for y in range(screen.lines))
    return ["".join(row[x].data for x in columns) for row in rows]


class BenchmarkTerminal:
    """Start `argv` and read its output until `close`.

    A process reads the bytes with their arrival time, and a thread renders them with pyte: a full
    screen takes tens of milliseconds, which must not delay reading.
    """

    def __init__(self, argv: list[str], size: tuple[int, int], env: dict[str, str]) -> None:
        self.screen = pyte.Screen(*size)
        self._stream = pyte.Stream(self.screen)
        self.bytes_written = 0
        """Bytes that the program has written."""
        self.updated_at = time.monotonic()
        """When the last rendered byte arrived."""
        self.closed = False
        self.recorded: list[bytes] | None = None
        """All output from the time when a list is set here."""
        self._screen_changed = threading.Condition()
        self._condition: Callable[[], bool] | None = None
        """The condition that `wait` waits for."""
        self._output_queue: SimpleQueue[tuple[bytes, float]] = SimpleQueue()
        self.fd, program_side = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self._reader = subprocess.Popen(
            [sys.executable, terminal_reader.__file__, str(self.fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=[self.fd],
        )
        assert self._reader.stdout is not None
        self._chunks = terminal_reader.read_chunks(self._reader.stdout.fileno())
        next(self._chunks)  # it is ready
        self.started_at = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            os.login_tty(program_side)
            os.execvpe(argv[0], argv, env)
        os.close(program_side)
        self.process = psutil.Process(self.pid)
        self._receiver = threading.Thread(target=self._receive_output, daemon=True)
        self._receiver.start()
        threading.Thread(target=self._render_output, daemon=True).start()

    def _receive_output(self) -> None:
        for data, at in self._chunks:
            self._output_queue.put((data, at))
            for query, reply in QUERY_REPLIES:
                if query in data:
                    os.write(self.fd, reply)
        self._output_queue.put((b"", time.monotonic()))  # the reader was stopped

    def _render_output(self) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while True:
            data, at = self._output_queue.get()
            with self._screen_changed:
                if not data:
                    self.closed = True
                    self._screen_changed.notify_all()
                    return
                self.bytes_written += len(data)
                if self.recorded is not None:
                    self.recorded.append(data)
                self._stream.feed(_UNSUPPORTED_SEQUENCES.sub("", decode(data)))
                self.updated_at = at
                if self._condition is not None and self._condition():
                    self._condition = None
                    self._screen_changed.notify_all()

    def wait(self, condition: Callable[[], bool], timeout: float) -> float | None:
        """Arrival time, on the monotonic clock, of the bytes that made `condition` true; None if it
        is not true within `timeout` seconds."""
        shown_at = None

        def wanted() -> bool:
            nonlocal shown_at
            if shown_at is None and condition():
                shown_at = self.updated_at
            return shown_at is not None

        with self._screen_changed:
            if not wanted() and not self.closed:
                self._condition = wanted
                self._screen_changed.wait_for(lambda: shown_at is not None or self.closed, timeout)
                self._condition = None
            return shown_at

    def screen_lines(self) -> list[str]:
        """The screen as text."""
        return read_lines(self.screen)

    def cursor_row(self) -> int | None:
        """Row whose style differs from all other rows: the table's cursor."""
        looks = {}
        for row in range(self.screen.lines):
            cells = self.screen.buffer[row]
            look = Counter((cells[x].bg, cells[x].reverse) for x in range(self.screen.columns))
            looks[row] = look.most_common(1)[0][0]
        counts = Counter(looks.values())
        middle = range(3, self.screen.lines - 2)  # neither header nor footer
        alone = [row for row in middle if counts[looks[row]] == 1]
        return alone[0] if len(alone) == 1 else None

    def send_keys(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def process_tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """CPU seconds of the program and its children."""
        return sum(sum(process.cpu_times()[:2]) for process in self.process_tree())

    def run_seconds(self) -> float:
        """CPU seconds of the program, without its children and to the nanosecond: the kernel counts
        `cpu_seconds` in hundredths."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def rss_mib(self) -> float:
        """Resident memory of the program and its children, in MiB."""
        return sum(process.memory_info().rss for process in self.process_tree()) / 2**20

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        self._reader.kill()
        self._receiver.join()
        self._reader.communicate()
