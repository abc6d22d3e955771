"""Which task is taken next, for which Pod, and how many at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.stores.store import Control, TaskStore
from tests.gateway.stores.cases import (
    LONG,
    StoreCase,
    attempt_of,
    claim,
    claim_all,
    claim_one,
    end_of,
    new_task,
    submit,
    task_of,
)


async def test_a_claimed_task_is_processing_and_the_callers(store: TaskStore) -> None:
    task = new_task(credentials=b"secret", max_attempts=2)
    await store.submit(task, 10)
    claimed = await claim_one(store, pods=["p"], worker="w")
    assert (claimed.id, claimed.attempt, claimed.pod) == (task.id, 1, "p")
    assert (claimed.head, claimed.body, claimed.credentials) == (task.head, task.body, b"secret")
    assert claimed.attempts_left == 1
    assert 0 < claimed.seconds_left <= LONG
    shown = await task_of(store, task.id)
    assert (shown.state, shown.attempt, shown.pod) == (TaskState.PROCESSING, 1, "p")
    assert shown.started is not None and shown.started >= shown.created
    assert await claim(store) == []


async def test_one_owners_tasks_are_taken_in_their_order(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(50)]
    assert [one.id for one in await claim(store, 20)] == ids[:20]
    assert await claim_all(store) == ids[20:]


async def test_nobody_waits_for_all_tasks_of_another(store: TaskStore) -> None:
    await asyncio.gather(*(submit(store, "a") for _ in range(1000)))
    theirs = [await submit(store, "b") for _ in range(10)]
    assert [await store.position(id) for id in theirs] == [2 * n + 1 for n in range(10)]
    taken = [one.id for one in await claim(store, 20)]
    assert set(theirs) <= set(taken)


async def test_who_comes_late_is_not_ahead_of_those_who_wait(store: TaskStore) -> None:
    first = [await submit(store, "a") for _ in range(100)]
    assert [one.id for one in await claim(store, 50)] == first[:50]
    theirs = [await submit(store, "b") for _ in range(50)]
    # From here on they take turns: what `a` got before does not count against it.
    taken = [one.id for one in await claim(store, 40)]
    assert len(set(taken) & set(theirs)) == 20


async def test_urgency_is_a_weight(store: TaskStore) -> None:
    normal = [await submit(store, "a") for _ in range(20)]
    urgent = [await submit(store, "b", urgency=0) for _ in range(80)]
    taken = [one.id for one in await claim(store, 9)]
    # The task of `a` finishes at 8, as the eighth of `b`; it is older.
    assert sorted(taken) == sorted([normal[0], *urgent[:8]])
    background = await submit(store, "c", urgency=7)
    order = await claim_all(store)
    assert order.index(background) > order.index(normal[13])
    assert set(order[:40]) & set(normal[1:])


async def test_urgencies_of_one_owner_have_times_of_their_own(store: TaskStore) -> None:
    background = [await submit(store, "a", urgency=7) for _ in range(3)]
    urgent = await submit(store, "a", urgency=0)
    assert await claim_all(store) == [urgent, *background]


async def test_a_task_that_is_tried_again_keeps_its_place(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(5)]
    first = await claim_one(store)
    assert await store.retry(first.id, 1, 0, attempt_of(first, "busy"))
    assert await store.position(first.id) == 0
    later = await submit(store)
    again = await claim_one(store)
    assert (again.id, again.attempt, again.attempts_left) == (ids[0], 2, 1)
    assert await claim_all(store) == [*ids[1:], later]


async def test_a_task_is_moved_before_all_others(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(10)]
    assert await store.move_to_front([ids[6]]) == [(True, TaskState.PENDING, "")]
    assert await store.move_to_front([ids[8]]) == [(True, TaskState.PENDING, "")]
    assert await store.position(ids[8]) == 0
    assert await store.position(ids[6]) == 1
    assert await store.position(ids[0]) == 2
    running = await claim_one(store)
    assert running.id == ids[8]
    assert await store.move_to_front([running.id]) == [(False, TaskState.PROCESSING, "")]
    assert (await claim_all(store))[:2] == [ids[6], ids[0]]


async def test_several_are_moved_to_the_front_in_their_order(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(8)]
    running = await claim_one(store)
    changes = await store.move_to_front([ids[7], running.id, ids[3], ids[5]])
    assert [one.changed for one in changes] == [True, False, True, True]
    assert changes[1].state is TaskState.PROCESSING
    assert await claim_all(store) == [ids[7], ids[3], ids[5], ids[1], ids[2], ids[4], ids[6]]
    assert await store.move_to_front([]) == []


async def test_moving_to_the_front_ends_a_delay(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(3)]
    first = await claim_one(store)
    await store.retry(first.id, 1, LONG, attempt_of(first))
    assert await store.position(first.id) is None
    assert (await store.counts()).delayed == 1
    assert (await store.move_to_front([first.id]))[0].changed
    assert (await task_of(store, first.id)).next_attempt is None
    assert (await store.counts()).delayed == 0
    assert await claim_all(store) == ids


async def test_each_task_goes_to_the_pod_with_the_fewest(store: TaskStore) -> None:
    for _ in range(12):
        await submit(store)
    assert (await claim_one(store, pods=["a"])).pod == "a"
    assert (await claim_one(store, pods=["a"], worker="worker-2")).pod == "a"
    taken = await claim(store, 6, ["a", "b", "c"])
    assert await store.running() in (
        {"a": 2, "b": 3, "c": 3},
        {"a": 3, "b": 2, "c": 3},
        {"a": 3, "b": 3, "c": 2},
    )
    await claim(store, 1, ["a", "b", "c"])
    assert await store.running() == {"a": 3, "b": 3, "c": 3}
    for one in taken:
        if one.pod == "b":
            await store.finish(end_of(one))
    assert (await claim_one(store, pods=["a", "b", "c"])).pod == "b"


async def test_no_pod_gets_more_than_its_share(store: TaskStore) -> None:
    for _ in range(10):
        await submit(store)
    first = await claim(store, 10, ["a", "b"], pod_concurrency=2)
    assert Counter(one.pod for one in first) == {"a": 2, "b": 2}
    assert await claim(store, 10, ["a", "b"], pod_concurrency=2, worker="worker-2") == []
    assert [one.pod for one in await claim(store, 10, ["c"], pod_concurrency=2)] == ["c", "c"]
    await store.finish(end_of(first[0]))
    (more,) = await claim(store, 10, ["a", "b"], pod_concurrency=2)
    assert more.pod == first[0].pod


async def test_no_more_are_in_progress_than_the_serving_may(store: TaskStore) -> None:
    ids = [await submit(store) for _ in range(10)]
    first = await claim(store, 10, ["a", "b"], concurrency=3)
    assert len(first) == 3
    assert await claim(store, 10, ["c"], concurrency=3, worker="worker-2") == []
    await store.retry(first[0].id, 1, LONG, attempt_of(first[0]))
    await store.cancel(first[1].id, LONG)
    assert [one.id for one in await claim(store, 10, concurrency=3)] == ids[3:5]
    assert len(await claim(store, 10)) == 5  # 0 is no limit


async def test_claims_at_once_stay_within_the_limits(store: TaskStore) -> None:
    for _ in range(60):
        await submit(store)
    parts = await asyncio.gather(
        *(claim(store, 4, concurrency=17, pod_concurrency=9, worker=f"w{n}") for n in range(12))
    )
    ids = [one.id for part in parts for one in part]
    assert len(ids) == len(set(ids)) == 17
    assert sorted((await store.running()).values()) == [8, 9]


@pytest.mark.parametrize("pods", [[], ["p"]])
async def test_nothing_is_taken_without_a_pod_or_a_task(store: TaskStore, pods: list[str]) -> None:
    if not pods:
        await submit(store)
    assert await claim(store, 5, pods) == []
    assert (await store.counts()).processing == 0


async def test_nothing_is_taken_while_paused(case: StoreCase) -> None:
    store = case.store
    id = await submit(store)
    assert await store.control() == Control()
    await store.set_control(Control(paused=True))
    assert await claim(store) == []
    assert (await task_of(store, id)).attempt == 0
    await case.reopen()
    assert await case.store.control() == Control(paused=True)
    await case.store.set_control(Control())
    assert (await claim_one(case.store)).id == id


async def test_an_operators_limits_replace_the_settings(store: TaskStore) -> None:
    for _ in range(20):
        await submit(store)
    await store.set_control(Control(concurrency=5, pod_concurrency=2))
    assert await store.control() == Control(concurrency=5, pod_concurrency=2)
    assert len(await claim(store, 20, ["a", "b"], concurrency=1, pod_concurrency=1)) == 4
    assert len(await claim(store, 20, ["a", "b", "c"], concurrency=1, pod_concurrency=1)) == 1
    await store.set_control(Control(concurrency=0, pod_concurrency=4))
    assert len(await claim(store, 20, ["a", "b", "c"], concurrency=1, pod_concurrency=1)) == 7


async def test_an_overdue_task_that_is_met_fails(case: StoreCase) -> None:
    store = case.store
    late = await submit(store, lifetime=0.001)
    good = await submit(store)
    await case.pass_time()
    assert [one.id for one in await claim(store, 5)] == [good]
    shown = await task_of(store, late)
    assert (shown.state, shown.reason) == (TaskState.FAILED, FailureReason.EXPIRED)
    assert shown.message and shown.ended is not None
    assert shown.expires is not None and shown.expires > shown.ended
    assert shown.attempt == 0


async def test_the_position_in_a_long_queue_is_where_it_is_taken(store: TaskStore) -> None:
    """Over times from 1 to 40,000, which a store may count in parts."""
    weights = (7, 7, 7, 7, 7, 3, 0)
    ids = await asyncio.gather(
        *(submit(store, f"owner-{n % 5}", urgency=weights[n % 7]) for n in range(2200))
    )
    for _ in range(3):
        for claimed in await claim(store, 40):
            await store.retry(claimed.id, 1, 0, attempt_of(claimed))
        await store.move_to_front([ids[100], ids[-1]])
        await claim(store, 3)
    waiting = [id for id in ids[::40] if await store.position(id) is not None]
    positions = {id: await store.position(id) for id in waiting}
    order = await claim_all(store)
    assert len(waiting) > 40
    assert positions == {id: order.index(id) for id in waiting}
