"""What the gateway knows of one task, read in the background and again after each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from servedeck.async_queue.body_text import (
    MAX_SHOWN_BYTES,
    PART_BYTES,
    BodyBytes,
    BodyText,
    header_value,
    read_body_text,
)
from servedeck.async_queue.errors import NoSuchTaskError, NotPermittedError
from servedeck.async_queue.queue_api import QueueApi, Side
from servedeck.async_queue.tasks import Attempt, RequestView, ResponseView, Task, TaskDetail
from servedeck.cluster.http.errors import ClusterError

SMALL_BODY_BYTES = 4096
"""A body of at most this size is read as text at once, in about 1 ms. More is left to a thread, and
so is what is compressed, which may be a thousand times as large as it was sent."""


class BodyState:
    """What is known of one body."""

    def __init__(self) -> None:
        self.body: BodyBytes | None = None
        """None before it is read."""
        self.text: BodyText | None = None
        """How it is shown; None before that is known."""
        self.problem = ""
        """Why it cannot be read, one sentence."""
        self.is_withheld = False
        """Whether the problem is that the user may not read it."""
        self.is_loading = False

    @property
    def can_load_more(self) -> bool:
        body = self.body
        return body is not None and body.is_cut and len(body.data) < MAX_SHOWN_BYTES


class TaskReader:
    """Of one task. `read` is not called again before it has returned."""

    def __init__(self, api: QueueApi, task: Task, on_change: Callable[[], None]) -> None:
        """`on_change` is called after each part that was read."""
        self._api = api
        self._on_change = on_change
        self.task = task
        """As it was last; one that was deleted stays."""
        self.detail: TaskDetail | None = None
        self.attempts: list[Attempt] | None = None
        self.request: RequestView | None = None
        self.response: ResponseView | None = None
        self.has_no_response = False
        """Whether the gateway said that there is none."""
        self.bodies = {side: BodyState() for side in Side}
        self.is_deleted = False
        self.problem = ""
        """Why the task cannot be read now, one sentence."""
        self._response_of: tuple[object, ...] = ()
        """The end of the task that the response belongs to."""

    def note(self, task: Task) -> None:
        """The task as the list has it, which may be newer."""
        if not self.is_deleted:
            self._set_task(task)

    def _set_task(self, task: Task) -> None:
        self.task = task
        response_of = (task.state, task.attempt, task.ended, task.status, task.response_bytes)
        if response_of != self._response_of:
            self._response_of = response_of
            self.response, self.has_no_response = None, False
            self.bodies[Side.RESPONSE] = BodyState()

    async def read_task(self) -> bool:
        """Read the task alone; returns whether that was possible."""
        try:
            self.detail = await self._api.task_detail(self.task.id)
            self._set_task(self.detail)
            self.problem = ""
        except NoSuchTaskError:
            self.is_deleted, self.problem = True, ""
        except ClusterError as error:
            self.problem = str(error)
        self._on_change()
        return not self.is_deleted and not self.problem

    async def read(self) -> None:
        """Read the task, and what is not known of it yet."""
        if not await self.read_task():
            return
        try:
            self.attempts = await self._api.attempts(self.task.id)
            self._on_change()
            if self.request is None:
                self.request = await self._api.request_head(self.task.id)
            if self.response is None and not self.has_no_response:
                await self._read_response_head()
            self._on_change()
            for side in Side:
                await self._read_first_part(side)
        except NoSuchTaskError:
            self.is_deleted, self.problem = True, ""
        except ClusterError as error:
            self.problem = str(error)
        self._on_change()

    async def _read_response_head(self) -> None:
        known = self._response_of
        try:
            head: ResponseView | None = await self._api.response_head(self.task.id)
        except NoSuchTaskError:
            head = None  # the task itself was there a moment ago
        if known == self._response_of:
            self.response, self.has_no_response = head, head is None

    async def _read_first_part(self, side: Side) -> None:
        state = self.bodies[side]
        if state.body is not None or state.is_loading:
            return
        if side is Side.RESPONSE and self.response is None:
            return
        await self._load(state, side, PART_BYTES)

    async def read_more(self, side: Side) -> None:
        """Read four times as much of a body as is known."""
        state = self.bodies[side]
        if state.body is None or state.is_loading:
            return
        try:
            await self._load(state, side, min(4 * len(state.body.data), MAX_SHOWN_BYTES))
        except ClusterError as error:
            state.problem = str(error)
        self._on_change()

    async def _load(self, state: BodyState, side: Side, target: int) -> None:
        """Read a body up to `target` bytes, and make its text."""
        state.is_loading = True
        self._on_change()
        try:
            data = state.body.data if state.body is not None else b""
            size = state.body.size if state.body is not None else target
            while len(data) < min(target, size):
                limit = min(PART_BYTES, target - len(data))
                part = await self._api.read_body(self.task.id, side, len(data), limit)
                data, size = data + part.data, part.size
                if not part.data:
                    break
            body = BodyBytes(data, size)
            text = await self._make_text(body, side)
            state.body, state.text = body, text
            state.problem, state.is_withheld = "", False
        except NotPermittedError as error:
            state.problem, state.is_withheld = str(error), True
        except NoSuchTaskError as error:
            state.problem = str(error)
        finally:
            state.is_loading = False

    async def _make_text(self, body: BodyBytes, side: Side) -> BodyText:
        head = self.request if side is Side.REQUEST else self.response
        headers = head.headers if head is not None else []
        encoding = header_value(headers, "content-encoding")

        def make() -> BodyText:
            return read_body_text(
                body,
                side,
                content_type=header_value(headers, "content-type"),
                encoding=encoding,
                is_event_stream=isinstance(head, ResponseView) and head.is_event_stream,
            )

        is_small = len(body.data) <= SMALL_BODY_BYTES and not encoding
        return make() if is_small else await asyncio.to_thread(make)
