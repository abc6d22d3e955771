"""Decisions from what the watches bring, with changes that come late, twice or never."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from servedeck.cluster.http.errors import ApiError, ConnectionFailedError
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.cluster.watch.store import RecordStore
from servedeck.controller.condition_writer import ConditionWriter
from servedeck.controller.groups import PodGroups
from servedeck.controller.metrics import ControllerMetrics
from servedeck.controller.pod_events import EventRecorder
from servedeck.controller.records import DEPLOYMENTS, PODS, REPLICA_SETS
from servedeck.controller.temperature_control import RETRY_SECONDS, TemperatureControl
from servedeck.controller.temperatures import Temperatures
from servedeck.metrics.errors import MetricsError
from servedeck.metrics.prometheus import HttpAnswer, PrometheusClient
from servedeck.serving.temperature import TEMPERATURE_ANNOTATION, TEMPERATURE_GATE
from tests.controller.fake_api import FakeApi
from tests.waiting import TimeSkipper, wait_until

INTERVAL = 15.0
PODS_PATH = "/api/v1/namespaces/chat/pods"


class FakePrometheus:
    """Answers with temperatures by the name of the Pod."""

    display_name = "Prometheus at test"

    def __init__(self) -> None:
        self.temperatures: dict[str, float | str] = {}
        self.fail = False
        self.queries = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def get(self, _path: str, _params: object, _max_bytes: int) -> HttpAnswer:
        self.queries += 1
        await self.answers.wait()
        if self.fail:
            raise MetricsError("Prometheus at test does not answer.")
        result = [
            {"metric": {"namespace": "chat", "pod": name}, "value": [0, str(value)]}
            for name, value in self.temperatures.items()
        ]
        # one without a Pod, as of an idle device
        result.append({"metric": {}, "value": [0, "99"]})
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return HttpAnswer(200, json.dumps(body).encode())

    async def close(self) -> None: ...


class Rig:
    """A control whose watches bring only what a test says."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.prometheus = FakePrometheus()
        self.groups = PodGroups(self.api.connection, None)
        self.metrics = ControllerMetrics()
        self.may_act = True
        connection = self.api.connection
        self.skip = TimeSkipper(asyncio.get_running_loop())
        self.temperatures = Temperatures(
            PrometheusClient(self.prometheus), 120, clock=lambda: asyncio.get_running_loop().time()
        )
        self.control = TemperatureControl(
            connection,
            self.groups,
            self.temperatures,
            ConditionWriter(connection, EventRecorder(connection, "me"), self.metrics),
            self.metrics,
            lambda: self.may_act,
            INTERVAL,
        )
        self._stores = {
            kind.plural: RecordStore(kind, self.groups.on_change)
            for kind in (DEPLOYMENTS, REPLICA_SETS, PODS)
        }

    def bring(self, kind: ResourceKind, value: Mapping[str, Any]) -> None:
        """A change by the watch."""
        self._stores[kind.plural].put(json.dumps(value).encode())  # type: ignore[arg-type]

    def sync(self, *kinds: ResourceKind) -> None:
        """The first lists are complete."""
        for kind in kinds or (DEPLOYMENTS, REPLICA_SETS, PODS):
            self.groups.on_change(RecordChange(kind, "SYNC", None))

    def deployment(self, policy: str = "threshold=85,recovery=75,seconds=60") -> None:
        meta = make_meta("llama", "Deployment") | {
            "annotations": {TEMPERATURE_ANNOTATION: policy},
            "resourceVersion": str(len(self.api.log) + 1000),
        }
        self.bring(DEPLOYMENTS, {"metadata": meta})

    def replica_set(self) -> None:
        self.bring(REPLICA_SETS, {"metadata": make_meta("llama-1", "ReplicaSet", "llama")})

    def pod(
        self,
        name: str,
        *,
        ready: bool = True,
        owner: str = "llama-1",
        gates: Sequence[str] = (TEMPERATURE_GATE,),
        **metadata: object,
    ) -> None:
        """A Pod as a kubelet has reported it. The conditions of other gates are missing."""
        stored = self.api.put(
            f"{PODS_PATH}/{name}",
            {
                "metadata": make_meta(name, "Pod", owner) | metadata,
                "spec": {"readinessGates": [{"conditionType": one} for one in gates]},
            },
        )
        conditions = stored.setdefault("status", {}).setdefault("conditions", [])
        gate = [one for one in conditions if one["type"] == TEMPERATURE_GATE]
        is_open = bool(gate) and gate[0]["status"] == "True" and len(gates) == 1
        stored["status"]["conditions"] = [
            *gate,
            {"type": "ContainersReady", "status": str(ready)},
            {"type": "Ready", "status": str(ready and is_open)},
        ]
        self.bring(PODS, stored)

    def gate(self, name: str) -> dict[str, Any]:
        """The condition in the API server."""
        conditions = self.api.objects[f"{PODS_PATH}/{name}"]["status"]["conditions"]
        found = [one for one in conditions if one["type"] == TEMPERATURE_GATE]
        return found[0] if found else {}

    def reasons(self, *names: str) -> list[str]:
        return [self.gate(one).get("reason", "") for one in names]

    async def next_query(self, **temperatures: float | str) -> None:
        """The next answers of Prometheus, two of them, so that the first one was acted on."""
        self.prometheus.temperatures = dict(temperatures)
        for _ in range(2):
            count = self.prometheus.queries
            self.skip(INTERVAL)
            await wait_until(lambda count=count: self.prometheus.queries > count)
        await self.settle()

    async def settle(self) -> None:
        """Let everything run that does not wait for a test."""
        for _ in range(200):
            await asyncio.sleep(0)

    async def serve(self, *names: str) -> None:
        """A serving with these Pods, all Ready."""
        self.deployment()
        self.replica_set()
        for one in names:
            self.pod(one)
        self.sync()
        await wait_until(lambda: all(self.reasons(*names)), str(names))
        for one in names:
            self.pod(one)


def make_meta(name: str, kind: str, owner: str = "") -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": "chat", "uid": f"{kind}-{name}"}
    if owner:
        owner_kind = "Deployment" if kind == "ReplicaSet" else "ReplicaSet"
        reference = {"kind": owner_kind, "name": owner, "uid": f"{owner_kind}-{owner}"}
        meta["ownerReferences"] = [reference | {"controller": True}]
    return meta


@asynccontextmanager
async def acting(rig: Rig) -> AsyncIterator[None]:
    running = asyncio.create_task(rig.control.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """One that acts."""
    rig = Rig()
    async with acting(rig):
        yield rig


async def test_a_new_pod_does_not_wait_for_the_next_query(rig: Rig) -> None:
    await rig.serve("a")
    count = rig.prometheus.queries
    rig.pod("b", ready=False)
    await wait_until(lambda: rig.reasons("b") == ["Unknown"])
    assert rig.prometheus.queries == count and rig.gate("b")["status"] == "True"


async def test_a_decision_counts_before_the_watch_tells_it(rig: Rig) -> None:
    """Both Pods become hot one after the other, and the watch lags behind."""
    await rig.serve("a", "b")
    await rig.next_query(a=91, b=60)
    assert rig.reasons("a", "b") == ["Hot", "Normal"]
    await rig.next_query(a=91, b=95)
    assert rig.reasons("a", "b") == ["Hot", "LastReadyPod"]


async def test_nothing_is_decided_before_all_is_known(rig: Rig) -> None:
    """A Pod of which the others have not come yet would count as the last one."""
    rig.prometheus.temperatures = {"a": 91}
    rig.deployment()
    rig.replica_set()
    rig.pod("a")
    await rig.next_query(a=91)
    assert rig.reasons("a") == [""]
    rig.sync(DEPLOYMENTS, REPLICA_SETS)
    await rig.next_query(a=91)
    assert rig.reasons("a") == [""]
    rig.pod("b")
    rig.sync(PODS)
    await wait_until(lambda: rig.reasons("b") == ["Unknown"])


async def test_a_pod_whose_deployment_comes_later_is_not_off(rig: Rig) -> None:
    rig.sync()
    rig.pod("a")
    await rig.next_query(a=60)
    rig.replica_set()
    await rig.next_query(a=60)
    assert rig.reasons("a") == [""]
    rig.deployment()
    await wait_until(lambda: rig.reasons("a") == ["Normal"])


async def test_who_begins_to_act_asks_first() -> None:
    """What the one before has decided is not undone for a temperature that is not known yet."""
    rig = Rig()
    rig.prometheus.answers.clear()
    rig.deployment()
    rig.replica_set()
    for one in ("a", "b"):
        rig.pod(one)
    gate = {"type": TEMPERATURE_GATE, "status": "False", "reason": "Hot"}
    rig.api.objects[f"{PODS_PATH}/a"]["status"]["conditions"].append(gate)
    rig.pod("a")
    rig.sync()
    async with acting(rig):
        await wait_until(lambda: rig.prometheus.queries == 1)
        await rig.settle()
        assert rig.api.writes() == []
        rig.prometheus.temperatures = {"a": 80, "b": 60}
        rig.prometheus.answers.set()
        await wait_until(lambda: rig.reasons("a", "b") == ["Hot", "Normal"])


async def test_pods_that_are_being_deleted_do_not_count(rig: Rig) -> None:
    await rig.serve("a", "b")
    await rig.next_query(a=60, b=60)
    rig.pod("b", deletionTimestamp="2026-11-30T12:00:00Z")
    await rig.next_query(a=91, b=60)
    assert rig.reasons("a", "b") == ["LastReadyPod", "Normal"]


async def test_a_pod_with_another_closed_gate_could_not_serve(rig: Rig) -> None:
    await rig.serve("a", "b", "c")
    await rig.next_query(a=91, b=95, c=60)
    rig.pod("a", gates=(TEMPERATURE_GATE, "example.com/other"))
    rig.pod("b")
    rig.pod("c", ready=False)
    await rig.next_query(a=91, b=95, c=60)
    assert rig.reasons("a", "b") == ["Hot", "LastReadyPod"]


async def test_gates_of_pods_without_a_deployment_are_open(rig: Rig) -> None:
    await rig.serve("a")
    rig.pod("alone", owner="")
    await wait_until(lambda: rig.reasons("alone") == ["Off"])
    rig.pod("bare", owner="rollout-1")
    await rig.next_query()
    assert rig.reasons("bare") == [""]
    rig.bring(REPLICA_SETS, {"metadata": make_meta("rollout-1", "ReplicaSet")})
    await wait_until(lambda: rig.reasons("bare") == ["Off"])


async def test_who_may_not_act_writes_nothing(rig: Rig) -> None:
    await rig.serve("a", "b")
    rig.may_act = False
    written = len(rig.api.writes())
    await rig.next_query(a=91, b=60)
    assert len(rig.api.writes()) == written
    rig.may_act = True
    await rig.next_query(a=91, b=60)
    assert rig.reasons("a", "b") == ["Hot", "Normal"]


async def test_nobody_is_taken_out_while_the_pods_are_not_watched(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.serve("a", "b", "c")
    await rig.next_query(a=91, b=60, c=60)
    with monkeypatch.context() as patched:
        patched.setattr(PodGroups, "problem", "The server does not answer.")
        await rig.next_query(a="NaN", b=95, c=60)
        # but who may return does
        assert rig.reasons("a", "b") == ["Unknown", "Normal"]
    await rig.next_query(a=60, b=95, c=60)
    assert rig.reasons("a", "b") == ["Normal", "Hot"]


@pytest.mark.parametrize(
    "error", [ConnectionFailedError("No way."), ApiError(429, "TooManyRequests", "slowly")]
)
async def test_a_condition_that_could_not_be_written_is_tried_again(
    rig: Rig, error: Exception
) -> None:
    await rig.serve("a")
    rig.api.fail = error
    rig.pod("b", ready=False)
    page = rig.metrics.page
    await wait_until(lambda: b"writes_failed_total 1.0" in page())
    rig.api.fail, count = None, rig.prometheus.queries
    rig.skip(RETRY_SECONDS)
    await wait_until(lambda: rig.reasons("b") == ["Unknown"])
    assert rig.prometheus.queries == count


async def test_a_temperature_that_only_changes_is_not_written_again(rig: Rig) -> None:
    await rig.serve("a", "b")
    await rig.next_query(a=91, b=60)
    written = len(rig.api.writes("/status"))
    await rig.next_query(a=95, b=65)
    assert len(rig.api.writes("/status")) == written
    await rig.next_query(a=80, b=65)
    assert rig.gate("a")["message"] == "80 °C, below 85 °C; it gets requests again at 75 °C"


async def test_the_time_of_the_change_stays_while_the_status_does(rig: Rig) -> None:
    await rig.serve("a", "b")
    await rig.next_query(a=91, b=60)
    [path] = [one for one in rig.api.objects if one.endswith("/a")]
    [gate] = [
        one
        for one in rig.api.objects[path]["status"]["conditions"]
        if one["type"] == TEMPERATURE_GATE
    ]
    gate["lastTransitionTime"] = "2026-01-02T03:04:05Z"
    rig.pod("a")
    await rig.next_query(a=80, b=60)
    assert rig.gate("a")["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert rig.gate("a")["message"] == "80 °C, below 85 °C; it gets requests again at 75 °C"


async def test_answers_are_used_until_they_are_too_old(rig: Rig) -> None:
    await rig.serve("a", "b")
    await rig.next_query(a=91, b=60)
    rig.prometheus.fail = True
    await rig.next_query()
    assert rig.reasons("a") == ["Hot"]
    assert rig.temperatures.problem == "Prometheus at test does not answer."
    assert b"queries_failed_total 2.0" in rig.metrics.page()
    rig.skip(120)
    await wait_until(lambda: rig.reasons("a") == ["Unknown"])


async def test_what_was_known_before_is_not_used_by_the_next_leader(rig: Rig) -> None:
    rig.prometheus.temperatures = {"a": 91}
    await rig.temperatures.read()
    assert rig.temperatures.current == {("chat", "a"): 91.0}
    rig.temperatures.forget()
    assert rig.temperatures.current == {}


async def test_the_metrics_are_those_of_who_acts(rig: Rig) -> None:
    page: Callable[[], str] = lambda: rig.metrics.page().decode()  # noqa: E731
    await rig.serve("a", "b")
    await rig.next_query(a=91, b=60)
    await wait_until(lambda: 'servedeck_controller_pods{reason="Hot"} 1.0' in page())
    assert "servedeck_controller_leader 1.0" in page()
    assert "servedeck_controller_temperatures 2.0" in page()
