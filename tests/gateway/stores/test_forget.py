"""An operator deletes tasks before their time."""

from __future__ import annotations

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import Change, Content, TaskStore
from tests.gateway.stores.cases import (
    DEPTH,
    LONG,
    StoreCase,
    claim_one,
    end_of,
    fail,
    new_task,
    next_id,
    read_all,
    submit,
)


async def test_nothing_of_a_forgotten_task_is_left(case: StoreCase) -> None:
    store = case.store
    task = new_task(
        credentials=b"secret",
        idempotency_key="key",
        fingerprint="print",
        has_callback=True,
        max_attempts=5,
    )
    await store.submit(task, DEPTH)
    claimed = await claim_one(store)
    await store.append_output(task.id, 1, b"part")
    assert await store.forget(task.id) == Change(False, TaskState.PROCESSING)
    assert await store.finish(end_of(claimed))
    assert await store.forget(task.id) == Change(True, None)
    assert await store.forget(task.id) == Change(False, None)
    assert await store.find(task.id) is None
    assert await store.claim_callbacks(10, LONG) == []
    assert (await store.counts()).completed == 0
    event = (await read_all(store))[-1]
    assert (event.id, event.state) == (task.id, None)
    await store.sweep(LONG)
    assert not [one for one in await case.leftovers() if one not in {"minute", "owner_finish"}]


async def test_a_task_that_waits_is_not_forgotten(store: TaskStore) -> None:
    id = await submit(store)
    assert await store.forget(id) == Change(False, TaskState.PENDING)
    assert await store.forget(next_id()) == Change(False, None)
    await fail(store, id)
    assert (await store.forget(id)).changed


async def test_objects_are_named_until_they_are_dropped(store: TaskStore) -> None:
    ids = []
    for _ in range(3):
        id = next_id()
        ids.append(id)
        body = Content(object=f"{id}/request", size=9)
        await store.submit(new_task(id=id, body=body), DEPTH)
        end = end_of(await claim_one(store), body=Content(object=f"{id}/result-1", size=9))
        assert await store.finish(end)
    assert await store.unneeded_objects(10) == []
    for id in ids[:2]:
        await store.forget(id)
    wanted = {f"{id}/{what}" for id in ids[:2] for what in ("request", "result-1")}
    found = await store.unneeded_objects(10)
    assert set(found) == wanted == set(await store.unneeded_objects(10))
    assert len(await store.unneeded_objects(3)) == 3
    await store.drop_objects(found[:3])
    assert await store.unneeded_objects(10) == found[3:]
    assert set((await store.sweep(LONG)).objects) == set(found[3:])
    assert await store.unneeded_objects(10) == []


async def test_an_object_that_a_later_attempt_has_is_not_unneeded(store: TaskStore) -> None:
    id = await submit(store)
    object = Content(object=f"{id}/result", size=9)
    await fail(store, id, body=object)
    assert (await store.redrive(id, LONG, None)).changed
    await fail(store, id, body=object)
    assert await store.unneeded_objects(10) == []
    await store.forget(id)
    assert await store.unneeded_objects(10) == [object.object]
