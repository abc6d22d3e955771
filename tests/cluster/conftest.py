"""Fixtures: a scripted API server and a connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.cluster.http.connection import Connection
from tests.cluster.fake_api_server import FakeApiServer, open_connection, serve, write_kubeconfig


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
