"""Marks and actions of the tab Async Queue."""

from __future__ import annotations

import base64
import math
from itertools import pairwise
from typing import Any

import pytest

from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.tasks import Task, TaskAction, TaskState
from tests.tui import fakes
from tests.tui.queue_driver import PODS, QueueDriver, fill, hold, one_of_each
from tui.async_queue import action_pane
from tui.panes.logs import LogsPane
from tui.screens.serving import ServingScreen
from tui.screens.task import TaskScreen


@pytest.fixture
def driver() -> QueueDriver:
    return QueueDriver()


async def test_an_action_on_the_task_under_the_cursor(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    async with driver.open(monkeypatch):
        await driver.press("X", "T")
        await driver.press("n")
        await driver.wait_for_text("Only failed tasks can be retried; this one is pending.")
        driver.pane.table.select(ids["failed"])
        await driver.press("n")
        await driver.press("X")
        await driver.wait_for_text(
            "Only pending or processing tasks can be cancelled; this one is failed."
        )
        assert driver.actions.calls == [
            (TaskAction.CANCEL, [ids["pending"]]),
            (TaskAction.FRONT, [ids["pending"]]),
            (TaskAction.RETRY, [ids["failed"]]),
        ]


async def test_marks_stay_while_other_tasks_are_shown(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    async with driver.open(monkeypatch):
        await driver.press("space", "j", "m")
        await driver.wait_for_text("2 marked")
        assert driver.row(ids["pending"])[0].startswith("* …")
        await driver.press(*"ffff")
        await driver.wait_for(lambda: driver.ids == [ids["failed"]], "the failed task")
        await driver.wait_for_text("2 marked")
        await driver.press("X")
        assert driver.actions.calls == [(TaskAction.CANCEL, [ids["pending"], ids["processing"]])]
        driver.actions.on_done("2 tasks cancelled.", "ready")
        await driver.wait_for_text("2 tasks cancelled.")
        assert "marked" not in driver.text


async def test_what_became_of_marked_tasks_that_are_not_loaded_is_not_known(driver, monkeypatch):
    queue, ids = driver.queue, one_of_each(driver.queue)
    marked = [ids["pending"], ids["processing"]]
    async with driver.open(monkeypatch):
        await driver.press("space", "j", "m")
        await driver.wait_for_text("2 marked")
        await driver.press("n")
        await driver.wait_for_text(
            "Only failed tasks can be retried; these are pending and processing."
        )
        await driver.press(*"fff")  # completed ones
        await driver.wait_for(lambda: driver.ids == [ids["completed"]], "the completed task")
        queue.claim(ids["pending"])
        for id in marked:
            queue.end(id, TaskState.FAILED)
        await driver.wait_for_text("Failed 3")
        await driver.press("n")
        assert driver.actions.calls == [(TaskAction.RETRY, marked)]
        assert driver.actions.not_listed == set(marked)
        await driver.press("f")
        await driver.wait_for(lambda: len(driver.ids) == 3, "the failed tasks")
        await driver.press("X")
        await driver.wait_for_text(
            "Only pending or processing tasks can be cancelled; these are failed."
        )
        await driver.press("n")
        assert driver.actions.calls[1:] == [(TaskAction.RETRY, marked)]
        assert driver.actions.not_listed == set()


async def test_a_task_that_has_just_come_under_the_cursor_is_asked_about(driver, monkeypatch):
    """The key may be for the one before."""
    monkeypatch.setattr(action_pane, "MOVED_SECONDS", math.inf)
    queue = driver.queue
    first = queue.submit().id
    async with driver.open(monkeypatch):
        await driver.press("T")
        second = queue.submit().id
        await driver.wait_for(lambda: driver.cursor_id == second, "the new task")
        await driver.press("T")
        monkeypatch.setattr(action_pane, "MOVED_SECONDS", -math.inf)
        await driver.press("T")
        assert driver.actions.calls == [
            (TaskAction.FRONT, [first]),
            (TaskAction.FRONT, [second], "asks"),
            (TaskAction.FRONT, [second]),
        ]


async def test_what_is_done_to_other_tasks_leaves_the_marks(driver, monkeypatch):
    one_of_each(driver.queue)
    async with driver.open(monkeypatch):
        await driver.press("space", "j", "m", "p")
        on_other_done, on_marks_done = driver.actions.all_on_done
        on_other_done("The async queue is paused.", "ready")
        await driver.wait_for_text("The async queue is paused.", "2 marked")
        on_marks_done("The gateway does not answer.", "error")
        await driver.wait_for_text("The gateway does not answer.", "2 marked")
        on_marks_done("2 tasks cancelled.", "ready")
        await driver.wait_for(lambda: "marked" not in driver.text, "the marks to go")


async def test_what_was_done_to_another_serving_leaves_the_marks(monkeypatch):
    source = fakes.FakeSource().add_views(
        *(fakes.serving(name, has_async_queue=True) for name in ("llama", "qwen"))
    )
    driver = QueueDriver(source=source)
    driver.queue.submit()
    async with driver.open(monkeypatch):
        done_before = driver.actions.on_done
        await driver.press("right_square_bracket")
        await driver.wait_for(lambda: driver.actions.on_done is not done_before, "the next one")
        await driver.wait_for_text("◌ Pending")
        await driver.press("m")
        await driver.wait_for_text("1 marked")
        assert not done_before("2 tasks cancelled.", "ready")
        await driver.press("j", "k")
        assert "1 marked" in driver.text and "cancelled." not in driver.text


async def test_ages_of_a_filter_are_those_of_the_tasks_that_are_shown(driver, monkeypatch):
    queue = driver.queue
    queue.submit()
    async with driver.open(monkeypatch):
        await driver.press("slash", *"age:<1h", "enter")
        await driver.wait_for(lambda: len(driver.ids) == 1, "the task")
        shown_at = driver.actions.now()
        queue.time += 3600
        queue.submit()
        await driver.wait_for(lambda: len(driver.ids) == 2, "the new task")
        assert driver.actions.now() == shown_at


async def test_all_that_match_are_marked_loaded_or_not(driver, monkeypatch):
    one_of_each(driver.queue)
    fill(driver.queue, 600)
    async with driver.open(monkeypatch):
        await driver.press("f", "M")
        await driver.wait_for_text("all that match are marked")
        assert all(row.cells[0][0][0] == "* " for row in driver.pane.table.rows)
        await driver.press("X")
        assert driver.actions.calls.pop() == (
            TaskAction.CANCEL,
            TaskQuery(TaskState.PENDING),
            602,
        )
        await driver.press("escape")
        assert "marked" not in driver.text and "[Pending" in driver.text
        await driver.press("slash", *"age:>1s", "enter", "M", "T")
        assert driver.actions.calls.pop() == (
            TaskAction.FRONT,
            TaskQuery(TaskState.PENDING, "age:>1s"),
            None,
        )
        await driver.press("space")
        await driver.wait_for_text("All that match are marked; M removes the marks.")
        await driver.press("f")
        await driver.wait_for(lambda: "marked" not in driver.text, "the marks to go")


async def test_actions_on_the_queue(driver, monkeypatch):
    queue = driver.queue
    async with driver.open(monkeypatch):
        for key, reason in (
            ("N", "No task has failed."),
            ("D", "No task is pending."),
            ("enter", "There is no task under the cursor."),
            ("O", "The async queue is on."),
        ):
            await driver.press(key)
            await driver.wait_for_text(reason)
        ids = one_of_each(queue)
        await driver.wait_for(lambda: len(driver.ids) == 6, "the tasks")
        await driver.wait_for_text("[All 6]")
        await driver.wait_for(lambda: len(driver.ids) == 6, "the tasks")
        await driver.press("N", "D", "p", "equals_sign", "a")
        assert driver.actions.calls == [
            ("retry_all_failed", 1),
            ("purge_pending", 2),
            ("pause_or_resume", False),
            ("change_concurrency", "v1"),
            ("submit_test", ids["pending"]),
        ]


async def test_readonly_changes_nothing(driver, monkeypatch):
    one_of_each(driver.queue)
    driver.actions.reason = "servedeck runs with --readonly."
    async with driver.open(monkeypatch):
        for key in ("X", "T", "N", "D", "p", "equals_sign", "a", "L"):
            await driver.press(key)
            await driver.wait_for_text("servedeck runs with --readonly.")
            await driver.press("j", "k")
        assert not driver.actions.calls


async def test_enter_and_a_double_click_ask_for_the_task(driver, monkeypatch):
    requested: list[Task] = []
    monkeypatch.setattr(
        ServingScreen,
        "on_task_action_pane_task_requested",
        lambda screen, message: requested.append(message.task),
    )
    ids = fill(driver.queue, 3)
    async with driver.open(monkeypatch):
        await driver.press("j", "enter")
        await driver.pilot.click("#tasks", offset=(3, 3), times=2)
        await driver.wait_for(lambda: len(requested) == 2, "the task")
        assert [task.id for task in requested] == [ids[1], ids[2]]


async def test_the_next_task_is_that_of_the_list_in_its_order(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    by_age = sorted(ids.values(), reverse=True)
    async with driver.open(monkeypatch):
        await driver.press("greater_than_sign")
        await driver.wait_for(lambda: driver.ids != by_age, "another order")
        shown = driver.ids
        following = dict(pairwise(by_age))
        here, after = next(one for one in pairwise(shown) if following.get(one[0]) != one[1])
        driver.pane.table.select(here)
        await driver.press("enter")
        await driver.wait_for_text(f"Task {here}")
        await driver.press("right_square_bracket")
        await driver.wait_for_text(f"Task {after}")


async def test_the_log_of_the_pod_of_the_last_attempt(driver, monkeypatch):
    queue = driver.queue
    gone, id = queue.submit().id, queue.submit().id
    queue.claim(id, PODS[1])
    began = queue.time
    queue.claim(gone, "llama-old")
    targets: list[Any] = []
    choose = LogsPane.choose_pod
    monkeypatch.setattr(
        LogsPane, "choose_pod", lambda pane, log: (targets.append(log), choose(pane, log))
    )
    async with driver.open(monkeypatch):
        await driver.press("j", "l")
        await driver.wait_for_text("Pod llama-old does not exist any longer.")
        await driver.press("k", "l")
        await driver.wait_for(
            lambda: isinstance(driver.app.screen.active_pane, LogsPane),  # type: ignore[attr-defined]
            "the log",
        )
        assert [tuple(one) for one in targets] == [(PODS[1], "", int(began * 1e9))]


async def test_copying_the_id(driver, monkeypatch):
    ids = fill(driver.queue, 2)
    sent: list[str] = []
    async with driver.open(monkeypatch):
        monkeypatch.setattr(driver.app, "write_to_terminal", sent.append)
        await driver.press("j", "C")
        await driver.wait_for(lambda: sent, "the clipboard")
        assert base64.b64encode(ids[1].encode()).decode() in sent[0]


async def test_the_screen_of_a_task_over_the_tab_that_goes_on(driver, monkeypatch):
    ids = fill(driver.queue, 3)
    async with driver.open(monkeypatch):
        live = driver.pane._live
        await driver.press("j", "enter")
        await driver.wait_for(lambda: isinstance(driver.app.screen, TaskScreen), "the task")
        await driver.wait_for_text(ids[1][-8:])
        driver.queue.claim(ids[1])
        await driver.wait_for_text("Processing")
        await driver.press("escape")
        await driver.wait_for_text("↻ Processing")
        assert driver.pane._live is live and driver.cursor_id == ids[1]


@pytest.mark.parametrize("is_reopened", [False, True])
async def test_a_retry_goes_on_when_the_page_is_closed(driver, monkeypatch, is_reopened):
    id = one_of_each(driver.queue)["failed"]
    arrived, gate = hold(driver.api, monkeypatch, "change_tasks")
    async with driver.open(monkeypatch, has_real_actions=True):
        page = driver.app.screen
        driver.pane.table.select(id)
        await driver.press("n")
        await driver.wait_for(arrived.is_set, "the request")
        await driver.press("escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        if is_reopened:
            await driver.press("enter")
            await driver.wait_for(lambda: driver.app.screen is page, "the page")
        gate.set()
        await driver.wait_for_text(f"Retry task {id} of team-a/llama: The task was retried.")
        assert driver.queue.tasks[id].state is TaskState.PENDING


async def test_a_retry_goes_on_while_another_serving_is_shown(monkeypatch):
    source = fakes.FakeSource().add_views(
        *(fakes.serving(name, has_async_queue=True) for name in ("llama", "qwen"))
    )
    driver = QueueDriver(source=source)
    id = one_of_each(driver.queue)["failed"]
    arrived, gate = hold(driver.api, monkeypatch, "change_tasks")
    async with driver.open(monkeypatch, has_real_actions=True):
        driver.pane.table.select(id)
        await driver.press("n")
        await driver.wait_for(arrived.is_set, "the request")
        await driver.press("right_square_bracket")
        await driver.wait_for(lambda: driver.pane.key.name == "qwen", "the next one")
        gate.set()
        await driver.wait_for_text(f"Retry task {id} of team-a/llama: The task was retried.")


async def test_marked_tasks_are_cancelled_and_the_marks_removed(driver, monkeypatch):
    queue = driver.queue
    ids = fill(queue, 4)
    async with driver.open(monkeypatch, has_real_actions=True):
        await driver.press("space", "j", "space", "X")
        await driver.wait_for_text("Cancel 2 tasks")
        await driver.press("y")
        await driver.wait_for_text("Pending 2  Processing 0  Completed 0  Failed 0  Cancelled 2")
        await driver.wait_for(lambda: "marked" not in driver.text, "the marks to go")
        assert {queue.tasks[id].state for id in ids[:2]} == {TaskState.CANCELLED}
