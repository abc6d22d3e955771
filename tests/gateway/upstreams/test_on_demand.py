"""Upstreams that are followed when somebody asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from servedeck.gateway.upstreams.upstreams import OnDemandUpstreams
from tests.waiting import wait_until, with_timeout


class Inner:
    problem = "No Pod is Ready."

    def __init__(self) -> None:
        self.ready: Mapping[str, str] = {}
        self.listeners: list[Callable[[], None]] = []
        self.is_known = asyncio.Event()

    def on_change(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)

    async def wait_until_known(self) -> None:
        await self.is_known.wait()

    async def run(self) -> None:
        await asyncio.Event().wait()


async def test_it_is_made_when_somebody_asks() -> None:
    made: list[Inner] = []

    def make() -> Inner:
        made.append(Inner())
        return made[-1]

    upstreams = OnDemandUpstreams(make)
    changes: list[object] = []
    upstreams.on_change(lambda: changes.append(dict(upstreams.ready)))
    running = asyncio.create_task(upstreams.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not made
    waiting = asyncio.create_task(upstreams.wait_until_known())
    await wait_until(lambda: bool(made and made[0].listeners))
    assert not waiting.done()
    assert upstreams.problem == "No Pod is Ready."
    made[0].ready = {"a": "http://10.0.0.1:8000"}
    for listener in made[0].listeners:
        listener()
    made[0].is_known.set()
    await with_timeout(waiting)
    assert upstreams.ready == {"a": "http://10.0.0.1:8000"}
    assert changes == [upstreams.ready]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(made) == 1


async def test_a_look_at_what_is_ready_is_a_wish_too() -> None:
    upstreams = OnDemandUpstreams(Inner)
    running = asyncio.create_task(upstreams.run())
    assert upstreams.ready == {}
    await wait_until(lambda: upstreams.problem == Inner.problem)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
