"""Workloads of other kinds than Deployment on a real API server, with the controllers of Kubernetes
that make their Pods."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from servedeck.changes.live_objects import ServingNotFoundError
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.commands.export import export_serving
from servedeck.commands.get import GetOptions, OutputFormat, run_get
from servedeck.config import Settings
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.workload_records import GROUP_LABEL
from servedeck.serving.status.status import Status
from tests.control_plane import objects, pod_statuses
from tests.control_plane.assertions import (
    assert_matches_cluster,
    started_session,
    wait_for_view,
)
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.test_app import running_app
from tests.control_plane.test_deploy import open_connection
from tests.waiting import wait_until

RULE = {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"]}
READ = ["get", "list", "watch"]


def template(name: str, *, hold: bool = False, **labels: str) -> dict[str, Any]:
    """The Pod template of a serving that others made."""
    made: dict[str, Any] = objects.deployment(name, hold=hold, managed=False)["spec"]["template"]
    made["metadata"]["labels"].update(labels)
    return made


def stateful_set(
    name: str,
    *,
    replicas: int = 1,
    hold: bool = False,
    owner: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    pods = template(name, hold=hold, **(labels or {}))
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": name,
            "labels": labels or {},
            "ownerReferences": [owner] if owner is not None else [],
        },
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": pods,
            **spec,
        },
    }


def create(plane: ControlPlane, namespace: str, plural: str, body: dict[str, Any]) -> Any:
    """Create an object of the group of its `apiVersion`."""
    version = body["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return plane.create(f"{root}/namespaces/{namespace}/{plural}", body)


def owner_of(owner: dict[str, Any], kind: str, version: str) -> dict[str, Any]:
    meta = owner["metadata"]
    return {
        "apiVersion": version,
        "kind": kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def leader_worker_set(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "leaderWorkerTemplate": {"size": 2, "workerTemplate": template(name)},
        },
    }


def inference_service(name: str) -> dict[str, Any]:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://models/iris"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": model}},
    }


def plain_pod(name: str) -> dict[str, Any]:
    made = template(name)
    metadata = {**made["metadata"], "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made["spec"]}


def daemon_set(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name)},
    }


def rollout(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "template": template(name), "strategy": {"canary": {}}},
    }


def ray_cluster(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": _ray_cluster_spec(name),
    }


def ray_service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name},
        "spec": {
            "serveConfigV2": "applications:\n- name: chat\n  args: {}\n",
            "rayClusterConfig": _ray_cluster_spec(name),
        },
    }


def _ray_cluster_spec(name: str) -> dict[str, Any]:
    worker = {"groupName": "gpu", "replicas": 2, "template": template(name)}
    return {"headGroupSpec": {"template": template(name)}, "workerGroupSpecs": [worker]}


def wait_for_pod(plane: ControlPlane, namespace: str, name: str) -> dict[str, Any]:
    """The Pod of that name, scheduled to a node."""

    def found() -> dict[str, Any] | None:
        pods = plane.list_pods(namespace)
        return next(
            (
                pod
                for pod in pods
                if pod["metadata"]["name"] == name and pod["spec"].get("nodeName")
            ),
            None,
        )

    pod = wait_for(found, f"Pod {namespace}/{name}")
    assert pod is not None
    return pod


def kinds(live: ClusterSession) -> list[str]:
    return sorted(str(view.key) for view in live.fleet.views())


async def test_a_stateful_set_follows_its_pods_next_to_a_deployment_of_its_name(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "llama", "StatefulSet")
    same_name = NamespacedName(namespace, "llama")
    async with started_session(kubeconfig, namespace) as live:
        create(control_plane, namespace, "statefulsets", stateful_set("llama", replicas=2))
        view = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        assert {pod.name for pod in view.pods} == {"llama-0", "llama-1"}
        assert (view.template, view.ready, view.desired) == ("vllm", 2, 2)
        control_plane.create_deployment(namespace, "llama")
        await wait_for_view(live, same_name, lambda view: view.status is Status.READY)
        await assert_matches_cluster(live, control_plane, namespace)
        assert len(live.fleet.views()) == 2
        control_plane.kubectl("scale", "-n", namespace, "statefulset/llama", "--replicas=0")
        await wait_for_view(
            live, key, lambda view: view.status is Status.SCALED_DOWN and not view.pods
        )
        control_plane.kubectl("delete", "-n", namespace, "statefulset/llama")
        await wait_until(lambda: kinds(live) == [f"{namespace}/llama"], "the Deployment alone")
        await assert_matches_cluster(live, control_plane, namespace)


async def test_the_failure_reason_of_a_stateful_set(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    create(control_plane, namespace, "statefulsets", stateful_set("llama", hold=True))
    pod = wait_for_pod(control_plane, namespace, "llama-0")
    control_plane.set_pod_status(pod, pod_statuses.crash_loop_oom())
    key = NamespacedName(namespace, "llama", "StatefulSet")
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(live, key, lambda view: view.reason == "OOMKilled")
        assert view.status is Status.ERROR


async def test_a_quota_that_rejects_the_pods_of_a_stateful_set_is_named(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    quota = {"apiVersion": "v1", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    create(control_plane, namespace, "resourcequotas", quota)
    await wait_until(
        lambda: control_plane.request("GET", f"/api/v1/namespaces/{namespace}/resourcequotas/none")[
            "status"
        ].get("hard"),
        "the quota",
    )
    create(control_plane, namespace, "statefulsets", stateful_set("llama"))
    key = NamespacedName(namespace, "llama", "StatefulSet")
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(live, key, lambda view: view.status is Status.ERROR)
        assert "exceeded quota: none" in view.message


async def test_a_leader_worker_set_is_listed_without_its_stateful_sets(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    whole = create(control_plane, namespace, "leaderworkersets", leader_worker_set("big"))
    labels = {GROUP_LABEL: "big"}
    owner = owner_of(whole, "LeaderWorkerSet", "leaderworkerset.x-k8s.io/v1")
    create(
        control_plane, namespace, "statefulsets", stateful_set("big", owner=owner, labels=labels)
    )
    leader = wait_for_pod(control_plane, namespace, "big-0")
    key = NamespacedName(namespace, "big", "LeaderWorkerSet")
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(live, key, lambda view: view.pods and view.pods[0].is_ready)
        assert (view.status, view.ready) == (Status.STARTING, 0)
        workers = stateful_set(
            "big-0",
            owner=owner_of(leader, "Pod", "v1"),
            labels=labels,
            ordinals={"start": 1},
        )
        create(control_plane, namespace, "statefulsets", workers)
        view = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        assert {pod.name for pod in view.pods} == {"big-0", "big-0-1"}
        assert kinds(live) == [f"LeaderWorkerSet {namespace}/big"]
        await assert_matches_cluster(live, control_plane, namespace)


async def test_an_inference_service_gives_way_to_its_deployment(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    create(control_plane, namespace, "inferenceservices", inference_service("bert"))
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/bert"
    key = NamespacedName(namespace, "bert", "InferenceService")
    async with started_session(kubeconfig, namespace) as live:
        await wait_for_view(live, key, lambda view: view.status is Status.STARTING)
        ready = {"type": "Ready", "status": "True"}
        control_plane.request(
            "PATCH",
            f"{path}/status",
            {"status": {"conditions": [ready], "url": "http://bert.example"}},
        )
        view = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        assert view.endpoint.url == "http://bert.example"
        await assert_matches_cluster(live, control_plane, namespace)
        made = objects.deployment("bert-predictor", managed=False)
        for labels in (made["metadata"]["labels"], made["spec"]["template"]["metadata"]["labels"]):
            labels["serving.kserve.io/inferenceservice"] = "bert"
        create(control_plane, namespace, "deployments", made)
        await wait_until(
            lambda: kinds(live) == [f"{namespace}/bert-predictor"], "the Deployment alone"
        )
        control_plane.kubectl("delete", "-n", namespace, "deployment/bert-predictor")
        await wait_until(lambda: kinds(live) == [str(key)], "the InferenceService again")


async def test_plain_pods_are_found_without_reading_those_of_others(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    other = plain_pod("shell")
    other["spec"]["containers"][0] |= {
        "name": "shell",
        "image": "busybox:1",
        "args": ["sleep", "1d"],
    }
    create(control_plane, namespace, "pods", other)
    create(control_plane, namespace, "pods", plain_pod("solo"))
    control_plane.create_deployment(namespace, "llama", managed=False)
    create(control_plane, namespace, "statefulsets", stateful_set("set"))
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "batch"},
        "spec": {"template": template("batch")},
    }
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    create(control_plane, namespace, "jobs", job)
    await wait_until(lambda: len(control_plane.list_pods(namespace)) == 5, "all Pods")
    key = NamespacedName(namespace, "solo", "Pod")
    async with started_session(kubeconfig, namespace) as live:
        view = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        assert [pod.name for pod in view.pods] == ["solo"]
        assert kinds(live) == sorted(
            [f"Pod {namespace}/solo", f"{namespace}/llama", f"StatefulSet {namespace}/set"]
        )
        control_plane.kubectl("delete", "-n", namespace, "pod/solo")
        await wait_until(lambda: str(key) not in kinds(live), "its end")
        await assert_matches_cluster(live, control_plane, namespace)


async def test_a_daemon_set_counts_the_nodes_that_run_it(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "each", "DaemonSet")
    nodes = len(control_plane.request("GET", "/api/v1/nodes")["items"])
    async with started_session(kubeconfig, namespace) as live:
        made = daemon_set("each")
        create(control_plane, namespace, "daemonsets", made)
        view = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        assert (view.ready, view.desired) == (view.desired, nodes)
        assert kinds(live) == [str(key)]  # its Pods are not listed beside it
        selector = {"spec": {"template": {"spec": {"nodeSelector": {"none": "such"}}}}}
        path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/each"
        control_plane.request("PATCH", path, selector)
        view = await wait_for_view(live, key, lambda view: view.reason == "No node")
        assert view.status is Status.PENDING
        await assert_matches_cluster(live, control_plane, namespace)


STATUSES: dict[str, tuple[dict[str, Any], Status]] = {
    "rollouts": (
        {"observedGeneration": "1", "phase": "Degraded", "message": "aborted", "readyReplicas": 1},
        Status.DEGRADED,
    ),
    "rayservices": (
        {
            "activeServiceStatus": {
                "rayClusterName": "any-7x2kq",
                "applicationStatuses": {"chat": {"status": "RUNNING"}},
            },
            "conditions": [{"type": "Ready", "status": "True"}],
        },
        Status.READY,
    ),
    "rayclusters": ({"state": "failed", "reason": "no quota"}, Status.ERROR),
}


@pytest.mark.parametrize("made", [rollout("any"), ray_service("any"), ray_cluster("any")])
async def test_a_kind_of_another_project_has_the_state_that_its_controller_reports(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path, made: dict[str, Any]
) -> None:
    plural = f"{made['kind'].lower()}s"
    status, expected = STATUSES[plural]
    key = NamespacedName(namespace, "any", made["kind"])
    create(control_plane, namespace, plural, made)
    async with started_session(kubeconfig, namespace) as live:
        await wait_for_view(live, key, lambda view: view.status is Status.STARTING)
        path = f"/apis/{made['apiVersion']}/namespaces/{namespace}/{plural}/any/status"
        control_plane.request("PATCH", path, {"status": status})
        view = await wait_for_view(live, key, lambda view: view.status is expected)
        assert view.readonly_reason == f"A {made['kind']} is shown read-only."
        await assert_matches_cluster(live, control_plane, namespace)
    name = (await get(kubeconfig, namespace, "name")).strip()
    control_plane.kubectl("get", "-n", namespace, name)  # it accepts the name
    async with open_connection(control_plane) as connection:
        with pytest.raises(ServingNotFoundError) as caught:
            await export_serving(connection, namespace, "any")
    assert f"the {made['kind']} of that name is read-only here" in str(caught.value)


async def test_the_pods_of_a_controller_of_another_project_are_listed_one_by_one(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    owner = create(
        control_plane, namespace, "configmaps", {"apiVersion": "v1", "metadata": {"name": "roles"}}
    )
    for name in ("prefill", "decode"):
        made = plain_pod(name)
        made["metadata"]["ownerReferences"] = [owner_of(owner, "RoleSet", "example.com/v1")]
        create(control_plane, namespace, "pods", made)
    async with started_session(kubeconfig, namespace) as live:
        key = NamespacedName(namespace, "decode", "Pod")
        view = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        assert view.owner == "RoleSet roles"
        assert kinds(live) == [f"Pod {namespace}/decode", f"Pod {namespace}/prefill"]
        await assert_matches_cluster(live, control_plane, namespace)


async def test_definitions_that_are_installed_later(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    control_plane.remove_crds()
    try:
        async with started_session(kubeconfig, namespace) as live:
            assert live.state.missing_permissions == ()
            await asyncio.to_thread(control_plane.add_crds)
            create(control_plane, namespace, "leaderworkersets", leader_worker_set("big"))
            create(control_plane, namespace, "inferenceservices", inference_service("bert"))
            create(control_plane, namespace, "rollouts", rollout("canary"))
            create(control_plane, namespace, "rayservices", ray_service("llms"))
            live.retry_now()
            for name, kind in (
                ("big", "LeaderWorkerSet"),
                ("bert", "InferenceService"),
                ("canary", "Rollout"),
                ("llms", "RayService"),
            ):
                key = NamespacedName(namespace, name, kind)
                await wait_for_view(live, key, lambda view: view.status)
    finally:
        control_plane.add_crds()


async def test_forbidden_kinds_are_named_and_the_rest_goes_on(
    control_plane: ControlPlane, namespace: str
) -> None:
    create(control_plane, namespace, "statefulsets", stateful_set("llama"))
    create(control_plane, namespace, "pods", plain_pod("solo"))
    rules = [
        {**RULE, "verbs": READ},
        {"apiGroups": [""], "resources": ["pods", "services", "events"], "verbs": READ},
    ]
    control_plane.grant("member", rules, namespace=namespace)
    kubeconfig = control_plane.write_kubeconfig("member", namespace=namespace)
    async with started_session(kubeconfig, namespace) as live:
        key = NamespacedName(namespace, "solo", "Pod")
        await wait_for_view(live, key, lambda view: view.status is Status.READY)
        missing = [
            "list statefulsets.apps",
            "list leaderworkersets.leaderworkerset.x-k8s.io",
            "list daemonsets.apps",
            "list rayservices.ray.io",
        ]
        await wait_until(
            lambda: set(missing) <= set(live.state.missing_permissions),
            "the missing permissions",
            describe_state=lambda: live.state,
        )
        rules.append({"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": READ})
        control_plane.grant("member", rules, namespace=namespace)
        live.retry_now()
        key = NamespacedName(namespace, "llama", "StatefulSet")

        def retried() -> bool:
            live.retry_now()  # the API server learns of the new rule a moment later
            return live.fleet.view(key) is not None

        await wait_until(retried, "the StatefulSet")


async def get(kubeconfig: Path, namespace: str, output: OutputFormat) -> str:
    """What `servedeck get servings` prints."""
    target = ConnectionOptions(kubeconfig=(kubeconfig,), namespace=namespace)
    out = io.StringIO()
    session = ClusterSession(target, Settings(), namespace_fallback=False, tune_gc=False)
    assert await run_get(session, GetOptions(format=output), out=out) == 0
    return out.getvalue()


async def test_export_and_get_name_the_kind(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    create(control_plane, namespace, "statefulsets", stateful_set("llama"))
    control_plane.create_deployment(namespace, "other")
    names = (await get(kubeconfig, namespace, "name")).split()
    assert set(names) == {"statefulset.apps/llama", "deployment.apps/other"}
    control_plane.kubectl("get", "-n", namespace, *names)  # it accepts them
    table = await get(kubeconfig, namespace, "table")
    assert table.split("\n")[0].split()[:2] == ["NAME", "KIND"]
    listed = json.loads(await get(kubeconfig, namespace, "json"))["items"]
    found = {one["name"]: one["workloadKind"] for one in listed}
    assert found == {"llama": "StatefulSet", "other": "Deployment"}
    async with open_connection(control_plane) as connection:
        with pytest.raises(ServingNotFoundError) as caught:
            await export_serving(connection, namespace, "llama")
    assert "the StatefulSet of that name is read-only here" in str(caught.value)


async def test_the_page_of_a_stateful_set(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    create(control_plane, namespace, "statefulsets", stateful_set("llama"))
    kubelet = control_plane.kubelet
    assert kubelet
    async with running_app(kubeconfig, namespace, (120, 50)) as driver:
        await driver.wait_for_row("llama", "StatefulSet", "Ready", "1/1")
        kubelet.write(namespace, "llama-0", "Uvicorn running on http://0.0.0.0:8000")
        await driver.pilot.press("enter")
        await driver.wait_for_screen(
            lambda text: (
                f"StatefulSet {namespace}/llama" in text
                and "meta-llama/Llama-3.1-8B-Instruct" in text
                and "shown read-only" in text
            ),
            "its cards",
        )
        await driver.pilot.press("3")
        await driver.wait_for_screen(lambda text: "Uvicorn running" in text, "its log")
        await driver.pilot.press("8")
        await driver.wait_for_screen(lambda text: "kind: StatefulSet" in text, "its YAML")
