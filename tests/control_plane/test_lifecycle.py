"""Servings are created, scaled, rolled out and deleted, and the views follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.status import Status
from tests.control_plane import objects
from tests.control_plane.assertions import assert_matches_cluster, started_session, wait_for_view
from tests.control_plane.control_plane import ControlPlane
from tests.waiting import wait_until

DEPLOYMENTS_PATH = "/apis/apps/v1/namespaces/{}/deployments"


def patch_deployment(plane: ControlPlane, namespace: str, name: str, spec: dict[str, Any]) -> None:
    plane.request("PATCH", f"{DEPLOYMENTS_PATH.format(namespace)}/{name}", {"spec": spec})


async def test_create_scale_and_delete(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "llama")
    async with started_session(kubeconfig, namespace) as live:
        assert live.fleet.views() == []
        control_plane.create_deployment(
            namespace, "llama", replicas=2, accelerator="nvidia.com/gpu"
        )
        view = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        assert (view.ready, view.desired, view.failing) == (2, 2, 0)
        assert (view.template, view.model) == ("vllm", "meta-llama/Llama-3.1-8B-Instruct")
        assert (view.accelerator, view.accelerator_count) == ("NVIDIA GPU", 1)
        assert view.managed

        control_plane.kubectl("scale", "-n", namespace, "deployment/llama", "--replicas=5")
        await wait_for_view(live, key, lambda view: (view.ready, view.desired) == (5, 5))
        control_plane.kubectl("scale", "-n", namespace, "deployment/llama", "--replicas=0")
        view = await wait_for_view(live, key, lambda view: view.status is Status.SCALED_DOWN)
        await assert_matches_cluster(live, control_plane, namespace)

        control_plane.request("DELETE", f"{DEPLOYMENTS_PATH.format(namespace)}/llama")
        await wait_until(lambda: live.fleet.view(key) is None, "the serving to go")
        await assert_matches_cluster(live, control_plane, namespace)


async def test_the_same_name_again_is_another_serving(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "llama")
    async with started_session(kubeconfig, namespace) as live:
        control_plane.create_deployment(namespace, "llama", replicas=3)
        first = await wait_for_view(live, key, lambda view: view.status is Status.READY)
        path = f"{DEPLOYMENTS_PATH.format(namespace)}/llama"
        control_plane.request("DELETE", f"{path}?propagationPolicy=Background")
        control_plane.create_deployment(namespace, "llama", replicas=1, hold=True)
        second = await wait_for_view(live, key, lambda view: view.uid != first.uid)
        assert second.desired == 1
        await wait_for_view(live, key, lambda view: len(view.pods) == 1 and not view.ready)
        await assert_matches_cluster(live, control_plane, namespace)


async def test_pods_of_a_deployment_deleted_alone_are_adopted_again(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "llama")
    async with started_session(kubeconfig, namespace) as live:
        control_plane.create_deployment(namespace, "llama", replicas=2)
        first = await wait_for_view(live, key, lambda view: view.ready == len(view.pods) == 2)
        names = {pod.name for pod in first.pods}
        control_plane.kubectl(
            "delete", "-n", namespace, "deployment/llama", "--cascade=orphan", "--wait"
        )
        await wait_until(lambda: live.fleet.view(key) is None, "the serving to go")
        control_plane.create_deployment(namespace, "llama", replicas=2)
        await wait_for_view(
            live, key, lambda view: view.ready == 2 and {pod.name for pod in view.pods} == names
        )
        await assert_matches_cluster(live, control_plane, namespace)


async def test_rollout_shows_its_badge_and_ends_in_the_new_image(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "llama")
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    async with started_session(kubeconfig, namespace) as live:
        control_plane.create_deployment(namespace, "llama", replicas=3, strategy=surge)
        await wait_for_view(
            live, key, lambda view: view.status is Status.READY and not view.rollout
        )
        held = objects.deployment("llama", hold=True, image="vllm/vllm-openai:v0.11.0")
        patch_deployment(control_plane, namespace, "llama", {"template": held["spec"]["template"]})
        await wait_for_view(
            live,
            key,
            lambda view: (
                (view.rollout, view.status, view.ready) == ("updating 1/3", Status.READY, 3)
                and sorted(pod.old_revision for pod in view.pods) == [False, True, True, True]
            ),
        )
        await assert_matches_cluster(live, control_plane, namespace)

        freed = objects.deployment("llama", image="vllm/vllm-openai:v0.11.0")
        template = freed["spec"]["template"]
        template["metadata"]["annotations"] = {objects.HOLD_ANNOTATION: None}
        patch_deployment(control_plane, namespace, "llama", {"template": template})
        view = await wait_for_view(
            live, key, lambda view: view.status is Status.READY and not view.rollout
        )
        await assert_matches_cluster(live, control_plane, namespace)
        view = await wait_for_view(live, key, lambda view: len(view.pods) == 3)
        assert view.image == "vllm/vllm-openai:v0.11.0"
        assert not any(pod.old_revision for pod in view.pods)


async def test_a_deployment_without_our_labels_is_shown_with_its_pods(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "foreign")
    async with started_session(kubeconfig, namespace) as live:
        control_plane.create_deployment(namespace, "foreign", managed=False, replicas=2)
        view = await wait_for_view(
            live, key, lambda view: view.status is Status.READY and len(view.pods) == 2
        )
        assert not view.managed
        await assert_matches_cluster(live, control_plane, namespace)


async def test_a_deployment_that_serves_no_model_is_not_shown(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    web = objects.deployment("web", managed=False, image="nginx:1.29")
    container = web["spec"]["template"]["spec"]["containers"][0]
    container |= {"name": "web", "args": [], "ports": []}
    async with started_session(kubeconfig, namespace) as live:
        control_plane.create(DEPLOYMENTS_PATH.format(namespace), web)
        control_plane.create_deployment(namespace, "llama")
        await wait_for_view(
            live, NamespacedName(namespace, "llama"), lambda view: view.status is Status.READY
        )
        assert [view.key.name for view in live.fleet.views()] == ["llama"]


async def test_each_kind_of_route_gives_the_endpoint(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    gateway = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
    istio = f"/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices"
    classic = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses"
    routes = {
        "by-gateway": (gateway, objects.http_route),
        "by-istio": (istio, objects.virtual_service),
        "by-ingress": (classic, objects.ingress),
    }
    async with started_session(kubeconfig, namespace) as live:
        for name, (path, make) in routes.items():
            control_plane.create_deployment(namespace, name)
            control_plane.create(f"/api/v1/namespaces/{namespace}/services", objects.service(name))
            control_plane.create(path, make(namespace, name))
        for name in routes:
            url, address = (
                f"://ai.example.com/{namespace}/{name}",
                f"http://{name}.{namespace}.svc:80",
            )
            await wait_for_view(
                live,
                NamespacedName(namespace, name),
                lambda view, url=url, address=address: (
                    view.endpoint.url.rstrip("/").endswith(url)
                    and view.endpoint.cluster_url == address
                ),
            )
        await assert_matches_cluster(live, control_plane, namespace)
        control_plane.request("DELETE", f"{gateway}/by-gateway")
        view = await wait_for_view(
            live, NamespacedName(namespace, "by-gateway"), lambda view: not view.endpoint.url
        )
        assert view.endpoint.issue
        await assert_matches_cluster(live, control_plane, namespace)


async def test_a_scaler_is_named(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    key = NamespacedName(namespace, "llama")
    control_plane.create_deployment(namespace, "llama")
    path = f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects"
    async with started_session(kubeconfig, namespace) as live:
        control_plane.create(path, objects.scaled_object("llama"))
        view = await wait_for_view(live, key, lambda view: view.autoscaler)
        assert view.autoscaler == "KEDA 1-10"
        await assert_matches_cluster(live, control_plane, namespace)


async def test_a_hundred_servings_changed_at_once(
    control_plane: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    """All namespaces are watched: objects left by other tests are included."""
    async with started_session(kubeconfig) as live:
        for number in range(100):
            control_plane.create_deployment(namespace, f"srv-{number:03}", replicas=number % 3)
        for number in range(0, 100, 2):
            control_plane.request("DELETE", f"{DEPLOYMENTS_PATH.format(namespace)}/srv-{number:03}")
        for number in range(1, 100, 2):
            patch_deployment(
                control_plane, namespace, f"srv-{number:03}", {"replicas": (number + 1) % 3}
            )
        await assert_matches_cluster(live, control_plane)
        mine = [view for view in live.fleet.views() if view.key.namespace == namespace]
        assert len(mine) == 50
