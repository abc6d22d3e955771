"""Durations and quantities as Kubernetes writes and reads them."""

from __future__ import annotations

import re
from fractions import Fraction

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365 * _DAY
_AGE_CELLS = 6


def age(seconds: float) -> str:
    """A duration as kubectl prints it: "90s", "4m10s", "5h30m", "3d4h", "2y10d".

    More than a second in the future is "<invalid>" (kubernetes apimachinery
    pkg/util/duration/duration.go, HumanDuration).
    """
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two_parts(whole // _MINUTE, "m", whole % _MINUTE, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two_parts(whole // _HOUR, "h", whole // _MINUTE % 60, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two_parts(whole // _DAY, "d", whole // _HOUR % 24, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two_parts(whole // _YEAR, "y", whole // _DAY % 365, "d")
    return f"{whole // _YEAR}y"


def signed_age(seconds: float) -> str:
    """`age` for a column of six cells: what lies in the future, since the clocks here and in the
    cluster differ, is "-5m". kubectl's "<invalid>" would be cut, and says less."""
    if int(seconds) >= -1:
        return age(seconds)
    ahead = age(-seconds)
    if len(ahead) >= _AGE_CELLS:
        ahead = re.sub(r"(?<=[a-z])\d.*", "", ahead)  # the first of two parts
    return f"-{ahead}"


def _two_parts(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first}{first_unit}{second}{second_unit}" if second else f"{first}{first_unit}"


# kubernetes apimachinery pkg/api/resource/suffix.go
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,2})|(?P<suffix>[numkMGTPE]|[KMGTPE]i)?)"
)
_LONGEST = 64


def quantity(text: str | int | float, examples: str = "2, 500m, 1.5 or 16Gi") -> Fraction:
    """The value of a Kubernetes quantity: "500m", "1Gi", "1e3", 2.

    Raises ValueError, with a sentence for the one who typed it that names `examples`, where `text`
    is not a quantity (kubernetes apimachinery pkg/api/resource/quantity.go).
    """
    written = str(text).strip()
    match = _QUANTITY.fullmatch(written) if len(written) <= _LONGEST else None
    if match is None:
        shown = written if len(written) <= _LONGEST else f"{written[:_LONGEST]}…"
        raise ValueError(f'"{shown}" is not a quantity: write a number such as {examples}')
    number = Fraction(match["number"])
    if match["exponent"] is not None:
        return number * _power(10, int(match["exponent"]))
    suffix = match["suffix"] or ""
    if suffix in _BINARY:
        return number * _power(1024, _BINARY[suffix])
    return number * _power(1000, _DECIMAL[suffix])


def _power(base: int, exponent: int) -> Fraction:
    return Fraction(base**exponent) if exponent >= 0 else Fraction(1, base**-exponent)


def format_quantity(value: Fraction | int, *, binary: bool = False) -> str:
    """The shortest exact way to write `value`: "500m", "16Gi" (`binary`), "2".

    Below a millionth part of a unit it is rounded up to the next billionth, as Kubernetes does.
    """
    if value == 0:
        return "0"
    if binary and value == int(value):
        for suffix, power in reversed(_BINARY.items()):
            if value % 1024**power == 0:
                return f"{int(value // 1024**power)}{suffix}"
        return str(int(value))
    for suffix, power in reversed(_DECIMAL.items()):
        scaled = Fraction(value) / _power(1000, power)
        if scaled.denominator == 1:
            return f"{scaled.numerator}{suffix}"
    return f"{-int(-Fraction(value) * 1000**3 // 1)}n"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`number` with its noun in the right form: "1 restart", "1,200 lines"; `plural` where it is
    not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
