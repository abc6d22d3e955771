"""The design's budgets, and a table of the figures beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Figures = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    what: str
    unit: str
    path: tuple[str, ...]
    """Where the figure lies in a program's result."""
    limit: float | None
    """None: reported, without a budget."""


BUDGETS = (
    Budget("event to cell, P50, quiet", "ms", ("quiet", "event", "p50_ms"), None),
    Budget("event to cell, P95, quiet", "ms", ("quiet", "event", "p95_ms"), 100),
    Budget("event to cell, P50, under load", "ms", ("load", "event", "p50_ms"), None),
    Budget("event to cell, P95, under load", "ms", ("load", "event", "p95_ms"), 100),
    Budget("key to paint, median, under load", "ms", ("load", "key", "p50_ms"), 10),
    Budget("key to paint, P99, under load", "ms", ("load", "key", "p99_ms"), 40),
    Budget("start to first paint", "s", ("start", "first_paint_s"), 0.4),
    Budget("start to every serving, true status", "s", ("start", "complete_s"), 1.5),
    Budget("resident memory", "MiB", ("rss_mib",), 200),
    Budget("resident memory after the load", "MiB", ("rss_end_mib",), 200),
    Budget("CPU, quiet", "%", ("quiet", "cpu_percent"), 1),
    Budget("CPU, under load", "%", ("load", "cpu_percent"), 15),
    Budget("bytes to the terminal, quiet", "B/s", ("quiet", "bytes_per_s"), None),
    Budget("bytes to the terminal, under load", "B/s", ("load", "bytes_per_s"), 20_000),
)


def figure(result: Figures, path: tuple[str, ...]) -> float | None:
    """The number at a path, None where it was not measured."""
    value: Any = result
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else None


def missed(result: Figures) -> list[str]:
    """Budgets that a result does not meet, each as a line."""
    lines = []
    for budget in BUDGETS:
        value = figure(result, budget.path)
        if budget.limit is not None and (value is None or value > budget.limit):
            shown = "not measured" if value is None else f"{value:g} {budget.unit}"
            lines.append(f"{budget.what}: {shown}, budget {budget.limit:g} {budget.unit}")
    return lines


def text(value: float | None) -> str:
    return "–" if value is None else f"{value:,g}"


def table(ours: Figures, peer: Figures | None, micro: dict[str, float]) -> str:
    """All figures for people to read."""
    rows = [("what", "budget", "servedeck", "peer", "")]
    for budget in BUDGETS:
        value = figure(ours, budget.path)
        verdict = ""
        if budget.limit is not None:
            verdict = "met" if value is not None and value <= budget.limit else "MISSED"
        limit = "" if budget.limit is None else f"≤ {budget.limit:,g}"
        other = text(figure(peer, budget.path)) if peer else ""
        rows.append((f"{budget.what} ({budget.unit})", limit, text(value), other, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if peer:
        lines.append(f"peer: {peer['command']}")
    if micro:
        lines.append("")
        lines += [f"{name}: {value:,g}" for name, value in micro.items()]
    return "\n".join(lines)
