"""An async queue in memory, for tests that need no gateway: `FakeQueue` is the store, and what
changes it; `FakeQueueApi` asks it as a client does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

from msgspec.structs import replace

from servedeck.async_queue.errors import (
    AsyncQueueError,
    ChangedMeanwhileError,
    NoSuchTaskError,
    NotPermittedError,
)
from servedeck.async_queue.queue_api import (
    BodyPart,
    FeedChanges,
    FeedMessage,
    FeedReset,
    QueueChanged,
    Side,
    StoreLost,
    TaskQuery,
    TestRequest,
)
from servedeck.async_queue.task_filter import parse_task_filter
from servedeck.async_queue.tasks import (
    Attempt,
    Changed,
    ControlState,
    FeedEvent,
    QueueStatus,
    RequestView,
    ResponseView,
    StateCounts,
    Task,
    TaskAction,
    TaskDetail,
    TaskPage,
    TaskState,
)

START = 1_790_000_000.0
"""The store's clock at the start, in seconds since the epoch."""

_POSSIBLE = {
    TaskAction.CANCEL: {TaskState.PENDING, TaskState.PROCESSING},
    TaskAction.RETRY: {TaskState.FAILED},
    TaskAction.FRONT: {TaskState.PENDING},
    TaskAction.FORGET: {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED},
}


class FakeQueue:
    """The store. Its clock goes on by a second with each change, unless `time` is set."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.events: list[FeedEvent] = []
        self.kept_from = 0
        """Events before it are no longer kept."""
        self.time = START
        self.status: dict[str, Any] = {}
        """Fields of the QueueStatus that are not those of the tasks."""
        self.control = ControlState(
            paused=False, closed=False, concurrency=None, pod_concurrency=None, version="v1"
        )
        self.store_problem = ""
        """Why the gateway cannot ask its store, as the feed says it; "" if it can."""
        self.changed = asyncio.Event()

    # -- changes ------------------------------------------------------------------------------

    def submit(self, id: str = "", **fields: Any) -> Task:
        self.time += 1
        if not id:
            id = f"{int(self.time * 1000):012x}{len(self.events):032x}"
        given: dict[str, Any] = {
            "state": TaskState.PENDING,
            "attempt": 0,
            "max_attempts": 3,
            "urgency": 3,
            "created": self.time,
            "deadline": self.time + 21600,
            "path": "/v1/chat/completions",
            "model": "llama",
            "request_bytes": 100,
        }
        return self._set(Task(id=id, **{**given, **fields}))

    def claim(self, id: str, pod: str = "llama-0") -> None:
        task = self.tasks[id]
        self.time += 1
        self._change(
            id,
            state=TaskState.PROCESSING,
            attempt=task.attempt + 1,
            started=self.time,
            pod=pod,
            message="",
            next_attempt=None,
        )

    def end(self, id: str, state: TaskState = TaskState.COMPLETED, **fields: Any) -> None:
        self.time += 1
        status = 200 if state is TaskState.COMPLETED else None
        given = {"status": status, "expires": self.time + 86400, "next_attempt": None}
        if self.tasks[id].state is TaskState.PENDING:
            given["started"] = None
        self._change(id, state=state, ended=self.time, **{**given, **fields})

    def give_back(self, id: str, message: str = "The inference server answered 503.") -> None:
        """After an attempt that failed."""
        self.time += 1
        again = self.time + 5
        self._change(id, state=TaskState.PENDING, message=message, next_attempt=again)

    def redrive(self, id: str) -> None:
        self.time += 1
        self._change(
            id,
            state=TaskState.PENDING,
            ended=None,
            reason="",
            message="",
            status=None,
            response_bytes=0,
            expires=None,
        )

    def delete(self, id: str) -> None:
        task = self.tasks.pop(id)
        self._add_event(FeedEvent(cursor="", id=id, state=None, attempt=task.attempt, time=0.0))

    def trim_feed(self) -> None:
        """Keep none of the events so far."""
        self.kept_from = len(self.events)

    def set_status(self, **fields: Any) -> None:
        """Change what the status says besides the tasks."""
        self.status |= fields
        self._wake()

    def set_store_problem(self, problem: str) -> None:
        self.store_problem = problem
        self._wake()

    def _change(self, id: str, **fields: Any) -> None:
        self._set(replace(self.tasks[id], **fields))

    def _set(self, task: Task) -> Task:
        self.tasks[task.id] = task
        event = FeedEvent(
            cursor="", id=task.id, state=task.state, attempt=task.attempt, time=self.time
        )
        self._add_event(event)
        return task

    def _add_event(self, event: FeedEvent) -> None:
        self.events.append(replace(event, cursor=str(len(self.events) + 1)))
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    # -- what there is ------------------------------------------------------------------------

    @property
    def cursor(self) -> str:
        return str(len(self.events))

    def counts(self) -> StateCounts:
        by_state = dict.fromkeys(TaskState, 0)
        for task in self.tasks.values():
            by_state[task.state] += 1
        return StateCounts(**{state.value: count for state, count in by_state.items()})

    def queue_status(self) -> QueueStatus:
        counts = self.counts()
        running: dict[str, int] = {}
        for task in self.tasks.values():
            if task.state is TaskState.PROCESSING:
                running[task.pod] = running.get(task.pod, 0) + 1
        pending = [one.created for one in self.tasks.values() if one.state is TaskState.PENDING]
        given: dict[str, Any] = {
            "concurrency": self.control.concurrency or 0,
            "pod_concurrency": 4,
            "max_depth": 1000,
        }
        return QueueStatus(
            serving="chat/llama",
            version="0",
            time=self.time,
            counts=counts,
            backlog=counts.backlog,
            oldest=min(pending, default=None),
            oldest_seconds=self.time - min(pending) if pending else None,
            paused=self.control.paused,
            control_version=self.control.version,
            running=running,
            **{**given, **self.status},
        )


class FakeQueueApi:
    """`QueueApi` on a FakeQueue. `failure` is raised by all that is asked while it is set;
    `before_answer` is awaited before each answer, which was read before that."""

    def __init__(self, queue: FakeQueue) -> None:
        self.queue = queue
        self.failure: AsyncQueueError | None = None
        self.before_answer: Callable[[], asyncio.Future[None] | None] = lambda: None
        self.calls: list[tuple[Any, ...]] = []
        """What was asked, save for the feed."""
        self.bodies: dict[tuple[str, Side], bytes] = {}
        self.heads: dict[tuple[str, Side], RequestView | ResponseView] = {}
        self.attempts_of: dict[str, list[Attempt]] = {}
        self.details: dict[str, dict[str, Any]] = {}
        """Fields of a TaskDetail beside those of the task."""
        self.may_read_bodies: bool | None = True
        self.submitted: list[TestRequest] = []
        self.cut = asyncio.Event()
        """Set it, to cut the feeds that are open."""
        self.portion = 10_000
        """Tasks that one request on all that match handles."""

    async def _answer(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure
        if (gate := self.before_answer()) is not None:
            await gate
        await asyncio.sleep(0)

    # -- reading --------------------------------------------------------------------------------

    async def queue_status(self) -> QueueStatus:
        status = self.queue.queue_status()
        await self._answer("queue_status")
        return status

    async def list_tasks(
        self, query: TaskQuery, *, after: str = "", limit: int = 100, oldest_first: bool = False
    ) -> TaskPage:
        queue = self.queue
        found = self._matching(query)
        ids = sorted(found, reverse=not oldest_first)
        if after:
            ids = [one for one in ids if (one > after if oldest_first else one < after)]
        items = [found[one] for one in ids[:limit]]
        following = ids[limit - 1] if len(ids) >= limit else ""
        page = TaskPage(items=items, next=following, feed=queue.cursor, time=queue.time)
        await self._answer("list_tasks", query, after, limit, oldest_first)
        return page

    def _matching(self, query: TaskQuery) -> dict[str, Task]:
        task_filter = parse_task_filter(query.text, self.queue.time)
        return {
            id: task
            for id, task in self.queue.tasks.items()
            if query.state in (None, task.state) and task_filter.matches(task)
        }

    async def read_tasks(self, ids: Sequence[str]) -> TaskPage:
        queue = self.queue
        items = [queue.tasks[one] for one in ids if one in queue.tasks]
        page = TaskPage(items=items, feed=queue.cursor, time=queue.time)
        await self._answer("read_tasks", tuple(ids))
        return page

    async def follow(self, after: str) -> AsyncIterator[FeedMessage]:
        queue, cut = self.queue, self.cut
        if self.failure is not None:
            raise self.failure
        cursor = int(after) if after else len(queue.events)
        last: QueueStatus | None = None
        while True:
            changed = queue.changed
            status = queue.queue_status()
            if queue.store_problem:
                last = None
                yield StoreLost(queue.store_problem)
            elif last is None or replace(last, time=status.time) != status:
                last = status
                yield QueueChanged(status)
            if cursor < queue.kept_from:
                cursor = len(queue.events)
                yield FeedReset(str(cursor))
            if cursor < len(queue.events):
                events = queue.events[cursor:]
                cursor = len(queue.events)
                yield FeedChanges(events, str(cursor))
            waits = [asyncio.ensure_future(one.wait()) for one in (changed, cut)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()
            if cut.is_set():
                self.cut = asyncio.Event()
                raise self.failure or AsyncQueueError("The connection was cut.")

    async def follow_queue(self) -> AsyncGenerator[QueueChanged | StoreLost, None]:
        async for message in self.follow(""):
            if isinstance(message, QueueChanged | StoreLost):
                yield message

    def _find(self, id: str) -> Task:
        task = self.queue.tasks.get(id)
        if task is None:
            raise NoSuchTaskError("No task of this id is stored.")
        return task

    async def task_detail(self, id: str) -> TaskDetail:
        await self._answer("task_detail", id)
        task = self._find(id)
        fields = {name: getattr(task, name) for name in task.__struct_fields__}
        return TaskDetail(**fields, **self.details.get(id, {}))

    async def attempts(self, id: str) -> list[Attempt]:
        await self._answer("attempts", id)
        self._find(id)
        return self.attempts_of.get(id, [])

    async def request_head(self, id: str) -> RequestView:
        await self._answer("request_head", id)
        task = self._find(id)
        head = self.heads.get((id, Side.REQUEST))
        if isinstance(head, RequestView):
            return head
        return RequestView(
            method=task.method,
            path=task.path,
            headers=[("content-type", "application/json")],
            model=task.model,
            is_stream=task.is_stream,
        )

    async def response_head(self, id: str) -> ResponseView:
        await self._answer("response_head", id)
        task = self._find(id)
        head = self.heads.get((id, Side.RESPONSE))
        if isinstance(head, ResponseView):
            return head
        if task.status is None:
            raise NoSuchTaskError("No response is stored for this task.")
        return ResponseView(status=task.status, headers=[("content-type", "application/json")])

    async def read_body(self, id: str, side: Side, first: int, limit: int) -> BodyPart:
        await self._answer("read_body", id, side, first, limit)
        if not self.may_read_bodies:
            raise NotPermittedError("Reading bodies needs the admin-key of the gateway.")
        self._find(id)
        default = b'{"model": "llama"}' if side is Side.REQUEST else b'{"choices": []}'
        body = self.bodies.get((id, side), default)
        return BodyPart(body[first : first + limit], first, len(body))

    # -- acting ---------------------------------------------------------------------------------

    async def change_tasks(
        self, action: TaskAction, ids: Sequence[str], *, is_bare: bool = False
    ) -> Changed:
        await self._answer("change_tasks", action, tuple(ids), is_bare)
        changed, missing = 0, 0
        others: dict[TaskState, int] = {}
        for id in ids:
            task = self.queue.tasks.get(id)
            if task is None:
                missing += 1
            elif task.state in _POSSIBLE[action]:
                self._do(action, id)
                changed += 1
            else:
                others[task.state] = others.get(task.state, 0) + 1
        return Changed(changed=changed, missing=missing, others=others)

    def _do(self, action: TaskAction, id: str) -> None:
        if action is TaskAction.CANCEL:
            self.queue.end(id, TaskState.CANCELLED)
        elif action is TaskAction.RETRY:
            self.queue.redrive(id)
        elif action is TaskAction.FORGET:
            self.queue.delete(id)

    async def change_matching(
        self, action: TaskAction, query: TaskQuery, *, after: str = "", is_bare: bool = False
    ) -> Changed:
        await self._answer("change_matching", action, query, after, is_bare)
        ids = [
            id
            for id, task in sorted(self._matching(query).items(), reverse=True)
            if task.state in _POSSIBLE[action] and (not after or id < after)
        ]
        for id in ids[: self.portion]:
            self._do(action, id)
        following = ids[self.portion - 1] if len(ids) > self.portion else ""
        return Changed(changed=min(len(ids), self.portion), next=following)

    async def pause(self) -> None:
        await self._answer("pause")
        self._set_control(paused=True)

    async def resume(self) -> None:
        await self._answer("resume")
        self._set_control(paused=False)

    async def control(self) -> ControlState:
        await self._answer("control")
        return self.queue.control

    async def set_concurrency(
        self, concurrency: int | None, pod_concurrency: int | None, version: str
    ) -> None:
        await self._answer("set_concurrency", concurrency, pod_concurrency, version)
        if version != self.queue.control.version:
            raise ChangedMeanwhileError("The concurrency was changed meanwhile.")
        self._set_control(concurrency=concurrency, pod_concurrency=pod_concurrency)

    def _set_control(self, **fields: Any) -> None:
        version = f"v{int(self.queue.control.version[1:]) + 1}"
        self.queue.control = replace(self.queue.control, version=version, **fields)
        self.queue.set_status()

    async def submit(self, request: TestRequest) -> str:
        await self._answer("submit", request)
        self.submitted.append(request)
        return self.queue.submit(method=request.method, path=request.path).id
