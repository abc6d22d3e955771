"""An error in one controller ends neither the others nor the clock, and a state with what causes it
can be loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from servedeck.demo.clock import Clock
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.controllers.base import WorkQueue
from servedeck.demo.faults import FaultIsolation
from servedeck.demo.resources import (
    BACKEND_TRAFFIC_POLICIES,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    NAMESPACES,
    PODS,
    SCALED_OBJECTS,
)
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.objects import Json
from servedeck.demo.store.store import ObjectStore
from tests.demo.cluster_fixture import START


def fail() -> None:
    raise ValueError("a controller's error")


def test_a_timer_that_fails_ends_neither_the_clock_nor_the_other_timers() -> None:
    clock, called = Clock(START, isolation=FaultIsolation()), []
    for seconds in (1, 3):
        clock.call_later(seconds, lambda: called.append(clock.time() - START))
    clock.call_later(2, fail)
    clock.advance(5)
    assert called == [1, 3]
    assert clock.time() == START + 5


def test_each_error_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    isolation = FaultIsolation()

    def another() -> None:
        raise ValueError("on another line")

    parts: tuple[Callable[[], None], ...] = (fail, fail, another, fail, another)
    with caplog.at_level(logging.ERROR, "servedeck.demo.faults"):
        for part in parts:
            isolation(part)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "a controller's error",
        "on another line",
    ]


def test_a_listener_that_fails_keeps_no_other_from_a_change_and_no_client_from_a_write() -> None:
    store, seen = ObjectStore(isolation=FaultIsolation()), []

    def note(change: StoreChange) -> None:
        seen.append(change.object["metadata"]["name"])

    def reject(change: StoreChange) -> None:
        fail()

    store.subscribe(reject, NAMESPACES)
    store.subscribe(note, NAMESPACES)
    store.create(NAMESPACES, {"metadata": {"name": "a"}})
    store.create(NAMESPACES, {"metadata": {"name": "b"}})
    assert seen == ["a", "b"]


def test_work_that_failed_is_tried_again_after_growing_pauses() -> None:
    clock, times = Clock(START, isolation=FaultIsolation()), []

    def work(key: tuple[str, str]) -> None:
        times.append(clock.time() - START)
        if len(times) < 4:
            fail()

    WorkQueue(clock, work).add(("a", "b"))
    clock.advance(3600)
    assert times == pytest.approx([0, 0.005, 0.015, 0.035], abs=1e-4)


INVALID = [
    (HTTP_ROUTES, {"spec": "x"}),
    (HTTP_ROUTES, {"spec": {"rules": [1], "parentRefs": "x"}}),
    (SCALED_OBJECTS, {"spec": "x"}),
    (BACKEND_TRAFFIC_POLICIES, {"spec": ["x"]}),
    (INFERENCE_POOLS, {"spec": {"selector": ["a"]}}),
    (HTTP_ROUTES, {"spec": {}, "status": "x"}),
    (HTTP_ROUTES, {"spec": {}, "status": {"parents": [5]}}),
    (SCALED_OBJECTS, {"spec": {"scaleTargetRef": {"name": "a"}, "triggers": []}, "status": "x"}),
    (BACKEND_TRAFFIC_POLICIES, {"spec": {}, "status": {"ancestors": [{"conditions": "x"}]}}),
]
UNREADABLE_POD: Json = {
    "metadata": {"name": "odd", "namespace": "chat"},
    "spec": {"nodeName": 5, "containers": "x"},
    "status": {"phase": "Running"},
}


@pytest.fixture
def odd_state(tmp_path: Path) -> Path:
    """A saved state with objects that no controller expects, as an older demo accepted them."""
    path = tmp_path / "state.json"
    store = ObjectStore()
    for name in ("chat", "kube-system"):
        store.create(NAMESPACES, {"metadata": {"name": name}})
    for number, (resource, body) in enumerate(INVALID):
        meta = {"name": f"odd-{number}", "namespace": "chat"}
        new: Json = {"metadata": meta, **body}
        store.create(resource, new)
    store.create(PODS, UNREADABLE_POD)
    store.dump(path)
    return path


async def test_a_state_with_odd_objects_is_loaded_and_the_clock_goes_on(
    odd_state: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with DemoCluster(state=odd_state, live=False) as demo:
        for resource in (HTTP_ROUTES, SCALED_OBJECTS, BACKEND_TRAFFIC_POLICIES, INFERENCE_POOLS):
            assert not demo.store.list(resource)
        assert demo.store.find(PODS, "chat", "odd") is not None
        assert "odd-1 is left out" in capsys.readouterr().err
        pod: Json = {
            "metadata": {"name": "new", "namespace": "chat"},
            "spec": {"containers": [{"name": "a", "image": "b"}]},
        }
        demo.store.create(PODS, pod)
        demo.clock.advance(60)
        conditions = demo.store.get(PODS, "chat", "new")["status"]["conditions"]
        assert [one["type"] for one in conditions] == ["PodScheduled"]
    assert "servedeck.demo.faults" in {record.name for record in caplog.records}
