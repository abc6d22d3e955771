"""Fixtures: a scripted API server, a connection to it, an inference server, and a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.cluster.http.connection import Connection
from tests.async_queue.gateway_rig import GatewayRig, running_rig
from tests.cluster.conftest import api, connection
from tests.cluster.fake_api_server import FakeApiServer
from tests.gateway.process.rig import InferenceServer

__all__ = ["api", "connection"]


@pytest.fixture
async def server() -> AsyncIterator[InferenceServer]:
    """It holds requests until `open` is set."""
    async with InferenceServer().serving() as server:
        server.open.clear()
        yield server


@pytest.fixture
async def rig(
    api: FakeApiServer, server: InferenceServer, tmp_path: Path
) -> AsyncIterator[GatewayRig]:
    async with running_rig(api, tmp_path, server.url) as rig:
        yield rig


@pytest.fixture
def client(rig: GatewayRig, connection: Connection) -> AsyncQueueClient:
    return AsyncQueueClient(connection, "chat", "llama")
