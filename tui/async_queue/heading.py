"""The lines above the tasks: the state of the queue, what becomes of it, and why nothing drains."""

from __future__ import annotations

from collections.abc import Sequence

from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.rates import (
    QueueRates,
    allowed_at_once,
    depth_series,
    failed_in_hour,
    outlook_text,
    rate_texts,
    seconds_until_empty,
)
from servedeck.async_queue.tasks import QueueStatus
from servedeck.metrics.sparkline import sparkline
from servedeck.serving.duration import format_duration
from servedeck.serving.moment import MAX_SECONDS, date_of
from servedeck.serving.text import one_line
from widgets.styled_line import Line, Span, fit_line, line_width, wrap

STRIP_LABEL = "depth 1h "
MAX_STRIP_CELLS = 60
"""One for each minute."""
MIN_STRIP_CELLS = 12
"""Cells below which the depth over time is left out."""
POD_WIDTH = 100
"""Cells from which the heading says how many tasks each Pod processes."""
MAX_PODS = 6
"""Pods that are named."""
_GAP = "   "
_STRIP_WIDTH = len(_GAP) + len(STRIP_LABEL) + MAX_STRIP_CELLS


def heading_lines(
    live: LiveQueue, serving: str, width: int, max_lines: int, *, is_utf8: bool
) -> list[Line]:
    """At most `max_lines` lines; what is wrong comes before the figures that do not fit. `serving`
    is its name, which the names of its Pods begin with."""
    now = shown_time(live)
    problems = problem_texts(live, now)
    status = live.status
    if status is None and not live.tasks:
        return []  # the problem is shown in place of the tasks
    problem_lines = [
        line
        for text in problems
        for line in wrap(((" ", ""), (text, "warning")), width, indent=1)[: 1 + (max_lines > 3)]
    ][: max(max_lines - 1, 1)]
    if status is None:
        return problem_lines
    room = max(max_lines - len(problem_lines), 0 if problem_lines and max_lines < 2 else 1)
    room = min(room, 3 if width < POD_WIDTH else 2)
    figures = _figures(status, live.rates(), serving, now, has_pods=width >= POD_WIDTH)
    return [*_figure_lines(figures, status, now, width, room, is_utf8=is_utf8), *problem_lines]


def shown_time(live: LiveQueue) -> float:
    """The time that what is shown refers to, by the clock of the store."""
    return live.now() if live.lost_at is None else live.lost_at


def problem_texts(live: LiveQueue, now: float) -> list[str]:
    """What is wrong, in sentences."""
    if live.phase is LivePhase.OFF:
        return []  # tasks that are there by now are of a queue that was just turned on
    found = _news_problems(live)
    if found and live.lost_at is not None:
        found[0] = f"as of {clock_text(live.lost_at)}; {found[0]}"
    elif found:
        found[0] = found[0][0].upper() + found[0][1:]
    status = live.status
    if status is not None and status.closed:
        found.append("The queue is closed: no task is accepted.")
    if status is not None and status.blocked_by:
        since = _since_text(status.blocked_since, now)
        found.append(f"Nothing drains{since}: {one_line(status.blocked_by)}")
    elif status is not None and status.paused:
        found.append("The queue is paused.")
    return found


def _news_problems(live: LiveQueue) -> list[str]:
    """Why there are no news, or a page is missing."""
    store_problem, problem = one_line(live.store_problem), one_line(live.problem)
    found: list[str] = []
    if store_problem:
        found.append(f"the gateway cannot ask its store: {store_problem}")
    if problem == store_problem:
        problem = ""  # said already
    if live.phase is not LivePhase.RETRYING:
        return [*found, problem] if problem else found
    if found and not problem:
        return [f"reconnecting: {found[0]}"]
    return [*found, f"reconnecting: {problem}" if problem else "reconnecting"]


def clock_text(seconds: float) -> str:
    """The local time of day, "14:02:11"."""
    is_time = 0.0 <= seconds < MAX_SECONDS
    return f"{date_of(seconds).astimezone():%H:%M:%S}" if is_time else "?"


def _since_text(since: float | None, now: float) -> str:
    if since is None:
        return ""
    return f" since {clock_text(since)} ({format_duration(max(now - since, 0))})"


def _figure_lines(
    figures: Sequence[tuple[Span, ...]],
    status: QueueStatus,
    now: float,
    width: int,
    count: int,
    *,
    is_utf8: bool,
) -> list[Line]:
    """The figures in `count` lines, the most important first, and the strip in what is left."""
    lines: list[list[Span]] = [[(" ", "")]]
    for item in figures:
        room = width - 1 - line_width(tuple(lines[-1]))
        needed = line_width(item)
        if len(lines[-1]) > 1 and needed + len(_GAP) > room:
            if len(lines) == count:
                break
            lines.append([(" ", "")])
        elif len(lines[-1]) > 1:
            lines[-1].append((_GAP, ""))
        lines[-1] += item
    room = width - 2 - line_width(tuple(lines[-1]))
    if room < _STRIP_WIDTH and len(lines) < count:
        lines.append([(" ", "")])
        room = width - 3 + len(_GAP)
    strip = _strip(status, now, room - len(_GAP), is_utf8=is_utf8)
    if strip and len(lines[-1]) > 1:
        lines[-1].append((_GAP, ""))
    lines[-1] += strip
    return [fit_line(tuple(line), width) for line in lines[:count]]


def _figures(
    status: QueueStatus, rates: QueueRates, serving: str, now: float, *, has_pods: bool
) -> Sequence[tuple[Span, ...]]:
    counts = status.counts
    arrival, drain = rate_texts(*rates)
    allowed, failed = allowed_at_once(status), failed_in_hour(status, now)
    outlook_style = "warning" if seconds_until_empty(status, rates) is None else ""
    figures: list[tuple[Span, ...]] = [
        (("Queue Depth ", "muted"), (f"{counts.pending:,}", "strong")),
        (
            ("Processing ", "muted"),
            (f"{counts.processing:,}", "strong"),
            (f" of {allowed:,}", "muted"),
        ),
    ]
    if status.oldest is not None and counts.pending:
        age = format_duration(max(now - status.oldest, 0))
        figures.append((("oldest ", "muted"), (age, "")))
    figures += [
        ((outlook_text(status, rates), outlook_style),),
        (
            ("arrival ", "muted"),
            (arrival, ""),
            ("  drain ", "muted"),
            (drain, ""),
        ),
        ((f"{failed:,}", "error" if failed else ""), (" failed in 1h", "muted")),
    ]
    if counts.delayed:
        verb = "waits" if counts.delayed == 1 else "wait"
        figures.append(((f"{counts.delayed:,}", ""), (f" {verb} for another attempt", "muted")))
    if has_pods and (pods := _pods_text(status, serving)):
        figures.append((("by Pod ", "muted"), (pods, "")))
    return figures


def _pods_text(status: QueueStatus, serving: str) -> str:
    """ "…x2x1q 4, …b8k2m 3": the busiest first, without the name of the serving."""
    busiest = sorted(
        ((pod, count) for pod, count in status.running.items() if count > 0),
        key=lambda one: (-one[1], one[0]),
    )
    texts = []
    for pod, count in busiest[:MAX_PODS]:
        rest = one_line(pod).removeprefix(f"{serving}-")
        texts.append(f"{rest if rest == pod else '…' + rest} {count:,}")
    if len(busiest) > MAX_PODS:
        texts.append(f"{len(busiest) - MAX_PODS} more")
    return ", ".join(texts)


def _strip(status: QueueStatus, now: float, room: int, *, is_utf8: bool) -> list[Span]:
    """The depth over the last hour at the end of a line."""
    cells = min(room - len(STRIP_LABEL), MAX_STRIP_CELLS)
    if cells < MIN_STRIP_CELLS:
        return []
    bars = sparkline(depth_series(status, now), cells, is_utf8=is_utf8)
    return [(STRIP_LABEL, "muted"), (bars, "accent")]
