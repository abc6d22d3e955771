"""The texts of the dialog of a traffic split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from servedeck.changes.traffic_split.next_step import Step, next_steps
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import TrafficState
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.metrics.units import Unit, format_value
from servedeck.serving.objects.traffic_split import format_percentage
from servedeck.serving.text import cell_width, one_line, sanitize, truncate
from tui.metrics.live_figures import LiveFigures
from tui.screens.pick import Choice
from widgets.text_view import Paragraph

_MAX_COLUMN_WIDTH = 28
"""Cells of a serving at most."""
_STEP_ACTIONS = {
    Step.SPLIT: "weight",
    Step.PROMOTE: "promote",
    Step.FINISH: "finish",
    Step.ABORT: "abort",
    Step.CANARY: "new",
}
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


def table_paragraphs(
    state: TrafficState, sides: Sequence[Side], known: Sequence[LiveFigures | None], width: int
) -> Iterator[Paragraph]:
    """The sides beside each other, each `width` cells wide at most; `known` are their metrics."""
    row = partial(make_row, width=max(min(width, _MAX_COLUMN_WIDTH), 4))
    yield row("", [(one.label, "strong") for one in sides])
    if any(one.revision_of for one in sides):
        of = [f"revision of {one.revision_of}" if one.revision_of else "" for one in sides]
        yield row("", [(text, "muted") for text in of])
    shares = [share(state, is_main=one is state.main) for one in sides]
    yield row("Share", [(text, "title") for text in shares])
    yield row("Replicas", [replicas(one) for one in sides])
    if not any(known):
        return
    figures = [one.figures if one is not None else None for one in known]
    rates = [one.request_rate if one is not None else None for one in figures]
    errors = [one.error_share if one is not None else None for one in figures]
    p95 = [one.quantiles[1] if one is not None else None for one in figures]
    yield row("Requests/s", [(format_value(one, Unit.PER_SECOND), "") for one in rates])
    yield row(
        "Errors 5xx",
        [(format_value(one, Unit.PERCENT), "error" if one else "") for one in errors],
    )
    yield row("P95", [(format_value(one, Unit.SECONDS), "") for one in p95])
    for side, one in zip(sides, known, strict=True):
        if one is not None and one.problem:
            yield Paragraph(((f"  {side.label}: {one.problem}", "muted"),), 4)


def step_paragraphs(state: TrafficState, key_display: Callable[[str], str]) -> Iterator[Paragraph]:
    """What to do next, with the key that does it; `key_display` shows that of an action."""
    for number, one in enumerate(next_steps(state)):
        if not number:
            yield Paragraph()
        if one.step is Step.OTHER:
            yield Paragraph((("  ", ""), (one.text, "muted")), 2)
        else:
            key = key_display(f"traffic.{_STEP_ACTIONS[one.step]}")
            yield Paragraph(((f"  {key}", "key"), (f"  {one.text}", "muted")), 2)


def list_choices(views: Iterable[ServingView], key: NamespacedName) -> list[Choice]:
    """The servings that may get a share of the requests of `key`: the revisions of it first."""
    found = [one for one in views if one.key.namespace == key.namespace and one.key != key]
    own = one_line(sanitize(key.name))
    found.sort(key=lambda one: (one.revision_of != own, one.key))
    return [
        Choice(
            one.key.name,
            one_line(sanitize(one.key.name)),
            " ".join(
                [
                    *([f"revision of {own} "] if one.revision_of == own else []),
                    f"{one.status.value}  {one.ready}/{one.desired}  {one.model}",
                ]
            ),
            disabled_reason=one.readonly_reason if not one.key.is_deployment else "",
        )
        for one in found
    ]


def rule_paragraphs(state: TrafficState) -> Iterator[Paragraph]:
    yield Paragraph()
    for one in state.rules:
        yield Paragraph(((f"  {one.rule.label}  ", "muted"), (one.rule.shares, "")), 4)
    for rule in state.kept:
        label = f"  {rule.label}, for certain headers or parameters  "
        yield Paragraph(((label, "muted"), (rule.shares, "")), 4)
    for rule in state.received:
        yield Paragraph(((f"  also gets a share of {rule.label}  ", "muted"), (rule.shares, "")), 4)
