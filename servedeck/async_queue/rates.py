"""How fast tasks come and end, and what that means for those that wait. Pure: of QueueStatus and
the time by the clock of the store."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from servedeck.async_queue.tasks import QueueMinute, QueueStatus
from servedeck.serving.duration import format_duration

HOUR_MINUTES = 60
_SECONDS = 60.0
METER_SECONDS = 30.0
"""What a RateMeter looks back: a burst that is over does not look like one that goes on."""
_METER_MIN_SECONDS = 5.0


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
        sum(map(_ended, recent)) / seconds,
    )


class RateMeter:
    """The rates of the last seconds, by what one QueueStatus has more than the one before."""

    def __init__(self) -> None:
        self._last: QueueStatus | None = None
        self._began = 0.0
        self._more: deque[tuple[float, int, int]] = deque()
        """Times, with the tasks that were submitted and that ended since the status before."""

    def add(self, status: QueueStatus) -> None:
        """Note the state of the queue, which comes about once a second while it changes."""
        time, last = status.time or 0.0, self._last
        if last is None or not 0 <= time - (last.time or 0.0) < METER_SECONDS:
            self._more.clear()
            self._began = time
        else:
            known = {one.time: one for one in last.minutes}
            since = last.minutes[-1].time if last.minutes else 0.0
            submitted = ended = 0
            for one in status.minutes:
                before = known.get(one.time, QueueMinute(time=one.time))
                if one.time >= since:
                    submitted += max(one.submitted - before.submitted, 0)
                    ended += max(_ended(one) - _ended(before), 0)
            self._more.append((time, submitted, ended))
        self._last = status

    def rates(self, now: float) -> QueueRates:
        """Those of the last METER_SECONDS, or of the minutes before there are some."""
        if self._last is None:
            return QueueRates(0.0, 0.0)
        start = max(self._began, now - METER_SECONDS)
        while self._more and self._more[0][0] <= start:
            self._more.popleft()
        if now - self._began < _METER_MIN_SECONDS:
            return queue_rates(self._last, now)
        seconds = now - start
        return QueueRates(
            sum(one[1] for one in self._more) / seconds, sum(one[2] for one in self._more) / seconds
        )


def _ended(minute: QueueMinute) -> int:
    return minute.completed + minute.failed


def seconds_until_empty(status: QueueStatus, rates: QueueRates) -> float | None:
    """When no task waits any longer if it goes on like this; None for never."""
    pending = status.counts.pending
    if not pending:
        return 0.0
    shrinks_by = rates.drain - rates.arrival
    return pending / shrinks_by if shrinks_by > 0 and not status.blocked_by else None


def seconds_until_start(status: QueueStatus, rates: QueueRates, position: int) -> float | None:
    """When a task is expected to start that so many are taken before; None if nothing says so."""
    if status.blocked_by or not rates.drain:
        return None
    return position / rates.drain


def outlook_text(status: QueueStatus, rates: QueueRates) -> str:
    """When the queue is empty: "empty", "empty in about 4m", "grows by 3/s, never empty"."""
    seconds = seconds_until_empty(status, rates)
    if seconds is not None:
        return f"empty in about {format_duration(max(seconds, 1))}" if seconds else "empty"
    arrival, drain = rates
    if arrival > drain:
        return f"grows by {rate_text(arrival - drain)}, never empty"
    if status.blocked_by or not (drain or status.counts.processing):
        return "nothing drains"
    return "does not shrink, never empty" if drain else "none ended lately"


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
