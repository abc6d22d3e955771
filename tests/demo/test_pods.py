"""Pods with more than one plain container: init containers, sidecars, gates, their end."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.resources import DEPLOYMENTS, PODS
from tests.demo.cluster_fixture import ClusterFixture, deployment

Json = dict[str, Any]


def started(**pod: Any) -> ClusterFixture:
    cluster = ClusterFixture()
    cluster.node()
    obj = deployment()
    obj["spec"]["template"]["spec"].update(pod)
    cluster.create(DEPLOYMENTS, obj)
    return cluster


def init(name: str, image: str = "ghcr.io/acme/fetch:1", **more: Any) -> Json:
    return {"name": name, "image": image, **more}


def test_init_containers_run_one_after_the_other_and_before_the_server() -> None:
    cluster = started(initContainers=[init("fetch"), init("check")])
    running: list[tuple[str, ...]] = []

    def changed(_: object) -> None:
        if cluster.pods():
            status = cluster.pod()["status"]
            found = [
                entry["name"]
                for field in ("initContainerStatuses", "containerStatuses")
                for entry in status.get(field, ())
                if "running" in entry["state"]
            ]
            if not running or running[-1] != tuple(found):
                running.append(tuple(found))

    cluster.store.subscribe(changed, PODS)
    cluster.until(cluster.ready)
    assert [names for names in running if names] == [("fetch",), ("check",), ("inference-server",)]
    first, second = cluster.pod()["status"]["initContainerStatuses"]
    assert (
        first["state"]["terminated"]["exitCode"] == second["state"]["terminated"]["exitCode"] == 0
    )
    paths = {e["involvedObject"].get("fieldPath", "") for e in cluster.events("Started")}
    assert "spec.initContainers{fetch}" in paths


def test_an_init_container_that_cannot_be_pulled_blocks_the_server() -> None:
    cluster = started(initContainers=[init("fetch", "nobody/fetch:1")])
    cluster.advance(120)
    status = cluster.pod()["status"]
    assert status["phase"] == "Pending"
    assert "ImagePull" in status["initContainerStatuses"][0]["state"]["waiting"]["reason"]
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    initialized = cluster.condition("Initialized", cluster.pod())
    assert initialized is not None
    assert initialized["message"] == "containers with incomplete status: [fetch]"


def test_a_sidecar_runs_beside_the_server() -> None:
    cluster = started(initContainers=[init("proxy", restartPolicy="Always"), init("fetch")])
    cluster.until(cluster.ready)
    sidecar, fetch = cluster.pod()["status"]["initContainerStatuses"]
    assert "running" in sidecar["state"] and sidecar["started"]
    assert fetch["state"]["terminated"]["exitCode"] == 0


def test_a_readiness_gate_keeps_a_pod_unready_until_it_is_true() -> None:
    cluster = started(readinessGates=[{"conditionType": "servedeck.dev/cool"}])
    cluster.until(lambda: bool(cluster.pods()) and _is("ContainersReady", cluster))
    assert not _is("Ready", cluster)
    ready = cluster.condition("Ready", cluster.pod())
    assert ready is not None and ready["reason"] == "ReadinessGatesNotReady"
    assert ready["message"] == (
        'corresponding condition of pod readiness gate "servedeck.dev/cool" does not exist.'
    )

    def cool(pod: Json) -> None:
        pod["status"]["conditions"].append({"type": "servedeck.dev/cool", "status": "True"})

    cluster.store.mutate(PODS, "lab", cluster.pod()["metadata"]["name"], cool, "status")
    cluster.until(cluster.ready)


def test_a_deleted_pod_has_a_grace_period_unless_it_is_forced() -> None:
    cluster = started()
    cluster.until(cluster.ready)
    name = cluster.pod()["metadata"]["name"]
    cluster.store.delete(PODS, "lab", name)
    assert cluster.messages("Killing") == ["Stopping container inference-server"]
    assert name in {pod["metadata"]["name"] for pod in cluster.pods()}
    cluster.advance(31)
    (other,) = cluster.pods()
    assert other["metadata"]["name"] != name
    cluster.store.delete(PODS, "lab", other["metadata"]["name"], grace=0)
    assert cluster.store.find(PODS, "lab", other["metadata"]["name"]) is None
    cluster.until(cluster.ready)


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_a_bare_pod_that_fails_ends_or_restarts_by_its_policy(policy: str) -> None:
    cluster = ClusterFixture()
    cluster.node()
    spec = deployment(args=["acme/none"])["spec"]["template"]["spec"]
    pod = {
        "metadata": {"namespace": "lab", "name": "once"},
        "spec": {**spec, "restartPolicy": policy},
    }
    cluster.create(PODS, pod)
    cluster.advance(240)
    status = cluster.pod()["status"]
    if policy == "Never":
        assert status["phase"] == "Failed"
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 1
    else:
        assert status["containerStatuses"][0]["restartCount"] > 1


def _is(type_: str, cluster: ClusterFixture) -> bool:
    conditions = cluster.pod()["status"].get("conditions") or ()
    return any(c["type"] == type_ and c["status"] == "True" for c in conditions)
