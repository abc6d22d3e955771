"""Routes of the queue: its state, and what an operator does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from servedeck.async_queue.tasks import Changed, FailureReason, Task, TaskState
from servedeck.gateway.admin_api.answers import (
    Call,
    Reply,
    bad_parameter,
    json_reply,
    read_number,
)
from servedeck.gateway.admin_api.bulk import BATCH, change_tasks
from servedeck.gateway.admin_api.queue_status import read_queue_status
from servedeck.gateway.admin_api.tasks import TaskRoutes, read_after, read_state
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.stores.store import Change

MAX_BULK = 10_000
"""Tasks that one request changes at most."""
_MAX_CONCURRENCY = 100_000


class QueueControl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of /queue/control: what is left out stays as it is, null goes back to the settings."""

    concurrency: int | msgspec.UnsetType | None = msgspec.UNSET
    pod_concurrency: int | msgspec.UnsetType | None = msgspec.UNSET


class QueueRoutes:
    """Handlers; they raise HttpError and StoreError."""

    def __init__(self, context: GatewayContext, tasks: TaskRoutes) -> None:
        self._context = context
        self._store = context.store
        self._tasks = tasks
        # Two changes of one operator are not mixed; those of two processes may be: the last wins.
        self._control_lock = asyncio.Lock()

    async def status(self, _call: Call) -> Reply:
        return json_reply(await read_queue_status(self._store, self._context.settings))

    async def pause(self, _call: Call) -> Reply:
        return await self._set_paused(True)

    async def resume(self, _call: Call) -> Reply:
        return await self._set_paused(False)

    async def close(self, _call: Call) -> Reply:
        """Take no new task, nor try one again; go on with those that were accepted."""
        return await self._set_closed(True)

    async def open(self, _call: Call) -> Reply:
        return await self._set_closed(False)

    async def control(self, call: Call) -> Reply:
        try:
            wanted = msgspec.json.decode(await call.body(), type=QueueControl)
        except msgspec.DecodeError as error:
            raise bad_parameter("body", f"{error}.") from None
        async with self._control_lock:
            old = new = await self._store.control()
            if wanted.concurrency is not msgspec.UNSET:
                _check_number("concurrency", wanted.concurrency, 0)
                new = new._replace(concurrency=wanted.concurrency)
            if wanted.pod_concurrency is not msgspec.UNSET:
                _check_number("pod_concurrency", wanted.pod_concurrency, 1)
                new = new._replace(pod_concurrency=wanted.pod_concurrency)
            if new != old:
                await self._store.set_control(new)
        return json_reply(Changed(changed=int(new != old)))

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

    async def _set_paused(self, is_paused: bool) -> Reply:
        async with self._control_lock:
            control = await self._store.control()
            if control.paused != is_paused:
                await self._store.set_control(control._replace(paused=is_paused))
        return json_reply(Changed(changed=int(control.paused != is_paused)))

    async def _set_closed(self, is_closed: bool) -> Reply:
        closed_by = self._context.identity.fingerprint if is_closed else ""
        async with self._control_lock:
            control = await self._store.control()
            if control.closed_by != closed_by:
                await self._store.set_control(control._replace(closed_by=closed_by))
        return json_reply(Changed(changed=int(bool(control.closed_by) != is_closed)))


def _read_limit(given: Mapping[str, str]) -> int:
    return read_number(given.get("limit", ""), "limit", MAX_BULK, MAX_BULK)


def _check_number(name: str, value: int | None, least: int) -> None:
    if value is not None and not least <= value <= _MAX_CONCURRENCY:
        raise bad_parameter(name, f"{name} must be from {least} to {_MAX_CONCURRENCY}, or null.")
