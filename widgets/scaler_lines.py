"""What an autoscaler does now and why, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from servedeck.detail.scaler_watch import ScalerEvent
from servedeck.serving.duration import format_signed_duration
from servedeck.serving.scaling.scaler_state import ScalerMetric, ScalerState
from servedeck.serving.scaling.scaling_metrics import metric_label
from servedeck.serving.text import cell_width
from widgets.styled_line import Line, Span, fit_line, fit_text, line_width, wrap

_BAR_CELLS = 10
_BAR_WIDTH = 64
"""Cells of a line from which on a metric has a bar."""
_COLUMN_WIDTH = 45
"""Cells of a line from which on the values of several metrics are below each other."""
_MAX_REASON_LINES = 3
"""Lines of a reason; the rest is in the conditions."""


def scaler_lines(
    state: ScalerState, width: int, now: datetime, *, is_utf8: bool = True
) -> list[Line]:
    """The autoscaler in `width` cells: what it does, each metric against its target, why it cannot
    scale or does not, and whose it is. At most three lines for each reason."""
    head: Line = (("!" if state.is_stuck else " ", "warning"), (" ", ""), _sentence(state, now))
    lines = wrap(head, width, 2)
    lines += _metric_lines(state.metrics, width, is_utf8)
    for text in state.problems:
        lines += _reason_lines(text, "error", width)
    for text in state.reasons:
        lines += _reason_lines(text, "warning" if state.is_fallback else "muted", width)
    lines += wrap((("  ", ""), (_owner(state), "muted")), width, 2)
    return lines


def scaler_event_lines(
    events: Iterable[ScalerEvent], width: int, now: datetime, limit: int = 5
) -> list[Line]:
    """The newest Events of autoscalers, each on one line: age, reason and message."""
    lines: list[Line] = []
    for event in list(events)[:limit]:
        age = format_signed_duration((now - event.time).total_seconds()) if event.time else "–"
        is_warning = event.type == "Warning"
        line: Line = (
            ("! " if is_warning else "  ", "warning"),
            (f"{age:>6}  ", "muted"),
            (f"{event.reason}  ", "warning" if is_warning else "strong"),
            (event.message, ""),
        )
        lines.append(fit_line(line, width) if line_width(line) > width else line)
    return lines


def _sentence(state: ScalerState, now: datetime) -> Span:
    """What it does, without the metrics, which have lines of their own."""
    text = state.replicas_text
    if (scaled := state.scaled_text(now)) and not state.is_paused:
        text += f"; {scaled}"
    return (text, "strong")


def _metric_lines(metrics: Sequence[ScalerMetric], width: int, is_utf8: bool) -> list[Line]:
    """ "response time  6200 ms against 5000 ms  ████████████ 124 %", in columns where they fit."""
    labels = [metric_label(one.name) for one in metrics]
    texts = [one.values_text for one in metrics]
    if width < _COLUMN_WIDTH:
        lines: list[Line] = []
        for metric, label, text in zip(metrics, labels, texts, strict=True):
            lines += wrap((("  ", ""), (f"{label} ", "muted"), (text, _style(metric))), width, 4)
        return lines
    label_width = min(max(map(cell_width, labels), default=0), width // 3)
    text_width = max(map(cell_width, texts), default=0)
    found: list[Line] = []
    for metric, label, text in zip(metrics, labels, texts, strict=True):
        spans: Line = (
            (f"  {fit_text(label, label_width)}  ", "muted"),
            (text, _style(metric)),
        )
        if width >= _BAR_WIDTH and metric.share is not None:
            filler = " " * (text_width - cell_width(text) + 2)
            spans = (*spans, (filler, ""), *_bar(metric, is_utf8))
        if metric.failures:
            spans = (*spans, (f"  unreadable ×{metric.failures}", "error"))
        found.append(fit_line(spans, width) if line_width(spans) > width else spans)
    return found


def _style(metric: ScalerMetric) -> str:
    return "warning" if metric.share is not None and metric.share > 1 else ""


def _bar(metric: ScalerMetric, is_utf8: bool) -> Line:
    """The share of the target: ten cells are all of it, and there are at most twenty."""
    share = metric.share or 0.0
    full, empty = ("█", "░") if is_utf8 else ("#", ".")
    cells = min(max(round(share * _BAR_CELLS), 0), 2 * _BAR_CELLS)
    bar = full * cells + empty * max(_BAR_CELLS - cells, 0)
    percent = f" {min(share, 99.99) * 100:.0f} %"
    return ((bar, "warning" if share > 1 else "accent"), (percent, "muted"))


def _reason_lines(text: str, style_name: str, width: int) -> list[Line]:
    lines = wrap((("  ", ""), (text, style_name)), width, 4)
    if len(lines) > _MAX_REASON_LINES:
        lines = lines[:_MAX_REASON_LINES]
        lines[-1] = fit_line((*lines[-1], ("…", style_name)), width)
    return lines


def _owner(state: ScalerState) -> str:
    text = f"{state.kind} {state.name}"
    return f"{text}, HPA {state.hpa_name}" if state.hpa_name not in ("", state.name) else text
