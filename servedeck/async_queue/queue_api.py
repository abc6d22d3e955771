"""What the async queue of one serving can be asked; `AsyncQueueClient` asks a gateway. All methods
raise AsyncQueueError."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from servedeck.async_queue.tasks import (
    Attempt,
    Changed,
    ControlState,
    FeedEvent,
    QueueStatus,
    RequestView,
    ResponseView,
    TaskAction,
    TaskDetail,
    TaskPage,
    TaskState,
)


class TaskQuery(NamedTuple):
    """Which tasks are shown."""

    state: TaskState | None = None
    """None: all."""
    text: str = ""
    """A filter (servedeck.async_queue.task_filter)."""


class FeedChanges(NamedTuple):
    """Tasks have changed, in the order of the events."""

    events: Sequence[FeedEvent]
    cursor: str
    """Where to resume after them."""


class FeedReset(NamedTuple):
    """Changes were lost: read the tasks again."""

    cursor: str


class QueueChanged(NamedTuple):
    """The state of the queue; the first message has it, and then each that differs, at most one a
    second."""

    status: QueueStatus


class StoreLost(NamedTuple):
    """The gateway cannot ask its store; a QueueChanged follows when it can."""

    message: str


FeedMessage = FeedChanges | FeedReset | QueueChanged | StoreLost


class Side(StrEnum):
    """Of a task."""

    REQUEST = "request"
    RESPONSE = "response"


class BodyPart(NamedTuple):
    """Part of a body."""

    data: bytes
    first: int
    """Offset of its first byte."""
    size: int
    """Bytes of the whole body."""


class TestRequest(NamedTuple):
    """A request that is submitted as its callers do."""

    method: str
    path: str
    """With its query."""
    headers: Sequence[tuple[str, str]]
    body: bytes


class QueueApi(Protocol):
    """See the module."""

    # -- reading --------------------------------------------------------------------------------

    async def queue_status(self) -> QueueStatus: ...

    async def list_tasks(
        self, query: TaskQuery, *, after: str = "", limit: int = 100, oldest_first: bool = False
    ) -> TaskPage:
        """Tasks that match, the newest first, those older than the id `after`; with `oldest_first`
        the oldest first, those newer than `after`. A page may have fewer than `limit` tasks, even
        none, and still a `next`."""

    async def read_tasks(self, ids: Sequence[str]) -> TaskPage:
        """Those of these tasks, at most MAX_READ, that are still stored."""

    def follow(self, after: str) -> AsyncIterator[FeedMessage]:
        """Changes after the cursor ("": from now on) until the connection is lost, which raises.
        Close it (aclose) after use."""

    def follow_queue(self) -> AsyncGenerator[QueueChanged | StoreLost, None]:
        """The state of the queue alone, in the same way."""

    async def task_detail(self, id: str) -> TaskDetail: ...

    async def attempts(self, id: str) -> list[Attempt]:
        """Those that have ended, the oldest first."""

    async def request_head(self, id: str) -> RequestView: ...

    async def response_head(self, id: str) -> ResponseView:
        """Raises NoSuchTaskError while there is none."""

    async def read_body(self, id: str, side: Side, first: int, limit: int) -> BodyPart:
        """At most `limit` bytes of a body from `first` on. Raises NotPermittedError without the
        right to read bodies."""

    # -- acting ---------------------------------------------------------------------------------

    async def change_tasks(
        self, action: TaskAction, ids: Sequence[str], *, is_bare: bool = False
    ) -> Changed:
        """At most MAX_SELECTED tasks. `is_bare`: a retry sends them without credentials, even if
        they had some."""

    async def change_matching(
        self, action: TaskAction, query: TaskQuery, *, after: str = "", is_bare: bool = False
    ) -> Changed:
        """All tasks that match, as far as a second or two go: while the answer has a `next`, it is
        asked again with that as `after`. Ages in the filter are to be fixed before (fix_ages)."""

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def control(self) -> ControlState: ...

    async def set_concurrency(
        self, concurrency: int | None, pod_concurrency: int | None, version: str
    ) -> None:
        """None: as the settings of the gateway say. Raises ChangedMeanwhileError if `version` is
        not the present one."""

    async def submit(self, request: TestRequest) -> str:
        """Submit it as an asynchronous request; returns the id of its task."""

    @property
    def may_read_bodies(self) -> bool | None:
        """Whether bodies may be read; None while that is not known."""
