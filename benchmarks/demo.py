"""`servedeck --demo`: how soon its first complete table stands, and what the demo costs at rest."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measure import Plan, command, environment, shows, start_up
from benchmarks.terminal import Terminal

COMPLETE = r"\d+ Error .*\d+ Ready"
"""Servings are shown in one step, once all of them have their status."""


async def measure(plan: Plan) -> dict[str, float]:
    """Seconds of a start (median of five), and CPU of the demo's own process in percent of one
    core."""
    argv, nowhere = [command(), "--demo"], Path("/nonexistent")
    start = await start_up(argv, nowhere, plan, COMPLETE)
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal(argv, plan.size, environment(nowhere, home))
        try:
            seen = partial(shows, terminal, re.compile(COMPLETE))
            if await asyncio.to_thread(terminal.wait, seen, 30) is None:
                return start
            await asyncio.sleep(5)
            (demo,) = terminal.process.children()
            used, at = cpu(demo), time.monotonic()
            await asyncio.sleep(plan.window)
            share = 100 * (cpu(demo) - used) / (time.monotonic() - at)
            return start | {"cpu_percent": round(share, 2)}
        finally:
            terminal.close()


def cpu(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])
