"""When the worker claims, what it aborts, and what it does while the store is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from servedeck.async_queue.tasks import TaskState, WorkerStatus
from servedeck.gateway.stores.store import START, Control
from tests.gateway.delivery.gateway import MakeGateway, eventually
from tests.gateway.delivery.inference_server import (
    STREAM_HEAD,
    answers,
    chunk,
    hangs,
    serve,
    waits_for,
)
from tests.waiting import wait_until, with_timeout


async def test_many_tasks_end_once_each(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url, pod_concurrency=8)
        async with gateway.running():
            ids = [await gateway.submit() for _ in range(200)]
            for id in ids:
                assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
        assert len(server.requests) == 200
        events = await gateway.store.read_feed(START, 1000, 0)
        ends = [one.id for one in events if one.state is TaskState.COMPLETED]
        assert sorted(ends) == sorted(ids)
        assert server.connections < 200  # they are used again


async def test_nothing_is_claimed_without_a_ready_pod(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway("")
        gateway.upstreams.problem = "All are starting."
        id = await gateway.submit()
        async with gateway.running():
            (report,) = await eventually(gateway.store.workers)
            assert report.blocked_by == "All are starting."
            assert report.blocked_since is not None
            assert not gateway.store.claim_limits
            gateway.upstreams.set({"pod-1": server.url})
            task = await gateway.wait_for(id)
            await wait_until(lambda: gateway.worker.status.blocked_by == "")
        assert (task.attempt, task.pod) == (1, "pod-1")


async def test_nothing_is_claimed_while_paused(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        await gateway.store.set_control(Control(paused=True))
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.worker.status.blocked_by == "The queue is paused.")
            assert (await gateway.find(id)).attempt == 0
            await gateway.store.set_control(Control())
            await gateway.wait_for(id)
            await wait_until(lambda: gateway.worker.status.blocked_since is None)


async def test_an_inference_server_that_serves_nobody_is_reported(
    make_gateway: MakeGateway,
) -> None:
    async with serve(answers(503)) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            await gateway.wait_for(id, TaskState.FAILED)

            async def failing() -> WorkerStatus | None:
                (report,) = await eventually(gateway.store.workers)
                return report if report.failure else None

            report = await eventually(failing)
            assert "503" in report.failure and report.failing_since is not None
            assert report.blocked_by == ""
            server.scripts = [answers()]
            await gateway.wait_for(await gateway.submit(), TaskState.COMPLETED)
            await wait_until(lambda: gateway.worker.status.failing_since is None)


async def test_no_more_is_claimed_than_can_be_started(make_gateway: MakeGateway) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers())) as server:
        gateway = await make_gateway(server.url, pod_concurrency=3, concurrency=2)
        ids = [await gateway.submit() for _ in range(10)]
        async with gateway.running():
            await wait_until(lambda: len(server.requests) == 2)
            assert len(gateway.worker._running) == 2
            assert max(gateway.store.claim_limits) == 2
            await gateway.store.set_control(Control(concurrency=0))
            await wait_until(lambda: len(server.requests) == 3)
            await gateway.store.set_control(Control(concurrency=0, pod_concurrency=5))
            await wait_until(lambda: len(server.requests) == 5)
            go_on.set()
            for id in ids:
                await gateway.wait_for(id)


async def test_an_idle_worker_asks_seldom(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        async with gateway.running():
            await wait_until(lambda: gateway.store.calls["claim"] > 1)
            id = await gateway.submit()
            await gateway.wait_for(id)
            before = gateway.store.calls["claim"]
            for _ in range(1000):
                await asyncio.sleep(0)
            assert gateway.store.calls["claim"] <= before + 5


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_cancel_aborts_the_request(make_gateway: MakeGateway, is_stream: bool) -> None:
    start = STREAM_HEAD + chunk(b"data: 1\n\n") if is_stream else b""
    async with serve(hangs(start)) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            if is_stream:
                await eventually(lambda: gateway.parts(id))
            await gateway.store.cancel(id, 60)
            await with_timeout(server.requests[0].was_aborted.wait())
            await wait_until(lambda: not gateway.worker._running)
        assert (await gateway.find(id)).state is TaskState.CANCELLED
        assert gateway.store.calls["finish"] == gateway.store.calls["retry"] == 0


async def test_a_missed_cancel_is_asked_for(make_gateway: MakeGateway) -> None:
    async with serve(hangs()) as server:
        gateway = await make_gateway(server.url, lease=6000)
        id = await gateway.submit()
        async with gateway.running(with_hub=False):
            await wait_until(lambda: server.requests)
            await gateway.store.cancel(id, 60)
            gateway.context.hub._publish([])  # as after a gap in the feed
            await with_timeout(server.requests[0].was_aborted.wait())


async def test_what_another_worker_has_is_aborted_and_not_ended(make_gateway: MakeGateway) -> None:
    async with serve(hangs()) as server:
        gateway = await make_gateway(server.url, lease=1.5)
        id = await gateway.submit()
        async with gateway.running(with_hub=False):
            await wait_until(lambda: server.requests)
            await gateway.take_away(id)
            await with_timeout(server.requests[0].was_aborted.wait())
            await wait_until(lambda: not gateway.worker._running)
        assert (await gateway.find(id)).state is TaskState.PROCESSING
        assert gateway.store.calls["finish"] == gateway.store.calls["retry"] == 0


async def test_leases_are_renewed(make_gateway: MakeGateway) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers())) as server:
        gateway = await make_gateway(server.url, lease=3)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.store.calls["beat"] > 3 and gateway.store.beats)
            go_on.set()
            await gateway.wait_for(id)
        assert (id, 1) in gateway.store.beats


async def test_work_is_aborted_when_the_store_is_away_beyond_the_lease(
    make_gateway: MakeGateway,
) -> None:
    async with serve(hangs(), answers()) as server:
        gateway = await make_gateway(server.url, lease=1.0)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.store.is_away = True
            await with_timeout(server.requests[0].was_aborted.wait())
            gateway.store.is_away = False
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
        assert gateway.metric("reclaimed_total") >= 1


async def test_an_end_is_tried_until_it_is_recorded(make_gateway: MakeGateway) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers(200, b"late"))) as server:
        gateway = await make_gateway(server.url, lease=600)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.store.is_away = True
            go_on.set()
            await wait_until(lambda: gateway.store.failures["finish"] > 1)
            await wait_until(lambda: "away" in gateway.worker.status.blocked_by)
            gateway.store.is_away = False
            assert (await gateway.wait_for(id)).state is TaskState.COMPLETED
            # and what comes after it is claimed again
            assert (await gateway.wait_for(await gateway.submit())).attempt == 1
        assert len(server.requests) == 2


def with_objects(tmp_path: Path) -> dict[str, object]:
    return {"objects": f"file:{tmp_path}/objects", "inline_bytes": 100, "lease": 600}


async def test_an_end_that_was_recorded_without_an_answer_keeps_its_object(
    tmp_path: Path, make_gateway: MakeGateway
) -> None:
    async with serve(answers(200, b"x" * 5000)) as server:
        gateway = await make_gateway(server.url, **with_objects(tmp_path))
        gateway.store.lost_answers.add("finish")
        id = await gateway.submit()
        async with gateway.running(with_hub=False):
            await wait_until(lambda: gateway.store.calls["finish"] == 2)
            await wait_until(lambda: not gateway.worker._running)
        assert await gateway.body(id) == b"x" * 5000
        assert gateway.metric("fenced_total") == 0


async def test_the_object_of_a_fenced_end_is_deleted(
    tmp_path: Path, make_gateway: MakeGateway
) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers(200, b"x" * 5000))) as server:
        gateway = await make_gateway(server.url, **with_objects(tmp_path))
        id = await gateway.submit()
        async with gateway.running(with_hub=False):
            await wait_until(lambda: server.requests)
            await gateway.take_away(id)
            go_on.set()
            await wait_until(lambda: not gateway.worker._running)
        assert gateway.metric("fenced_total") == 1
        assert (await gateway.find(id)).state is TaskState.PROCESSING
        assert not [one for one in (tmp_path / "objects").rglob("*") if one.is_file()]


# -- draining -----------------------------------------------------------------------------------


async def test_a_drain_lets_running_tasks_end(make_gateway: MakeGateway) -> None:
    go_on = asyncio.Event()
    async with serve(waits_for(go_on, answers())) as server:
        gateway = await make_gateway(server.url, pod_concurrency=1)
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
            assert not await gateway.store.workers()


async def test_a_drain_hands_back_what_does_not_end(make_gateway: MakeGateway) -> None:
    async with serve(hangs(), answers()) as server:
        gateway = await make_gateway(server.url, lease=600)
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


async def test_what_is_claimed_during_a_drain_is_handed_back(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url, lease=600)
        go_on = asyncio.Event()
        gateway.store.before["claim"] = go_on.wait
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.store.calls["claim"])
            draining = asyncio.create_task(gateway.worker.drain(600))
            await wait_until(lambda: gateway.worker.status.blocked_by)
            go_on.set()
            await with_timeout(draining)
        task = await gateway.find(id)
        assert (task.state, task.attempt) == (TaskState.PENDING, 1)
        assert not server.requests


async def test_a_drain_ends_though_the_store_is_away(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.gateway.delivery.worker._RECORD_SECONDS", 0.1)
    async with serve(hangs()) as server:
        gateway = await make_gateway(server.url, lease=600)
        await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: server.requests)
            gateway.store.is_away = True
            await with_timeout(gateway.worker.drain(0))


# -- errors of our own --------------------------------------------------------------------------


async def test_a_claim_whose_answer_was_lost_costs_no_attempt(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url, store_timeout=100, lease=36000)
        id = await gateway.submit(max_attempts=1)
        gateway.store.lost_answers.add("claim")
        async with gateway.running():
            await gateway.wait_for(id, TaskState.PROCESSING)
            gateway.worker._leases.check_now()
            await wait_until(lambda: gateway.store.calls["release"] > 1)
            gateway.store.shift = 1000
            gateway.worker._leases.check_now()
            task = await gateway.wait_for(id)
        assert (task.state, task.attempt) == (TaskState.COMPLETED, 2)
        assert len(server.requests) == 1


async def test_what_was_given_up_is_not_released(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url, store_timeout=100, lease=36000)
        gateway.store.before["finish"] = fail
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.worker._running.keys == [(id, 1)])
            await wait_until(lambda: not gateway.worker._running)
            gateway.store.shift = 1000
            before = gateway.store.calls["release"]
            gateway.worker._leases.check_now()
            await wait_until(lambda: gateway.store.calls["release"] > before)
            assert (await gateway.find(id)).state is TaskState.PROCESSING
        assert len(server.requests) == 1


async def test_an_error_in_a_claim_does_not_end_the_worker(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.gateway.delivery.worker._MAX_RETRY", 0.01)
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        gateway.store.before["claim"] = fail
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.store.calls["claim"] > 1)
            del gateway.store.before["claim"]
            await gateway.wait_for(id)


async def test_an_error_in_a_record_leaves_the_task_to_its_lease(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        gateway.store.before["finish"] = fail
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.store.calls["finish"])
            await wait_until(lambda: not gateway.worker._running)
            del gateway.store.before["finish"]
            gateway.store.shift += gateway.settings.lease + 1
            assert (await gateway.wait_for(id)).attempt == 2


async def fail() -> None:
    raise RuntimeError
