"""Pausing an async queue, and its concurrency."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servedeck.async_queue.errors import (
    AsyncQueueError,
    NotPermittedError,
    RefusedError,
    UnreachableError,
)
from tests.tui.queue_actions import KEY, ActionDriver, run_actions
from tui.screens.queue_concurrency import ConcurrencyDialog

PAUSED = f"The async queue of {KEY} is paused: no task is taken until it is resumed."
RESUMED = f"The async queue of {KEY} is resumed."


# -- pausing ------------------------------------------------------------------------------------


async def test_the_queue_is_paused_after_a_question_and_resumed_at_once() -> None:
    async with run_actions() as driver:
        driver.submit(number=3)
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_for_text(
            f"Pause the async queue of {KEY}",
            "What is being processed is finished.",
            "3 tasks wait",
        )
        assert not driver.api.calls
        await driver.press("enter")
        await driver.wait_until_done(PAUSED)
        assert driver.queue.control.paused
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_until_done(RESUMED)
        assert not driver.queue.control.paused


@pytest.mark.parametrize("key", ["escape", "n"])
async def test_the_question_can_be_left(key: str) -> None:
    async with run_actions() as driver:
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_for_text("Pause the async queue")
        await driver.press(key)
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert not driver.api.calls


async def test_enter_alone_does_not_pause_a_queue_in_production() -> None:
    async with run_actions(is_production_context=lambda _name: True) as driver:
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_for_text("is a production context.")
        await driver.press("enter")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert not driver.api.calls


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UnreachableError("No Pod is up."), "No Pod is up. It may have been resumed."),
        (NotPermittedError("No right."), "It was not resumed: No right."),
    ],
)
async def test_an_error_says_whether_it_may_have_been_done(
    error: AsyncQueueError, text: str
) -> None:
    async with run_actions() as driver:
        driver.queue.control = await paused(driver)
        driver.api.failure = error
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_until_done(text, "error")


async def paused(driver: ActionDriver) -> Any:
    await driver.api.pause()
    return driver.queue.control


# -- the concurrency ----------------------------------------------------------------------------


async def open_concurrency(driver: ActionDriver) -> ConcurrencyDialog:
    driver.flow.change_concurrency(driver.queue.queue_status())
    await driver.wait_for_text(f"Concurrency of the async queue of {KEY}")
    dialog = driver.app.screen
    assert isinstance(dialog, ConcurrencyDialog)
    return dialog


def fields(dialog: ConcurrencyDialog) -> list[str]:
    return [dialog.query_one(f"#{one}").text for one in ("of-all", "of-each")]  # type: ignore[attr-defined]


def sets(driver: ActionDriver) -> list[tuple[Any, ...]]:
    return [one[1:] for one in driver.api.calls if one[0] == "set_concurrency"]


async def test_the_concurrency_is_set_with_the_version_that_was_read() -> None:
    async with run_actions() as driver:
        dialog = await open_concurrency(driver)
        assert fields(dialog) == ["", ""]
        assert "Of all Pods together now no limit" in driver.text
        assert "Of each Pod now 4" in driver.text
        await driver.press("1", "6", "tab", "8", "enter")
        await driver.wait_until_done(
            f"The concurrency of {KEY} is set: of all Pods 16, of each Pod 8; it takes effect as "
            "tasks end."
        )
        assert sets(driver) == [(16, 8, "v1")]
        dialog = await open_concurrency(driver)
        assert fields(dialog) == ["16", "8"]
        await driver.press("ctrl+u", "0", "down", "ctrl+u", "ctrl+s")
        await driver.wait_until_done(
            f"The concurrency of {KEY} is set: of all Pods no limit, of each Pod as the settings "
            "say; it takes effect as tasks end."
        )
        assert sets(driver)[1] == (0, None, "v2")


async def test_without_a_change_nothing_is_sent() -> None:
    async with run_actions() as driver:
        await open_concurrency(driver)
        await driver.press("enter")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        await open_concurrency(driver)
        await driver.press("5", "escape")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert not sets(driver) and not driver.done


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "100001", "9999999999999"])
async def test_what_is_no_number_is_said_under_its_field(text: str) -> None:
    async with run_actions() as driver:
        dialog = await open_concurrency(driver)
        await driver.type(text)
        await driver.press("enter")
        await driver.wait_for_text("Enter a number from 0 to 100,000, or nothing.")
        assert fields(dialog) == [text, ""]
        assert not sets(driver)


async def test_each_pod_has_one_task_at_least() -> None:
    async with run_actions() as driver:
        dialog = await open_concurrency(driver)
        await driver.press("tab", "0", "enter")
        await driver.wait_for_text("Enter a number from 1 to 100,000, or nothing.")
        await driver.press("1", "backspace", "backspace", "2", "enter")
        await driver.wait_for(lambda: driver.done, "the end")
        assert sets(driver) == [(None, 2, "v1")]
        assert not dialog.is_attached


async def test_what_somebody_else_has_set_is_shown_and_nothing_typed_is_lost() -> None:
    async with run_actions() as driver:
        dialog = await open_concurrency(driver)
        await driver.press("5")
        await driver.api.set_concurrency(9, None, "v1")
        await driver.press("enter")
        await driver.wait_for_text(
            "Somebody else changed what is set meanwhile. It is set now: of all Pods 9, of each "
            "Pod as the settings say. What you typed is kept; press enter again to set it."
        )
        assert fields(dialog) == ["5", ""]
        assert driver.queue.control.concurrency == 9
        await driver.press("enter")
        await driver.wait_for(lambda: driver.done, "the end")
        assert driver.queue.control.concurrency == 5


async def test_a_pause_by_somebody_else_is_no_conflict() -> None:
    async with run_actions() as driver:
        await open_concurrency(driver)
        await driver.press("5")
        await driver.api.pause()
        await driver.press("enter")
        await driver.wait_for(lambda: driver.done, "the end")
        assert driver.queue.control.concurrency == 5
        assert driver.queue.control.paused


async def test_it_is_looked_at_what_became_of_a_lost_answer() -> None:
    async with run_actions() as driver:
        dialog = await open_concurrency(driver)
        real = driver.api.set_concurrency
        lost = UnreachableError("The answer was lost.")

        async def fail(*given: Any) -> None:
            driver.api.set_concurrency = real  # type: ignore[method-assign]
            raise lost

        async def do_and_fail(*given: Any) -> None:
            await real(*given)
            raise lost

        driver.api.set_concurrency = fail  # type: ignore[method-assign]
        await driver.press("5", "enter")
        await driver.wait_for_text(
            "The answer was lost. It may have been set. It is set now: of all Pods as the settings "
            "say, of each Pod as the settings say. What you typed is kept"
        )
        assert fields(dialog) == ["5", ""]
        driver.api.set_concurrency = do_and_fail  # type: ignore[method-assign]
        await driver.press("enter")
        await driver.wait_for(lambda: driver.done, "the end")
        assert "is set: of all Pods 5" in driver.done[0][0]


async def test_an_error_keeps_what_is_typed_and_is_tried_again() -> None:
    async with run_actions() as driver:
        dialog = await open_concurrency(driver)
        await driver.press("5")
        driver.api.failure = UnreachableError("No Pod is up.")
        await driver.press("enter")
        await driver.wait_for_text("It may have been set. What is set now is not known")
        driver.api.failure = RefusedError("It is not valid.")
        await driver.press("enter")
        await driver.wait_for_text("It was not set: It is not valid.")
        assert fields(dialog) == ["5", ""]
        driver.api.failure = None
        await driver.press("enter")
        await driver.wait_for(lambda: driver.done, "the end")
        assert driver.queue.control.concurrency == 5


async def test_what_was_sent_is_waited_for() -> None:
    async with run_actions() as driver:
        dialog = await open_concurrency(driver)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await driver.press("5")
        driver.api.before_answer = lambda: gate
        await driver.press("enter")
        await driver.wait_for_text("It is being set…")
        await driver.press("enter", "escape")
        await driver.wait_for_text("The request was sent and cannot be canceled.")
        assert driver.app.screen is dialog
        assert "is not known" in dialog.exit_notice()
        gate.set_result(None)
        await driver.wait_for(lambda: driver.done, "the end")
        assert len(sets(driver)) == 1


async def test_the_dialog_is_not_opened_if_what_is_set_cannot_be_read() -> None:
    async with run_actions() as driver:
        driver.api.failure = UnreachableError("No Pod is up.")
        driver.flow.change_concurrency(driver.queue.queue_status())
        await driver.wait_for_text("The concurrency cannot be read: No Pod is up.")
        assert driver.app.screen is driver.app.servings


async def test_it_works_on_a_tiny_terminal() -> None:
    async with run_actions((20, 10)) as driver:
        driver.flow.change_concurrency(driver.queue.queue_status())
        await driver.wait_for_text("Of each Pod")
        await driver.press("5", "tab", "6", "enter")
        await driver.wait_for(lambda: driver.done, "the end")
        assert sets(driver) == [(5, 6, "v1")]
