"""Changing a serving whose Service was deleted, beside other Services of its Pods."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.commands.export import export_serving
from servedeck.demo.api.access import AccessRule, DemoUser
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.objects import manifests
from tests.changes.test_changes_on_demo import PLATFORM, make_spec
from tests.changes.test_services_and_routes import (
    create,
    edit,
    exists,
    open_as,
    replicas_of,
    target_of,
)

NO_NEW_SERVICES = DemoUser(
    "no-new-services",
    (
        AccessRule(("get", "list", "watch"), ("*",), ("*",)),
        AccessRule(("create", "patch"), ("*",), ("deployments", "pods", "httproutes")),
    ),
)


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False, more_users=(NO_NEW_SERVICES,)) as cluster:
        yield cluster


@pytest.fixture
async def connection(demo: DemoCluster) -> AsyncIterator[Connection]:
    async with open_as(demo, "") as opened:
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


async def test_an_export_says_what_applying_it_creates_again(connection: Connection) -> None:
    deployment, service, route = manifests.build_manifests(make_spec(), PLATFORM)
    await create(connection, deployment)
    exported = await export_serving(connection, "chat", "fresh", PLATFORM)
    assert exported.created_objects == ("Service chat/fresh", "HTTPRoute chat/fresh")
    await create(connection, service, route)
    exported = await export_serving(connection, "chat", "fresh", PLATFORM)
    assert exported.created_objects == ()


async def test_no_route_is_created_to_a_service_that_may_not_be_created(
    demo: DemoCluster, connection: Connection
) -> None:
    await create(connection, *manifests.build_manifests(make_spec())[:1])
    async with open_as(demo, "no-new-services") as restricted:
        good, stdout, stderr = await edit(restricted, replicas=3)
    assert good, stderr
    assert await replicas_of(connection) == 3
    assert not any(line.endswith(" created") for line in stdout), stdout
    assert not await exists(connection, "httproutes")
    service, route = (line for line in stderr if line.startswith("warning: fresh: "))
    assert "Service chat/fresh does not exist and may not be created" in service
    assert "HTTPRoute chat/fresh is not created without Service chat/fresh." in route
