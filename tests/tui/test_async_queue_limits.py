"""The limits of an async queue are changed from the screen, or chosen before it is turned on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.async_queue.plan import AsyncQueueOptions, AsyncQueuePlan, AsyncQueueResult
from servedeck.changes.async_queue.state import CurrentLimits
from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.async_limits import DEFAULTS, GIB, LIMITS, LimitChange, format_limit
from tests.tui.queue_actions import KEY, OPTIONS, PLAN, ActionDriver, run_actions
from tui.screens.async_queue_limits import LimitsForm
from tui.screens.async_queue_limits_editor import LimitsEditor
from tui.screens.async_queue_on import AsyncQueueLimitsPlan, AsyncQueueOnDialog

TITLE = f"Limits of the async queue of {KEY}"
PLAN_TITLE = f"Change the limits of the async queue of {KEY}"
DONE = f"The limits of the async queue of {KEY}: Max Queue Depth 50."
CHANGED = replace(PLAN, limit_changes=(LimitChange("max_depth", 1000, 50),), settings=DEFAULTS)


def current(has_objects: bool = False, **values: Any) -> CurrentLimits:
    return CurrentLimits(replace(DEFAULTS, **values), has_objects)


def prepare(driver: ActionDriver) -> None:
    """The queue is on, and one change of its limits can be done."""
    driver.service.limits = current()
    driver.service.plans = [CHANGED]
    driver.service.results = [AsyncQueueResult(OPTIONS, Outcome.DONE, DONE)]


async def open_form(driver: ActionDriver) -> LimitsEditor:
    driver.flow.change_limits()
    await driver.wait_for(lambda: isinstance(driver.app.screen, LimitsEditor), "the form")
    form = driver.app.screen
    assert isinstance(form, LimitsEditor)
    await driver.wait_for(lambda: form.field("pod_concurrency").input.has_focus, "the cursor")
    return form


async def enter(driver: ActionDriver, form: LimitsForm, name: str, text: str) -> None:
    """Type a text into a field in place of what is there."""
    field = form.field(name)
    field.input.focus()
    await driver.wait_for(lambda: field.input.has_focus, name)
    await driver.press("end", "ctrl+u")
    await driver.type(text)
    await driver.wait_for(lambda: field.text == text, text)


def texts(form: LimitsForm) -> dict[str, str]:
    return {name: form.field(name).text for name in LIMITS}


async def wait_for_list(driver: ActionDriver) -> None:
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")


# -- the form -------------------------------------------------------------------------------------


async def test_the_fields_show_what_is_set() -> None:
    async with run_actions() as driver:
        prepare(driver)
        driver.service.limits = current(max_depth=7, lifetime=5400.0)
        form = await open_form(driver)
        await driver.wait_for_text(
            TITLE, "Max Queue Depth 7", "Task Lifetime 1h30m", "Max Request Size 8Mi"
        )
        assert texts(form)["lifetime"] == "1h30m"
        assert list(texts(form)) == list(LIMITS)
        await driver.wait_for_text("1 to 10,000; default 4; now 4.")
        await driver.press("down", "down", "down")
        await driver.wait_for_text(
            "Attempt Timeout: for how long one attempt may take. 1s to 366d; as in 90s, 15m, 6h or"
        )
        await driver.press("up", "up", "up", "up")
        await driver.wait_for(lambda: form.field("max_result_bytes").input.has_focus, "the last")
        await driver.press("pageup", "pageup", "pageup")
        await driver.wait_for(lambda: form.field("pod_concurrency").input.has_focus, "the first")
        await driver.press("pagedown")
        await driver.wait_for(lambda: form.field("lifetime").input.has_focus, "the fifth")


async def test_it_says_what_cannot_be_read() -> None:
    async with run_actions() as driver:
        prepare(driver)
        text = "Max Queue Depth in its ConfigMap cannot be read: max_depth must be a whole number."
        driver.service.limits = replace(current(), problems=(text,))
        await open_form(driver)
        await driver.wait_for_text(TITLE, f"! {text}", "Max Queue Depth 1000")


async def test_a_changed_limit_is_planned_confirmed_and_undone() -> None:
    async with run_actions() as driver:
        prepare(driver)
        form = await open_form(driver)
        await enter(driver, form, "max_depth", "50")
        await driver.press("enter")
        await driver.wait_for_text(
            PLAN_TITLE, *PLAN.effects, "Max Queue Depth 1000 → 50", "y Change limits"
        )
        assert driver.service.run_count == 0
        assert driver.service.planned == [((("max_depth", 50),), DEFAULTS)]
        await driver.press("y")
        await driver.wait_until_done(f"{DONE} u undoes it.")
        assert driver.service.run_count == 1

        await driver.press("u")
        await driver.wait_for_text(PLAN_TITLE, "y Change limits")
        assert driver.service.planned[1:] == [
            ((("max_depth", 1000),), replace(DEFAULTS, max_depth=50))
        ]
        await driver.press("y")
        await driver.wait_for_text(f"{DONE} u undoes it.")
        assert driver.service.run_count == 2
        # What was undone can be done again.
        undo = driver.app.undoable.limits
        assert undo is not None and undo.changes == (("max_depth", 50),)


async def test_what_differs_alone_is_changed() -> None:
    async with run_actions() as driver:
        prepare(driver)
        driver.service.limits = current(max_depth=7, attempt_timeout=0.5)
        form = await open_form(driver)
        # A value that could not be typed is no error as long as it is not touched.
        await driver.wait_for_text("Attempt Timeout must be from 1s to 366d, not 0.5s.")
        await driver.press("enter")
        await driver.wait_for_text("Nothing differs from the present limits.")
        await enter(driver, form, "max_depth", "")  # the default
        await enter(driver, form, "max_body_bytes", "1Mi")
        await enter(driver, form, "lifetime", "360m")  # as it is
        await driver.wait_for_text("default 1000")
        await enter(driver, form, "attempt_timeout", "60")
        await driver.press("ctrl+s")
        await driver.wait_for_text(PLAN_TITLE, "y Change limits")
        [(changes, _)] = driver.service.planned
        assert dict(changes) == {
            "max_depth": 1000,
            "max_body_bytes": 1 << 20,
            "attempt_timeout": 60.0,
        }


async def test_what_is_wrong_is_said_at_its_field_and_nothing_is_lost() -> None:
    async with run_actions((80, 30)) as driver:
        prepare(driver)
        form = await open_form(driver)
        await enter(driver, form, "max_attempts", "0")
        await enter(driver, form, "keep_failed", "soon")
        await enter(driver, form, "max_depth", "5")
        await driver.wait_for_text(
            "Max Attempts must be from 1 to 100, not 0.",
            "'soon' is not a duration: enter one such as 90s, 10m or 1h30m.",
        )
        before = texts(form)
        await driver.press("enter")
        await driver.wait_for(lambda: form.field("max_attempts").input.has_focus, "the first")
        assert texts(form) == before and not driver.service.planned
        await enter(driver, form, "max_attempts", "2")
        await enter(driver, form, "keep_failed", "2d")
        await enter(driver, form, "lifetime", "5m")
        await driver.wait_for_text(
            "Task Lifetime (5m) is shorter than Attempt Timeout (15m): a task would expire in its"
        )
        await driver.press("enter")
        await driver.wait_for(lambda: form.field("lifetime").input.has_focus, "the field")
        assert not driver.service.planned
        await enter(driver, form, "lifetime", "20m")
        await driver.wait_for_text("2 attempts of Attempt Timeout (15m) do not fit into Task")
        await driver.press("enter")  # that was a warning
        await driver.wait_for_text(PLAN_TITLE)
        [(changes, _)] = driver.service.planned
        assert dict(changes)["lifetime"] == 1200.0


@pytest.mark.parametrize("has_objects", [False, True])
async def test_a_body_over_what_the_store_takes(has_objects: bool) -> None:
    async with run_actions() as driver:
        prepare(driver)
        driver.service.limits = current(has_objects)
        form = await open_form(driver)
        await enter(driver, form, "max_body_bytes", format_limit("max_body_bytes", GIB))
        text = "is killed at 256Mi" if has_objects else "than a Valkey stores in one value"
        await driver.wait_for_text(text)
        await driver.press("enter")
        if has_objects:
            await driver.wait_for_text(PLAN_TITLE)
        else:
            assert driver.app.screen is form


async def test_the_default_is_one_key_away() -> None:
    async with run_actions() as driver:
        prepare(driver)
        driver.service.limits = current(pod_concurrency=9)
        form = await open_form(driver)
        await driver.press("ctrl+o")
        await driver.wait_for(lambda: texts(form)["pod_concurrency"] == "4", "the default")


async def test_esc_discards_what_was_typed_only_if_it_is_pressed_twice() -> None:
    async with run_actions() as driver:
        prepare(driver)
        form = await open_form(driver)
        await driver.press("escape")
        await wait_for_list(driver)
        form = await open_form(driver)
        await enter(driver, form, "max_depth", "5")
        await driver.press("escape")
        await driver.wait_for_text("Press esc again to discard what you typed")
        await driver.type("0")  # not meant then
        await driver.press("escape")
        assert driver.app.screen is form and texts(form)["max_depth"] == "50"
        await driver.press("escape")
        await wait_for_list(driver)
        assert not driver.service.planned and not driver.done


# -- what others do meanwhile ---------------------------------------------------------------------


async def test_a_change_of_others_is_shown_and_what_was_typed_kept() -> None:
    async with run_actions() as driver:
        prepare(driver)
        text = "Somebody else changed Max Queue Depth meanwhile, from 1000 to 500; look at it."
        driver.service.plans = [AsyncQueuePlan(OPTIONS, blocked=text), CHANGED]
        form = await open_form(driver)
        await enter(driver, form, "max_depth", "50")
        driver.service.limits = current(max_depth=500, max_attempts=9)
        await driver.press("enter")
        await driver.wait_for_text(PLAN_TITLE, text, "n Close")
        await driver.press("escape")
        await driver.wait_for_text(
            TITLE,
            "Max Queue Depth is 500 now, not 1000, Max Attempts is 9 now, not 3. What you typed is",
            "now 500.",
        )
        assert texts(form)["max_depth"] == "50" and texts(form)["max_attempts"] == "9"
        await driver.press("enter")
        await driver.wait_for_text(PLAN_TITLE, "y Change limits")
        expected = replace(DEFAULTS, max_depth=500, max_attempts=9)
        assert driver.service.planned[1:] == [((("max_depth", 50),), expected)]
        await driver.press("y")
        await driver.wait_until_done(f"{DONE} u undoes it.")
        undo = driver.app.undoable.limits
        assert undo is not None and undo.changes == (("max_depth", 500),)


async def test_a_failed_attempt_leads_back_to_the_form() -> None:
    async with run_actions((80, 30)) as driver:
        prepare(driver)
        failed = "The API server refused it."
        driver.service.results = [AsyncQueueResult(OPTIONS, Outcome.REJECTED, failed)]
        form = await open_form(driver)
        await enter(driver, form, "max_depth", "50")
        await driver.press("enter")
        await driver.wait_for_text("y Change limits")
        await driver.press("y")
        await driver.wait_for_text(failed, "n Back")
        await driver.press("escape")
        await driver.wait_for_text(TITLE, failed)
        assert texts(form)["max_depth"] == "50"
        driver.service.read_error = ClusterError("The API server does not answer.")
        await driver.press("enter")
        await driver.wait_for_text(PLAN_TITLE)
        await driver.press("escape")
        await driver.wait_for_text("What is set now is not known: The API server does not answer.")
        driver.service.read_error, driver.service.limits = None, None
        await driver.press("enter")
        await driver.wait_for_text(PLAN_TITLE)
        await driver.press("escape")
        await driver.wait_for_text("The async queue was turned off meanwhile.")
        assert not driver.done


async def test_a_lost_answer_is_followed() -> None:
    async with run_actions() as driver:
        prepare(driver)
        done = driver.service.results[0]
        lost = replace(done, outcome=Outcome.UNKNOWN, message="The answer was lost.")
        driver.service.results = [lost]
        driver.service.looked_again = [done]
        form = await open_form(driver)
        await enter(driver, form, "max_depth", "50")
        await driver.press("enter")
        await driver.wait_for_text("y Change limits")
        await driver.press("y")
        await driver.wait_until_done(f"{DONE} u undoes it.")


# -- where it is not possible ---------------------------------------------------------------------


@pytest.mark.parametrize("is_off", [False, True])
async def test_limits_that_cannot_be_shown(is_off: bool) -> None:
    async with run_actions() as driver:
        prepare(driver)
        if is_off:
            driver.service.limits = None
            text = "The async queue is off, so that it has no limits."
        else:
            driver.service.read_error = ClusterError("Not allowed to get configmaps.")
            text = f"The limits of {KEY} cannot be read: Not allowed to get configmaps."
        driver.flow.change_limits()
        await driver.wait_for_text(text)
        assert driver.app.screen is driver.app.servings


@pytest.mark.parametrize("is_readonly", [False, True])
async def test_it_says_why_limits_cannot_be_changed(is_readonly: bool) -> None:
    async with run_actions(readonly=is_readonly) as driver:
        prepare(driver)
        denied = "Needs patch on configmaps in namespace team-a."
        driver.service.next_reason = "" if is_readonly else denied
        driver.flow.change_limits()
        await driver.wait_for_text("servedeck runs with --readonly" if is_readonly else denied)
        driver.flow.turn_on()
        await driver.wait_for_text("servedeck runs with --readonly" if is_readonly else denied)
        assert driver.app.screen is driver.app.servings
        assert not driver.service.planned


# -- before it is turned on -----------------------------------------------------------------------


async def open_on(driver: ActionDriver) -> AsyncQueueOnDialog:
    on = replace(PLAN, settings=DEFAULTS)
    more = replace(on, limit_changes=(LimitChange("max_depth", None, 50),))
    driver.service.plans = [on, more]
    driver.flow.turn_on()
    await driver.wait_for_text(f"Turn the async queue of {KEY} on", "y Turn on", "L limits")
    dialog = driver.app.screen
    assert isinstance(dialog, AsyncQueueOnDialog)
    return dialog


async def open_limits_of_new(driver: ActionDriver) -> LimitsForm:
    await driver.press("L")
    await driver.wait_for(lambda: isinstance(driver.app.screen, LimitsForm), "the form")
    form = driver.app.screen
    assert isinstance(form, LimitsForm)
    await driver.wait_for(lambda: form.field("pod_concurrency").input.has_focus, "the cursor")
    return form


async def test_limits_are_chosen_before_it_is_turned_on() -> None:
    async with run_actions() as driver:
        dialog = await open_on(driver)
        form = await open_limits_of_new(driver)
        assert texts(form) == {name: format_limit(name, getattr(DEFAULTS, name)) for name in LIMITS}
        await driver.wait_for_text("1 to 10,000; default 4.", "enter use")
        await enter(driver, form, "max_depth", "50")
        await driver.press("enter")
        await driver.wait_for_text("Max Queue Depth none → 50", "y Turn on")
        assert driver.app.screen is dialog
        # What was chosen is there again.
        form = await open_limits_of_new(driver)
        assert texts(form)["max_depth"] == "50"
        await driver.press("escape")
        await driver.wait_for(lambda: driver.app.screen is dialog, "the dialog")
        assert driver.service.planned == [((), None), ((("max_depth", 50),), None)]
        await driver.wait_for_text("y Turn on")
        await driver.press("y")
        await driver.wait_until_done(f"The async queue of {KEY} is on.")
        assert driver.app.undoable.limits is None


async def test_a_queue_that_is_on_by_then_is_changed_only_as_it_was_seen() -> None:
    async with run_actions() as driver:
        await open_on(driver)
        driver.service.limits = current(max_depth=7)
        form = await open_limits_of_new(driver)
        assert texts(form)["max_depth"] == "7"
        await enter(driver, form, "max_depth", "50")
        await driver.press("enter")
        await driver.wait_for_text("Max Queue Depth none → 50")
        assert driver.service.planned[1] == (
            (("max_depth", 50),),
            replace(DEFAULTS, max_depth=7),
        )


async def test_what_was_chosen_can_be_corrected_where_the_plan_is_refused() -> None:
    async with run_actions() as driver:
        await open_on(driver)
        form = await open_limits_of_new(driver)
        await enter(driver, form, "max_depth", "50")
        blocked = "Somebody else changed Max Queue Depth meanwhile."
        driver.service.plans = [AsyncQueuePlan(OPTIONS, blocked=blocked)]
        await driver.press("enter")
        await driver.wait_for_text(blocked, "L limits")
        form = await open_limits_of_new(driver)
        assert texts(form)["max_depth"] == "50"


async def test_the_limits_need_a_plan() -> None:
    async with run_actions() as driver:
        blocked = "No Valkey is named that keeps the tasks."
        driver.service.plans = [AsyncQueuePlan(OPTIONS, blocked=blocked)]
        driver.flow.turn_on()
        await driver.wait_for_text(blocked, "n Close")
        assert "L limits" not in driver.text
        dialog = driver.app.screen
        await driver.press("L")
        assert driver.app.screen is dialog
        await driver.press("escape")
        await wait_for_list(driver)

        prepare(driver)
        form = await open_form(driver)
        await enter(driver, form, "max_depth", "50")
        await driver.press("enter")
        await driver.wait_for_text("y Change limits")
        assert "L limits" not in driver.text
        await driver.press("L")
        await driver.wait_for_text("Go back to change the limits.")
        assert isinstance(driver.app.screen, AsyncQueueLimitsPlan)


async def test_it_works_on_a_tiny_terminal() -> None:
    async with run_actions((20, 10)) as driver:
        prepare(driver)
        form = await open_form(driver)
        await driver.wait_for_text("Per Pod 4")
        await enter(driver, form, "max_body_bytes", "x")
        await driver.wait_for_text("quantity: enter")
        await enter(driver, form, "max_body_bytes", "4Mi")
        await driver.press("enter")
        await driver.wait_for_text("Change the limits", "y Change limits")
        await driver.press("y")
        await driver.wait_until_done(f"{DONE} u undoes it.")
        [(changes, _)] = driver.service.planned
        assert changes == (("max_body_bytes", 4 << 20),)


def test_the_options_of_a_change_name_it() -> None:
    from servedeck.changes.async_queue.execution import done_sentence

    options = AsyncQueueOptions(
        OPTIONS.action, "chat", "llama", (("lifetime", 3600.0), ("max_depth", 50)), seen=DEFAULTS
    )
    assert done_sentence(options) == (
        "The limits of the async queue of chat/llama: Task Lifetime 1h, Max Queue Depth 50."
    )
