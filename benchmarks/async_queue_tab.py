"""The tab Async Queue at 200x50 on a million tasks: quiet, and with 1,500 tasks a second through.

    python -m benchmarks.async_queue_tab                    # about fifteen minutes
    python -m benchmarks.async_queue_tab --parts pages      # one part of it
    python -m benchmarks.async_queue_tab --tasks 50000      # with fewer tasks: four minutes

prints the figures as JSON, in milliseconds, beside their budgets. The exit code is 1 when one is
missed. Needs KUBEBUILDER_ASSETS, and valkey-server or redis-server on the PATH.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.async_queue_dashboard import KEY_SECONDS, Press, QueueDashboard, Row
from benchmarks.async_queue_setup import FREQUENT, RARE, Environment, run_environment
from benchmarks.measure import percentiles

BUDGETS = {
    "tab open": 300.0,
    "next page": 100.0,
    "last page": 100.0,
    "filter by state": 200.0,
    "filter by text": 200.0,
    "task changed to cell": 150.0,
    "key under load": 40.0,
    "memory of the tab": 30.0,
    "load on the gateway": 5.0,
}
"""Milliseconds, MiB, and percent of the CPU time of the gateway and its store for a task. Of
"task changed to cell" the P95 counts, of keys the worst, of all else the median. Keys are judged by
CPU time: on a machine that is shared the worst of their times on the clock is that of the other
programs."""
RATE = 1_500.0
OPENINGS = 5
PAGES = 40
EDGES = 10
FILTER_ROUNDS = 8
CHANGES = 120
KEYS = 120
GATEWAY_SECONDS, GATEWAY_ROUNDS = 4.0, 12
WARM_UP_SECONDS = 5.0
PAUSE = (0.06, 0.14)
"""Seconds from the effect of a key to the next key."""
AGAIN_SECONDS = 0.3
"""After which the key of the next page is pressed again."""
_ESCAPE, _PAGE_DOWN = "\x1b", "\x1b[6~"
_STATES = ("Pending", "Processing", "Completed", "Failed", "Cancelled", "All")
_EMPTY = ("Processing", "Cancelled")
"""States that no task has before the load."""
_FULL = 30
"""Tasks on a screen, at least."""
_OVERLAP = 2
"""Lines of a page that are on the next one, too."""
_SHORT_ID, _TIME_DIGITS = 8, 12


# -- quiet ----------------------------------------------------------------------------------------


def measure_open(environment: Environment) -> dict[str, Any]:
    """In a new program each time, as the first opening takes longest; and the memory that the tab
    adds to it, with as many tasks as it keeps."""
    cold: list[Press] = []
    memory: list[float] = []
    for number in range(OPENINGS):
        with QueueDashboard(environment.kubeconfig) as dashboard:
            before = dashboard.terminal.rss_mib()
            cold.append(dashboard.open_tab())
            if number % 2 == 0:
                for _ in range(30):
                    _next_page(dashboard)
                time.sleep(1)
                memory.append(dashboard.terminal.rss_mib() - before)
    return {
        "tab open": _figures(cold),
        "memory of the tab": {"mib": round(statistics.median(memory), 1)},
    }


def measure_pages(environment: Environment) -> dict[str, Any]:
    with QueueDashboard(environment.kubeconfig) as dashboard:
        dashboard.open_tab()
        time.sleep(1)
        _next_page(dashboard)  # from the first line the key goes to the last one of the screen
        pages = []
        for _ in range(PAGES):
            pages.append(_next_page(dashboard))
            time.sleep(random.uniform(*PAUSE))
        ends = []
        for _ in range(EDGES):
            ends.append(_edge(dashboard, "G"))
            time.sleep(0.5)
            _edge(dashboard, "g")
            time.sleep(0.5)
    return {"next page": _figures(pages), "last page": _figures(ends)}


def _next_page(dashboard: QueueDashboard) -> Press:
    """Until the whole screen has other tasks; the key is pressed again where those of the next page
    were not there yet."""
    before = {row.id for row in dashboard.rows()}

    def is_next() -> bool:
        rows = dashboard.rows()
        return len(rows) >= len(before) - 1 and len(before & {row.id for row in rows}) <= _OVERLAP

    took = cpu = 0.0
    while took < 1000 * KEY_SECONDS:
        one = dashboard.press(_PAGE_DOWN, is_next, AGAIN_SECONDS)
        took, cpu = took + one.took, cpu + one.cpu
        if one.took < 1000 * AGAIN_SECONDS:
            break
    return Press(took, cpu)


def _edge(dashboard: QueueDashboard, key: str) -> Press:
    """Until the tasks of that end are shown."""
    before = {row.id for row in dashboard.rows()}

    def is_there() -> bool:
        rows = dashboard.rows()
        return len(rows) >= len(before) - 1 and not before & {row.id for row in rows}

    return dashboard.press(key, is_there)


def measure_filters(environment: Environment) -> dict[str, Any]:
    found: dict[str, list[Press]] = {}
    with QueueDashboard(environment.kubeconfig) as dashboard:
        dashboard.open_tab()
        time.sleep(1)
        for _ in range(FILTER_ROUNDS):
            for state in _STATES:
                pressed = dashboard.press("f", partial(_shows_state, dashboard, state))
                if state not in _EMPTY:
                    found.setdefault("filter by state", []).append(pressed)
                time.sleep(0.3)
            for name, model in (("filter by text", FREQUENT), ("filter by rare text", RARE)):
                dashboard.press("/", lambda: "path:/v1" in dashboard.screen())
                pressed = dashboard.press(f"model:{model}", partial(_shows_model, dashboard, model))
                found.setdefault(name, []).append(pressed)
                time.sleep(1)
                dashboard.terminal.send_keys("\r")
                time.sleep(0.2)
                dashboard.press(_ESCAPE, lambda: len({row.rest for row in dashboard.rows()}) > 1)
                time.sleep(0.5)
    return {name: _figures(pressed) for name, pressed in found.items()}


def _shows_state(dashboard: QueueDashboard, state: str) -> bool:
    rows = dashboard.rows()
    if dashboard.chosen_state() != state:
        return False
    if state == "All":
        return len(rows) >= _FULL
    return all(row.state == state for row in rows) and bool(rows) == (state not in _EMPTY)


def _shows_model(dashboard: QueueDashboard, model: str) -> bool:
    rows = dashboard.rows()
    return bool(rows) and all(model in row.rest for row in rows)


# -- under load -----------------------------------------------------------------------------------


def measure_load(environment: Environment) -> dict[str, Any]:
    with QueueDashboard(environment.kubeconfig) as dashboard, ThreadPoolExecutor(1) as pool:
        before = dashboard.terminal.rss_mib()
        dashboard.open_tab()
        time.sleep(1)
        for _ in range(3):  # the list is paused then, and its lines do not move
            dashboard.terminal.send_keys("j")
            time.sleep(0.2)
        done = environment.completed()
        with environment.load(RATE):
            began = time.monotonic()
            time.sleep(WARM_UP_SECONDS)
            changes = _change_tasks(environment, dashboard, pool)
            dashboard.terminal.send_keys("kkk")  # away from the last line, where the key scrolls
            time.sleep(0.5)
            keys = {"paused": _press_keys(dashboard)}
            dashboard.press("g", lambda: _shows_new(environment, dashboard))
            time.sleep(1)
            lines = _measure_new_lines(dashboard)
            cpu, at = dashboard.terminal.cpu_seconds(), time.monotonic()
            time.sleep(WARM_UP_SECONDS)
            share = (dashboard.terminal.cpu_seconds() - cpu) / (time.monotonic() - at)
            keys["followed"] = _press_keys(dashboard)
            rate = (environment.completed() - done) / (time.monotonic() - began)
        return {
            "tasks_per_s": round(rate),
            "task changed to cell": percentiles(changes, "p50_ms", "p95_ms"),
            "new task to line": percentiles(lines, "p50_ms", "p95_ms"),
            "key under load": {name: _figures(pressed) for name, pressed in keys.items()},
            "cpu_percent": round(100 * share),
            "memory of the tab": {"mib": round(dashboard.terminal.rss_mib() - before, 1)},
        }


def _change_tasks(
    environment: Environment, dashboard: QueueDashboard, pool: ThreadPoolExecutor
) -> list[float]:
    """Milliseconds from when the store has cancelled a task that is shown to its cell."""
    taken = []
    for _ in range(CHANGES):
        rows = [row for row in dashboard.rows() if row.state == "Pending"]
        while len(rows) < 5:
            _next_page(dashboard)
            rows = [row for row in dashboard.rows() if row.state == "Pending"]
        row = random.choice(rows)
        id = environment.held_ends[row.id]

        def is_shown(row: Row = row) -> bool:
            found = dashboard.row_at(row.y)
            return found is not None and found.state == "Cancelled"

        cancelled = pool.submit(environment.cancel, id)
        shown = dashboard.terminal.wait(is_shown, KEY_SECONDS)
        cancelled.result()
        # The clock of the store is that of this machine.
        changed = environment.end_of(id) - time.time() + time.monotonic()
        taken.append(1000 * (shown - changed if shown else KEY_SECONDS))
        time.sleep(random.uniform(0.1, 0.4))
    return taken


def _shows_new(environment: Environment, dashboard: QueueDashboard) -> bool:
    rows = dashboard.rows()
    return bool(rows) and rows[0].id not in environment.held_ends


def _press_keys(dashboard: QueueDashboard) -> list[Press]:
    lines = [row.y for row in dashboard.rows()]
    lines = list(range(lines[0], lines[-1] + 1))
    taken = []
    for number in range(KEYS):
        before = dashboard.cursor_line(lines)

        def has_moved(before: int | None = before) -> bool:
            return dashboard.cursor_line(lines) not in (None, before)

        taken.append(dashboard.press("kj"[number % 2 == 0], has_moved))
        time.sleep(random.uniform(*PAUSE))
    return taken


def _measure_new_lines(dashboard: QueueDashboard) -> list[float]:
    """Milliseconds from when the newest task on the screen was submitted until it was there."""
    dashboard.press("w", lambda: len(dashboard.rows()[0].id) > _SHORT_ID)
    taken: list[float] = []
    last = ""

    def is_new() -> bool:
        found = dashboard.row_at(y)
        return found is not None and found.id != last

    for _ in range(CHANGES):
        y = dashboard.rows()[0].y
        shown = dashboard.terminal.wait(is_new, KEY_SECONDS)
        row = dashboard.row_at(y)
        if shown is None or row is None:
            raise RuntimeError("no new task is shown:\n" + dashboard.screen())
        last = row.id
        submitted = int(last[:_TIME_DIGITS], 16) / 1000 - time.time() + time.monotonic()
        taken.append(1000 * (dashboard.terminal.updated_at - submitted))
    dashboard.terminal.send_keys("w")
    return taken


def measure_gateway(environment: Environment) -> dict[str, Any]:
    """CPU time of the gateway and its store for a task, with the tab and without it by turns. At
    a rate that the machine can bear: at full load the time that the dashboard and the API server
    take of the same cores changes how many tasks the gateway does at once."""
    cpu: tuple[list[float], list[float]] = ([], [])
    rates: tuple[list[float], list[float]] = ([], [])
    with QueueDashboard(environment.kubeconfig) as dashboard:
        for number in range(2 * GATEWAY_ROUNDS):
            is_shown = number % 2
            if is_shown:
                dashboard.open_tab()
            done, used, began = environment.completed(), environment.gateway_seconds(), time.time()
            with environment.load(RATE):
                time.sleep(GATEWAY_SECONDS)
            environment.wait_until_drained()
            seconds, tasks = time.time() - began, environment.completed() - done
            cpu[is_shown].append((environment.gateway_seconds() - used) / tasks * 1e6)
            rates[is_shown].append(tasks / seconds)
            if is_shown:
                dashboard.leave_tab()
    more = [with_it / without - 1 for without, with_it in zip(*cpu, strict=True)]
    return {
        "load on the gateway": round(100 * statistics.median(more), 1),
        "task_cpu_us": [round(statistics.median(one)) for one in cpu],
        "tasks_per_s": [round(statistics.median(one)) for one in rates],
    }


def _figures(pressed: Sequence[Press]) -> dict[str, Any]:
    return {
        **percentiles([one.took for one in pressed], "p50_ms", "p95_ms"),
        "cpu": percentiles([one.cpu for one in pressed], "p50_ms", "p95_ms"),
        "keys": len(pressed),
        "lost": sum(one.is_lost for one in pressed),
    }


PARTS: dict[str, Callable[[Environment], dict[str, Any]]] = {
    "open": measure_open,
    "pages": measure_pages,
    "filters": measure_filters,
    "load": measure_load,
    "gateway": measure_gateway,
}


def judged_figures(figures: dict[str, Any]) -> dict[str, float]:
    """What is compared with each budget, as far as it was measured."""
    measured: dict[str, Any] = {}
    for part in figures.values():
        measured |= part
    found: dict[str, float] = {
        name: measured[name]["p50_ms"]
        for name in ("tab open", "next page", "last page", "filter by state", "filter by text")
        if name in measured
    }
    if "load" in figures:
        load = figures["load"]
        found["task changed to cell"] = load["task changed to cell"]["p95_ms"]
        keys = load["key under load"].values()
        is_lost = any(one["lost"] for one in keys)
        worst = max(one["cpu"]["max_ms"] for one in keys)
        found["key under load"] = 1000 * KEY_SECONDS if is_lost else worst
    memory = [one["memory of the tab"] for one in figures.values() if "memory of the tab" in one]
    if memory:
        found["memory of the tab"] = max(one["mib"] for one in memory)
    if "gateway" in figures:
        found["load on the gateway"] = figures["gateway"]["load on the gateway"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tasks", type=int, default=1_000_000, help="that are stored")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with run_environment(options.tasks) as environment:
        for part in options.parts:
            figures[part] = PARTS[part](environment)
            print(f"{part}: {json.dumps(figures[part])}", file=sys.stderr, flush=True)
    judged = judged_figures(figures)
    missed = [name for name, value in judged.items() if value > BUDGETS[name]]
    print(json.dumps({**figures, "judged": judged, "budgets": BUDGETS, "missed": missed}, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
