"""What operators do to the tasks of an async queue."""

from __future__ import annotations

import asyncio

import pytest

from servedeck.async_queue.bulk import PORTION
from servedeck.async_queue.errors import NotPermittedError, UnreachableError
from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.tasks import Changed, Task, TaskAction, TaskState
from tests.tui.queue_actions import KEY, ActionDriver, refuse_with_credentials, run_actions
from tui.screens.task_action import TaskActionDialog


def dialog_of(driver: ActionDriver) -> TaskActionDialog:
    assert isinstance(driver.app.screen, TaskActionDialog)
    return driver.app.screen


# -- one task -----------------------------------------------------------------------------------


async def test_a_pending_task_is_cancelled_by_enter() -> None:
    async with run_actions() as driver:
        [task] = driver.submit()
        driver.flow.start(TaskAction.CANCEL, [task])
        await driver.wait_for_text(f"Cancel the task of {KEY}", "y Cancel the task", task.id)
        assert "lost" not in driver.text
        assert driver.queue.tasks[task.id].state is TaskState.PENDING
        await driver.press("enter")
        await driver.wait_until_done("The task was cancelled.")
        assert driver.queue.tasks[task.id].state is TaskState.CANCELLED


async def test_a_task_that_is_processed_is_cancelled_by_y_and_not_by_enter() -> None:
    async with run_actions() as driver:
        [task] = driver.submit(TaskState.PROCESSING)
        driver.flow.start(TaskAction.CANCEL, [task])
        await driver.wait_for_text("It is being processed: what is generated so far is lost.")
        await driver.press("enter")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert not driver.done and not driver.api.calls
        driver.flow.start(TaskAction.CANCEL, [task])
        await driver.wait_for_text("what is generated so far is lost.")
        await driver.press("y")
        await driver.wait_until_done("The task was cancelled.")


@pytest.mark.parametrize("key", ["escape", "n"])
async def test_nothing_is_done_without_a_confirmation(key: str) -> None:
    async with run_actions() as driver:
        driver.flow.start(TaskAction.CANCEL, driver.submit(number=2))
        await driver.wait_for_text("Cancel 2 tasks")
        await driver.press(key)
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert not driver.done and not driver.api.calls


async def test_it_is_said_which_came_first_the_end_or_the_cancel() -> None:
    async with run_actions() as driver:
        [task] = driver.submit(TaskState.PROCESSING)
        driver.flow.start(TaskAction.CANCEL, [task])
        await driver.wait_for_text("y Cancel the task")
        driver.queue.end(task.id)
        await driver.press("y")
        await driver.wait_until_done(
            "The task was not cancelled: it had completed before.", "warning"
        )


@pytest.mark.parametrize(
    ("action", "state", "text"),
    [
        (TaskAction.RETRY, TaskState.FAILED, "The task was retried."),
        (TaskAction.FRONT, TaskState.PENDING, "The task was moved to the front."),
    ],
)
async def test_what_takes_nothing_away_is_done_to_one_task_at_once(
    action: TaskAction, state: TaskState, text: str
) -> None:
    async with run_actions() as driver:
        driver.flow.start(action, driver.submit(state))
        await driver.wait_until_done(text)


async def test_a_retry_that_is_refused_asks_whether_to_send_it_without_credentials() -> None:
    async with run_actions() as driver:
        [task] = driver.submit(TaskState.FAILED)
        driver.api.details[task.id] = {"has_credentials": True}
        refuse_with_credentials(driver, "Its credentials were deleted.")
        driver.flow.start(TaskAction.RETRY, [task])
        await driver.wait_for_text("The task was not retried. Its credentials were deleted.")
        assert not dialog_of(driver).confirms
        await driver.press("w")
        await driver.wait_for_text("All are sent without credentials")
        await driver.press("y")
        await driver.wait_until_done("The task was retried.")
        changes = [one for one in driver.api.calls if one[0] == "change_tasks"]
        assert changes == [("change_tasks", TaskAction.RETRY, (task.id,), True)]


async def test_a_retry_that_is_refused_for_another_reason_asks_nothing() -> None:
    async with run_actions() as driver:
        [task] = driver.submit(TaskState.FAILED)
        refuse_with_credentials(driver, "The queue is closed.")
        driver.flow.start(TaskAction.RETRY, [task])
        await driver.wait_until_done("The task was not retried. The queue is closed.", "error")


async def test_an_action_that_is_not_possible_opens_no_dialog() -> None:
    async with run_actions() as driver:
        driver.flow.start(TaskAction.RETRY, driver.submit(TaskState.COMPLETED))
        await driver.wait_for_text("Only failed tasks can be retried; this one is completed.")
        driver.flow.start(TaskAction.CANCEL, [])
        await driver.wait_for_text("There is no task under the cursor.")
        assert driver.app.screen is driver.app.servings


async def test_readonly_changes_nothing() -> None:
    async with run_actions(readonly=True) as driver:
        [task] = driver.submit()
        assert "--readonly" in driver.flow.disabled_reason()
        status = driver.queue.queue_status()
        for start in (
            lambda: driver.flow.start(TaskAction.FRONT, [task]),
            lambda: driver.flow.start_matching(TaskAction.CANCEL, TaskQuery(), None),
            lambda: driver.flow.retry_all_failed(3),
            lambda: driver.flow.purge_pending(3),
            lambda: driver.flow.pause_or_resume(status),
            lambda: driver.flow.change_concurrency(status),
            lambda: driver.flow.submit_test(task),
            driver.flow.turn_on,
        ):
            driver.app.servings.clear_message()
            start()
            await driver.wait_for_text("servedeck runs with --readonly")
            assert driver.app.screen is driver.app.servings
        assert not driver.api.calls
        assert not driver.service.forced


# -- several ------------------------------------------------------------------------------------


async def test_several_are_counted_by_their_state_and_the_first_are_named() -> None:
    async with run_actions((120, 40)) as driver:
        tasks = [
            *driver.submit(number=12),
            *driver.submit(TaskState.PROCESSING),
            *driver.submit(TaskState.COMPLETED, 2),
        ]
        driver.flow.start(TaskAction.CANCEL, tasks)
        await driver.wait_for_text(
            "12 pending, 1 processing, 2 completed",
            "2 stay as they are: only pending or processing ones are changed.",
            "… and 5 more",
            "Those that are being processed lose what is generated so far.",
        )
        assert tasks[9].id in driver.text and tasks[10].id not in driver.text
        await driver.press("y")
        await driver.wait_until_done("13 tasks cancelled; 2 had completed before.")


async def test_tasks_that_the_list_does_not_have_are_named_without_a_state() -> None:
    async with run_actions((120, 40)) as driver:
        [seen] = driver.submit()
        tasks = [seen, *driver.submit(TaskState.PROCESSING, 2)]
        gone = {one.id for one in tasks[1:]}
        driver.flow.start(TaskAction.CANCEL, tasks, not_listed=gone)
        text = await driver.wait_for_text(
            "Cancel 3 tasks",
            " 1 pending ",
            "2 are not in the list now, so their states are not shown; only pending or processing "
            "ones are changed.",
            "? Not shown",
        )
        assert "2 processing" not in text and "Processing" not in text and "lose" not in text
        assert not dialog_of(driver).confirms  # they may be processed
        await driver.press("escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        driver.flow.start(TaskAction.CANCEL, tasks[2:], not_listed=gone)
        text = await driver.wait_for_text(
            "It is not in the list now, so its state is not shown; it stays as it is unless it is "
            "pending or processing."
        )
        assert "lost" not in text
        await driver.press("escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        driver.queue.end(tasks[1].id, TaskState.FAILED)
        driver.queue.end(tasks[2].id, TaskState.FAILED)
        driver.flow.start(TaskAction.RETRY, tasks, not_listed=gone)
        await driver.wait_for_text("1 stays as it is: only failed ones are changed.")
        await driver.press("y")
        await driver.wait_until_done("2 tasks retried; 1 is pending.")


async def test_hostile_text_of_a_task_is_shown_as_text() -> None:
    async with run_actions((120, 40)) as driver:
        path = "/v1/\x1b[31m[bold]x[/foo]\u202e"
        task = driver.queue.submit(path=path, model="\x1b]0;t\x07m[red]", method="P\nOST")
        driver.flow.start(TaskAction.CANCEL, [task])
        await driver.wait_for_text("P OST /v1/[bold]x[/foo] m[red]")


async def test_it_stops_after_the_portion_and_goes_on() -> None:
    async with run_actions() as driver:
        tasks = driver.submit(number=2 * PORTION)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        driver.api.before_answer = lambda: gate
        driver.flow.start(TaskAction.CANCEL, tasks)
        await driver.wait_for_text("Cancel 400 tasks")
        await driver.press("enter")
        await driver.wait_for_text("Cancelling: 0 of 400 tasks…", "esc stop")
        await driver.press("y", "enter")  # once is enough
        await driver.press("escape")
        await driver.wait_for_text("Stopping")
        gate.set_result(None)
        await driver.wait_for_text(
            "200 tasks cancelled. Stopped: 200 were not asked for.", "y Go on", "n Close"
        )
        assert not dialog_of(driver).confirms
        await driver.press("y")
        await driver.wait_until_done("400 tasks cancelled.")
        assert len(driver.api.calls) == 2


async def test_what_was_done_before_an_error_is_kept_and_gone_on_with() -> None:
    async with run_actions() as driver:
        tasks = driver.submit(number=PORTION + 1)
        real = driver.api.change_tasks

        async def fail_once(
            action: TaskAction, ids: list[str], *, is_bare: bool = False
        ) -> Changed:
            answer = await real(action, ids, is_bare=is_bare)
            if len(driver.api.calls) == 2:
                raise UnreachableError("No Pod of the gateway is up.")
            return answer

        driver.api.change_tasks = fail_once  # type: ignore[assignment, method-assign]
        driver.flow.start(TaskAction.CANCEL, tasks)
        await driver.wait_for_text("Cancel 201 tasks")
        await driver.press("y")
        await driver.wait_for_text(
            "200 tasks cancelled. No Pod of the gateway is up. The answer to the last request is "
            "missing: more may have been cancelled."
        )
        await driver.press("y")
        await driver.wait_until_done(
            "200 tasks cancelled; 1 was cancelled before. An answer was lost before: more may have "
            "been cancelled by that request."
        )


async def test_a_run_that_failed_can_be_left() -> None:
    async with run_actions() as driver:
        tasks = driver.submit(number=2)
        driver.api.failure = NotPermittedError("It needs create on services/proxy.")
        driver.flow.start(TaskAction.CANCEL, tasks)
        await driver.wait_for_text("Cancel 2 tasks")
        await driver.press("y")
        await driver.wait_for_text("No task cancelled. It needs create on services/proxy.")
        await driver.press("enter")
        await driver.wait_until_done(
            "No task cancelled. It needs create on services/proxy.", "error"
        )
        assert driver.states() == {TaskState.PENDING}


async def test_quitting_waits_for_the_answer_that_is_missing() -> None:
    async with run_actions() as driver:
        tasks = driver.submit(number=2 * PORTION)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        driver.api.before_answer = lambda: gate
        driver.flow.start(TaskAction.CANCEL, tasks)
        await driver.wait_for_text("Cancel 400 tasks")
        await driver.press("enter")
        await driver.wait_for_text("Cancelling: 0 of 400 tasks…")
        await driver.press("ctrl+q")
        await driver.wait_for_text("It stops after the tasks that were asked for")
        assert not driver.app.exiting
        gate.set_result(None)
        await driver.wait_for(lambda: driver.app.exiting, "the program to exit")
        assert len(driver.api.calls) == 1


# -- all that match -----------------------------------------------------------------------------


async def test_all_that_match_are_changed_wherever_they_are() -> None:
    async with run_actions() as driver:
        driver.submit(TaskState.FAILED, 7)
        driver.submit(TaskState.COMPLETED, 2)
        driver.api.portion = 3
        query = TaskQuery(TaskState.FAILED, 'age:<9h path:"/v1"')
        driver.flow.start_matching(TaskAction.RETRY, query, None)
        await driver.wait_for_text(
            f"Retry all matching tasks of {KEY}",
            "State failed",
            'Filter age:<9h path:"/v1"',
            "Number not known",
        )
        started = driver.queue.time
        await driver.press("enter")
        await driver.wait_until_done("7 tasks retried.")
        texts = {one[2].text for one in driver.api.calls}
        assert texts == {f'created:>{started - 32400:.3f} path:"/v1"'}


async def test_tasks_of_a_state_that_an_action_is_not_for_are_not_asked_for() -> None:
    async with run_actions() as driver:
        driver.flow.start_matching(TaskAction.CANCEL, TaskQuery(TaskState.FAILED), 3)
        await driver.wait_for_text(
            "Only pending or processing tasks can be cancelled; all that match are failed."
        )
        assert driver.app.screen is driver.app.servings


async def test_all_failed_are_retried_with_or_without_credentials() -> None:
    async with run_actions() as driver:
        driver.flow.retry_all_failed(0)
        await driver.wait_for_text("No task has failed.")
        driver.submit(TaskState.FAILED, 3)
        driver.flow.retry_all_failed(3)
        await driver.wait_for_text("Retry 3 tasks", "3 tasks now", "w sends them without.")
        await driver.press("w", "enter")
        await driver.wait_until_done("3 tasks retried.")
        assert driver.api.calls[0][-1] is True
        assert driver.states() == {TaskState.PENDING}


async def test_pending_tasks_are_purged_once_the_name_is_typed() -> None:
    async with run_actions() as driver:
        driver.flow.purge_pending(0)
        await driver.wait_for_text("No task is pending.")
        driver.submit(number=3)
        driver.submit(TaskState.PROCESSING)
        driver.flow.purge_pending(3)
        await driver.wait_for_text(
            f"Cancel 3 pending tasks of {KEY}",
            "Type llama-8b to confirm; what waits is never delivered.",
        )
        await driver.type("llama")
        await driver.press("enter", "y", "enter")
        await driver.wait_for_text("Type llama-8b to confirm.")
        assert not driver.api.calls
        await driver.press("ctrl+u")
        await driver.type("llama-8b")
        await driver.press("enter")
        await driver.wait_until_done("3 tasks cancelled.")
        assert driver.states() == {TaskState.CANCELLED, TaskState.PROCESSING}


@pytest.mark.parametrize("is_many", [False, True])
async def test_in_production_the_name_is_typed_before_many_are_cancelled(is_many: bool) -> None:
    async with run_actions(is_production_context=lambda _name: True) as driver:
        tasks = driver.submit(number=3)
        chosen: list[Task] = tasks if is_many else tasks[:1]
        driver.flow.start(TaskAction.CANCEL, chosen)
        await driver.wait_for_text("is a production context.")
        await driver.press("enter")
        if is_many:
            await driver.wait_for_text("Type llama-8b to confirm.")
            await driver.type("llama-8b")
            await driver.press("enter")
            await driver.wait_until_done("3 tasks cancelled.")
        else:
            # enter alone leaves it
            await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
            assert not driver.api.calls


async def test_it_is_read_and_left_on_a_tiny_terminal() -> None:
    async with run_actions((20, 10)) as driver:
        driver.flow.start(TaskAction.CANCEL, driver.submit(number=2))
        await driver.wait_for_text("y Cancel 2 tas")
        await driver.press("pagedown", "down", "up", "enter")
        await driver.wait_until_done("2 tasks cancelled.")
