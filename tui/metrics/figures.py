"""The cards of the tab Metrics: totals of the period, and what is true at the moment."""

from __future__ import annotations

from collections.abc import Sequence

from servedeck.metrics.graphs import QUANTILES
from servedeck.metrics.serving_metrics import Figures
from widgets.chart_data import ChartUnit, finite, format_value
from widgets.styled_line import Line, Span, line_width

CARD_LINES = 3
"""Lines of the cards."""
LARGEST_COUNT = 1e12
"""From which on a count is shortened as the values of graphs are."""
_GAP = 3


def figure_lines(figures: Figures | None, period: str, width: int) -> tuple[Line, ...]:
    """The cards side by side, each with a title over its values; what has no room is left out, the
    last card first."""
    cards = _cards(figures, period)
    shown: list[Sequence[Line]] = []
    used = 0
    for card in cards:
        needed = max(line_width(one) for one in card) + (_GAP if shown else 1)
        if used + needed > width and shown:
            break
        shown.append(card)
        used += needed
    return tuple(_beside([card[row] for card in shown], shown) for row in range(CARD_LINES))


def _beside(parts: Sequence[Line], cards: Sequence[Sequence[Line]]) -> Line:
    """One row of all cards, each as wide as its widest line."""
    found: list[Span] = [(" ", "")]
    for number, (part, card) in enumerate(zip(parts, cards, strict=True)):
        width = max(line_width(one) for one in card)
        found += part
        if number < len(parts) - 1:
            found.append((" " * (width - line_width(part) + _GAP), ""))
    return tuple(found)


def _cards(figures: Figures | None, period: str) -> list[Sequence[Line]]:
    return [
        _requests(figures, period),
        _latency(figures),
        _now(figures),
        _pressure(figures),
    ]


def _requests(figures: Figures | None, period: str) -> Sequence[Line]:
    total = finite(figures.total_requests) if figures is not None else None
    rate = figures.request_rate if figures is not None else None
    is_short = total is not None and abs(total) < LARGEST_COUNT
    count = f"{total:,.0f}" if is_short else format_value(total, ChartUnit.COUNT)
    return (
        (("Total Requests", "title"),),
        ((count, "strong"), (f" in {period}", "muted")),
        ((format_value(rate, ChartUnit.PER_SECOND), ""), (" req/s now", "muted")),
    )


def _latency(figures: Figures | None) -> Sequence[Line]:
    values = figures.quantiles if figures is not None else (None,) * len(QUANTILES)
    texts = [format_value(one, ChartUnit.SECONDS) for one in values]
    widths = [
        max(len(label), len(text)) + 2 for (label, _), text in zip(QUANTILES, texts, strict=True)
    ]
    heads = "".join(
        f"{label:<{width}}" for (label, _), width in zip(QUANTILES, widths, strict=True)
    )
    shown = "".join(f"{text:<{width}}" for text, width in zip(texts, widths, strict=True))
    return (
        (("Latency", "title"), (" (P50 / P95 / P99)", "muted")),
        ((heads, "muted"),),
        ((shown, "strong"),),
    )


def _now(figures: Figures | None) -> Sequence[Line]:
    running = figures.running if figures is not None else None
    waiting = figures.waiting if figures is not None else None
    return (
        (("Requests now", "title"),),
        (("running ", "muted"), (format_value(running, ChartUnit.COUNT), "")),
        (
            ("waiting ", "muted"),
            (format_value(waiting, ChartUnit.COUNT), "warning" if waiting else ""),
        ),
    )


def _pressure(figures: Figures | None) -> Sequence[Line]:
    errors = figures.error_share if figures is not None else None
    ttft = figures.ttft if figures is not None else None
    cache = figures.kv_cache if figures is not None else None
    return (
        (
            ("Errors 5xx ", "title"),
            (format_value(errors, ChartUnit.PERCENT), "error" if errors else ""),
        ),
        (("P95 to first token ", "muted"), (format_value(ttft, ChartUnit.SECONDS), "")),
        (("KV cache ", "muted"), (format_value(cache, ChartUnit.PERCENT), "")),
    )
