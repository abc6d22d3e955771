"""Units of metrics, and how values are written."""

from __future__ import annotations

import math
from enum import StrEnum

from servedeck.serving.duration import format_duration

UNKNOWN_VALUE = "–"
"""Written for a value that is not known."""

LARGEST = 1e300
"""Values are drawn as if they were at most so far from zero, so that no difference overflows."""

LONG_SECONDS = 120
"""Seconds from which a duration is written in minutes, as kubectl does."""

LONGEST_SECONDS = 1e10
"""Seconds from which a duration is written as a power of ten."""

DECIMAL_SUFFIXES = ("", "k", "M", "G", "T", "P", "E")

BINARY_SUFFIXES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Unit(StrEnum):
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
        return self is not Unit.CELSIUS


def finite(value: float | None) -> float | None:
    """The value; None if it is none, not a number or infinite."""
    return value if value is not None and math.isfinite(value) else None


def format_value(value: float | None, unit: Unit) -> str:
    """A value as an operator reads it, in three digits: "1.24k", "850 ms", "2.31 s", "4m10s",
    "93 %", "12.4 GiB", "71 °C", "312 W"; "–" for a gap. What counts something has no unit."""
    value = finite(value)
    if value is None:
        return UNKNOWN_VALUE
    if value < 0:
        text = format_value(-value, unit)
        return f">-{text[1:]}" if text.startswith("<") else f"-{text}"
    match unit:
        case Unit.SECONDS:
            return _format_seconds(value)
        case Unit.PERCENT:
            return _format_percent(value)
        case Unit.BYTES:
            return _format_bytes(value)
        case Unit.CELSIUS:
            return f"{three_digits(value)} °C"
        case Unit.WATTS:
            return _with_suffix(value, " ") + "W"
    return _with_suffix(value)


def power_of(value: float, base: float, most: int) -> int:
    """How often `value` can be divided by `base`; 0 for more than the suffixes can say. What rounds
    to 1000 belongs to the next one."""
    power = 0
    if value >= base ** (most + 1):
        return 0
    while power < most and value >= base * (0.9995 if base == 1000 else 1):
        value /= base
        power += 1
    return power


def three_digits(value: float) -> str:
    """ "124", "12.4", "1.24", "0.25"; without zeros at the end."""
    if value == 0:
        return "0"
    if value < 0.001 or value >= 1e6:
        return short_exponent(f"{value:.3g}")
    places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.1 else 3
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


def short_exponent(text: str) -> str:
    """ "1e-9" for "1e-09"."""
    number, mark, exponent = text.partition("e")
    return f"{number}e{int(exponent)}" if mark else text


def _with_suffix(value: float, separator: str = "") -> str:
    """ "1.24k"."""
    power = power_of(value, 1000.0, len(DECIMAL_SUFFIXES) - 1)
    return three_digits(value / 1000.0**power) + separator + DECIMAL_SUFFIXES[power]


def _format_seconds(value: float) -> str:
    if LONG_SECONDS <= value < LONGEST_SECONDS:
        return format_duration(value)
    if value >= 0.9995 or value == 0:
        return f"{three_digits(value)} s"
    if value < 1e-5:
        return "<0.01 ms"
    return f"{three_digits(value * 1000)} ms"


def _format_percent(ratio: float) -> str:
    percent = min(ratio, LARGEST) * 100
    if 0 < percent < 0.01:
        return "<0.01 %"
    if 99 <= percent < 100:  # 99.96 % of successful requests is not all of them
        return f"{cut_zeros(math.floor(percent * 100) / 100)} %"
    return f"{three_digits(percent)} %"


def cut_zeros(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _format_bytes(value: float) -> str:
    power = power_of(value, 1024.0, len(BINARY_SUFFIXES) - 1)
    return f"{three_digits(value / 1024.0**power)} {BINARY_SUFFIXES[power]}"
