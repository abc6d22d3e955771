from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servedeck.demo.api import admission
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.controllers.base import condition_is_true
from servedeck.demo.resources import (
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    PODS,
    REPLICA_SETS,
    RESOURCES,
    SCALED_OBJECTS,
    SECRETS,
)
from servedeck.demo.scenario import cluster_objects
from servedeck.demo.scenario.scenario import Scenario
from servedeck.demo.scenario.servings import VLLM_IMAGE
from servedeck.demo.store.changes import StoreChange
from servedeck.demo.store.store import ObjectStore
from servedeck.serving.temperature import TEMPERATURE_GATE

Json = dict[str, Any]
NOW = 1_795_445_000.0


class ScenarioFixture:
    def __init__(self, seed: int = 3) -> None:
        self.clock = Clock(Scenario.start_time(NOW))
        self.store = ObjectStore(self.clock, seed=seed)
        self.store.admission.append(admission.admit)
        self.history: list[str] = []
        self.store.subscribe(self._note)
        self.controllers = ControllerManager(self.store, self.clock, seed)
        self.scenario = Scenario(self.store, self.clock, self.controllers, seed)
        self.scenario.create_initial_state(NOW)

    def _note(self, change: StoreChange) -> None:
        if change.resource is SECRETS:
            return  # the keys of the async gateways are random
        text = json.dumps(change.object, sort_keys=True)
        self.history.append(f"{self.clock.time()} {change.type} {text}")

    def status(self, namespace: str, name: str) -> Json:
        found: Json = self.store.get(DEPLOYMENTS, namespace, name)["status"]
        return found

    def pods(self, namespace: str, name: str) -> list[Json]:
        return [
            pod
            for pod in self.store.list(PODS, namespace)
            if pod["metadata"]["name"].startswith(f"{name}-")
        ]

    def reasons(self, namespace: str, name: str) -> set[str]:
        return {
            state.get("waiting", {}).get("reason", "")
            for pod in self.pods(namespace, name)
            for status in pod["status"].get("containerStatuses", ())
            for state in (status["state"],)
        }


def test_the_same_seed_gives_the_same_history_and_another_seed_another() -> None:
    fixtures = [ScenarioFixture(seed=3), ScenarioFixture(seed=3), ScenarioFixture(seed=4)]
    for fixture in fixtures:
        fixture.scenario.start_incidents()
        fixture.clock.advance(1800)
    first, second, third = fixtures
    assert len(first.history) > 1500
    assert first.history == second.history
    assert first.scenario.history == second.scenario.history != third.scenario.history


def test_the_initial_state_shows_all_six_states_in_several_namespaces() -> None:
    fixture = ScenarioFixture()
    servings = fixture.store.list(DEPLOYMENTS)
    assert len(servings) >= 12
    assert len({s["metadata"]["namespace"] for s in servings}) >= 5
    assert fixture.status("chat", "llama-31-8b")["readyReplicas"] == 3, "Ready"
    exaone = fixture.status("chat", "exaone-40-32b")
    assert 0 < exaone["readyReplicas"] < exaone["replicas"], "Degraded"
    assert fixture.reasons("search", "qwen3-embedding-8b") == {"CrashLoopBackOff"}, "Error"
    assert fixture.reasons("vision", "qwen25-vl-7b") <= {"ErrImagePull", "ImagePullBackOff"}, (
        "Pending"
    )
    (loading,) = fixture.pods("agents", "qwen3-32b-awq")
    assert loading["status"]["phase"] == "Running", "Starting"
    assert not loading["status"]["containerStatuses"][0]["ready"]
    scaled = fixture.store.get(DEPLOYMENTS, "agents", "gpt-oss-20b")
    assert scaled["spec"]["replicas"] == 0 and not fixture.pods("agents", "gpt-oss-20b"), (
        "Scaled Down"
    )


def test_the_initial_state_is_consistent() -> None:
    fixture = ScenarioFixture()
    uids = {
        obj["metadata"]["uid"]
        for resource in (DEPLOYMENTS, REPLICA_SETS)
        for obj in fixture.store.list(resource)
    }
    for resource in (REPLICA_SETS, PODS):
        for obj in fixture.store.list(resource):
            assert obj["metadata"]["ownerReferences"][0]["uid"] in uids
    for obj in (obj for resource in RESOURCES for obj in fixture.store.list(resource)):
        assert obj["metadata"]["creationTimestamp"] <= fixture.clock.timestamp()
    for event in fixture.store.list(EVENTS):
        last = event["lastTimestamp"] or event["eventTime"]
        assert last >= Clock(NOW - 3601).timestamp(), "Events live for an hour"
    unmanaged = fixture.store.get(DEPLOYMENTS, "research", "mistral-7b")
    assert "servedeck.dev/serving" not in unmanaged["metadata"]["labels"]
    (scaled,) = fixture.store.list(SCALED_OBJECTS)
    assert {c["type"]: c["status"] for c in scaled["status"]["conditions"]}["Ready"] == "True"


def test_routes_are_accepted_and_services_have_endpoints() -> None:
    fixture = ScenarioFixture()
    routes = fixture.store.list(HTTP_ROUTES)
    assert len(routes) >= 12
    for route in routes:
        (parent,) = route["status"]["parents"]
        assert [(c["type"], c["status"]) for c in parent["conditions"]] == [
            ("Accepted", "True"),
            ("ResolvedRefs", "True"),
        ]
    (subset,) = fixture.store.get(ENDPOINTS, "chat", "exaone-40-32b")["subsets"]
    assert len(subset["addresses"]) == 2
    assert subset["ports"] == [{"name": "http", "port": 8000, "protocol": "TCP"}]


def test_an_incident_occurs_about_every_minute_and_all_of_them_recur() -> None:
    fixture = ScenarioFixture()
    fixture.scenario.start_incidents()
    fixture.clock.advance(3600)
    assert 45 <= len(fixture.scenario.history) <= 110
    assert len({line.partition(" ")[2] for line in fixture.scenario.history}) == 11
    gaps = [
        _time(b) - _time(a)
        for a, b in zip(fixture.scenario.history, fixture.scenario.history[1:], strict=False)
    ]
    assert max(gaps) < 240
    oom = [
        e for e in fixture.store.list(EVENTS) if e["reason"] in ("BackOff", "Unhealthy", "Failed")
    ]
    assert oom


def test_a_serving_scales_with_its_load_by_itself() -> None:
    fixture = ScenarioFixture()
    seen: list[int] = []

    def changed(change: StoreChange) -> None:
        meta = change.object["metadata"]
        if (meta["namespace"], meta["name"]) == ("chat", "llama-31-8b"):
            replicas = change.object["spec"]["replicas"]
            if not seen or seen[-1] != replicas:
                seen.append(replicas)

    fixture.store.subscribe(changed, DEPLOYMENTS)
    fixture.clock.advance(2400)
    assert {1, 3} <= set(seen) <= {1, 2, 3}
    assert len(seen) >= 5, "more and fewer, again and again"
    (autoscaler,) = fixture.store.list(HORIZONTAL_POD_AUTOSCALERS)
    assert autoscaler["metadata"]["name"] == "keda-hpa-llama-31-8b"


def test_the_pods_with_a_temperature_policy_are_ready_and_one_gets_hot() -> None:
    fixture = ScenarioFixture()
    pods = fixture.pods("search", "bge-m3")
    assert len(pods) == 2
    for pod in pods:
        assert pod["spec"]["readinessGates"] == [{"conditionType": TEMPERATURE_GATE}]
        assert condition_is_true(pod, TEMPERATURE_GATE) and condition_is_true(pod, "Ready")
    fixture.scenario.start_incidents()
    fixture.clock.advance(300)
    instances = [
        one
        for pod in fixture.pods("search", "bge-m3")
        for one in fixture.controllers.kubelet.instances(pod["metadata"]["uid"])
    ]
    assert sum(bool(one.hot_spells) for one in instances) == 1


def test_the_scenario_repairs_and_breaks_the_same_serving() -> None:
    fixture = ScenarioFixture()
    fixture.scenario.start_incidents()
    seen: list[bool] = []

    def changed(change: StoreChange) -> None:
        meta = change.object["metadata"]
        if (meta["namespace"], meta["name"]) == ("search", "qwen3-embedding-8b"):
            ready = bool(change.object["status"].get("readyReplicas"))
            if not seen or seen[-1] is not ready:
                seen.append(ready)

    fixture.store.subscribe(changed, DEPLOYMENTS)
    fixture.clock.advance(3600)
    assert seen[:3] == [False, True, False] or seen[:3] == [True, False, True]


def test_a_serving_that_an_operator_repairs_recovers_and_is_left_alone() -> None:
    fixture = ScenarioFixture()
    fixture.scenario.start_incidents()

    def repair(obj: Json) -> None:
        container = obj["spec"]["template"]["spec"]["containers"][0]
        container["image"] = VLLM_IMAGE
        container["imagePullPolicy"] = "Always"

    fixture.store.mutate(DEPLOYMENTS, "vision", "qwen25-vl-7b", repair)
    fixture.clock.advance(300)
    assert fixture.status("vision", "qwen25-vl-7b")["readyReplicas"] == 1
    generation = fixture.store.get(DEPLOYMENTS, "vision", "qwen25-vl-7b")["metadata"]["generation"]
    fixture.clock.advance(7200)
    found = fixture.store.get(DEPLOYMENTS, "vision", "qwen25-vl-7b")
    assert found["metadata"]["generation"] == generation
    fixture.store.delete(DEPLOYMENTS, "npu-lab", "llama-31-8b")
    fixture.clock.advance(3600)
    assert fixture.pods("npu-lab", "llama-31-8b") == []


def test_adding_the_missing_secret_repairs_the_npu_serving() -> None:
    fixture = ScenarioFixture()
    assert fixture.reasons("npu-lab", "llama-31-8b") == {"CreateContainerConfigError"}
    fixture.store.create(SECRETS, cluster_objects.token_secret("npu-lab")[1])
    fixture.clock.advance(120)
    assert fixture.status("npu-lab", "llama-31-8b")["readyReplicas"] == 1


@pytest.mark.parametrize("hours", [0.0, 5.0])
def test_a_saved_state_is_resumed_where_it_was(tmp_path: Path, hours: float) -> None:
    fixture = ScenarioFixture()
    fixture.clock.advance(60)
    fixture.store.dump(tmp_path / "state")
    clock = Clock(fixture.clock.time() + hours * 3600)
    store = ObjectStore(clock, seed=9)
    store.admission.append(admission.admit)
    controllers = ControllerManager(store, clock, 9)
    store.load(tmp_path / "state")

    def pods() -> dict[str, Json]:
        """Without those of the serving that scales by itself."""
        return {
            pod["metadata"]["uid"]: pod
            for pod in store.list(PODS)
            if not pod["metadata"]["name"].startswith("llama-31-8b")
            or pod["metadata"]["namespace"] != "chat"
        }

    before = pods()
    controllers.resync()
    clock.advance(600)
    after = pods()
    assert before.keys() == after.keys()
    for uid, pod in after.items():
        old, new = (p["status"].get("containerStatuses", [{}])[0] for p in (before[uid], pod))
        if old.get("ready"):
            assert new["ready"] and new["state"] == old["state"], pod["metadata"]["name"]
    crashing = next(p for p in after.values() if "qwen3-embedding" in p["metadata"]["name"])
    status = crashing["status"]["containerStatuses"][0]
    assert (
        status["restartCount"]
        > before[crashing["metadata"]["uid"]]["status"]["containerStatuses"][0]["restartCount"]
    )
    (loaded,) = [p for p in after.values() if "qwen3-32b-awq" in p["metadata"]["name"]]
    assert loaded["status"]["containerStatuses"][0]["ready"]


def _time(line: str) -> float:
    from servedeck.demo.clock import parse_timestamp

    return parse_timestamp(line.partition(" ")[0])
