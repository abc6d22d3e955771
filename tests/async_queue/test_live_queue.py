"""What a LiveQueue shows, case by case."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from servedeck.async_queue import live_queue
from servedeck.async_queue.errors import (
    NotInstalledError,
    NotPermittedError,
    RefusedError,
    StoreUnavailableError,
    TooOldError,
    UnreachableError,
)
from servedeck.async_queue.live_queue import LivePhase
from servedeck.async_queue.queue_api import TaskQuery
from servedeck.async_queue.task_filter import parse_task_filter
from servedeck.async_queue.tasks import TaskState
from servedeck.serving.query_terms import QueryError
from tests.async_queue.fake_queue import START, FakeQueue, FakeQueueApi
from tests.async_queue.live_queues import expected, is_settled, opened, settle
from tests.waiting import wait_until


def closed_gate(api: FakeQueueApi) -> Callable[[], None]:
    """Hold back what is answered from now on; returns what lets it through."""
    gates: list[asyncio.Future[None]] = []

    def gate() -> asyncio.Future[None]:
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    def release() -> None:
        api.before_answer = lambda: None
        for one in gates:
            if not one.done():
                one.set_result(None)

    api.before_answer = gate
    return release


async def test_a_task_changes_its_state_before_it_is_read() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    id = queue.submit().id
    async with opened(queue, api) as live:
        await settle(live, queue)
        release = closed_gate(api)
        queue.claim(id)
        await wait_until(lambda: live.tasks[0].state is TaskState.PROCESSING)
        assert (live.tasks[0].attempt, live.tasks[0].started) == (1, queue.time)
        queue.end(id, TaskState.FAILED, message="It answered 503.")
        await wait_until(lambda: live.tasks[0].state is TaskState.FAILED)
        assert live.tasks[0].ended == queue.time
        release()
        await wait_until(lambda: live.tasks[0].message == "It answered 503.")


async def test_a_task_leaves_the_list_of_a_state_before_it_is_read() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    ids = [queue.submit().id for _ in range(3)]
    async with opened(queue, api) as live:
        live.set_query(TaskQuery(TaskState.PENDING))
        await settle(live, queue)
        closed_gate(api)
        queue.claim(ids[1])
        await wait_until(lambda: [task.id for task in live.tasks] == [ids[2], ids[0]])


async def test_a_page_that_is_of_before_lost_changes_is_read_again() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    id = queue.submit().id
    async with opened(queue, api) as live:
        await settle(live, queue)
        release = closed_gate(api)
        live.set_query(TaskQuery(TaskState.PENDING))
        await wait_until(lambda: api.calls[-1][:2] == ("list_tasks", TaskQuery(TaskState.PENDING)))
        api.failure = UnreachableError("The gateway is away.")
        api.cut.set()
        await wait_until(lambda: live.phase is LivePhase.RETRYING)
        queue.claim(id)
        queue.trim_feed()
        api.failure = None
        live.retry_now()
        await wait_until(lambda: live._cursor == queue.cursor)
        release()
        await settle(live, queue)
        assert live.tasks == []


async def test_paused_at_the_end_nothing_is_added() -> None:
    queue = FakeQueue()
    first = [queue.submit().id for _ in range(3)]
    async with opened(queue) as live:
        await settle(live, queue)
        live.go_to_end()
        await settle(live, queue)
        queue.submit()
        await settle(live, queue)
        assert [task.id for task in live.tasks] == first[::-1]
        assert (live.newer, live.has_before) == (1, True)
        live.go_to_start()
        await settle(live, queue)
        assert (len(live.tasks), live.newer, live.has_before) == (4, 0, False)


async def test_what_comes_while_paused_is_counted_and_follows() -> None:
    queue = FakeQueue()
    queue.submit()
    async with opened(queue) as live:
        await settle(live, queue)
        live.set_following(False)
        new = [queue.submit().id for _ in range(5)]
        queue.claim(new[0])
        await settle(live, queue)
        assert (len(live.tasks), live.newer, live.has_before) == (1, 5, True)
        live.load_before()
        await settle(live, queue)
        assert (len(live.tasks), live.newer, live.has_before) == (6, 0, False)
        live.set_following(True)
        queue.submit()
        await settle(live, queue)
        assert len(live.tasks) == 7


async def test_what_is_being_read_when_it_is_paused_moves_no_line() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    first = [queue.submit().id for _ in range(3)]
    async with opened(queue, api) as live:
        await settle(live, queue)
        release = closed_gate(api)
        for _ in range(4):
            queue.submit()
        await wait_until(lambda: int(live._cursor) == len(queue.events))
        live.set_following(False)
        assert (live.newer, live.has_before) == (4, True)
        release()
        await settle(live, queue)
        assert [task.id for task in live.tasks] == first[::-1]
        live.set_following(True)
        await settle(live, queue)
        assert len(live.tasks) == 7 and not live.has_before


async def test_what_was_not_shown_before_it_is_paused_is_not_shown() -> None:
    queue = FakeQueue()
    first = [queue.submit().id for _ in range(3)]
    async with opened(queue) as live:
        await settle(live, queue)
        for _ in range(4):
            queue.submit()
        await settle(live, queue)
        live.set_following(False, newest=first[-1])
        assert [task.id for task in live.tasks] == first[::-1]
        assert (live.newer, live.has_before) == (4, True)
        live.load_before()
        await settle(live, queue)
        assert (len(live.tasks), live.newer, live.has_before) == (7, 0, False)


async def test_it_is_paused_while_it_is_behind() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    first = [queue.submit().id for _ in range(3)]
    async with opened(queue, api) as live:
        await settle(live, queue)
        for _ in range(4):
            queue.submit()
        await settle(live, queue)
        release = closed_gate(api)
        for _ in range(300):
            queue.submit()
        await wait_until(lambda: live._is_behind)
        live.set_following(False, newest=first[-1])
        assert [task.id for task in live.tasks] == first[::-1]
        release()
        await settle(live, queue)
        assert [task.id for task in live.tasks] == first[::-1]
        assert (live.newer, live.has_before) == (304, True)


async def test_a_flood_of_new_tasks_leaves_no_hole() -> None:
    """With more new tasks than can be read the window moves on, and says that older ones are
    left."""
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    for _ in range(50):
        queue.submit()
    async with opened(queue, api) as live:
        await settle(live, queue)
        for _ in range(1000):
            queue.submit()
        await settle(live, queue)
        assert list(live.tasks) == expected(live, queue)
        assert live.tasks[0].id == max(queue.tasks)
        assert live.has_after
        assert 100 <= len(live.tasks) <= 250
        read = sum(len(call[1]) for call in api.calls if call[0] == "read_tasks")
        assert read < 500


async def test_a_flood_is_shown_while_it_lasts() -> None:
    """Whatever is shown stays until newer tasks can be, and each answer brings some."""
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    for _ in range(50):
        queue.submit()
    async with opened(queue, api) as live:
        await settle(live, queue)
        for _ in range(5):
            newest, release = max(queue.tasks), closed_gate(api)
            for _ in range(4):
                for _ in range(150):
                    queue.submit()
                await wait_until(lambda: int(live._cursor) == len(queue.events))
                assert live.tasks and live.newer == 0
            release()
            await wait_until(lambda newest=newest: live.tasks[0].id > newest)
            assert len(live.tasks) >= 50
        await settle(live, queue)
        assert list(live.tasks) == expected(live, queue)


async def test_tasks_that_change_before_each_read_are_shown() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    async with opened(queue, api) as live:
        await settle(live, queue)
        release = closed_gate(api)
        id = queue.submit().id
        await wait_until(lambda: api.calls[-1][0] == "read_tasks")
        queue.claim(id)
        await wait_until(lambda: int(live._cursor) == len(queue.events))
        release()
        release = closed_gate(api)
        await wait_until(lambda: len(live.tasks) == 1)
        assert live.tasks[0].state is TaskState.PROCESSING
        release()
        await settle(live, queue)
        assert list(live.tasks) == expected(live, queue)


async def test_a_search_loses_no_hit_in_a_flood() -> None:
    queue = FakeQueue()
    wanted = [queue.submit(model="rare").id]
    async with opened(queue) as live:
        live.set_query(TaskQuery(None, "model:rare"))
        await settle(live, queue)
        for number in range(1000):
            if number % 300 == 50:
                wanted.append(queue.submit(model="rare").id)
            queue.submit()
        await settle(live, queue)
        assert [task.id for task in live.tasks] == wanted[::-1]


async def test_the_oldest_first_are_not_moved_by_new_tasks() -> None:
    queue = FakeQueue()
    first = queue.submit().id
    async with opened(queue) as live:
        live.set_query(TaskQuery(), oldest_first=True)
        await settle(live, queue)
        for _ in range(1000):
            queue.submit()
        await settle(live, queue)
        assert live.tasks[0].id == first
        assert list(live.tasks) == expected(live, queue)
        assert live.has_after


async def test_what_is_far_from_the_screen_is_left_out() -> None:
    queue = FakeQueue()
    for _ in range(1500):
        queue.submit()
    async with opened(queue, page_size=100) as live:
        await settle(live, queue)
        live.set_following(False)
        while live.has_after:
            live.visible = lambda: [task.id for task in live.tasks[-20:]]
            live.load_after()
            await settle(live, queue)
            assert len(live.tasks) <= 1000
        assert live.tasks[-1].id == min(queue.tasks)
        assert live.has_before
        assert list(live.tasks) == expected(live, queue)


async def test_a_search_goes_on_until_a_screen_is_full() -> None:
    """Pages of a search may have no hit and still a next one."""
    queue = FakeQueue()
    wanted = queue.submit(model="rare").id
    for _ in range(30):
        queue.submit()
    api = FakeQueueApi(queue)
    whole = api.list_tasks

    async def scanning(query: TaskQuery, **options: Any) -> Any:
        """Looks through five tasks at once."""
        page = await whole(TaskQuery(query.state), **options | {"limit": 5})
        task_filter = parse_task_filter(query.text, START)
        items = [one for one in page.items if task_filter.matches(one)]
        return type(page)(items=items, next=page.next, feed=page.feed, time=page.time)

    api.list_tasks = scanning  # type: ignore[method-assign]
    async with opened(queue, api) as live:
        await settle(live, queue)
        live.set_query(TaskQuery(None, "model:rare"))
        await wait_until(lambda: is_settled(live) and not live.has_after)
        assert [task.id for task in live.tasks] == [wanted]


async def test_a_bad_filter_changes_nothing() -> None:
    queue = FakeQueue()
    queue.submit()
    async with opened(queue) as live:
        await settle(live, queue)
        with pytest.raises(QueryError, match="There is no field nonsense"):
            live.set_query(TaskQuery(None, "nonsense:1"))
        assert (live.query, live.is_loading, len(live.tasks)) == (TaskQuery(), False, 1)


async def test_a_query_that_the_gateway_refuses() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    queue.submit()
    async with opened(queue, api) as live:
        await settle(live, queue)
        api.failure = RefusedError("q may have 200 characters.")
        live.set_query(TaskQuery(None, "llama"))
        await wait_until(lambda: live.problem == "q may have 200 characters.")
        assert (live.phase, live.is_loading) == (LivePhase.LIVE, False)
        assert not live.tasks  # those of the query before are not what was asked for
        api.failure = None
        changed = queue.submit().id
        await wait_until(lambda: int(live._cursor) == len(queue.events))
        assert live.problem == "q may have 200 characters."
        api.failure = RefusedError("q may have 100 characters.")
        live._ask_again()  # it is refused again
        await wait_until(lambda: live.problem == "q may have 100 characters.")
        await wait_until(lambda: not live.is_loading)
        api.cut.set()
        await wait_until(lambda: live.phase is LivePhase.RETRYING)
        api.failure = None
        live.retry_now()
        await settle(live, queue)  # the gateway may be another one, which takes it
        assert (live.problem, live.query.text, len(live.tasks)) == ("", "llama", 2)
        live.set_query(TaskQuery())
        await settle(live, queue)
        assert live.problem == ""
        assert live.tasks[0].id == changed


async def test_a_refused_read_is_not_repeated_at_once() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    id = queue.submit().id
    async with opened(queue, api) as live:
        await settle(live, queue)
        api.failure = RefusedError("This is no id of a task.")
        reads = len(api.calls)
        queue.claim(id)
        await wait_until(lambda: live.problem == "This is no id of a task.")
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(api.calls) <= reads + 3


async def test_a_time_that_is_none_is_ignored() -> None:
    queue = FakeQueue()
    async with opened(queue) as live:
        await settle(live, queue)
        before = live.now()
        queue.time = 1e15
        queue.submit()
        await settle(live, queue)
        assert live.now() - before < 1e6


async def test_an_age_is_that_when_it_was_typed() -> None:
    queue = FakeQueue()
    old = queue.submit().id
    queue.time += 3600
    new = queue.submit().id
    async with opened(queue) as live:
        await settle(live, queue)
        live.set_query(TaskQuery(None, "age:>10m"))
        await settle(live, queue)
        queue.time += 3600
        queue.claim(new)
        await settle(live, queue)
        assert [task.id for task in live.tasks] == [old]


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (NotInstalledError("There is no Service."), LivePhase.OFF),
        (NotPermittedError("It needs get on secrets."), LivePhase.FORBIDDEN),
        (TooOldError("It is too old."), LivePhase.TOO_OLD),
        (UnreachableError("No Pod is up."), LivePhase.RETRYING),
    ],
)
async def test_why_nothing_is_shown(error: Any, phase: LivePhase) -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    api.failure = error
    queue.submit()
    async with opened(queue, api) as live:
        await wait_until(lambda: live.phase is phase)
        assert live.problem == str(error)
        api.failure = None
        live.retry_now()
        await settle(live, queue)
        assert (live.problem, len(live.tasks)) == ("", 1)


async def test_what_was_shown_stays_while_the_gateway_is_away() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    id = queue.submit().id
    async with opened(queue, api) as live:
        await settle(live, queue)
        assert live.lost_at is None
        api.failure = UnreachableError("No Pod is up.")
        api.cut.set()
        await wait_until(lambda: live.phase is LivePhase.RETRYING and live.lost_at)
        assert live.tasks[0].id == id
        queue.claim(id)
        api.failure = None
        live.retry_now()
        await settle(live, queue)
        assert live.lost_at is None
        assert live.tasks[0].state is TaskState.PROCESSING


async def test_a_queue_that_is_turned_off_and_on_begins_again() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    queue.submit()
    async with opened(queue, api) as live:
        await settle(live, queue)
        api.failure = NotInstalledError("The async queue is off.")
        api.cut.set()
        await wait_until(lambda: live.phase is LivePhase.OFF)
        assert live.status is None and not live.tasks
        api.queue = queue = FakeQueue()
        other = queue.submit(path="/other").id
        api.failure = None
        live.retry_now()
        await settle(live, queue)
        assert [task.id for task in live.tasks] == [other]


async def test_the_store_is_away() -> None:
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    api.failure = StoreUnavailableError("Valkey does not answer.")
    async with opened(queue, api) as live:
        await wait_until(lambda: live.store_problem == "Valkey does not answer.")
        api.failure = None
        live.retry_now()
        await settle(live, queue)
        assert live.store_problem == ""


async def test_the_store_is_lost_while_the_gateway_is_there() -> None:
    """What is shown is as of then, until the state of the queue is known again."""
    queue = FakeQueue()
    queue.submit()
    async with opened(queue) as live:
        await settle(live, queue)
        queue.set_store_problem("Valkey is away.")
        await wait_until(lambda: live.store_problem == "Valkey is away.")
        assert live.phase is LivePhase.LIVE and live.lost_at is not None
        queue.set_store_problem("")
        await wait_until(lambda: live.store_problem == "")
        assert live.lost_at is None


async def test_the_time_is_that_of_the_store() -> None:
    queue = FakeQueue()
    queue.submit()
    async with opened(queue) as live:
        await settle(live, queue)
        assert abs(live.now() - queue.time) < 200
        assert live.status is not None
        assert live.status.counts.pending == 1


async def test_listeners_hear_of_tasks_that_are_not_loaded() -> None:
    queue = FakeQueue()
    ids = [queue.submit().id for _ in range(10)]
    heard: list[str] = []
    async with opened(queue, page_size=2) as live:
        await settle(live, queue)
        stop = live.listen(heard.append)
        queue.claim(ids[0])
        await wait_until(lambda: heard)
        assert set(heard) == {ids[0]}
        stop()
        queue.end(ids[0])
        await settle(live, queue)
        assert set(heard) == {ids[0]}
        assert live.find(ids[0]) is None


async def test_a_queue_that_is_off_is_asked_for_again(monkeypatch) -> None:
    """Its objects come one after the other when it is turned on; what is missing says that it is
    off."""
    monkeypatch.setattr(live_queue, "_UNAVAILABLE_SECONDS", 0.01)
    queue = FakeQueue()
    api = FakeQueueApi(queue)
    api.failure = NotInstalledError("There is no Service.")
    queue.submit()
    async with opened(queue, api) as live:
        await wait_until(lambda: live.phase is LivePhase.OFF)
        api.failure = None
        await settle(live, queue)
        assert len(live.tasks) == 1


async def test_an_age_before_the_first_answer_is_by_the_clock_of_the_store() -> None:
    """Not by that of this machine, which may be days away."""
    queue = FakeQueue()
    task = queue.submit().id
    async with opened(queue) as live:
        live.set_query(TaskQuery(None, "age:<1h"))
        await settle(live, queue)
        assert [one.id for one in live.tasks] == [task]
        assert live.asked_at == pytest.approx(queue.time, abs=600)


async def test_what_is_visible_is_never_left_out() -> None:
    """Though the first and the last task are: the cursor may be where it is not scrolled to yet."""
    queue = FakeQueue()
    ids = [queue.submit().id for _ in range(20)]
    async with opened(queue) as live:
        await settle(live, queue)
        live._window.trim({ids[0], ids[-1]}, 5)
        assert [task.id for task in live.tasks] == ids[::-1]
        live._window.trim({ids[0], ids[-4]}, 5)
        assert [task.id for task in live.tasks] == ids[-4::-1]
