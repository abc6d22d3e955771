"""A failed task is tried again by an operator, or by its caller."""

from __future__ import annotations

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.stores.store import Content, TaskStore
from tests.gateway.stores.cases import (
    LONG,
    StoreCase,
    attempt_of,
    claim_all,
    claim_one,
    end_of,
    fail,
    state_of,
    submit,
    task_of,
)


async def test_a_redriven_task_has_all_its_attempts(store: TaskStore) -> None:
    id = await submit(store, max_attempts=2, lifetime=LONG)
    first = await claim_one(store)
    await store.retry(id, 1, 0, attempt_of(first))
    last = await claim_one(store)
    assert last.attempts_left == 0
    await store.finish(end_of(last, TaskState.FAILED, reason="exhausted"))

    assert await store.redrive(id, 2 * LONG, None) == (True, TaskState.PENDING, "")
    shown = await task_of(store, id)
    assert (shown.state, shown.attempt, shown.max_attempts) == (TaskState.PENDING, 2, 2)
    assert (shown.reason, shown.message, shown.status, shown.response_bytes) == ("", "", None, 0)
    assert (shown.ended, shown.expires, shown.next_attempt) == (None, None, None)
    assert shown.deadline > shown.created + 1.5 * LONG
    assert await store.read_response(id) is None
    assert len(await store.read_attempts(id)) == 2

    again = await claim_one(store)
    assert (again.id, again.attempt, again.attempts_left) == (id, 3, 1)
    assert again.seconds_left > 1.5 * LONG
    assert not await store.finish(end_of(last))  # the fence holds
    assert await store.finish(end_of(again))
    assert await state_of(store, id) is TaskState.COMPLETED


async def test_only_failed_tasks_are_redriven(store: TaskStore) -> None:
    id = await submit(store)
    assert await store.redrive(id, LONG, b"") == (False, TaskState.PENDING, "")
    await claim_one(store)
    assert await store.redrive(id, LONG, b"") == (False, TaskState.PROCESSING, "")


async def test_deleted_credentials_must_be_replaced(store: TaskStore) -> None:
    id = await submit(store, credentials=b"old")
    await fail(store, id)
    refused = await store.redrive(id, LONG, None)
    assert (refused.changed, refused.state) == (False, TaskState.FAILED)
    assert refused.refusal
    assert await state_of(store, id) is TaskState.FAILED

    assert (await store.redrive(id, LONG, b"new")).changed
    again = await claim_one(store)
    assert again.credentials == b"new"
    await store.finish(end_of(again, TaskState.FAILED))

    assert not (await store.redrive(id, LONG, None)).changed
    assert (await store.redrive(id, LONG, b"")).changed
    assert (await claim_one(store)).credentials == b""


async def test_new_credentials_are_deleted_at_the_end_as_well(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, credentials=b"first")
    await fail(store, id)
    await store.redrive(id, LONG, b"-new-encrypted-credential-")
    await store.finish(end_of(await claim_one(store)))
    assert b"-new-encrypted-credential-" not in await case.stored_bytes()


async def test_a_redriven_task_waits_for_its_turn(store: TaskStore) -> None:
    id = await submit(store)
    await fail(store, id)
    waiting = [await submit(store) for _ in range(3)]
    await store.redrive(id, LONG, None)
    assert await store.position(id) == 3
    assert await claim_all(store) == [*waiting, id]


async def test_a_redriven_task_is_not_deleted_when_it_would_have_expired(case: StoreCase) -> None:
    store = case.store
    id = await submit(store)
    await fail(store, id, keep=0.001)
    assert (await store.redrive(id, LONG, None)).changed
    await case.pass_time()
    assert (await store.sweep(LONG)).deleted == 0
    assert await state_of(store, id) is TaskState.PENDING


async def test_a_task_that_expired_can_be_redriven(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, lifetime=0.001)
    await case.pass_time()
    assert (await store.sweep(LONG)).expired == 1
    assert (await store.redrive(id, LONG, None)).changed
    assert (await store.sweep(LONG)).expired == 0
    assert (await claim_one(store)).id == id


async def test_the_object_of_the_old_response_is_given_up(case: StoreCase) -> None:
    store = case.store
    id = await submit(store)
    await fail(store, id, body=Content(object=f"{id}/response-1", size=5))
    assert (await store.sweep(LONG)).objects == ()
    await store.redrive(id, LONG, None)
    assert (await store.sweep(LONG)).objects == (f"{id}/response-1",)
    assert (await store.sweep(LONG)).objects == ()


async def test_the_reason_of_an_exhausted_task_is_kept_until_then(store: TaskStore) -> None:
    id = await submit(store)
    await fail(store, id, reason=FailureReason.EXHAUSTED.value)
    assert (await task_of(store, id)).reason == FailureReason.EXHAUSTED
