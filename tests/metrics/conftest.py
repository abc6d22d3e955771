"""Fixtures: a server that answers as Prometheus, and a scripted API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.cluster.http.connection import Connection
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig
from tests.metrics.fake_prometheus import FakePrometheus, serve_prometheus


@pytest.fixture
async def prometheus() -> AsyncIterator[FakePrometheus]:
    async with serve_prometheus() as fake:
        yield fake


@pytest.fixture
async def api() -> AsyncIterator[FakeApiServer]:
    api = FakeApiServer()
    async with serve(api):
        yield api


@pytest.fixture
async def connection(api: FakeApiServer, tmp_path: Path) -> AsyncIterator[Connection]:
    file = write_kubeconfig(tmp_path / "config", api.url, {"token": "secret"})
    connection = await open_connection(file)
    yield connection
    await connection.close()
