"""A Pod that asks for a pause is not sent tasks meanwhile."""

from __future__ import annotations

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.delivery.retry_policy import Result
from servedeck.gateway.delivery.spared_pods import SparedPods
from tests.gateway.delivery.gateway import MakeGateway
from tests.gateway.delivery.inference_server import answers, hangs, serve
from tests.waiting import wait_until

READY = {"a": "http://a", "b": "http://b"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_pod_is_spared_for_as_long_as_it_asks() -> None:
    clock = Clock()
    spared = SparedPods(300.0, clock)
    assert spared.usable(READY) is READY and spared.seconds_left() is None
    assert spared.learn("a", Result(status=503, retry_after=20))
    assert spared.usable(READY) == {"b": "http://b"}
    assert spared.seconds_left() == 20
    clock.now += 5
    assert spared.learn("b", Result(status=503, retry_after=1e9))
    assert spared.usable(READY) == {}
    assert spared.seconds_left() == 15
    clock.now += 15
    assert spared.usable(READY) == {"a": "http://a"}
    assert spared.seconds_left() == 285, "at most the longest"
    clock.now += 285
    assert spared.usable(READY) == READY and spared.seconds_left() is None


@pytest.mark.parametrize(
    "result",
    [
        Result(status=200, retry_after=20),
        Result(status=500, retry_after=20),
        Result(status=429, retry_after=20),  # of one caller
        Result(status=503),
        Result(status=503, retry_after=0),
        Result(problem="It is away."),
    ],
)
def test_other_answers_spare_no_pod(result: Result) -> None:
    spared = SparedPods(300.0)
    assert not spared.learn("a", result)
    assert spared.usable(READY) is READY


def test_a_pod_that_was_not_ready_meanwhile_is_used_again() -> None:
    spared = SparedPods(300.0)
    spared.learn("a", Result(status=503, retry_after=20))
    assert spared.usable({"b": "http://b"}) == {"b": "http://b"}
    assert spared.usable(READY) == READY


def test_the_longest_time_counts() -> None:
    clock = Clock()
    spared = SparedPods(300.0, clock)
    spared.learn("a", Result(status=503, retry_after=100))
    spared.learn("a", Result(status=503, retry_after=5))
    assert spared.seconds_left() == 100


async def test_tasks_go_to_the_other_pods(make_gateway: MakeGateway) -> None:
    async with serve(answers(503, b"", "Retry-After: 4000")) as full, serve(answers()) as good:
        gateway = await make_gateway("", max_backoff=5000, pod_concurrency=2)
        gateway.upstreams.set({"full": full.url})
        async with gateway.running():
            first = await gateway.submit(lifetime=10_000)
            await wait_until(lambda: gateway.store.calls["retry"])
            gateway.upstreams.set({"full": full.url, "good": good.url})
            others = [await gateway.submit() for _ in range(10)]
            for id in others:
                task = await gateway.wait_for(id)
                assert (task.state, task.pod, task.attempt) == (TaskState.COMPLETED, "good", 1)
            assert (await gateway.find(first)).state is TaskState.PENDING
        assert len(full.requests) == 1


async def test_what_a_spared_pod_still_has_takes_no_place_of_others(
    make_gateway: MakeGateway,
) -> None:
    scripts = (hangs(), answers(503, b"", "Retry-After: 4000"))
    async with serve(*scripts) as full, serve(hangs()) as good:
        gateway = await make_gateway(full.url, max_backoff=5000, pod_concurrency=2)
        async with gateway.running():
            for _ in range(2):
                await gateway.submit(lifetime=10_000)
            await wait_until(lambda: gateway.store.calls["retry"])
            gateway.upstreams.set({"pod-0": full.url, "good": good.url})
            for _ in range(2):
                await gateway.submit()
            await wait_until(lambda: len(good.requests) == 2)
            assert len(full.requests) == 2


async def test_tasks_wait_unclaimed_while_all_pods_are_spared(make_gateway: MakeGateway) -> None:
    async with serve(answers(503, b"", "Retry-After: 4000"), answers()) as server:
        gateway = await make_gateway(server.url, max_backoff=5000)
        async with gateway.running():
            await gateway.submit(lifetime=10_000)
            await wait_until(lambda: gateway.store.calls["retry"])
            id = await gateway.submit()
            said = "Each Ready Pod has asked for a pause (Retry-After)."
            await wait_until(lambda: gateway.worker.status.blocked_by == said)
            claims = gateway.store.calls["claim"]
            beats = gateway.store.calls["control"]
            await wait_until(lambda: gateway.store.calls["control"] > beats + 2)
            assert gateway.store.calls["claim"] == claims
            assert (await gateway.find(id)).attempt == 0
            # a new Pod of the same name has asked for nothing
            gateway.upstreams.set({})
            gateway.upstreams.set({"pod-0": server.url})
            assert (await gateway.wait_for(id)).attempt == 1
            await wait_until(lambda: gateway.worker.status.blocked_by == "")


async def test_a_pod_is_used_again_after_its_pause(make_gateway: MakeGateway) -> None:
    async with serve(answers(503, b"", "Retry-After: 0.01"), answers()) as server:
        gateway = await make_gateway(server.url, max_backoff=0.02)
        async with gateway.running():
            task = await gateway.wait_for(await gateway.submit())
            assert (task.state, task.attempt) == (TaskState.COMPLETED, 2)
