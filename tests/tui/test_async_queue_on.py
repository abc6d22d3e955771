"""The async queue of a serving is turned on from the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from servedeck.changes.async_queue.plan import AsyncQueuePlan, AsyncQueueResult
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.apply import ObjectRef, Preview, PreviewAction
from servedeck.cluster.http.errors import ClusterError, ConnectionLostError
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.serving.async_limits import LimitChange
from servedeck.serving.objects.field_changes import FieldConflict
from tests.tui.queue_actions import KEY, OPTIONS, PLAN, ActionDriver, run_actions
from tui.screens.async_queue_on import AsyncQueueOnDialog

ON = f"The async queue of {KEY} is on."
ROUTE = ObjectRef("gateway.networking.k8s.io/v1", "HTTPRoute", KEY.namespace, KEY.name)
CONFLICT = Preview(
    ROUTE,
    PreviewAction.CHANGE,
    rejection=Rejection(
        RejectionReason.CONFLICT,
        "conflict with argocd",
        conflicts=(FieldConflict(".spec.rules", "argocd", "[1 rule]", "[2 rules]"),),
    ),
)
WARNED = replace(PLAN, warnings=("Argo CD reverts changes of HTTPRoute llama-8b.",))


async def open_dialog(driver: ActionDriver, *texts: str) -> AsyncQueueOnDialog:
    driver.flow.turn_on()
    await driver.wait_for_text(f"Turn the async queue of {KEY} on", *texts)
    dialog = driver.app.screen
    assert isinstance(dialog, AsyncQueueOnDialog)
    return dialog


async def test_the_plan_is_shown_and_done_after_enter() -> None:
    async with run_actions() as driver:
        difference = LimitChange("pod_concurrency", None, 4)
        driver.service.plans = [replace(PLAN, limit_changes=(difference,))]
        await open_dialog(driver, *PLAN.effects, "Concurrency per Pod none → 4", "y Turn on")
        assert driver.service.run_count == 0
        await driver.press("enter")
        await driver.wait_until_done(ON)
        assert driver.service.run_count == 1
        assert driver.service.forced == [False]


@pytest.mark.parametrize("key", ["escape", "n"])
async def test_nothing_is_done_without_a_confirmation(key: str) -> None:
    async with run_actions() as driver:
        await open_dialog(driver, "y Turn on")
        await driver.press(key)
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert driver.service.run_count == 0 and not driver.done


@pytest.mark.parametrize("is_production", [False, True])
async def test_a_warning_must_be_read_before_enter_confirms(is_production: bool) -> None:
    async with run_actions(is_production_context=lambda _name: is_production) as driver:
        driver.service.plans = [PLAN if is_production else WARNED]
        text = "is a production context." if is_production else WARNED.warnings[0]
        await open_dialog(driver, text)
        await driver.press("enter")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert driver.service.run_count == 0
        await open_dialog(driver, text)
        await driver.press("y")
        await driver.wait_until_done(ON)


@pytest.mark.parametrize(
    "plan",
    [
        AsyncQueuePlan(OPTIONS, blocked="No Valkey is named that keeps the tasks."),
        AsyncQueuePlan(OPTIONS, unchanged="The async queue is on with these settings already."),
    ],
)
@pytest.mark.parametrize("key", ["enter", "y", "n", "escape"])
async def test_a_plan_that_does_nothing_says_why_and_only_closes(
    plan: AsyncQueuePlan, key: str
) -> None:
    async with run_actions() as driver:
        driver.service.plans = [plan]
        await open_dialog(driver, plan.blocked or plan.unchanged, "n Close")
        await driver.press(key)
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert driver.service.run_count == 0 and not driver.done


async def test_conflicts_are_shown_and_overwritten_only_if_that_is_planned() -> None:
    async with run_actions((120, 40)) as driver:
        blocked = AsyncQueuePlan(OPTIONS, blocked=f"{ROUTE}: conflict", rejections=(CONFLICT,))
        driver.service.plans = [blocked, PLAN]
        await open_dialog(
            driver,
            "has fields that another manager set:",
            ".spec.rules argocd set [1 rule], the async queue needs [2 rules]",
            "o plans to overwrite them, as --force-conflicts of the command does.",
        )
        await driver.press("o")
        await driver.wait_for_text(*PLAN.effects, "y Turn on")
        assert driver.service.forced == [False, True]
        await driver.press("o")
        await driver.wait_for_text("There is no conflict with other managers.")
        await driver.press("y")
        await driver.wait_until_done(ON)


async def test_progress_is_shown_and_esc_twice_leaves_the_rest_undone() -> None:
    async with run_actions() as driver:
        is_cancelled = asyncio.Event()

        async def progress(tell: Callable[[str], None]) -> None:
            tell("Waiting up to 300 s for a Pod of the gateway.")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                is_cancelled.set()
                raise

        driver.service.progress = progress
        dialog = await open_dialog(driver, "y Turn on")
        await driver.press("y")
        await driver.wait_for_text("Waiting up to 300 s for a Pod of the gateway.", "esc leave")
        await driver.press("y", "enter")
        assert driver.service.run_count == 1
        assert "was left before its end" in dialog.exit_notice()
        await driver.press("escape")
        await driver.wait_for_text("press esc again to leave the rest undone.")
        assert not is_cancelled.is_set()
        await driver.press("escape")
        await driver.wait_until_done(
            "It was left before its end; turn it on again for the rest.", "error"
        )
        await driver.wait_for(is_cancelled.is_set, "the end of the work")


async def test_after_an_error_the_plan_is_made_again_with_what_is_left() -> None:
    async with run_actions() as driver:
        rest = replace(PLAN, effects=("HTTPRoute llama-8b sends requests to the gateway.",))
        driver.service.plans = [PLAN, rest]
        failed = "The routes were not changed, as the gateway is not up: no image."
        driver.service.results.insert(0, AsyncQueueResult(OPTIONS, Outcome.REJECTED, failed))
        await open_dialog(driver, "y Turn on")
        await driver.press("y")
        dialog = driver.app.screen
        await driver.wait_for_text(failed, *rest.effects, "n Back")
        assert isinstance(dialog, AsyncQueueOnDialog) and not dialog.confirms
        await driver.press("y")
        await driver.wait_until_done(ON)


async def test_a_failed_attempt_that_is_left_is_said() -> None:
    async with run_actions() as driver:
        failed = "The API server refused it."
        driver.service.results = [AsyncQueueResult(OPTIONS, Outcome.REJECTED, failed)]
        await open_dialog(driver, "y Turn on")
        await driver.press("y")
        await driver.wait_for_text(failed, "n Back")
        await driver.press("escape")
        await driver.wait_until_done(failed, "error")


@pytest.mark.parametrize("is_done", [False, True])
async def test_it_is_looked_at_what_became_of_a_lost_answer(is_done: bool) -> None:
    async with run_actions() as driver:
        lost = AsyncQueueResult(OPTIONS, Outcome.UNKNOWN, "The answer was lost.", ROUTE)
        driver.service.results.insert(0, lost)
        if is_done:
            driver.service.looked_again = [AsyncQueueResult(OPTIONS, Outcome.DONE, ON)]
        await open_dialog(driver, "y Turn on")
        await driver.press("y")
        if not is_done:
            await driver.wait_for_text("The answer was lost.", *PLAN.effects)
            await driver.press("y")
        await driver.wait_until_done(ON)
        assert driver.service.run_count == 2 - is_done


async def test_a_plan_that_cannot_be_made_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.planned_change.RETRY_SECONDS", 0.01)
    async with run_actions() as driver:
        lost = ConnectionLostError("The API server does not answer.")
        driver.service.plans = [lost]
        await open_dialog(driver, "The API server does not answer.")
        await driver.press("y")
        assert driver.service.run_count == 0
        driver.service.plans = [PLAN]
        await driver.wait_for_text("y Turn on", *PLAN.effects)
        await driver.press("y")
        await driver.wait_until_done(ON)


async def test_what_was_chosen_at_an_error_does_not_confirm_the_plan_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tui.screens.planned_change.RETRY_SECONDS", 0.01)
    async with run_actions() as driver:
        driver.service.plans = [ConnectionLostError("The API server does not answer.")]
        dialog = await open_dialog(driver, "The API server does not answer.")
        await driver.wait_for(lambda: dialog._is_plan_shown, "the error to be painted")
        await driver.press("y")
        await driver.wait_for(lambda: dialog.confirms, "the choice")
        driver.service.plans = [WARNED]
        await driver.wait_for_text(WARNED.warnings[0])
        await driver.press("enter")
        await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
        assert driver.service.run_count == 0


async def test_a_plan_after_an_error_is_not_confirmed_before_it_is_painted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tui.screens.planned_change.RETRY_SECONDS", 0.01)
    async with run_actions() as driver:
        driver.service.plans = [ConnectionLostError("The API server does not answer.")]
        dialog = await open_dialog(driver, "The API server does not answer.")
        await driver.wait_for(lambda: dialog._is_plan_shown, "the error to be painted")
        note_painted = dialog._note_painted
        monkeypatch.setattr(dialog, "_note_painted", lambda plan: None)
        driver.service.plans = [PLAN]
        await driver.wait_for(lambda: dialog._plan is PLAN, "the plan")
        await driver.press("y")
        await driver.wait_for_text("Waiting for the API server; confirm when the plan is shown.")
        assert driver.service.run_count == 0
        note_painted(PLAN)
        await driver.press("y")
        await driver.wait_until_done(ON)


async def test_an_error_of_the_connection_while_it_is_done_is_shown() -> None:
    async with run_actions() as driver:

        async def fail(_tell: Callable[[str], None]) -> None:
            raise ClusterError("Not connected to the API server yet; retrying.")

        driver.service.progress = fail
        await open_dialog(driver, "y Turn on")
        await driver.press("y")
        await driver.wait_for_text("Not connected to the API server yet; retrying.", "n Back")


async def test_quitting_leaves_it_only_if_it_is_asked_twice() -> None:
    async with run_actions() as driver:

        async def hang(_tell: Callable[[str], None]) -> None:
            await asyncio.Event().wait()

        driver.service.progress = hang
        await open_dialog(driver, "y Turn on")
        await driver.press("y")
        await driver.wait_for_text("It is being turned on…")
        await driver.press("ctrl+q")
        await driver.wait_for_text("again to leave the rest undone.")
        assert not driver.app.exiting
        await driver.press("ctrl+q")
        await driver.wait_for(lambda: driver.app.exiting, "the program to exit")


async def test_it_works_on_a_tiny_terminal() -> None:
    async with run_actions((20, 10)) as driver:
        driver.flow.turn_on()
        await driver.wait_for_text("Turn the async", "y Turn on")
        await driver.press("pagedown", "pagedown", "y")
        await driver.wait_until_done(ON)
