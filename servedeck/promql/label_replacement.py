"""The function label_replace.

Source: promql/functions.go of Prometheus (evalLabelReplace), and Regexp.Expand of Go for "$1".
"""

from __future__ import annotations

import re
from functools import lru_cache

from servedeck.promql.errors import PromqlError
from servedeck.promql.matching import MAX_VALUE_LENGTH, compile_pattern
from servedeck.promql.samples import Labels
from servedeck.promql.vectors import Vector, VectorSeries, merge_series

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>\w+)|\{(?P<braced>\w+)\})", re.ASCII)


def replace_label(vector: Vector, label: str, replacement: str, source: str, regex: str) -> Vector:
    """The series with the label set where the whole value of the label `source` matches. Raises
    PromqlError for a name that is none, and if two series have the same labels then."""
    if _LABEL.fullmatch(label) is None:
        raise PromqlError("label_replace needs the name of a label as its second argument.")
    pattern = _compile(regex)
    result: Vector = []
    for one in vector:
        value = _label_value(one, source)
        match = pattern.fullmatch(value) if len(value) <= MAX_VALUE_LENGTH else None
        result.append(one if match is None else _set_label(one, label, _expand(match, replacement)))
    return merge_series(result)


@lru_cache(maxsize=64)
def _compile(regex: str) -> re.Pattern[str]:
    return compile_pattern(regex)


def _label_value(series: VectorSeries, label: str) -> str:
    if label == "__name__":
        return series.name
    return next((value for name, value in series.labels if name == label), "")


def _set_label(series: VectorSeries, label: str, value: str) -> VectorSeries:
    """With a label of another value; "" removes it."""
    if label == "__name__":
        return series._replace(name=value)
    kept: Labels = tuple(pair for pair in series.labels if pair[0] != label)
    return series._replace(labels=tuple(sorted((*kept, (label, value)))) if value else kept)


def _expand(match: re.Match[str], replacement: str) -> str:
    """The replacement with its groups, of which one that there is not is ""."""

    def expand(reference: re.Match[str]) -> str:
        if reference["dollar"]:
            return "$"
        name = reference["name"] or reference["braced"]
        if name.isdigit():
            number = int(name) if len(name) < 4 else MAX_VALUE_LENGTH
            return (match[number] or "") if number <= match.re.groups else ""
        return (match[name] or "") if name in match.re.groupindex else ""

    return _REFERENCE.sub(expand, replacement)
