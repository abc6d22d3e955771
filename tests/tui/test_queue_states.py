"""The tab Async Queue where there is no queue, or it cannot be seen, or nothing drains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servedeck.async_queue.errors import (
    AsyncQueueError,
    NotInstalledError,
    NotPermittedError,
    StoreUnavailableError,
    TooOldError,
    UnreachableError,
)
from servedeck.async_queue.live_queue import LivePhase
from servedeck.async_queue.tasks import TaskState
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.fleet.views import NamespacedName
from tests.tui import fakes
from tests.tui.queue_driver import NAME, QueueDriver
from tui.async_queue.heading import clock_text

KEY = NamespacedName("team-a", NAME)


@pytest.fixture
def driver() -> QueueDriver:
    return QueueDriver()


async def lose(driver: QueueDriver, error: AsyncQueueError) -> None:
    """The feed ends, and all that is asked fails."""
    driver.api.failure = error
    driver.api.cut.set()
    await driver.wait_for(lambda: driver.pane._live.phase is not LivePhase.LIVE, "the loss")


async def test_off_says_which_key_turns_it_on(driver, monkeypatch):
    driver.api.failure = NotInstalledError("The serving has no async gateway.")
    async with driver.open(monkeypatch, size=(80, 24)):
        await driver.wait_for_text(
            "The async queue of this serving is off.",
            "O turns it on: requests with the header X-Async: true are then stored",
            "O turn on",
        )
        assert "X cancel" not in driver.text and "enter open" not in driver.text
        await driver.press("p")
        await driver.wait_for_text("The async queue is off; O turns it on.")
        await driver.press("O")
        assert driver.actions.calls == [("turn_on",)]
        driver.api.failure = None
        driver.queue.submit()
        driver.actions.on_done("The async queue is on.", "ready")
        await driver.wait_for_text("◌ Pending", "The async queue is on.", "X cancel")


async def test_it_appears_when_somebody_else_turns_it_on(monkeypatch):
    off = fakes.serving(NAME)
    driver = QueueDriver(source=fakes.FakeSource().add_views(off))
    driver.api.failure = NotInstalledError("The serving has no async gateway.")
    async with driver.open(monkeypatch):
        await driver.wait_for_text("is off")
        driver.api.failure = None
        driver.source.add_views(replace(off, has_async_queue=True))
        await driver.wait_for_text("No task is stored.")


async def test_turning_on_needs_a_serving_that_may_be_changed(monkeypatch):
    adopted = fakes.serving(NAME)
    driver = QueueDriver(source=fakes.FakeSource().add_views(adopted))
    driver.api.failure = NotInstalledError("The serving has no async gateway.")
    async with driver.open(monkeypatch):
        driver.actions.reason = "servedeck runs with --readonly."
        await driver.press("O")
        await driver.wait_for_text("servedeck runs with --readonly.")
        driver.source.remove_view(KEY)
        await driver.press("O")
        await driver.wait_for_text("The serving was deleted.")
        assert not driver.actions.calls


async def test_the_limits_of_a_queue_that_is_on(driver, monkeypatch):
    async with driver.open(monkeypatch, size=(240, 40)):
        await driver.wait_for_text("No task is stored.", "L limits")
        await driver.press("L")
        assert driver.actions.calls == [("change_limits",)]
        driver.service.reason = "Needs patch on configmaps in namespace team-a."
        await driver.press("L")
        await driver.wait_for_text(driver.service.reason)
        assert len(driver.actions.calls) == 1


async def test_limits_need_a_queue_and_the_right_to_change_them(driver, monkeypatch):
    driver.api.failure = NotInstalledError("The serving has no async gateway.")
    driver.service.next_reason = "Needs patch on configmaps in namespace team-a."
    async with driver.open(monkeypatch):
        await driver.press("L")
        await driver.wait_for_text("The async queue is off; O turns it on.")
        await driver.wait_for(lambda: driver.service.reason, "the permissions")
        await driver.press("O")
        await driver.wait_for_text(driver.service.reason)
        assert not driver.actions.calls


async def test_a_gateway_that_is_too_old_is_updated_with_the_same_key(driver, monkeypatch):
    driver.api.failure = TooOldError("The gateway is of version 1.0, which has no feed.")
    async with driver.open(monkeypatch):
        await driver.wait_for_text("The gateway is of version 1.0", "O updates it.")
        await driver.press("O")
        assert driver.actions.calls == [("turn_on",)]


async def test_without_permission_it_says_which(driver, monkeypatch):
    driver.api.failure = NotPermittedError("Not allowed to get secrets in team-a.")
    async with driver.open(monkeypatch):
        await driver.wait_for_text("Not allowed to get secrets in team-a.")
        await driver.press("O")
        await driver.wait_for_text("It is not known whether the queue is on.")


async def test_only_deployments_have_one(monkeypatch):
    key = NamespacedName("team-a", NAME, "StatefulSet")
    driver = QueueDriver(source=fakes.FakeSource().add_views(replace(fakes.serving(NAME), key=key)))
    async with driver.open(monkeypatch):
        await driver.wait_for_text("A StatefulSet has no async queue; a Deployment can have one.")
        for action in ("p", "O", "ctrl+r"):
            await driver.press(action)
            await driver.wait_for_text("A StatefulSet has no async queue")
        assert not driver.service.keys


async def test_without_a_connection_it_waits_for_one(driver, monkeypatch):
    driver.service.error = ConnectionLostError("Not connected to the API server yet; retrying.")
    driver.queue.submit()
    async with driver.open(monkeypatch):
        await driver.wait_for_text("Not connected to the API server yet; retrying.")
        driver.service.error = None
        driver.source.set_state(message="")
        await driver.wait_for_text("◌ Pending")


async def test_without_a_cluster(monkeypatch):
    driver = QueueDriver(async_queue_service=None)
    async with driver.open(monkeypatch):
        await driver.wait_for_text("Not connected to the API server.")


async def test_unreachable_from_the_start(driver, monkeypatch):
    driver.api.failure = UnreachableError("No Pod of the gateway is Ready.")
    async with driver.open(monkeypatch):
        await driver.wait_for_text(
            "No Pod of the gateway is Ready.", "It is tried again; ctrl+r tries it at once."
        )
        driver.api.failure = None
        await driver.press("ctrl+r")
        await driver.wait_for_text("No task is stored.")


async def test_what_is_connected_already_is_not_connected_again(driver, monkeypatch):
    async with driver.open(monkeypatch):
        await driver.wait_for_text("No task is stored.")
        await driver.press("ctrl+r")
        await driver.wait_for_text("It is connected.")
        assert "Connecting" not in driver.text


@pytest.mark.parametrize("seconds", [1e15, -1e15])
async def test_a_clock_of_the_store_that_no_calendar_has(driver, monkeypatch, seconds):
    driver.queue.submit()
    async with driver.open(monkeypatch):
        await driver.wait_for_text("◌ Pending")
        monkeypatch.setattr(driver.pane._live, "now", lambda: seconds)
        driver.pane.update_ages()
        driver.queue.submit()
        await driver.wait_for_text("Pending 2")


async def test_a_lost_gateway_leaves_the_last_picture(driver, monkeypatch):
    queue = driver.queue
    id = queue.submit().id
    queue.claim(id)
    async with driver.open(monkeypatch):
        await lose(driver, UnreachableError("The gateway does not answer."))
        pane = driver.pane
        lost = clock_text(pane._live.lost_at)
        await driver.wait_for_text(
            f"as of {lost}; reconnecting: The gateway does not answer.", "↻ Processing"
        )
        assert pane.table.has_class("-stale")
        before = pane._clock()
        assert pane._clock() == before  # what is shown is as of then
        driver.api.failure = None
        queue.end(id)
        await driver.press("ctrl+r")
        await driver.wait_for_text("✓ Completed")
        await driver.wait_for(lambda: "as of" not in driver.text, "the news")
        assert not pane.table.has_class("-stale")


async def test_a_store_that_is_down(driver, monkeypatch):
    driver.queue.submit()
    async with driver.open(monkeypatch):
        await lose(driver, StoreUnavailableError("Valkey refuses connections."))
        await driver.wait_for_text(
            "the gateway cannot ask its store: Valkey refuses connections.", "◌ Pending"
        )
        when = clock_text(driver.pane._live.lost_at)
        await driver.wait_for_text(f"as of {when}; reconnecting: the gateway cannot ask its store")
        for once in ("Valkey refuses", "reconnecting", "as of"):
            assert driver.text.count(once) == 1
        driver.api.failure = None
        await driver.press("ctrl+r")
        await driver.wait_for(lambda: "cannot ask" not in driver.text, "the store")


@pytest.mark.parametrize(
    "error",
    [
        NotPermittedError("Not allowed to get secrets in team-a."),
        TooOldError("The gateway is of version 1.0, which has no feed."),
    ],
)
async def test_tasks_that_are_not_followed_any_longer_say_of_when_they_are(
    driver, monkeypatch, error
):
    driver.queue.submit()
    async with driver.open(monkeypatch):
        await lose(driver, error)
        when = clock_text(driver.pane._live.lost_at)
        await driver.wait_for_text(f"as of {when}; {error}", "◌ Pending")


async def test_a_store_that_is_lost_while_the_gateway_is_there(driver, monkeypatch):
    driver.queue.submit()
    async with driver.open(monkeypatch):
        driver.queue.set_store_problem("Valkey is away.")
        await driver.wait_for_text("as of ", "the gateway cannot ask its store: Valkey is away.")
        pane = driver.pane
        before = pane._clock()
        assert pane._clock() == before  # nothing goes on
        assert pane.table.has_class("-stale")
        driver.queue.set_store_problem("")
        await driver.wait_for(lambda: "cannot ask" not in driver.text, "the store")
        assert not pane.table.has_class("-stale")


async def test_why_nothing_drains_and_since_when(driver, monkeypatch):
    queue = driver.queue
    queue.submit()
    async with driver.open(monkeypatch):
        since = queue.time - 90
        queue.set_status(
            blocked_by="The inference server answers 503.", blocked_since=since, closed=True
        )
        await driver.wait_for_text(
            f"Nothing drains since {clock_text(since)} (",
            "): The inference server answers 503.",
            "The queue is closed: no task is accepted.",
        )
        queue.set_status(blocked_by="", blocked_since=None, closed=False)
        await driver.api.pause()
        await driver.wait_for_text("The queue is paused.")
        assert "Nothing drains" not in driver.text


async def test_tasks_of_a_queue_that_was_turned_off_are_not_taken_for_its_present_ones(
    driver, monkeypatch
):
    driver.queue.submit()
    async with driver.open(monkeypatch):
        await lose(driver, NotInstalledError("The serving has no async gateway."))
        await driver.wait_for_text("The async queue of this serving is off.", "O turn on")
        assert "◌ Pending" not in driver.text and not driver.ids


async def test_a_deleted_serving_keeps_its_last_tasks(driver, monkeypatch):
    driver.queue.submit()
    async with driver.open(monkeypatch):
        driver.source.remove_view(KEY)
        await driver.wait_for_text("deleted at", "◌ Pending")
        await lose(driver, NotInstalledError("The serving has no async gateway."))
        await driver.wait_for(lambda: driver.pane.table.has_class("-stale"), "the picture of then")
        assert "◌ Pending" in driver.text
        driver.pane._on_live_change()
        await driver.pilot.pause()
        assert "◌ Pending" in driver.text


async def test_a_page_that_cannot_be_read_says_why(driver, monkeypatch):
    queue = driver.queue
    for _ in range(300):
        queue.submit()
    async with driver.open(monkeypatch):
        driver.api.failure = UnreachableError("The gateway does not answer.")
        await driver.press("G")
        await driver.wait_for_text("The gateway does not answer.")
        driver.api.failure = None
        oldest = min(queue.tasks)
        await driver.wait_for(lambda: driver.cursor_id == oldest, "the last page")


async def test_the_gateway_restarts_and_nothing_is_missed(driver, monkeypatch):
    queue = driver.queue
    ids = [queue.submit().id for _ in range(5)]
    async with driver.open(monkeypatch):
        await lose(driver, UnreachableError("The gateway does not answer."))
        for id in ids[:3]:
            queue.claim(id)
            queue.end(id, TaskState.FAILED, reason="refused", status=400)
        queue.delete(ids[4])
        new = queue.submit().id
        queue.trim_feed()
        driver.api.failure = None
        await driver.press("ctrl+r")
        await driver.wait_for(
            lambda: (
                driver.ids == [new, ids[3], ids[2], ids[1], ids[0]]
                and all("Failed 400" in driver.row(id)[1] for id in ids[:3])
            ),
            "all changes",
        )
