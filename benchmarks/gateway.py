"""The async gateway: requests a second, times of answers, memory.

    python -m benchmarks.gateway                 # all of it: about eight minutes
    python -m benchmarks.gateway accept sqlite   # parts: accept, sqlite, through, two, stored,
                                                 # follow

Real processes of `servedeck gateway`, a real Valkey or Redis with `appendfsync always`, the load
and the inference server on the same machine. Prints JSON, and exits with 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import psutil
import uvloop
import yaml

from benchmarks.gateway_load import Load, make_body, make_request
from servedeck.gateway.identity import Identity
from servedeck.gateway.messages import RequestHead
from servedeck.gateway.stores.store import Content, NewTask, TaskStore
from tests.gateway.faults.cluster import GatewayCluster
from tests.gateway.process.rig import GatewayProcess
from tests.gateway.valkey_server import ValkeyServer

Figures = dict[str, float]

_VALKEY_MANIFEST = Path(__file__).parents[1] / "deploy" / "valkey" / "valkey.yaml"
RATE = 1_500.0
SECONDS = 10.0
FOLLOW_SECONDS, FOLLOW_ROUNDS = 4.0, 8
BUDGETS: dict[str, tuple[str, float]] = {
    "accept_per_s": ("min", 8_000),
    "accept_p99_ms": ("max", 20),
    "end_to_end_per_s": ("min", 1_500),
    "accept_process_mib": ("max", 60),
    "deliver_process_mib": ("max", 60),
    "sqlite_per_s": ("min", 6_000),
    "sqlite_p99_ms": ("max", 20),
    "through_added_ms": ("max", 0.7),
    "stored_bytes_a_task": ("max", 1_434),
    "stored_first_page_ms": ("max", 5),
    "restart_300k_s": ("max", 3),
    "follow_cpu_percent": ("max", 5),
}
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class _Stub(asyncio.Protocol):
    """An inference server that answers at once."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            lower = head.lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._transport.write(_ANSWER)


async def _serve_stub() -> None:
    server = await asyncio.get_running_loop().create_server(_Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _follow(admin_url: str) -> None:
    """Follow tasks and the queue until the input ends; prints how many events came."""
    found = 0

    async def read() -> None:
        nonlocal found
        url = f"{admin_url}/-/async/feed?events=tasks,queue"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            print("following", flush=True)
            async for part in response.content.iter_any():
                found += part.count(b'"cursor"')

    reading = asyncio.create_task(read())
    await asyncio.to_thread(sys.stdin.read)
    reading.cancel()
    print(found, flush=True)


@asynccontextmanager
async def follower(admin_url: str) -> AsyncIterator[list[int]]:
    """A client of the feed, in a process of its own; has the number of its events in the end."""
    events: list[int] = []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.gateway", "follower", admin_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        assert await process.stdout.readline() == b"following\n"
        yield events
        process.stdin.close()
        events.append(int(await process.stdout.readline()))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def inference_server() -> AsyncIterator[str]:
    """Its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.gateway", "stub"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


def valkey_options() -> list[str]:
    """What deploy/valkey says of memory and rewrites, as options of the command line."""
    config = next(yaml.safe_load_all(_VALKEY_MANIFEST.read_text()))["data"]["valkey.conf"]
    lines = [line.split() for line in config.splitlines() if not line.startswith("#")]
    return [
        part
        for name, value in lines
        if name.startswith(("auto-aof-rewrite", "hash-max"))
        for part in (f"--{name}", value)
    ]


@asynccontextmanager
async def cluster(**settings: Any) -> AsyncIterator[tuple[GatewayCluster, str]]:
    """A gateway without processes on a Valkey of its own, and the URL of the inference server."""
    with tempfile.TemporaryDirectory() as folder:
        valkey = ValkeyServer(Path(folder) / "valkey", *valkey_options())
        try:
            async with inference_server() as url:
                found = GatewayCluster(
                    Path(folder), valkey, url, pod_concurrency=64, lease=60.0, **settings
                )
                try:
                    yield found, url
                finally:
                    await found.close()
        finally:
            valkey.close()


def port_of(process: GatewayProcess) -> int:
    return int(process.public_url.rpartition(":")[2])


def memory_of(process: GatewayProcess) -> float:
    """Resident MiB."""
    return float(_process_of(process).memory_info().rss / 2**20)


def _process_of(process: GatewayProcess) -> psutil.Process:
    assert process._process is not None
    return psutil.Process(process._process.pid)


async def most(port: int, seconds: float = SECONDS) -> float:
    load = Load(port, make_request(make_body()), connections=64)
    try:
        return await load.run_closed(seconds)
    finally:
        load.close()


async def at_rate(port: int, rate: float, seconds: float) -> Load:
    load = Load(port, make_request(make_body()), connections=128)
    try:
        await load.run(rate, seconds)
    finally:
        load.close()
    assert set(load.statuses) == {202}, load.statuses
    return load


async def measure_accept() -> Figures:
    """Two processes: accepting and delivering."""
    async with cluster(max_depth=10_000_000) as (gateway, _):
        accept = await gateway.start("accept", "accept")
        await gateway.start("deliver", "deliver")
        store = gateway.open_store()
        await store.open()
        # First: after 100,000 tasks Valkey rewrites its file, which takes one of the two cores.
        load = await at_rate(port_of(accept), RATE, 2 * SECONDS)
        while (await store.counts()).backlog:
            await asyncio.sleep(0.01)
        await gateway.kill("deliver")
        per_second = await most(port_of(accept))
        deliver = await gateway.start("deliver", "deliver")
        began, open_tasks = time.perf_counter(), (await store.counts()).backlog
        while (await store.counts()).backlog:
            await asyncio.sleep(0.05)
        drained = open_tasks / (time.perf_counter() - began)
        completed = (await store.counts()).completed
        await store.close()
        return {
            "accept_per_s": per_second,
            "accept_p50_ms": load.percentile(0.5),
            "accept_p99_ms": load.percentile(0.99),
            "accept_worst_ms": load.percentile(1.0),
            "end_to_end_per_s": drained,
            "completed": completed,
            "accept_process_mib": memory_of(accept),
            "deliver_process_mib": memory_of(deliver),
        }


async def measure_sqlite() -> Figures:
    """One process that accepts, while its queue is paused, then one that delivers, too."""
    with tempfile.TemporaryDirectory() as folder:
        async with inference_server() as url:
            process = GatewayProcess(
                Path(folder),
                upstreams=[url],
                pod_concurrency=64,
                max_depth=10_000_000,
                store=f"sqlite:{folder}/tasks.db",
            )
            try:
                await process.start()
                await _post(process, "queue/pause")
                per_second = await most(port_of(process))
                await _post(process, "queue/resume")
                await _wait_until_empty(process)
                load = await at_rate(port_of(process), RATE, SECONDS)
                await _wait_until_empty(process)
                return {
                    "sqlite_per_s": per_second,
                    "sqlite_p50_ms": load.percentile(0.5),
                    "sqlite_p99_ms": load.percentile(0.99),
                    "sqlite_process_mib": memory_of(process),
                }
            finally:
                await process.close()


async def measure_through() -> Figures:
    """A synchronous request through the gateway and straight to the server, by turns."""
    async with cluster() as (gateway, url):
        accept = await gateway.start("accept", "accept")
        ports = {"through": port_of(accept), "bare": int(url.rpartition(":")[2])}
        times: dict[str, list[float]] = {name: [] for name in ports}
        request = make_request(make_body(), is_async=False)
        for _ in range(10):
            for name, port in ports.items():
                load = Load(port, request, connections=8)
                await load.run(200, 1.0)
                load.close()
                assert set(load.statuses) == {200}, load.statuses
                times[name] += load.seconds
        medians = {name: statistics.median(each) * 1e3 for name, each in times.items()}
        return {
            "through_ms": medians["through"],
            "bare_ms": medians["bare"],
            "through_added_ms": medians["through"] - medians["bare"],
        }


async def measure_two() -> Figures:
    """Two gateways on one Valkey, each of two processes, at once."""
    async with cluster(max_depth=10_000_000) as (gateway, _):
        accept = [await gateway.start(f"accept{number}", "accept") for number in range(2)]
        for number in range(2):
            await gateway.start(f"deliver{number}", "deliver")
        store = gateway.open_store()
        await store.open()
        began = time.perf_counter()
        rates = await asyncio.gather(*(most(port_of(one)) for one in accept))
        while (await store.counts()).backlog:
            await asyncio.sleep(0.05)
        counts, seconds = await store.counts(), time.perf_counter() - began
        await store.close()
        return {
            "two_accept_per_s": sum(rates),
            "two_end_to_end_per_s": counts.completed / seconds,
        }


async def measure_follow() -> Figures:
    """What a client that follows tasks and the queue costs at full throughput: processor time of
    the gateway and of Valkey for a task, with the client and without it by turns."""
    async with cluster(max_depth=10_000_000) as (gateway, _):
        accept = await gateway.start("accept", "accept")
        await gateway.start("deliver", "deliver")
        store = gateway.open_store()
        await store.open()
        measured = [_process_of(one) for one in gateway.processes.values()]
        measured.append(psutil.Process(_read_number(gateway.valkey, "server", "process_id")))
        cpu: tuple[list[float], list[float]] = ([], [])
        rates: tuple[list[float], list[float]] = ([], [])
        share = 1.0
        for number in range(2 * FOLLOW_ROUNDS):
            is_followed = number % 2
            done = (await store.counts()).completed
            async with AsyncExitStack() as stack:
                events = None
                if is_followed:
                    events = await stack.enter_async_context(follower(accept.admin_url))
                used, began = _cpu_seconds(measured), time.perf_counter()
                await most(port_of(accept), FOLLOW_SECONDS)
                while (await store.counts()).backlog:
                    await asyncio.sleep(0.02)
                seconds = time.perf_counter() - began
                tasks = (await store.counts()).completed - done
                cpu[is_followed].append((_cpu_seconds(measured) - used) / tasks * 1e6)
                rates[is_followed].append(tasks / seconds)
                await asyncio.sleep(1.0)  # for the last events
            if events is not None:
                share = min(share, events[0] / (3 * tasks))
        await store.close()
        more = [with_it / without - 1 for without, with_it in zip(*cpu, strict=True)]
        return {
            "follow_cpu_percent": 100 * statistics.median(more),
            "follow_task_cpu_us": statistics.median(cpu[1]),
            "unfollowed_task_cpu_us": statistics.median(cpu[0]),
            "follow_end_to_end_per_s": statistics.median(rates[1]),
            "unfollowed_end_to_end_per_s": statistics.median(rates[0]),
            "follow_least_share_of_events": share,
        }


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    times = [one.cpu_times() for one in processes]
    return sum(one.user + one.system for one in times)


async def measure_stored() -> Figures:
    """A million tasks that wait."""
    async with cluster(max_depth=10_000_000) as (gateway, _):
        store = gateway.open_store()
        await store.open()
        body = make_body()
        before = _used_memory(gateway.valkey)
        await _fill(store, 300_000, body)
        restart = time.perf_counter()
        await asyncio.to_thread(gateway.valkey.ask, "BGREWRITEAOF")
        while "aof_rewrite_in_progress:0" not in gateway.valkey.ask("INFO", "persistence"):
            await asyncio.sleep(0.1)
        rewritten = time.perf_counter()
        await asyncio.to_thread(gateway.valkey.restart)
        restart = time.perf_counter() - rewritten
        await _fill(store, 700_000, body)
        a_task = (_used_memory(gateway.valkey) - before) / 1_000_000 - len(body)
        accept = await gateway.start("accept", "accept")
        times = []
        async with aiohttp.ClientSession() as session:
            for _ in range(50):
                began = time.perf_counter()
                async with session.get(f"{accept.admin_url}/-/async/tasks?limit=50") as response:
                    assert len((await response.json())["items"]) == 50
                times.append((time.perf_counter() - began) * 1e3)
        await store.close()
        return {
            "stored_bytes_a_task": a_task,
            "stored_first_page_ms": statistics.median(times),
            "restart_300k_s": restart,
        }


async def _fill(store: TaskStore, count: int, body: bytes) -> None:
    identity = Identity(bytes(32))
    head = msgspec.json.encode(RequestHead(path="/v1/chat/completions", model="m"))

    async def submit(number: int) -> None:
        for _ in range(number):
            task = NewTask(
                id=identity.new_id(""),
                owner="",
                lifetime=1e6,
                max_attempts=3,
                head=head,
                body=Content(body, size=len(body)),
            )
            await store.submit(task, 10_000_000)

    await asyncio.gather(*(submit(count // 500) for _ in range(500)))


def _used_memory(valkey: ValkeyServer) -> int:
    return _read_number(valkey, "memory", "used_memory")


def _read_number(valkey: ValkeyServer, section: str, name: str) -> int:
    return int(valkey.ask("INFO", section).partition(f"{name}:")[2].split("\r\n")[0])


async def _post(process: GatewayProcess, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{process.admin_url}/-/async/{path}")
        response.raise_for_status()


async def _wait_until_empty(process: GatewayProcess) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{process.admin_url}/-/async/queue") as response:
                if not (await response.json())["backlog"]:
                    return
            await asyncio.sleep(0.05)


PARTS: dict[str, Callable[[], Awaitable[Figures]]] = {
    "accept": measure_accept,
    "sqlite": measure_sqlite,
    "through": measure_through,
    "two": measure_two,
    "stored": measure_stored,
    "follow": measure_follow,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART")
    wanted = parser.parse_args().parts or list(PARTS)
    if wanted == ["stub"]:
        uvloop.run(_serve_stub())
        return 0
    if wanted[0] == "follower":
        uvloop.run(_follow(wanted[1]))
        return 0
    if unknown := set(wanted) - PARTS.keys():
        parser.error(f"there is no part {', '.join(unknown)}")
    found: Figures = {}
    for one in wanted:
        figures = uvloop.run(_measured(one))
        print(json.dumps({key: round(value, 2) for key, value in figures.items()}), flush=True)
        found |= figures
    missed = [
        f"{name}: {found[name]:.2f}, budget {kind} {limit:g}"
        for name, (kind, limit) in BUDGETS.items()
        if name in found and (found[name] < limit if kind == "min" else found[name] > limit)
    ]
    print("\n".join(missed) or "all budgets are met")
    return bool(missed)


async def _measured(part: str) -> Figures:
    return await PARTS[part]()


if __name__ == "__main__":
    sys.exit(main())
