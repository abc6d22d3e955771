"""The manifests of the async gateway and of Valkey are taken by a real API server, with unknown
fields refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from servedeck.gateway.settings import load_settings
from tests.control_plane.control_plane import ControlPlane

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = ("gateway/gateway.yaml", "valkey/valkey.yaml")
PLURALS = {
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "Service": "api/v1/namespaces/{}/services",
    "Role": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "apis/apps/v1/namespaces/{}/statefulsets",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}


def load(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", FILES)
def test_each_object_is_created(control_plane: ControlPlane, namespace: str, file: str) -> None:
    for one in load(file):
        path = PLURALS[one["kind"]].format(namespace)
        one["metadata"]["namespace"] = namespace
        control_plane.create(f"/{path}?fieldValidation=Strict", one)
    assert {one["kind"] for one in load(file)} <= set(PLURALS)


def test_the_pods_are_as_restricted_as_can_be_asked(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Pod Security admission, level restricted, takes the Pods of both."""
    control_plane.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        content_type="application/merge-patch+json",
    )
    for file in FILES:
        for one in load(file):
            if one["kind"] not in ("Deployment", "StatefulSet"):
                continue
            pod = {**one["spec"]["template"], "apiVersion": "v1", "kind": "Pod"}
            pod["metadata"] = {**pod["metadata"], "generateName": "pod-"}
            spec = {**pod["spec"], "serviceAccountName": "default"}
            pod["spec"] = spec | {"automountServiceAccountToken": False}
            claimed = {each["name"] for each in spec["volumes"]}
            for container in spec["containers"]:
                mounts = container["volumeMounts"]
                container["volumeMounts"] = [each for each in mounts if each["name"] in claimed]
            control_plane.create(f"/api/v1/namespaces/{namespace}/pods", pod)


def test_the_settings_are_those_that_a_gateway_reads(tmp_path: Path) -> None:
    [settings] = [one for one in load("gateway/gateway.yaml") if one["kind"] == "ConfigMap"]
    file = tmp_path / "gateway.yaml"
    file.write_text(settings["data"]["gateway.yaml"], encoding="utf-8")
    for role in ("accept", "deliver"):
        assert load_settings(file, {"role": role}).serving == "team-a/llama"
