"""Samples of a /metrics page in Prometheus' text format, or OpenMetrics text.

Only the lines of wanted names are read, and found by plain search: a page of vLLM has 60 KB, of
which a part is needed. What is before the value of a line is the same in every page, so
prometheus_client reads it once. Lines that do not follow the format are skipped.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from servedeck.promql.samples import Labels

MAX_LINE_BYTES = 4 << 10
MAX_SAMPLES = 10_000
"""Samples of one page that are read at most."""
MAX_NEW_BYTES = 1 << 20
"""Of lines of one page that no page before had: prometheus_client reads 2 to 8 MB a second. Those
after them are skipped, and read from the next page."""
_CACHED_SERIES = 1 << 14

_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?|inf(?:inity)?|nan)",
    re.ASCII | re.IGNORECASE,
)
_LINE = re.compile(
    rb"(?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*[ \t]*(?:\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\})?)"
    rb"[ \t]*(?<=[} \t])(?P<value>[+\-.0-9A-Za-z]+)"
    rb"(?:[ \t]+-?\d+(?:\.\d+)?)?[ \t]*(?:#.*)?",
    re.DOTALL,
)
"""Series, value, and what is not used: the time and, in OpenMetrics, an exemplar."""


class Sample(NamedTuple):
    name: str
    labels: Labels
    value: float
    """NaN and infinity too."""


def parse_page(page: bytes, names: Collection[str]) -> list[Sample]:
    """The samples whose names are among `names`, such as "x_bucket". Of several samples of one
    series the first counts. Never raises, whatever the page is."""
    found: dict[tuple[str, Labels], float] = {}
    budget = MAX_NEW_BYTES
    for name in dict.fromkeys(names):
        for line in _find_lines(page, name.encode()):
            match = _LINE.fullmatch(line)
            value = None if match is None else parse_value(match["value"].decode())
            if match is None or value is None:
                continue
            before = _parse_series.cache_info().misses
            series = _parse_series(match["series"])
            if _parse_series.cache_info().misses > before:
                budget -= len(line)
            if series is not None and series[0] == name:
                found.setdefault(series, value)
            if len(found) >= MAX_SAMPLES or budget < 0:
                return _samples(found)
    return _samples(found)


def _samples(found: Mapping[tuple[str, Labels], float]) -> list[Sample]:
    return [Sample(name, labels, value) for (name, labels), value in found.items()]


def load_library() -> None:
    """Import prometheus_client, 10 to 60 ms; else the first page that is read does."""
    importlib.import_module("prometheus_client.parser")


@lru_cache(maxsize=_CACHED_SERIES)
def _parse_series(text: bytes) -> tuple[str, Labels] | None:
    """Name and labels of what is before a value; None if it does not follow the format."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(f"{text.decode()} 0\n"))
        ((sample,),) = [family.samples for family in families]
    except ValueError:  # also if it is not UTF-8, or there is not one sample
        return None
    # A label that is "" is one that is absent.
    return sample.name, tuple(sorted(pair for pair in sample.labels.items() if pair[1]))


def parse_value(text: str) -> float | None:
    """A number as Prometheus writes it; None for what is none, or too large."""
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return None if math.isinf(value) and text[-1].isdigit() else value


def _find_lines(page: bytes, name: bytes) -> Iterator[bytes]:
    """The lines that begin with a name."""
    at = 0 if page.startswith(name) else _next_line(page, name, 0)
    while at >= 0:
        end = page.find(b"\n", at)
        end = len(page) if end < 0 else end
        if end - at <= MAX_LINE_BYTES:
            yield page[at:end].rstrip(b"\r")
        at = _next_line(page, name, end)


def _next_line(page: bytes, name: bytes, start: int) -> int:
    found = page.find(b"\n" + name, start)
    return found + 1 if found >= 0 else -1
