"""Pictures of the screen of one task. `pytest --snapshot-update` updates them; look at each that
changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.async_queue.errors import UnreachableError
from servedeck.async_queue.tasks import FailureReason
from styles.themes import ANSI
from tests.tui.helpers import make_app, wait_for_text
from tests.tui.task_screen import TASK_ID, TaskHarness, TaskState
from tests.tui.test_snapshots import LARGE, MEDIUM, SMALL, Compare, size_id

SIZES = (SMALL, MEDIUM, LARGE)


def make_harness(**options: Any) -> TaskHarness:
    """A task that failed once and then completed."""
    harness = TaskHarness()
    if options:
        harness.app = make_app(**options)
    harness.submit()
    harness.fail_once()
    harness.complete()
    return harness


def press(
    harness: TaskHarness, *keys: str, then: tuple[str, ...]
) -> Callable[[Pilot[Any]], Awaitable[None]]:
    async def run(pilot: Pilot[Any]) -> None:
        await harness.open(pilot)
        await wait_for_text(pilot, "Callback", "none")
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await wait_for_text(pilot, *then)

    return run


@pytest.mark.parametrize("size", [*SIZES, (20, 10)], ids=size_id)
def test_the_summary(snap_compare: Compare, size: tuple[int, int]) -> None:
    harness = make_harness()

    async def run(pilot: Pilot[Any]) -> None:
        await harness.open(pilot)
        await wait_for_text(pilot, "Completed")

    assert snap_compare(harness.app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", SIZES, ids=size_id)
@pytest.mark.parametrize(
    ("keys", "seen"),
    [
        (("2",), "answered 503"),
        (("3",), "Answer in"),
        (("4", "v"), "chatcmpl-1"),
    ],
    ids=["attempts", "request", "response"],
)
def test_the_sections(
    snap_compare: Compare, size: tuple[int, int], keys: tuple[str, ...], seen: str
) -> None:
    harness = make_harness()
    run = press(harness, *keys, then=(seen,))
    assert snap_compare(harness.app, terminal_size=size, run_before=run)


def test_the_response_in_16_colors(snap_compare: Compare) -> None:
    harness = make_harness(theme=ANSI.name)
    run = press(harness, "4", "v", "G", then=("chatcmpl-1",))
    assert snap_compare(harness.app, terminal_size=SMALL, run_before=run)


def test_folded_json(snap_compare: Compare) -> None:
    harness = make_harness()
    run = press(harness, "3", "v", "Z", then=("2 entries",))
    assert snap_compare(harness.app, terminal_size=SMALL, run_before=run)


def test_bodies_that_are_withheld(snap_compare: Compare) -> None:
    harness = make_harness()
    harness.api.may_read_bodies = False
    run = press(harness, "4", then=("The body is not shown",))
    assert snap_compare(harness.app, terminal_size=SMALL, run_before=run)


def test_a_failed_task_without_its_gateway(snap_compare: Compare) -> None:
    harness = TaskHarness()
    harness.submit()
    harness.fail_once()
    message = "All of 3 attempts failed; the last one: the inference server answered 503."
    harness.queue.end(TASK_ID, TaskState.FAILED, reason=FailureReason.EXHAUSTED, message=message)

    async def run(pilot: Pilot[Any]) -> None:
        await press(harness, then=("The last attempt that was allowed failed",))(pilot)
        harness.api.failure = UnreachableError("No Pod of the gateway is ready.")
        harness.api.cut.set()
        await wait_for_text(pilot, "No Pod of the gateway is ready.")

    assert snap_compare(harness.app, terminal_size=SMALL, run_before=run)
