"""The cards of the tab Metrics: totals of the period, and what is true at the moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from servedeck.metrics.graphs import QUANTILES
from servedeck.metrics.objective_status import ObjectiveState, ObjectiveStatus
from servedeck.metrics.serving_metrics import Figures
from servedeck.metrics.units import Unit, finite, format_value
from servedeck.serving.objectives import ObjectiveKind
from widgets.styled_line import Line, Span, fit_line, line_width

CARD_LINES = 3
"""Lines of the cards."""
LARGEST_COUNT = 1e12
"""From which on a count is shortened as the values of graphs are."""
NOW = "now"
"""The moment of values of the present."""
_GAP = 3


STATE_STYLES = {
    ObjectiveState.MET: "success",
    ObjectiveState.AT_RISK: "warning",
    ObjectiveState.MISSED: "error",
    ObjectiveState.UNKNOWN: "muted",
}
_STATE_SIGNS = {
    ObjectiveState.MET: "",
    ObjectiveState.AT_RISK: "!",
    ObjectiveState.MISSED: "✗",
    ObjectiveState.UNKNOWN: "?",
}
_WORST_FIRST = (
    ObjectiveState.MISSED,
    ObjectiveState.AT_RISK,
    ObjectiveState.UNKNOWN,
    ObjectiveState.MET,
)


def objective_lines(
    objectives: Iterable[ObjectiveStatus], most: int, width: int, moment: str = NOW
) -> tuple[Line, ...]:
    """The objectives in sentences, the worst ones first, at most so many lines. `moment` is that of
    their values; a sentence that `width` has no room for is a shorter one."""
    ordered = sorted(objectives, key=lambda status: _WORST_FIRST.index(status.state))
    when = "" if moment == NOW else f"{moment}: "

    def line(one: ObjectiveStatus) -> Line:
        sign, style_name = _STATE_SIGNS[one.state] or "✓", STATE_STYLES[one.state]
        full: Line = ((f" {sign} {when}{one.sentence}.", style_name),)
        if line_width(full) <= width:
            return full
        return fit_line(((f" {sign} {when}{one.short_sentence}.", style_name),), width)

    return tuple(line(one) for one in ordered[:most])


def figure_lines(
    figures: Figures | None,
    period: str,
    width: int,
    objectives: Iterable[ObjectiveStatus] = (),
    moment: str = NOW,
) -> tuple[Line, ...]:
    """The cards side by side, each with a title over its values, in the style of the objective that
    they miss; what has no room is left out, the last card first. `moment` is that of the values:
    "now", "at 14:02"."""
    cards = _cards(figures, period, moment, {one.kind: one.state for one in objectives})
    shown: list[Sequence[Line]] = []
    used = 0
    for forms in cards:
        fitting = (one for one in forms if not shown or used + _GAP + _card_width(one) <= width)
        card = next(fitting, None)
        if card is None:
            break
        used += _card_width(card) + (_GAP if shown else 1)
        shown.append(card)
    return tuple(_beside([card[row] for card in shown], shown) for row in range(CARD_LINES))


def _card_width(card: Sequence[Line]) -> int:
    return max(line_width(one) for one in card)


def _beside(parts: Sequence[Line], cards: Sequence[Sequence[Line]]) -> Line:
    """One row of all cards, each as wide as its widest line."""
    found: list[Span] = [(" ", "")]
    for number, (part, card) in enumerate(zip(parts, cards, strict=True)):
        width = _card_width(card)
        found += part
        if number < len(parts) - 1:
            found.append((" " * (width - line_width(part) + _GAP), ""))
    return tuple(found)


States = Mapping[ObjectiveKind, ObjectiveState]


def _cards(
    figures: Figures | None, period: str, moment: str, states: States
) -> list[tuple[Sequence[Line], ...]]:
    """Each card in full, and after it a narrower form that some have."""
    return [
        (_requests(figures, period, moment),),
        (_latency(figures, states),),
        (_in_progress(figures, moment),),
        (
            _pressure(figures, states),
            _pressure(figures, states, ("5xx errors", "TTFT P95", "KV cache")),
        ),
    ]


def _marked(text: str, state: ObjectiveState | None, style_name: str = "") -> Span:
    """A value with the sign and the style of its objective, which show the same without color."""
    if state is None or state is ObjectiveState.MET:
        return text, style_name
    return f"{text} {_STATE_SIGNS[state]}", STATE_STYLES[state]


def _requests(figures: Figures | None, period: str, moment: str) -> Sequence[Line]:
    total = finite(figures.total_requests) if figures is not None else None
    rate = figures.request_rate if figures is not None else None
    is_short = total is not None and abs(total) < LARGEST_COUNT
    count = f"{total:,.0f}" if is_short else format_value(total, Unit.COUNT)
    return (
        (("Total Requests", "title"),),
        ((count, "strong"), (f" in {period}", "muted")),
        ((format_value(rate, Unit.PER_SECOND), ""), (f" req/s {moment}", "muted")),
    )


def _latency(figures: Figures | None, states: States) -> Sequence[Line]:
    values = figures.quantiles if figures is not None else (None,) * len(QUANTILES)
    styled = [
        _marked(
            format_value(one, Unit.SECONDS),
            states.get(ObjectiveKind.P95) if label == "P95" else None,
            "strong",
        )
        for one, (label, _) in zip(values, QUANTILES, strict=True)
    ]
    texts = [text for text, _ in styled]
    widths = [
        max(len(label), len(text)) + 2 for (label, _), text in zip(QUANTILES, texts, strict=True)
    ]
    heads = "".join(
        f"{label:<{width}}" for (label, _), width in zip(QUANTILES, widths, strict=True)
    )
    shown = tuple(
        (f"{text:<{width}}", style_name)
        for (text, style_name), width in zip(styled, widths, strict=True)
    )
    return (
        (("Latency", "title"), (" (P50 / P95 / P99)", "muted")),
        ((heads, "muted"),),
        shown,
    )


def _in_progress(figures: Figures | None, moment: str) -> Sequence[Line]:
    running = figures.running if figures is not None else None
    waiting = figures.waiting if figures is not None else None
    return (
        ((f"Requests {moment}", "title"),),
        (("running ", "muted"), (format_value(running, Unit.COUNT), "")),
        (
            ("waiting ", "muted"),
            (format_value(waiting, Unit.COUNT), "warning" if waiting else ""),
        ),
    )


def _pressure(
    figures: Figures | None,
    states: States,
    labels: tuple[str, str, str] = ("Errors 5xx", "P95 to first token", "KV cache"),
) -> Sequence[Line]:
    errors = figures.error_share if figures is not None else None
    ttft = figures.ttft if figures is not None else None
    cache = figures.kv_cache if figures is not None else None
    return (
        (
            (f"{labels[0]} ", "title"),
            _marked(
                format_value(errors, Unit.PERCENT),
                states.get(ObjectiveKind.ERRORS),
                "error" if errors and ObjectiveKind.ERRORS not in states else "",
            ),
        ),
        (
            (f"{labels[1]} ", "muted"),
            _marked(format_value(ttft, Unit.SECONDS), states.get(ObjectiveKind.TTFT)),
        ),
        ((f"{labels[2]} ", "muted"), (format_value(cache, Unit.PERCENT), "")),
    )
