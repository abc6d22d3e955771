"""A log that is written as fast as it is read, then at the rate that must be kept up with: how many
lines a second the app follows, whether one is lost, and how soon it answers a key meanwhile.

    python -m benchmarks.log KUBECONFIG

is the source, in a process of its own: the demo's API server with one Pod that writes such a log.
It says "ready", the time when the first line was asked for (monotonic clock, which processes
share), and at the end how many lines it has handed out.
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

from benchmarks.measure import command, environment, shows, spread
from benchmarks.terminal import Terminal
from servedeck.demo.api import access
from servedeck.demo.api.kubelet_api import LogOptions
from servedeck.demo.api.server import ApiServer
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.demo.cluster_fixture import ClusterFixture

FAST = 5_000_000
"""Lines that are written as fast as they are read."""
PACED = 5_000_000
RATE = 500_000
"""Lines a second of those that follow."""
_CHUNK = 500
_WORDS = 'INFO:     10.42.3.17:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK'
_COUNT = re.compile(r"  (?P<kept>[\d,]+) lines?(?:, (?P<gone>[\d,]+) older dropped)?\s*$")
_LIMIT = 90.0


class LogServer(NodeRuntime):
    """Nodes on which every container writes as fast as its reader reads."""

    async def logs(
        self, pod: dict[str, Any], container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        say(time.monotonic())
        sent = 0
        while sent < FAST:
            yield lines(sent)
            sent += _CHUNK
        begin = time.monotonic()
        while sent < FAST + PACED:
            yield lines(sent)
            sent += _CHUNK
            await asyncio.sleep(begin + (sent - FAST) / RATE - time.monotonic())
        say(sent)
        await asyncio.Event().wait()


def lines(first: int) -> bytes:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())
    numbers = range(first, first + _CHUNK)
    return "".join(f"{stamp} {_WORDS} {number}\n" for number in numbers).encode()


def say(word: object) -> None:
    print(word, flush=True)


async def serve(kubeconfig: Path) -> None:
    """The source's side."""
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy()
    cluster.until(cluster.ready)
    server = ApiServer(
        cluster.store, LogServer(cluster.controllers.kubelet, cluster.clock), [access.admin()]
    )
    await server.start()
    kubeconfig.write_text(json.dumps(server.kubeconfig()))
    say("ready")
    await asyncio.Event().wait()


def measure(size: tuple[int, int]) -> dict[str, Any]:
    """Lines a second, lines lost, and milliseconds from a key to the heading that it changes: at
    full speed, and at `RATE`."""
    with tempfile.TemporaryDirectory() as home:
        config = Path(home) / "kubeconfig"
        source = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.log", str(config)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert source.stdout is not None
            source.stdout.readline()
            terminal = Terminal([command(), "-n", "lab"], size, environment(config, home))
            try:
                if terminal.wait(partial(shows, terminal, re.compile(r"\b1 Ready\b")), 30) is None:
                    return {}
                terminal.type("l")
                began = float(source.stdout.readline())
                keys, at = _read(terminal, FAST, began + _LIMIT)
                result: dict[str, Any] = {"fast_key": spread(keys, "p50_ms", "p99_ms")}
                result["lines_per_s"] = round(FAST / (at - began)) if at else None
                keys, at = _read(terminal, FAST + PACED, time.monotonic() + _LIMIT)
                result["key"] = spread(keys, "p50_ms", "p99_ms")
                if at:
                    result["lost"] = int(source.stdout.readline()) - count(terminal)
                return result
            finally:
                terminal.close()
        finally:
            source.kill()
            source.communicate()


def _read(terminal: Terminal, wanted: int, end: float) -> tuple[list[float], float | None]:
    """Presses `f` until the lines are there; (milliseconds of each key, when they were there)."""
    taken: list[float] = []
    following = re.compile("✓ following")
    while time.monotonic() < end:
        if terminal.wait(lambda: count(terminal) >= wanted, 0.06 + 0.08 * random.random()):
            return taken, terminal.at
        before = shows(terminal, following)

        def changed(before: bool = before) -> bool:
            return shows(terminal, following) != before

        at = time.monotonic()
        terminal.type("f")
        shown = terminal.wait(changed, 3)
        taken.append(1000 * ((shown or at + 3) - at))
    return taken, None


def count(terminal: Terminal) -> int:
    """Lines that the app has taken, by its heading."""
    for line in terminal.lines():
        if match := _COUNT.search(line):
            return sum(int(number.replace(",", "")) for number in match.groups() if number)
    return 0


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
