"""Resource quantities as Kubernetes parses and formats them."""

from __future__ import annotations

import re
from fractions import Fraction

# kubernetes apimachinery pkg/api/resource/suffix.go
_BINARY_SUFFIXES = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIXES = {
    "n": -3,
    "u": -2,
    "m": -1,
    "": 0,
    "k": 1,
    "M": 2,
    "G": 3,
    "T": 4,
    "P": 5,
    "E": 6,
}
_QUANTITY_PATTERN = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:[eE](?P<exponent>[+-]?0*[0-9]{1,2})|(?P<suffix>[numkMGTPE]|[KMGTPE]i)?)"
)
_MAX_QUANTITY_LENGTH = 64


def parse_quantity(text: str | int | float, examples: str = "2, 500m, 1.5 or 16Gi") -> Fraction:
    """The value of a Kubernetes quantity: "500m", "1Gi", "1e3", 2.

    Raises ValueError, with a sentence for the user that contains `examples`, if `text` is not a
    quantity (kubernetes apimachinery pkg/api/resource/quantity.go).
    """
    written = str(text).strip()
    match = _QUANTITY_PATTERN.fullmatch(written) if len(written) <= _MAX_QUANTITY_LENGTH else None
    if match is None:
        shown = (
            written
            if len(written) <= _MAX_QUANTITY_LENGTH
            else f"{written[:_MAX_QUANTITY_LENGTH]}…"
        )
        raise ValueError(f"{shown!r} is not a quantity: enter a number such as {examples}")
    number = Fraction(match["number"])
    if match["exponent"] is not None:
        return number * _power(10, int(match["exponent"]))
    suffix = match["suffix"] or ""
    if suffix in _BINARY_SUFFIXES:
        return number * _power(1024, _BINARY_SUFFIXES[suffix])
    return number * _power(1000, _DECIMAL_SUFFIXES[suffix])


def _power(base: int, exponent: int) -> Fraction:
    return Fraction(base**exponent) if exponent >= 0 else Fraction(1, base**-exponent)


def format_quantity(value: Fraction | int, *, binary: bool = False) -> str:
    """The shortest exact form of `value`: "500m", "16Gi" (`binary`), "2".

    Below one millionth of a unit it is rounded up to the next billionth, as in Kubernetes.
    """
    if value == 0:
        return "0"
    if binary and value == int(value):
        for suffix, power in reversed(_BINARY_SUFFIXES.items()):
            if value % 1024**power == 0:
                return f"{int(value // 1024**power)}{suffix}"
        return str(int(value))
    for suffix, power in reversed(_DECIMAL_SUFFIXES.items()):
        scaled = Fraction(value) / _power(1000, power)
        if scaled.denominator == 1:
            return f"{scaled.numerator}{suffix}"
    return f"{-int(-Fraction(value) * 1000**3 // 1)}n"
