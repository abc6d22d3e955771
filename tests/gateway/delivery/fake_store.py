"""A store in memory that keeps what delivery relies on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from servedeck.async_queue.tasks import (
    Attempt,
    FailureReason,
    FeedEvent,
    Task,
    TaskState,
    WorkerStatus,
)
from servedeck.gateway.messages import RequestHead
from servedeck.gateway.stores.store import (
    Callback,
    Change,
    Claimed,
    Content,
    Control,
    End,
    Found,
    NewTask,
    Output,
    Outputs,
    Response,
    StoreUnavailableError,
    SubmitOutcome,
    Submitted,
    Swept,
)


@dataclass
class Stored:
    new: NewTask
    created: float
    deadline: float
    state: TaskState = TaskState.PENDING
    attempt: int = 0
    used: int = 0
    due: float = 0.0
    lease_end: float = 0.0
    pod: str = ""
    end: End | None = None
    reason: str = ""
    message: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    parts: list[Output] = field(default_factory=list)
    callback_due: float | None = None
    callback_tries: int = 0


class FakeStore:
    def __init__(self) -> None:
        self.tasks: dict[str, Stored] = {}
        self.events: list[FeedEvent] = []
        self.reports: dict[str, WorkerStatus] = {}
        self.current = Control()
        self.is_away = False
        self.claims: list[tuple[int, list[str]]] = []
        """The limit and the Pods of each claim."""
        self._changed = asyncio.Condition()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, task: NewTask, max_depth: int) -> Submitted:
        now = time.time()
        self.tasks[task.id] = Stored(task, now, now + task.lifetime)
        await self._emit(task.id)
        return Submitted(SubmitOutcome.ACCEPTED, task.id, 0)

    async def claim(
        self,
        worker: str,
        pods: Sequence[str],
        *,
        limit: int,
        concurrency: int,
        pod_concurrency: int,
        lease: float,
    ) -> list[Claimed]:
        self._check()
        self.claims.append((limit, list(pods)))
        pod_concurrency = self.current.pod_concurrency or pod_concurrency
        busy = dict.fromkeys(pods, 0)
        for one in self.tasks.values():
            if one.state is TaskState.PROCESSING:
                busy[one.pod] = busy.get(one.pod, 0) + 1
        claimed: list[Claimed] = []
        now = time.time()
        for id, one in self.tasks.items():
            if self.current.paused or len(claimed) == limit:
                break
            if one.state is not TaskState.PENDING or one.due > now:
                continue
            pod = min(pods, key=lambda name: busy[name])
            if busy[pod] >= pod_concurrency:
                break
            if concurrency and sum(busy.values()) >= concurrency:
                break
            busy[pod] += 1
            one.state, one.pod, one.lease_end = TaskState.PROCESSING, pod, now + lease
            one.attempt += 1
            one.used += 1
            one.parts = []
            await self._emit(id)
            claimed.append(
                Claimed(
                    id,
                    one.attempt,
                    pod,
                    one.new.head,
                    one.new.body,
                    one.new.credentials,
                    one.deadline - now,
                    one.new.max_attempts - one.used,
                )
            )
        return claimed

    async def beat(self, held: Sequence[tuple[str, int]], lease: float) -> list[str]:
        self._check()
        for id, attempt in held:
            if self._owns(id, attempt):
                self.tasks[id].lease_end = time.time() + lease
        return [id for id, attempt in held if not self._owns(id, attempt)]

    async def finish(self, end: End) -> bool:
        self._check()
        if not self._owns(end.id, end.attempt):
            return False
        one = self.tasks[end.id]
        one.state, one.end, one.reason, one.message = end.state, end, end.reason, end.message
        one.attempts.append(end.record)
        if one.new.has_callback:
            one.callback_due = 0.0
        await self._emit(end.id)
        return True

    async def retry(self, id: str, attempt: int, delay: float, record: Attempt) -> bool:
        self._check()
        if not self._owns(id, attempt):
            return False
        one = self.tasks[id]
        one.state, one.due, one.message = TaskState.PENDING, time.time() + delay, record.message
        one.used -= not record.is_counted
        one.attempts.append(record)
        await self._emit(id)
        return True

    async def append_output(self, id: str, attempt: int, data: bytes) -> bool:
        self._check()
        if not self._owns(id, attempt):
            return False
        parts = self.tasks[id].parts
        parts.append(Output(len(parts) + 1, data))
        return True

    async def sweep(self, keep: float) -> Swept:
        self._check()
        now = time.time()
        due = sum(
            one.state is TaskState.PENDING and 0 < one.due <= now for one in self.tasks.values()
        )
        lapsed = 0
        for id, one in self.tasks.items():
            if one.state is TaskState.PROCESSING and one.lease_end < now:
                one.state = TaskState.PENDING
                lapsed += 1
                await self._emit(id)
            elif not one.state.is_final and one.deadline < now:
                one.state, one.reason = TaskState.FAILED, FailureReason.EXPIRED
                await self._emit(id)
        return Swept(due, lapsed)

    async def report(self, worker: WorkerStatus, ttl: float) -> None:
        self._check()
        if ttl:
            self.reports[worker.name] = worker
        else:
            self.reports.pop(worker.name, None)

    async def claim_callbacks(self, limit: int, lease: float) -> list[Callback]:
        self._check()
        due: list[Callback] = []
        for id, one in self.tasks.items():
            if one.callback_due is not None and one.callback_due <= time.time():
                due.append(Callback(id, one.callback_tries))
                one.callback_tries += 1
                one.callback_due = time.time() + lease
        return due[:limit]

    async def settle_callback(self, id: str, retry_after: float | None) -> None:
        self._check()
        due = None if retry_after is None else time.time() + retry_after
        self.tasks[id].callback_due = due

    async def find(self, id: str) -> Found | None:
        self._check()
        one = self.tasks.get(id)
        if one is None:
            return None
        head = msgspec.json.decode(one.new.head, type=RequestHead)
        task = Task(
            id=id,
            state=one.state,
            attempt=one.attempt,
            max_attempts=one.new.max_attempts,
            urgency=one.new.urgency,
            created=one.created,
            ended=time.time() if one.state.is_final else None,
            deadline=one.deadline,
            reason=one.reason,
            message=one.message,
            status=one.end.status if one.end else None,
            pod=one.pod,
            path=head.path,
        )
        return Found(task, one.new.head, bool(one.new.credentials), one.new.has_callback)

    async def read_request(self, id: str) -> Content | None:
        return self.tasks[id].new.body if id in self.tasks else None

    async def read_response(self, id: str) -> Response | None:
        end = self.tasks[id].end if id in self.tasks else None
        return Response(end.head, end.body) if end is not None and end.head else None

    async def read_attempts(self, id: str) -> list[Attempt]:
        return self.tasks[id].attempts

    async def read_outputs(self, id: str, attempt: int, after: int, wait: float) -> Outputs:
        self._check()
        one = self.tasks[id]
        parts = [part for part in one.parts if part.number > after]
        return Outputs(one.attempt, parts, one.state is not TaskState.PROCESSING)

    async def workers(self) -> list[WorkerStatus]:
        return list(self.reports.values())

    async def feed_end(self) -> str:
        self._check()
        return str(len(self.events))

    async def read_feed(self, after: str, limit: int, wait: float) -> list[FeedEvent]:
        self._check()
        at = int(after)
        try:
            async with asyncio.timeout(wait), self._changed:
                await self._changed.wait_for(lambda: len(self.events) > at)
        except TimeoutError:
            return []
        return self.events[at : at + limit]

    async def cancel(self, id: str, keep: float) -> Change:
        one = self.tasks[id]
        if one.state.is_final:
            return Change(False, one.state)
        one.state = TaskState.CANCELLED
        await self._emit(id)
        return Change(True, one.state)

    async def control(self) -> Control:
        self._check()
        return self.current

    async def set_control(self, control: Control) -> None:
        self.current = control

    def _owns(self, id: str, attempt: int) -> bool:
        one = self.tasks.get(id)
        return one is not None and one.attempt == attempt and one.state is TaskState.PROCESSING

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailableError("It is away.")

    async def _emit(self, id: str) -> None:
        one = self.tasks[id]
        self.events.append(
            FeedEvent(
                cursor=str(len(self.events) + 1),
                id=id,
                state=one.state,
                attempt=one.attempt,
                time=time.time(),
            )
        )
        async with self._changed:
            self._changed.notify_all()
