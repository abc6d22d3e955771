"""The texts of the dialog of a traffic split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import TrafficState
from servedeck.serving.objects.traffic_split import format_percentage
from servedeck.serving.text import cell_width, truncate
from widgets.text_view import Paragraph

LABEL_WIDTH = 14
"""Cells of the names of the rows."""


def make_row(label: str, cells: Sequence[tuple[str, str]], width: int) -> Paragraph:
    """A line of the table; each cell is `width` wide."""
    line: list[tuple[str, str]] = [(f"  {label:<{LABEL_WIDTH}}", "muted")]
    for text, style_name in cells:
        shown = truncate(text, width - 2)
        line.append((shown + " " * (width - cell_width(shown)), style_name))
    return Paragraph(tuple(line), no_wrap=True)


def share(state: TrafficState, *, is_main: bool) -> str:
    """Of the requests, "90 %", or all that there are where rules differ: "90 %, 70 %"."""
    found: list[str] = []
    for one in state.rules:
        main = one.rule.percentage(state.services)
        value = main if is_main else (100 - main if one.rule.total else 0.0)
        if (text := format_percentage(value)) not in found:
            found.append(text)
    return ", ".join(found)


def replicas(side: Side) -> tuple[str, str]:
    if not side.is_serving:
        return "no serving is known", "muted"
    text = f"{side.ready:,}/{side.desired:,} ready"
    return text, "" if side.ready >= side.desired > 0 else "warning"


def rule_paragraphs(state: TrafficState) -> Iterator[Paragraph]:
    yield Paragraph()
    for one in state.rules:
        yield Paragraph(((f"  {one.rule.label}  ", "muted"), (one.rule.shares, "")), 4)
    for rule in state.kept:
        label = f"  {rule.label}, for certain headers or parameters  "
        yield Paragraph(((label, "muted"), (rule.shares, "")), 4)
    for rule in state.received:
        yield Paragraph(((f"  also gets a share of {rule.label}  ", "muted"), (rule.shares, "")), 4)
