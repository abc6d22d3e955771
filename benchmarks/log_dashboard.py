"""The dashboard as the reader of `benchmarks.log_acceptance`: its Logs tab follows all Pods from
their first line, keys are pressed all the while, and at the end the log is saved and checked."""

from __future__ import annotations

import random
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.log_throughput import count_lines
from benchmarks.measure import clean_environment, matches_line, percentiles, servedeck_path
from benchmarks.terminal import BenchmarkTerminal
from tests.control_plane.numbered_lines import Instance, LineCheck

SIZE = (160, 50)
_START_SECONDS = 60.0
_IDLE_SECONDS = 30.0
"""It gives up after so long without a line."""
_SETTLE_SECONDS = 2.0
"""Lines that are received twice may follow the last one."""
_KEY_SECONDS = 3.0
"""Seconds after which a key counts as lost."""
_CHECKED_LINES = 10_000
"""Saved lines that are checked together."""
_NOTICE = b"# servedeck: "


class DashboardReader:
    """Runs the dashboard on the log of a serving; a context manager."""

    def __init__(self, kubeconfig: Path, namespace: str, serving: str) -> None:
        self._serving = serving
        self._home = tempfile.TemporaryDirectory()
        self._terminal = BenchmarkTerminal(
            [servedeck_path(), "-n", namespace],
            SIZE,
            clean_environment(kubeconfig, self._home.name),
        )
        self._taken: list[float] = []
        """Milliseconds from each key to the change on the screen."""
        self._stopped = threading.Event()
        self._presses = threading.Thread(target=self._press_keys, daemon=True)

    def __enter__(self) -> DashboardReader:
        try:
            self._wait_for(rf"\b{self._serving}\b.*\bReady\b")
            self._terminal.send_keys("l")
            self._wait_for(r"following|paused|connecting")
            self._terminal.send_keys("h")
            self._wait_for(r"\b15m\b")
            self._terminal.send_keys("all\r")
            self._wait_for(r"from the start")
        except BaseException:
            self.close()
            raise
        self._presses.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stopped.set()
        if self._presses.ident is not None:
            self._presses.join()
        self._terminal.close()
        self._home.cleanup()

    def finish(self, written: Mapping[Instance, int]) -> dict[str, Any]:
        """Wait until all lines have arrived, or none arrive any more; the counts of the saved log,
        and how long keys took until then."""
        total, count, since = sum(written.values()), -1, time.monotonic()
        complete_at = 0.0
        while time.monotonic() - since < _IDLE_SECONDS:
            if (now := count_lines(self._terminal)) != count:
                count, since = now, time.monotonic()
            if count >= total:
                complete_at = complete_at or time.monotonic()
                if time.monotonic() - complete_at >= _SETTLE_SECONDS:
                    break
            time.sleep(0.1)
        self._stopped.set()
        self._presses.join()
        cpu, memory = self._terminal.cpu_seconds(), self._terminal.rss_mib()
        check, notices = LineCheck(), 0
        for texts in self._saved_texts():
            lines = [text for text in texts if not text.startswith(_NOTICE)]
            notices += len(texts) - len(lines)
            check.add(lines)
        return {
            **asdict(check.compare(written)),
            "other": len(check.other),
            "notices": notices,
            "keys": len(self._taken),
            "key": percentiles(self._taken, "p50_ms", "p99_ms"),
            "cpu_seconds": round(cpu, 1),
            "memory_mib": round(memory),
            "wrong": [
                f"{pod}, instance {instance}: {counts}"
                for (pod, instance), counts in check.compare_each(written).items()
                if not counts.is_exact
            ],
        }

    def _wait_for(self, pattern: str) -> None:
        shown = partial(matches_line, self._terminal, re.compile(pattern))
        if self._terminal.wait(shown, _START_SECONDS) is None:
            screen = "\n".join(self._terminal.screen_lines())
            raise RuntimeError(f"the dashboard does not show {pattern}:\n{screen}")

    def _press_keys(self) -> None:
        """Pause and follow, in turn, until the end."""
        paused, is_paused = re.compile("paused, "), False
        while not self._stopped.wait(0.06 + 0.08 * random.random()):
            is_paused = not is_paused
            at = time.monotonic()
            self._terminal.send_keys("f")
            shown = self._terminal.wait(_shows(self._terminal, paused, is_paused), _KEY_SECONDS)
            self._taken.append(1000 * ((shown or at + _KEY_SECONDS) - at))

    def _saved_texts(self) -> Iterator[list[bytes]]:
        """Save the log; what its containers wrote, in parts, without times and Pods."""
        path = Path(self._home.name) / "saved.log"
        self._terminal.send_keys("\x13")
        self._wait_for("Save the log of")
        self._terminal.send_keys("\x15")
        self._terminal.send_keys(f"{path}\r")
        self._wait_for(r"Saved [\d,]+ lines as")
        with path.open("rb") as file:
            texts: list[bytes] = []
            for line in file:
                _stamp, _, rest = line.rstrip(b"\n").partition(b" ")
                texts.append(rest if rest.startswith(_NOTICE) else rest.partition(b" ")[2])
                if len(texts) >= _CHECKED_LINES:
                    yield texts
                    texts = []
            yield texts


def _shows(
    terminal: BenchmarkTerminal, pattern: re.Pattern[str], expected: bool
) -> Callable[[], bool]:
    return lambda: matches_line(terminal, pattern) is expected
