"""What a serving, or the settings, call the metrics of a custom inference server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from servedeck.metrics.families import (
    METRIC_KINDS,
    MICRO,
    MILLI,
    PERCENT,
    Metric,
    MetricKind,
    MetricName,
    MetricNames,
)

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_HISTOGRAM_SUFFIX = re.compile(r"_(?:bucket|sum|count)$")
_FACTORS: Mapping[str, float] = {
    "_milliseconds": MILLI,
    "_ms": MILLI,
    "_microseconds": MICRO,
    "_us": MICRO,
    "_percent": PERCENT,
}
_NAMED = tuple(one for one in Metric if one is not Metric.ERRORS)
"""Errors are no count of their own in most servers, but a label of all requests."""


def parse_own_names(entries: Mapping[str, str]) -> tuple[MetricNames, tuple[str, ...]]:
    """The names by metric, and what is wrong with entries that are left out, in sentences."""
    found: dict[Metric, tuple[MetricName, ...]] = {}
    problems: list[str] = []
    for key, name in entries.items():
        metric = next((one for one in _NAMED if one.value == key), None)
        if metric is None:
            problems.append(f"{key!r} is no metric; choose from {', '.join(_NAMED)}.")
        elif _NAME.fullmatch(name) is None:
            problems.append(f"{name!r} is no name of a metric of Prometheus.")
        else:
            found[metric] = (_metric_name(metric, name),)
    return found, tuple(problems)


def split_annotation(text: str) -> Iterator[tuple[str, str]]:
    """The entries of an annotation, "requests=my_requests_total latency=my_seconds"."""
    for word in re.split(r"[\s,]+", text.strip()):
        key, _, name = word.partition("=")
        if key:
            yield key, name


def _metric_name(metric: Metric, name: str) -> MetricName:
    if METRIC_KINDS[metric] is MetricKind.HISTOGRAM:
        name = _HISTOGRAM_SUFFIX.sub("", name)
    return MetricName(name, next((f for end, f in _FACTORS.items() if name.endswith(end)), 1.0))
