"""500 servings with 5,000 Pods, under continuous change, on a separate control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psutil
import pytest

from benchmarks import control_plane_setup
from tests.control_plane.assertions import assert_matches_cluster, started_session
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.fixtures import require_servers
from tests.waiting import wait_until

SERVING_COUNT, REPLICA_COUNT = 500, 10


@pytest.fixture(scope="module")
def large_cluster() -> Iterator[ControlPlane]:
    require_servers()
    plane = control_plane_setup.start_control_plane(None, nodes=40)
    try:
        asyncio.run(control_plane_setup.create_servings(plane, range(SERVING_COUNT), REPLICA_COUNT))
        yield plane
    finally:
        plane.stop()


@pytest.mark.slow
@pytest.mark.xdist_group("control_plane")
async def test_five_thousand_pods_listed_followed_and_held(large_cluster: ControlPlane) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    async with started_session(large_cluster.write_kubeconfig(), settled=False) as live:
        await wait_until(
            lambda: sum(view.ready for view in live.fleet.views()) == SERVING_COUNT * REPLICA_COUNT,
            "all Pods to be ready",
            describe_state=lambda: live.state,
        )
        grown = (process.memory_info().rss - before) / 2**20
        token = large_cluster.tokens["admin"]
        counts = await control_plane_setup.churn_pods(
            large_cluster.url, token, rate=100, seconds=10
        )
        assert counts["failed"] == 0
        await assert_matches_cluster(live, large_cluster)
        assert sum(view.restarts for view in live.fleet.views()) == counts["changed"]
    # A generous limit: the benchmarks define the budgets, including those for time.
    assert grown < 200, f"{grown:.0f} MiB more"
