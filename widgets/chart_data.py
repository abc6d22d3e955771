"""What a chart shows: time series with their unit, and the round values of their axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from servedeck.metrics.units import (
    BINARY_SUFFIXES,
    DECIMAL_SUFFIXES,
    LARGEST,
    LONG_SECONDS,
    LONGEST_SECONDS,
    Unit,
    finite,
    power_of,
    short_exponent,
)
from servedeck.serving.duration import format_duration

_MAX_TICK_DIGITS = 12
_DECIMAL_STEPS = (1.0, 2.0, 5.0)
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One series."""

    label: str
    """Sanitized: "P50", "5xx"."""
    values: Sequence[float | None]
    """One for each time; None, NaN and infinity are gaps."""
    style_name: str = ""
    """For a series whose meaning has a style ("error"); "" for the next one of the chart."""


@dataclass(frozen=True, slots=True)
class ChartMark:
    """A change at a moment, shown below the graph."""

    time: float
    """Unix time in seconds."""
    letter: str
    """One cell: "R", "r", "S", "N" or the glyph of a status."""
    text: str
    """ "rollout to revision 15"."""
    style_name: str = ""


@dataclass(frozen=True, slots=True)
class ChartData:
    """All that one chart shows. Labels and texts are sanitized."""

    title: str
    unit: Unit
    start: float
    """Unix time of the first value in seconds."""
    step: float
    """Seconds from one value to the next."""
    lines: tuple[ChartLine, ...]
    marks: tuple[ChartMark, ...] = ()
    """In any order; a column shows the most important one, by the rule of the timeline."""
    limit: float | None = None
    """An objective in the unit of the values, drawn as a horizontal line."""
    limit_label: str = ""
    """ "objective 2 s"."""
    note: str = ""
    """Shown in the title line: "live only, since 14:02"."""
    reason: str = ""
    """Shown in place of the graph where there is no value."""

    @property
    def count(self) -> int:
        """How many times there are."""
        return max((len(line.values) for line in self.lines), default=0)

    def time_at(self, index: int) -> float:
        """Unix time of the values at `index`."""
        return self.start + index * self.step

    def value_at(self, line: ChartLine, index: int) -> float | None:
        """The value of a line at `index`; None for a gap."""
        return finite(line.values[index]) if 0 <= index < len(line.values) else None


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A part of the time, both ends included, in Unix seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class AxisTick:
    """A labelled value of an axis."""

    value: float
    label: str = field(default="")


def axis_range(values: Sequence[float], unit: Unit) -> tuple[float, float]:
    """The ends of an axis that has room for finite values: zero and the highest one, or the lowest
    and the highest one, widened to a round number. Never equal."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    low, high = max(low, -LARGEST), min(high, LARGEST)
    if unit.is_zero_based or low < 0:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < max(abs(low), abs(high)) * 1e-9 or high - low < 1 / LARGEST:
        margin = max(abs(high) * 1e-3, 1.0)
        low, high = (low if unit.is_zero_based else low - margin), high + margin
    step = _round_step((high - low) / 8, unit)
    return _floor_to(low, step), -_floor_to(-high, step)


def axis_ticks(low: float, high: float, count: int, unit: Unit) -> tuple[AxisTick, ...]:
    """At most about `count` round values from `low` to `high`, each with its unit; no two labels
    are equal."""
    if not high > low or count < 1:
        return ()
    step = _round_step((high - low) / count, unit)
    first = math.ceil(low / step - 1e-6)
    last = math.floor(high / step + 1e-6)
    ticks = []
    for number in range(first, min(last, first + 2 * count) + 1):
        value = number * step
        ticks.append(AxisTick(value, _tick_label(value, step, unit)))
    if len({tick.label for tick in ticks}) < len(ticks):
        return (ticks[0],)
    return tuple(ticks)


def _floor_to(value: float, step: float) -> float:
    return math.floor(value / step + 1e-9) * step


def _round_step(least: float, unit: Unit) -> float:
    """The next round number from `least` on: minutes and hours for long times, powers of two for
    bytes."""
    if unit is Unit.SECONDS and least > 1:
        found = next((step for step in _TIME_STEPS if step >= least), None)
        if found is not None:
            return float(found)
        return _SECONDS_PER_DAY * _round_step(least / _SECONDS_PER_DAY, Unit.COUNT)
    if unit is Unit.COUNT and least > 0.1:
        least = max(least, 1.0)
    if unit is Unit.BYTES and least > 1:
        return 2.0 ** math.ceil(math.log2(least) - 1e-9)
    exponent = math.floor(math.log10(least))
    for factor in _DECIMAL_STEPS:
        if (step := factor * 10.0**exponent) >= least * (1 - 1e-9):
            return step
    return 10.0 ** (exponent + 1)


def _tick_label(value: float, step: float, unit: Unit) -> str:
    """A multiple of `step`, in as many digits as tell it from its neighbours."""
    if abs(value) < step / 2:
        zero = {Unit.SECONDS: "0 s", Unit.PERCENT: "0 %", Unit.BYTES: "0 B"}
        return zero.get(unit, f"0 {unit}" if unit in _NAMED_ON_AXIS else "0")
    sign, value = "-" * (value < 0), abs(value)
    if unit is Unit.SECONDS and step >= 1 and LONG_SECONDS <= value < LONGEST_SECONDS:
        return sign + format_duration(value)
    if unit is Unit.SECONDS:
        scale, name = (1.0, " s") if value >= 1 else (1e-3, " ms")
    elif unit is Unit.PERCENT:
        scale, name = 1e-2, " %"
    elif unit is Unit.BYTES:
        power = power_of(value, 1024.0, len(BINARY_SUFFIXES) - 1)
        scale, name = 1024.0**power, f" {BINARY_SUFFIXES[power]}"
    elif unit is Unit.CELSIUS:
        scale, name = 1.0, f" {unit}"
    else:
        power = power_of(value, 1000.0, len(DECIMAL_SUFFIXES) - 1)
        scale, name = 1000.0**power, DECIMAL_SUFFIXES[power]
        if unit is Unit.WATTS:
            name = f" {name}{unit}"
    return sign + _digits(value / scale, step / scale) + name


_NAMED_ON_AXIS = (Unit.CELSIUS, Unit.WATTS)


def _digits(value: float, step: float) -> str:
    """`value`, a multiple of `step`, without digits that all are zero."""
    places = max(0, math.ceil(-math.log10(step) - 1e-9)) if step > 0 else 0
    if places > 6 or value >= 1e6:
        return short_exponent(f"{value:.{_MAX_TICK_DIGITS}g}")
    text = f"{value:.{places + 2}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
