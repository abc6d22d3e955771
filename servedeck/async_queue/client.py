"""The API of a serving's async gateway, through the API server's Service proxy."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from servedeck.async_queue.errors import (
    NoSuchTaskError,
    RefusedError,
    UnreachableError,
)
from servedeck.async_queue.feed_stream import read_messages
from servedeck.async_queue.queue_api import (
    BodyPart,
    FeedMessage,
    QueueApi,
    QueueChanged,
    Side,
    StoreLost,
    TaskQuery,
    TestRequest,
)
from servedeck.async_queue.service_proxy import AccessKey, Params, ServiceProxy
from servedeck.async_queue.submission import check_target, sent_headers
from servedeck.async_queue.tasks import (
    MAX_READ,
    MAX_SELECTED,
    Accepted,
    Attempt,
    AttemptList,
    Changed,
    ControlState,
    QueueStatus,
    RequestView,
    ResponseView,
    TaskAction,
    TaskDetail,
    TaskPage,
    TaskSelection,
    TaskState,
)
from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import ApiError

_ID = re.compile(r"[0-9a-zA-Z]{1,64}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")


class AsyncQueueClient(QueueApi):
    """Of one serving. Raises ReadOnlyError, too, where it writes."""

    def __init__(self, connection: Connection, namespace: str, serving: str) -> None:
        self._proxy = ServiceProxy(connection, namespace, serving)
        self._is_of_this_version = False
        """Whether the gateway answered as one of this version does, since the feed was opened."""

    @property
    def may_read_bodies(self) -> bool | None:
        return self._proxy.may_read_bodies

    # -- reading --------------------------------------------------------------------------------

    async def queue_status(self) -> QueueStatus:
        status = await self._proxy.ask("GET", "/queue", AccessKey.VIEW, QueueStatus)
        self._is_of_this_version = status.time is not None
        return status

    async def list_tasks(
        self, query: TaskQuery, *, after: str = "", limit: int = 100, oldest_first: bool = False
    ) -> TaskPage:
        params = [("limit", str(limit))]
        if query.state is not None:
            params.append(("state", query.state.value))
        if query.text:
            params.append(("q", query.text))
        if after:
            params.append(("after", after))
        if oldest_first:
            params.append(("order", "oldest"))
        return await self._page(params)

    async def read_tasks(self, ids: Sequence[str]) -> TaskPage:
        if not 1 <= len(ids) <= MAX_READ:
            raise RefusedError(f"From 1 to {MAX_READ} tasks can be read at once.")
        return await self._page([("id", _check_id(one)) for one in ids])

    async def _page(self, params: Params) -> TaskPage:
        page = await self._proxy.ask("GET", "/tasks", AccessKey.VIEW, TaskPage, params)
        if page.time is None:
            raise self._proxy.too_old()
        self._is_of_this_version = True
        return page

    async def follow(self, after: str) -> AsyncGenerator[FeedMessage, None]:
        params = [("events", "tasks,queue")]
        if after:
            params.append(("after", after))
        async with aclosing(self._follow(params)) as messages:
            async for message in messages:
                yield message

    async def follow_queue(self) -> AsyncGenerator[QueueChanged | StoreLost, None]:
        async with aclosing(self._follow([("events", "queue")])) as messages:
            async for message in messages:
                if isinstance(message, QueueChanged | StoreLost):
                    yield message

    async def _follow(self, params: Params) -> AsyncGenerator[FeedMessage, None]:
        if not self._is_of_this_version:
            # One of an earlier version follows tasks alone, and does not say so.
            await self.queue_status()
            if not self._is_of_this_version:
                raise self._proxy.too_old()
        self._is_of_this_version = False  # another gateway may answer the next time
        async with self._proxy.stream("/feed", params) as stream:
            async for message in read_messages(stream):
                if isinstance(message, QueueChanged) and message.status.time is None:
                    raise self._proxy.too_old()
                yield message
        raise UnreachableError("The async gateway has ended the feed.")

    async def task_detail(self, id: str) -> TaskDetail:
        return await self._proxy.ask("GET", _task_path(id), AccessKey.VIEW, TaskDetail)

    async def attempts(self, id: str) -> list[Attempt]:
        path = f"{_task_path(id)}/attempts"
        return (await self._proxy.ask("GET", path, AccessKey.VIEW, AttemptList)).items

    async def request_head(self, id: str) -> RequestView:
        path = f"{_task_path(id)}/request/head"
        return await self._proxy.ask("GET", path, AccessKey.VIEW, RequestView)

    async def response_head(self, id: str) -> ResponseView:
        path = f"{_task_path(id)}/response/head"
        return await self._proxy.ask("GET", path, AccessKey.VIEW, ResponseView)

    async def read_body(self, id: str, side: Side, first: int, limit: int) -> BodyPart:
        path = f"{_task_path(id)}/{side.value}"
        try:
            response = await self._read_range(path, first, limit)
        except ApiError:
            # Nothing is there, as the body is shorter, or empty.
            size = 0
            if first:
                size = (await self.read_body(id, side, 0, 1)).size
            return BodyPart(b"", first, size)
        if response.status != 206:
            # Whoever is in between has ignored the range.
            return BodyPart(response.body[first : first + limit], first, len(response.body))
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != first:
            raise self._proxy.too_old()
        return BodyPart(response.body[:limit], first, int(match[2]))

    async def _read_range(self, path: str, first: int, limit: int) -> ApiResponse:
        """Raises ApiError if there is nothing in the range."""
        headers = {"Range": f"bytes={first}-{first + max(limit, 1) - 1}", "Accept": "*/*"}
        return await self._proxy.request("GET", path, AccessKey.ADMIN, headers=headers)

    # -- acting ---------------------------------------------------------------------------------

    async def change_tasks(
        self, action: TaskAction, ids: Sequence[str], *, is_bare: bool = False
    ) -> Changed:
        if not 1 <= len(ids) <= MAX_SELECTED:
            raise RefusedError(f"From 1 to {MAX_SELECTED} tasks can be changed at once.")
        selection = TaskSelection(ids=[*map(_check_id, ids)], credentials=_credentials(is_bare))
        return await self._change(action, selection)

    async def change_matching(
        self, action: TaskAction, query: TaskQuery, *, after: str = "", is_bare: bool = False
    ) -> Changed:
        selection = TaskSelection(
            state=query.state, q=query.text, after=after, credentials=_credentials(is_bare)
        )
        return await self._change(action, selection)

    async def _change(self, action: TaskAction, selection: TaskSelection) -> Changed:
        path = f"/tasks/actions/{action.value}"
        return await self._proxy.ask("POST", path, AccessKey.ADMIN, Changed, body=selection)

    async def pause(self) -> None:
        await self._proxy.ask("POST", "/queue/pause", AccessKey.ADMIN, Changed)

    async def resume(self) -> None:
        await self._proxy.ask("POST", "/queue/resume", AccessKey.ADMIN, Changed)

    async def control(self) -> ControlState:
        return await self._proxy.ask("GET", "/queue/control", AccessKey.VIEW, ControlState)

    async def set_concurrency(
        self, concurrency: int | None, pod_concurrency: int | None, version: str
    ) -> None:
        body = {
            "concurrency": concurrency,
            "pod_concurrency": pod_concurrency,
            "version": version,
        }
        await self._proxy.ask("POST", "/queue/control", AccessKey.ADMIN, Changed, body=body)

    async def submit(self, request: TestRequest) -> str:
        check_target(request)
        headers, content_type = sent_headers(request)
        answer = await self._proxy.submit(
            request.method, request.path, headers, request.body, content_type
        )
        return self._proxy.decode(answer, Accepted).id

    async def close_queue(self) -> None:
        """Once it returns, the gateway accepts no task, and retries none that failed. Raises
        AsyncQueueError, TooOldError by a gateway that cannot be closed."""
        await self._proxy.ask("POST", "/queue/close", AccessKey.ADMIN, Changed)

    async def open_queue(self) -> None:
        """Raises AsyncQueueError, TooOldError by a gateway that cannot be closed."""
        await self._proxy.ask("POST", "/queue/open", AccessKey.ADMIN, Changed)

    async def cancel_tasks(self, state: TaskState) -> int:
        """Cancel all tasks that are pending, or all that are processing; returns how many. Raises
        AsyncQueueError: what was cancelled until then stays so."""
        return await self._change_all("/queue/purge", [("state", state.value)])

    async def forget_tasks(self) -> int:
        """Delete all tasks that have ended, with their results; returns how many. Raises
        AsyncQueueError, TooOldError by a gateway that cannot: what was deleted until then stays
        so."""
        return await self._change_all("/queue/forget", [])

    async def _change_all(self, path: str, given: list[tuple[str, str]]) -> int:
        total, after = 0, ""
        while True:
            params = given + ([("after", after)] if after else [])
            found = await self._proxy.ask("POST", path, AccessKey.ADMIN, Changed, params)
            total += found.changed
            if not found.next or found.next == after:
                return total
            after = found.next


def _check_id(id: str) -> str:
    """Raises NoSuchTaskError for what is no id: it becomes a part of a path."""
    if not _ID.fullmatch(id):
        raise NoSuchTaskError(f"{id[:80]!r} is no id of a task.")
    return id


def _task_path(id: str) -> str:
    return f"/tasks/{_check_id(id)}"


def _credentials(is_bare: bool) -> str:
    return "none" if is_bare else ""
