"""The tab Metrics in a terminal: which graphs are on its screen, and when keys take effect."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import clean_environment, matches_line
from benchmarks.metrics_servers import Passed
from benchmarks.metrics_setup import NAMESPACE, SERVING
from benchmarks.run_recorded import RECORD_ENV, Step, read_steps
from benchmarks.terminal import BenchmarkTerminal
from servedeck.metrics.graphs import GRAPH_KINDS, GraphKey
from tui.metrics.grid import MAX_CHARTS

SIZE = (200, 60)
GRAPHS = tuple(GraphKey)[:MAX_CHARTS]
"""Those on the first page."""
LEFT, RIGHT = "\x1b[D", "\x1b[C"
_START_SECONDS = 60.0
KEY_SECONDS = 3.0
"""Seconds after which a key counts as lost."""
_FIRST_ROW = 8
"""The first chart is below the heading and the cards."""
_CLOCK = re.compile(r"\b\d\d:\d\d:\d\d\b")
_CHOSEN = "›"
_QUERIES = (
    (GraphKey.LATENCY, ("e2e_request_latency",)),
    (GraphKey.ERRORS, ("http_requests_total", "by (response_code)")),
    (GraphKey.REQUESTS, ("request_success",)),
    (GraphKey.QUEUE, ("num_requests_",)),
    (GraphKey.TTFT, ("time_to_first_token",)),
    (GraphKey.ITL, ("inter_token_latency",)),
    (GraphKey.TOKENS, ("prompt_tokens", "generation_tokens")),
    (GraphKey.KV_CACHE, ("kv_cache_usage",)),
)
"""What is in the queries of each graph, the first that fits."""


def graph_of(passed: Passed) -> GraphKey | None:
    """The graph that an answer is for; None for a figure."""
    if not passed.path.endswith("query_range"):
        return None
    return next(
        (key for key, texts in _QUERIES if any(text in passed.query for text in texts)), None
    )


class MetricsDashboard:
    """A running dashboard that shows the tab; a context manager."""

    def __init__(self, kubeconfig: Path, arguments: Sequence[str]) -> None:
        self._home = tempfile.TemporaryDirectory()
        self._steps = Path(self._home.name) / "steps.jsonl"
        environment = clean_environment(kubeconfig, self._home.name)
        environment |= {RECORD_ENV: str(self._steps), "TZ": "UTC"}
        argv = [sys.executable, "-m", "benchmarks.run_recorded", "-n", NAMESPACE, *arguments]
        self.terminal = BenchmarkTerminal(argv, SIZE, environment)
        self._places: dict[GraphKey, tuple[int, int]] = {}
        """Row and column of the title of each chart."""

    def __enter__(self) -> MetricsDashboard:
        try:
            self._wait_for(rf"\b{SERVING}\b.*\bReady\b")
            self.terminal.send_keys("\r")
            self._wait_for(r"1 Overview +2 Metrics")
            # Its load is read from the Pods, which must not be counted.
            time.sleep(15)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.terminal.close()
        self._home.cleanup()

    def steps(self, start: float, end: float) -> list[Step]:
        """Those of the event loop in a time of the monotonic clock, which must be a second ago."""
        return [one for one in read_steps(self._steps) if start <= one.start < end]

    # -- graphs -------------------------------------------------------------------------------

    def open_tab(self) -> None:
        """Show the tab, and wait until all graphs are there."""
        self.terminal.send_keys("2")
        if self.terminal.wait(self._has_all_titles, _START_SECONDS) is None:
            raise RuntimeError("not all charts are shown:\n" + self._screen())
        if None in self.wait_for_graphs().values():
            raise RuntimeError("not all graphs are loaded:\n" + self._screen())

    def wait_for_graphs(self) -> dict[GraphKey, float | None]:
        """When each graph was shown whose text said that it is loading, or is on the screen."""
        shown: dict[GraphKey, float | None] = dict.fromkeys(GRAPHS)

        def are_shown() -> bool:
            for key in GRAPHS:
                if shown[key] is None and not self._is_loading(key):
                    shown[key] = self.terminal.updated_at
            return None not in shown.values()

        self.terminal.wait(are_shown, _START_SECONDS)
        return shown

    def set_period(self, key: str) -> float:
        """Press the key of another period; when that was. Returns once the charts say so."""
        at = time.monotonic()
        self.terminal.send_keys(key)
        self.terminal.wait(lambda: any(map(self._is_loading, GRAPHS)), _START_SECONDS)
        return at

    def is_loading(self) -> bool:
        """Whether a graph is still to come."""
        return any(map(self._is_loading, GRAPHS))

    def _has_all_titles(self) -> bool:
        self._places.clear()
        width = self.terminal.screen.columns
        for row in range(_FIRST_ROW, self.terminal.screen.lines):
            line = self._text(row, 0, width)
            for key in GRAPHS:
                found = re.search(rf"(?:^|  ){_CHOSEN}? ?{GRAPH_KINDS[key].title}(?= |$)", line)
                if found is not None and key not in self._places:
                    self._places[key] = row, 0 if found.start() < width // 4 else width // 2
        return len(self._places) == len(GRAPHS)

    def _is_loading(self, key: GraphKey) -> bool:
        row, column = self._places[key]
        texts = (self._text(one, column, column + SIZE[0] // 2) for one in range(row, row + 8))
        return any("oading" in one for one in texts)

    def _text(self, row: int, column: int, end: int) -> str:
        cells = self.terminal.screen.buffer[row]
        return "".join([cells[x].data for x in range(column, min(end, SIZE[0]))])

    # -- keys ---------------------------------------------------------------------------------

    def press(self, key: str) -> tuple[float, float]:
        """Milliseconds from a key that moves the choice or the cursor to its effect, and of CPU
        time of the program until the effect was seen."""
        look = self._chosen_keys if key in ("j", "k") else self._cursor_text
        before, cpu = look(), self.terminal.run_seconds()
        at = time.monotonic()
        self.terminal.send_keys(key)
        shown = self.terminal.wait(lambda: look() != before, KEY_SECONDS)
        used = self.terminal.run_seconds() - cpu
        return 1000 * ((shown or at + KEY_SECONDS) - at), 1000 * used

    def _chosen_keys(self) -> list[GraphKey]:
        return [
            key
            for key, (row, column) in self._places.items()
            if _CHOSEN in self._text(row, column, column + 4)
        ]

    def _cursor_text(self) -> object:
        """The time under the cursor of the chosen chart: those of others may have larger steps."""
        chosen = self._chosen_keys()
        row, column = self._places[chosen[0] if chosen else GRAPHS[0]]
        found = _CLOCK.search(self._text(row, column, column + 60))
        return found and found[0]

    def _wait_for(self, pattern: str) -> None:
        wanted = re.compile(pattern)
        if self.terminal.wait(lambda: matches_line(self.terminal, wanted), _START_SECONDS) is None:
            raise RuntimeError(f"the dashboard does not show {pattern}:\n{self._screen()}")

    def _screen(self) -> str:
        return "\n".join(one.rstrip() for one in self.terminal.screen_lines())
