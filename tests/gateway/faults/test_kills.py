"""What was accepted ends once, whatever is killed under load: each process of a gateway, and
Valkey."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.gateway_load import Load, make_body, make_request
from servedeck.async_queue.tasks import TaskState
from tests.gateway.faults.cluster import LEASE, Account, GatewayCluster, wait_until_drained
from tests.gateway.process.rig import InferenceServer
from tests.gateway.valkey_server import ValkeyServer, build_shim
from tests.waiting import wait_until

REQUEST = make_request(make_body())
ROUNDS = 3
"""Kills of a run."""
BETWEEN = 100
"""Requests that are accepted between two kills."""
RATE = 400.0
"""Requests a second, at most."""


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path / "valkey")
    yield server
    server.close()


@pytest.fixture
async def cluster(tmp_path: Path, valkey: ValkeyServer) -> AsyncIterator[GatewayCluster]:
    async with InferenceServer().serving() as server:
        cluster = GatewayCluster(tmp_path, valkey, server.url, pod_concurrency=16)
        try:
            await cluster.start("accept", "accept")
            await cluster.start("deliver", "deliver")
            yield cluster
        finally:
            await cluster.close()


async def run(
    cluster: GatewayCluster, kill: Callable[[], Awaitable[None]], rounds: int = ROUNDS
) -> Account:
    """Submit requests from many callers, and kill after each BETWEEN of them."""
    accepted: list[str] = []
    store = cluster.open_store()
    await store.open()
    account = Account()
    # From the first event on: the feed keeps only so many.
    following = asyncio.create_task(account.follow(store))
    load = Load(port_of(cluster), REQUEST, connections=16, on_accept=accepted.append)
    sending = asyncio.create_task(load.run(RATE, 1e9))
    try:
        for _ in range(rounds):
            wanted = len(accepted) + BETWEEN
            await wait_until(lambda wanted=wanted: len(accepted) >= wanted, "accepted requests")
            await kill()
            load.port = port_of(cluster)
        wanted = len(accepted) + BETWEEN
        await wait_until(lambda: len(accepted) >= wanted, "requests that are accepted again")
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        load.close()
    try:
        await wait_until_drained(store)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await account.read_on(store)
    finally:
        following.cancel()
        await store.close()
    assert len(set(accepted)) == len(accepted)
    assert account.lost(accepted) == []
    assert account.ended_twice == []
    assert set(account.states) == {TaskState.COMPLETED}
    return account


def port_of(cluster: GatewayCluster) -> int:
    return int(cluster.processes["accept"].public_url.rpartition(":")[2])


async def test_the_process_that_accepts_is_killed(cluster: GatewayCluster) -> None:
    async def kill() -> None:
        await cluster.restart("accept")

    await run(cluster, kill)


async def test_the_process_that_delivers_is_killed(cluster: GatewayCluster) -> None:
    async def kill() -> None:
        await cluster.restart("deliver")

    await run(cluster, kill)


async def test_one_of_two_that_deliver_is_killed_and_not_started_again(
    cluster: GatewayCluster,
) -> None:
    await cluster.start("other", "deliver")

    async def kill() -> None:
        await cluster.kill("deliver")

    await run(cluster, kill, rounds=1)


async def test_valkey_is_killed_and_started_with_its_append_only_file(
    cluster: GatewayCluster, valkey: ValkeyServer
) -> None:
    async def kill() -> None:
        await asyncio.to_thread(valkey.restart)

    await run(cluster, kill)


async def test_the_power_of_valkey_is_cut(tmp_path: Path) -> None:
    shim = build_shim(tmp_path)
    valkey = ValkeyServer(tmp_path / "valkey", shim=shim)
    try:
        async with InferenceServer().serving() as server:
            cluster = GatewayCluster(tmp_path, valkey, server.url, pod_concurrency=16)
            try:
                await cluster.start("accept", "accept")
                await cluster.start("deliver", "deliver")

                async def kill() -> None:
                    await asyncio.to_thread(valkey.cut_power)
                    await asyncio.to_thread(valkey.start)

                await run(cluster, kill)
            finally:
                await cluster.close()
    finally:
        valkey.close()


async def test_everything_is_killed(cluster: GatewayCluster, valkey: ValkeyServer) -> None:
    async def kill() -> None:
        await cluster.kill("deliver")
        await cluster.kill("accept")
        await asyncio.to_thread(valkey.restart)
        await cluster.processes["accept"].start()
        await cluster.processes["deliver"].start()

    await run(cluster, kill)


async def test_a_frozen_process_that_wakes_after_its_lease_ends_nothing_twice(
    cluster: GatewayCluster,
) -> None:
    await cluster.start("other", "deliver")

    async def kill() -> None:
        frozen = cluster.processes["deliver"]
        frozen.send(signal.SIGSTOP)
        await asyncio.sleep(2.5 * LEASE)  # so that another takes over
        frozen.send(signal.SIGCONT)

    await run(cluster, kill, rounds=2)
