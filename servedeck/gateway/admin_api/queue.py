"""Routes of the queue: its state, and what an operator does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from servedeck.async_queue.tasks import FailureReason, Task, TaskState
from servedeck.gateway.admin_api.answers import (
    Call,
    Reply,
    bad_parameter,
    json_reply,
    read_number,
)
from servedeck.gateway.admin_api.bulk import BATCH, change_tasks
from servedeck.gateway.admin_api.control import ControlChanges
from servedeck.gateway.admin_api.queue_status import read_queue_status
from servedeck.gateway.admin_api.tasks import TaskRoutes, read_after, read_state
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.stores.store import Change

MAX_BULK = 10_000
"""Tasks that one request changes at most."""


class QueueRoutes:
    """Handlers; they raise HttpError and StoreError."""

    def __init__(self, context: GatewayContext, tasks: TaskRoutes) -> None:
        self._context = context
        self._store = context.store
        self._tasks = tasks
        self._control = ControlChanges(context.store)

    async def status(self, _call: Call) -> Reply:
        return json_reply(await read_queue_status(self._store, self._context.settings))

    async def pause(self, _call: Call) -> Reply:
        return await self._control.change(lambda old: old._replace(paused=True))

    async def resume(self, _call: Call) -> Reply:
        return await self._control.change(lambda old: old._replace(paused=False))

    async def close(self, _call: Call) -> Reply:
        """Take no new task, nor try one again; go on with those that were accepted."""
        closed_by = self._context.identity.fingerprint
        return await self._control.change(lambda old: old._replace(closed_by=closed_by))

    async def open(self, _call: Call) -> Reply:
        return await self._control.change(lambda old: old._replace(closed_by=""))

    async def read_control(self, _call: Call) -> Reply:
        return await self._control.read()

    async def set_control(self, call: Call) -> Reply:
        return await self._control.set(call)

    async def purge(self, call: Call) -> Reply:
        """Cancel all tasks that wait, or that are in progress."""
        given = call.parameters()
        state = read_state(given.get("state", "")) or TaskState.PENDING
        if state.is_final:
            raise bad_parameter("state", "Only pending or processing tasks can be cancelled.")
        owner = given.get("owner")

        def cancel(task: Task) -> asyncio.Future[Change]:
            return asyncio.ensure_future(self._tasks.cancel_task(task.id))

        changed = await change_tasks(
            self._store,
            state,
            cancel,
            after=read_after(given),
            limit=_read_limit(given),
            is_chosen=lambda task: owner is None or task.owner == owner,
        )
        return json_reply(changed)

    async def redrive(self, call: Call) -> Reply:
        """Retry all failed tasks, or those of one reason."""
        given = call.parameters()
        reason = given.get("reason", "")
        if reason and reason not in set(FailureReason):
            raise bad_parameter("reason", f"reason must be one of {', '.join(FailureReason)}.")
        is_bare = given.get("credentials", "") == "none"

        def redrive(task: Task) -> asyncio.Future[Change]:
            return asyncio.ensure_future(self._tasks.redrive_task(task, is_bare=is_bare))

        changed = await change_tasks(
            self._store,
            TaskState.FAILED,
            redrive,
            after=read_after(given),
            limit=_read_limit(given),
            is_chosen=lambda task: not reason or task.reason == reason,
        )
        return json_reply(changed)

    async def forget(self, call: Call) -> Reply:
        """Delete all ended tasks, or those of one state, with their objects."""
        given = call.parameters()
        state = read_state(given.get("state", ""))
        if state is not None and not state.is_final:
            raise bad_parameter("state", "Only tasks that have ended can be deleted.")

        def forget(task: Task) -> asyncio.Future[Change]:
            return asyncio.ensure_future(self._store.forget(task.id))

        changed = await change_tasks(
            self._store,
            state,
            forget,
            after=read_after(given),
            limit=_read_limit(given),
            is_chosen=lambda task: task.state.is_final,
            after_batch=self._delete_objects,
        )
        if not changed.next:
            await self._store.expire_rest()
        return json_reply(changed)

    async def _delete_objects(self) -> None:
        """Those of deleted tasks. The store names them until they are deleted, so that a request
        that is repeated after an error finds them again."""
        objects = self._context.objects
        while names := await self._store.unneeded_objects(BATCH):
            if objects is not None:
                try:
                    await objects.delete(names)
                except ObjectStoreError as error:
                    detail = f"Tasks were deleted, but not all of their bodies: {error}"
                    raise HttpError(503, "The object store is not available", detail) from None
            await self._store.drop_objects(names)


def _read_limit(given: Mapping[str, str]) -> int:
    return read_number(given.get("limit", ""), "limit", MAX_BULK, MAX_BULK)
