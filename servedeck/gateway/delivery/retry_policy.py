"""What becomes of a task after an attempt. Nothing here waits, or asks anyone."""

from __future__ import annotations

import math
import random
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from servedeck.async_queue.tasks import FailureReason, TaskState

FIRST_ERROR_STATUS = 400
LAST_STATUS = 599
"""RFC 9110, section 15: a caller could not be given another one, nor 101 for another protocol."""
_FIRST_SERVER_ERROR = 500
_TEMPORARY_STATUSES = frozenset({408, 425, 429})
_RETRY_AFTER_SPREAD = 0.1
"""Part of a Retry-After that is added at random, so that not all come back at the same moment."""


class Result(NamedTuple):
    """What one attempt came to."""

    status: int | None = None
    """Of the inference server; None without an answer."""
    problem: str = ""
    """Why there is no whole response, one sentence; "" if there is one."""
    retry_after: float | None = None
    """Seconds that the inference server asked for."""
    reason: FailureReason | None = None
    """Why the task cannot be tried again, whatever is left."""
    is_counted: bool = True
    """False if the inference server was not asked, for a reason of the gateway's own."""


class Budget(NamedTuple):
    """What is left to a task."""

    failures: int
    """Attempts that failed before this one."""
    attempts_left: int
    """After this one."""
    seconds_left: float
    """Until its deadline."""


class Again(NamedTuple):
    delay: float
    message: str
    is_counted: bool = True


class Ended(NamedTuple):
    state: TaskState
    reason: str = ""
    message: str = ""


def decide(
    result: Result, budget: Budget, *, backoff: float, max_backoff: float, rng: random.Random
) -> Again | Ended:
    """What to do after `result`. A task whose next attempt would come after its deadline ends as
    expired now: nobody is to wait for what cannot happen."""
    message = result.problem or describe_status(result.status)
    if result.reason is not None:
        return Ended(TaskState.FAILED, result.reason, message)
    if not result.problem and result.status is not None:
        if result.status < FIRST_ERROR_STATUS:
            return Ended(TaskState.COMPLETED)
        if not is_temporary(result.status):
            return Ended(TaskState.FAILED, FailureReason.REFUSED, message)
    if result.is_counted and budget.attempts_left <= 0:
        return Ended(TaskState.FAILED, FailureReason.EXHAUSTED, message)
    delay = backoff_delay(budget.failures, backoff, max_backoff, rng)
    if result.retry_after is not None:
        # A server that says 0 would use up all attempts while it is overloaded.
        asked = min(result.retry_after, max_backoff)
        delay = max(delay, asked * (1 + _RETRY_AFTER_SPREAD * rng.random()))
    if delay >= budget.seconds_left:
        return Ended(
            TaskState.FAILED,
            FailureReason.EXPIRED,
            f"{message} Its deadline comes before the next attempt.",
        )
    return Again(delay, message, result.is_counted)


def is_temporary(status: int) -> bool:
    """Whether the same request may be answered otherwise later."""
    return status in _TEMPORARY_STATUSES or status >= _FIRST_SERVER_ERROR


def describe_status(status: int | None) -> str:
    if status is None:
        return "The inference server did not answer."
    return f"The inference server answered with the status {status}."


def backoff_delay(failures: int, backoff: float, max_backoff: float, rng: random.Random) -> float:
    """Seconds before the next attempt: `backoff`, doubled with each failure up to `max_backoff`, of
    which up to half is left out at random, so that not all come back at the same moment. Never less
    than half, so that no series of attempts is over within an instant."""
    bound = min(max_backoff, backoff * 2.0 ** min(failures, 64))
    return rng.uniform(bound / 2, bound)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds of the header Retry-After, a number or an HTTP date; None if it is neither. `now` is
    in seconds since the epoch."""
    if value is None:
        return None
    value = value.strip()
    try:
        seconds = float(value) if value.isascii() else math.nan
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
            seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
