"""When the worker claims, what it aborts, and what it does while the store is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import Control, End
from tests.gateway.delivery.gateway import Gateway
from tests.gateway.delivery.inference_server import (
    STREAM_HEAD,
    answers,
    chunk,
    hangs,
    serve,
    waits_for,
)
from tests.waiting import wait_until, with_timeout


async def test_many_tasks_end_once_each(tmp_path: Path) -> None:
    async with serve(answers()) as server:
        gateway = Gateway(tmp_path, server.url, pod_concurrency=8)
        async with gateway.running():
            ids = [await gateway.submit() for _ in range(200)]
            for id in ids:
                assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
        assert len(server.requests) == 200
        ends = [one.id for one in gateway.store.events if one.state is TaskState.COMPLETED]
        assert sorted(ends) == sorted(ids)
        assert server.connections < 200  # they are used again


async def test_nothing_is_claimed_without_a_ready_pod(tmp_path: Path) -> None:
    async with serve(answers()) as server:
        gateway = Gateway(tmp_path, "")
        gateway.upstreams.problem = "All are starting."
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.store.reports)
            (report,) = gateway.store.reports.values()
            assert report.blocked_by == "All are starting."
            assert report.blocked_since is not None
            assert not gateway.store.claims
            gateway.upstreams.set({"pod-1": server.url})
            task = await gateway.wait_for(id)
            await wait_until(lambda: gateway.worker.status.blocked_by == "")
        assert (task.attempt, task.pod) == (1, "pod-1")


async def test_nothing_is_claimed_while_paused(tmp_path: Path) -> None:
    async with serve(answers()) as server:
        gateway = Gateway(tmp_path, server.url)
        await gateway.store.set_control(Control(paused=True))
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.worker.status.blocked_by == "The queue is paused.")
            assert (await gateway.find(id)).attempt == 0
            await gateway.store.set_control(Control())
            await gateway.wait_for(id)
            await wait_until(lambda: gateway.worker.status.blocked_since is None)


async def test_no_more_is_claimed_than_can_be_started(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers())) as server:
        gateway = Gateway(tmp_path, server.url, pod_concurrency=3, concurrency=2)
        ids = [await gateway.submit() for _ in range(10)]
        async with gateway.running():
            await wait_until(lambda: len(server.requests) == 2)
            assert gateway.worker.running_count == 2
            assert max(limit for limit, _ in gateway.store.claims) == 2
            await gateway.store.set_control(Control(concurrency=0))
            await wait_until(lambda: len(server.requests) == 3)
            await gateway.store.set_control(Control(concurrency=0, pod_concurrency=5))
            await wait_until(lambda: len(server.requests) == 5)
            go_on.set()
            for id in ids:
                await gateway.wait_for(id)


async def test_an_idle_worker_asks_seldom(tmp_path: Path) -> None:
    async with serve(answers()) as server:
        gateway = Gateway(tmp_path, server.url)
        async with gateway.running():
            await wait_until(lambda: len(gateway.store.claims) > 1)
            id = await gateway.submit()
            await gateway.wait_for(id)
            before = len(gateway.store.claims)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert len(gateway.store.claims) <= before + 5


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_cancel_aborts_the_request(tmp_path: Path, is_stream: bool) -> None:
    start = STREAM_HEAD + chunk(b"data: 1\n\n") if is_stream else b""
    async with serve(hangs(start)) as server:
        gateway = Gateway(tmp_path, server.url)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            if is_stream:
                await wait_until(lambda: gateway.store.tasks[id].parts)
            await gateway.store.cancel(id, 60)
            await with_timeout(server.requests[0].was_aborted.wait())
            await wait_until(lambda: not gateway.worker.running_count)
        stored = gateway.store.tasks[id]
        assert (stored.state, stored.attempts) == (TaskState.CANCELLED, [])


async def test_a_missed_cancel_is_found_by_the_lease(tmp_path: Path) -> None:
    async with serve(hangs()) as server:
        gateway = Gateway(tmp_path, server.url, lease=600)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.store.tasks[id].state = TaskState.CANCELLED  # without an event
            gateway.context.hub._publish([])
            await with_timeout(server.requests[0].was_aborted.wait())


async def test_what_another_worker_has_is_aborted_and_not_ended(tmp_path: Path) -> None:
    async with serve(hangs()) as server:
        gateway = Gateway(tmp_path, server.url, lease=1.5)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.upstreams.set({})
            gateway.store.tasks[id].attempt += 1  # claimed again, without an event
            await with_timeout(server.requests[0].was_aborted.wait())
            await wait_until(lambda: not gateway.worker.running_count)
        assert gateway.store.tasks[id].end is None
        assert not gateway.store.tasks[id].attempts


async def test_leases_are_renewed(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers())) as server:
        gateway = Gateway(tmp_path, server.url, lease=600)
        beats: list[tuple[str, int]] = []
        beat = gateway.store.beat

        async def record(held: list[tuple[str, int]], lease: float) -> list[str]:
            beats.extend(held)
            return await beat(held, lease)

        gateway.store.beat = record  # type: ignore[method-assign,assignment]
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.context.hub._publish([])  # asks at once
            await wait_until(lambda: beats)
            go_on.set()
            await gateway.wait_for(id)
        assert set(beats) == {(id, 1)}


async def test_work_is_aborted_when_the_store_is_away_beyond_the_lease(tmp_path: Path) -> None:
    async with serve(hangs(), answers()) as server:
        gateway = Gateway(tmp_path, server.url, lease=1.0)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.store.is_away = True
            await with_timeout(server.requests[0].was_aborted.wait())
            gateway.store.is_away = False
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
        assert gateway.metric("reclaimed_total") >= 1


async def test_an_end_is_tried_until_it_is_recorded(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers(200, b"late"))) as server:
        gateway = Gateway(tmp_path, server.url, lease=600)
        id = await gateway.submit()
        failures: list[End] = []
        finish = gateway.store.finish

        async def record(end: End) -> bool:
            try:
                return await finish(end)
            except Exception:
                failures.append(end)
                raise

        gateway.store.finish = record  # type: ignore[method-assign]
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.store.is_away = True
            go_on.set()
            await wait_until(lambda: len(failures) > 1)
            gateway.store.is_away = False
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
            # and what comes after it is claimed again
            assert (await gateway.wait_for(await gateway.submit())).attempt == 1
        assert len(server.requests) == 2


async def test_an_end_that_was_recorded_without_an_answer_keeps_its_object(tmp_path: Path) -> None:
    body = b"x" * 5000
    async with serve(answers(200, body)) as server:
        gateway = Gateway(
            tmp_path, server.url, objects=f"file:{tmp_path}/objects", inline_bytes=100
        )
        finish = gateway.store.finish
        ends: list[End] = []

        async def lose_the_answer(end: End) -> bool:
            done = await finish(end)
            ends.append(end)
            if len(ends) == 1:
                gateway.store.is_away = True
                gateway.store._check()
            gateway.store.is_away = False
            return done

        async def is_repeated(end: End) -> bool:
            gateway.store.is_away = False
            return await lose_the_answer(end)

        gateway.store.finish = is_repeated  # type: ignore[method-assign]
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: ends)
            await wait_until(lambda: not gateway.worker.running_count)
        assert await gateway.body(id) == body
        assert gateway.metric("fenced_total") == 0


async def test_the_object_of_a_fenced_end_is_deleted(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers(200, b"x" * 5000))) as server:
        gateway = Gateway(
            tmp_path, server.url, objects=f"file:{tmp_path}/objects", inline_bytes=100, lease=600
        )
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.upstreams.set({})
            gateway.store.tasks[id].attempt += 1
            go_on.set()
            await wait_until(lambda: not gateway.worker.running_count)
        assert gateway.metric("fenced_total") == 1
        assert not [one for one in (tmp_path / "objects").rglob("*") if one.is_file()]


# -- draining -----------------------------------------------------------------------------------


async def test_a_drain_lets_running_tasks_end(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers())) as server:
        gateway = Gateway(tmp_path, server.url, pod_concurrency=1)
        first, second = await gateway.submit(), await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            draining = asyncio.create_task(gateway.worker.drain(600))
            await wait_until(
                lambda: gateway.worker.status.blocked_by == "The worker is shutting down."
            )
            go_on.set()
            await with_timeout(draining)
            assert (await gateway.find(first)).state is TaskState.COMPLETED
            assert (await gateway.find(second)).attempt == 0
            assert not gateway.store.reports


async def test_a_drain_hands_back_what_does_not_end(tmp_path: Path) -> None:
    async with serve(hangs(), answers()) as server:
        gateway = Gateway(tmp_path, server.url, lease=600)
        id = await gateway.submit(max_attempts=1)
        async with gateway.running():
            await wait_until(lambda: server.requests)
            await with_timeout(gateway.worker.drain(0))
            await with_timeout(server.requests[0].was_aborted.wait())
        task = await gateway.find(id)
        assert task.state is TaskState.PENDING
        (attempt,) = await gateway.store.read_attempts(id)
        assert not attempt.is_counted
        gateway.worker = gateway.new_worker()
        async with gateway.running():  # another one can deliver it at once, with its one attempt
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED


async def test_what_is_claimed_during_a_drain_is_handed_back(tmp_path: Path) -> None:
    async with serve(answers()) as server:
        gateway = Gateway(tmp_path, server.url, lease=600)
        claim, arrived, go_on = gateway.store.claim, asyncio.Event(), asyncio.Event()

        async def slow(*args: object, **kwargs: object) -> object:
            arrived.set()
            await go_on.wait()
            return await claim(*args, **kwargs)  # type: ignore[arg-type]

        gateway.store.claim = slow  # type: ignore[method-assign,assignment]
        id = await gateway.submit()
        async with gateway.running():
            await with_timeout(arrived.wait())
            draining = asyncio.create_task(gateway.worker.drain(600))
            await wait_until(lambda: gateway.worker.status.blocked_by)
            go_on.set()
            await with_timeout(draining)
        task = await gateway.find(id)
        assert (task.state, task.attempt) == (TaskState.PENDING, 1)
        assert not server.requests


async def test_a_drain_ends_though_the_store_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.gateway.delivery.worker._RECORD_SECONDS", 0.1)
    async with serve(hangs()) as server:
        gateway = Gateway(tmp_path, server.url, lease=600)
        await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.store.is_away = True
            await with_timeout(gateway.worker.drain(0))


# -- errors of our own --------------------------------------------------------------------------


async def test_an_error_in_a_claim_does_not_end_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.gateway.delivery.worker._MAX_RETRY", 0.01)
    async with serve(answers()) as server:
        gateway = Gateway(tmp_path, server.url)
        claim, failed = gateway.store.claim, []

        async def fails_once(*args: object, **kwargs: object) -> object:
            if not failed:
                failed.append(1)
                raise RuntimeError
            return await claim(*args, **kwargs)  # type: ignore[arg-type]

        gateway.store.claim = fails_once  # type: ignore[method-assign,assignment]
        id = await gateway.submit()
        async with gateway.running():
            await gateway.wait_for(id)


async def test_an_error_in_a_record_does_not_end_the_worker(tmp_path: Path) -> None:
    async with serve(answers()) as server:
        gateway = Gateway(tmp_path, server.url)

        async def fails(*_args: object) -> bool:
            raise RuntimeError

        gateway.store.retry = fails  # type: ignore[method-assign]
        finish = gateway.store.finish
        gateway.store.finish = fails  # type: ignore[method-assign]
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            await wait_until(lambda: not gateway.worker.running_count)
            gateway.store.finish = finish  # type: ignore[method-assign]
            gateway.store.tasks[id].lease_end = 0
            assert (await gateway.wait_for(id)).attempt == 2
