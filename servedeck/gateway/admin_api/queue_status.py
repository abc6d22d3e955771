"""The state of the queue, and why nothing drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from servedeck import __version__
from servedeck.async_queue.tasks import QueueStatus, StateCounts, WorkerStatus
from servedeck.gateway.settings import GatewaySettings
from servedeck.gateway.stores.store import Control, TaskStore


async def read_queue_status(store: TaskStore, settings: GatewaySettings) -> QueueStatus:
    """Raises StoreError."""
    counts, oldest, control, running, minutes, workers = await asyncio.gather(
        store.counts(),
        store.oldest_pending(),
        store.control(),
        store.running(),
        store.minutes(),
        store.workers(),
    )
    pod_concurrency = _override(control.pod_concurrency, settings.pod_concurrency)
    return QueueStatus(
        serving=settings.serving,
        version=__version__,
        counts=counts,
        backlog=counts.backlog,
        oldest_seconds=None if oldest is None else max(time.time() - oldest, 0.0),
        paused=control.paused,
        closed=bool(control.closed_by),
        control_version=control.version,
        concurrency=_override(control.concurrency, settings.concurrency),
        pod_concurrency=pod_concurrency,
        max_depth=settings.max_depth,
        running=running,
        minutes=minutes,
        workers=workers,
        blocked_by=why_blocked(counts, control, workers, pod_concurrency),
    )


def _override(set_value: int | None, default: int) -> int:
    return default if set_value is None else set_value


def why_blocked(
    counts: StateCounts, control: Control, workers: Sequence[WorkerStatus], pod_concurrency: int
) -> str:
    """Why no pending task is taken, one sentence; "" if one may be, or none is pending."""
    if not counts.pending:
        return ""
    if control.paused:
        return "The queue is paused; resume it to go on."
    if pod_concurrency == 0:
        return "The concurrency of each Pod is set to 0; raise it."
    if not workers:
        return "No worker has reported lately; check the Pods of the gateway that deliver."
    blocked = [one.blocked_by for one in workers]
    if all(blocked):
        return blocked[0]
    if not any(one.ready_pods for one in workers):
        return "No Pod of the inference server is Ready."
    if counts.delayed == counts.pending:
        return "All pending tasks wait for their next attempt."
    return ""
