"""The tab Metrics at 200x60 on a serving of 50 Pods: of a real Prometheus, and of the Pods.

    python -m benchmarks.metrics_tab                  # about eight minutes
    python -m benchmarks.metrics_tab --parts live     # without Prometheus alone

prints the figures as JSON, in milliseconds, beside their budgets. The exit code is 1 when one is
missed. Needs KUBEBUILDER_ASSETS, and prometheus and promtool on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import percentiles
from benchmarks.metrics_dashboard import KEY_SECONDS, LEFT, RIGHT, MetricsDashboard, graph_of
from benchmarks.metrics_servers import Passed, covered_seconds, read_passed
from benchmarks.metrics_setup import NAMESPACE, PODS, SERVING, Environment, run_environment
from benchmarks.run_recorded import Step
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.metrics.live_scraper import LiveScraper
from servedeck.metrics.sample_ring import SampleRing
from servedeck.metrics.target import fetch_target

BUDGETS = {
    "answer to paint": 50.0,
    "whole tab": 400.0,
    "key while answers arrive": 40.0,
    "key while read from Pods": 40.0,
    "live redraw": 30.0,
    "step of the event loop": 15.0,
    "scraping": 10.0,
}
"""Milliseconds; of scraping percent of one core. Of keys and steps the worst counts, of all else
the median. Keys, steps and the live redraw are judged by CPU time: on a machine that is shared the
worst of their times on the clock is that of the other programs. A step in which the screen
is laid out again, as when the line of a lost connection comes and goes, is reported and not judged:
all charts have another size then."""
ROUNDS = 10
"""How often the period is changed, from an hour to a day, with and without keys."""
LIVE_SECONDS = 60.0
PAUSE = (0.06, 0.14)
"""Seconds from the effect of a key to the next key."""
LOADING_KEYS = (LEFT, "j", LEFT, "k")
LIVE_KEYS = (LEFT, "j", RIGHT, "k")
"""Each has an effect: the cursor does not come to an end of the time."""
_IDLE_SECONDS = 0.2
_BURST_SECONDS = 1.5
"""Answers of Pods with a longer pause between them are of two readings."""


# -- with Prometheus ------------------------------------------------------------------------------


def measure_prometheus(environment: Environment) -> dict[str, Any]:
    arguments = ["--prometheus-url", environment.prometheus_url]
    with MetricsDashboard(environment.kubeconfig, arguments) as dashboard:
        dashboard.open_tab()
        opened = time.monotonic()
        waits: list[float] = []
        tabs: list[float] = []
        sources: list[float] = []
        for _ in range(ROUNDS):
            _show_hour(dashboard)
            at = dashboard.set_period("D")
            shown = dashboard.wait_for_graphs()
            last = max(one or at + 60 for one in shown.values())
            time.sleep(0.3)  # for the log of the proxy
            passed = [one for one in read_passed(environment.prometheus_log) if one.start >= at]
            passed = [one for one in passed if one.start < last]
            waits += _waits(shown, passed)
            own = covered_seconds([(one.start, one.answered) for one in passed])
            tabs.append(1000 * (last - at - own))
            sources.append(1000 * own)
        quiet_end = time.monotonic()
        keys: list[Press] = []
        for _ in range(ROUNDS):
            _show_hour(dashboard)
            dashboard.set_period("D")
            while dashboard.is_loading():
                keys += _press_some(dashboard, LOADING_KEYS)
        time.sleep(2)
        return {
            "answer to paint": percentiles(waits, "p50_ms", "p95_ms") | {"graphs": len(waits)},
            "whole tab": percentiles(tabs, "p50_ms", "p95_ms"),
            "time of Prometheus": percentiles(sources, "p50_ms", "p95_ms"),
            "key while answers arrive": _key_figures(keys),
            "steps": _step_figures(dashboard.steps(opened, quiet_end)),
            "steps with keys": _step_figures(dashboard.steps(quiet_end, time.monotonic())),
        }


def _show_hour(dashboard: MetricsDashboard) -> None:
    dashboard.set_period("h")
    dashboard.wait_for_graphs()
    time.sleep(1)


def _waits(shown: dict[Any, float | None], passed: Iterable[Passed]) -> list[float]:
    """Milliseconds from the last byte of each graph's answers to the graph on the screen."""
    ends: dict[Any, float] = {}
    for one in passed:
        key = graph_of(one)
        if key is not None:
            ends[key] = max(ends.get(key, 0.0), one.end)
    return [1000 * (at - ends[key]) for key, at in shown.items() if at is not None and key in ends]


class Press(NamedTuple):
    key: str
    took: float
    """Milliseconds to the effect on the screen."""
    cpu: float
    """Milliseconds of CPU time of the program meanwhile."""


def _press_some(dashboard: MetricsDashboard, keys: Sequence[str]) -> list[Press]:
    taken = []
    for key in keys:
        taken.append(Press(key, *dashboard.press(key)))
        time.sleep(random.uniform(*PAUSE))
    return taken


def _key_figures(taken: Sequence[Press]) -> dict[str, Any]:
    return {
        **percentiles([one.took for one in taken], "p50_ms", "p99_ms"),
        "cpu": percentiles([one.cpu for one in taken], "p50_ms", "p99_ms"),
        "keys": len(taken),
        "lost": sum(one.took >= 1000 * KEY_SECONDS for one in taken),
    }


def _step_figures(steps: Sequence[Step]) -> dict[str, Any]:
    """The longest steps of the event loop, in milliseconds of CPU time."""
    longest = sorted(steps, key=lambda one: one.cpu, reverse=True)[:12]
    whole: list[float] = []
    cpu: list[float] = []
    resized_until = 0.0
    for one in steps:
        if one.resized:
            resized_until = one.end + _IDLE_SECONDS
        (whole if one.start < resized_until else cpu).append(1000 * one.cpu)
    return {
        "worst_ms": round(max(cpu, default=0.0), 1),
        "whole_screen_ms": round(max(whole, default=0.0), 1),
        "longest": [f"{1000 * one.cpu:.1f} {one.name}" for one in longest],
        "over 15 ms": sum(one > 15 for one in cpu),
    }


# -- read from the Pods ---------------------------------------------------------------------------


def measure_live(environment: Environment) -> dict[str, Any]:
    with MetricsDashboard(environment.kubeconfig, []) as dashboard:
        dashboard.open_tab()
        terminal = dashboard.terminal
        time.sleep(30)
        cpu, began = terminal.cpu_seconds(), time.monotonic()
        written = terminal.bytes_written
        time.sleep(LIVE_SECONDS)
        share = 100 * (terminal.cpu_seconds() - cpu) / (time.monotonic() - began)
        written = terminal.bytes_written - written
        quiet_end = time.monotonic()
        keys: list[Press] = []
        _press_some(dashboard, [LEFT] * 5)
        while time.monotonic() < quiet_end + LIVE_SECONDS:
            keys += _press_some(dashboard, LIVE_KEYS)
        keys_end = time.monotonic()
        time.sleep(2)
        bursts = _bursts(read_passed(environment.pods_log))
        steps = dashboard.steps(began, quiet_end)
        redraws = [
            1000 * sum(one.cpu for one in _redraw(steps, end, start) if not _is_reading(one))
            for (_, end), (start, _) in itertools.pairwise(bursts)
            if began <= end and start <= quiet_end
        ]
        reads = [1000 * (end - start) for start, end in bursts if began <= start < quiet_end]
        return {
            "live redraw": percentiles(redraws, "p50_ms", "p95_ms") | {"count": len(redraws)},
            "reading 50 Pods": percentiles(reads, "p50_ms", "p95_ms"),
            "cpu_percent": round(share, 1),
            "bytes_per_s": round(written / LIVE_SECONDS),
            "loop_percent": round(100 * sum(one.cpu for one in steps) / LIVE_SECONDS, 1),
            "key while read from Pods": _key_figures(keys),
            "steps": _step_figures(steps),
            "steps with keys": _step_figures(dashboard.steps(quiet_end, keys_end)),
            "ms of each reading": _by_name(steps),
        }


def _redraw(steps: Iterable[Step], start: float, end: float) -> list[Step]:
    """The steps from the last answer of a Pod to the last paint that follows, before the event loop
    has nothing to do for a while. Short ones are not recorded."""
    found: list[Step] = []
    at, count = start, 0
    for one in steps:
        if one.start < start or one.start >= end:
            continue
        if one.start - at > _IDLE_SECONDS:
            break
        found.append(one)
        at = one.end
        if one.name.startswith("ServingScreen"):
            count = len(found)
    return found[:count]


def _is_reading(step: Step) -> bool:
    """Whether it is of reading the Pods, which has its own budget."""
    return any(name in step.name for name in ("PodReader", "LiveScraper", "_read_ready"))


def _by_name(steps: Iterable[Step]) -> dict[str, float]:
    """Milliseconds of CPU time for each reading, by what took it."""
    found: dict[str, float] = {}
    for one in steps:
        found[one.name] = found.get(one.name, 0.0) + 1000 * one.cpu * 5 / LIVE_SECONDS
    ordered = sorted(found.items(), key=lambda one: -one[1])[:12]
    return {name: round(value, 1) for name, value in ordered}


def _bursts(passed: Iterable[Passed]) -> list[tuple[float, float]]:
    """When the first and the last answer of each reading were passed on."""
    found: list[tuple[float, float]] = []
    for one in sorted(passed, key=lambda one: one.start):
        if found and one.start - found[-1][1] < _BURST_SECONDS:
            found[-1] = found[-1][0], max(one.end, found[-1][1])
        else:
            found.append((one.start, one.end))
    return found


def measure_scraping(environment: Environment) -> dict[str, Any]:
    """The CPU time of reading all Pods alone, without a screen and without graphs."""
    return asyncio.run(_measure_scraping(environment.kubeconfig))


async def _measure_scraping(kubeconfig: Path) -> dict[str, Any]:
    connection = await Connection.open(ConnectionOptions(kubeconfig=(kubeconfig,)))
    try:
        target = await fetch_target(connection, NAMESPACE, SERVING)
        ring = SampleRing()
        scraper = LiveScraper(connection, ring, lambda: target)
        scraper.start()
        await asyncio.sleep(20)  # the first pages take longer
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(LIVE_SECONDS)
        share = 100 * (time.process_time() - cpu) / (time.monotonic() - began)
        await scraper.close()
        series = len(list(ring.select("vllm:num_requests_running", (), 0, time.time())))
        if scraper.problem or series != PODS:
            raise RuntimeError(f"{series} Pods were read: {scraper.problem}")
        return {"cpu_percent": round(share, 2), "pods": series}
    finally:
        await connection.close()


PARTS: dict[str, Callable[[Environment], dict[str, Any]]] = {
    "prometheus": measure_prometheus,
    "live": measure_live,
    "scraping": measure_scraping,
}


def judged_figures(figures: dict[str, Any]) -> dict[str, float]:
    """What is compared with each budget, as far as it was measured."""
    found: dict[str, float] = {}
    measured = figures.get("prometheus", {}) | figures.get("live", {})
    for name in ("answer to paint", "whole tab", "live redraw"):
        if name in measured:
            found[name] = measured[name]["p50_ms"]
    for name in ("key while answers arrive", "key while read from Pods"):
        if name in measured:
            keys = measured[name]
            found[name] = keys["cpu"]["max_ms"] if not keys["lost"] else 1000 * KEY_SECONDS
    steps = [
        part[name]
        for part in figures.values()
        for name in ("steps", "steps with keys")
        if name in part
    ]
    if steps:
        found["step of the event loop"] = max(one["worst_ms"] for one in steps)
    if "scraping" in figures:
        found["scraping"] = figures["scraping"]["cpu_percent"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    with run_environment() as environment:
        figures = {part: PARTS[part](environment) for part in options.parts}
    judged = judged_figures(figures)
    missed = [name for name, value in judged.items() if value > BUDGETS[name]]
    print(json.dumps({**figures, "judged": judged, "budgets": BUDGETS, "missed": missed}, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
