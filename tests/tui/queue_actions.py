"""Driving the actions of an async queue in tests, over the list of servings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from servedeck.async_queue.queue_api import QueueApi
from servedeck.async_queue.tasks import Changed, Task, TaskAction, TaskState
from servedeck.changes.async_queue.plan import (
    AsyncQueueAction,
    AsyncQueueOptions,
    AsyncQueuePlan,
    AsyncQueueResult,
)
from servedeck.changes.async_queue.state import CurrentLimits
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import AsyncQueueSettings
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.async_queue.action_flow import TaskActionFlow
from tui.ports.async_queue_service import LimitValues

KEY = NamespacedName("team-a", "llama-8b")
OPTIONS = AsyncQueueOptions(AsyncQueueAction.ON, KEY.namespace, KEY.name)
PLAN = AsyncQueuePlan(
    OPTIONS,
    effects=(
        "Secret llama-8b-async is created, with random keys.",
        "Created: Deployment llama-8b-async, Service llama-8b-async.",
        "Restarts no Pods of the serving.",
    ),
)


class FakeAsyncQueueService:
    """`AsyncQueueService` made by hand: it plans and does what the test says."""

    def __init__(self, api: FakeQueueApi) -> None:
        self.api = api
        self.plans: list[AsyncQueuePlan | ClusterError] = [PLAN]
        """Those that are made one after the other; the last one again and again."""
        self.forced: list[bool] = []
        """Whether each plan was to overwrite fields of others."""
        self.planned: list[tuple[LimitValues, AsyncQueueSettings | None]] = []
        """The limits that each plan was to change, and what they were when they were read."""
        self.limits: CurrentLimits | None = None
        """Those that are read."""
        self.read_error: ClusterError | None = None
        self.reason = ""
        """Which permission is missing."""
        self.next_reason = ""
        """The same, once it was asked."""
        self.refreshed: list[NamespacedName] = []
        """The servings whose permissions were asked."""
        self.results: list[AsyncQueueResult] = [
            AsyncQueueResult(OPTIONS, Outcome.DONE, f"The async queue of {KEY} is on.")
        ]
        self.looked_again: list[AsyncQueueResult] = []
        """What becomes of lost answers, one after the other."""
        self.run_count = 0
        self.progress: Callable[[Callable[[str], None]], Any] | None = None
        """Awaited while it is turned on."""

    def queue_api(self, key: NamespacedName) -> FakeQueueApi:
        return self.api

    async def close(self) -> None:
        pass

    def disabled_reason(self, key: NamespacedName) -> str:
        return self.reason

    async def refresh_permissions(self, key: NamespacedName) -> None:
        self.refreshed.append(key)
        self.reason = self.next_reason

    async def read_limits(self, key: NamespacedName) -> CurrentLimits | None:
        if self.read_error is not None:
            raise self.read_error
        return self.limits

    async def plan_on(
        self,
        key: NamespacedName,
        *,
        force: bool = False,
        changes: LimitValues = (),
        seen: AsyncQueueSettings | None = None,
    ) -> AsyncQueuePlan:
        self.forced.append(force)
        self.planned.append((changes, seen))
        found = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        if isinstance(found, ClusterError):
            raise found
        return found

    async def run_on(
        self, plan: AsyncQueuePlan, on_progress: Callable[[str], None]
    ) -> AsyncQueueResult:
        self.run_count += 1
        if self.progress is not None:
            await self.progress(on_progress)
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    async def look_again(self, result: AsyncQueueResult) -> AsyncQueueResult:
        return self.looked_again.pop(0) if self.looked_again else result


class ActionDriver:
    """The app, a queue, and the flow over the list."""

    def __init__(
        self, pilot: Pilot[Any], service: FakeAsyncQueueService, api: QueueApi | None = None
    ) -> None:
        """`api` is what the flow asks, in place of the queue in memory."""
        self.pilot = pilot
        self.service = service
        self.api = service.api
        self.queue = service.api.queue
        self.done: list[tuple[str, str]] = []
        """Messages that the flow has given, with their style names."""
        self.flow = TaskActionFlow(
            self.app.servings,
            KEY,
            api or self.api,
            now=lambda: self.queue.time,
            on_done=self._note_done,
        )

    def _note_done(self, message: str, style_name: str) -> bool:
        self.done.append((message, style_name))
        return True

    @property
    def app(self) -> ServedeckApp:
        assert isinstance(self.pilot.app, ServedeckApp)
        return self.pilot.app

    @property
    def text(self) -> str:
        """The screen with its line breaks as blanks."""
        return " ".join(screen_text(self.app).split())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.pilot.press(*("space" if one == " " else one for one in text))

    async def wait_for(self, condition: Callable[[], object], what: str) -> None:
        await wait_for(self.pilot, condition, what)

    async def wait_for_text(self, *texts: str) -> str:
        return await wait_for_text(self.pilot, *texts)

    async def wait_until_done(self, text: str, style_name: str = "ready") -> None:
        """Wait for the message, and for the list to be in front."""
        await self.wait_for(lambda: self.done, "a message of the flow")
        assert self.done.pop() == (text, style_name)
        await self.wait_for(lambda: self.app.screen is self.app.servings, "the list")

    def submit(self, state: TaskState = TaskState.PENDING, number: int = 1) -> list[Task]:
        """So many tasks in that state."""
        return [self._submit(state) for _ in range(number)]

    def _submit(self, state: TaskState) -> Task:
        id = self.queue.submit().id
        if state is not TaskState.PENDING:
            self.queue.claim(id)
        if state.is_final:
            self.queue.end(id, state)
        return self.queue.tasks[id]

    def states(self) -> set[TaskState]:
        return {one.state for one in self.queue.tasks.values()}


def make_queue_app(**options: Any) -> tuple[ServedeckApp, FakeAsyncQueueService]:
    service = FakeAsyncQueueService(FakeQueueApi(FakeQueue()))
    return make_app(async_queue_service=service, **options), service


@asynccontextmanager
async def run_actions(
    size: tuple[int, int] = (80, 24), *, api: QueueApi | None = None, **options: Any
) -> AsyncIterator[ActionDriver]:
    app, service = make_queue_app(**options)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "llama")
        yield ActionDriver(pilot, service, api)


def refuse_with_credentials(driver: ActionDriver, message: str) -> None:
    """Refuse each retry, with a reason, unless it is one without credentials."""
    real = driver.api.change_tasks

    async def refuse(action: TaskAction, ids: list[str], *, is_bare: bool = False) -> Changed:
        if is_bare:
            return await real(action, ids, is_bare=is_bare)
        return Changed(changed=0, refused=1, message=message)

    driver.api.change_tasks = refuse  # type: ignore[assignment, method-assign]
