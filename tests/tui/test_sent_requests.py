"""What a key does at once to tasks and their queue, while the gateway has not answered."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from servedeck.async_queue.tasks import TaskAction, TaskState
from tests.tui.queue_actions import KEY, refuse_with_credentials, run_actions
from tests.tui.queue_driver import hold


@pytest.mark.parametrize(
    ("action", "state", "done"),
    [
        (TaskAction.RETRY, TaskState.FAILED, "retried"),
        (TaskAction.FRONT, TaskState.PENDING, "moved to the front"),
    ],
)
async def test_what_is_not_answered_yet_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, action: TaskAction, state: TaskState, done: str
) -> None:
    async with run_actions() as driver:
        [task, other] = driver.submit(state, 2)
        arrived, gate = hold(driver.api, monkeypatch, "change_tasks")
        driver.flow.start(action, [task])
        await driver.wait_for(arrived.is_set, "the request")
        for asks in (False, True):
            driver.app.servings.clear_message()
            driver.flow.start(action, [task], asks=asks)
            await driver.wait_for_text(
                f"The task is being {done}; the gateway has not answered yet."
            )
        driver.flow.start(action, [other])
        gate.set()
        await driver.wait_for(lambda: len(driver.done) == 2, "both answers")
        assert driver.done == [(f"The task was {done}.", "ready")] * 2
        asked = [one[2] for one in driver.api.calls if one[0] == "change_tasks"]
        assert sorted(asked) == [(task.id,), (other.id,)]


async def test_quitting_says_what_is_not_answered_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_actions() as driver:
        [task] = driver.submit(TaskState.FAILED)
        arrived, _gate = hold(driver.api, monkeypatch, "change_tasks")
        driver.flow.start(TaskAction.RETRY, [task])
        await driver.wait_for(arrived.is_set, "the request")
        await driver.press("ctrl+q")
        await driver.wait_for(lambda: driver.app.exiting, "the program to exit")
        printed = str(driver.app._exit_renderables)
        assert f"Whether task {task.id} of {KEY} was retried is not known." in printed


async def test_nothing_is_asked_over_another_screen_than_that_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with run_actions((120, 40)) as driver:
        [task] = driver.submit(TaskState.FAILED)
        driver.api.details[task.id] = {"has_credentials": True}
        refuse_with_credentials(driver, "Its credentials were deleted.")
        arrived, gate = hold(driver.api, monkeypatch, "change_tasks")
        driver.flow.start(TaskAction.RETRY, [task])
        await driver.wait_for(arrived.is_set, "the request")
        await driver.press("question_mark")
        await driver.wait_for(lambda: driver.app.screen is not driver.app.servings, "the help")
        shown = driver.app.screen
        gate.set()
        text = "The task was not retried. Its credentials were deleted."
        await driver.wait_for_text(f"Retry task {task.id} of {KEY}: {text}")
        assert driver.app.screen is shown
        assert driver.done == [(text, "error")]


async def test_a_pause_that_is_not_answered_yet_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with run_actions() as driver:
        arrived, gate = hold(driver.api, monkeypatch, "pause")
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_for_text("Pause the async queue")
        await driver.press("enter")
        await driver.wait_for(arrived.is_set, "the request")
        for is_paused in (False, True):
            driver.app.servings.clear_message()
            status = replace(driver.queue.queue_status(), paused=is_paused)
            driver.flow.pause_or_resume(status)
            await driver.wait_for_text(
                "The async queue is being paused; the gateway has not answered yet."
            )
        gate.set()
        await driver.wait_until_done(
            f"The async queue of {KEY} is paused: no task is taken until it is resumed."
        )
        assert driver.queue.control.paused
        assert [one[0] for one in driver.api.calls] == ["pause"]


async def test_quitting_says_that_it_is_not_known_whether_it_was_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with run_actions() as driver:
        await driver.api.pause()
        arrived, _gate = hold(driver.api, monkeypatch, "resume")
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_for(arrived.is_set, "the request")
        await driver.press("ctrl+q")
        await driver.wait_for(lambda: driver.app.exiting, "the program to exit")
        printed = str(driver.app._exit_renderables)
        assert f"Whether the async queue of {KEY} was resumed is not known." in printed
