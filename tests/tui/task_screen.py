"""The screen of one task over an async queue in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from servedeck.async_queue.live_queue import LiveQueue
from servedeck.async_queue.queue_api import Side
from servedeck.async_queue.tasks import Attempt, RequestView, Task, TaskAction, TaskState
from tests.async_queue.fake_queue import START, FakeQueue, FakeQueueApi
from tests.tui import fakes
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.logs.target import LogTarget
from tui.screens.task import TaskScreen

TASK_ID = "0199a1b2c3d47e5f8a60718293a4b5c6"
KEY = fakes.fleet()[2].key

CHAT: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "temperature": 0.2,
    "messages": [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "What is an inference server?\nAnswer in 한국어, please."},
    ],
}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "모델을 실행해 요청에 답하는 서버입니다."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 31, "completion_tokens": 120},
}


class FixedLiveQueue(LiveQueue):
    """Its clock is that of the store, which goes on with each change alone."""

    def __init__(self, api: FakeQueueApi) -> None:
        super().__init__(api, lambda: None)
        self._queue = api.queue

    def now(self) -> float:
        return self._queue.time


class FakeFlow:
    """Notes the actions, and runs those of one task when `run` is called."""

    def __init__(self, screen: TaskScreen) -> None:
        self._screen = screen
        self.started: list[tuple[TaskAction, list[str]]] = []
        self.tests: list[Task | None] = []
        self.reason = ""

    def disabled_reason(self) -> str:
        return self.reason

    def start(self, action: TaskAction, tasks: list[Task]) -> None:
        self.started.append((action, [task.id for task in tasks]))

    def submit_test(self, task: Task | None) -> None:
        self.tests.append(task)

    async def run(self) -> None:
        """Do what was asked last."""
        action, ids = self.started[-1]
        changed = await self._screen.api.change_tasks(action, ids)
        others = ", ".join(f"{count} {state.value}" for state, count in changed.others.items())
        self._screen.on_action_done(f"{changed.changed} changed; {others}.", "ready")


class TaskHarness:
    """The queue, the app and what the screen was closed with."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.api = FakeQueueApi(self.queue)
        self.live: FixedLiveQueue | None = None
        self.app: ServedeckApp = make_app()
        self.results: list[LogTarget | None] = []
        self.flows: list[FakeFlow] = []

    @property
    def screen(self) -> TaskScreen:
        found = [one for one in self.app.screen_stack if isinstance(one, TaskScreen)]
        return found[-1]

    def create_flow(self, screen: TaskScreen) -> FakeFlow:
        self.flows.append(FakeFlow(screen))
        return self.flows[-1]

    def set_bodies(self, request: bytes | None = None, response: bytes | None = None) -> None:
        for side, body in ((Side.REQUEST, request), (Side.RESPONSE, response)):
            if body is not None:
                self.api.bodies[TASK_ID, side] = body

    def submit(self) -> Task:
        """A chat, with a header that is hidden."""
        self.set_bodies(json.dumps(CHAT).encode(), json.dumps(ANSWER).encode())
        self.api.heads[TASK_ID, Side.REQUEST] = RequestView(
            path="/v1/chat/completions",
            headers=[("content-type", "application/json"), ("x-api-key", "[hidden]")],
            model=CHAT["model"],
        )
        self.api.details[TASK_ID] = {"has_credentials": True, "position": 0}
        size = len(json.dumps(CHAT))
        return self.queue.submit(
            TASK_ID, model=CHAT["model"], owner="1f3870be274f6c49", request_bytes=size
        )

    def fail_once(self, pod: str = "chat-7d9c-x2x1q") -> None:
        """An attempt that fails."""
        self.queue.claim(TASK_ID, pod)
        self.queue.give_back(TASK_ID)
        self.api.attempts_of.setdefault(TASK_ID, []).append(
            Attempt(
                attempt=self.queue.tasks[TASK_ID].attempt,
                pod=pod,
                began=self.queue.time - 1,
                ended=self.queue.time,
                status=503,
                message="The inference server answered 503.",
            )
        )

    def complete(self, pod: str = "chat-7d9c-b8k2m") -> None:
        """An attempt that succeeds."""
        self.queue.claim(TASK_ID, pod)
        began = self.queue.time
        self.queue.time += 1
        self.queue.end(
            TASK_ID, prompt_tokens=31, completion_tokens=120, response_bytes=len(json.dumps(ANSWER))
        )
        attempt = self.queue.tasks[TASK_ID].attempt
        self.api.attempts_of.setdefault(TASK_ID, []).append(
            Attempt(attempt=attempt, pod=pod, began=began, ended=self.queue.time, status=200)
        )

    async def open(self, pilot: Pilot[None], id: str = TASK_ID) -> TaskScreen:
        """Open the screen over the list of servings."""
        await wait_for_text(pilot, "NAME")
        self.live = FixedLiveQueue(self.api)
        self.live.start()
        live = self.live
        await wait_for(pilot, lambda: live.find(id) is not None, "the list of tasks")
        screen = TaskScreen(KEY, live, self.api, self.queue.tasks[id], create_flow=self.create_flow)
        self.app.push_screen(screen, self.results.append)
        await wait_for(pilot, lambda: self.app.screen is screen, "the task")
        return screen

    async def close(self) -> None:
        if self.live is not None:
            await self.live.close()


@asynccontextmanager
async def open_task(
    harness: TaskHarness, *texts: str, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Pilot[None]]:
    """The screen of the harness's task, once it shows the texts."""
    async with harness.app.run_test(size=size) as pilot:
        try:
            await harness.open(pilot)
            await wait_for_text(pilot, *texts)
            yield pilot
        finally:
            await harness.close()


__all__ = ["ANSWER", "CHAT", "START", "TASK_ID", "TaskHarness", "TaskState", "open_task"]
