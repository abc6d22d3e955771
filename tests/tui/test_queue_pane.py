"""The tab Async Queue: its tasks as they change, and moving in them."""

from __future__ import annotations

import asyncio
import random

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.fleet.views import NamespacedName
from tests.tui import fakes
from tests.tui.queue_driver import NAME, PODS, QueueDriver, fill, one_of_each


@pytest.fixture
def driver() -> QueueDriver:
    return QueueDriver()


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


async def test_the_page_before_is_loaded_though_another_was_when_the_cursor_came(
    driver, monkeypatch
):
    ids = fill(driver.queue, 3000)
    async with driver.open(monkeypatch):
        for place in range(0, 1220, 20):
            await driver.wait_for(lambda at=place: ids[at] in driver.ids, f"task {place}")
            assert driver.pane.table.select(ids[place])
            await driver.pilot.pause()
        live = driver.pane._live
        await driver.wait_for(
            lambda: not live.is_loading and driver.ids == [one.id for one in live.tasks],
            "the pages",
        )
        first, answered = driver.ids[0], asyncio.get_running_loop().create_future()
        assert first != ids[0]
        driver.api.before_answer = lambda: answered
        assert driver.pane.table.select(driver.ids[-1])
        await driver.wait_for(lambda: live.is_loading, "the page after")
        assert driver.pane.table.select(first)
        await driver.pilot.pause()
        driver.api.before_answer = lambda: None
        answered.set_result(None)
        await driver.wait_for(lambda: driver.ids[0] != first, "the page before")
        assert driver.cursor_id == first


async def test_a_first_line_that_is_not_the_first_task_is_not_the_start_of_the_list(
    driver, monkeypatch
):
    """Pages before it were loaded, and are not shown yet."""
    ids = fill(driver.queue, 1500)
    async with driver.open(monkeypatch):
        pane, live = driver.pane, driver.pane._live
        for place in range(0, 1300, 20):
            await driver.wait_for(lambda at=place: ids[at] in driver.ids, f"task {place}")
            assert pane.table.select(ids[place])
            await driver.pilot.pause()
        await driver.wait_for(
            lambda: not live.is_loading and driver.ids == [one.id for one in live.tasks],
            "the pages",
        )
        first = driver.ids[0]
        assert first != ids[0]
        with monkeypatch.context() as held:
            held.setattr(pane, "_update", lambda: None)
            assert pane.table.select(driver.ids[1])
            await driver.pilot.pause()
            await driver.wait_for(lambda: not live.is_loading, "the page before")
            for _page in range(len(ids) // 100):
                live.load_before()
                await driver.wait_for(lambda: not live.is_loading, "the page before")
            assert live.tasks[0].id == ids[0]
            assert driver.ids[0] == first
            assert pane.table.select(first)
            await driver.pilot.pause()
        pane._update()
        await driver.pilot.pause()
        assert driver.cursor_id == first
        assert not live.is_following
        await driver.press("k")
        assert driver.cursor_id == ids[ids.index(first) - 1]
        await driver.press("g")
        await driver.wait_for(lambda: live.is_following, "the start")
        assert driver.cursor_id == ids[0]


async def test_wide_shows_whole_ids(driver, monkeypatch):
    ids = fill(driver.queue, 2)
    async with driver.open(monkeypatch, size=(80, 24)):
        assert ids[0] not in driver.text
        await driver.press("w")
        await driver.wait_for_text(*ids)
        await driver.press("w")
        await driver.wait_for(lambda: ids[0] not in driver.text, "short ids")


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
