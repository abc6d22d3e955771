"""The screens' way to turn an async queue on, on a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from servedeck.changes.operations.operation import Outcome
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE, Settings
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.async_routes import has_async_rules
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.test_async_queue import ALL, Queue
from tests.control_plane.test_deploy import open_connection
from tui.async_queue_service import ClusterAsyncQueueService


@pytest.fixture
async def queue(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Queue]:
    async with open_connection(control_plane, namespace=namespace) as connection:
        yield Queue(control_plane, namespace, connection)


def make_service(
    queue: Queue, store: str = "valkey://valkey.test:6379"
) -> ClusterAsyncQueueService:
    settings = Settings(async_store=store, async_image="servedeck-gateway:1")
    return ClusterAsyncQueueService(lambda: queue.connection, lambda: settings)


def key_of(queue: Queue) -> NamespacedName:
    return NamespacedName(queue.namespace, "llama")


async def test_it_is_planned_and_turned_on(queue: Queue) -> None:
    await queue.create_serving()
    service = make_service(queue)
    plan = await service.plan_on(key_of(queue))
    assert plan.is_possible and queue.existing() == []
    sentences: list[str] = []
    result = await service.run_on(plan, sentences.append)
    assert result.outcome is Outcome.DONE, result.message
    assert await service.look_again(result) == result
    assert queue.existing() == ALL
    assert has_async_rules(queue.route(), "llama")
    assert (await service.plan_on(key_of(queue))).unchanged


async def test_fields_of_others_are_overwritten_only_if_that_is_asked(queue: Queue) -> None:
    await queue.create_serving()
    route = queue.route()
    theirs = {
        **route,
        "metadata": {key: route["metadata"][key] for key in ("name", "namespace", "labels")},
    }
    queue.plane.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-"),
        input=theirs,
    )
    service = make_service(queue)
    plan = await service.plan_on(key_of(queue))
    assert plan.blocked and plan.rejections
    plan = await service.plan_on(key_of(queue), force=True)
    assert (await service.run_on(plan, lambda _sentence: None)).outcome is Outcome.DONE
    assert has_async_rules(queue.route(), "llama")


async def test_the_settings_are_completed_by_those_of_the_cluster(queue: Queue) -> None:
    await queue.create_serving()
    service = make_service(queue, store="")
    assert "set async_store" in (await service.plan_on(key_of(queue))).blocked
    path = f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/configmaps"
    try:
        queue.plane.create("/api/v1/namespaces", {"metadata": {"name": PLATFORM_NAMESPACE}})
    except RequestError as error:
        assert error.status == 409
    body = {
        "metadata": {"name": PLATFORM_CONFIGMAP},
        "data": {"async_store": "valkey://valkey.platform:6379"},
    }
    queue.plane.create(path, body)
    try:
        plan = await service.plan_on(key_of(queue))
    finally:
        queue.plane.request("DELETE", f"{path}/{PLATFORM_CONFIGMAP}")
    assert plan.is_possible
    assert "valkey://valkey.platform:6379" in repr(plan.writes)


async def test_without_a_connection_it_says_so() -> None:
    service = ClusterAsyncQueueService(lambda: None, Settings)
    key = NamespacedName("a", "b")
    with pytest.raises(ConnectionLostError):
        service.queue_api(key)
    with pytest.raises(ConnectionLostError):
        await service.plan_on(key)
