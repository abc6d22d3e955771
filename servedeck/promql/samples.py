"""What an expression is evaluated over: series of samples."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from servedeck.promql.expressions import Matcher

Labels = tuple[tuple[str, str], ...]
"""Names and values in the order of the names, without `__name__`."""


_STALE_BITS = 0x7FF8_0000_0000_0002
STALE: float = struct.unpack("<d", struct.pack("<Q", _STALE_BITS))[0]
"""The value at a time when a series is known to have ended: its last value no longer counts. It is
a NaN that no page has. Source: StaleNaN of Prometheus, model/value/value.go, but with the bit of a
quiet NaN, which every processor keeps."""


def is_stale(value: float) -> bool:
    """Whether a value is `STALE`, unlike any other NaN."""
    return value != value and struct.pack("<d", value) == _STALE


_STALE = struct.pack("<Q", _STALE_BITS)


class SampleSeries(NamedTuple):
    """Samples of one series by time, the oldest first."""

    name: str
    labels: Labels
    times: Sequence[float]
    """Seconds since the epoch, increasing."""
    values: Sequence[float]
    """One for each time; NaN is a value too, `STALE` is the end of the series."""


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
