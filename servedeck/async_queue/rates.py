"""How fast tasks come and end, and what that means for those that wait. Pure: of a QueueStatus and
the time by the clock of the store."""

from __future__ import annotations

from typing import NamedTuple

from servedeck.async_queue.tasks import QueueMinute, QueueStatus
from servedeck.serving.duration import format_duration

HOUR_MINUTES = 60
_SECONDS = 60.0


class QueueRates(NamedTuple):
    """Tasks per second."""

    arrival: float
    """That are submitted."""
    drain: float
    """That end, completed or failed. Those that are cancelled are left out: a purge would promise
    that the rest goes as fast."""


def queue_rates(status: QueueStatus, now: float) -> QueueRates:
    """Those of the last minute that is over and the present one, which counts by the part of it
    that has passed."""
    start = _minute_of(now) - _SECONDS
    recent = [one for one in status.minutes if start <= one.time <= now]
    if status.minutes and status.minutes[0].time > start:
        start = status.minutes[0].time  # nothing is known of the time before
    seconds = max(now - start, 1.0)
    return QueueRates(
        sum(one.submitted for one in recent) / seconds,
        sum(one.completed + one.failed for one in recent) / seconds,
    )


def seconds_until_empty(status: QueueStatus, now: float) -> float | None:
    """When no task waits any longer if it goes on like this; None for never."""
    pending = status.counts.pending
    if not pending:
        return 0.0
    rates = queue_rates(status, now)
    shrinks_by = rates.drain - rates.arrival
    return pending / shrinks_by if shrinks_by > 0 and not status.blocked_by else None


def seconds_until_start(status: QueueStatus, position: int, now: float) -> float | None:
    """When a task is expected to start that so many are taken before; None if nothing says so."""
    rates = queue_rates(status, now)
    if status.blocked_by or not rates.drain:
        return None
    return position / rates.drain


def outlook_text(status: QueueStatus, now: float) -> str:
    """When the queue is empty: "empty", "empty in about 4m", "grows by 3/s, never empty"."""
    seconds = seconds_until_empty(status, now)
    if seconds is not None:
        return f"empty in about {format_duration(max(seconds, 1))}" if seconds else "empty"
    arrival, drain = queue_rates(status, now)
    if arrival > drain:
        return f"grows by {rate_text(arrival - drain)}, never empty"
    return "does not shrink, never empty" if drain and not status.blocked_by else "nothing drains"


def rate_text(per_second: float) -> str:
    """ "12/s", "1.5/s", "20/min", "0/s"."""
    return rate_texts(per_second)[0]


def rate_texts(*per_second: float) -> tuple[str, ...]:
    """Several rates in one unit, so that they can be compared."""
    is_fast = not 0 < max(per_second) < 0.995
    return tuple(_in_unit(one if is_fast else one * _SECONDS, is_fast) for one in per_second)


def _in_unit(value: float, is_fast: bool) -> str:
    text = f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return f"{'<0.1' if text == '0' and value else text}/{'s' if is_fast else 'min'}"


def failed_in_hour(status: QueueStatus, now: float) -> int:
    """Tasks that failed in the last hour."""
    return sum(one.failed for one in _last_minutes(status, now))


def depth_series(status: QueueStatus, now: float) -> list[float | None]:
    """Pending tasks in each minute of the last hour, the last one is now; None where that is not
    known."""
    last = _minute_of(now)
    depths: list[float | None] = [None] * HOUR_MINUTES
    for one in _last_minutes(status, now):
        at = HOUR_MINUTES - 1 - round((last - one.time) / _SECONDS)
        if one.depth is not None and 0 <= at < HOUR_MINUTES:
            depths[at] = float(one.depth)
    depths[-1] = float(status.counts.pending)
    return depths


def _last_minutes(status: QueueStatus, now: float) -> list[QueueMinute]:
    start = _minute_of(now) - (HOUR_MINUTES - 1) * _SECONDS
    return [one for one in status.minutes if start <= one.time <= now]


def _minute_of(time: float) -> float:
    """The beginning of its minute."""
    return time - time % _SECONDS


def allowed_at_once(status: QueueStatus) -> int:
    """Tasks that may be processed at once: as many as each Ready Pod may have, and no more than are
    allowed of all Pods."""
    ready = {pod for worker in status.workers for pod in worker.ready_pods}
    allowed = status.pod_concurrency * len(ready)
    return min(allowed, status.concurrency) if status.concurrency else allowed
