"""What a terminal program shows of the cluster, how fast, and at what cost. Works on any program.

An event is a Deployment on screen that is scaled by one; it is seen when a line with its name shows
`n/<new>`. Its clock starts when the API server has answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.rig import session
from benchmarks.terminal import Terminal

PROFILE_ENV = "SERVEDECK_BENCHMARK_PROFILE"
"""Read by `benchmarks.profiled`: where to write the profile."""

ROW = re.compile(r"\b(?P<name>srv-\d{3})\b")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    servings: int = 500
    replicas: int = 10
    rate: float = 100
    """Changes of Pods a second, for the figures under load."""
    events: int = 40
    keys: int = 100
    window: float = 15
    """Seconds over which CPU and bytes are counted."""
    size: tuple[int, int] = (160, 50)


@dataclass(frozen=True)
class Cluster:
    """The rig, as the measuring side sees it."""

    url: str
    token: str
    kubeconfig: Path


def command() -> str:
    """The servedeck of this interpreter."""
    return str(Path(sys.executable).with_name("servedeck"))


def environment(kubeconfig: Path, home: str) -> dict[str, str]:
    """A user's environment without the developer's settings."""
    kept = {"PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH", PROFILE_ENV}
    return {name: value for name, value in os.environ.items() if name in kept} | {
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "KUBECONFIG": str(kubeconfig),
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "XDG_STATE_HOME": home,
        "XDG_DATA_HOME": home,
        "XDG_CACHE_HOME": home,
    }


class Measurement:
    """One program, started and measured."""

    def __init__(self, terminal: Terminal, http: aiohttp.ClientSession, plan: Plan) -> None:
        self.terminal = terminal
        self.http = http
        self.plan = plan

    async def seen(self, condition: Callable[[], bool], limit: float) -> float | None:
        return await asyncio.to_thread(self.terminal.wait, condition, limit)

    def names(self) -> list[str]:
        """Servings on screen, from the top."""
        return [match["name"] for line in self.terminal.lines() if (match := ROW.search(line))]

    async def cost(self) -> dict[str, float]:
        """CPU in percent of one core and bytes a second, while nobody types."""
        cpu, sent, at = self.terminal.cpu(), self.terminal.bytes, time.monotonic()
        await asyncio.sleep(self.plan.window)
        took = time.monotonic() - at
        return {
            "cpu_percent": round(100 * (self.terminal.cpu() - cpu) / took, 2),
            "bytes_per_s": round((self.terminal.bytes - sent) / took),
        }

    async def keys(self) -> dict[str, float] | None:
        """Milliseconds from a key to the moved cursor; None for a program without one."""
        taken: list[float] = []
        for number in range(self.plan.keys):
            row = self.terminal.cursor_row()
            if row is None and not taken:
                return None

            def moved(row: int | None = row) -> bool:
                now = self.terminal.cursor_row()
                return now is not None and now != row

            at = time.monotonic()
            self.terminal.type("j" if number % 20 < 10 else "k")
            shown = await self.seen(moved, 3)
            if shown is None and not taken:
                return None
            taken.append(1000 * ((shown or at + 3) - at))
            await asyncio.sleep(0.06 + 0.08 * random.random())
        return spread(taken, "p50_ms", "p99_ms")

    async def events(self) -> dict[str, float]:
        """Milliseconds from the API server's answer to the changed cell."""
        taken: list[float] = []
        lost = 0
        base = self.plan.replicas
        for number in range(self.plan.events):
            names = self.names()
            if not names:
                lost += 1
                await asyncio.sleep(1)
                continue
            name = names[(number * 7) % len(names)]
            path = f"/apis/apps/v1/namespaces/team-{int(name[4:]) % 10}/deployments/{name}"
            async with self.http.get(path) as answer:
                now = (await answer.json())["spec"]["replicas"]
            new = now + 1 if now <= base else now - 1
            cell = re.compile(rf"\b{name}\b.*\b\d+\s?/\s?{new}\b")
            # A program that only appends shows what was as well.
            before = sum(bool(cell.search(line)) for line in self.terminal.lines())
            async with self.http.patch(
                path,
                data=json.dumps({"spec": {"replicas": new}}),
                headers={"Content-Type": "application/merge-patch+json"},
            ) as answer:
                answer.raise_for_status()
                at = time.monotonic()

            def changed(cell: re.Pattern[str] = cell, before: int = before) -> bool:
                return sum(bool(cell.search(line)) for line in self.terminal.lines()) > before

            shown = await self.seen(changed, 15)
            if shown is None:
                lost += 1
            else:
                taken.append(max(0.0, 1000 * (shown - at)))
            await asyncio.sleep(0.3 + 0.1 * (number % 10))
        return spread(taken, "p50_ms", "p95_ms") | {"seen": len(taken), "not_seen": lost}


def spread(values: list[float], middle: str, high: str) -> dict[str, float]:
    """Median and a high percentile, which `high` names: "p95_ms" or "p99_ms"."""
    if not values:
        return {}
    values = sorted(values)
    share = int(high[1:3]) / 100
    return {
        middle: round(statistics.median(values), 1),
        high: round(values[min(len(values) - 1, int(share * len(values)))], 1),
        "max_ms": round(values[-1], 1),
    }


@asynccontextmanager
async def load(cluster: Cluster, rate: float) -> AsyncIterator[None]:
    """Pods change while the body runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.rig", "churn", cluster.url, cluster.token),
        *("--rate", str(rate), "--seconds", "3600"),
    )
    try:
        await asyncio.sleep(4)
        yield
    finally:
        process.kill()
        await process.wait()


async def measure(argv: list[str], cluster: Cluster, plan: Plan, complete: str) -> dict[str, Any]:
    """All figures of one program. `complete` is a pattern that some line shows once every serving
    has its true status; "" where the program says no such thing."""
    result: dict[str, Any] = {"command": " ".join([Path(argv[0]).name, *argv[1:]])}
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal(argv, plan.size, environment(cluster.kubeconfig, home))
        try:
            async with session(cluster.url, cluster.token) as http:
                program = Measurement(terminal, http, plan)
                await _measure(program, cluster, complete, result)
        finally:
            terminal.close()
    return result


async def _measure(
    program: Measurement, cluster: Cluster, complete: str, result: dict[str, Any]
) -> None:
    terminal, plan = program.terminal, program.plan
    rows = min(15, plan.servings)
    wanted = re.compile(complete) if complete else None
    marks: dict[str, Callable[[], bool]] = {
        "first_paint_s": partial(painted, terminal),
        "rows_s": lambda: len(program.names()) >= rows,
        "complete_s": lambda: wanted is None or shows(terminal, wanted),
    }
    for mark, condition in marks.items():
        at = await program.seen(condition, 60)
        if at is None:
            result["not_reached"] = mark
            result["screen"] = [line.rstrip() for line in terminal.lines()]
            return
        result[mark] = round(at - terminal.started, 2)
    if wanted is None:
        del result["complete_s"]
    await asyncio.sleep(5)
    result["rss_mib"] = round(terminal.rss())
    quiet: dict[str, Any] = await program.cost()
    quiet["key"] = await program.keys()
    quiet["event"] = await program.events()
    result["quiet"] = quiet
    profiled = PROFILE_ENV in os.environ
    async with load(cluster, plan.rate):
        if profiled:
            terminal.process.send_signal(signal.SIGUSR1)
        busy: dict[str, Any] = await program.cost()
        if profiled:
            terminal.process.send_signal(signal.SIGUSR2)
        busy["key"] = await program.keys()
        busy["event"] = await program.events()
    result["load"] = busy
    result["rss_end_mib"] = round(terminal.rss())
    result["screen"] = [line.rstrip() for line in terminal.lines()]


async def start_up(
    argv: list[str], kubeconfig: Path, plan: Plan, complete: str, times: int = 5
) -> dict[str, float]:
    """Medians of several starts: to the first paint and to the complete table, in seconds."""
    found: dict[str, list[float]] = {"first_paint_s": [], "complete_s": []}
    wanted = re.compile(complete)
    for _ in range(times):
        with tempfile.TemporaryDirectory() as home:
            terminal = Terminal(argv, plan.size, environment(kubeconfig, home))
            try:
                first = await asyncio.to_thread(terminal.wait, partial(painted, terminal), 30)
                full = await asyncio.to_thread(terminal.wait, partial(shows, terminal, wanted), 60)
                if first is None or full is None:
                    return {}
                found["first_paint_s"].append(first - terminal.started)
                found["complete_s"].append(full - terminal.started)
            finally:
                terminal.close()
        await asyncio.sleep(1)
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def painted(terminal: Terminal) -> bool:
    """Whether anything is on the screen."""
    return any(line.strip() for line in terminal.lines())


def shows(terminal: Terminal, wanted: re.Pattern[str]) -> bool:
    """Whether a line of the screen has the pattern."""
    return any(map(wanted.search, terminal.lines()))
