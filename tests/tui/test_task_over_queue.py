"""The screen of one task over the tab Async Queue, and the actions of operators there."""

from __future__ import annotations

import pytest

from servedeck.async_queue.queue_api import Side
from servedeck.async_queue.tasks import TaskState
from tests.tui.queue_driver import PODS, QueueDriver, hold
from tui.panes.logs import LogsPane
from tui.screens.task import TaskScreen


async def open_task(driver: QueueDriver) -> TaskScreen:
    """Open the task under the cursor."""
    await driver.press("enter")
    await driver.wait_for(lambda: isinstance(driver.app.screen, TaskScreen), "the task")
    screen = driver.app.screen
    assert isinstance(screen, TaskScreen)
    await driver.wait_for(lambda: screen.reader.bodies[Side.REQUEST].text, "the request")
    return screen


async def test_a_task_is_opened_followed_and_cancelled(monkeypatch):
    driver = QueueDriver()
    id = driver.queue.submit().id
    async with driver.open(monkeypatch, size=(80, 24)):
        screen = await open_task(driver)
        driver.queue.claim(id, PODS[0])
        await driver.wait_for_text("↻ Processing", f"in {PODS[0]}")
        await driver.press("X")
        await driver.wait_for(lambda: driver.app.screen is not screen, "the question")
        await driver.press("tab", "enter")
        await driver.wait_for(
            lambda: driver.queue.tasks[id].state is TaskState.CANCELLED, "the cancellation"
        )
        await driver.wait_for_text("- Cancelled", "cancelled")
        await driver.press("escape")
        await driver.wait_for(lambda: id in driver.ids, "the list")


async def test_a_task_that_completes_while_its_cancellation_is_asked_for(monkeypatch):
    driver = QueueDriver()
    id = driver.queue.submit().id
    driver.queue.claim(id, PODS[0])
    async with driver.open(monkeypatch, size=(120, 40)):
        screen = await open_task(driver)
        await driver.press("X")
        await driver.wait_for(lambda: driver.app.screen is not screen, "the question")
        driver.queue.end(id, TaskState.COMPLETED)
        await driver.press("tab", "enter")
        text = await driver.wait_for_text(
            "✓ Completed", "It was not cancelled: it completed at", "before the cancellation."
        )
        assert "had completed before" not in text


async def test_a_failed_task_is_retried_at_once(monkeypatch):
    driver = QueueDriver()
    id = driver.queue.submit().id
    driver.queue.claim(id, PODS[0])
    driver.queue.end(id, TaskState.FAILED, reason="exhausted", status=503)
    async with driver.open(monkeypatch, size=(80, 24)):
        await open_task(driver)
        await driver.press("n")
        await driver.wait_for_text("◌ Pending")
        assert driver.queue.tasks[id].state is TaskState.PENDING


@pytest.mark.parametrize("escapes", [1, 2])
async def test_a_retry_goes_on_when_the_task_is_left(monkeypatch, escapes):
    driver = QueueDriver()
    id = driver.queue.submit().id
    driver.queue.claim(id, PODS[0])
    driver.queue.end(id, TaskState.FAILED, reason="exhausted", status=503)
    arrived, gate = hold(driver.api, monkeypatch, "change_tasks")
    async with driver.open(monkeypatch, size=(120, 40)):
        screen = await open_task(driver)
        await driver.press("n")
        await driver.wait_for(arrived.is_set, "the request")
        await driver.press("n")
        await driver.wait_for_text("The task is being retried; the gateway has not answered yet.")
        await driver.press(*["escape"] * escapes)
        await driver.wait_for(lambda: not screen.is_attached, "the end of the screen")
        gate.set()
        await driver.wait_for_text(f"Retry task {id} of team-a/llama: The task was retried.")
        assert driver.queue.tasks[id].state is TaskState.PENDING


async def test_the_log_of_the_pod_of_a_task(monkeypatch):
    driver = QueueDriver()
    id = driver.queue.submit().id
    driver.queue.claim(id, PODS[1])
    driver.queue.end(id)
    async with driver.open(monkeypatch, size=(120, 40)):
        await open_task(driver)
        await driver.press("l")
        await driver.wait_for(
            lambda: isinstance(getattr(driver.app.screen, "active_pane", None), LogsPane), "the log"
        )
        await driver.wait_for_text(PODS[1])
