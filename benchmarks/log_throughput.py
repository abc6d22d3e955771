"""A log that is written as fast as it is read, then at the required rate: lines per second that the
app follows, lost lines, and key latency meanwhile.

    python -m benchmarks.log_throughput KUBECONFIG

is the source, in a separate process: the demo's API server with one Pod that writes such a log. It
prints "ready", the time when the first line was requested (monotonic clock, which processes share),
and at the end the number of lines that it sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import clean_environment, matches_line, percentiles, servedeck_path
from benchmarks.terminal import BenchmarkTerminal
from servedeck.demo.api import access
from servedeck.demo.api.kubelet_api import LogOptions
from servedeck.demo.api.server import ApiServer
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.demo.cluster_fixture import ClusterFixture

UNPACED_LINES = 5_000_000
"""Lines that are written as fast as they are read."""
PACED_LINES = 5_000_000
PACED_RATE = 500_000
"""Lines per second after the unpaced lines."""
_LINES_PER_CHUNK = 500
_LOG_TEXT = 'INFO:     10.42.3.17:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK'
_COUNT_PATTERN = re.compile(r"  (?P<kept>[\d,]+) lines?(?:, (?P<gone>[\d,]+) older dropped)?\s*$")
_TIMEOUT = 90.0


class BusyLogRuntime(NodeRuntime):
    """Nodes on which every container writes as fast as its client reads."""

    async def logs(
        self, pod: dict[str, Any], container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        print_line(time.monotonic())
        sent = 0
        while sent < UNPACED_LINES:
            yield make_chunk(sent)
            sent += _LINES_PER_CHUNK
        begin = time.monotonic()
        while sent < UNPACED_LINES + PACED_LINES:
            yield make_chunk(sent)
            sent += _LINES_PER_CHUNK
            await asyncio.sleep(begin + (sent - UNPACED_LINES) / PACED_RATE - time.monotonic())
        print_line(sent)
        await asyncio.Event().wait()


def make_chunk(first_number: int) -> bytes:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())
    numbers = range(first_number, first_number + _LINES_PER_CHUNK)
    return "".join(f"{stamp} {_LOG_TEXT} {number}\n" for number in numbers).encode()


def print_line(value: object) -> None:
    print(value, flush=True)


async def serve_log(kubeconfig: Path) -> None:
    """Run the log source."""
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy()
    cluster.until(cluster.ready)
    server = ApiServer(
        cluster.store, BusyLogRuntime(cluster.controllers.kubelet, cluster.clock), [access.admin()]
    )
    await server.start()
    kubeconfig.write_text(json.dumps(server.kubeconfig()))
    print_line("ready")
    await asyncio.Event().wait()


def measure_log(size: tuple[int, int]) -> dict[str, Any]:
    """Lines per second, lost lines, and milliseconds from a key to the change of the header: at
    full speed, and at `PACED_RATE`."""
    with tempfile.TemporaryDirectory() as home:
        config = Path(home) / "kubeconfig"
        source = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.log_throughput", str(config)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert source.stdout is not None
            source.stdout.readline()
            terminal = BenchmarkTerminal(
                [servedeck_path(), "-n", "lab"], size, clean_environment(config, home)
            )
            try:
                if (
                    terminal.wait(partial(matches_line, terminal, re.compile(r"\b1 Ready\b")), 30)
                    is None
                ):
                    return {}
                terminal.send_keys("l")
                began = float(source.stdout.readline())
                keys, at = _measure_keys(terminal, UNPACED_LINES, began + _TIMEOUT)
                result: dict[str, Any] = {"fast_key": percentiles(keys, "p50_ms", "p99_ms")}
                result["lines_per_s"] = round(UNPACED_LINES / (at - began)) if at else None
                keys, at = _measure_keys(
                    terminal, UNPACED_LINES + PACED_LINES, time.monotonic() + _TIMEOUT
                )
                result["key"] = percentiles(keys, "p50_ms", "p99_ms")
                if at:
                    result["lost"] = int(source.stdout.readline()) - count_lines(terminal)
                return result
            finally:
                terminal.close()
        finally:
            source.kill()
            source.communicate()


def _measure_keys(
    terminal: BenchmarkTerminal, line_count: int, deadline: float
) -> tuple[list[float], float | None]:
    """Press `f` until all lines have arrived; returns (milliseconds of each key, time of
    arrival)."""
    taken: list[float] = []
    following = re.compile("✓ following")
    while time.monotonic() < deadline:
        if terminal.wait(
            lambda: count_lines(terminal) >= line_count, 0.06 + 0.08 * random.random()
        ):
            return taken, terminal.updated_at
        before = matches_line(terminal, following)

        def changed(before: bool = before) -> bool:
            return matches_line(terminal, following) != before

        at = time.monotonic()
        terminal.send_keys("f")
        shown = terminal.wait(changed, 3)
        taken.append(1000 * ((shown or at + 3) - at))
    return taken, None


def count_lines(terminal: BenchmarkTerminal) -> int:
    """Lines that the app has received, according to its header."""
    for line in terminal.screen_lines():
        if match := _COUNT_PATTERN.search(line):
            return sum(int(number.replace(",", "")) for number in match.groups() if number)
    return 0


if __name__ == "__main__":
    asyncio.run(serve_log(Path(sys.argv[1])))
