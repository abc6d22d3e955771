"""Every failure mode of a serving, as reported by the real control plane and its components."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.control_plane import objects, pod_statuses
from tests.control_plane.assertions import assert_matches_cluster, started_session, wait_for_view
from tests.control_plane.control_plane import ControlPlane, wait_for


class FailureCase(NamedTuple):
    make_pod_status: Callable[[], dict[str, Any]]
    """Status of the Pod."""
    kubectl_status: str
    """What kubectl shows for it."""
    status: Status
    reason: str
    message_part: str
    """Part of the message."""


FAILURES = {
    "crash loop after OOM": FailureCase(
        pod_statuses.crash_loop_oom, "CrashLoopBackOff", Status.ERROR, "OOMKilled", "memory"
    ),
    "crash loop": FailureCase(
        pod_statuses.crash_loop, "CrashLoopBackOff", Status.ERROR, "exit code 1", "7 times"
    ),
    "OOM this moment": FailureCase(
        pod_statuses.oom_killed, "OOMKilled", Status.ERROR, "OOMKilled", "memory"
    ),
    "image pull, first": FailureCase(
        lambda: pod_statuses.image_pull_error("ErrImagePull"),
        "ErrImagePull",
        Status.PENDING,
        "ImagePullBackOff",
        "not found",
    ),
    "image pull, back-off": FailureCase(
        pod_statuses.image_pull_error,
        "ImagePullBackOff",
        Status.PENDING,
        "ImagePullBackOff",
        "pulled",
    ),
    "image name": FailureCase(
        lambda: pod_statuses.image_pull_error("InvalidImageName"),
        "InvalidImageName",
        Status.PENDING,
        "InvalidImageName",
        "invalid reference format",
    ),
    "configuration": FailureCase(
        pod_statuses.config_error,
        "CreateContainerConfigError",
        Status.ERROR,
        "CreateContainerConfigError",
        "hf-token",
    ),
    "run": FailureCase(
        pod_statuses.run_error, "RunContainerError", Status.ERROR, "RunContainerError", "not found"
    ),
    "init crash loop": FailureCase(
        pod_statuses.init_error, "Init:CrashLoopBackOff", Status.ERROR, "exit code 1", "download"
    ),
    "init failed": FailureCase(
        pod_statuses.init_failed, "Init:Error", Status.ERROR, "exit code 2", "download"
    ),
    "loading": FailureCase(pod_statuses.model_loading, "Running", Status.STARTING, "", "not ready"),
    "creating": FailureCase(
        pod_statuses.container_creating,
        "ContainerCreating",
        Status.STARTING,
        "ContainerCreating",
        "created",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failure_is_shown_with_its_cause(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, name: str
) -> None:
    failure = FAILURES[name]
    init = name.startswith("init")
    control_plane.create_deployment(namespace, "llama", hold=True, init=init)
    async with started_session(kubeconfig, namespace) as live:
        (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
        control_plane.set_pod_status(pod, failure.make_pod_status())
        view = await wait_for_view(
            live,
            NamespacedName(namespace, "llama"),
            lambda view: [pod.status for pod in view.pods] == [failure.kubectl_status],
        )
        assert (view.status, view.reason) == (failure.status, failure.reason)
        assert failure.message_part in view.message
        assert view.ready == 0 and view.desired == 1
        assert view.failing == (0 if failure.status is Status.STARTING else 1)
        await assert_matches_cluster(live, control_plane, namespace)


async def test_recovery_clears_the_error(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    control_plane.set_pod_status(pod, pod_statuses.config_error())
    key = NamespacedName(namespace, "llama")
    async with started_session(kubeconfig, namespace) as live:
        await wait_for_view(live, key, lambda view: view.status is Status.ERROR)
        control_plane.set_pod_status(pod, pod_statuses.ready_status())
        await wait_for_view(
            live,
            key,
            lambda view: (view.status, view.reason, view.failing) == (Status.READY, "", 0),
        )
        await assert_matches_cluster(live, control_plane, namespace)


@pytest.mark.parametrize("make", [pod_statuses.evicted, pod_statuses.admission_error])
async def test_pod_rejected_or_evicted_by_its_node(
    control_plane: ControlPlane,
    namespace: str,
    kubeconfig: Path,
    make: Callable[[], dict[str, Any]],
) -> None:
    control_plane.create_deployment(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    reason = make()["reason"]
    control_plane.set_pod_status(pod, make())
    async with started_session(kubeconfig, namespace) as live:
        # The ReplicaSet creates another immediately; the failed one remains for inspection.
        view = await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: len(view.pods) == 2
        )
        evicted = next(each for each in view.pods if each.name == pod["metadata"]["name"])
        assert (evicted.status, evicted.reason) == (reason, reason)
        assert evicted in view.failing_pods
        await assert_matches_cluster(live, control_plane, namespace)


async def test_no_node_has_so_many_accelerators(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", accelerator="nvidia.com/gpu", count=64)
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: view.reason == "Unschedulable"
        )
        assert view.status is Status.PENDING
        assert "nvidia.com/gpu" in view.message
        assert (view.accelerator, view.accelerator_count) == ("NVIDIA GPU", 64)
        await assert_matches_cluster(live, control_plane, namespace)


async def test_quota_keeps_pods_from_being_created(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.create(path, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    wait_for(lambda: "hard" in control_plane.request("GET", f"{path}/none")["status"], "the quota")
    control_plane.create_deployment(namespace, "llama")
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: view.status is Status.ERROR
        )
        assert view.reason == "FailedCreate"
        assert "quota" in view.message
        assert view.pods == ()
        control_plane.request("DELETE", f"{path}/none")
        control_plane.request(
            "PATCH",
            f"/apis/apps/v1/namespaces/{namespace}/deployments/llama",
            {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}},
        )
        await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: view.status is Status.READY
        )
        await assert_matches_cluster(live, control_plane, namespace)


async def test_volume_that_cannot_be_mounted(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    control_plane.set_pod_status(pod, pod_statuses.container_creating())
    async with started_session(kubeconfig, namespace) as live:
        key = NamespacedName(namespace, "llama")
        await wait_for_view(live, key, lambda view: view.status is Status.STARTING)
        message = 'MountVolume.SetUp failed for volume "models": persistentvolumeclaim "models"'
        control_plane.create_warning_event(pod, "FailedMount", message)
        view = await wait_for_view(live, key, lambda view: view.reason == "FailedMount")
        assert view.status is Status.PENDING
        assert "models" in view.message
        assert [event.reason for event in view.pods[0].events] == ["FailedMount"]
        await assert_matches_cluster(live, control_plane, namespace)


async def test_readiness_probe_that_fails(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", hold=True)
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    running = pod_statuses.container_status(pod_statuses.running_state(300), started=True)
    control_plane.set_pod_status(pod, pod_statuses.pod_status("Running", running))
    message = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    control_plane.create_warning_event(pod, "Unhealthy", message, count=12)
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: "503" in view.message
        )
        assert view.status is Status.STARTING
        assert "readiness probe" in view.message
        await assert_matches_cluster(live, control_plane, namespace)


async def test_rollout_that_exceeds_its_deadline(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(
        namespace, "llama", hold=True, progressDeadlineSeconds=1, minReadySeconds=0
    )
    (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
    control_plane.set_pod_status(pod, pod_statuses.model_loading())
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: view.status is Status.ERROR
        )
        assert "deadline" in view.message
        assert view.rollout == "rollout failed"
        await assert_matches_cluster(live, control_plane, namespace)


async def test_some_replicas_fail(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.create_deployment(namespace, "llama", hold=True, replicas=3)
    pods = control_plane.wait_for_pods(namespace, "llama", 3)
    for pod in pods[:2]:
        control_plane.set_pod_status(pod, pod_statuses.ready_status())
    control_plane.set_pod_status(pods[2], pod_statuses.crash_loop_oom())
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(
            live,
            NamespacedName(namespace, "llama"),
            lambda view: (
                (view.failing, view.status, view.ready, view.desired) == (1, Status.DEGRADED, 2, 3)
            ),
        )
        assert view.reason == "OOMKilled"
        assert view.pods[0].name == pods[2]["metadata"]["name"], "failing Pods come first"
        await assert_matches_cluster(live, control_plane, namespace)


@pytest.mark.slow
async def test_node_that_is_lost(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    name = f"lost-{namespace}"
    control_plane.create("/api/v1/nodes", objects.node(name, managed=False))
    report_node_ready(control_plane, name)
    try:
        await asyncio.to_thread(
            wait_for, lambda: name in control_plane.ready_nodes(), "the node to be ready"
        )
        place = {"nodeSelector": {"kubernetes.io/hostname": name}}
        control_plane.create_deployment(namespace, "llama", hold=True, pod_spec=place)
        (pod,) = control_plane.wait_for_pods(namespace, "llama", 1)
        control_plane.set_pod_status(pod, pod_statuses.ready_status())
        key = NamespacedName(namespace, "llama")
        async with started_session(kubeconfig, namespace) as live:
            await wait_for_view(live, key, lambda view: view.status is Status.READY)
            # After 50 s without a heartbeat the node controller marks the Pods as not ready and
            # writes an Event about each.
            view = await wait_for_view(
                live,
                key,
                lambda view: (view.reason, view.status) == ("NodeNotReady", Status.ERROR),
            )
            assert name in view.message
            await assert_matches_cluster(live, control_plane, namespace)
    finally:
        control_plane.request("DELETE", f"/api/v1/nodes/{name}")


def report_node_ready(plane: ControlPlane, node: str) -> None:
    """Report the node as ready, as its kubelet does."""
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": objects.timestamp(),
        "lastTransitionTime": objects.timestamp(),
    }
    plane.request("PATCH", f"/api/v1/nodes/{node}/status", {"status": {"conditions": [condition]}})
