"""The performance budgets, and a table that compares the results with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import log_buffer
from benchmarks.micro import LOG_LINES_FIGURE

Figures = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    label: str
    unit: str
    path: tuple[str, ...]
    """Path of the value in a program's result."""
    limit: float | None
    """None: reported without a budget."""
    is_minimum: bool = False
    """The value must not be below the limit, instead of above."""
    optional: bool = False
    """Checked only if it was measured."""

    def is_met(self, value: float | None) -> bool:
        if self.limit is None or (value is None and self.optional):
            return True
        return value is not None and (
            value >= self.limit if self.is_minimum else value <= self.limit
        )

    @property
    def limit_text(self) -> str:
        return "" if self.limit is None else f"{'≥' if self.is_minimum else '≤'} {self.limit:,g}"


BUDGETS = (
    Budget("event to cell, P50, quiet", "ms", ("quiet", "event", "p50_ms"), 20),
    Budget("event to cell, P95, quiet", "ms", ("quiet", "event", "p95_ms"), 50),
    Budget("event to cell, P50, under load", "ms", ("load", "event", "p50_ms"), None),
    Budget("event to cell, P95, under load", "ms", ("load", "event", "p95_ms"), 80),
    Budget("key to paint, median, under load", "ms", ("load", "key", "p50_ms"), 7),
    Budget("key to paint, worst, under load", "ms", ("load", "key", "max_ms"), 40),
    Budget("start to first paint", "s", ("start", "first_paint_s"), 0.4),
    Budget("start to every serving, true status", "s", ("start", "complete_s"), 1.3),
    Budget("resident memory", "MiB", ("rss_mib",), 100),
    Budget("resident memory after the load", "MiB", ("rss_end_mib",), 100),
    Budget("CPU, quiet", "%", ("quiet", "cpu_percent"), 1),
    Budget("CPU, under load", "%", ("load", "cpu_percent"), 8),
    Budget("bytes to the terminal, quiet", "B/s", ("quiet", "bytes_per_s"), None),
    # cost of ages in minutes: fifty rows, each redrawn once a minute
    Budget(
        "bytes to the terminal, quiet, settled",
        "B/s",
        ("quiet", "settled_bytes_per_s"),
        100,
        optional=True,
    ),
    Budget("bytes to the terminal, under load", "B/s", ("load", "bytes_per_s"), 2_000),
    Budget("enter to complete page, P95", "ms", ("quiet", "page", "open", "p95_ms"), 100),
    Budget(
        "enter to complete page, P95, under load", "ms", ("load", "page", "open", "p95_ms"), 100
    ),
    Budget(
        "Pod changed to cell of the page, P95, under load",
        "ms",
        ("load", "page", "pod_change", "p95_ms"),
        100,
    ),
    Budget("key to paint on the page, worst, quiet", "ms", ("quiet", "page", "key", "max_ms"), 40),
    Budget(
        "key to paint on the page, worst, under load", "ms", ("load", "page", "key", "max_ms"), 40
    ),
    Budget("memory that the page adds", "MiB", ("quiet", "page", "added_mib"), 15),
    *(
        Budget(
            f"{label}, 2,000 Pods, {'under load' if when == 'load' else when}",
            unit,
            ("large", when, "page", *path),
            limit,
            optional=True,
        )
        for when in ("quiet", "load")
        for label, unit, path, limit in (
            ("enter to complete page, P95", "ms", ("open", "p95_ms"), 100),
            ("Pod changed to cell of the page, P95", "ms", ("pod_change", "p95_ms"), 100),
            ("key to paint on the page, worst", "ms", ("key", "max_ms"), 40),
        )
    ),
    *(
        Budget(
            f"{label}, {'under load' if when == 'load' else when}",
            "ms",
            (when, "edit", *path),
            limit,
        )
        for when in ("quiet", "load")
        for label, path, limit in (
            ("e to form, median", ("open", "p50_ms"), None),
            ("e to form, worst", ("open", "max_ms"), 40),
            ("e to form, CPU, median", ("open", "cpu", "p50_ms"), None),
            ("e to form on a new page, median", ("open", "at_once", "p50_ms"), None),
            ("e to form on a new page, worst", ("open", "at_once", "max_ms"), None),
            ("e to form on a new page without the reads, worst", ("open", "own", "max_ms"), None),
            ("reads for the form by another client, median", ("open", "reads", "p50_ms"), None),
            ("reads for the form by another client, worst", ("open", "reads", "max_ms"), None),
            ("key typed in the form to paint, median", ("key", "p50_ms"), None),
            ("key typed in the form to paint, worst", ("key", "max_ms"), 40),
            ("key typed in the form, CPU, median", ("key", "cpu", "p50_ms"), None),
            ("plan of a change that restarts Pods, median", ("plan", "p50_ms"), None),
            ("plan of a change that restarts Pods, worst", ("plan", "max_ms"), 300),
            ("its dry run by another client, median", ("plan", "dry_run", "p50_ms"), None),
            ("its dry run by another client, worst", ("plan", "dry_run", "max_ms"), None),
        )
    ),
    *(
        Budget(f"{name}: {label}", unit, (key, *path), limit, is_minimum=path[0] == "lines_per_s")
        for name, key, least in (
            ("log of one container", "log", 500_000),
            ("log of 80 Pods merged", "log_pods", 200_000),
        )
        for label, unit, path, limit in (
            ("lines followed", "lines/s", ("lines_per_s",), least),
            ("lines lost", "lines", ("lost",), 0),
            ("key to paint, median, at that speed", "ms", ("fast_key", "p50_ms"), None),
            ("key to paint, worst, at that speed", "ms", ("fast_key", "max_ms"), None),
            (f"key to paint, median, at {least:,} lines/s", "ms", ("key", "p50_ms"), 7),
            (f"key to paint, worst, at {least:,} lines/s", "ms", ("key", "max_ms"), 40),
        )
    ),
    Budget(
        "log lines split and kept alone",
        "lines/s",
        ("micro", LOG_LINES_FIGURE),
        500_000,
        is_minimum=True,
    ),
    Budget(
        "log lines kept in the buffer alone",
        "thousand lines/s",
        ("log_buffer", "append_thousand_lines_per_s"),
        1_500,
        is_minimum=True,
    ),
    Budget("memory of 1,000,000 lines, a line", "B", ("log_buffer", "memory_bytes_per_line"), 150),
    *(
        Budget(f"{work} of 1,000,000 lines, {query}, {label}", unit, path, limit)
        for query in log_buffer.QUERIES
        for work in ("search", "filter")
        for label, unit, path, limit in (
            ("first line", "ms", ("log_buffer", query, work, "first_ms"), 100),
            (
                "all",
                "s",
                ("log_buffer", query, work, "all_s"),
                2 if query in log_buffer.BOUNDED_QUERIES else None,
            ),
        )
    ),
    Budget("start of the demo to its first complete table", "s", ("demo", "complete_s"), 1.5),
    Budget("CPU of the demo at rest", "%", ("demo", "cpu_percent"), 10),
)


def get_figure(result: Figures, path: tuple[str, ...]) -> float | None:
    """The number at a path, None if it was not measured."""
    value: Any = result
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else None


def missed_budgets(result: Figures, budgets: Sequence[Budget] = BUDGETS) -> list[str]:
    """Budgets that a result does not meet, one line each."""
    lines = []
    for budget in budgets:
        value = get_figure(result, budget.path)
        if not budget.is_met(value):
            shown = "not measured" if value is None else f"{value:g} {budget.unit}"
            lines.append(f"{budget.label}: {shown}, budget {budget.limit_text} {budget.unit}")
    return lines


def format_value(value: float | None) -> str:
    return "–" if value is None else f"{value:,g}"


def format_table(
    servedeck_figures: Figures, peer_results: Figures | None, budgets: Sequence[Budget] = BUDGETS
) -> str:
    """All results in human-readable form."""
    rows = [("what", "budget", "servedeck", "peer", "")]
    for budget in budgets:
        value = get_figure(servedeck_figures, budget.path)
        verdict = ""
        if budget.limit is not None and not (value is None and budget.optional):
            verdict = "met" if budget.is_met(value) else "MISSED"
        other = format_value(get_figure(peer_results, budget.path)) if peer_results else ""
        rows.append(
            (
                f"{budget.label} ({budget.unit})",
                budget.limit_text,
                format_value(value),
                other,
                verdict,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if peer_results:
        lines.append(f"peer: {peer_results['command']}")
    lines.append("")
    lines += [f"{name}: {value:,g}" for name, value in servedeck_figures.get("micro", {}).items()]
    return "\n".join(lines)
