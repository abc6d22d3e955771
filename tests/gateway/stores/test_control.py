"""What an operator sets at run time."""

from __future__ import annotations

import asyncio

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import Change, Control, SubmitOutcome, TaskStore
from servedeck.gateway.stores.task_records import CLOSED_REFUSAL
from tests.gateway.stores.cases import (
    DEPTH,
    LONG,
    StoreCase,
    attempt_of,
    claim_all,
    claim_one,
    fail,
    new_task,
    submit,
)
from tests.waiting import with_timeout


async def test_a_closed_queue_accepts_nothing_and_delivers_what_it_has(case: StoreCase) -> None:
    store = case.store
    running = await submit(store)
    claimed = await claim_one(store)
    failed = await submit(store)
    await fail(store, failed)
    keyed = new_task(idempotency_key="k", fingerprint="f")
    await store.submit(keyed, DEPTH)
    await store.set_control(Control(closed_by="me"))
    await case.reopen()
    store = case.store
    assert await store.control() == Control(closed_by="me")
    refused = new_task()
    assert (await store.submit(refused, DEPTH)).outcome is SubmitOutcome.CLOSED
    assert await store.find(refused.id) is None
    change = await store.redrive(failed, LONG, None)
    assert change == Change(False, TaskState.FAILED, CLOSED_REFUSAL)
    # what was accepted before is found again by who repeats it
    again = new_task(idempotency_key="k", fingerprint="f")
    assert (await store.submit(again, DEPTH))[:2] == (SubmitOutcome.REPEATED, keyed.id)
    assert (await store.submit(keyed, DEPTH))[:2] == (SubmitOutcome.REPEATED, keyed.id)
    assert await store.retry(running, claimed.attempt, 0, attempt_of(claimed))
    assert sorted(await claim_all(store)) == sorted([running, keyed.id])
    await store.set_control(Control())
    assert (await store.redrive(failed, LONG, None)).changed
    assert (await store.submit(refused, DEPTH)).outcome is SubmitOutcome.ACCEPTED


async def test_values_are_set_only_in_place_of_those_that_are_expected(case: StoreCase) -> None:
    store = case.store
    values = [
        Control(),
        Control(paused=True),
        Control(concurrency=0),
        Control(pod_concurrency=7),
        Control(closed_by="me"),
        Control(True, 3, 4, "me"),
    ]
    assert len({one.version for one in values}) == len(values)
    for present in values:
        assert await store.set_control(present)
        for other in values:
            if other != present:
                assert not await store.set_control(Control(concurrency=99), other)
        assert await store.control() == present
        assert await store.set_control(Control(concurrency=1), present)
        assert await store.control() == Control(concurrency=1)
        await case.reopen()
        store = case.store
        assert (await store.control()).version == Control(concurrency=1).version


async def test_of_changes_at_once_one_is_made(store: TaskStore) -> None:
    changes = [store.set_control(Control(concurrency=one), Control()) for one in range(1, 21)]
    assert sum(await asyncio.gather(*changes)) == 1


async def test_a_batch_is_refused_as_a_whole_once_the_queue_is_closed(store: TaskStore) -> None:
    """Of tasks that are submitted while it is closed, those that are counted after it were all
    accepted before it."""
    submits = [asyncio.ensure_future(store.submit(new_task(), DEPTH)) for _ in range(50)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.set_control(Control(closed_by="me")))
    submits += [asyncio.ensure_future(store.submit(new_task(), DEPTH)) for _ in range(50)]
    await with_timeout(closing)
    counted = (await store.counts()).pending
    outcomes = [(await with_timeout(one)).outcome for one in submits]
    assert outcomes.count(SubmitOutcome.ACCEPTED) == counted
    assert (await store.counts()).pending == counted
    assert (await store.submit(new_task(), DEPTH)).outcome is SubmitOutcome.CLOSED
