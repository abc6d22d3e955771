"""The edit form in the program: opening it on the page of a serving, a typed key, the plan of a
change that restarts Pods."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp

from benchmarks.measure import (
    ROW_PATTERN,
    BenchmarkPlan,
    ClusterAccess,
    Measurement,
    background_churn,
    format_command,
    matches_line,
    percentiles,
    running_program,
)
from benchmarks.page import TIMEOUT, PageMeasurement
from tui.screens.serving import PANES

PAGE_COUNT = 10
"""Pages on which the form is opened, one after the other."""
OPENS_PER_PAGE = 5
PREPARED_SECONDS = 2.0
"""Seconds that a page is shown before its form is opened."""
TYPED = "abcdefghijklmnopqrstuvwxyzabcdefghijklmn"
"""What is typed into the first field."""
PLAN_COUNT = 10

FORM_PATTERN = re.compile(r"^ Edit team-\d/srv-\d{3}\b")
FOCUSED_PATTERN = re.compile(r"^▌")
PAGE_PATTERN = re.compile(r"^ team-\d/(?P<name>srv-\d{3})\b")
NO_CHANGES = re.compile(r"^ No changes")
PLANNED_PATTERN = re.compile(r"\bPods restart\b")
TAB, SAVE, ESCAPE, END = "\t", "\x13", "\x1b", "\x1b[F"


async def measure_edit(program: Measurement) -> dict[str, Any]:
    """All figures of the form, in a program that shows the list."""
    return await EditMeasurement(program).measure()


async def measure_edit_alone(
    argv: list[str], cluster: ClusterAccess, plan: BenchmarkPlan, complete_pattern: str
) -> dict[str, Any]:
    """All figures of the form, quiet and under load, in a program of its own."""
    wanted = re.compile(complete_pattern)
    result: dict[str, Any] = {"command": format_command(argv)}
    async with running_program(argv, cluster, plan) as program:
        terminal = program.terminal
        if not await program.wait_until_shown(lambda: matches_line(terminal, wanted), 60):
            return result
        await asyncio.sleep(5)
        result["quiet"] = {"edit": await measure_edit(program)}
        async with background_churn(cluster, plan.rate):
            result["load"] = {"edit": await measure_edit(program)}
    return result


class EditMeasurement:
    """Measures the form in a program that shows the list."""

    def __init__(self, program: Measurement) -> None:
        self._program = program
        self._terminal = program.terminal
        self._page = PageMeasurement(program, len(PANES))

    async def measure(self) -> dict[str, Any]:
        """All figures of the form; ends on the list."""
        result: dict[str, Any] = {"open": await self._measure_open()}
        await self._page.open()
        await self._open()
        result["key"] = await self._measure_keys()
        result["plan"] = await self._measure_plan()
        await self._leave_form(discards=True)
        await self._page.close()
        return result

    # -- opening ------------------------------------------------------------------------------

    async def _measure_open(self) -> dict[str, Any]:
        """Milliseconds from the key to the form, and CPU time of the program meanwhile: on a page
        that is shown for a moment, whose form is prepared; and "at once" on a page that was just
        opened, with the time that the same objects take another client, and the first less the
        second."""
        taken: list[float] = []
        used: list[float] = []
        at_once: list[float] = []
        own: list[float] = []
        reads: list[float] = []
        lost = 0
        for _ in range(PAGE_COUNT):
            await self._page.open()
            for number in range(OPENS_PER_PAGE):
                is_at_once = not number
                if is_at_once:
                    reads.append(1000 * await _read_objects(self._program.http, *self._serving()))
                else:
                    await asyncio.sleep(PREPARED_SECONDS)
                cpu = self._terminal.run_seconds()
                took = await self._open()
                if took is None:
                    lost += 1
                elif is_at_once:
                    at_once.append(1000 * took)
                    own.append(max(0.0, 1000 * took - reads[-1]))
                else:
                    taken.append(1000 * took)
                    used.append(1000 * (self._terminal.run_seconds() - cpu))
                await asyncio.sleep(0.7)
                await self._leave_form()
            await self._page.close()
            self._terminal.send_keys("j")
            await asyncio.sleep(0.3)
        return percentiles(taken, "p50_ms", "p95_ms") | {
            "not_seen": lost,
            "cpu": percentiles(used, "p50_ms", "p95_ms"),
            "at_once": percentiles(at_once, "p50_ms", "p95_ms"),
            "own": percentiles(own, "p50_ms", "p95_ms"),
            "reads": percentiles(reads, "p50_ms", "p95_ms"),
        }

    async def _open(self) -> float | None:
        """Open the form on a page; seconds until it is shown."""
        return await self._press("e", self._shows_form)

    async def _leave_form(self, *, discards: bool = False) -> None:
        self._terminal.send_keys(ESCAPE)
        if discards:
            await self._wait(lambda: self._has("Leave the form?"))
            self._terminal.send_keys("d")
        await self._wait(lambda: self._matches(PAGE_PATTERN))

    def _shows_form(self) -> bool:
        return self._matches(FORM_PATTERN) and self._matches(NO_CHANGES)

    def _serving(self) -> tuple[str, str]:
        """Namespace and name of the serving of the page."""
        found = next(filter(None, map(ROW_PATTERN.search, self._lines())))
        return f"team-{int(found['name'][4:]) % 10}", found["name"]

    # -- keys ---------------------------------------------------------------------------------

    async def _measure_keys(self) -> dict[str, Any]:
        """Milliseconds from a key that is typed into a field until it is there, and CPU time of the
        program meanwhile."""
        taken: list[float] = []
        used: list[float] = []
        lost = 0
        for number, key in enumerate(TYPED):
            text = TYPED[: number + 1]
            cpu = self._terminal.run_seconds()
            took = await self._press(key, partial(self._focused_row_has, text))
            used.append(1000 * (self._terminal.run_seconds() - cpu))
            if took is None:
                lost += 1
            else:
                taken.append(1000 * took)
            await asyncio.sleep(0.12)
        return percentiles(taken, "p50_ms", "p99_ms") | {
            "not_seen": lost,
            "cpu": percentiles(used, "p50_ms", "p95_ms"),
        }

    def _focused_row_has(self, text: str) -> bool:
        return any(text in line for line in self._lines() if FOCUSED_PATTERN.search(line))

    # -- the plan -----------------------------------------------------------------------------

    async def _measure_plan(self) -> dict[str, Any]:
        """Milliseconds from the key that saves to the plan of a change that restarts Pods; and to
        the API server's own answer to the dry run of that change, for another client."""
        taken: list[float] = []
        answers: list[float] = []
        lost = 0
        self._terminal.send_keys(TAB)
        await self._wait(lambda: self._focused_row_has("Image"))
        self._terminal.send_keys(f"{END}x")
        await self._wait(lambda: self._has("2 changes"))
        name = next(
            found["name"]
            for line in self._lines()
            if FORM_PATTERN.search(line) and (found := ROW_PATTERN.search(line))
        )
        for _ in range(PLAN_COUNT):
            answers.append(1000 * await _dry_run(self._program.http, name))
            took = await self._press(SAVE, lambda: self._matches(PLANNED_PATTERN))
            if took is None:
                lost += 1
            else:
                taken.append(1000 * took)
            await asyncio.sleep(0.5)
            self._terminal.send_keys(ESCAPE)
            await self._wait(lambda: self._matches(FORM_PATTERN))
            await asyncio.sleep(0.5)
        return percentiles(taken, "p50_ms", "p95_ms") | {
            "not_seen": lost,
            "dry_run": percentiles(answers, "p50_ms", "p95_ms"),
        }

    # -- the terminal -------------------------------------------------------------------------

    async def _press(self, key: str, is_shown: Callable[[], bool]) -> float | None:
        """Seconds from a key to its effect."""
        at = time.monotonic()
        self._terminal.send_keys(key)
        shown = await self._program.wait_until_shown(is_shown, TIMEOUT)
        return None if shown is None else shown - at

    async def _wait(self, is_shown: Callable[[], bool]) -> None:
        if await self._program.wait_until_shown(is_shown, TIMEOUT) is None:
            raise TimeoutError("\n".join(line.rstrip() for line in self._lines()))

    def _lines(self) -> list[str]:
        return self._terminal.screen_lines()

    def _matches(self, pattern: re.Pattern[str]) -> bool:
        return any(map(pattern.search, self._lines()))

    def _has(self, text: str) -> bool:
        return any(text in line for line in self._lines())


async def _read_objects(http: aiohttp.ClientSession, namespace: str, name: str) -> float:
    """Seconds that the objects which the form is made of take, read at the same time."""
    paths = [
        f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
        f"/api/v1/namespaces/{namespace}/services?resourceVersion=0",
        f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes?resourceVersion=0",
        f"/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices?resourceVersion=0",
        f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses?resourceVersion=0",
    ]

    async def read(path: str) -> None:
        async with http.get(path) as answer:
            await answer.read()  # a cluster without the kind answers with 404

    at = time.monotonic()
    await asyncio.gather(*map(read, paths))
    return time.monotonic() - at


async def _dry_run(http: aiohttp.ClientSession, name: str) -> float:
    """Seconds until the API server has answered the dry run of another image."""
    path = f"/apis/apps/v1/namespaces/team-{int(name[4:]) % 10}/deployments/{name}"
    async with http.get(path) as answer:
        containers = (await answer.json())["spec"]["template"]["spec"]["containers"]
    container = {"name": containers[0]["name"], "image": f"{containers[0]['image']}x"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    at = time.monotonic()
    async with http.patch(
        path,
        params={"dryRun": "All", "fieldManager": "servedeck", "force": "true"},
        data=json.dumps(body),
        headers={"Content-Type": "application/apply-patch+yaml"},
    ) as answer:
        answer.raise_for_status()
        await answer.read()
    return time.monotonic() - at
