"""Fixtures: a scripted API server and a connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.cluster.http.connection import Connection
from tests.cluster.api import Api, connect, kubeconfig, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    async with serving(api):
        yield api


@pytest.fixture
async def connection(api: Api, tmp_path: Path) -> AsyncIterator[Connection]:
    file = kubeconfig(tmp_path / "config", api.url, {"token": "secret"})
    connection = await connect(file)
    yield connection
    await connection.close()
