"""The lines above a log: what it is of, whether new lines arrive, and what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from servedeck.fleet.views import PodView
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.text import format_count
from tui.logs.choice import ALL_CONTAINERS, LogChoice, waiting_reason
from tui.logs.feed import LogFeed
from widgets.status_paragraphs import HEALTH_STYLES
from widgets.styled_line import Line, Span, line_width, wrap

MIN_NAME_WIDTH = 12
"""Minimum width of a name in cells."""

_FAILING = (PodHealth.ERROR, PodHealth.PENDING)


class LogView(Protocol):
    """What is asked of the widget with the lines."""

    @property
    def following(self) -> bool: ...

    @property
    def new_count(self) -> int: ...

    @property
    def lines_below(self) -> int: ...


def title_line(
    choice: LogChoice, chosen: Sequence[PodView], pod_count: int, container: str, width: int
) -> Line:
    """The Pods and the container. A long name loses its beginning, as its end distinguishes
    Pods."""
    rest: list[Span] = []
    names = [pod.name for pod in chosen] if choice.pods is None else list(choice.pods)
    if len(names) == 1:
        name = names[0]
        pod = chosen[0] if chosen else None
        if pod is None:
            rest.append(("  Pod deleted", "pending"))
        else:
            rest += [("  ", ""), (pod.status, HEALTH_STYLES[pod.health])]
            if pod.restarts:
                rest.append((f"  {format_count(pod.restarts, 'restart')}", "warning"))
            if pod_count > 1:
                rest.append((f"  1 of {pod_count:,} Pods", "muted"))
    else:
        name = format_count(len(chosen), "Pod")
        if choice.pods is not None:
            rest.append((f" of {pod_count:,}", "muted"))
        failing = sum(pod.health in _FAILING for pod in chosen)
        if failing:
            rest.append((f"  {failing:,} failing", "error"))
    shown = "all containers" if container == ALL_CONTAINERS else container
    rest.append((f"  {shown}", "accent"))
    if choice.previous:
        rest.append(("  + previous", "pending"))
    if choice.log_since.seconds is not None:
        rest.append((f"  since {choice.since}", "muted"))
    elif choice.log_since.tail is None:
        rest.append(("  from the start", "muted"))
    room = max(width - 1 - line_width(tuple(rest)), MIN_NAME_WIDTH)
    if len(name) > room:
        name = f"…{name[1 - room :]}"
    return ((" ", ""), (name, "strong"), *rest)


def state_line(feed: LogFeed, view: LogView, stream: Span, found: Sequence[Span]) -> Line:
    """Whether new lines arrive and are visible, what was found, and the number of lines."""
    buffer, streams = feed.buffer, feed.state
    position: Span = ("", "")
    if not view.following:
        new, below = view.new_count, view.lines_below
        more = f", {below:,} below" if below > new else ""
        position = (f"paused, {new:,} new{more}", "pending")
    parts = [part for part in (stream, position, *found, (buffer.error, "warning")) if part[0]]
    if streams is not None and streams.queued:
        parts.append((f"{streams.open:,} of {streams.wanted:,} streams", "muted"))
    total = format_count(buffer.end - buffer.first, "line")
    if buffer.first:
        total += f", {buffer.first:,} older dropped"
    parts.append((total, "muted"))
    spans: list[Span] = []
    for text, style_name in parts:
        spans += [("  " if spans else " ", ""), (text, style_name)]
    return tuple(spans)


def stream_span(
    feed: LogFeed, chosen: Sequence[PodView], container: str, *, error: str, following: bool
) -> Span:
    """Whether new lines arrive, and if not, why."""
    state = feed.state
    if error or state is None:
        return error or "connecting", "error" if error else "pending"
    if state.refusals:
        return state.refusals[0], "error"
    has_lines = feed.buffer.end > 0
    if not has_lines and (reason := waiting_reason(chosen, container)):
        return reason, "pending"
    if state.reconnecting:
        (label, reason), *others = state.reconnecting.items()
        if others:
            return f"reconnecting {len(others) + 1:,} of {state.wanted:,} streams", "pending"
        return f"reconnecting: {reason or label}", "pending"
    if state.finished:
        return "ended", "muted"
    if not state.open and state.waiting:
        (label, reason), *others = state.waiting.items()
        text = f"waiting for {label} to start" if not others else "waiting for containers to start"
        return f"{text}: {reason}" if reason and not others else text, "pending"
    if not state.open:
        return "connecting", "pending"
    return ("✓ following", "ready") if following else ("", "")


def cause_lines(cause: str, advice: str, width: int) -> tuple[Line, ...]:
    """A known cause that was found in the log, and what to change."""
    lines: list[Line] = []
    if cause:
        lines += wrap(((" ✗ ", "error"), (cause, "error")), width, indent=3)
    if advice:
        lines += wrap((("   ", ""), (advice, "")), width, indent=3)
    return tuple(lines)
