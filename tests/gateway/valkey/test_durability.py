"""What is still there when Valkey, its machine, or a connection to it is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import StoreUnavailableError, SubmitOutcome
from servedeck.gateway.stores.valkey.store import ValkeyStore
from tests.gateway.conftest import StartValkey
from tests.gateway.valkey.helpers import claim, end_of, make_store, new_task, submit
from tests.gateway.valkey.proxies import cutting_proxy
from tests.gateway.valkey_server import ValkeyServer, build_shim
from tests.waiting import wait_until, with_timeout

RETRY_SECONDS = 0.01


async def test_all_that_was_accepted_survives_a_kill(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    accepted: list[str] = []

    async def client() -> None:
        while True:
            accepted.append(await submit(store))

    clients = [asyncio.create_task(client()) for _ in range(16)]
    await wait_until(lambda: len(accepted) > 200)
    await asyncio.to_thread(valkey_server.kill)
    outcomes = await with_timeout(asyncio.gather(*clients, return_exceptions=True))
    assert {type(one) for one in outcomes} == {StoreUnavailableError}
    await asyncio.to_thread(valkey_server.start)
    stored = {task.id for task in await store.page(None, "", 1_000_000)}
    assert set(accepted) <= stored
    await store.close()


async def test_state_survives_a_kill(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    for _ in range(3):
        await submit(store, credentials=b"secret")
    done, running = await claim(store, 2)
    assert await store.finish(end_of(done))
    before = [await store.find(task.id) for task in await store.page(None, "", 10)]
    end = await store.feed_end()
    events = await store.read_feed("0", 100, 0)
    await asyncio.to_thread(valkey_server.restart)
    assert [await store.find(task.id) for task in await store.page(None, "", 10)] == before
    assert await store.running() == {running.pod: 1}
    assert await store.feed_end() == end
    assert await store.read_feed("0", 100, 0) == events
    assert await store.finish(end_of(running))
    [last] = await claim(store, 5)
    assert last.credentials == b"secret"
    assert await store.running() == {last.pod: 1}
    await store.close()


async def _accept_until(store: ValkeyStore, count: int) -> list[str]:
    results = await asyncio.gather(*(submit(store) for _ in range(count)))
    return list(results)


async def test_a_power_cut_loses_nothing_with_fsync_always(
    start_valkey: StartValkey, tmp_path: Path
) -> None:
    server = start_valkey(shim=build_shim(tmp_path))
    store = make_store(server)
    await store.open()
    accepted = await _accept_until(store, 500)
    await asyncio.to_thread(server.cut_power)
    await asyncio.to_thread(server.start)
    stored = {task.id for task in await store.page(None, "", 1_000_000)}
    assert stored == set(accepted)
    await store.close()


async def test_a_power_cut_loses_what_everysec_has_not_written(
    start_valkey: StartValkey, tmp_path: Path
) -> None:
    # not a wish, but what the documentation says of everysec, and the proof that the test above
    # can fail
    server = start_valkey(fsync="everysec", shim=build_shim(tmp_path))
    store = make_store(server)
    await store.open()
    lost: set[str] = set()

    async def lose() -> bool:
        accepted = await _accept_until(store, 500)
        assert await asyncio.to_thread(server.cut_power) >= 0
        await asyncio.to_thread(server.start)
        stored = {task.id for task in await store.page(None, "", 1_000_000)}
        lost.update(set(accepted) - stored)
        return bool(lost)

    for _ in range(20):  # an fsync may have come just before the cut
        if await lose():
            break
    assert lost
    # the gateway goes on with what is left
    accepted = await submit(store)
    assert await store.find(accepted) is not None
    await store.close()


async def test_a_cut_connection_after_the_request_makes_one_task(
    valkey_server: ValkeyServer,
) -> None:
    async with cutting_proxy(valkey_server.port) as proxy:
        store = make_store(valkey_server)
        through = make_store(valkey_server, url=f"valkey://127.0.0.1:{proxy.port}")
        await through.open()
        proxy.cut_after = b"_submit"
        task = new_task(idempotency_key="key", fingerprint="print")
        submitted = await with_timeout(through.submit(task, 10))
        assert proxy.cuts == 1
        assert submitted == (SubmitOutcome.ACCEPTED, task.id, 0)
        assert (await store.counts()).pending == 1
        events = await store.read_feed("0", 10, 0)
        assert [event.state for event in events] == [TaskState.PENDING]
        await through.close()
        await store.close()


async def test_an_end_whose_answer_is_lost_is_recorded_once(valkey_server: ValkeyServer) -> None:
    async with cutting_proxy(valkey_server.port) as proxy:
        store = make_store(valkey_server, url=f"valkey://127.0.0.1:{proxy.port}")
        await store.open()
        await submit(store)
        [claimed] = await claim(store)
        proxy.cut_after = b"_finish"
        try:
            await with_timeout(store.finish(end_of(claimed)))
        except StoreUnavailableError:
            assert not await store.finish(end_of(claimed))
        else:
            raise AssertionError("the answer was lost")
        assert proxy.cuts == 1
        assert len(await store.read_attempts(claimed.id)) == 1
        assert (await store.counts()).completed == 1
        await store.close()


async def test_ten_restarts_while_tasks_are_delivered(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    accepted: set[str] = set()
    is_closing = asyncio.Event()

    async def submit_all() -> None:
        while not is_closing.is_set():
            task = new_task(max_attempts=1000)
            while True:
                try:
                    await store.submit(task, 1_000_000)
                except StoreUnavailableError:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                break
            accepted.add(task.id)

    async def deliver_all() -> None:
        while True:
            try:
                # a claim whose answer was lost lapses at once, and is given out again
                await store.sweep(3600)
                for claimed in await claim(store, 8, lease=0):
                    await store.finish(end_of(claimed))
            except StoreUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)

    jobs = [asyncio.create_task(submit_all()), asyncio.create_task(deliver_all())]
    for restart in range(10):
        wanted = 20 * (restart + 1)
        await wait_until(lambda wanted=wanted: len(accepted) >= wanted)
        await asyncio.to_thread(valkey_server.restart)
    is_closing.set()
    await with_timeout(jobs[0])

    ended = Counter[str]()
    cursor = "0"

    async def all_ended() -> bool:
        nonlocal cursor
        for event in await store.read_feed(cursor, 10_000, 0):
            cursor = event.cursor
            assert event.state is not None
            ended[event.id] += event.state.is_final
        return accepted <= {id for id, times in ended.items() if times}

    async def follow() -> None:
        while not await all_ended():
            await asyncio.sleep(RETRY_SECONDS)

    await with_timeout(follow())
    jobs[1].cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert set(ended.values()) == {1}
    assert await store.running() == {}
    await store.close()
