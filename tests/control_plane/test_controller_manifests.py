"""The manifests of the controller are taken by a real API server, with unknown fields refused, and
permit what the controller does and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from servedeck import __version__
from servedeck.cli_parser import build_parser
from servedeck.cluster.lease import CONTROLLER_LEASE
from servedeck.commands.controller import read_settings
from servedeck.config import PLATFORM_NAMESPACE
from servedeck.controller.settings import ControllerSettings
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.temperature_rig import (
    ControllerProcess,
    Kubelet,
    closing,
    make_serving,
    running_accelerators,
)
from tests.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy" / "controller"
RBAC = "apis/rbac.authorization.k8s.io/v1"
PATHS = {
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{{}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{}}/rolebindings",
    "Lease": "apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
NAME = "servedeck-controller"


def load() -> list[dict[str, Any]]:
    """All objects of the folder, in the order of its kustomization."""
    listed = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text(encoding="utf-8"))
    return [
        one
        for file in listed["resources"]
        for one in yaml.safe_load_all((DEPLOY / file).read_text(encoding="utf-8"))
    ]


@pytest.fixture
def applied(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    """All of them in the namespace, in place of servedeck-system. What is of the whole cluster has
    the name of the namespace."""
    made: list[str] = []
    for one in load():
        is_of_cluster = one["kind"].startswith("Cluster")
        path = f"/{PATHS[one['kind']].format(namespace)}"
        assert one["metadata"].get("namespace", PLATFORM_NAMESPACE) == PLATFORM_NAMESPACE
        if is_of_cluster:
            one["metadata"]["name"] = namespace
            made.append(f"{path}/{namespace}")
        else:
            one["metadata"]["namespace"] = namespace
        if one["kind"] == "ClusterRoleBinding":
            one["roleRef"]["name"] = namespace
        for subject in one.get("subjects", ()):
            assert subject["namespace"] == PLATFORM_NAMESPACE
            subject["namespace"] = namespace
        control_plane.create(f"{path}?fieldValidation=Strict", one)
    yield namespace
    for path in made:
        control_plane.request("DELETE", path)


def test_each_object_is_created(control_plane: ControlPlane, applied: str) -> None:
    kinds = {one["kind"] for one in load()}
    assert kinds == set(PATHS)
    lease = control_plane.request("GET", f"/{PATHS['Lease'].format(applied)}/{CONTROLLER_LEASE}")
    assert lease["metadata"]["labels"]["app.kubernetes.io/part-of"] == "servedeck"


def test_the_pods_are_as_restricted_as_can_be_asked(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Pod Security admission, level restricted, takes them."""
    control_plane.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    )
    [deployment] = [one for one in load() if one["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "generateName": "pod-"}
    spec = template["spec"] | {"serviceAccountName": "default"}
    control_plane.create(
        f"/api/v1/namespaces/{namespace}/pods", {"metadata": metadata, "spec": spec}
    )


def test_the_command_is_one_that_servedeck_has() -> None:
    [deployment] = [one for one in load() if one["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"servedeck-gateway:{__version__}"
    program, *words = [*container["command"], *container["args"]]
    args = build_parser().parse_args(words)
    assert program == "servedeck" and args.run == "servedeck.commands.controller:run"
    assert args.prometheus_url.startswith("http://")
    settings = read_settings(args)
    assert settings == ControllerSettings()
    assert settings.port == container["ports"][0]["containerPort"]


def kubeconfig_of(plane: ControlPlane, namespace: str) -> Path:
    """Of the ServiceAccount."""
    path = f"/{PATHS['ServiceAccount'].format(namespace)}/{NAME}/token"
    answer = plane.request("POST", path, {"spec": {"expirationSeconds": 3600}})
    return plane.write_kubeconfig(NAME, token=answer["status"]["token"])


def may(plane: ControlPlane, home: str, verb: str, resource: str, **more: str) -> bool:
    group, _, rest = resource.rpartition(":")
    name, _, subresource = rest.partition("/")
    user = f"system:serviceaccount:{home}:{NAME}"
    attributes = {
        "namespace": home,
        "verb": verb,
        "group": group,
        "resource": name,
        "subresource": subresource,
    } | more
    answer = plane.request(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": user, "resourceAttributes": attributes}},
    )
    return bool(answer["status"]["allowed"])


async def test_the_permissions_are_enough_and_no_more(
    control_plane: ControlPlane, applied: str
) -> None:
    def is_permitted() -> bool:
        """The authorizer learns of the bindings by a watch."""
        return may(control_plane, applied, "watch", "pods", namespace="") and may(
            control_plane, applied, "patch", "coordination.k8s.io:leases", name=CONTROLLER_LEASE
        )

    await asyncio.to_thread(wait_for, is_permitted, "the permissions of the controller")
    file = await asyncio.to_thread(kubeconfig_of, control_plane, applied)
    with running_accelerators(applied) as accelerators:
        controller = ControllerProcess(
            file, "", accelerators.url, lease_namespace=applied, all_namespaces=""
        )
        async with closing(controller), Kubelet(control_plane, applied).running() as kubelet:
            await controller.start("and acts")
            a, b = await asyncio.to_thread(make_serving, control_plane, applied, "llama", 2)
            # The Deployment of the controller has Pods here, too, which have no gate.
            for hot, reason in ((91, "Hot"), (50, "Normal"), (91, "Hot")):
                accelerators.set({a: hot, b: 60})
                await wait_until(
                    lambda reason=reason: (
                        (kubelet.reasons().get(a), kubelet.reasons().get(b)) == (reason, "Normal")
                    ),
                    describe_state=lambda: f"{kubelet.reasons()}\n{controller.log}",
                )
            path = f"/api/v1/namespaces/{applied}/events?fieldSelector=reason%3DTemperatureHigh"

            def is_counted() -> bool:
                found = control_plane.request("GET", path)["items"]
                return [one["count"] for one in found] == [2]

            await asyncio.to_thread(wait_for, is_counted, "the Event to be counted")
            # Namespaces of other tests are being deleted meanwhile.
            warnings = [
                line
                for line in controller.log.splitlines()
                if "WARNING" in line and (applied in line or "Pod test-" not in line)
            ]
            assert warnings == []

    forbidden = {
        "delete": ("pods", "apps:deployments"),
        "patch": ("pods", "apps:deployments", "apps:replicasets", "apps:deployments/scale"),
        "get": ("secrets", "configmaps", "pods/log", "pods/exec"),
        "create": ("pods", "pods/eviction", "coordination.k8s.io:leases"),
        "list": ("secrets", "events", "coordination.k8s.io:leases"),
    }
    for verb, found in forbidden.items():
        for resource in found:
            assert not may(control_plane, applied, verb, resource), json.dumps([verb, resource])
    other = {"name": "other"}
    assert not may(control_plane, applied, "patch", "coordination.k8s.io:leases", **other)
