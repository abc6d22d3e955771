"""The tab Async Queue over a queue in memory: its app, keys and what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.async_queue.queue_api import QueueApi, TaskQuery
from servedeck.async_queue.tasks import QueueStatus, Task, TaskAction, TaskState, WorkerStatus
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.panes.queue import QueuePane
from tui.screens.serving import ServingScreen
from widgets.columns import AgeCell

NAME = "llama"
PODS = ("llama-7d9c-x2x1q", "llama-7d9c-b8k2m")


class FakeQueueService:
    """`AsyncQueueService` with one queue for all servings."""

    def __init__(self, api: QueueApi) -> None:
        self.api = api
        self.error: ClusterError | None = None
        self.reason = ""
        """Which permission to change the queue is missing."""
        self.next_reason = ""
        """The same, once it was asked."""
        self.keys: list[NamespacedName] = []
        """The servings that were asked for."""

    def queue_api(self, key: NamespacedName) -> QueueApi:
        self.keys.append(key)
        if self.error is not None:
            raise self.error
        return self.api

    def disabled_reason(self, key: NamespacedName) -> str:
        return self.reason

    async def refresh_permissions(self, key: NamespacedName) -> None:
        self.reason = self.next_reason

    async def close(self) -> None:
        pass


class RecordedActions:
    """`TaskActions` that only notes what is to be done."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.not_listed: set[str] = set()
        """Tasks of the last call whose state is not known."""
        self.reason = ""
        self.on_done: Callable[[str, str], bool] = lambda text, style_name: True
        """Of what is done to marked tasks, which is created last."""
        self.all_on_done: list[Callable[[str, str], bool]] = []
        self.now: Callable[[], float] = lambda: 0.0

    def create(
        self,
        key: NamespacedName,
        api: QueueApi,
        *,
        now: Callable[[], float],
        on_done: Callable[[str, str], bool],
    ) -> RecordedActions:
        self.on_done, self.now = on_done, now
        self.all_on_done.append(on_done)
        return self

    def disabled_reason(self) -> str:
        return self.reason

    def start(
        self,
        action: TaskAction,
        tasks: Sequence[Task],
        *,
        asks: bool = False,
        not_listed: Collection[str] = (),
    ) -> None:
        self.not_listed = set(not_listed)
        self.calls.append((action, [task.id for task in tasks], *(["asks"] if asks else ())))

    def start_matching(self, action: TaskAction, query: TaskQuery, count: int | None) -> None:
        self.calls.append((action, query, count))

    def retry_all_failed(self, failed: int | None) -> None:
        self.calls.append(("retry_all_failed", failed))

    def purge_pending(self, pending: int | None) -> None:
        self.calls.append(("purge_pending", pending))

    def pause_or_resume(self, status: QueueStatus) -> None:
        self.calls.append(("pause_or_resume", status.paused))

    def change_concurrency(self, status: QueueStatus) -> None:
        self.calls.append(("change_concurrency", status.control_version))

    def submit_test(self, task: Task | None) -> None:
        self.calls.append(("submit_test", task.id if task is not None else None))

    def turn_on(self) -> None:
        self.calls.append(("turn_on",))

    def change_limits(self) -> None:
        self.calls.append(("change_limits",))


class QueueDriver:
    """The app on the tab, with what is behind it."""

    def __init__(self, queue: FakeQueue | None = None, **options: Any) -> None:
        self.queue = queue or FakeQueue()
        self.queue.status.setdefault(
            "workers", [WorkerStatus(name="llama-async", ready_pods=[*PODS])]
        )
        self.api = FakeQueueApi(self.queue)
        self.service = FakeQueueService(self.api)
        self.actions = RecordedActions()
        self.source = options.pop("source", None) or fakes.FakeSource().add_views(
            fakes.serving(NAME, has_async_queue=True, pods=tuple(fakes.pod(one) for one in PODS))
        )
        options.setdefault("async_queue_service", self.service)
        self.app: ServedeckApp = make_app(self.source, **options)
        self.pilot: Pilot[Any]

    @asynccontextmanager
    async def open(
        self,
        monkeypatch: Any,
        size: tuple[int, int] = (120, 40),
        *,
        has_real_actions: bool = False,
    ) -> AsyncIterator[QueueDriver]:
        """The tab, as soon as it is connected or says why not. What is done is noted in `actions`,
        or with `has_real_actions` done."""
        actions = self.actions
        if not has_real_actions:
            monkeypatch.setattr(
                ServingScreen,
                "_create_task_actions",
                lambda screen, *arguments, **options: actions.create(*arguments, **options),
            )
        async with self.app.run_test(size=size) as self.pilot:
            await self.wait_for_text(NAME[: size[0] // 2])
            await self.press("enter", "4")
            await self.wait_for(
                lambda: isinstance(getattr(self.app.screen, "active_pane", None), QueuePane),
                "the tab",
            )
            await self.wait_for(lambda: "Loading…" not in self.text, "the first answer")
            yield self

    @property
    def pane(self) -> QueuePane:
        pane = self.app.screen.active_pane  # type: ignore[attr-defined]
        assert isinstance(pane, QueuePane)
        return pane

    @property
    def text(self) -> str:
        return screen_text(self.app)

    @property
    def ids(self) -> list[str]:
        """Of the lines of the table."""
        return [str(row.key) for row in self.pane.table.rows]

    @property
    def cursor_id(self) -> str:
        return str(self.pane.table.cursor_key)

    def row(self, id: str) -> list[str]:
        """Texts of the cells of a line; an age is "age"."""
        found = next(row for row in self.pane.table.rows if row.key == id)
        return [_cell_text(cell) for cell in found.cells]

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until they have had their effect."""
        await self.pilot.press(*keys)
        await self.app._key_queue.wait_until_idle()
        await self.pilot.pause()

    async def wait_for(self, condition: Callable[[], object], what: str) -> None:
        await wait_for(self.pilot, condition, what)

    async def wait_for_text(self, *texts: str) -> str:
        return await wait_for_text(self.pilot, *texts)


def _cell_text(cell: Any) -> str:
    if isinstance(cell, AgeCell):
        return "age"
    return cell if isinstance(cell, str) else "".join(text for text, _style_name in cell)


def hold(
    api: FakeQueueApi, monkeypatch: pytest.MonkeyPatch, name: str
) -> tuple[asyncio.Event, asyncio.Event]:
    """Let requests of this name wait: when the first one has come, and what lets them be done."""
    arrived, gate = asyncio.Event(), asyncio.Event()
    real = getattr(api, name)

    async def wait(*arguments: Any, **options: Any) -> Any:
        arrived.set()
        await gate.wait()
        return await real(*arguments, **options)

    monkeypatch.setattr(api, name, wait)
    return arrived, gate


def fill(queue: FakeQueue, count: int, **fields: Any) -> list[str]:
    """Pending tasks; returns their ids, the newest first."""
    return [queue.submit(**fields).id for _ in range(count)][::-1]


def one_of_each(queue: FakeQueue) -> dict[str, str]:
    """A task in each state by its name, and one that waits for another attempt."""
    ids = {
        name: queue.submit().id
        for name in ("cancelled", "failed", "completed", "delayed", "processing", "pending")
    }
    for name in ("cancelled", "failed", "completed", "delayed", "processing"):
        queue.claim(ids[name], PODS[0])
    queue.end(ids["cancelled"], TaskState.CANCELLED)
    queue.end(ids["failed"], TaskState.FAILED, reason="exhausted", message="It hung.", status=503)
    queue.end(ids["completed"], prompt_tokens=812, completion_tokens=94)
    queue.give_back(ids["delayed"])
    return ids
