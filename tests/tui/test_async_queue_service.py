"""The queues that the screens ask at the URL of the settings, on a real gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from servedeck.async_queue.errors import AdminUrlError, UnreachableError
from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.fleet.views import NamespacedName
from tests.async_queue.conftest import api, connection, rig, server
from tests.async_queue.gateway_rig import GatewayRig
from tests.cluster.fake_api_server import FakeApiServer
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


async def test_a_url_that_cannot_be_used(connection: Connection) -> None:
    settings = Settings(async_admin_url="http://gateways.test")
    service = ClusterAsyncQueueService(lambda: connection, lambda: settings)
    with pytest.raises(AdminUrlError, match="must begin with https://"):
        service.queue_api(KEY)
    await service.close()
