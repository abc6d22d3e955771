"""Logs that are written as fast as they are read, then at the required rate: lines per second that
the app follows, lost lines, and key latency meanwhile; of one Pod, or of many merged.

    python -m benchmarks.log_throughput KUBECONFIG [PODS]

is the source, in a separate process: the demo's API server with Pods that write such logs. It
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
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from benchmarks.measure import clean_environment, matches_line, percentiles, servedeck_path
from benchmarks.terminal import BenchmarkTerminal
from servedeck.demo.api import access
from servedeck.demo.api.kubelet_api import LogOptions
from servedeck.demo.api.server import ApiServer
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.control_plane.numbered_lines import NumberedLines
from tests.demo.cluster_fixture import ClusterFixture

UNPACED_LINES = 5_000_000
"""Lines that are written as fast as they are read, by all Pods together."""
PACED_LINES = 5_000_000
"""Lines after them, at `paced_rate`."""
PACED_RATE = 500_000
"""Lines per second of one Pod after the unpaced lines."""
MERGED_PODS = 80
"""Pods whose logs are merged."""
MERGED_PACED_RATE = 200_000
"""Lines per second of several Pods together."""
_LINES_PER_CHUNK = 1000
_COUNT_PATTERN = re.compile(r"  (?P<kept>[\d,]+) lines?(?:, (?P<gone>[\d,]+) older dropped)?\s*$")
_TIMEOUT = 90.0
_GPUS_PER_NODE = 8


def paced_rate(pods: int) -> int:
    """Lines per second of all Pods together after the unpaced lines."""
    return PACED_RATE if pods == 1 else MERGED_PACED_RATE


class BusyLogRuntime(NodeRuntime):
    """Nodes on which every container writes as fast as its client reads. A log is read once and
    from its beginning: nothing is kept."""

    pods = 1
    _requested = 0
    _sent = 0

    async def logs(
        self, pod: dict[str, Any], container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        if not self._requested:
            print_line(time.monotonic())
        self._requested += 1
        lines = NumberedLines(pod["metadata"]["name"], 0, _LINES_PER_CHUNK)
        unpaced, total = UNPACED_LINES // self.pods, (UNPACED_LINES + PACED_LINES) // self.pods
        while lines.count < unpaced:
            yield lines.next_chunk(time.time_ns()).data
        begin, rate = time.monotonic(), paced_rate(self.pods) / self.pods
        while lines.count < total:
            yield lines.next_chunk(time.time_ns()).data
            await asyncio.sleep(begin + (lines.count - unpaced) / rate - time.monotonic())
        self._sent += lines.count
        self._requested -= 1
        if not self._requested:
            print_line(self._sent)
        await asyncio.Event().wait()


def print_line(value: object) -> None:
    print(value, flush=True)


async def serve_log(kubeconfig: Path, pods: int) -> None:
    """Run the log source."""
    cluster = ClusterFixture()
    for number in range(-(-pods // _GPUS_PER_NODE)):
        cluster.node(f"gpu-{number}", _GPUS_PER_NODE)
    cluster.deploy(replicas=pods)
    cluster.until(cluster.ready)
    runtime = BusyLogRuntime(cluster.controllers.kubelet, cluster.clock)
    runtime.pods = pods
    server = ApiServer(cluster.store, runtime, [access.admin()])
    await server.start()
    kubeconfig.write_text(json.dumps(server.kubeconfig()))
    print_line("ready")
    await asyncio.Event().wait()


@contextmanager
def running_source(kubeconfig: Path, pods: int) -> Iterator[IO[str]]:
    """The log source as a process, ready: what it prints."""
    source = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.log_throughput", str(kubeconfig), str(pods)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert source.stdout is not None
        if source.stdout.readline().strip() != "ready":
            raise RuntimeError("the source of the log ended")
        yield source.stdout
    finally:
        source.kill()
        source.communicate()


def measure_log(size: tuple[int, int], pods: int = 1) -> dict[str, Any]:
    """Lines per second, lost lines, and milliseconds from a key to the change of the header: at
    full speed, and at `paced_rate`."""
    with tempfile.TemporaryDirectory() as home:
        config = Path(home) / "kubeconfig"
        with running_source(config, pods) as output:
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
                began = float(output.readline())
                terminal.wait(lambda: count_lines(terminal) > 0, 30)
                keys, at = _measure_keys(terminal, UNPACED_LINES, began + _TIMEOUT)
                result: dict[str, Any] = {"fast_key": percentiles(keys, "p50_ms", "p99_ms")}
                result["lines_per_s"] = round(UNPACED_LINES / (at - began)) if at else None
                keys, at = _measure_keys(
                    terminal, UNPACED_LINES + PACED_LINES, time.monotonic() + _TIMEOUT
                )
                result["key"] = percentiles(keys, "p50_ms", "p99_ms")
                if at:
                    result["lost"] = int(output.readline()) - count_lines(terminal)
                return result
            finally:
                terminal.close()


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
    asyncio.run(serve_log(Path(sys.argv[1]), int((*sys.argv, "1")[2])))
