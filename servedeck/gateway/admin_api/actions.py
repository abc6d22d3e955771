"""What an operator does to tasks: to one, to some, or to all that match."""

from __future__ import annotations

from pathlib import Path

import msgspec

from servedeck.async_queue.tasks import (
    MAX_SELECTED,
    Changed,
    Task,
    TaskAction,
    TaskSelection,
    TaskState,
)
from servedeck.gateway.admin_api.answers import bad_parameter
from servedeck.gateway.admin_api.bulk import (
    ALLOWED,
    BATCH,
    Action,
    Matching,
    change_chosen,
    change_each,
    change_matching,
)
from servedeck.gateway.admin_api.chosen import range_of, read_filter, require_id
from servedeck.gateway.admin_api.masking import mask_task
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.settings import GatewaySettingsError
from servedeck.gateway.stores.store import Change

MAX_BULK = 10_000
"""Tasks that one request changes at most."""

_BARE = "none"


class TaskActions:
    """Its methods raise StoreError. Raises GatewaySettingsError."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._store = context.store
        self._authorization = _read_authorization(context.settings.service_authorization_file)

    # -- on one task ----------------------------------------------------------------------------

    async def cancel(self, id: str) -> Change:
        change = await self._store.cancel(id, self._context.settings.keep_completed)
        if change.changed:
            self._context.metrics.ended.labels(TaskState.CANCELLED).inc()
        return change

    async def retry(self, id: str, *, is_bare: bool = False) -> Change:
        """`is_bare`: without credentials, even if it had some."""
        credentials: bytes | None = b"" if is_bare else None
        if self._authorization and not is_bare:
            # A request that came without credentials must not get more rights by being retried.
            found = await self._store.find(id)
            if found is not None and found.has_credentials:
                value = [("authorization", self._authorization)]
                credentials = self._context.identity.encrypt(id, value)
        return await self._store.redrive(id, self._context.settings.lifetime, credentials)

    async def front(self, id: str) -> Change:
        [change] = await self._store.move_to_front([id])
        return change

    # -- on many --------------------------------------------------------------------------------

    async def change(self, kind: TaskAction, selection: TaskSelection) -> Changed:
        """Raises HttpError."""
        action = self._action(kind, is_bare=read_is_bare(selection.credentials))
        if selection.ids is None:
            changed = await change_matching(
                self._store, action, await self._read_matching(kind, selection)
            )
        else:
            changed = await change_chosen(action, _read_ids(selection, selection.ids))
        if kind is TaskAction.FORGET and not changed.next:
            await self._store.expire_rest()
        return changed

    def _action(self, kind: TaskAction, *, is_bare: bool) -> Action:
        async def cancel(ids: list[str]) -> list[Change]:
            return await change_each(self.cancel, ids)

        async def retry(ids: list[str]) -> list[Change]:
            return await change_each(lambda id: self.retry(id, is_bare=is_bare), ids)

        async def front(ids: list[str]) -> list[Change]:
            # So that the oldest task of all batches comes first.
            return await self._store.move_to_front(ids[::-1])

        async def forget(ids: list[str]) -> list[Change]:
            return await change_each(self._store.forget, ids)

        run = {
            TaskAction.CANCEL: cancel,
            TaskAction.RETRY: retry,
            TaskAction.FRONT: front,
            TaskAction.FORGET: forget,
        }[kind]
        after_batch = self._delete_objects if kind is TaskAction.FORGET else None
        return Action(run, ALLOWED[kind], after_batch)

    async def _read_matching(self, kind: TaskAction, selection: TaskSelection) -> Matching:
        allowed, state = ALLOWED[kind], selection.state
        if state is not None and state not in allowed:
            raise bad_parameter("state", f"For {kind} it must be one of {', '.join(allowed)}.")
        if selection.after:
            require_id("after", selection.after, "after must be the `next` of an earlier answer.")
        if selection.limit < 1:
            raise bad_parameter("limit", "limit must be a whole number from 1 on.")
        now = await self._store.time()
        wanted = read_filter(selection.q, now, is_complete=True)
        owner, reason = selection.owner, selection.reason

        def is_chosen(task: Task) -> bool:
            return (
                (owner is None or task.owner == owner)
                and (reason is None or task.reason == reason)
                # Masked, so that nothing that is hidden can be found out.
                and (not wanted.predicates or wanted.matches(mask_task(task)))
            )

        return Matching(
            states=allowed if state is None else frozenset({state}),
            is_chosen=is_chosen,
            ids=range_of(wanted, now),
            after=selection.after,
            limit=min(selection.limit, MAX_BULK),
        )

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


def read_selection(body: bytes) -> TaskSelection:
    """Raises HttpError. A field of another name is refused: without it, all tasks would match."""
    try:
        return msgspec.json.decode(body, type=TaskSelection)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_parameter("body", f"{error}.") from None


def read_is_bare(credentials: str) -> bool:
    """Raises HttpError."""
    if credentials not in ("", _BARE):
        raise bad_parameter("credentials", f'credentials may be "{_BARE}".')
    return credentials == _BARE


def _read_ids(selection: TaskSelection, ids: list[str]) -> list[str]:
    has_more = selection.state or selection.q or selection.reason or selection.after
    if has_more or selection.owner is not None:
        raise bad_parameter(
            "ids", "Tasks are chosen by their ids, or by state, q, owner and reason, not by both."
        )
    if len(ids) > MAX_SELECTED:
        raise bad_parameter("ids", f"ids may have {MAX_SELECTED} tasks.")
    for id in ids:
        require_id("ids", id, "ids must be ids of tasks.")
    return ids


def _read_authorization(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        value = file.read_text(encoding="latin-1").strip()
    except OSError as error:
        raise GatewaySettingsError(
            f"service_authorization_file: {file}: {error.strerror}."
        ) from None
    if not value or not value.isprintable():
        raise GatewaySettingsError(
            f"service_authorization_file: {file} must have one line, such as Bearer TOKEN."
        )
    return value
