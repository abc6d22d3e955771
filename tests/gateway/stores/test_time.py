"""What happens to tasks when time passes: leases, deadlines, retention, callbacks."""

from __future__ import annotations

import asyncio

import pytest

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.stores.store import SWEEP_LIMIT, Content, TaskStore
from tests.gateway.stores.cases import (
    LONG,
    SHORT,
    SqliteCase,
    StoreCase,
    attempt_of,
    claim,
    claim_all,
    claim_one,
    end_of,
    fail,
    read_all,
    state_of,
    submit,
    task_of,
)


async def test_a_sweep_of_nothing_does_nothing(store: TaskStore) -> None:
    await submit(store)
    await claim(store)
    await submit(store)
    cursor = await store.feed_end()
    swept = await store.sweep(LONG)
    assert swept[:5] == (0, 0, 0, 0, ()) and not any(swept.ended.values())
    assert not (await store.sweep(LONG)).is_full
    assert await store.feed_end() == cursor


async def test_the_tasks_of_a_lost_worker_are_given_back(case: StoreCase) -> None:
    store = case.store
    ids = [await submit(store, credentials=b"secret") for _ in range(3)]
    (lost,) = await claim(store, 1, worker="lost", lease=SHORT)
    await case.pass_time()
    swept = await store.sweep(LONG)
    assert (swept.lapsed, swept.due, swept.expired) == (1, 0, 0)
    shown = await task_of(store, lost.id)
    assert (shown.state, shown.attempt) == (TaskState.PENDING, 1)
    assert shown.message
    (attempt,) = await store.read_attempts(lost.id)
    assert (attempt.attempt, attempt.worker, attempt.pod) == (1, "lost", lost.pod)
    assert attempt.message and attempt.is_counted
    assert attempt.began <= attempt.ended
    assert await store.running() == {}
    taken = await claim(store, 5)
    assert [one.id for one in taken] == ids  # at its old place
    assert (taken[0].attempt, taken[0].credentials) == (2, b"secret")
    assert taken[0].attempts_left == 1


async def test_what_a_worker_was_not_told_of_is_given_back(case: StoreCase) -> None:
    store = case.store
    ids = [await submit(store, credentials=b"secret", max_attempts=1) for _ in range(3)]
    unheard, held = await claim(store, 2, worker="mine")
    (other,) = await claim(store, 1, worker="another")
    known = [(held.id, held.attempt)]
    assert await store.release("mine", known, LONG) == 0
    await case.pass_time()
    await case.pass_time()
    cursor = await store.feed_end()
    assert await store.release("mine", [*known, (unheard.id, unheard.attempt)], SHORT) == 0
    assert await store.release("mine", [*known, (unheard.id, unheard.attempt + 1)], SHORT) == 1
    assert [one.state for one in await store.read_feed(cursor, 9, 0)] == [TaskState.PENDING]
    assert await store.release("mine", known, SHORT) == 0
    for one in (held, other):
        assert await state_of(store, one.id) is TaskState.PROCESSING
    (attempt,) = await store.read_attempts(unheard.id)
    assert (attempt.worker, attempt.is_counted) == ("mine", False)
    assert not await store.finish(end_of(unheard))
    (again,) = await claim(store, 5)
    assert (again.id, again.attempt, again.attempts_left) == (ids[0], 2, 0)
    assert again.credentials == b"secret"
    assert await store.finish(end_of(again))


async def test_a_worker_lost_in_each_attempt_uses_them_up(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, max_attempts=3)
    for number in (1, 2, 3):
        claimed = await claim_one(store, lease=0.001)
        assert (claimed.attempt, claimed.attempts_left) == (number, 3 - number)
        await case.pass_time()
        assert (await store.sweep(LONG)).lapsed == 1
    shown = await task_of(store, id)
    assert (shown.state, shown.reason, shown.attempt) == (
        TaskState.FAILED,
        FailureReason.EXHAUSTED,
        3,
    )
    assert shown.message
    assert shown.ended is not None and shown.expires == pytest.approx(shown.ended + LONG, abs=0.01)
    assert len(await store.read_attempts(id)) == 3
    assert await claim(store) == []
    assert await store.running() == {}


async def test_a_sweep_tells_what_the_store_has_ended(case: StoreCase) -> None:
    """Also what a claim met, once."""

    async def swept() -> dict[str, int]:
        found = (await case.store.sweep(LONG)).ended
        return {str(reason): count for reason, count in found.items() if count}

    store = case.store
    await submit(store, max_attempts=1)
    await submit(store, max_attempts=2)
    await claim(store, 2, lease=0.001)
    await case.pass_time()
    assert await swept() == {"exhausted": 1}
    await store.cancel((await claim_one(store)).id, LONG)
    for _ in range(2):
        await submit(store, lifetime=SHORT)
    await case.pass_time()
    assert await claim(store) == []
    await submit(store, lifetime=SHORT)
    await case.pass_time()
    assert await swept() == {"expired": 3}
    assert await swept() == {}


async def test_long_work_is_delivered_once(case: StoreCase) -> None:
    """A task that runs for many leases, and one whose delay is longer than a lease."""
    store = case.store
    running, delayed = [await submit(store) for _ in range(2)]
    first, second = await claim(store, 2, lease=LONG)
    await store.retry(delayed, 1, 10 * SHORT, attempt_of(second))
    for _ in range(8):
        assert await store.beat([(running, first.attempt)], LONG) == []
        await case.pass_time()
        assert (await store.sweep(LONG)).lapsed == 0
        assert running not in [one.id for one in await claim(store, 5)]
    if case.has_clock:
        await case.pass_time(3 * SHORT)
        assert (await store.sweep(LONG)).due == 1
        assert await claim_all(store) == [delayed]
    assert await store.finish(end_of(first))
    assert (await task_of(store, running)).attempt == 1


async def test_pending_tasks_fail_at_their_deadline(case: StoreCase) -> None:
    store = case.store
    ready = await submit(store, lifetime=SHORT, credentials=b"-secret-of-an-expired-task-")
    other = await submit(store)
    await case.pass_time()
    assert (await store.sweep(LONG)).expired == 1
    shown = await task_of(store, ready)
    assert (shown.state, shown.reason) == (TaskState.FAILED, FailureReason.EXPIRED)
    assert shown.message
    assert shown.ended is not None and shown.expires == pytest.approx(shown.ended + LONG, abs=0.01)
    assert (await store.sweep(LONG)).expired == 0
    assert await claim_all(store) == [other]
    assert b"-secret-of-an-expired-task-" not in await case.stored_bytes()


async def test_delayed_and_running_tasks_fail_at_their_deadline(sqlite_case: SqliteCase) -> None:
    store = sqlite_case.store
    delayed = await submit(store, lifetime=10)
    running = await submit(store, lifetime=10)
    first, second = await claim(store, 2)
    await store.retry(delayed, 1, 5, attempt_of(first))
    await sqlite_case.pass_time(10)
    swept = await store.sweep(LONG)
    assert (swept.expired, swept.due) == (2, 0)
    for id in (delayed, running):
        shown = await task_of(store, id)
        assert (shown.state, shown.reason) == (TaskState.FAILED, FailureReason.EXPIRED)
        assert shown.next_attempt is None
    assert not await store.finish(end_of(second))
    assert await store.beat([(running, 1)], LONG) == [running]
    assert await store.running() == {}
    assert [one.attempt for one in await store.read_attempts(running)] == [1]
    counts = await store.counts()
    assert (counts.pending, counts.delayed, counts.processing, counts.failed) == (0, 0, 0, 2)


async def test_a_running_task_is_fenced_at_its_deadline(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, lifetime=1.0)
    taken = await claim(store)
    await case.pass_time(1.0)
    swept = await store.sweep(LONG)
    shown = await task_of(store, id)
    assert (shown.state, shown.reason) == (TaskState.FAILED, FailureReason.EXPIRED)
    if taken:  # a machine that stood still for a second met it when it was overdue
        assert swept.expired == 1
        assert not await store.finish(end_of(taken[0]))


async def test_ended_tasks_are_deleted_and_leave_nothing(case: StoreCase) -> None:
    store = case.store
    done = await submit(store, "alice", credentials=b"c", idempotency_key="k1", fingerprint="f")
    claimed = await claim_one(store)
    await store.append_output(done, 1, b"part")
    await store.retry(done, 1, 0, attempt_of(claimed))
    claimed = await claim_one(store)
    await store.append_output(done, 2, b"part")
    await store.finish(end_of(claimed, keep=SHORT))
    failed = await submit(store, "bob", has_callback=True, idempotency_key="k2", fingerprint="f")
    await fail(store, failed, keep=SHORT)
    cancelled = await submit(store, "carol", urgency=7, credentials=b"c")
    assert (await store.cancel(cancelled, SHORT)).changed
    await case.pass_time()
    assert (await store.sweep(LONG)).deleted == 3

    for id in (done, failed, cancelled):
        assert await store.find(id) is None
        assert await store.read_request(id) is None
        assert await store.read_response(id) is None
        assert await store.read_attempts(id) == []
        assert await store.redrive(id, LONG, b"") == (False, None, "")
    assert await store.page(None, "", 10) == []
    assert await store.claim_callbacks(10, LONG) == []
    counts = await store.counts()
    assert (counts.completed, counts.failed, counts.cancelled) == (0, 0, 0)
    events = [one for one in await read_all(store) if one.state is None]
    assert sorted(one.id for one in events) == sorted([done, failed, cancelled])
    # Owners whose last time has passed are forgotten once others were served.
    for _ in range(20):
        id = await submit(store, "dave", urgency=7)
        await claim_one(store)
        await store.cancel(id, 0.001)
    await case.pass_time()
    await store.sweep(LONG)
    assert await case.leftovers() == set()


async def test_objects_are_named_when_nothing_refers_to_them(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, body=Content(object="x/request", size=9))
    await store.finish(
        end_of(await claim_one(store), body=Content(object="x/response", size=9), keep=SHORT)
    )
    kept = await submit(store, body=Content(object="y/request", size=9))
    await case.pass_time()
    swept = await store.sweep(LONG)
    assert sorted(swept.objects) == ["x/request", "x/response"]
    assert (await store.sweep(LONG)).objects == ()
    assert await state_of(store, id) is None
    assert await state_of(store, kept) is TaskState.PENDING


async def test_a_large_backlog_is_swept_in_parts(case: StoreCase) -> None:
    store = case.store
    total = SWEEP_LIMIT + 30
    await asyncio.gather(*(submit(store, lifetime=0.001) for _ in range(total)))
    await case.pass_time()
    first = await store.sweep(0.001)
    assert first.expired == SWEEP_LIMIT
    assert first.is_full
    second = await store.sweep(0.001)
    assert second.expired == 30
    await case.pass_time()
    deleted = first.deleted + second.deleted
    while deleted < total:
        part = (await store.sweep(LONG)).deleted
        assert 0 < part <= SWEEP_LIMIT
        deleted += part
    assert await store.page(None, "", 10) == []


# -- callbacks ------------------------------------------------------------------------------------


async def test_a_callback_is_due_after_each_end(store: TaskStore) -> None:
    ids = [await submit(store, has_callback=True) for _ in range(3)]
    await submit(store)
    assert await store.claim_callbacks(10, LONG) == []
    await fail(store, ids[0])
    first = await claim_one(store)
    await store.finish(end_of(first))
    await store.cancel(ids[2], LONG)
    await store.finish(end_of(await claim_one(store)))  # has none
    assert [tuple(one) for one in await store.claim_callbacks(2, LONG)] == [
        (ids[0], 0),
        (ids[1], 0),
    ]
    assert [one.id for one in await store.claim_callbacks(10, LONG)] == [ids[2]]
    assert await store.claim_callbacks(10, LONG) == []
    for id in ids:
        await store.settle_callback(id, None)

    await store.redrive(ids[0], LONG, None)
    assert await store.claim_callbacks(10, LONG) == []
    await store.finish(end_of(await claim_one(store)))
    assert [tuple(one) for one in await store.claim_callbacks(10, LONG)] == [(ids[0], 0)]


async def test_a_callback_that_is_not_settled_is_due_again(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, has_callback=True)
    await store.cancel(id, LONG)
    assert [tuple(one) for one in await store.claim_callbacks(10, SHORT)] == [(id, 0)]
    await case.pass_time()
    assert [tuple(one) for one in await store.claim_callbacks(10, LONG)] == [(id, 1)]
    await store.settle_callback(id, SHORT)
    await case.pass_time()
    assert [tuple(one) for one in await store.claim_callbacks(10, LONG)] == [(id, 2)]
    await store.settle_callback(id, LONG)
    assert await store.claim_callbacks(10, LONG) == []
    await store.settle_callback(id, None)
    await store.settle_callback(id, None)
    await store.settle_callback("f" * 44, None)
    await store.settle_callback("f" * 44, 1.0)
    assert await store.claim_callbacks(10, LONG) == []


async def test_settling_an_old_callback_leaves_that_of_a_later_end(store: TaskStore) -> None:
    id = await submit(store, has_callback=True)
    await fail(store, id)
    assert [one.id for one in await store.claim_callbacks(10, LONG)] == [id]
    await store.redrive(id, LONG, None)
    await fail(store, id)
    await store.settle_callback(id, None)  # of the first end, which was delivered only now
    assert [tuple(one) for one in await store.claim_callbacks(10, LONG)] == [(id, 0)]


async def test_tasks_that_fail_by_time_have_their_callback_too(case: StoreCase) -> None:
    store = case.store
    expired = await submit(store, has_callback=True, lifetime=SHORT)
    await case.pass_time()
    await store.sweep(LONG)
    lost = await submit(store, has_callback=True, max_attempts=1)
    await claim(store, lease=0.001)
    await case.pass_time()
    await store.sweep(LONG)
    assert [one.id for one in await store.claim_callbacks(10, LONG)] == [expired, lost]
