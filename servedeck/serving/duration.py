"""Durations as kubectl prints them."""

from __future__ import annotations

import re

_SECONDS_PER_MINUTE = 60
_SECONDS_PER_HOUR = 60 * _SECONDS_PER_MINUTE
_SECONDS_PER_DAY = 24 * _SECONDS_PER_HOUR
_SECONDS_PER_YEAR = 365 * _SECONDS_PER_DAY
_MAX_AGE_WIDTH = 6


_DURATION_PATTERN = re.compile(
    r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?", re.ASCII
)
"""With at most nine digits a number: Python writes and computes with any that result."""


def parse_duration(text: str) -> int:
    """Seconds of a duration such as "90s", "2m", "1h30m", "7d" or "120" (seconds). Raises
    ValueError with a sentence for the user."""
    match = _DURATION_PATTERN.fullmatch(text.strip())
    seconds = 0
    if match is not None:
        days, hours, minutes, rest = (int(part or 0) for part in match.groups())
        seconds = days * _SECONDS_PER_DAY + hours * _SECONDS_PER_HOUR
        seconds += minutes * _SECONDS_PER_MINUTE + rest
    if not seconds:
        is_zero = match is not None and any(one.isdigit() for one in text)
        problem = "is zero: enter a duration" if is_zero else "is not a duration: enter one"
        raise ValueError(f"{text[:40]!r} {problem} such as 90s, 10m or 1h30m")
    return seconds


def format_exact_duration(seconds: float) -> str:
    """All of a duration, as `parse_duration` reads it: "90s", "1h30m", "24h", "7d". A fraction of a
    second, which that does not read, is kept."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    rest, parts = int(seconds), ""
    if rest < 2 * _SECONDS_PER_MINUTE:
        return f"{rest}s"
    units = [("h", _SECONDS_PER_HOUR), ("m", _SECONDS_PER_MINUTE), ("s", 1)]
    if rest >= 2 * _SECONDS_PER_DAY:
        units.insert(0, ("d", _SECONDS_PER_DAY))
    for unit, length in units:
        count, rest = divmod(rest, length)
        parts += f"{count}{unit}" if count else ""
    return parts


def format_duration(seconds: float) -> str:
    """A duration as kubectl prints it: "90s", "4m10s", "5h30m", "3d4h", "2y10d".

    More than a second in the future is "<invalid>" (kubernetes apimachinery
    pkg/util/duration/duration.go, HumanDuration).
    """
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    if whole < 2 * _SECONDS_PER_MINUTE:
        return f"{whole}s"
    if whole < 10 * _SECONDS_PER_MINUTE:
        return _join_units(whole // _SECONDS_PER_MINUTE, "m", whole % _SECONDS_PER_MINUTE, "s")
    if whole < 3 * _SECONDS_PER_HOUR:
        return f"{whole // _SECONDS_PER_MINUTE}m"
    if whole < 8 * _SECONDS_PER_HOUR:
        return _join_units(whole // _SECONDS_PER_HOUR, "h", whole // _SECONDS_PER_MINUTE % 60, "m")
    if whole < 2 * _SECONDS_PER_DAY:
        return f"{whole // _SECONDS_PER_HOUR}h"
    if whole < 8 * _SECONDS_PER_DAY:
        return _join_units(whole // _SECONDS_PER_DAY, "d", whole // _SECONDS_PER_HOUR % 24, "h")
    if whole < 2 * _SECONDS_PER_YEAR:
        return f"{whole // _SECONDS_PER_DAY}d"
    if whole < 8 * _SECONDS_PER_YEAR:
        return _join_units(whole // _SECONDS_PER_YEAR, "y", whole // _SECONDS_PER_DAY % 365, "d")
    return f"{whole // _SECONDS_PER_YEAR}y"


def format_signed_duration(seconds: float) -> str:
    """`age` for a column of six cells: a time in the future (clock skew with the cluster) is "-5m".
    kubectl's "<invalid>" would be truncated, and shows less."""
    if int(seconds) >= -1:
        return format_duration(seconds)
    ahead = format_duration(-seconds)
    if len(ahead) >= _MAX_AGE_WIDTH:
        ahead = re.sub(r"(?<=[a-z])\d.*", "", ahead)  # the first of two units
    return f"-{ahead}"


def _join_units(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first}{first_unit}{second}{second_unit}" if second else f"{first}{first_unit}"
