"""Samples of a /metrics page in Prometheus' text format, or OpenMetrics text.

Only the lines of wanted names are parsed, and found by plain search: a page of vLLM has 60 KB, of
which a few lines are needed. Lines that do not follow the format are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_LINE_BYTES = 16 << 10
MAX_SAMPLES = 10_000
"""Samples of one page that are read at most."""

_NUMBER = r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|Inf|NaN)"
_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"[ \t]*(?:\{(?P<labels>(?:[^\"\}\r\n]|\"(?:[^\"\\]|\\.)*\")*)\})?"
    rf"[ \t]*(?<=[\}} \t])(?P<value>{_NUMBER})"
    r"(?:[ \t]+-?\d+(?:\.\d+)?)?[ \t]*(?:#[^\r\n]*)?"
)
"""A line: name, labels, value, and what is not used: the time and, in OpenMetrics, an exemplar."""
_LABEL = re.compile(
    r"[ \t]*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"
    r'"(?P<value>(?:[^"\\]|\\.)*)"[ \t]*(?:,|$)'
)
_ESCAPE = re.compile(r"\\(.)")

Labels = tuple[tuple[str, str], ...]
"""Names and values, in the order of the names."""


class Sample(NamedTuple):
    name: str
    labels: Labels
    value: float | None
    """None for NaN and infinity."""


def parse_samples(page: bytes, names: Iterable[str]) -> Iterator[Sample]:
    """The samples with one of the names. Never raises, whatever the page is."""
    found = 0
    for name in dict.fromkeys(names):
        for line in _find_lines(page, name.encode()):
            sample = parse_line(line)
            if sample is None or sample.name != name:
                continue
            yield sample
            found += 1
            if found >= MAX_SAMPLES:
                return


def _find_lines(page: bytes, name: bytes) -> Iterator[str]:
    """The lines that begin with a name."""
    at = 0 if page.startswith(name) else _next_line(page, name, 0)
    while at >= 0:
        end = page.find(b"\n", at)
        end = len(page) if end < 0 else end
        if end - at <= MAX_LINE_BYTES:
            yield page[at:end].decode("utf-8", "replace")
        at = _next_line(page, name, end)


def _next_line(page: bytes, name: bytes, start: int) -> int:
    found = page.find(b"\n" + name, start)
    return found + 1 if found >= 0 else -1


def parse_line(line: str) -> Sample | None:
    """The sample of a line; None if it has none."""
    match = _SAMPLE.fullmatch(line.rstrip("\r"))
    if match is None:
        return None
    labels = _parse_labels(match["labels"] or "")
    if labels is None:
        return None
    return Sample(match["name"], labels, parse_value(match["value"]))


def parse_value(text: str) -> float | None:
    """A number as Prometheus writes it; None for NaN, infinity, and what is no number."""
    if re.fullmatch(_NUMBER, text) is None or text.endswith(("Inf", "NaN")):
        return None
    value = float(text)
    return value if abs(value) != float("inf") else None  # 1e999


def _parse_labels(text: str) -> Labels | None:
    """The labels between braces; None if they do not follow the format."""
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None:
            return None if text[at:].strip(" \t") else tuple(sorted(labels.items()))
        labels[match["name"]] = _ESCAPE.sub(_unescape, match["value"])
        at = match.end()
    return tuple(sorted(labels.items()))


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
