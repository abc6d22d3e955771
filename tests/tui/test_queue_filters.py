"""Which tasks the tab Async Queue shows, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.tasks import TaskState
from tests.tui.queue_driver import QueueDriver, fill, one_of_each
from tui.screens.serving import ServingScreen


@pytest.fixture
def driver() -> QueueDriver:
    return QueueDriver()


async def test_f_goes_through_the_states_and_esc_back_to_all(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    async with driver.open(monkeypatch):
        expected = (
            ("Pending", ("pending", "delayed")),
            ("Processing", ("processing",)),
            ("Completed", ("completed",)),
            ("Failed", ("failed",)),
            ("Cancelled", ("cancelled",)),
        )
        for title, names in expected:
            await driver.press("f")
            wanted = [ids[name] for name in names]
            await driver.wait_for(lambda wanted=wanted: driver.ids == wanted, title)
            assert f"[{title} {len(names)}]" in driver.text
        await driver.press("b")
        await driver.wait_for(lambda: driver.ids == [ids["failed"]], "Failed")
        driver.queue.redrive(ids["failed"])
        await driver.wait_for_text("No task is Failed.")
        await driver.press("escape")
        await driver.wait_for(lambda: len(driver.ids) == 6, "all tasks")
        assert isinstance(driver.app.screen, ServingScreen)


async def test_where_all_that_was_loaded_no_longer_matches_the_rest_is(driver, monkeypatch):
    queue = driver.queue
    ids = fill(queue, 300)
    for id in ids:
        queue.claim(id)
        queue.end(id, TaskState.FAILED)
    async with driver.open(monkeypatch):
        await driver.press("b", "b")
        await driver.wait_for_text("[Failed 300]")
        await driver.wait_for(lambda: driver.ids, "failed tasks")
        gone = list(driver.ids)
        assert len(gone) < 300, "or nothing is left to load"
        for id in gone:
            queue.redrive(id)
        rest = ids[len(gone) :]
        await driver.wait_for(
            lambda: driver.ids and driver.ids == rest[: len(driver.ids)], "the rest"
        )
        for id in rest:
            queue.redrive(id)
        await driver.wait_for_text("No task is Failed.")


async def test_a_click_on_a_count_chooses_the_state(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    async with driver.open(monkeypatch):
        line = next(line for line in driver.text.splitlines() if "[All" in line)
        await driver.pilot.click("#queue-states", offset=(line.index("Failed") + 1, 0))
        await driver.wait_for(lambda: driver.ids == [ids["failed"]], "the failed task")


async def test_the_filter_and_its_errors(driver, monkeypatch):
    queue = driver.queue
    chat = fill(queue, 3)
    embeddings = fill(queue, 2, path="/v1/embeddings", model="bge")
    async with driver.open(monkeypatch):
        await driver.press("slash", *"path:embed")
        await driver.wait_for(lambda: driver.ids == embeddings, "the embeddings")
        await driver.press(*" stat:5")
        await driver.wait_for_text("There is no field stat; the fields are id, path")
        assert driver.pane.filter_line.text == "path:embed stat:5"
        await driver.press(*["backspace"] * 7, "enter")
        await driver.wait_for(lambda: driver.ids == embeddings, "the embeddings")
        await driver.press("j")
        assert driver.pane.filter_line.display and driver.pane.table.has_focus
        await driver.press("slash", *" nothing")
        await driver.wait_for_text("No task matches the filter.")
        await driver.press("escape")
        await driver.wait_for(lambda: driver.ids == embeddings + chat, "all tasks")
        assert not driver.pane.filter_line.display
        await driver.press("slash", *f"id:{chat[1][-6:]}")
        await driver.wait_for(lambda: driver.ids == [chat[1]], "the task of the id")


async def test_a_search_without_a_hit_says_that_it_goes_on(driver, monkeypatch):
    fill(driver.queue, 3)
    real = driver.api.list_tasks

    async def list_slowly(query: TaskQuery, **options: Any) -> Any:
        page = await real(query, **options)
        if query.text:
            return type(page)(items=[], next="1", feed=page.feed, time=page.time)
        return page

    monkeypatch.setattr(driver.api, "list_tasks", list_slowly)
    async with driver.open(monkeypatch):
        await driver.press("slash", *"x")
        await driver.wait_for_text("No task matches so far; still searching.")


async def test_the_order(driver, monkeypatch):
    queue = driver.queue
    ids = fill(queue, 4)
    for at, seconds in ((0, 30), (1, 10), (2, 20)):
        queue.claim(ids[at])
        queue.time += seconds
        queue.end(ids[at], prompt_tokens=seconds)
    async with driver.open(monkeypatch):
        await driver.press("o")
        await driver.wait_for(lambda: driver.ids == ids[::-1], "the oldest first")
        assert "oldest first" in driver.text
        assert driver.cursor_id == ids[-1]
        await driver.press("o", "less_than_sign")
        await driver.wait_for(
            lambda: driver.ids == [ids[0], ids[2], ids[1], ids[3]], "by tokens, most first"
        )
        await driver.press("o")
        await driver.wait_for(
            lambda: driver.ids == [ids[1], ids[2], ids[0], ids[3]], "by tokens, least first"
        )
        await driver.press("less_than_sign", "less_than_sign")
        assert driver.ids == [ids[0], ids[2], ids[1], ids[3]]  # by run time
        assert "sorted: the" not in driver.text
        await driver.press("less_than_sign", "less_than_sign")
        await driver.wait_for(lambda: driver.ids == ids, "the newest first")


async def test_an_order_of_the_loaded_tasks_says_so(driver, monkeypatch):
    fill(driver.queue, 600)
    async with driver.open(monkeypatch):
        await driver.press("greater_than_sign")
        await driver.wait_for_text(f"sorted: the {len(driver.ids)} loaded")
