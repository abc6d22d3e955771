"""Fixtures: a server that answers as Prometheus, and a scripted API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster.conftest import api as api
from tests.cluster.conftest import connection as connection
from tests.metrics.fake_prometheus import FakePrometheus, serve_prometheus


@pytest.fixture
async def prometheus() -> AsyncIterator[FakePrometheus]:
    async with serve_prometheus() as fake:
        yield fake
