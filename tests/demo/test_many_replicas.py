"""Thousands of replicas: the work grows with their number, in small steps."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from types import FrameType

from servedeck.demo.clock import Clock
from servedeck.demo.resources import PODS, RESOURCEQUOTAS
from tests.demo.cluster_fixture import START, ClusterFixture
from tests.waiting import wait_until


def count_calls(work: Callable[[], object]) -> int:
    """The Python functions that are called meanwhile, as a measure that no load changes."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def scale(cluster: ClusterFixture, replicas: int) -> None:
    cluster.edit(lambda obj: obj["spec"].update(replicas=replicas))


def cost_of(replicas: int) -> int:
    cluster = ClusterFixture()
    for number in range(4):
        cluster.node(f"gpu-{number}", gpus=8)
    hard = {"pods": "5000", "requests.cpu": "50000"}
    quota = {"metadata": {"name": "q", "namespace": "lab"}, "spec": {"hard": hard}}
    cluster.create(RESOURCEQUOTAS, quota)
    cluster.deploy()
    cluster.advance(60)

    def work() -> None:
        scale(cluster, replicas)
        cluster.advance(20)
        assert len(cluster.pods()) == replicas
        scale(cluster, 1)
        cluster.advance(60)

    return count_calls(work)


def test_the_work_grows_with_the_number_of_replicas() -> None:
    assert cost_of(400) < 4.5 * cost_of(100)


def test_a_controller_creates_and_deletes_at_most_500_pods_at_a_stretch() -> None:
    cluster = ClusterFixture()
    steps: list[int] = []

    def note(part: Callable[[], None]) -> None:
        before = len(cluster.store._objects[PODS])
        part()
        steps.append(len(cluster.store._objects[PODS]) - before)

    cluster.clock._isolation = note
    cluster.deploy(replicas=1200)
    cluster.advance(1)
    scale(cluster, 0)
    cluster.advance(1)
    assert [step for step in steps if step > 0] == [500, 500, 200]
    assert [step for step in steps if step < 0] == [-500, -500, -200]


async def test_the_event_loop_has_its_turns_while_many_timers_are_due() -> None:
    clock, done, turns = Clock(START), [], 0
    for _ in range(200):
        clock.call_later(0, lambda: done.append(time.sleep(0.001)))
    clock.start()
    while len(done) < 200:
        await asyncio.sleep(0)
        turns += 1
    clock.stop()
    assert turns >= 5


async def test_cancelled_timers_take_no_memory() -> None:
    clock = Clock(START)
    for _ in range(20_000):
        clock.call_later(300, lambda: None).cancel()
    assert len(clock._heap) < 10_000
    clock.start()
    called: list[int] = []
    clock.call_later(0, lambda: called.append(1))
    await wait_until(lambda: bool(called))
    clock.stop()
