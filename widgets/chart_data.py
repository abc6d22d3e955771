"""What a chart shows: time series with their unit, and how values are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from servedeck.serving.duration import format_duration

UNKNOWN_VALUE = "–"
"""Written for a value that is not known."""

LARGEST = 1e300
"""Values are drawn as if they were at most so far from zero, so that no difference overflows."""

_MAX_TICK_DIGITS = 12
_LONG_SECONDS = 120
"""Seconds from which a duration is written in minutes, as kubectl does."""
_LONGEST_SECONDS = 1e10
"""Seconds from which a duration is written as a power of ten."""
_DECIMAL_STEPS = (1.0, 2.0, 5.0)
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_SECONDS_PER_DAY = 86400.0
_DECIMAL_SUFFIXES = ("", "k", "M", "G", "T", "P", "E")
_BINARY_SUFFIXES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class ChartUnit(StrEnum):
    """The unit of the values of a chart, as its title line names it."""

    PER_SECOND = "req/s"
    TOKENS_PER_SECOND = "tokens/s"
    SECONDS = "s"
    PERCENT = "%"
    """The values are ratios: 0.5 is 50 %."""
    COUNT = ""
    BYTES = "bytes"
    CELSIUS = "°C"
    WATTS = "W"
    CORES = "cores"

    @property
    def is_zero_based(self) -> bool:
        """Whether the axis begins at zero."""
        return self is not ChartUnit.CELSIUS


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
    unit: ChartUnit
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


def finite(value: float | None) -> float | None:
    """The value; None if it is none, not a number or infinite."""
    return value if value is not None and math.isfinite(value) else None


def format_value(value: float | None, unit: ChartUnit) -> str:
    """A value as an operator reads it, in three digits: "1.24k", "850 ms", "2.31 s", "4m10s",
    "93 %", "12.4 GiB", "71 °C", "312 W"; "–" for a gap. What counts something has no unit."""
    value = finite(value)
    if value is None:
        return UNKNOWN_VALUE
    if value < 0:
        text = format_value(-value, unit)
        return f">-{text[1:]}" if text.startswith("<") else f"-{text}"
    match unit:
        case ChartUnit.SECONDS:
            return _format_seconds(value)
        case ChartUnit.PERCENT:
            return _format_percent(value)
        case ChartUnit.BYTES:
            return _format_bytes(value)
        case ChartUnit.CELSIUS:
            return f"{_three_digits(value)} °C"
        case ChartUnit.WATTS:
            return _with_suffix(value, " ") + "W"
    return _with_suffix(value)


def axis_range(values: Sequence[float], unit: ChartUnit) -> tuple[float, float]:
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


def axis_ticks(low: float, high: float, count: int, unit: ChartUnit) -> tuple[AxisTick, ...]:
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


def _round_step(least: float, unit: ChartUnit) -> float:
    """The next round number from `least` on: minutes and hours for long times, powers of two for
    bytes."""
    if unit is ChartUnit.SECONDS and least > 1:
        found = next((step for step in _TIME_STEPS if step >= least), None)
        if found is not None:
            return float(found)
        return _SECONDS_PER_DAY * _round_step(least / _SECONDS_PER_DAY, ChartUnit.COUNT)
    if unit is ChartUnit.COUNT and least > 0.1:
        least = max(least, 1.0)
    if unit is ChartUnit.BYTES and least > 1:
        return 2.0 ** math.ceil(math.log2(least) - 1e-9)
    exponent = math.floor(math.log10(least))
    for factor in _DECIMAL_STEPS:
        if (step := factor * 10.0**exponent) >= least * (1 - 1e-9):
            return step
    return 10.0 ** (exponent + 1)


def _tick_label(value: float, step: float, unit: ChartUnit) -> str:
    """A multiple of `step`, in as many digits as tell it from its neighbours."""
    if abs(value) < step / 2:
        zero = {ChartUnit.SECONDS: "0 s", ChartUnit.PERCENT: "0 %", ChartUnit.BYTES: "0 B"}
        return zero.get(unit, f"0 {unit}" if unit in _NAMED_ON_AXIS else "0")
    sign, value = "-" * (value < 0), abs(value)
    if unit is ChartUnit.SECONDS and step >= 1 and _LONG_SECONDS <= value < _LONGEST_SECONDS:
        return sign + format_duration(value)
    if unit is ChartUnit.SECONDS:
        scale, name = (1.0, " s") if value >= 1 else (1e-3, " ms")
    elif unit is ChartUnit.PERCENT:
        scale, name = 1e-2, " %"
    elif unit is ChartUnit.BYTES:
        power = _power(value, 1024.0, len(_BINARY_SUFFIXES) - 1)
        scale, name = 1024.0**power, f" {_BINARY_SUFFIXES[power]}"
    elif unit is ChartUnit.CELSIUS:
        scale, name = 1.0, f" {unit}"
    else:
        power = _power(value, 1000.0, len(_DECIMAL_SUFFIXES) - 1)
        scale, name = 1000.0**power, _DECIMAL_SUFFIXES[power]
        if unit is ChartUnit.WATTS:
            name = f" {name}{unit}"
    return sign + _digits(value / scale, step / scale) + name


_NAMED_ON_AXIS = (ChartUnit.CELSIUS, ChartUnit.WATTS)


def _digits(value: float, step: float) -> str:
    """`value`, a multiple of `step`, without digits that all are zero."""
    places = max(0, math.ceil(-math.log10(step) - 1e-9)) if step > 0 else 0
    if places > 6 or value >= 1e6:
        return _short_exponent(f"{value:.{_MAX_TICK_DIGITS}g}")
    text = f"{value:.{places + 2}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _power(value: float, base: float, most: int) -> int:
    """How often `value` can be divided by `base`; 0 for more than the suffixes can say. What rounds
    to 1000 belongs to the next one."""
    power = 0
    if value >= base ** (most + 1):
        return 0
    while power < most and value >= base * (0.9995 if base == 1000 else 1):
        value /= base
        power += 1
    return power


def _three_digits(value: float) -> str:
    """ "124", "12.4", "1.24", "0.25"; without zeros at the end."""
    if value == 0:
        return "0"
    if value < 0.001 or value >= 1e6:
        return _short_exponent(f"{value:.3g}")
    places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.1 else 3
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


def _short_exponent(text: str) -> str:
    """ "1e-9" for "1e-09"."""
    number, mark, exponent = text.partition("e")
    return f"{number}e{int(exponent)}" if mark else text


def _with_suffix(value: float, separator: str = "") -> str:
    """ "1.24k"."""
    power = _power(value, 1000.0, len(_DECIMAL_SUFFIXES) - 1)
    return _three_digits(value / 1000.0**power) + separator + _DECIMAL_SUFFIXES[power]


def _format_seconds(value: float) -> str:
    if _LONG_SECONDS <= value < _LONGEST_SECONDS:
        return format_duration(value)
    if value >= 0.9995 or value == 0:
        return f"{_three_digits(value)} s"
    if value < 1e-5:
        return "<0.01 ms"
    return f"{_three_digits(value * 1000)} ms"


def _format_percent(ratio: float) -> str:
    percent = min(ratio, LARGEST) * 100
    if 0 < percent < 0.01:
        return "<0.01 %"
    if 99 <= percent < 100:  # 99.96 % of successful requests is not all of them
        return f"{_cut_zeros(math.floor(percent * 100) / 100)} %"
    return f"{_three_digits(percent)} %"


def _cut_zeros(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _format_bytes(value: float) -> str:
    power = _power(value, 1024.0, len(_BINARY_SUFFIXES) - 1)
    return f"{_three_digits(value / 1024.0**power)} {_BINARY_SUFFIXES[power]}"
