"""Where metrics come from: Prometheus, or the Pods themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from servedeck.metrics.period import TimeGrid
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import Expression


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """The values of an expression at the times of a grid."""

    labels: Mapping[str, str]
    """Not sanitized."""
    values: Sequence[float | None]
    """One for each time; None where there is none, NaN and infinity included."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    series: tuple[FoundSeries, ...]
    warning: str = ""
    """What the source says about them, one sentence: some are missing."""


class MetricsSource(Protocol):
    """Evaluates expressions. Raises MetricsError."""

    @property
    def display_name(self) -> str:
        """The source in a sentence, "Prometheus at prometheus.example.com:9090"."""

    @property
    def since(self) -> float | None:
        """The time of the oldest sample of a source that has no other ones, in seconds since the
        epoch; None for one that keeps what was before."""

    async def query(self, expression: Expression, time: float | None = None) -> QueryResult:
        """The values at a time, in seconds since the epoch; None for now."""

    async def query_range(self, expression: Expression, grid: TimeGrid) -> QueryResult: ...

    async def known_names(self, target: MetricsTarget) -> Collection[str] | None:
        """The names of the samples that the Pods have had lately; None if that cannot be told."""

    async def scrape_interval(self, target: MetricsTarget) -> float | None:
        """Seconds between two scrapes of the Pods; None if it is not known."""

    async def close(self) -> None: ...
