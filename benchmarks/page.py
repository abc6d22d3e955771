"""The page of a serving in the program: opening it, a change of a Pod on it, keys on every tab."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

from benchmarks.measure import (
    ROW_PATTERN,
    BenchmarkPlan,
    ClusterAccess,
    Measurement,
    background_churn,
    matches_line,
    percentiles,
    running_program,
)
from tui.screens.serving import PANES

OPEN_COUNT = 40
"""How often the page is opened."""
LARGE_SERVING_NUMBER = 999
"""Number of the serving with many Pods."""
POD_CHANGE_COUNT = 30
KEYS_PER_TAB = 20
TIMEOUT = 10.0
"""Seconds after which something counts as not shown."""

COMPLETE_PATTERN = re.compile(r"Inference Port\s+\d+")
"""A value that is read from the whole Deployment: the last one to be shown."""
POD_PATTERN = re.compile(r"\b(?P<name>srv-\d{3}-[a-z0-9]+-[a-z0-9]{5})\b")
DIGITS = re.compile(r"\d+")
HOME_KEY = "\x1b[H"
LOADING_TEXT = "Loading…"
"""Shown by a tab until its content is read: no key moves anything before."""
HEADER_LINES = 4
FOOTER_LINES = 2


async def measure_page(program: Measurement) -> dict[str, Any]:
    """All figures of the page, in a program that shows the list."""
    return await PageMeasurement(program, len(PANES)).measure()


async def measure_large_serving(
    argv: list[str], cluster: ClusterAccess, plan: BenchmarkPlan, complete_pattern: str
) -> dict[str, Any]:
    """All figures of the page of the serving with many Pods, quiet and under load, in a program of
    its own. {} if the list or the serving is not shown."""
    wanted = re.compile(complete_pattern)
    async with running_program(argv, cluster, plan) as program:
        terminal = program.terminal
        if not await program.wait_until_shown(lambda: matches_line(terminal, wanted), 60):
            return {}
        name = f"srv-{LARGE_SERVING_NUMBER}"
        terminal.send_keys(f"/{name}\r")
        if not await program.wait_until_shown(
            lambda: set(program.visible_names()) == {name}, TIMEOUT
        ):
            return {}
        measurement = PageMeasurement(program, len(PANES), list_rows=1)
        result: dict[str, Any] = {"quiet": {"page": await measurement.measure()}}
        async with background_churn(cluster, plan.rate):
            result["load"] = {"page": await measurement.measure()}
        return result


class PageMeasurement:
    """Measures the page in a program that shows the list."""

    def __init__(self, program: Measurement, tabs: int, list_rows: int = 10) -> None:
        """`list_rows`: at least so many servings are visible in the list."""
        self._program = program
        self._terminal = program.terminal
        self._tabs = tabs
        self._list_rows = list_rows

    async def measure(self) -> dict[str, Any]:
        """All figures of the page; ends on the list."""
        result: dict[str, Any] = {}
        before = self._terminal.rss_mib()
        result["open"] = await self._measure_open()
        await self.open()
        await asyncio.sleep(1)
        result["added_mib"] = round(self._terminal.rss_mib() - before, 1)
        result["pod_change"] = await self._measure_pod_changes()
        result["key"] = await self._measure_keys()
        await self.close()
        return result

    # -- opening ------------------------------------------------------------------------------

    async def _measure_open(self) -> dict[str, Any]:
        taken: list[float] = []
        lost = 0
        for _ in range(OPEN_COUNT):
            took = await self.open()
            if took is None:
                lost += 1
            else:
                taken.append(1000 * took)
            await self.close()
            self._terminal.send_keys("j")
            await asyncio.sleep(0.4)
        return percentiles(taken, "p50_ms", "p95_ms") | {"not_seen": lost}

    async def open(self) -> float | None:
        """Open the page; seconds until it is complete."""
        at = time.monotonic()
        self._terminal.send_keys("\r")
        shown = await self._program.wait_until_shown(self._is_complete, TIMEOUT)
        return None if shown is None else shown - at

    async def close(self) -> None:
        """Close the page, and wait for the list."""
        self._terminal.send_keys("\x1b")
        await self._program.wait_until_shown(
            lambda: (
                sum(bool(ROW_PATTERN.search(line)) for line in self._lines()) >= self._list_rows
                and not any(map(COMPLETE_PATTERN.search, self._lines()))
            ),
            TIMEOUT,
        )
        await asyncio.sleep(0.3)

    def _is_complete(self) -> bool:
        lines = self._lines()
        return any(map(COMPLETE_PATTERN.search, lines)) and any(map(POD_PATTERN.search, lines))

    def _lines(self) -> list[str]:
        return self._terminal.screen_lines()

    # -- a change of a shown Pod --------------------------------------------------------------

    async def _measure_pod_changes(self) -> dict[str, Any]:
        """Milliseconds from the API server's response to the changed cell."""
        taken: list[float] = []
        lost = 0
        names = list(dict.fromkeys(m["name"] for line in self._lines() for m in _pods(line)))
        http = self._program.http
        for number in range(POD_CHANGE_COUNT):
            name = names[number % len(names)]
            namespace = f"team-{int(name[4:7]) % 10}"
            path = f"/api/v1/namespaces/{namespace}/pods/{name}"
            async with http.get(path) as answer:
                statuses = (await answer.json())["status"]["containerStatuses"]
            statuses[0]["restartCount"] += 1000
            count = sum(status["restartCount"] for status in statuses)
            async with http.patch(
                f"{path}/status",
                data=json.dumps({"status": {"containerStatuses": statuses}}),
                headers={"Content-Type": "application/strategic-merge-patch+json"},
            ) as answer:
                answer.raise_for_status()
                at = time.monotonic()
            cell = re.compile(rf"{name}.*\b{count}\b")

            def changed(cell: re.Pattern[str] = cell) -> bool:
                return any(map(cell.search, self._lines()))

            shown = await self._program.wait_until_shown(changed, TIMEOUT)
            if shown is None:
                lost += 1
            else:
                taken.append(max(0.0, 1000 * (shown - at)))
            await asyncio.sleep(0.3 + 0.1 * (number % 5))
        return percentiles(taken, "p50_ms", "p95_ms") | {"not_seen": lost}

    # -- keys ---------------------------------------------------------------------------------

    async def _measure_keys(self) -> dict[str, Any]:
        """Milliseconds from a key to the first change of the tab's content, on every tab. A tab
        whose content fits does not move with a key, and has no figures."""
        result: dict[str, Any] = {}
        every: list[float] = []
        for tab in range(1, self._tabs + 1):
            self._terminal.send_keys(str(tab))
            await asyncio.sleep(1)
            await self._program.wait_until_shown(
                lambda: not any(LOADING_TEXT in line for line in self._lines()), TIMEOUT
            )
            self._terminal.send_keys(HOME_KEY)  # the first keys must move something
            await asyncio.sleep(0.5)
            taken: list[float] = []
            for number in range(KEYS_PER_TAB):
                before = self._content()

                def changed(before: object = before) -> bool:
                    return self._content() != before

                at = time.monotonic()
                self._terminal.send_keys("j" if number % 10 < 5 else "k")
                shown = await self._program.wait_until_shown(changed, 0.5)
                if shown is not None:
                    taken.append(1000 * (shown - at))
                await asyncio.sleep(0.1)
            if len(taken) < KEYS_PER_TAB // 2:
                taken = []  # what changed was no effect of the keys
            every += taken
            result[f"tab_{tab}"] = percentiles(taken, "p50_ms", "p95_ms") | {"seen": len(taken)}
        self._terminal.send_keys("1")
        await asyncio.sleep(0.5)
        return result | percentiles(every, "p50_ms", "p95_ms")

    def _content(self) -> tuple[object, ...]:
        """Text and looks of the lines between header and footer. Digits are equal: an age that
        changes is no effect of a key."""
        screen = self._terminal.screen
        rows = range(HEADER_LINES, screen.lines - FOOTER_LINES)
        lines = self._lines()
        return tuple(
            (
                DIGITS.sub("0", lines[row]),
                tuple(cell.bg for cell in _cells(screen.buffer[row])),
            )
            for row in rows
        )


def _cells(row: Any) -> list[Any]:
    return [row[x] for x in range(0, 60, 4)]


def _pods(line: str) -> list[re.Match[str]]:
    return list(POD_PATTERN.finditer(line))
