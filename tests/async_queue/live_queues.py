"""A LiveQueue on a FakeQueue, and what it is to show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.task_filter import parse_task_filter
from servedeck.async_queue.tasks import Task
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.waiting import wait_until


def is_settled(live: LiveQueue) -> bool:
    """Whether nothing is asked any longer."""
    window = live._window
    return (
        live.phase is LivePhase.LIVE
        and not live.is_loading
        and not window.has_unread
        and not live._is_behind
        and not live._lock.locked()
    )


@asynccontextmanager
async def opened(
    queue: FakeQueue, api: FakeQueueApi | None = None, **options: Any
) -> AsyncIterator[LiveQueue]:
    live = LiveQueue(api or FakeQueueApi(queue), lambda: None, read_interval=0.0, **options)
    live.start()
    try:
        yield live
    finally:
        await live.close()


async def settle(live: LiveQueue, queue: FakeQueue) -> None:
    await wait_until(
        lambda: is_settled(live) and int(live._cursor) == len(queue.events),
        describe_state=lambda: (live.phase, live.problem, live._cursor, len(queue.events)),
    )


def matching(live: LiveQueue, queue: FakeQueue) -> dict[str, Task]:
    """The tasks of the store that match the query, by their ids."""
    query = live.query
    task_filter = parse_task_filter(query.text, queue.time)
    return {
        id: task
        for id, task in queue.tasks.items()
        if query.state in (None, task.state) and task_filter.matches(task)
    }


def expected(live: LiveQueue, queue: FakeQueue) -> list[Task]:
    """What the store has of the range that is loaded."""
    low, high = live._window.low, live._window.high
    if low is None:
        return []
    found = matching(live, queue)
    ids = sorted(id for id in found if low <= id and (high is None or id <= high))
    return [found[id] for id in (ids if live.oldest_first else reversed(ids))]
