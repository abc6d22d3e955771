"""Figures of servings as text and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from servedeck.fleet.view_json import API_VERSION
from servedeck.fleet.views import ServingView
from servedeck.metrics.fleet_metrics import RECENT_SECONDS, ServingFigures, recent_grid
from servedeck.metrics.fleet_reader import FleetReading
from servedeck.metrics.sparkline import sparkline
from servedeck.metrics.units import UNKNOWN_VALUE, three_digits
from servedeck.serving.text import cell_width, one_line

_TREND_WIDTH = 15
_MAX_NAMED = 3
"""Servings that a reason names; of more, the number."""
_COLUMN_SEPARATOR = "   "


class TopRow(NamedTuple):
    view: ServingView
    figures: ServingFigures
    reason: str = ""
    """Why something is not known, one sentence."""


class TopTable:
    """Rows of servings whose columns keep the width that was printed first."""

    def __init__(self, *, with_namespace: bool, wide: bool, is_utf8: bool) -> None:
        self._with_namespace, self._wide, self._is_utf8 = with_namespace, wide, is_utf8
        self.columns = (
            *(("NAMESPACE",) if with_namespace else ()),
            "NAME",
            *(("READY", "TEMPLATE") if wide else ()),
            "RPS(req/s)",
            "P95(s)",
            "WAITING",
            *((f"RPS LAST {RECENT_SECONDS / 60:.0f}m",) if wide else ()),
        )
        self._widths = [len(one) for one in self.columns]

    def lines(self, rows: Sequence[TopRow], *, header: bool) -> list[str]:
        """The rows as aligned lines."""
        cells = [self._cells(one) for one in rows]
        for row in cells:
            self._widths = [
                max(width, cell_width(text)) for width, text in zip(self._widths, row, strict=True)
            ]
        return [self._line(one) for one in ([self.columns, *cells] if header else cells)]

    def _cells(self, row: TopRow) -> tuple[str, ...]:
        view, figures = row.view, row.figures
        name = view.key.name if view.key.is_deployment else f"{view.key.name} ({view.kind})"
        return (
            *((view.key.namespace,) if self._with_namespace else ()),
            name,
            *((f"{view.ready}/{view.desired}", view.template) if self._wide else ()),
            _number(figures.rate),
            _number(figures.p95),
            _number(figures.waiting),
            *((self._trend(figures),) if self._wide else ()),
        )

    def _trend(self, figures: ServingFigures) -> str:
        if all(value is None for value in figures.recent_rates):
            return UNKNOWN_VALUE
        return sparkline(figures.recent_rates, _TREND_WIDTH, is_utf8=self._is_utf8)

    def _line(self, row: Sequence[str]) -> str:
        padded = (
            text + " " * (width - cell_width(text))
            for text, width in zip(map(one_line, row), self._widths, strict=True)
        )
        return _COLUMN_SEPARATOR.join(padded).rstrip()


def _number(value: float | None) -> str:
    return UNKNOWN_VALUE if value is None else three_digits(value)


def format_time(time: float) -> str:
    """Seconds since the epoch as "2026-01-31T14:05:30Z"."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reading_json(rows: Sequence[TopRow], reading: FleetReading) -> dict[str, Any]:
    """The JSON object of a reading (docs/top.md); null for what is not known."""
    grid = recent_grid(reading.time)
    return {
        "apiVersion": API_VERSION,
        "kind": "ServingFiguresList",
        "time": format_time(reading.time),
        "problem": one_line(reading.problem),
        "recentEnd": format_time(grid.end),
        "recentStepSeconds": grid.step,
        "items": [
            {
                "namespace": one.view.key.namespace,
                "name": one.view.key.name,
                "workloadKind": one.view.kind,
                "requestsPerSecond": one.figures.rate,
                "p95Seconds": one.figures.p95,
                "waitingRequests": one.figures.waiting,
                "recentRequestsPerSecond": list(one.figures.recent_rates),
                "reason": one.reason,
            }
            for one in rows
        ],
    }


def describe_unknown(rows: Iterable[TopRow], known_problem: str) -> list[str]:
    """The reasons why figures are not known, each once, with the servings that it is about."""
    servings: dict[str, list[str]] = {}
    for one in rows:
        if one.reason and one.reason != one_line(known_problem):
            servings.setdefault(one.reason, []).append(str(one.view.key))
    return [
        f"{', '.join(names) if len(names) <= _MAX_NAMED else f'{len(names):,} servings'}: {reason}"
        for reason, names in servings.items()
    ]
