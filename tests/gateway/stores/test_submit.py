"""What is accepted is stored, once."""

from __future__ import annotations

import asyncio

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import Content, SubmitOutcome, TaskStore
from tests.gateway.stores.cases import (
    DEPTH,
    LONG,
    StoreCase,
    attempt_of,
    claim_one,
    end_of,
    new_task,
    next_id,
    resubmit,
    state_of,
    submit,
    task_of,
)


async def test_an_accepted_task_is_stored_as_it_was_given(store: TaskStore) -> None:
    task = new_task("alice", urgency=5, max_attempts=7, data=b"\x00\xff body", has_callback=True)
    submitted = await store.submit(task, DEPTH)
    assert submitted == (SubmitOutcome.ACCEPTED, task.id, 0)
    found = await store.find(task.id)
    assert found is not None
    shown = found.task
    assert (shown.id, shown.state, shown.attempt, shown.max_attempts) == (
        task.id,
        TaskState.PENDING,
        0,
        7,
    )
    assert (shown.urgency, shown.owner, shown.request_bytes) == (5, "alice", 7)
    assert (shown.method, shown.path, shown.model) == ("POST", "/v1/completions?n=1", "demo")
    assert shown.deadline == pytest.approx(shown.created + LONG, abs=0.01)
    assert (shown.started, shown.ended, shown.next_attempt, shown.expires) == (None,) * 4
    assert (shown.reason, shown.message, shown.status, shown.pod) == ("", "", None, "")
    assert (shown.is_stream, shown.response_bytes) == (False, 0)
    assert (found.head, found.has_credentials, found.has_callback) == (task.head, False, True)
    assert await store.read_request(task.id) == Content(data=b"\x00\xff body", size=7)


async def test_a_task_is_there_after_a_restart(case: StoreCase) -> None:
    task = new_task(credentials=b"secret")
    await case.store.submit(task, DEPTH)
    running = await submit(case.store)
    first = await claim_one(case.store)
    await case.reopen()
    assert first.id == task.id
    assert await case.store.finish(end_of(first))
    second = await claim_one(case.store)
    assert second.id == running
    assert (await case.store.counts()).completed == 1


async def test_an_object_is_kept_as_its_name(store: TaskStore) -> None:
    task = new_task(body=Content(object="x/request", size=1 << 40))
    await store.submit(task, DEPTH)
    assert (await claim_one(store)).body == task.body
    assert await store.read_request(task.id) == task.body
    assert (await task_of(store, task.id)).request_bytes == 1 << 40


async def test_a_submit_repeated_with_the_same_id_stores_nothing(store: TaskStore) -> None:
    task = new_task()
    await store.submit(task, DEPTH)
    assert await resubmit(store, task) == (SubmitOutcome.REPEATED, task.id, None)
    assert (await store.counts()).pending == 1
    claimed = await claim_one(store)
    assert (await resubmit(store, task)).outcome is SubmitOutcome.REPEATED
    await store.finish(end_of(claimed))
    assert (await resubmit(store, task)).outcome is SubmitOutcome.REPEATED
    assert await state_of(store, task.id) is TaskState.COMPLETED


async def test_submits_of_one_id_at_once_store_one_task(store: TaskStore) -> None:
    task = new_task()
    results = await asyncio.gather(*(resubmit(store, task) for _ in range(20)))
    outcomes = sorted(one.outcome for one in results)
    assert outcomes == [SubmitOutcome.ACCEPTED] + 19 * [SubmitOutcome.REPEATED]
    assert (await store.counts()).pending == 1


async def test_submits_at_once_each_store_a_task(store: TaskStore) -> None:
    tasks = [new_task() for _ in range(300)]
    results = await asyncio.gather(*(resubmit(store, task) for task in tasks))
    assert {one.outcome for one in results} == {SubmitOutcome.ACCEPTED}
    assert sorted(one.position or 0 for one in results) == list(range(300))
    assert (await store.counts()).pending == 300
    assert [one.id for one in await store.page(None, "", 1000)] == [
        task.id for task in reversed(tasks)
    ]


async def test_an_idempotency_key_stands_for_one_request(store: TaskStore) -> None:
    first = await submit(store, idempotency_key="k1", fingerprint="f1")
    repeated = await resubmit(store, new_task(idempotency_key="k1", fingerprint="f1"))
    assert repeated == (SubmitOutcome.REPEATED, first, None)
    other = await resubmit(store, new_task(idempotency_key="k1", fingerprint="f2"))
    assert (other.outcome, other.id) == (SubmitOutcome.CONFLICT, first)
    second = await submit(store, idempotency_key="k2", fingerprint="f1")
    assert second != first
    assert (await store.counts()).pending == 2


async def test_an_idempotency_key_holds_after_the_end(store: TaskStore) -> None:
    id = await submit(store, idempotency_key="k", fingerprint="f")
    await store.finish(end_of(await claim_one(store)))
    repeated = await resubmit(store, new_task(idempotency_key="k", fingerprint="f"))
    assert (repeated.outcome, repeated.id) == (SubmitOutcome.REPEATED, id)
    other = await resubmit(store, new_task(idempotency_key="k", fingerprint="g"))
    assert other.outcome is SubmitOutcome.CONFLICT


async def test_an_idempotency_key_can_be_used_again_once_its_task_is_deleted(
    case: StoreCase,
) -> None:
    store = case.store
    first = await submit(store, idempotency_key="k", fingerprint="f")
    await store.cancel(first, keep=0.001)
    await case.pass_time()
    assert (await store.sweep(LONG)).deleted == 1
    second = await submit(store, idempotency_key="k", fingerprint="g")
    assert second != first


async def test_a_repeated_submit_is_recognised_when_the_queue_is_full(store: TaskStore) -> None:
    task = new_task(idempotency_key="k", fingerprint="f")
    assert (await store.submit(task, 1)).outcome is SubmitOutcome.ACCEPTED
    assert (await store.submit(task, 1)).outcome is SubmitOutcome.REPEATED
    again = new_task(idempotency_key="k", fingerprint="f")
    assert (await store.submit(again, 1)).outcome is SubmitOutcome.REPEATED


async def test_no_more_tasks_are_pending_than_are_allowed(store: TaskStore) -> None:
    results = await asyncio.gather(*(store.submit(new_task(), 5) for _ in range(20)))
    outcomes = [one.outcome for one in results]
    assert outcomes.count(SubmitOutcome.ACCEPTED) == 5
    assert outcomes.count(SubmitOutcome.FULL) == 15
    claimed = await claim_one(store)
    assert (await store.submit(new_task(), 5)).outcome is SubmitOutcome.ACCEPTED
    # One that waits for its next attempt is pending as well.
    assert await store.retry(claimed.id, 1, LONG, attempt_of(claimed))
    assert (await store.submit(new_task(), 6)).outcome is SubmitOutcome.FULL
    assert (await store.submit(new_task(), 7)).outcome is SubmitOutcome.ACCEPTED


async def test_the_position_is_how_many_are_taken_before(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(30)]
    assert [await store.position(id) for id in ids] == list(range(30))
    urgent = await store.submit(new_task("b", urgency=0), DEPTH)
    assert urgent.position == 0
    assert await store.position(ids[0]) == 1
    taken = await claim_one(store)
    assert taken.id == urgent.id
    assert await store.position(taken.id) is None
    assert await store.position(ids[7]) == 7
    await store.cancel(ids[3], LONG)
    assert await store.position(ids[3]) is None
    assert await store.position(ids[7]) == 6
    assert await store.position(next_id()) is None


async def test_what_was_never_stored_is_not_found(store: TaskStore) -> None:
    id = next_id()
    assert await store.find(id) is None
    assert await store.read_request(id) is None
    assert await store.read_response(id) is None
    assert await store.read_attempts(id) == []
    assert await store.cancel(id, LONG) == (False, None, "")
    assert await store.redrive(id, LONG, b"") == (False, None, "")
    assert await store.move_to_front([id]) == [(False, None, "")]
