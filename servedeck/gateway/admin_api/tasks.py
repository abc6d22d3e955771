"""Routes of tasks: reading them, and acting on one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from servedeck.async_queue.tasks import (
    MAX_READ,
    AttemptList,
    Changed,
    TaskAction,
    TaskDetail,
    TaskState,
)
from servedeck.gateway.admin_api.actions import TaskActions, read_is_bare, read_selection
from servedeck.gateway.admin_api.answers import (
    Call,
    Reply,
    bad_parameter,
    json_reply,
    read_number,
)
from servedeck.gateway.admin_api.bodies import send_body
from servedeck.gateway.admin_api.chosen import require_id
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
    """Handlers; they raise HttpError and StoreError."""

    def __init__(self, context: GatewayContext, actions: TaskActions) -> None:
        self._context = context
        self._store = context.store
        self._actions = actions

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
        change = await self._actions.cancel(call.path[0])
        return _change_reply(call.path[0], change, "It has ended already.")

    async def retry(self, call: Call) -> Reply:
        is_bare = read_is_bare(call.parameters().get("credentials", ""))
        change = await self._actions.retry(call.path[0], is_bare=is_bare)
        return _change_reply(call.path[0], change, "Only a failed task can be retried.")

    async def front(self, call: Call) -> Reply:
        change = await self._actions.front(call.path[0])
        return _change_reply(call.path[0], change, "Only a pending task can be moved.")

    async def change_many(self, action: TaskAction, call: Call) -> Reply:
        selection = read_selection(await call.body())
        return json_reply(await self._actions.change(action, selection))


def read_after(given: Mapping[str, str]) -> str:
    """The cursor of a page, which is the id of a task. Raises HttpError."""
    after = given.get("after", "")
    if after:
        require_id("after", after, "after must be the `next` of an earlier answer.")
    return after


def no_such_task() -> HttpError:
    return HttpError(404, "No such task", "No task of this id is stored.")


def _change_reply(id: str, change: Change, refusal: str) -> Reply:
    if change.state is None:
        raise no_such_task()
    if not change.changed:
        raise HttpError(409, "Not changed", change.refusal or refusal, task=id, state=change.state)
    return json_reply(Changed(changed=1))
