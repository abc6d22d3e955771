"""What is due is done while nothing else happens, and nothing is left in the object store."""

from __future__ import annotations

from pathlib import Path

import pytest

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.gateway.delivery import sweeper
from servedeck.gateway.delivery.sweeper import delete_orphans
from servedeck.gateway.stores.store import Content
from tests.gateway.delivery.gateway import Gateway, MakeGateway
from tests.gateway.delivery.inference_server import answers, serve
from tests.waiting import wait_until


def object_names(tmp_path: Path) -> set[str]:
    root = tmp_path / "objects"
    return {one.relative_to(root).as_posix() for one in root.rglob("*") if one.is_file()}


async def make(make_gateway: MakeGateway, tmp_path: Path, url: str) -> Gateway:
    return await make_gateway(url, objects=f"file:{tmp_path}/objects", inline_bytes=10)


async def test_a_delayed_task_is_delivered_without_another_event(
    make_gateway: MakeGateway,
) -> None:
    # 500, as a Pod that answers 503 would be spared
    async with serve(answers(500, b"", "Retry-After: 1000"), answers()) as server:
        gateway = await make_gateway(server.url, max_backoff=2000)
        id = await gateway.submit()
        async with gateway.running():
            await wait_until(lambda: gateway.store.calls["retry"])
            await gateway.wait_for(id, TaskState.PENDING)
            gateway.store.shift += 2500
            assert (await gateway.wait_for(id)).attempt == 2


async def test_tasks_of_a_worker_that_was_killed_are_delivered(make_gateway: MakeGateway) -> None:
    async with serve(answers()) as server:
        gateway = await make_gateway(server.url)
        id = await gateway.submit()
        await gateway.store.claim(
            "killed", ["pod-0"], limit=1, concurrency=0, pod_concurrency=1, lease=1
        )
        gateway.store.shift += 2
        async with gateway.running():
            assert (await gateway.wait_for(id)).attempt == 2
        assert gateway.metric("reclaimed_total") == 1


async def test_what_the_store_ends_is_counted_by_its_reason(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway("")
    id = await gateway.submit(max_attempts=1)
    await gateway.store.claim(
        "killed", ["pod-0"], limit=1, concurrency=0, pod_concurrency=1, lease=1
    )
    gateway.store.shift += 2
    overdue = await gateway.submit(lifetime=5)
    gateway.store.shift += 6
    await gateway.store.claim("w", ["pod-0"], limit=1, concurrency=0, pod_concurrency=9, lease=1)
    assert (await gateway.find(overdue)).reason == FailureReason.EXPIRED
    async with gateway.running():
        assert (await gateway.wait_for(id)).reason == FailureReason.EXHAUSTED
        await wait_until(lambda: gateway.metric("ended_total", outcome="exhausted") == 1)
        await wait_until(lambda: gateway.metric("ended_total", outcome="expired") == 1)


async def test_an_overdue_task_expires_while_no_pod_is_ready(make_gateway: MakeGateway) -> None:
    gateway = await make_gateway("")
    id = await gateway.submit(lifetime=5)
    gateway.store.shift += 6
    async with gateway.running():
        task = await gateway.wait_for(id)
        assert (task.state, task.reason) == (TaskState.FAILED, FailureReason.EXPIRED)
        await wait_until(lambda: gateway.metric("ended_total", outcome="expired") == 1)


async def test_sweeping_goes_on_after_the_store_was_away(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_MAX_RETRY", 0.5)
    gateway = await make_gateway("")
    gateway.store.is_away = True
    async with gateway.running():
        await wait_until(lambda: gateway.store.failures["sweep"] > 1)
        gateway.store.is_away = False
        before = gateway.store.calls["sweep"]
        await wait_until(lambda: gateway.store.calls["sweep"] > before + 1)


async def test_the_objects_of_a_deleted_task_are_deleted(
    tmp_path: Path, make_gateway: MakeGateway
) -> None:
    async with serve(answers(200, b"x" * 100)) as server:
        gateway = await make(make_gateway, tmp_path, server.url)
        assert gateway.objects is not None
        async with gateway.running():
            id = await gateway.submit()
            await gateway.wait_for(id)
            assert object_names(tmp_path) == {f"{id}/result-1"}
            gateway.store.shift += gateway.settings.keep_completed + 1
            await wait_until(lambda: not object_names(tmp_path))


async def test_only_objects_that_no_task_refers_to_are_orphans(
    tmp_path: Path, make_gateway: MakeGateway
) -> None:
    async with serve(answers(200, b"x" * 100)) as server:
        gateway = await make(make_gateway, tmp_path, server.url)
        objects = gateway.objects
        assert objects is not None
        ended = gateway.identity.new_id("")
        waiting = gateway.identity.new_id("")
        ids = iter([ended, waiting])
        gateway.identity.new_id = lambda _owner: next(ids)
        for id in (ended, waiting):
            await objects.put(f"{id}/request", b"y" * 20)
            await objects.put(f"{id}/result-9", b"left behind")
        await objects.put("never-submitted/request", b"y")
        await gateway.submit(Content(object=f"{ended}/request", size=20))
        async with gateway.running():
            await gateway.wait_for(ended)
        await gateway.submit(Content(object=f"{waiting}/request", size=20))
        assert await delete_orphans(gateway.context, objects, 1e6) == 0
        assert await delete_orphans(gateway.context, objects, -1) == 2
        assert object_names(tmp_path) == {
            f"{ended}/request",
            f"{ended}/result-1",
            f"{waiting}/request",
            f"{waiting}/result-9",
        }
        assert await gateway.body(ended) == b"x" * 100
