"""What an expression is evaluated over: series of samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from servedeck.promql.expressions import Matcher

Labels = tuple[tuple[str, str], ...]
"""Names and values in the order of the names, without `__name__`."""


@dataclass(frozen=True, slots=True)
class SampleSeries:
    """Samples of one series by time, the oldest first."""

    name: str
    labels: Labels
    times: Sequence[float]
    """Seconds since the epoch, increasing."""
    values: Sequence[float]
    """One for each time; NaN is a value too."""


class SampleSource(Protocol):
    """Has samples."""

    def select(
        self, name: str, matchers: Sequence[Matcher], start: float, end: float
    ) -> Iterable[SampleSeries]:
        """The series of a name ("" for any) whose labels match, with their samples of which the
        time is in `start` < time <= `end`, or more of them."""


@dataclass(frozen=True, slots=True)
class RangeSeries:
    """The values of an expression at evenly spaced times."""

    labels: Mapping[str, str]
    values: Sequence[float | None]
    """One for each time. None where there is none; NaN and infinity are values."""
