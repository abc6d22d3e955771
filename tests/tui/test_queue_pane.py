"""The tab Async Queue: its tasks as they change, moving, filters, marks and actions."""

from __future__ import annotations

import asyncio
import base64
import math
import random
from itertools import pairwise
from typing import Any

import pytest

from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.tasks import Task, TaskAction, TaskState
from servedeck.fleet.views import NamespacedName
from tests.async_queue.fake_queue import FakeQueue
from tests.tui import fakes
from tests.tui.queue_driver import NAME, PODS, QueueDriver
from tui.async_queue import action_pane
from tui.panes.logs import LogsPane
from tui.screens.serving import ServingScreen
from tui.screens.task import TaskScreen


@pytest.fixture
def driver() -> QueueDriver:
    return QueueDriver()


def fill(queue: FakeQueue, count: int, **fields: Any) -> list[str]:
    """Pending tasks; returns their ids, the newest first."""
    return [queue.submit(**fields).id for _ in range(count)][::-1]


def one_of_each(queue: FakeQueue) -> dict[str, str]:
    """A task in each state by its name, and one that waits for another attempt."""
    ids = {
        name: queue.submit().id
        for name in ("cancelled", "failed", "completed", "delayed", "processing", "pending")
    }
    for name in ("cancelled", "failed", "completed", "delayed", "processing"):
        queue.claim(ids[name], PODS[0])
    queue.end(ids["cancelled"], TaskState.CANCELLED)
    queue.end(ids["failed"], TaskState.FAILED, reason="exhausted", message="It hung.", status=503)
    queue.end(ids["completed"], prompt_tokens=812, completion_tokens=94)
    queue.give_back(ids["delayed"])
    return ids


# -- what is shown ------------------------------------------------------------------------------


async def test_each_state_has_its_own_line(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    async with driver.open(monkeypatch, size=(160, 40)):
        assert driver.ids == list(reversed(ids.values()))
        texts = {name: driver.row(id) for name, id in ids.items()}
        request = "POST /v1/chat/completions"
        short = f"…{ids['pending'][-8:]}"
        assert texts["pending"] == [
            *(short, "◌ Pending", request, "llama", "", "–", "age", "", "", "age")
        ]
        assert texts["processing"][1] == "↻ Processing"
        assert texts["processing"][5:8] == ["1/3", "6.0s", "age"]
        assert texts["completed"][1] == "✓ Completed"
        assert texts["completed"][7:9] == ["5.0s", "812+94"]
        assert texts["failed"][1] == "✗ Failed 503"
        assert texts["cancelled"][1] == "- Cancelled"
        assert texts["delayed"][5:8] == ["1/3", "age", ""]
        await driver.wait_for_text(
            "[All 6] Pending 2  Processing 1  Completed 1  Failed 1  Cancelled 1",
            "Queue Depth 2   Processing 1 of 8",
        )


async def test_a_task_is_seen_moving_through_its_states(driver, monkeypatch):
    queue = driver.queue
    async with driver.open(monkeypatch):
        await driver.wait_for_text("No task is stored. a submits a test request.")
        id = queue.submit().id
        await driver.wait_for_text("◌ Pending", "[All 1] Pending 1")
        queue.claim(id, PODS[1])
        await driver.wait_for_text("↻ Processing", f"processed by {PODS[1]}")
        queue.give_back(id, "The inference server answered 503.")
        await driver.wait_for_text("1/3", "The inference server answered 503.", "next attempt at")
        queue.claim(id)
        queue.end(id, prompt_tokens=3, completion_tokens=4)
        await driver.wait_for_text("✓ Completed", "2/3", "3+4")
        queue.delete(id)
        await driver.wait_for_text("No task is stored.")


async def test_ages_and_the_time_of_a_running_task_go_on(driver, monkeypatch):
    queue = driver.queue
    id = queue.submit().id
    queue.claim(id)
    async with driver.open(monkeypatch, size=(160, 40)):
        pane = driver.pane
        now = queue.time
        monkeypatch.setattr(pane._live, "now", lambda: now + 3725)
        pane.update_ages()
        await driver.wait_for_text("62m")
        line = next(line for line in driver.text.splitlines() if "Processing  " in line)
        assert line.split()[-2:] == ["62m", "62m"]


async def test_new_tasks_are_followed_on_the_first_line(driver, monkeypatch):
    ids = fill(driver.queue, 5)
    async with driver.open(monkeypatch):
        assert driver.cursor_id == ids[0]
        new = driver.queue.submit().id
        await driver.wait_for(lambda: driver.ids[0] == new, "the new task")
        assert driver.cursor_id == new


async def test_elsewhere_the_cursor_stays_on_its_task_and_no_line_moves(driver, monkeypatch):
    queue = driver.queue
    ids = fill(queue, 6)
    async with driver.open(monkeypatch):
        await driver.press("j", "j")
        assert driver.cursor_id == ids[2]
        queue.submit()
        queue.submit()
        await driver.wait_for_text("2 newer; g shows them")
        assert driver.ids == ids and driver.cursor_id == ids[2]
        queue.claim(ids[2])
        queue.delete(ids[0])
        await driver.wait_for(lambda: driver.ids == ids[1:], "the task to go")
        assert driver.cursor_id == ids[2]
        await driver.press("g")
        await driver.wait_for(lambda: len(driver.ids) == 7, "the new tasks")
        assert driver.cursor_id == driver.ids[0]
        assert "newer" not in driver.text
        new = queue.submit().id
        await driver.wait_for(lambda: driver.cursor_id == new, "the list to be followed")


async def test_up_to_the_first_line_follows_again(driver, monkeypatch):
    fill(driver.queue, 6)
    async with driver.open(monkeypatch):
        await driver.press("j")
        new = driver.queue.submit().id
        await driver.wait_for_text("1 newer; g shows them")
        await driver.press("k")
        await driver.wait_for(lambda: driver.cursor_id == new, "the newest")


async def test_what_is_newer_may_not_match_a_filter(driver, monkeypatch):
    queue = driver.queue
    for id in fill(queue, 3):
        queue.claim(id)
        queue.end(id)
    async with driver.open(monkeypatch):
        await driver.press("f", "f", "f")
        await driver.wait_for(
            lambda: not driver.pane._live.is_loading and len(driver.ids) == 3, "the completed ones"
        )
        await driver.press("j")
        queue.submit()
        await driver.wait_for_text("newer ones may match; g shows them")
        await driver.press("escape")
        await driver.wait_for(lambda: len(driver.ids) == 4, "all of them")
        await driver.press("j")
        queue.submit()
        await driver.wait_for_text("1 newer; g shows them")


async def test_the_first_line_goes_before_the_move_is_seen(driver, monkeypatch):
    ids = fill(driver.queue, 6)
    async with driver.open(monkeypatch):
        driver.pane.table.action_move(2)
        driver.queue.delete(ids[0])
        live = driver.pane._live
        live._window._remove(ids[0])
        driver.pane._on_live_change()
        await driver.pilot.pause()
        assert driver.ids == ids[1:] and driver.cursor_id == ids[2]
        new = driver.queue.submit().id
        await driver.wait_for_text("1 newer; g shows them")
        await driver.press("k")
        await driver.wait_for(lambda: driver.cursor_id == new, "the newest")


async def test_it_is_paused_before_the_newest_tasks_are_read(driver, monkeypatch):
    """No line moves, and the first one follows again."""
    ids = fill(driver.queue, 6)
    async with driver.open(monkeypatch):
        await driver.press("j")
        driver.queue.submit()
        await driver.wait_for_text("1 newer; g shows them")
        answer = asyncio.get_running_loop().create_future()
        driver.api.before_answer = lambda: answer
        await driver.press("k")
        await driver.wait_for(lambda: driver.pane._live.is_loading, "the page to be asked for")
        await driver.press("j")
        assert not driver.pane._live.is_following
        driver.api.before_answer = lambda: None
        answer.set_result(None)
        new = driver.queue.submit().id
        await driver.wait_for_text("2 newer; g shows them")
        assert driver.ids == ids and driver.cursor_id == ids[1]
        await driver.press("k")
        await driver.wait_for(lambda: driver.cursor_id == new, "the list to be followed")


async def test_it_is_paused_before_other_tasks_are_shown(driver, monkeypatch):
    """A flood has replaced all that is on the screen, which does not say so yet."""
    ids = fill(driver.queue, 6)
    async with driver.open(monkeypatch):
        pane = driver.pane
        for id in ids[:3]:
            driver.queue.delete(id)
            pane._live._window._remove(id)
        pane.table.action_move(1)
        await driver.pilot.pause()
        await driver.wait_for(lambda: driver.ids == ids[3:], "the tasks to go")
        new = driver.queue.submit().id
        await driver.wait_for_text("1 newer; g shows them")
        await driver.press("k")
        await driver.wait_for(lambda: driver.cursor_id == new, "the list to be followed")


async def test_the_cursor_stays_on_its_line_of_the_screen(driver, monkeypatch):
    ids = fill(driver.queue, 60)
    async with driver.open(monkeypatch):
        table = driver.pane.table
        await driver.press("pagedown", *["j"] * 15, *["k"] * 5)
        await driver.wait_for(lambda: table.scroll_offset.y > 10, "the list to scroll")
        cursor, line = table.cursor, table.cursor - table.scroll_offset.y
        for id in ids[:10]:
            driver.queue.delete(id)
        await driver.wait_for(lambda: driver.ids == ids[10:], "the tasks to go")
        assert table.cursor == cursor - 10 and driver.cursor_id == ids[cursor]
        assert table.cursor - table.scroll_offset.y == line


async def test_the_first_line_is_followed_again_in_a_flood(driver, monkeypatch):
    """Whatever was read between two pictures, `j` and `k` lead back to the first line."""
    rng = random.Random(3)
    queue = driver.queue
    fill(queue, 200)
    is_over = asyncio.Event()

    async def flood() -> None:
        while not is_over.is_set():
            for _ in range(rng.randrange(1, 40)):
                queue.submit()
            await asyncio.sleep(rng.choice([0, 0.005, 0.02]))  # only varies what meets what

    async with driver.open(monkeypatch):
        flooding = asyncio.create_task(flood())
        for _ in range(25):
            for key in ("j", "k"):
                await driver.pilot.press(key)
                await driver.pilot.pause(rng.choice([0, 0.01, 0.05]))
        live, table = driver.pane._live, driver.pane.table
        await driver.wait_for(
            lambda: live.is_following and not live.is_loading and not table.cursor, "the top"
        )
        is_over.set()
        await flooding
        newest = max(queue.tasks)
        await driver.wait_for(lambda: driver.ids and driver.ids[0] == newest, "the newest")
        assert table.cursor == 0


async def test_a_move_before_the_next_picture_is_not_lost(driver, monkeypatch):
    """A change that is shown between a key and the message that it moved the cursor."""
    ids = fill(driver.queue, 6)
    async with driver.open(monkeypatch):
        driver.pane.table.action_move(2)
        driver.pane._on_live_change()
        await driver.pilot.pause()
        assert driver.cursor_id == ids[2]


async def test_pages_are_loaded_as_the_cursor_moves_and_the_place_is_kept(driver, monkeypatch):
    queue = driver.queue
    ids = fill(queue, 1500)
    async with driver.open(monkeypatch):
        assert len(driver.ids) < 300
        for place in range(0, 1400, 20):
            await driver.wait_for(lambda at=place: ids[at] in driver.ids, f"task {place}")
            assert driver.pane.table.select(ids[place])
            await driver.pilot.pause()
        assert len(driver.ids) <= 1100
        at = driver.cursor_id
        for id in ids[:100]:
            queue.claim(id)
            queue.end(id)
        await driver.pilot.pause()
        assert driver.cursor_id == at
        for place in range(1380, -1, -20):
            await driver.wait_for(lambda at=place: ids[at] in driver.ids, f"task {place}")
            assert driver.pane.table.select(ids[place])
            await driver.pilot.pause()
        await driver.wait_for(lambda: driver.ids[0] == ids[0], "the first page")
        await driver.press("G")
        await driver.wait_for(lambda: driver.cursor_id == ids[-1], "the oldest task")
        await driver.press("g")
        await driver.wait_for(lambda: driver.cursor_id == ids[0], "the newest task")


async def test_wide_shows_whole_ids(driver, monkeypatch):
    ids = fill(driver.queue, 2)
    async with driver.open(monkeypatch, size=(80, 24)):
        assert ids[0] not in driver.text
        await driver.press("w")
        await driver.wait_for_text(*ids)
        await driver.press("w")
        await driver.wait_for(lambda: ids[0] not in driver.text, "short ids")


# -- which tasks --------------------------------------------------------------------------------


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


# -- marks and actions --------------------------------------------------------------------------


async def test_an_action_on_the_task_under_the_cursor(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    async with driver.open(monkeypatch):
        await driver.press("X", "T")
        await driver.press("n")
        await driver.wait_for_text("The task is Pending, not Failed.")
        driver.pane.table.select(ids["failed"])
        await driver.press("n")
        await driver.press("X")
        await driver.wait_for_text("The task is Failed, not Pending or Processing.")
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
        await driver.press("n")
        await driver.wait_for_text("None of the marked tasks is Failed.")
        driver.actions.on_done("2 tasks cancelled.", "ready")
        await driver.wait_for_text("2 tasks cancelled.")
        assert "marked" not in driver.text


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
        done_before("2 tasks cancelled.", "ready")
        await driver.wait_for_text("2 tasks cancelled.", "1 marked")


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
        for key in ("X", "T", "N", "D", "p", "equals_sign", "a"):
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


# -- other servings, and hostile tasks ----------------------------------------------------------


async def test_the_next_serving_shows_nothing_of_the_one_before(monkeypatch):
    source = fakes.FakeSource().add_views(
        fakes.serving(NAME, has_async_queue=True), fakes.serving("other", has_async_queue=True)
    )
    driver = QueueDriver(source=source)
    ids = fill(driver.queue, 3)
    async with driver.open(monkeypatch):
        await driver.press("j", "space")
        first = driver.pane._live
        await driver.wait_for_text("1 marked")
        await driver.press("right_square_bracket")
        await driver.wait_for(
            lambda: driver.pane._live not in (first, None) and driver.ids == ids, "its tasks"
        )
        assert "marked" not in driver.text
        assert driver.cursor_id == ids[0]
        assert driver.service.keys == [
            NamespacedName("team-a", NAME),
            NamespacedName("team-a", "other"),
        ]


async def test_another_tab_ends_what_it_reads_and_keeps_what_was_chosen(driver, monkeypatch):
    ids = one_of_each(driver.queue)
    async with driver.open(monkeypatch):
        live, pane = driver.pane._live, driver.pane
        await driver.press(*"ffff")
        await driver.wait_for(lambda: driver.ids == [ids["failed"]], "the failed task")
        await driver.press("1")
        await driver.wait_for(lambda: all(one.done() for one in live._tasks), "the end")
        assert pane._live is None
        pane.update_ages()
        await driver.press("4")
        await driver.wait_for(lambda: driver.ids == [ids["failed"]], "the failed task again")


HOSTILE = "[red]x[/red] \x1b[31m\x1b]0;title\x07 \r\n\t 漢字 👩‍👩‍👧 \u202e evil [/foo]"


@pytest.mark.parametrize("size", [(20, 10), (80, 24), (200, 60)], ids=str)
async def test_hostile_texts_are_shown_as_they_are(driver, monkeypatch, size):
    queue = driver.queue
    for state in (TaskState.FAILED, TaskState.CANCELLED):
        id = queue.submit(
            path=HOSTILE, model=HOSTILE, owner=HOSTILE, method=HOSTILE, max_attempts=10**9
        ).id
        queue.claim(id, HOSTILE)
        queue.end(id, state, reason=HOSTILE, message=HOSTILE * 50, prompt_tokens=10**12)
    queue.submit(id=HOSTILE * 4, created=1e300, started=-1e300)
    queue.claim(queue.submit().id, HOSTILE)
    queue.claim(queue.submit().id, f"{NAME}-{HOSTILE}")
    queue.set_status(blocked_by=HOSTILE, blocked_since=1e300)
    async with driver.open(monkeypatch, size=size):
        for key in ("j", "j", "w", "right", "right", "w", "f", "f", "escape", "k"):
            await driver.press(key)
            shown = driver.text
            assert "\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown
        if size[0] == 200:
            assert "[red]x[/red]" in shown


async def test_a_small_terminal_keeps_the_tasks(driver, monkeypatch):
    one_of_each(driver.queue)
    async with driver.open(monkeypatch, size=(20, 10)):
        await driver.wait_for_text("Queue Depth 2", "[All 6]", "◌ P")
        await driver.press("f", "f")
        await driver.wait_for_text("[Processing 1]", "↻ P")
