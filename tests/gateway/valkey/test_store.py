"""What is Valkey's own in the store."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from servedeck.async_queue.tasks import TaskState, WorkerStatus
from servedeck.gateway.stores.store import Content, Control, FeedTrimmedError
from servedeck.gateway.stores.valkey import connection
from servedeck.gateway.stores.valkey import store as valkey_store
from servedeck.gateway.stores.valkey.connection import LIBRARY
from servedeck.gateway.stores.valkey.store import ValkeyStore
from tests.gateway.valkey.helpers import (
    HOUR,
    POD,
    SERVING,
    claim,
    end_of,
    make_store,
    new_task,
    record_of,
    submit,
)
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import wait_until, with_timeout

MAX_TASK_BYTES = 1434
"""1.4 KiB, beside the bodies."""


def number_in(answer: str, name: str) -> int:
    found = re.search(rf"^{name}:(\d+)", answer, re.MULTILINE)
    assert found
    return int(found[1])


def keys_of(server: ValkeyServer) -> set[str]:
    return set(server.ask("KEYS", "*").split("\r\n")[2:-1:2])


def kinds_of_keys(server: ValkeyServer) -> set[str]:
    """The same for the counts of each minute: one may begin during the test."""
    return {re.sub(r":m:\d+$", ":m:", key) for key in keys_of(server)}


async def sweep_all(store: ValkeyStore) -> None:
    while (await store.sweep(0)).is_full:
        pass


async def test_commits_are_observed(valkey_server: ValkeyServer) -> None:
    sizes: list[int] = []
    store = make_store(valkey_server, observe_commit=lambda items, seconds: sizes.append(items))
    await store.open()
    await submit(store)
    (claimed,) = await claim(store)
    assert await store.finish(end_of(claimed))
    await store.close()
    assert sizes == [1, 1]


async def test_functions_are_loaded_again(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    first = await submit(store)
    # as on a new primary that was never told of them
    assert valkey_server.ask("FUNCTION", "FLUSH").startswith("+OK")
    second = await submit(store)
    valkey_server.ask("FUNCTION", "FLUSH")
    results = await asyncio.gather(store.counts(), claim(store, 2), store.find(first))
    assert [one.id for one in results[1]] == [first, second]
    await store.close()


async def test_two_versions_run_beside_each_other(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = make_store(valkey_server)
    await new.open()
    old_text = connection.LIBRARY_TEXT.replace(LIBRARY, "servedeck_of_before")
    with monkeypatch.context() as patch:
        patch.setattr(connection, "LIBRARY", "servedeck_of_before")
        patch.setattr(connection, "LIBRARY_TEXT", old_text)
        old = make_store(valkey_server)
        await old.open()
        task = await submit(old)
    [claimed] = await claim(new)
    assert claimed.id == task
    assert valkey_server.ask("FUNCTION", "LIST").count("library_name") == 2
    await old.close()
    await new.close()


def test_the_name_of_the_library_changes_with_it() -> None:
    assert re.fullmatch(r"servedeck_[0-9a-f]{12}", LIBRARY)
    assert not re.search(r"\$[A-Z]", connection.LIBRARY_TEXT)


async def test_two_servings_on_one_server(valkey_server: ValkeyServer) -> None:
    one, other = make_store(valkey_server), make_store(valkey_server, "team-a/chat-2")
    await one.open()
    await other.open()
    task = new_task(idempotency_key="key", fingerprint="print")
    await one.submit(task, 10)
    await other.submit(task, 10)
    [claimed] = await claim(one)
    assert (await other.counts()).pending == 1
    assert await other.running() == {}
    assert await one.finish(end_of(claimed, keep=0))
    await sweep_all(one)
    assert await one.find(task.id) is None
    found = await other.find(task.id)
    assert found is not None
    assert found.task.state is TaskState.PENDING
    # one slot of a cluster for all keys of a serving
    assert {key.partition("}")[0] for key in keys_of(valkey_server)} == {
        "{team-a/chat",
        "{team-a/chat-2",
    }
    await one.close()
    await other.close()


async def test_what_is_left_of_a_closed_queue_expires(valkey_server: ValkeyServer) -> None:
    """Also what has no task: the feed, what workers said and operators set."""
    store = make_store(valkey_server)
    await store.open()
    await submit(store)
    await store.report(WorkerStatus(name="killed"), HOUR)
    [claimed] = await claim(store)
    body = Content(object=f"{claimed.id}/result-1", size=9)
    assert await store.finish(end_of(claimed, body=body))
    await store.sweep(HOUR)

    def lasting() -> set[str]:
        keys = keys_of(valkey_server)
        return {one for one in keys if valkey_server.ask("PTTL", one) == ":-1\r\n"}

    await store.expire_rest()
    assert lasting(), "it is open"
    await store.set_control(Control(paused=True, closed_by="me"))
    await store.expire_rest()
    assert lasting(), "it has a task"
    assert (await store.forget(claimed.id)).changed
    await store.expire_rest()
    await store.report(WorkerStatus(name="other"), HOUR)
    await sweep_all(store)
    assert keys_of(valkey_server) and not lasting()
    control = f"{{{SERVING}}}:ctl"
    valkey_server.ask("PEXPIRE", control, str(60 * 60 * 1000))
    await sweep_all(store)
    assert int(valkey_server.ask("PTTL", control)[1:]) > 23 * 3600 * 1000
    await store.set_control(Control(paused=True))
    assert control in lasting() and f"{{{SERVING}}}:ev" in lasting()
    assert await store.control() == Control(paused=True)
    await store.close()


async def test_memory_of_a_task(valkey_server: ValkeyServer) -> None:
    # beside the feed, which is bounded for all tasks together
    feed = f"{{{SERVING}}}:ev"
    store = make_store(valkey_server)
    await store.open()
    await submit(store)
    # small bodies: the allocator rounds large ones up by as much as a fifth
    body, count = b"x" * 160, 2000

    def used() -> int:
        valkey_server.ask("XTRIM", feed, "MAXLEN", "0")
        return number_in(valkey_server.ask("INFO", "memory"), "used_memory_dataset")

    before = used()
    submits = [submit(store, body=body, credentials=b"c" * 100) for _ in range(count)]
    await asyncio.gather(*submits)
    pending = (used() - before) / count - len(body)
    assert 500 < pending <= MAX_TASK_BYTES
    answer = Content(body, size=len(body))
    claimed = await claim(store, count + 1)
    await asyncio.gather(*(store.finish(end_of(one, body=answer)) for one in claimed))
    ended = (used() - before) / count - 2 * len(body)
    assert 500 < ended <= MAX_TASK_BYTES
    await store.close()


async def test_nothing_of_a_task_is_left(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    await _live(store, 5)
    base = kinds_of_keys(valkey_server)
    await _live(store, 300)
    assert kinds_of_keys(valkey_server) == base
    assert all(len(key) < 60 for key in keys_of(valkey_server))  # none has an id
    await store.close()


async def _live(store: ValkeyStore, count: int) -> None:
    """All that a task can have, and its end in each way; then all is swept."""
    tasks = [
        new_task(
            owner=f"owner {number}",
            credentials=b"secret",
            idempotency_key=f"key {number}",
            fingerprint="print",
            has_callback=True,
            is_stream=True,
        )
        for number in range(count)
    ]
    await asyncio.gather(*(store.submit(task, 10_000) for task in tasks))
    for claimed in await claim(store, count):
        await store.append_output(claimed.id, claimed.attempt, b"part")
        await store.retry(claimed.id, claimed.attempt, 0, record_of(claimed))
    for number, claimed in enumerate(await claim(store, count)):
        match number % 3:
            case 0:
                assert await store.finish(end_of(claimed, keep=0))
            case 1:
                assert (await store.cancel(claimed.id, 0)).changed
            case _:
                failed = end_of(claimed, state=TaskState.FAILED, reason="refused")
                assert await store.finish(failed)
                assert (await store.redrive(claimed.id, 60, b"others")).changed
    for claimed in await claim(store, count):
        assert await store.finish(end_of(claimed, keep=0))
    # from the next millisecond on they are due
    while await store.page(None, "", 1):
        await store.sweep(0)
    await store.sweep(0)


async def test_a_store_that_was_emptied_resets_the_feed(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    await submit(store)
    cursor = await store.feed_end()
    waiting = asyncio.create_task(store.read_feed(cursor, 10, 60))
    assert valkey_server.ask("FLUSHALL").startswith("+OK")
    with pytest.raises(FeedTrimmedError):
        await with_timeout(waiting)
    assert await store.feed_end() == "0"
    await store.close()


async def test_a_store_that_was_emptied_and_filled_resets_the_feed(
    valkey_server: ValkeyServer,
) -> None:
    store = make_store(valkey_server)
    await store.open()
    assert await store.read_feed("0", 10, 0) == []
    await submit(store)
    cursor = await store.feed_end()
    await wait_until(lambda: time.time() * 1000 > int(cursor.partition("-")[0]) + 1)
    assert valkey_server.ask("FLUSHALL").startswith("+OK")
    await submit(store)
    with pytest.raises(FeedTrimmedError):
        await store.read_feed(cursor, 10, 0)
    (event,) = await store.read_feed("0", 10, 0)
    await submit(store)
    assert len(await store.read_feed(event.cursor, 10, 0)) == 1
    await store.close()


async def test_a_late_settlement_leaves_the_callback_of_the_next_end(
    valkey_server: ValkeyServer,
) -> None:
    store = make_store(valkey_server)
    await store.open()
    id = await submit(store, has_callback=True)
    for state in (TaskState.FAILED, TaskState.COMPLETED):
        [claimed] = await claim(store)
        assert await store.finish(end_of(claimed, state=state))
        if state is TaskState.FAILED:
            assert await store.claim_callbacks(5, 3600) == [(id, 0)]
            assert (await store.redrive(id, 60, None)).changed
    await store.settle_callback(id, None)  # of the first end
    assert await store.claim_callbacks(5, 3600) == [(id, 0)]
    await store.settle_callback(id, None)
    assert "cb" not in {key.rpartition(":")[2] for key in keys_of(valkey_server)}
    await store.close()


async def test_counts_of_a_lost_worker_are_not_stale(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    for _ in range(3):
        await submit(store)
    assert len(await claim(store, 3, lease=0)) == 3
    assert await store.running() == {POD: 3}
    swept = 0
    while swept < 3:
        swept += (await store.sweep(3600)).lapsed
    assert await store.running() == {}
    await store.close()


async def test_a_task_whose_request_is_gone_fails(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    id = await submit(store)
    valkey_server.ask("DEL", f"{{{SERVING}}}:q:{id}")
    assert await claim(store) == []
    found = await store.find(id)
    assert found is not None
    assert (found.task.state, found.task.reason) == (TaskState.FAILED, "lost")
    assert (await store.sweep(HOUR)).ended["lost"] == 1
    assert (await store.sweep(HOUR)).ended["lost"] == 0
    await store.close()


async def test_many_who_wait_do_not_hold_up_commands(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    id = await submit(store, is_stream=True)
    [claimed] = await claim(store)
    waiting: list[Any] = [
        asyncio.create_task(store.read_outputs(id, 1, 0, 3600)) for _ in range(100)
    ]
    await submit(store)
    assert await store.append_output(id, claimed.attempt, b"part")
    for outputs in await with_timeout(asyncio.gather(*waiting)):
        assert outputs == (1, [(1, b"part")], False)
    await store.close()


async def test_the_feed_does_not_wait_for_those_who_follow_tasks(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_BLOCKING_CONNECTIONS", 10)
    monkeypatch.setattr(connection, "MAX_BLOCK_SECONDS", 3600.0)
    monkeypatch.setattr(valkey_store, "_OUTPUT_BLOCK_SECONDS", 3600.0)
    store = make_store(valkey_server)
    await store.open()
    id = await submit(store, is_stream=True)
    [claimed] = await claim(store)
    waiting: list[Any] = [
        asyncio.create_task(store.read_outputs(id, 1, 0, 3600)) for _ in range(30)
    ]
    await wait_until(lambda: store._valkey._waiting == 2, "those who wait with a connection")
    reading = asyncio.create_task(store.read_feed(await store.feed_end(), 10, 3600))
    await wait_until(lambda: store._valkey._waiting == 3, "the reader of the feed")
    await submit(store)
    assert await with_timeout(reading)
    assert await store.append_output(id, claimed.attempt, b"part")
    for outputs in await with_timeout(asyncio.gather(*waiting)):
        assert outputs == (1, [(1, b"part")], False)
    await store.close()
