"""The queues that the screens ask at the URL of the settings, on a real gateway."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck.async_queue.errors import AdminUrlError, UnreachableError
from servedeck.changes.async_queue.state import CurrentLimits
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ConnectionLostError
from servedeck.config import Settings
from servedeck.fleet.views import NamespacedName
from servedeck.serving.async_limits import DEFAULTS
from servedeck.serving.conventions import ASYNC_LABEL, MANAGED_BY_LABEL
from tests.async_queue.conftest import api, connection, rig, server
from tests.async_queue.gateway_rig import GatewayRig
from tests.cluster.fake_api_server import FakeApiServer, respond_with_status
from tests.cluster.test_access import FakeReviewApi, make_rule
from tui.async_queue_service import ClusterAsyncQueueService

__all__ = ["api", "connection", "rig", "server"]

KEY = NamespacedName("chat", "llama")


async def test_a_queue_is_asked_at_the_url_until_the_app_ends(
    rig: GatewayRig, api: FakeApiServer, connection: Connection, tmp_path: Path
) -> None:
    settings = Settings(
        async_admin_url=f"http://127.0.0.1:{rig.gateway.admin_port}",
        async_key_file=str(tmp_path / "view-key"),
    )
    service = ClusterAsyncQueueService(lambda: connection, lambda: settings)
    queues = await asyncio.gather(*(asyncio.to_thread(service.queue_api, KEY) for _ in range(3)))
    for queue in queues:
        assert (await queue.queue_status()).serving == "chat/llama"
    assert api.requests == []
    await service.close()
    for queue in (*queues, service.queue_api(KEY)):
        with pytest.raises(UnreachableError, match="The connection was closed"):
            await queue.queue_status()


async def test_without_a_url_it_is_asked_through_the_api_server(
    rig: GatewayRig, api: FakeApiServer, connection: Connection
) -> None:
    service = ClusterAsyncQueueService(lambda: connection, Settings)
    assert (await service.queue_api(KEY).queue_status()).serving == "chat/llama"
    assert any("/proxy/" in one.path for one in api.requests)
    await service.close()


async def test_the_permissions_are_those_on_the_objects_of_the_gateway(
    api: FakeApiServer, connection: Connection
) -> None:
    reviews = FakeReviewApi(api, make_rule("patch", "core", "configmaps", "llama-async"))
    reviews.allowed = False
    shown: Connection | None = connection
    service = ClusterAsyncQueueService(lambda: shown, Settings)
    assert service.disabled_reason(KEY) == ""  # nothing is known yet
    await service.refresh_permissions(KEY)
    denied = "Needs patch on deployments.apps in namespace chat."
    assert service.disabled_reason(KEY) == denied
    assert service.disabled_reason(NamespacedName("chat", "other")) == (
        "Needs patch on configmaps in namespace chat."
    )
    reviews.allowed = True  # it was granted since
    await service.refresh_permissions(KEY)
    assert service.disabled_reason(KEY) == denied  # for two minutes
    shown = None
    assert service.disabled_reason(KEY) == ""
    with pytest.raises(ConnectionLostError):
        await service.refresh_permissions(KEY)


async def test_limits_are_read_of_the_gateways_own_config_map_alone(
    api: FakeApiServer, connection: Connection
) -> None:
    found: dict[str, Any] = {}
    path = "/api/v1/namespaces/chat/configmaps/llama-async"

    async def respond(_: web.Request) -> web.StreamResponse:
        return web.json_response(found)

    service = ClusterAsyncQueueService(lambda: connection, Settings)
    api.add_route(path, respond_with_status(404, "NotFound"))
    assert await service.read_limits(KEY) is None
    api.add_route(path, respond_with_status(403, "Forbidden", "no"))
    with pytest.raises(ApiError):
        await service.read_limits(KEY)
    api.add_route(path, respond)
    found = {"data": {"gateway.yaml": "max_depth: 7\nlifetime: .inf\nobjects: s3://b\n"}}
    assert await service.read_limits(KEY) is None  # somebody else's
    labels = {MANAGED_BY_LABEL: "servedeck", ASYNC_LABEL: KEY.name}
    found["metadata"] = {"labels": labels}
    problem = (
        "Task Lifetime in its ConfigMap cannot be read: lifetime must be a number of seconds, as "
        "in 21600."
    )
    expected = CurrentLimits(replace(DEFAULTS, max_depth=7), has_objects=True, problems=(problem,))
    assert await service.read_limits(KEY) == expected


async def test_a_url_that_cannot_be_used(connection: Connection) -> None:
    settings = Settings(async_admin_url="http://gateways.test")
    service = ClusterAsyncQueueService(lambda: connection, lambda: settings)
    with pytest.raises(AdminUrlError, match="must begin with https://"):
        service.queue_api(KEY)
    await service.close()
