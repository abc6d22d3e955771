"""What a serving has to do at the moment, in the dialogs of changes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from servedeck.changes.operations.operation import OperationKind, OperationPlan
from servedeck.fleet.views import NamespacedName
from servedeck.metrics.load import ServingLoad
from tests.tui.edit_form import KEY, EditDriver
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tests.tui.operations import LLAMA, MISTRAL, make_source, open_dialog, operation, operations_app
from tests.tui.operations import patch_plan as make_plan
from tui import serving_loads
from tui.serving_loads import ServingLoads

RESTART = operation(OperationKind.RESTART)
FIRST = ServingLoad(1.3, 9, "pods", 2.0, 3, 3)
SECOND = ServingLoad(1.5, 8, "pods", 10.0, 3, 3)
FIRST_SENTENCE = "It handles about 1 request per second (3 in 2.0 s); 9 in progress."
SECOND_SENTENCE = "It handles about 1.5 requests per second (15 in 10.0 s); 8 in progress."


def patch_plan(*args: object, **others: object) -> OperationPlan:
    """A plan of a Deployment with replicas."""
    return make_plan(*args, **{"replicas": 2, **others})


class FakeMetricsService:
    """Answers with loads as `put` gives them, one after another for each name."""

    def __init__(self, *loads: ServingLoad) -> None:
        self.asked: list[str] = []
        self._queues: defaultdict[str, asyncio.Queue[ServingLoad]] = defaultdict(asyncio.Queue)
        for one in loads:
            self.put(one)

    def put(self, load: ServingLoad, name: str = LLAMA.name) -> None:
        self._queues[name].put_nowait(load)

    async def read_load(self, key: NamespacedName) -> AsyncIterator[ServingLoad]:
        self.asked.append(str(key))
        while True:
            yield await self._queues[key.name].get()

    async def read_pod_load(self, namespace: str, pod: str) -> AsyncIterator[ServingLoad]:
        self.asked.append(f"Pod {namespace}/{pod}")
        yield await self._queues[pod].get()

    async def close(self) -> None:
        """There is no connection."""


@pytest.fixture
def service(change_service: FakeChangeService) -> FakeChangeService:
    change_service.operation_plans[RESTART] = patch_plan(RESTART, "Its 2 Pods are replaced.")
    return change_service


async def test_the_sentence_is_added_when_it_arrives(service):
    metrics = FakeMetricsService()
    app = operations_app(service, metrics_service=metrics)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods are replaced.")
        assert "per second" not in screen_text(app)
        metrics.put(FIRST)
        await wait_for_text(pilot, FIRST_SENTENCE)
        metrics.put(SECOND)
        await wait_for_text(pilot, SECOND_SENTENCE)
        assert FIRST_SENTENCE not in screen_text(app)
    assert metrics.asked == [str(LLAMA)]


async def test_the_plan_is_confirmed_without_it(service):
    app = operations_app(service, metrics_service=FakeMetricsService())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods are replaced.")
        await pilot.press("y")
        await wait_for_text(pilot, "is changed")


async def test_a_sentence_that_arrives_does_not_take_back_a_choice(service):
    metrics = FakeMetricsService()
    app = operations_app(service, metrics_service=metrics)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods are replaced.")
        await pilot.press("down")
        await wait_for_text(pilot, "enter restart")
        metrics.put(FIRST)
        await wait_for_text(pilot, FIRST_SENTENCE, "enter restart")
        await pilot.press("enter")
        await wait_for_text(pilot, "is changed")


async def test_what_is_not_known_has_no_sentence(service):
    metrics = FakeMetricsService(ServingLoad(reason="No Ready Pod has metrics."))
    app = operations_app(service, metrics_service=metrics)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "r", "Its 2 Pods are replaced.")
        await wait_for(pilot, lambda: metrics.asked, "the question")
        metrics.put(ServingLoad(reason="Prometheus at a gave up.", is_failure=True))
        await wait_for_text(pilot, "Requests per second unknown: Prometheus at a gave up.")


async def test_a_number_of_replicas_that_ends_no_pod_is_not_asked_for(service):
    for number in range(10):
        scale = operation(OperationKind.SCALE, replicas=number)
        service.operation_plans[scale] = patch_plan(
            scale,
            f"2 → {number} replicas.",
            unchanged="It has 2 replicas already." if number == 2 else "",
            needs_confirmation=not number,
            wanted={"spec": {"replicas": number}},
        )
    metrics = FakeMetricsService()
    app = operations_app(service, metrics_service=metrics)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_dialog(pilot, "s", "It has 2 replicas already.")
        await pilot.press("5")
        await wait_for_text(pilot, "2 → 5 replicas.")
        assert metrics.asked == []
        await pilot.press("backspace", "1")
        await wait_for_text(pilot, "2 → 1 replicas.")
        metrics.put(FIRST)
        await wait_for_text(pilot, FIRST_SENTENCE)
        await pilot.press("backspace", "0")
        await wait_for_text(pilot, "2 → 0 replicas.", FIRST_SENTENCE)
        assert metrics.asked == [str(LLAMA)]


async def test_each_of_several_servings_has_its_sentence(service):
    second = operation(OperationKind.RESTART, MISTRAL)
    service.operation_plans[second] = patch_plan(second, "Its Pod is replaced.")
    metrics = FakeMetricsService(FIRST)
    metrics.put(SECOND, MISTRAL.name)
    app = operations_app(service, make_source(), metrics_service=metrics)
    async with app.run_test(size=(100, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        await pilot.press("m", "j", "j", "m", "r")
        await wait_for_text(pilot, FIRST_SENTENCE, SECOND_SENTENCE)
    assert sorted(metrics.asked) == [str(LLAMA), str(MISTRAL)]


async def test_an_old_sentence_is_read_again(monkeypatch):
    begun: list[str] = []
    updates: list[None] = []

    def start(work, group):
        begun.append(group)
        tasks.append(asyncio.ensure_future(work))

    tasks: list[asyncio.Future[None]] = []
    metrics = FakeMetricsService(FIRST)
    loads = ServingLoads(lambda: metrics, start, lambda: updates.append(None))
    plan = patch_plan(operation(OperationKind.RESTART))
    assert loads.of_operation(plan) == ""
    while not updates:
        await asyncio.sleep(0)
    assert loads.of_operation(plan) == FIRST_SENTENCE
    assert len(begun) == 1
    monkeypatch.setattr(serving_loads, "MAX_AGE", -1.0)
    assert loads.of_operation(plan) == FIRST_SENTENCE
    assert len(begun) == 2
    for one in tasks:
        one.cancel()


async def test_of_a_pod_its_own_requests_are_said(service):
    loads = ServingLoads(lambda: metrics, lambda work, _: tasks.append(work), lambda: None)
    tasks: list = []
    metrics = FakeMetricsService(FIRST)
    deletion = replace(patch_plan(operation(OperationKind.DELETE_POD)), replicas=0)
    assert loads.of_operation(deletion) == ""
    await tasks[0]
    assert loads.of_operation(deletion) == FIRST_SENTENCE
    assert metrics.asked == [f"Pod {LLAMA}"]


@pytest.mark.parametrize(
    ("kind", "others", "ends_pods"),
    [
        (OperationKind.RESTART, {}, True),
        (OperationKind.RESTART, {"replicas": 0}, False),
        (OperationKind.RESTART, {"blocked": "No."}, False),
        (OperationKind.DELETE, {}, True),
        (OperationKind.RESUME, {"needs_confirmation": True}, True),
        (OperationKind.RESUME, {"needs_confirmation": False}, False),
        (OperationKind.PAUSE, {}, False),
        (OperationKind.ADOPT, {}, False),
        (OperationKind.START, {}, False),
        (OperationKind.DELETE_POD, {"replicas": 0}, True),
    ],
)
def test_which_operations_end_pods(kind, others, ends_pods):
    assert patch_plan(operation(kind), **others).ends_pods is ends_pods


# -- edits --------------------------------------------------------------------------------------


async def test_the_plan_of_an_edit_says_it(driver: EditDriver) -> None:
    metrics = driver.app.metrics_service = FakeMetricsService()
    await driver.open()
    await driver.retype("image", "mine:1")
    await driver.plan()
    metrics.put(FIRST, KEY.name)
    await driver.wait_for_text(FIRST_SENTENCE)
    assert metrics.asked == [str(KEY)]


async def test_an_edit_that_restarts_no_pod_is_not_asked_for(driver: EditDriver) -> None:
    metrics = driver.app.metrics_service = FakeMetricsService()
    await driver.open()
    await driver.retype("description", "new")
    await driver.plan()
    await driver.wait_for_text("No Pod restarts.")
    assert metrics.asked == []
