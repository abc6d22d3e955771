"""Actions on many tasks, in batches, until their time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from servedeck.async_queue.tasks import FINAL_STATES, Changed, Task, TaskAction, TaskState
from servedeck.gateway.admin_api.chosen import TASKS_AT_ONCE, IdRange
from servedeck.gateway.stores.store import Change, TaskStore

BATCH = 200
"""Tasks that are changed at once; the store commits them together."""
SECONDS = 2.0
"""After which the rest is left to the next request, so that none is cut by a proxy's timeout."""

ALLOWED = {
    TaskAction.CANCEL: frozenset({TaskState.PENDING, TaskState.PROCESSING}),
    TaskAction.RETRY: frozenset({TaskState.FAILED}),
    TaskAction.FRONT: frozenset({TaskState.PENDING}),
    TaskAction.FORGET: FINAL_STATES,
}
"""States of the tasks that an action can be done to."""


class Action(NamedTuple):
    """What is done to a batch of tasks."""

    run: Callable[[list[str]], Awaitable[list[Change]]]
    """Of ids, the newest first."""
    allowed: frozenset[TaskState]
    """A task in another state was changed by others meanwhile: it is not refused."""
    after_batch: Callable[[], Awaitable[None]] | None = None


class Matching(NamedTuple):
    """Tasks that are chosen by what they are, the newest first."""

    states: frozenset[TaskState]
    is_chosen: Callable[[Task], bool] = lambda _task: True
    ids: IdRange = IdRange()
    after: str = ""
    limit: int = 1


async def change_matching(store: TaskStore, action: Action, tasks: Matching) -> Changed:
    """Do it to tasks that match. Tasks that come to be in these states meanwhile are newer than the
    cursor, so a walk ends. Raises StoreError, and what the action raises: what was done until then
    is done."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SECONDS
    tally = _Tally(action)
    after = tasks.ids.start(tasks.after)
    while True:
        page = await store.page(tasks.states, after, BATCH)
        chosen = []
        for number, one in enumerate(page):
            if tasks.is_chosen(one):
                chosen.append(one.id)
            if number % TASKS_AT_ONCE == 0:
                await asyncio.sleep(0)
        left = tasks.limit - tally.changed - tally.refused
        is_cut = len(chosen) > left
        await tally.change(chosen[:left])
        if is_cut:
            after = chosen[left - 1]
            break
        if len(page) < BATCH or tasks.ids.is_left(page[-1].id):
            after = ""
            break
        after = page[-1].id
        if len(chosen) == left or loop.time() >= deadline:
            break
    return tally.answer(next=after)


async def change_chosen(action: Action, ids: Sequence[str]) -> Changed:
    """Do it to these tasks. Raises as change_matching."""
    tally = _Tally(action)
    newest_first = sorted(set(ids), reverse=True)
    missing = 0
    for start in range(0, len(newest_first), BATCH):
        missing += await tally.change(newest_first[start : start + BATCH])
    return tally.answer(missing=missing)


async def change_each(
    change: Callable[[str], Awaitable[Change]], ids: Sequence[str]
) -> list[Change]:
    """All at once. All are awaited even if one fails: none is left behind that changes tasks after
    the answer."""
    results = await asyncio.gather(*map(change, ids), return_exceptions=True)
    changes = []
    for one in results:
        if isinstance(one, BaseException):
            raise one
        changes.append(one)
    return changes


class _Tally:
    """Does an action, and counts what comes of it."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self.changed = 0
        self.refused = 0
        self._message = ""
        self._others: dict[TaskState, int] = {}

    async def change(self, ids: list[str]) -> int:
        """Returns how many of the tasks are not stored."""
        missing = 0
        for change in await self._action.run(ids) if ids else ():
            if change.changed:
                self.changed += 1
            elif change.state is None:
                missing += 1
            elif change.state in self._action.allowed:
                self.refused += 1
                self._message = self._message or change.refusal
            else:
                self._others[change.state] = self._others.get(change.state, 0) + 1
        if self._action.after_batch is not None:
            await self._action.after_batch()
        return missing

    def answer(self, *, missing: int = 0, next: str = "") -> Changed:
        return Changed(
            changed=self.changed,
            refused=self.refused,
            message=self._message,
            others=self._others,
            missing=missing,
            next=next,
        )
