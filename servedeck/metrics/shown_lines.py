"""The lines of a graph with their values: their names, and how they are continued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from servedeck.metrics.graph_line import GraphLine
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.source import QueryResult
from servedeck.serving.text import one_line, sanitize, truncate

MAX_LINES = 60
"""Lines of one graph; a label with more values is no name of a line."""

MAX_NAME_CELLS = 64
"""Of a label's value; the name of a Pod has at most 63 characters where a controller gives it."""

_CODE_CLASS = "envoy_response_code_class"
_ISTIO_CODE = "response_code"


@dataclass(frozen=True, slots=True)
class ShownLine:
    label: str
    """Sanitized, and unique in a graph."""
    values: tuple[float | None, ...]
    """One for each time of the grid."""
    group: int = 0
    """Which of the graph's expressions it is of."""


def shown_lines(
    lines: Sequence[GraphLine], results: Sequence[QueryResult], grid: TimeGrid
) -> tuple[list[ShownLine], int]:
    """The lines, and how many more there are than can be shown."""
    shown: dict[str, ShownLine] = {}
    left_out = 0
    for group, (line, result) in enumerate(zip(lines, results, strict=True)):
        if not line.legend:
            values = result.series[0].values if result.series else (None,) * grid.count
            shown.setdefault(line.label, ShownLine(line.label, tuple(values), group))
            continue
        found = sorted(
            ((_name(line, one.labels), tuple(one.values)) for one in result.series),
            key=lambda one: one[0],
        )
        left_out += max(len(found) - MAX_LINES, 0)
        for label, several in found[:MAX_LINES]:
            shown.setdefault(label, ShownLine(label, several, group))
    return _with_values(shown.values(), lines), left_out


def joined_lines(
    old: Sequence[ShownLine],
    old_grid: TimeGrid,
    newest: Sequence[ShownLine],
    asked: TimeGrid,
    grid: TimeGrid,
    lines: Sequence[GraphLine],
) -> list[ShownLine]:
    """The lines on a grid: the points of before, and the newest ones in place of those that were
    asked for again."""
    kept = grid.count - asked.count
    first = old_grid.index(grid.start) or 0
    absent, gone = (None,) * kept, (None,) * asked.count
    older = {one.label: one.values[first : first + kept] for one in old}
    newer = {one.label: one.values for one in newest}
    groups = {one.label: one.group for one in (*old, *newest)}
    joined = (
        ShownLine(label, older.get(label, absent) + newer.get(label, gone), group)
        for label, group in groups.items()
    )
    return _with_values(sorted(joined, key=lambda one: (one.group, one.label)), lines)


def _with_values(shown: Iterable[ShownLine], lines: Sequence[GraphLine]) -> list[ShownLine]:
    """Without what is named by a label and has no value in this time."""
    return [
        one
        for one in shown
        if not lines[one.group].legend or any(value is not None for value in one.values)
    ]


def _name(line: GraphLine, labels: Mapping[str, str]) -> str:
    # the alternatives of proxies name the code in labels of their own
    value = labels.get(line.legend, "") or next((text for text in labels.values() if text), "")
    if value and labels.get(_CODE_CLASS) == value:
        value += "xx"
    elif value == "0" and _ISTIO_CODE in labels:
        value = "client gone"
    return (truncate(one_line(sanitize(value)), MAX_NAME_CELLS) or line.label) + line.suffix
