"""500 servings with 5,000 Pods, under change, on a control plane of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psutil
import pytest

from benchmarks import rig
from tests.control_plane.checks import assert_true, watching
from tests.control_plane.fixtures import demand_servers
from tests.control_plane.plane import ControlPlane
from tests.waiting import until

SERVINGS, REPLICAS = 500, 10


@pytest.fixture(scope="module")
def filled() -> Iterator[ControlPlane]:
    demand_servers()
    plane = rig.start(None, nodes=40)
    try:
        asyncio.run(rig.fill(plane, SERVINGS, REPLICAS))
        yield plane
    finally:
        plane.stop()


@pytest.mark.slow
@pytest.mark.xdist_group("control_plane")
async def test_five_thousand_pods_listed_followed_and_held(filled: ControlPlane) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    async with watching(filled.kubeconfig(), settled=False) as live:
        await until(
            lambda: sum(view.ready for view in live.fleet.views()) == SERVINGS * REPLICAS,
            "all Pods to be ready",
            sign=lambda: live.state,
        )
        grown = (process.memory_info().rss - before) / 2**20
        token = filled.tokens["admin"]
        counts = await rig.churn(filled.url, token, rate=100, seconds=10)
        assert counts["failed"] == 0
        await assert_true(live, filled)
        assert sum(view.restarts for view in live.fleet.views()) == counts["changed"]
    # A generous bound: the benchmarks hold the budgets, those of time too.
    assert grown < 200, f"{grown:.0f} MiB more"
