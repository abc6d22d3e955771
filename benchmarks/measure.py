"""What a terminal program shows of the cluster: latency and resource usage. Works on any program.

An event is a visible Deployment that is scaled by one; it is shown when a line with its name
contains `n/<new>`. Its latency is measured from the API server's response.
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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.control_plane_setup import open_client
from benchmarks.terminal import BenchmarkTerminal

PROFILE_ENV = "SERVEDECK_BENCHMARK_PROFILE"
"""Read by `benchmarks.run_profiled`: where to write the profile."""

ROW_PATTERN = re.compile(r"\b(?P<name>srv-\d{3})\b")


@dataclass(frozen=True)
class BenchmarkPlan:
    """Extent of the measurements."""

    servings: int = 500
    replicas: int = 10
    rate: float = 100
    """Pod changes per second, for the measurements under load."""
    event_count: int = 40
    key_count: int = 100
    window_seconds: float = 15
    """Seconds over which CPU and bytes are measured."""
    terminal_size: tuple[int, int] = (160, 50)


@dataclass(frozen=True)
class ClusterAccess:
    """Access of the benchmark to the control plane."""

    url: str
    token: str
    kubeconfig: Path


def servedeck_path() -> str:
    """Path of the servedeck executable of this interpreter."""
    return str(Path(sys.executable).with_name("servedeck"))


def clean_environment(kubeconfig: Path, home: str) -> dict[str, str]:
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
    """One running program and its measurements."""

    def __init__(
        self, terminal: BenchmarkTerminal, http: aiohttp.ClientSession, plan: BenchmarkPlan
    ) -> None:
        self.terminal = terminal
        self.http = http
        self.plan = plan

    async def wait_until_shown(self, condition: Callable[[], bool], timeout: float) -> float | None:
        return await asyncio.to_thread(self.terminal.wait, condition, timeout)

    def visible_names(self) -> list[str]:
        """Visible servings, from the top."""
        return [
            match["name"]
            for line in self.terminal.screen_lines()
            if (match := ROW_PATTERN.search(line))
        ]

    async def measure_cost(self) -> dict[str, float]:
        """CPU in percent of one core and bytes per second, without input."""
        cpu, sent, at = self.terminal.cpu_seconds(), self.terminal.bytes_written, time.monotonic()
        await asyncio.sleep(self.plan.window_seconds)
        took = time.monotonic() - at
        return {
            "cpu_percent": round(100 * (self.terminal.cpu_seconds() - cpu) / took, 2),
            "bytes_per_s": round((self.terminal.bytes_written - sent) / took),
        }

    async def measure_keys(self) -> dict[str, float] | None:
        """Milliseconds from a key to the cursor movement; None for a program without a cursor."""
        taken: list[float] = []
        for number in range(self.plan.key_count):
            row = self.terminal.cursor_row()
            if row is None and not taken:
                return None

            def moved(row: int | None = row) -> bool:
                now = self.terminal.cursor_row()
                return now is not None and now != row

            at = time.monotonic()
            self.terminal.send_keys("j" if number % 20 < 10 else "k")
            shown = await self.wait_until_shown(moved, 3)
            if shown is None and not taken:
                return None
            taken.append(1000 * ((shown or at + 3) - at))
            await asyncio.sleep(0.06 + 0.08 * random.random())
        return percentiles(taken, "p50_ms", "p99_ms")

    async def measure_events(self) -> dict[str, float]:
        """Milliseconds from the API server's response to the changed cell."""
        taken: list[float] = []
        lost = 0
        base = self.plan.replicas
        for number in range(self.plan.event_count):
            names = self.visible_names()
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
            # A program that only appends also shows the previous state.
            before = sum(bool(cell.search(line)) for line in self.terminal.screen_lines())
            async with self.http.patch(
                path,
                data=json.dumps({"spec": {"replicas": new}}),
                headers={"Content-Type": "application/merge-patch+json"},
            ) as answer:
                answer.raise_for_status()
                at = time.monotonic()

            def changed(cell: re.Pattern[str] = cell, before: int = before) -> bool:
                return (
                    sum(bool(cell.search(line)) for line in self.terminal.screen_lines()) > before
                )

            shown = await self.wait_until_shown(changed, 15)
            if shown is None:
                lost += 1
            else:
                taken.append(max(0.0, 1000 * (shown - at)))
            await asyncio.sleep(0.3 + 0.1 * (number % 10))
        return percentiles(taken, "p50_ms", "p95_ms") | {"seen": len(taken), "not_seen": lost}


def percentiles(values: list[float], median_name: str, percentile_name: str) -> dict[str, float]:
    """Median and the percentile in `percentile_name`: "p95_ms" or "p99_ms"."""
    if not values:
        return {}
    values = sorted(values)
    share = int(percentile_name[1:3]) / 100
    return {
        median_name: round(statistics.median(values), 1),
        percentile_name: round(values[min(len(values) - 1, int(share * len(values)))], 1),
        "max_ms": round(values[-1], 1),
    }


@asynccontextmanager
async def background_churn(cluster: ClusterAccess, rate: float) -> AsyncIterator[None]:
    """Change Pods within the context."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "benchmarks.control_plane_setup",
            "churn",
            cluster.url,
            cluster.token,
        ),
        *("--rate", str(rate), "--seconds", "3600"),
    )
    try:
        await asyncio.sleep(4)
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def running_program(
    argv: list[str], cluster: ClusterAccess, plan: BenchmarkPlan
) -> AsyncIterator[Measurement]:
    """Run a program in a terminal of its own, with a home directory of its own."""
    with tempfile.TemporaryDirectory() as home:
        environment = clean_environment(cluster.kubeconfig, home)
        terminal = BenchmarkTerminal(argv, plan.terminal_size, environment)
        try:
            async with open_client(cluster.url, cluster.token) as http:
                yield Measurement(terminal, http, plan)
        finally:
            terminal.close()


async def measure_program(
    argv: list[str],
    cluster: ClusterAccess,
    plan: BenchmarkPlan,
    complete_pattern: str,
    measure_screens: Callable[[Measurement], Awaitable[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """All measurements of one program. `complete_pattern` matches a line once every serving has its
    actual status; "" if the program has no such line. `measure_screens` measures its other screens,
    each under its name; None if the program has none."""
    result: dict[str, Any] = {"command": format_command(argv)}
    async with running_program(argv, cluster, plan) as program:
        await _collect_figures(program, cluster, complete_pattern, result, measure_screens)
    return result


def format_command(argv: list[str]) -> str:
    """A command as it is reported."""
    return " ".join([Path(argv[0]).name, *argv[1:]])


async def _collect_figures(
    program: Measurement,
    cluster: ClusterAccess,
    complete_pattern: str,
    result: dict[str, Any],
    measure_screens: Callable[[Measurement], Awaitable[dict[str, Any]]] | None = None,
) -> None:
    terminal, plan = program.terminal, program.plan
    rows = min(15, plan.servings)
    wanted = re.compile(complete_pattern) if complete_pattern else None
    marks: dict[str, Callable[[], bool]] = {
        "first_paint_s": partial(has_output, terminal),
        "rows_s": lambda: len(program.visible_names()) >= rows,
        "complete_s": lambda: wanted is None or matches_line(terminal, wanted),
    }
    for mark, condition in marks.items():
        at = await program.wait_until_shown(condition, 60)
        if at is None:
            result["not_reached"] = mark
            result["screen"] = [line.rstrip() for line in terminal.screen_lines()]
            return
        result[mark] = round(at - terminal.started_at, 2)
    if wanted is None:
        del result["complete_s"]
    await asyncio.sleep(5)
    result["rss_mib"] = round(terminal.rss_mib())
    quiet: dict[str, Any] = await program.measure_cost()
    quiet["key"] = await program.measure_keys()
    quiet["event"] = await program.measure_events()
    result["quiet"] = quiet
    profiled = PROFILE_ENV in os.environ
    async with background_churn(cluster, plan.rate):
        if profiled:
            terminal.process.send_signal(signal.SIGUSR1)
        busy: dict[str, Any] = await program.measure_cost()
        if profiled:
            terminal.process.send_signal(signal.SIGUSR2)
        busy["key"] = await program.measure_keys()
        busy["event"] = await program.measure_events()
    result["load"] = busy
    result["rss_end_mib"] = round(terminal.rss_mib())
    result["screen"] = [line.rstrip() for line in terminal.screen_lines()]
    if measure_screens is not None:
        quiet |= await measure_screens(program)
        async with background_churn(cluster, plan.rate):
            busy |= await measure_screens(program)


async def measure_start(
    argv: list[str], kubeconfig: Path, plan: BenchmarkPlan, complete_pattern: str, runs: int = 5
) -> dict[str, float]:
    """Medians over several starts: time to first paint and to the complete table, in seconds."""
    found: dict[str, list[float]] = {"first_paint_s": [], "complete_s": []}
    wanted = re.compile(complete_pattern)
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            terminal = BenchmarkTerminal(
                argv, plan.terminal_size, clean_environment(kubeconfig, home)
            )
            try:
                first = await asyncio.to_thread(terminal.wait, partial(has_output, terminal), 30)
                full = await asyncio.to_thread(
                    terminal.wait, partial(matches_line, terminal, wanted), 60
                )
                if first is None or full is None:
                    return {}
                found["first_paint_s"].append(first - terminal.started_at)
                found["complete_s"].append(full - terminal.started_at)
            finally:
                terminal.close()
        await asyncio.sleep(1)
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def has_output(terminal: BenchmarkTerminal) -> bool:
    """Whether the screen is not empty."""
    return any(line.strip() for line in terminal.screen_lines())


def matches_line(terminal: BenchmarkTerminal, pattern: re.Pattern[str]) -> bool:
    """Whether a line of the screen matches the pattern."""
    return any(map(pattern.search, terminal.screen_lines()))
