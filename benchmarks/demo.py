"""`servedeck --demo`: the time to its first complete table, and the CPU usage of the idle demo."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measure import (
    BenchmarkPlan,
    clean_environment,
    matches_line,
    measure_start,
    servedeck_path,
)
from benchmarks.terminal import BenchmarkTerminal

COMPLETE_PATTERN = r"\d+ Error .*\d+ Ready"
"""All servings are shown at the same time, when each has its status."""


async def measure_demo(plan: BenchmarkPlan) -> dict[str, float]:
    """Seconds of a start (median of five), and CPU of the demo process in percent of one core."""
    argv, nowhere = [servedeck_path(), "--demo"], Path("/nonexistent")
    start = await measure_start(argv, nowhere, plan, COMPLETE_PATTERN)
    with tempfile.TemporaryDirectory() as home:
        terminal = BenchmarkTerminal(argv, plan.terminal_size, clean_environment(nowhere, home))
        try:
            seen = partial(matches_line, terminal, re.compile(COMPLETE_PATTERN))
            if await asyncio.to_thread(terminal.wait, seen, 30) is None:
                return start
            await asyncio.sleep(5)
            (demo,) = terminal.process.children()
            used, at = cpu_seconds(demo), time.monotonic()
            await asyncio.sleep(plan.window_seconds)
            share = 100 * (cpu_seconds(demo) - used) / (time.monotonic() - at)
            return start | {"cpu_percent": round(share, 2)}
        finally:
            terminal.close()


def cpu_seconds(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])
