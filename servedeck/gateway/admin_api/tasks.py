"""Routes of tasks: reading them, and acting on one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from servedeck.async_queue.tasks import (
    MAX_READ,
    AttemptList,
    Changed,
    Task,
    TaskDetail,
    TaskState,
)
from servedeck.gateway.admin_api.answers import (
    Call,
    Reply,
    bad_parameter,
    json_reply,
    read_number,
)
from servedeck.gateway.admin_api.bodies import send_body
from servedeck.gateway.admin_api.masking import mask_request, mask_response, mask_task
from servedeck.gateway.admin_api.search import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    PageQuery,
    read_page,
    read_tasks,
)
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.messages import RequestHead, ResponseHead
from servedeck.gateway.settings import GatewaySettingsError
from servedeck.gateway.stores.store import Change, Found, Response

_NEWEST, _OLDEST = "newest", "oldest"


def read_state(text: str) -> TaskState | None:
    """Raises HttpError."""
    if not text:
        return None
    try:
        return TaskState(text)
    except ValueError:
        states = ", ".join(TaskState)
        raise bad_parameter("state", f"state must be one of {states}.") from None


class TaskRoutes:
    """Handlers; they raise HttpError and StoreError. Raises GatewaySettingsError."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._store = context.store
        self._authorization = _read_authorization(context.settings.service_authorization_file)

    # -- reading --------------------------------------------------------------------------------

    async def page(self, call: Call) -> Reply:
        if ids := call.values("id", MAX_READ):
            for id in ids:
                require_id("id", id, "id must be the id of a task.")
            return json_reply(await read_tasks(self._store, ids))
        given = call.parameters()
        order = given.get("order", "") or _NEWEST
        if order not in (_NEWEST, _OLDEST):
            raise bad_parameter("order", f"order must be {_NEWEST} or {_OLDEST}.")
        query = PageQuery(
            state=read_state(given.get("state", "")),
            text=given.get("q", ""),
            after=read_after(given),
            limit=read_number(given.get("limit", ""), "limit", DEFAULT_LIMIT, MAX_LIMIT),
            oldest_first=order == _OLDEST,
        )
        return json_reply(await read_page(self._store, query))

    async def detail(self, call: Call) -> Reply:
        found = await self._find(call)
        task = mask_task(found.task)
        fields: dict[str, object] = {
            one: getattr(task, one) for one in msgspec.structs.asdict(task)
        }
        position = None
        if task.state is TaskState.PENDING:
            position = await self._store.position(task.id)
        return json_reply(
            TaskDetail(
                **fields,  # type: ignore[arg-type]
                position=position,
                has_credentials=found.has_credentials,
                has_callback=found.has_callback,
            )
        )

    async def attempts(self, call: Call) -> Reply:
        found = await self._find(call)
        return json_reply(AttemptList(items=await self._store.read_attempts(found.task.id)))

    async def request_head(self, call: Call) -> Reply:
        found = await self._find(call)
        return json_reply(mask_request(msgspec.json.decode(found.head, type=RequestHead)))

    async def response_head(self, call: Call) -> Reply:
        response = await self._response(call)
        return json_reply(mask_response(msgspec.json.decode(response.head, type=ResponseHead)))

    async def request(self, call: Call) -> None:
        content = await self._store.read_request(call.path[0])
        if content is None:
            raise no_such_task()
        await send_body(call, content, self._context.objects)

    async def response(self, call: Call) -> None:
        await send_body(call, (await self._response(call)).body, self._context.objects)

    async def _find(self, call: Call) -> Found:
        found = await self._store.find(call.path[0])
        if found is None:
            raise no_such_task()
        return found

    async def _response(self, call: Call) -> Response:
        response = await self._store.read_response(call.path[0])
        if response is None or not response.head:
            task = (await self._find(call)).task
            raise HttpError(
                404,
                "No response",
                "No response is stored for this task.",
                task=task.id,
                state=task.state,
            )
        return response

    # -- acting ---------------------------------------------------------------------------------

    async def cancel(self, call: Call) -> Reply:
        change = await self.cancel_task(call.path[0])
        return _change_reply(call.path[0], change, "It has ended already.")

    async def retry(self, call: Call) -> Reply:
        found = await self._find(call)
        is_bare = call.parameters().get("credentials", "") == "none"
        change = await self.redrive_task(found.task, is_bare=is_bare)
        return _change_reply(found.task.id, change, "Only a failed task can be retried.")

    async def front(self, call: Call) -> Reply:
        [change] = await self._store.move_to_front([call.path[0]])
        return _change_reply(call.path[0], change, "Only a pending task can be moved.")

    async def cancel_task(self, id: str) -> Change:
        change = await self._store.cancel(id, self._context.settings.keep_completed)
        if change.changed:
            self._context.metrics.ended.labels(TaskState.CANCELLED).inc()
        return change

    async def redrive_task(self, task: Task, *, is_bare: bool = False) -> Change:
        """`is_bare`: without credentials, even if it had some."""
        credentials: bytes | None = b"" if is_bare else None
        if self._authorization and not is_bare:
            # A request that came without credentials must not get more rights by being retried.
            found = await self._store.find(task.id)
            if found is not None and found.has_credentials:
                value = [("authorization", self._authorization)]
                credentials = self._context.identity.encrypt(task.id, value)
        return await self._store.redrive(task.id, self._context.settings.lifetime, credentials)


def read_after(given: Mapping[str, str]) -> str:
    """The cursor of a page, which is the id of a task. Raises HttpError."""
    after = given.get("after", "")
    if after:
        require_id("after", after, "after must be the `next` of an earlier answer.")
    return after


def require_id(name: str, text: str, detail: str) -> None:
    """Raises HttpError if it cannot be the id of a task."""
    if not (0 < len(text) <= 64 and text.isascii() and text.isalnum()):
        raise bad_parameter(name, detail)


def no_such_task() -> HttpError:
    return HttpError(404, "No such task", "No task of this id is stored.")


def _change_reply(id: str, change: Change, refusal: str) -> Reply:
    if change.state is None:
        raise no_such_task()
    if not change.changed:
        raise HttpError(409, "Not changed", change.refusal or refusal, task=id, state=change.state)
    return json_reply(Changed(changed=1))


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
