from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from servedeck.demo.resources import NAMESPACES, NODES
from servedeck.demo.workloads import failure_simulation
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.demo.api_fixture import Api
from tests.demo.cluster_fixture import ClusterFixture


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    made.store.create(NAMESPACES, {"metadata": {"name": "a"}})
    made.store.create(NODES, {"metadata": {"name": "n"}})
    await made.server.start()
    async with aiohttp.ClientSession() as made.session:
        yield made
    await made.server.stop()


@pytest.fixture
def cluster() -> ClusterFixture:
    found = ClusterFixture()
    found.node()
    found.deploy(annotations={failure_simulation.REQUEST_RATE_ANNOTATION: "3"})
    found.until(found.ready)
    found.advance(600)
    return found


@pytest.fixture
def runtime(cluster: ClusterFixture) -> NodeRuntime:
    return NodeRuntime(cluster.controllers.kubelet, cluster.clock)
