"""The rules applied to messages of a real scheduler and a real controller."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from servedeck.serving.objects.records import Deployment, Pod, ReplicaSet
from servedeck.serving.status.pod_diagnosis import diagnose
from servedeck.serving.status.status import ServingStatus, Status, evaluate
from tests.control_plane import objects
from tests.control_plane.control_plane import ControlPlane, wait_for


def create_deployment(
    control_plane: ControlPlane, namespace: str, resources: dict[str, Any]
) -> None:
    body = objects.deployment("llama")
    for container in body["spec"]["template"]["spec"]["containers"]:
        container["resources"] = resources
    control_plane.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)


def evaluate_deployment(
    control_plane: ControlPlane, namespace: str
) -> tuple[ServingStatus, list[str]]:
    """The verdict on the Deployment, and the messages of its Pods."""
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    deployment = msgspec.convert(
        control_plane.request("GET", f"{apps}/deployments/llama"), Deployment
    )
    replicasets = msgspec.convert(
        control_plane.request("GET", f"{apps}/replicasets")["items"], list[ReplicaSet]
    )
    listed = control_plane.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    now = datetime.now(UTC)
    found = [(pod, diagnose(pod, (), now)) for pod in msgspec.convert(listed, list[Pod])]
    return evaluate(deployment, replicasets, found, True), [each.message for _, each in found]


def test_a_pod_that_fits_on_no_node(control_plane: ControlPlane, namespace: str) -> None:
    create_deployment(control_plane, namespace, {"limits": {"nvidia.com/gpu": "64"}})
    wait_for(
        lambda: evaluate_deployment(control_plane, namespace)[0].reason == "Unschedulable",
        "the scheduler to give up",
    )
    verdict, messages = evaluate_deployment(control_plane, namespace)
    assert verdict.status is Status.PENDING
    assert verdict.message == messages[0]
    assert verdict.message.startswith("0 of ")
    assert "without enough free nvidia.com/gpu" in verdict.message
    assert "preemption" not in verdict.message


def test_a_quota_that_no_pod_passes(control_plane: ControlPlane, namespace: str) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.create(path, quota)
    # Until the controller has computed usage once, the API server rejects with another message.
    wait_for(
        lambda: "hard" in control_plane.request("GET", f"{path}/none").get("status", {}),
        "the quota to be counted",
    )
    create_deployment(control_plane, namespace, {})
    wait_for(
        lambda: evaluate_deployment(control_plane, namespace)[0].status is Status.ERROR,
        "the failure to be shown",
    )
    verdict, messages = evaluate_deployment(control_plane, namespace)
    assert messages == []
    assert verdict.reason == "FailedCreate"
    assert verdict.message == (
        "No Pod can be created: exceeded quota: none, requested: pods=1, used: pods=0, "
        "limited: pods=0"
    )


def test_a_deployment_that_becomes_ready(control_plane: ControlPlane, namespace: str) -> None:
    create_deployment(control_plane, namespace, {"limits": {"nvidia.com/gpu": "1"}})
    wait_for(
        lambda: evaluate_deployment(control_plane, namespace)[0].status is Status.READY,
        "the Pod to be ready",
    )
    assert evaluate_deployment(control_plane, namespace)[1] == [""]
