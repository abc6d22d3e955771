"""Responsiveness and memory under load."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import tracemalloc
from dataclasses import replace

from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import PODS
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorConfig,
)
from tests.cluster.fake_api_server import (
    FakeApiServer,
    FaultHandler,
    encode_event,
    make_pod,
)
from tests.cluster.watch.reflector_harness import add_pods, run_reflector
from tests.waiting import wait_until


async def test_a_big_list_yields_to_other_tasks(api: FakeApiServer, connection: Connection) -> None:
    padding = {f"f:{index}": {"k:{}": "v" * 60} for index in range(80)}
    for index in range(1000):
        obj = make_pod(f"pod-{index}")
        obj["metadata"]["managedFields"] = [{"fieldsV1": padding}]
        await api.put(obj)
    # built in advance: the server runs on the same loop, and its work must not be measured
    items = list(api.objects.values())
    pages = [
        json.dumps(
            {
                "metadata": {"resourceVersion": str(api.version), "continue": "500" * (not half)},
                "items": items[half * 500 : half * 500 + 500],
            }
        ).encode()
        for half in (0, 1)
    ]
    assert len(pages[0]) > 3_000_000

    taken = 0

    def slow(_: object) -> bool:
        nonlocal taken
        taken += 1
        time.sleep(0.001)  # a page without yielding would take half a second
        return True

    def prepared(body: bytes) -> FaultHandler:
        async def fault(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, content_type="application/json")

        return fault

    api.faults["list"] = [prepared(page) for page in pages]
    most, ended = 0, False

    async def pulse() -> None:
        nonlocal most
        while not ended:
            before = taken
            await asyncio.sleep(0)
            most = max(most, taken - before)

    gc.collect()
    async with run_reflector(
        connection, replace(PODS, record_filter=slow), ReflectorConfig()
    ) as watched:
        task = asyncio.create_task(pulse())
        await wait_until(lambda: len(watched.reflector.records) == 1000)
        ended = True
        await task
    # Counted in objects, which other load on the machine does not increase: the target is 7 ms'
    # worth.
    assert 0 < most < 50


async def test_memory_stays_level_over_100_000_events(
    api: FakeApiServer, connection: Connection
) -> None:
    number, rounds = 500, 200
    await add_pods(api, number)
    tail = b"".join(
        encode_event("MODIFIED", {**make_pod(f"pod-{index}"), "pad": "x" * 300}).replace(
            b'"uid"', b'"resourceVersion": "@", "uid"'
        )
        for index in range(number)
    )
    goes: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]

    async def send_events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for turn in range(rounds):
            if turn == rounds // 4:
                await goes[0].wait()
            await response.write(tail.replace(b"@", str(1000 + turn).encode()))
        await goes[1].wait()
        return response

    api.faults["watch"] = [send_events]
    timings = ReflectorConfig(page_size=500)
    count = 0

    def counted(_: RecordChange) -> None:
        nonlocal count
        count += 1

    reflector = Reflector(connection, PODS, None, counted, lambda _: None, config=timings)
    task = asyncio.create_task(reflector.run())
    tracemalloc.start()
    try:
        await wait_until(lambda: count > number * rounds // 4)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        goes[0].set()
        await wait_until(lambda: count == number * (rounds + 1) + 1)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        goes[1].set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(reflector.records) == number
    assert after - before < 512_000, f"{before} -> {after}"
