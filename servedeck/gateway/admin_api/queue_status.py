"""The state of the queue, and why nothing drains."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from servedeck import __version__
from servedeck.async_queue.tasks import QueueStatus, StateCounts, WorkerStatus
from servedeck.gateway.settings import GatewaySettings
from servedeck.gateway.stores.store import Control, TaskStore


class Blocked(NamedTuple):
    """Why no pending task is taken, or all fail."""

    by: str = ""
    """One sentence; "" if one may be taken, or none is pending."""
    since: float | None = None
    """None if that is not known."""


async def read_queue_status(store: TaskStore, settings: GatewaySettings) -> QueueStatus:
    """Raises StoreError."""
    now = await store.time()
    counts, oldest, control, running, minutes, workers = await asyncio.gather(
        store.counts(),
        store.oldest_pending(),
        store.control(),
        store.running(),
        store.minutes(),
        store.workers(),
    )
    pod_concurrency = _override(control.pod_concurrency, settings.pod_concurrency)
    blocked = why_blocked(counts, control, workers, pod_concurrency)
    return QueueStatus(
        serving=settings.serving,
        version=__version__,
        time=now,
        counts=counts,
        backlog=counts.backlog,
        oldest=oldest,
        oldest_seconds=None if oldest is None else max(now - oldest, 0.0),
        paused=control.paused,
        closed=bool(control.closed_by),
        control_version=control.version,
        concurrency=_override(control.concurrency, settings.concurrency),
        pod_concurrency=pod_concurrency,
        max_depth=settings.max_depth,
        running=running,
        minutes=minutes,
        workers=workers,
        blocked_by=blocked.by,
        blocked_since=blocked.since,
    )


def _override(set_value: int | None, default: int) -> int:
    return default if set_value is None else set_value


def why_blocked(
    counts: StateCounts, control: Control, workers: Sequence[WorkerStatus], pod_concurrency: int
) -> Blocked:
    if not counts.pending:
        return Blocked()
    if control.paused:
        since = _latest(one.blocked_since for one in workers)
        return Blocked("The queue is paused; resume it to go on.", since)
    if pod_concurrency == 0:
        return Blocked("The concurrency of each Pod is set to 0; raise it.")
    if not workers:
        return Blocked("No worker has reported lately; check the Pods of the gateway that deliver.")
    # Nothing drains from the moment on at which the last of them no longer could.
    if all(one.blocked_by for one in workers):
        return Blocked(workers[0].blocked_by, _latest(one.blocked_since for one in workers))
    if not any(one.ready_pods for one in workers):
        return Blocked("No Pod of the inference server is Ready.")
    failures = [one.failure for one in workers if not one.blocked_by]
    if all(failures):
        since = _latest(one.blocked_since or one.failing_since for one in workers)
        return Blocked(f"All attempts fail at present. {failures[0]}", since)
    if counts.delayed == counts.pending and not counts.processing:
        return Blocked("All pending tasks wait for their next attempt.")
    return Blocked()


def _latest(times: Iterable[float | None]) -> float | None:
    return max((one for one in times if one is not None), default=None)
