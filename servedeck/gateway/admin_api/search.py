"""Pages of tasks, and the search in them."""

from __future__ import annotations

import asyncio

from servedeck.async_queue.tasks import Task, TaskPage, TaskState
from servedeck.gateway.admin_api.masking import mask_task
from servedeck.gateway.identity import ID_PATTERN
from servedeck.gateway.stores.store import TaskStore

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
SCAN_LIMIT = 5000
"""Tasks that one request looks through; what is beyond is left to the next page."""
_SCAN_PAGE = 500
_SCAN_SECONDS = 1.0


async def read_page(
    store: TaskStore, state: TaskState | None, text: str, after: str, limit: int
) -> TaskPage:
    """Tasks with `text` in id, path, model or message. A page of a search may have fewer tasks than
    the limit, even none, and still a next one: then so many were looked through. Raises
    StoreError."""
    feed = await store.feed_end()
    text = text.strip().casefold()
    if ID_PATTERN.match(text):
        found = await store.find(text)
        is_shown = found is not None and state in (None, found.task.state) and not after
        items = [mask_task(found.task)] if found is not None and is_shown else []
        return TaskPage(items=items, feed=feed)
    if not text:
        tasks = await store.page(state, after, limit)
        next_page = tasks[-1].id if len(tasks) == limit else ""
        return TaskPage(items=[mask_task(one) for one in tasks], next=next_page, feed=feed)
    return await _search(store, state, text, after, limit, feed)


async def _search(
    store: TaskStore, state: TaskState | None, text: str, after: str, limit: int, feed: str
) -> TaskPage:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SCAN_SECONDS
    items: list[Task] = []
    scanned = 0
    while scanned < SCAN_LIMIT:
        tasks = await store.page(state, after, _SCAN_PAGE)
        scanned += len(tasks)
        for task in map(mask_task, tasks):
            if _has_text(task, text):
                items.append(task)
                if len(items) == limit:
                    return TaskPage(items=items, next=task.id, feed=feed)
        if len(tasks) < _SCAN_PAGE:
            return TaskPage(items=items, feed=feed)
        after = tasks[-1].id
        if loop.time() >= deadline:
            break
    return TaskPage(items=items, next=after, feed=feed)


def _has_text(task: Task, text: str) -> bool:
    return any(text in part.casefold() for part in (task.id, task.path, task.model, task.message))
