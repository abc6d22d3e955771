"""Snapshots of the dialogs of an async queue. `pytest --snapshot-update` updates them; look at each
that changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.async_queue.errors import UnreachableError
from servedeck.async_queue.queue_api import Side, TaskQuery
from servedeck.async_queue.tasks import RequestView, TaskAction, TaskState
from servedeck.changes.async_queue.plan import AsyncQueuePlan
from servedeck.changes.async_queue.state import CurrentLimits
from servedeck.serving.async_limits import AsyncQueueSettings, limit_changes
from tests.tui.helpers import wait_for_text
from tests.tui.queue_actions import OPTIONS, PLAN, ActionDriver, make_queue_app
from tests.tui.test_async_queue_on import CONFLICT, ROUTE
from tests.tui.test_snapshots import LARGE, MEDIUM, SMALL, Compare, size_id

SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
ALL_SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE, (20, 10)], ids=size_id)
Run = Callable[[ActionDriver], Awaitable[None]]


def compare(
    snap_compare: Compare, size: tuple[int, int], run: Run, *, is_production: bool = False
) -> bool:
    app, service = make_queue_app(is_production_context=lambda _name: is_production)

    async def run_before(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "llama")
        await run(ActionDriver(pilot, service))

    return snap_compare(app, terminal_size=size, run_before=run_before)


def submit_mixed(driver: ActionDriver) -> Any:
    return [
        *driver.submit(number=12),
        *driver.submit(TaskState.PROCESSING, 3),
        driver.queue.submit(path="/v1/completions", model="\x1b[31m한국어 [bold]🙂"),
        *driver.submit(TaskState.COMPLETED),
    ]


@ALL_SIZES
def test_cancel_of_several(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        driver.flow.start(TaskAction.CANCEL, submit_mixed(driver)[::-1])
        await driver.wait_for_text("y Cancel 17 ta")

    assert compare(snap_compare, size, run)


@SIZES
def test_retry_of_all_that_match(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        query = TaskQuery(TaskState.FAILED, "status:503 age:>10m")
        driver.flow.start_matching(TaskAction.RETRY, query, 1204)
        await driver.wait_for_text("y Retry 1,204 tasks")

    assert compare(snap_compare, size, run)


@SIZES
def test_purge_in_production(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        driver.submit(number=3)
        driver.flow.purge_pending(3)
        await driver.type("llama")
        await driver.wait_for_text("Type llama-8b to confirm.")

    assert compare(snap_compare, size, run, is_production=True)


@SIZES
def test_after_an_error(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        driver.api.failure = UnreachableError("No Pod of the async gateway is up.")
        driver.flow.start(TaskAction.CANCEL, driver.submit(number=2))
        await driver.wait_for_text("y Cancel 2 tasks")
        await driver.press("y")
        await driver.wait_for_text("y Go on")

    assert compare(snap_compare, size, run)


@SIZES
def test_pause(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        driver.submit(number=3)
        driver.flow.pause_or_resume(driver.queue.queue_status())
        await driver.wait_for_text("Pause the async queue")

    assert compare(snap_compare, size, run)


@ALL_SIZES
def test_concurrency(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        driver.flow.change_concurrency(driver.queue.queue_status())
        await driver.wait_for_text("Of each Pod")
        await driver.press("5")
        if size != (20, 10):
            await driver.api.set_concurrency(9, None, "v1")
            await driver.press("enter")
            await driver.wait_for_text("What you typed is kept")
        await driver.press("tab", "0", "enter")
        await driver.wait_for_text("Enter a number from")

    assert compare(snap_compare, size, run)


@ALL_SIZES
def test_a_test_request(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        task = driver.queue.submit()
        driver.api.heads[task.id, Side.REQUEST] = RequestView(
            path="/v1/chat/completions",
            headers=[("content-type", "application/json"), ("x-key", "[hidden]")],
        )
        driver.api.bodies[task.id, Side.REQUEST] = (
            '{"model": "llama", "messages": [{"role": "user", "content": "안녕 [b]\\u001b[31m"}]}'
        ).encode()
        driver.flow.submit_test(task)
        await driver.wait_for_text("Test request")
        if size != (20, 10):
            await driver.press("delete", "f6", "x", "ctrl+s")
            await driver.wait_for_text("It is no valid JSON")

    assert compare(snap_compare, size, run)


@ALL_SIZES
def test_turning_it_on(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        driver.service.plans = [
            replace(
                PLAN,
                warnings=("Argo CD owns HTTPRoute llama-8b and may revert the change.",),
                limit_changes=limit_changes(None, AsyncQueueSettings()),
            )
        ]
        driver.flow.turn_on()
        await driver.wait_for_text("y Turn on")
        await driver.wait_for(lambda: driver.app.screen._is_plan_shown, "the plan")  # type: ignore[attr-defined]

    assert compare(snap_compare, size, run)


@ALL_SIZES
def test_the_limits(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        driver.service.limits = CurrentLimits(AsyncQueueSettings(max_depth=50), False)
        driver.flow.change_limits()
        await driver.wait_for_text("Per Pod" if size == (20, 10) else "Concurrency per Pod")
        await driver.press("down", "down", "ctrl+u", "0")
        await driver.wait_for_text("Max Attempts")
        await driver.press("down", "down", "ctrl+u")
        await driver.wait_for_text("defau")

    assert compare(snap_compare, size, run)


@SIZES
def test_conflicts_of_turning_it_on(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def run(driver: ActionDriver) -> None:
        blocked = AsyncQueuePlan(OPTIONS, blocked=f"{ROUTE}: conflict", rejections=(CONFLICT,))
        driver.service.plans = [blocked]
        driver.flow.turn_on()
        await driver.wait_for_text("n Close")

    assert compare(snap_compare, size, run)
