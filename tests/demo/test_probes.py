"""Startup, readiness and liveness probes, and what happens when they fail."""

from __future__ import annotations

from typing import Any

from servedeck.demo.workloads import failure_simulation
from tests.demo.cluster_fixture import ClusterFixture, container_of, started_cluster

Json = dict[str, Any]


def test_a_server_that_stops_answering_is_killed_by_its_liveness_probe() -> None:
    cluster = started_cluster(annotations={failure_simulation.HANG_AFTER_ANNOTATION: "5m"})
    cluster.until(cluster.ready)
    address = cluster.pod()["status"]["podIP"]
    cluster.until(lambda: not cluster.container()["ready"])
    cluster.until(lambda: cluster.container()["restartCount"] == 1)
    url = f"http://{address}:8000/health"
    timeout = (
        f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )
    assert {f"Readiness probe failed: {timeout}", f"Liveness probe failed: {timeout}"} <= set(
        cluster.messages("Unhealthy")
    )
    assert cluster.messages("Killing") == [
        "Container inference-server failed liveness probe, will be restarted"
    ]
    assert cluster.container()["lastState"]["terminated"]["exitCode"] == 137
    cluster.until(cluster.ready)


def test_a_server_that_responds_with_503_is_not_ready() -> None:
    cluster = started_cluster(annotations={failure_simulation.UNREADY_AFTER_ANNOTATION: "5m"})
    cluster.edit(lambda obj: container_of(obj).pop("livenessProbe"))
    cluster.advance(0)
    cluster.until(cluster.ready)
    cluster.until(lambda: not cluster.container()["ready"])
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in cluster.messages(
        "Unhealthy"
    )
    ready = cluster.condition("Ready", cluster.pod())
    assert ready is not None and ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [inference-server]"
    assert cluster.container()["restartCount"] == 0


def test_while_the_model_loads_the_startup_probe_fails_and_nothing_is_restarted() -> None:
    cluster = started_cluster()
    cluster.until(lambda: bool(cluster.events("Unhealthy")))
    address = cluster.pod()["status"]["podIP"]
    assert cluster.messages("Unhealthy") == [
        f'Startup probe failed: Get "http://{address}:8000/health": dial tcp {address}:8000: '
        "connect: connection refused"
    ]
    assert not cluster.container()["started"]
    cluster.until(cluster.ready)
    assert cluster.container()["restartCount"] == 0
    (event,) = cluster.events("Unhealthy")
    assert event["count"] > 2, "the same Event is counted again"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{inference-server}"


def test_a_startup_probe_that_gives_up_kills() -> None:
    cluster = ClusterFixture()
    cluster.node()
    probe = {"httpGet": {"path": "/health", "port": 8000}, "failureThreshold": 2}
    cluster.deploy()
    cluster.edit(lambda obj: container_of(obj).update(startupProbe=probe))
    cluster.until(lambda: bool(cluster.events("Killing")))
    assert cluster.messages("Killing") == [
        "Container inference-server failed startup probe, will be restarted"
    ]
