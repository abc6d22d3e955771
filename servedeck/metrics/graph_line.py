"""One or several lines of a graph."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.promql.expressions import Expression


@dataclass(frozen=True, slots=True)
class GraphLine:
    label: str
    """What the line shows, "P95"; of several lines, what one without a name shows."""
    expression: Expression
    legend: str = ""
    """The label whose values name the lines; "" for a single one."""
    suffix: str = ""
    """What is added to these names, where other lines may have the same."""
