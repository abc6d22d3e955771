"""Routes of the queue: its state, and what an operator does to it."""

from __future__ import annotations

from collections.abc import Mapping

from servedeck.async_queue.tasks import FailureReason, TaskAction, TaskSelection, TaskState
from servedeck.gateway.admin_api.actions import MAX_BULK, TaskActions
from servedeck.gateway.admin_api.answers import (
    Call,
    Reply,
    bad_parameter,
    json_reply,
    read_number,
)
from servedeck.gateway.admin_api.control import ControlChanges
from servedeck.gateway.admin_api.queue_status import read_queue_status
from servedeck.gateway.admin_api.tasks import read_after, read_state
from servedeck.gateway.context import GatewayContext


class QueueRoutes:
    """Handlers; they raise HttpError and StoreError."""

    def __init__(self, context: GatewayContext, actions: TaskActions) -> None:
        self._context = context
        self._store = context.store
        self._actions = actions
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
        selection = TaskSelection(
            state=state,
            owner=given.get("owner"),
            after=read_after(given),
            limit=_read_limit(given),
        )
        return json_reply(await self._actions.change(TaskAction.CANCEL, selection))

    async def redrive(self, call: Call) -> Reply:
        """Retry all failed tasks, or those of one reason."""
        given = call.parameters()
        reason = given.get("reason", "")
        if reason and reason not in set(FailureReason):
            raise bad_parameter("reason", f"reason must be one of {', '.join(FailureReason)}.")
        selection = TaskSelection(
            reason=FailureReason(reason) if reason else None,
            credentials=given.get("credentials", ""),
            after=read_after(given),
            limit=_read_limit(given),
        )
        return json_reply(await self._actions.change(TaskAction.RETRY, selection))

    async def forget(self, call: Call) -> Reply:
        """Delete all ended tasks, or those of one state, with their objects."""
        given = call.parameters()
        selection = TaskSelection(
            state=read_state(given.get("state", "")),
            after=read_after(given),
            limit=_read_limit(given),
        )
        return json_reply(await self._actions.change(TaskAction.FORGET, selection))


def _read_limit(given: Mapping[str, str]) -> int:
    return read_number(given.get("limit", ""), "limit", MAX_BULK, MAX_BULK)
