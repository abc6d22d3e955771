"""Pages of tasks, and the search in them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from servedeck.async_queue.tasks import Task, TaskPage, TaskState
from servedeck.gateway.admin_api.chosen import TASKS_AT_ONCE, range_of, read_filter
from servedeck.gateway.admin_api.masking import mask_task
from servedeck.gateway.identity import ID_PATTERN
from servedeck.gateway.stores.store import TaskStore

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
SCAN_LIMIT = 5000
"""Tasks that one request looks through; what is beyond is left to the next page."""
_SCAN_PAGE = 500
_SCAN_SECONDS = 1.0


class PageQuery(NamedTuple):
    """Which page is asked for."""

    state: TaskState | None
    text: str
    """A filter (servedeck.async_queue.task_filter)."""
    after: str
    limit: int
    oldest_first: bool


async def read_page(store: TaskStore, query: PageQuery) -> TaskPage:
    """A page of a search may have fewer tasks than the limit, even none, and still a next one: then
    so many were looked through. Raises StoreError, and HttpError for a text that is no filter."""
    feed, now = await asyncio.gather(store.feed_end(), store.time())
    text = query.text.strip()
    if ID_PATTERN.match(text.casefold()):
        tasks = await store.find_many([text.casefold()])
        is_shown = not query.after and all(query.state in (None, one.state) for one in tasks)
        return await _make_page(tasks if is_shown else (), "", feed, now)
    if text:
        return await _search(store, query, feed, now)
    state, after, limit, oldest_first = query.state, query.after, query.limit, query.oldest_first
    tasks = await store.page(state, after, limit, oldest_first=oldest_first)
    return await _make_page(tasks, tasks[-1].id if len(tasks) == limit else "", feed, now)


async def read_tasks(store: TaskStore, ids: Sequence[str]) -> TaskPage:
    """Those of these tasks that are stored. Raises StoreError."""
    feed, now = await asyncio.gather(store.feed_end(), store.time())
    return await _make_page(await store.find_many(list(dict.fromkeys(ids))), "", feed, now)


async def _search(store: TaskStore, query: PageQuery, feed: str, now: float) -> TaskPage:
    wanted = read_filter(query.text, now)
    ids, oldest_first = range_of(wanted, now), query.oldest_first
    after = ids.start(query.after, oldest_first=oldest_first)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SCAN_SECONDS
    items: list[Task] = []
    scanned = 0
    while scanned < SCAN_LIMIT:
        tasks = await store.page(query.state, after, _SCAN_PAGE, oldest_first=oldest_first)
        scanned += len(tasks)
        # Masked before they are looked at: nothing that is hidden can be found out by a search.
        for number, task in enumerate(map(mask_task, tasks)):
            if wanted.matches(task):
                items.append(task)
                if len(items) == query.limit:
                    return TaskPage(items=items, next=task.id, feed=feed, time=now)
            if number % TASKS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if len(tasks) < _SCAN_PAGE or ids.is_left(tasks[-1].id, oldest_first=oldest_first):
            return TaskPage(items=items, next="", feed=feed, time=now)
        after = tasks[-1].id
        if loop.time() >= deadline:
            break
    return TaskPage(items=items, next=after, feed=feed, time=now)


async def _make_page(tasks: Sequence[Task], next: str, feed: str, now: float) -> TaskPage:
    items: list[Task] = []
    for start in range(0, len(tasks), TASKS_AT_ONCE):
        items += map(mask_task, tasks[start : start + TASKS_AT_ONCE])
        await asyncio.sleep(0)
    return TaskPage(items=items, next=next, feed=feed, time=now)
