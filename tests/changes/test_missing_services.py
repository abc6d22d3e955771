"""Changing a serving whose Service was deleted, beside other Services of its Pods."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.objects import manifests
from tests.changes.test_changes_on_demo import PLATFORM, make_spec
from tests.changes.test_services_and_routes import create, edit, open_as, target_of


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with DemoCluster(live=False) as demo, open_as(demo, "") as opened:
        yield opened


async def test_a_service_is_created_again_beside_one_for_metrics(connection: Connection) -> None:
    deployment, service, route = manifests.build_manifests(make_spec(), PLATFORM)
    service["metadata"]["name"] = "fresh-metrics"
    service["spec"]["ports"] = [{"name": "metrics", "port": 9090, "targetPort": "http"}]
    await create(connection, deployment, service, route)
    good, stdout, stderr = await edit(connection)
    assert good, stderr
    assert [line for line in stdout if not line.endswith(" unchanged")] == ["service/fresh created"]
    assert await target_of(connection) == "http"
