"""The gateway knows the Ready Pods of a Service on a real API server, by a named port and by a
number, with no more than the permissions that it names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.reflector import ReflectorConfig
from servedeck.gateway.upstreams.endpoint_slices import WatchedUpstreams
from tests.control_plane import objects
from tests.control_plane.control_plane import ControlPlane
from tests.waiting import wait_until, with_timeout

FAST = ReflectorConfig(retry_delay=(0.1, 1.0), unavailable_delay=(0.3, 0.6))


def rules(*kinds: tuple[str, str]) -> list[dict[str, list[str]]]:
    return [
        {"apiGroups": [group], "resources": [plural], "verbs": ["list", "watch"]}
        for group, plural in kinds
    ]


SLICES = ("discovery.k8s.io", "endpointslices")


@asynccontextmanager
async def watching(plane: ControlPlane, user: str, service: str) -> AsyncIterator[WatchedUpstreams]:
    file = plane.write_kubeconfig(user)
    upstreams = WatchedUpstreams(
        service,
        open_connection=lambda: Connection.open(ConnectionOptions(kubeconfig=(file,))),
        config=FAST,
    )
    running = asyncio.create_task(upstreams.run())
    try:
        yield upstreams
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("port", ["http", "80"])
async def test_the_ready_pods_of_a_service(
    control_plane: ControlPlane, namespace: str, port: str
) -> None:
    user = "member"
    control_plane.create(f"/api/v1/namespaces/{namespace}/services", objects.service("llama"))
    async with watching(control_plane, user, f"{namespace}/llama:{port}") as upstreams:
        await wait_until(lambda: "needs list and watch on" in upstreams.problem)
        kinds = [SLICES] if port == "http" else [SLICES, ("", "services")]
        await asyncio.to_thread(control_plane.grant, user, rules(*kinds), namespace=namespace)
        await wait_until(lambda: "is Ready" in upstreams.problem)
        assert not upstreams.ready

        await asyncio.to_thread(control_plane.create_deployment, namespace, "llama", replicas=2)
        await wait_until(
            lambda: len(upstreams.ready) == 2, describe_state=lambda: upstreams.problem
        )
        pods = await asyncio.to_thread(control_plane.list_pods, namespace, "llama")
        assert upstreams.ready == {
            pod["metadata"]["name"]: f"http://{pod['status']['podIP']}:8000" for pod in pods
        }

        async with watching(control_plane, user, f"{namespace}/llama:{port}") as later:
            assert not later.ready
            await with_timeout(later.wait_until_known())
            assert later.ready == upstreams.ready

        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/llama"
        await asyncio.to_thread(control_plane.request, "PATCH", path, {"spec": {"replicas": 0}})
        await wait_until(lambda: not upstreams.ready and "is Ready" in upstreams.problem)
