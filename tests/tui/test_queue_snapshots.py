"""Snapshots of the tab Async Queue, with a clock that stands still. `pytest --snapshot-update`
updates them; look at each that changed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.async_queue.errors import AsyncQueueError, NotInstalledError, UnreachableError
from servedeck.async_queue.live_queue import LiveQueue
from servedeck.async_queue.tasks import QueueMinute, TaskState
from styles.themes import ANSI, LIGHT
from tests.async_queue.fake_queue import FakeQueue
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tests.tui.queue_driver import PODS, QueueDriver, RecordedActions
from tests.tui.test_snapshots import LARGE, MEDIUM, SMALL, Compare, size_id
from tui.app import ServedeckApp
from tui.screens.serving import ServingScreen

SIZES = pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
Run = Callable[[Pilot[Any]], Any]


@pytest.fixture(autouse=True)
def time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The heading has local times."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture shows what they do."""
    monkeypatch.setattr(
        ServingScreen,
        "_create_task_actions",
        lambda screen, *arguments, **options: RecordedActions().create(*arguments, **options),
    )


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    """An hour of a queue; the clock of the terminal is that of the store, which stands still."""
    queue = FakeQueue()
    monkeypatch.setattr(LiveQueue, "now", lambda live: queue.time)
    for number in range(40):
        fields: dict[str, Any] = {"model": "meta-llama/Llama-3.1-8B-Instruct"}
        if number % 5 == 3:
            fields = {"path": "/v1/embeddings?dim=512", "model": "BAAI/bge-m3"}
        id = f"{int(queue.time * 1000):012x}{number * 7919:016x}{number * 2_654_435_761:016x}"
        queue.submit(id, owner="a1b2c3d4e5f6a1b2c3d4e5f6" if number % 3 else "", **fields)
    ids = sorted(queue.tasks)
    for number, id in enumerate(ids[:24]):
        queue.claim(id, PODS[number % 2])
    for number, id in enumerate(ids[:16]):
        queue.time += 1.4 * number
        if number % 6 == 5:
            message = "The inference server answered 503: no free slot."
            queue.end(id, TaskState.FAILED, reason="exhausted", status=503, message=message)
        elif number % 6 == 4:
            queue.end(id, TaskState.CANCELLED)
        else:
            queue.end(id, prompt_tokens=812 + number, completion_tokens=94 * number)
    queue.give_back(ids[16])
    queue.claim(ids[16], PODS[0])
    queue.give_back(ids[17])
    minute = queue.time - queue.time % 60
    queue.status["minutes"] = [
        QueueMinute(
            time=minute - 60 * (59 - at),
            submitted=70 + at % 7,
            completed=65 + at % 5,
            failed=at % 2,
            depth=int(40 + 30 * math.sin(at / 6)),
        )
        for at in range(60)
    ]
    return queue


def press(*keys: str, then: tuple[str, ...], before: Callable[[], object] = bool) -> Run:
    """Open the tab, press keys, and wait for the texts."""

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "NAME")
        await pilot.press("enter", "4")
        await wait_for_text(pilot, "4 Async Queue")
        await wait_for(pilot, lambda: "Loading…" not in screen_text(pilot.app), "the tasks")
        app: Any = pilot.app
        for key in keys:
            await pilot.press(key)
            await app._key_queue.wait_until_idle()
            await wait_for(pilot, lambda: _shows_all(app.screen.active_pane), "the tasks")
        before()
        await wait_for_text(pilot, *then)

    return run


def _shows_all(pane: Any) -> bool:
    """Whether the lines are the tasks that were asked for last."""
    live = pane._live
    shown = [row.key for row in pane.table.rows]
    return not live.is_loading and shown == [task.id for task in live.tasks]


def queue_app(queue: FakeQueue, error: AsyncQueueError | None = None, **options: Any) -> Any:
    driver = QueueDriver(queue, **options)
    driver.api.failure = error
    return driver.app


TASKS = ("[All 40]", "◌ Pending")


@SIZES
def test_the_tasks(snap_compare: Compare, queue: FakeQueue, size: tuple[int, int]) -> None:
    assert snap_compare(queue_app(queue), terminal_size=size, run_before=press(then=TASKS))


def test_the_tasks_in_a_tiny_terminal(snap_compare: Compare, queue: FakeQueue) -> None:
    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "llama")
        await pilot.press("enter", "4")
        await wait_for_text(pilot, "[All 40]", "◌ P")

    assert snap_compare(queue_app(queue), terminal_size=(20, 10), run_before=run)


@SIZES
def test_failed_tasks_with_marks_and_news(
    snap_compare: Compare, queue: FakeQueue, size: tuple[int, int]
) -> None:
    def change() -> None:
        queue.time -= 1  # it goes on with a submission: no age changes
        queue.submit()
        queue.set_status(
            blocked_by="No Pod of the inference server is Ready.", blocked_since=queue.time - 192
        )

    keys = ("f", "f", "f", "f", "space", "j")
    then = ("1 marked", "newer ones may match; g shows them", "Nothing drains since")
    assert snap_compare(
        queue_app(queue), terminal_size=size, run_before=press(*keys, then=then, before=change)
    )


@SIZES
def test_the_filter(snap_compare: Compare, queue: FakeQueue, size: tuple[int, int]) -> None:
    keys = ("slash", *"path:embed stat:5")
    then = ("There is no field stat", "No task matches the filter.")
    assert snap_compare(queue_app(queue), terminal_size=size, run_before=press(*keys, then=then))


@SIZES
def test_off(snap_compare: Compare, queue: FakeQueue, size: tuple[int, int]) -> None:
    app = queue_app(queue, NotInstalledError("The serving has no async gateway."))
    run = press(then=("is off", "O turn on"))
    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_a_lost_gateway(snap_compare: Compare, queue: FakeQueue, size: tuple[int, int]) -> None:
    driver = QueueDriver(queue)

    def lose() -> None:
        driver.api.failure = UnreachableError("No Pod of the gateway is Ready.")
        driver.api.cut.set()

    run = press(then=("reconnecting: No Pod of the gateway is Ready.",), before=lose)
    assert snap_compare(driver.app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("theme", [LIGHT.name, ANSI.name])
def test_in_other_colors(snap_compare: Compare, queue: FakeQueue, theme: str) -> None:
    app: ServedeckApp = queue_app(queue, theme=theme)
    run = press("o", then=("oldest first", "✗ Failed 503"))
    assert snap_compare(app, terminal_size=SMALL, run_before=run)
