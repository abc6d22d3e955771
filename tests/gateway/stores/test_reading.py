"""Lists, counts and the feed, read while tasks change."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from servedeck.async_queue.tasks import FINAL_STATES, StateCounts, TaskState, WorkerStatus
from servedeck.gateway.stores.store import START, FeedTrimmedError, Output, TaskStore
from tests.gateway.stores.cases import (
    LONG,
    SHORT,
    SqliteCase,
    StoreCase,
    attempt_of,
    claim,
    claim_one,
    end_of,
    fail,
    is_trimmed,
    next_id,
    read_all,
    submit,
    task_of,
)
from tests.waiting import WAIT_SECONDS, with_timeout


async def test_pages_are_the_newest_first(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(25)]
    ids.reverse()
    assert [one.id for one in await store.page(None, "", 10)] == ids[:10]
    assert [one.id for one in await store.page(None, ids[9], 10)] == ids[10:20]
    assert [one.id for one in await store.page(None, ids[19], 10)] == ids[20:]
    assert await store.page(None, ids[24], 10) == []
    assert (await store.page(None, "", 1))[0] == await task_of(store, ids[0])


async def test_pages_of_one_state(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(10)]
    for n, claimed in enumerate(await claim(store, 8)):
        if n < 3:
            await store.finish(end_of(claimed))
        elif n < 5:
            await store.finish(end_of(claimed, TaskState.FAILED))
    await store.cancel(ids[9], LONG)
    expected = {
        TaskState.COMPLETED: ids[0:3],
        TaskState.FAILED: ids[3:5],
        TaskState.PROCESSING: ids[5:8],
        TaskState.PENDING: ids[8:9],
        TaskState.CANCELLED: ids[9:],
    }
    for state, of_state in expected.items():
        page = await store.page(state, "", 10)
        assert [one.id for one in page] == of_state[::-1]
        assert {one.state for one in page} == {state}
        assert [one.id for one in await store.page(state, of_state[-1], 10)] == of_state[-2::-1]


async def test_pages_with_the_oldest_first(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(25)]
    for start in range(0, 25, 10):
        after = ids[start - 1] if start else ""
        page = await store.page(None, after, 10, oldest_first=True)
        assert [one.id for one in page] == ids[start : start + 10]
    assert await store.page(None, ids[24], 10, oldest_first=True) == []
    for claimed in await claim(store, 4):
        await store.finish(end_of(claimed))
    page = await store.page(TaskState.COMPLETED, ids[0], 10, oldest_first=True)
    assert [one.id for one in page] == ids[1:4]


async def test_pages_of_several_states(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(12)]
    for n, claimed in enumerate(await claim(store, 8)):
        if n < 3:
            await store.finish(end_of(claimed))
    await store.cancel(ids[5], LONG)
    await store.cancel(ids[11], LONG)
    open_states = frozenset({TaskState.PENDING, TaskState.PROCESSING})
    expected = [*ids[3:5], *ids[6:11]]
    page = await store.page(open_states, "", 100)
    assert [one.id for one in page] == expected[::-1]
    assert [one.id for one in await store.page(open_states, ids[9], 3)] == expected[-3:-6:-1]
    page = await store.page(open_states, ids[4], 3, oldest_first=True)
    assert [one.id for one in page] == expected[2:5]
    page = await store.page(FINAL_STATES, "", 100)
    assert [one.id for one in page] == [ids[11], ids[5], *ids[2::-1]]


async def test_a_page_begins_at_the_begin_of_an_id(store: TaskStore) -> None:
    """Of which no task has to be stored."""
    ids = [await submit(store) for _ in range(3)]
    begin = ids[1][:-1]
    newer, older = [one for one in ids if one > begin], [one for one in ids if one < begin]
    assert ids[1] in newer
    page = await store.page(None, begin, 10, oldest_first=True)
    assert [one.id for one in page] == newer
    assert [one.id for one in await store.page(None, begin, 10)] == older[::-1]


async def test_tasks_are_read_by_their_ids(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(4)]
    claimed = await claim_one(store)
    await store.finish(end_of(claimed))
    found = await store.find_many([ids[2], next_id(), ids[0]])
    assert found == [await task_of(store, ids[2]), await task_of(store, ids[0])]
    assert await store.find_many([]) == []


async def test_the_time_is_that_of_the_store(case: StoreCase) -> None:
    id = await submit(case.store)
    before = await case.store.time()
    await case.pass_time()
    assert before < await case.store.time()
    # which is kept in milliseconds
    assert before > (await task_of(case.store, id)).created - 0.001


async def test_a_task_is_listed_once_while_others_end_and_come(store: TaskStore) -> None:
    ids = {await submit(store) for _ in range(120)}
    seen: list[str] = []
    after = ""
    while page := await store.page(None, after, 10):
        seen += [one.id for one in page]
        after = page[-1].id
        for claimed in await claim(store, 4):
            await store.finish(end_of(claimed))
        await submit(store, "b")
    assert len(seen) == len(set(seen))
    assert set(seen) >= ids


async def test_a_walk_through_one_state_misses_none_that_stays(store: TaskStore) -> None:
    stay = {await submit(store, urgency=7) for _ in range(40)}
    go = {await submit(store, urgency=0) for _ in range(40)}
    seen: list[str] = []
    after = ""
    while page := await store.page(TaskState.PENDING, after, 7):
        seen += [one.id for one in page]
        after = page[-1].id
        for claimed in await claim(store, 3):
            assert claimed.id in go
            await store.finish(end_of(claimed))
    assert len(seen) == len(set(seen))
    assert set(seen) >= stay


async def test_counts(store: TaskStore) -> None:
    assert await store.counts() == StateCounts()
    ids = [await submit(store) for _ in range(10)]
    taken = await claim(store, 6)
    await store.finish(end_of(taken[0]))
    await store.finish(end_of(taken[1], TaskState.FAILED))
    await store.finish(end_of(taken[2], TaskState.FAILED))
    await store.retry(taken[3].id, 1, LONG, attempt_of(taken[3]))
    await store.cancel(ids[9], LONG)
    assert await store.counts() == StateCounts(
        pending=4, delayed=1, processing=2, completed=1, failed=2, cancelled=1
    )


async def test_the_oldest_pending_task(store: TaskStore) -> None:
    assert await store.oldest_pending() is None
    ids = [await submit(store) for _ in range(3)]
    first = await task_of(store, ids[0])
    assert await store.oldest_pending() == first.created
    claimed = await claim_one(store)
    assert await store.oldest_pending() == (await task_of(store, ids[1])).created
    await store.retry(claimed.id, 1, LONG, attempt_of(claimed))
    assert await store.oldest_pending() == first.created  # it waits as well


async def test_minutes_count_what_happened(store: TaskStore) -> None:
    for n in range(4):
        id = await submit(store)
        if n == 0:
            await store.cancel(id, LONG)
        elif n == 1:
            await fail(store, id)
        elif n == 2:
            await store.finish(end_of(await claim_one(store)))
    await store.sweep(LONG)
    minutes = await store.minutes()
    assert [one.time for one in minutes] == sorted({one.time for one in minutes})
    assert all(one.time % 60 == 0 for one in minutes)
    totals = [
        sum(getattr(one, name) for one in minutes)
        for name in ("submitted", "completed", "failed", "cancelled")
    ]
    assert totals == [4, 1, 1, 1]
    assert minutes[-1].depth == 1


async def test_minutes_of_the_last_hour(sqlite_case: SqliteCase) -> None:
    store = sqlite_case.store
    await submit(store)
    sqlite_case.now += 120
    await submit(store)
    await submit(store)
    await store.sweep(LONG)
    first, last = await store.minutes()
    assert (first.submitted, first.depth) == (1, None)
    assert (last.submitted, last.depth) == (2, 3)
    sqlite_case.now += 3500
    assert [one.submitted for one in await store.minutes()] == [2]
    sqlite_case.now += 120
    assert await store.minutes() == []


async def test_workers_are_shown_until_their_report_is_old(case: StoreCase) -> None:
    store = case.store
    first = WorkerStatus(name="w1", ready_pods=["a", "b"], time=5.0)
    await store.report(first, LONG)
    await store.report(WorkerStatus(name="w2"), SHORT)
    await store.report(WorkerStatus(name="w3"), LONG)
    await store.report(WorkerStatus(name="w3"), 0)
    await case.pass_time()
    assert await store.workers() == [first]
    changed = WorkerStatus(name="w1", blocked_by="No Pod is Ready.", blocked_since=6.0)
    await store.report(changed, LONG)
    assert await store.workers() == [changed]


# -- the feed -------------------------------------------------------------------------------------


async def test_the_feed_has_each_change_once_in_order(case: StoreCase) -> None:
    store = case.store
    assert await store.read_feed(START, 10, 0) == []
    id = await submit(store)
    claimed = await claim_one(store)
    await store.retry(id, 1, 0, attempt_of(claimed))
    claimed = await claim_one(store)
    await store.finish(end_of(claimed, TaskState.FAILED))
    await store.redrive(id, LONG, None)
    await store.cancel(id, 0.001)
    await case.pass_time()
    await store.sweep(LONG)
    events = await read_all(store)
    assert [(one.state, one.attempt) for one in events[:-1]] == [
        (TaskState.PENDING, 0),
        (TaskState.PROCESSING, 1),
        (TaskState.PENDING, 1),
        (TaskState.PROCESSING, 2),
        (TaskState.FAILED, 2),
        (TaskState.PENDING, 2),
        (TaskState.CANCELLED, 2),
    ]
    assert events[-1].state is None
    assert {one.id for one in events} == {id}
    assert [one.time for one in events] == sorted(one.time for one in events)
    assert await store.feed_end() == events[-1].cursor


async def test_the_feed_is_resumed_at_any_event(store: TaskStore) -> None:
    for _ in range(7):
        await submit(store)
    events = await read_all(store)
    assert len({one.cursor for one in events}) == 7
    for n, one in enumerate(events):
        assert await read_all(store, one.cursor, limit=2) == events[n + 1 :]
    assert await store.read_feed(START, 3, 0) == events[:3]


async def test_the_feed_has_no_hole_while_others_write(store: TaskStore) -> None:
    """A reader that follows, and is cut and resumed all the time, sees what one read gives."""
    seen: list[str] = []
    cursor = START

    async def work() -> None:
        for _ in range(15):
            await submit(store)
            for claimed in await claim(store, 1):
                await store.finish(end_of(claimed))

    workers = [asyncio.create_task(work()) for _ in range(6)]
    while not all(one.done() for one in workers) or cursor != await store.feed_end():
        for event in await store.read_feed(cursor, 7, 0.001):
            seen.append(event.cursor)
            cursor = event.cursor
    await asyncio.gather(*workers)
    events = await read_all(store)
    assert seen == [one.cursor for one in events]
    states = Counter(one.state for one in events)
    assert states[TaskState.PENDING] == 90
    assert states[TaskState.PROCESSING] == states[TaskState.COMPLETED]


async def test_a_reader_is_woken_by_the_next_event(store: TaskStore) -> None:
    end = await store.feed_end()
    readers = [asyncio.create_task(store.read_feed(end, 10, 10 * WAIT_SECONDS)) for _ in range(3)]
    await asyncio.sleep(0)
    id = await submit(store)
    for events in await with_timeout(asyncio.gather(*readers)):
        assert [(one.id, one.state) for one in events] == [(id, TaskState.PENDING)]


async def test_a_reader_without_events_returns_at_last(store: TaskStore) -> None:
    await submit(store)
    end = await store.feed_end()
    assert await with_timeout(store.read_feed(end, 10, 0.01)) == []


async def test_events_that_are_no_longer_kept(case: StoreCase) -> None:
    for _ in range(10):
        await submit(case.store)
    events = await read_all(case.store)
    await case.trim_feed(4)
    store = case.store
    for cursor in (START, events[0].cursor, events[4].cursor):
        assert await is_trimmed(store, cursor)
        with pytest.raises(FeedTrimmedError):
            await with_timeout(store.read_feed(cursor, 10, LONG))
    assert await read_all(store, events[6].cursor) == events[7:]
    assert await store.feed_end() == events[-1].cursor
    await submit(store)
    assert len(await read_all(store, events[-1].cursor)) == 1


@pytest.mark.parametrize("cursor", ["x", "-1", "99999999999999999999999", "0x1", "١"])
async def test_a_cursor_of_another_store_is_not_followed(store: TaskStore, cursor: str) -> None:
    await submit(store)
    assert await is_trimmed(store, cursor)


# -- parts of a streamed response -----------------------------------------------------------------


async def test_parts_are_read_from_any_number(store: TaskStore) -> None:
    id = await submit(store)
    assert (await store.read_outputs(id, 0, 0, 0)).attempt == 0
    await claim_one(store)
    for n in range(5):
        assert await store.append_output(id, 1, b"part %d" % n)
    expected = [Output(n + 1, b"part %d" % n) for n in range(5)]
    assert await store.read_outputs(id, 1, 0, 0) == (1, expected, False)
    assert await store.read_outputs(id, 1, 3, 0) == (1, expected[3:], False)
    assert await store.read_outputs(id, 1, 5, 0) == (1, [], False)
    assert await store.read_outputs(id, 0, 4, 0) == (1, expected, False)  # of another attempt


async def test_parts_of_a_new_attempt_begin_anew(store: TaskStore) -> None:
    id = await submit(store)
    claimed = await claim_one(store)
    await store.append_output(id, 1, b"old")
    await store.retry(id, 1, 0, attempt_of(claimed))
    assert (await store.read_outputs(id, 1, 1, 0)) == (1, [], True)
    await claim_one(store)
    assert await store.read_outputs(id, 1, 1, 0) == (2, [], False)
    await store.append_output(id, 2, b"new")
    assert await store.read_outputs(id, 1, 1, 0) == (2, [Output(1, b"new")], False)


async def test_a_follower_is_woken_by_a_part_and_by_the_end(store: TaskStore) -> None:
    id = await submit(store)
    other = await submit(store)
    claimed, second = await claim(store, 2)
    wait = 10 * WAIT_SECONDS

    follower = asyncio.create_task(store.read_outputs(id, 1, 0, wait))
    await asyncio.sleep(0)
    await store.append_output(other, 1, b"of another")
    await store.append_output(id, 1, b"part")
    assert await with_timeout(follower) == (1, [Output(1, b"part")], False)

    follower = asyncio.create_task(store.read_outputs(id, 1, 1, wait))
    await asyncio.sleep(0)
    await store.finish(end_of(claimed))
    assert await with_timeout(follower) == (1, [], True)

    follower = asyncio.create_task(store.read_outputs(other, 1, 1, wait))
    await asyncio.sleep(0)
    await store.retry(other, 1, LONG, attempt_of(second))
    assert await with_timeout(follower) == (1, [], True)


async def test_parts_can_be_read_for_a_minute_after_the_end(sqlite_case: SqliteCase) -> None:
    store = sqlite_case.store
    id = await submit(store)
    claimed = await claim_one(store)
    await store.append_output(id, 1, b"part")
    await store.finish(end_of(claimed))
    sqlite_case.now += 59
    await store.sweep(LONG)
    assert await store.read_outputs(id, 1, 0, LONG) == (1, [Output(1, b"part")], True)
    sqlite_case.now += 2
    await store.sweep(LONG)
    assert await store.read_outputs(id, 1, 0, LONG) == (1, [], True)
    assert "output" not in await sqlite_case.leftovers()


async def test_parts_of_what_is_not_stored(store: TaskStore) -> None:
    outputs = await with_timeout(store.read_outputs(next_id(), 1, 0, 10 * WAIT_SECONDS))
    assert (outputs.parts, outputs.has_ended) == ([], True)


async def test_a_store_that_is_well_says_so(store: TaskStore) -> None:
    assert await store.check() == "" or (await store.check()).startswith("warning: ")
