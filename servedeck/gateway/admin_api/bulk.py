"""Actions on many tasks, in batches, until their time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from servedeck.async_queue.tasks import Changed, Task, TaskState
from servedeck.gateway.stores.store import Change, TaskStore

BATCH = 200
"""Tasks that are changed at once; the store commits them together."""
SECONDS = 2.0
"""After which the rest is left to the next request, so that none is cut by a proxy's timeout."""

Action = Callable[[Task], Awaitable[Change]]


async def change_tasks(
    store: TaskStore,
    state: TaskState | None,
    action: Action,
    *,
    after: str = "",
    limit: int,
    is_chosen: Callable[[Task], bool] = lambda _task: True,
    after_batch: Callable[[], Awaitable[None]] | None = None,
) -> Changed:
    """Do it to the chosen tasks of a state (None: of all), the newest first, at most `limit`. Tasks
    that come to be in the state meanwhile are newer than the cursor, so a walk ends. `after_batch`
    is called after each page of tasks. Raises StoreError, and what it raises: what was done until
    then is done."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SECONDS
    changed = refused = 0
    message = ""
    while True:
        page = await store.page(state, after, BATCH)
        chosen = [one for one in page if is_chosen(one)]
        is_cut = len(chosen) > limit - changed - refused
        if is_cut:
            chosen = chosen[: limit - changed - refused]
        for task, change in zip(chosen, await _gather(action, chosen), strict=True):
            if change.changed:
                changed += 1
            # A task that another request, or its end, has changed meanwhile is not refused.
            elif change.state == task.state:
                refused += 1
                message = message or change.refusal
        if after_batch is not None:
            await after_batch()
        if is_cut:
            after = chosen[-1].id if chosen else after
            break
        if len(page) < BATCH:
            after = ""
            break
        after = page[-1].id
        if changed + refused >= limit or loop.time() >= deadline:
            break
    return Changed(changed=changed, refused=refused, message=message, next=after)


async def _gather(action: Action, tasks: list[Task]) -> list[Change]:
    # All are awaited even if one fails: none is left behind that changes tasks after the answer.
    results = await asyncio.gather(*map(action, tasks), return_exceptions=True)
    changes = []
    for one in results:
        if isinstance(one, BaseException):
            raise one
        changes.append(one)
    return changes
