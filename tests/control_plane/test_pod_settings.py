"""The settings of a serving's Pods on a real API server: created, exported, read back, and changed
one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from servedeck.changes.edit.edit import begin_edit
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.plan import make_plan
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.spec import ServingSpec
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import open_connection
from tests.control_plane.test_set import NAME, create_own, path_of, run_set

Json = dict[str, Any]

FIELDS: dict[str, Any] = {
    "readiness_times": "period=30 timeout=2",
    "liveness_times": "delay=60 failures=9",
    "shared_memory": "3Gi",
    "model_cache_path": "/var/cache/models",
    "fs_group": 1000,
    "node_selector": "zone=eu gpu.example.com/model=h100",
    "tolerations": "team=ml:NoSchedule spot:NoExecute:300s :PreferNoSchedule",
    "runtime_class": "nvidia",
    "image_pull_secrets": "registry mirror",
    "service_account": "models",
    "resource_claims": "nic=template/fast",
}
EDITS: list[tuple[str, tuple[str, ...]]] = [
    ("readinessTimes=period=30", ("readinessProbe",)),
    ("livenessTimes=", ("livenessProbe",)),
    ("sharedMemory=", ("sizeLimit",)),
    ("modelCachePath=", ("mountPath", "volumeMounts", "env")),
    ("fsGroup=2000", ("fsGroup",)),
    ("nodeSelector=zone=us", ("nodeSelector",)),
    ("tolerations=spot:NoExecute:300s", ("tolerations",)),
    ("runtimeClass=", ("runtimeClassName",)),
    ("imagePullSecrets=mirror other", ("imagePullSecrets",)),
    ("serviceAccount=", ("serviceAccount",)),
    ("resourceClaims=gpu=claim/shared", ("resourceClaims", "claims")),
]
"""A change of each field, and parts of the paths of which each changed one has one."""


@pytest.fixture
def named_objects(control_plane: ControlPlane, namespace: str) -> None:
    """What the fields name."""
    core, dra = f"/api/v1/namespaces/{namespace}", f"namespaces/{namespace}"
    for name in ("registry", "mirror", "other"):
        control_plane.create(f"{core}/secrets", {"metadata": {"name": name}})
    control_plane.create(f"{core}/serviceaccounts", {"metadata": {"name": "models"}})
    request = {"name": "one", "exactly": {"deviceClassName": "nic.example.com"}}
    claim = {"devices": {"requests": [request]}}
    group = f"/apis/resource.k8s.io/v1/{dra}"
    template = {"metadata": {"name": "fast"}, "spec": {"spec": claim}}
    control_plane.create(f"{group}/resourceclaimtemplates", template)
    shared = {"metadata": {"name": "shared"}, "spec": claim}
    control_plane.create(f"{group}/resourceclaims", shared)
    runtime_classes = "/apis/node.k8s.io/v1/runtimeclasses"
    known = control_plane.request("GET", runtime_classes)["items"]
    if not any(one["metadata"]["name"] == "nvidia" for one in known):
        control_plane.create(runtime_classes, {"metadata": {"name": "nvidia"}, "handler": "nvidia"})


def stored_pod(plane: ControlPlane, namespace: str) -> Json:
    pod: Json = plane.request("GET", path_of(namespace))["spec"]["template"]["spec"]
    return copy.deepcopy(pod)


@pytest.mark.usefixtures("named_objects")
async def test_all_are_created_exported_and_applied_again_without_a_change(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace, **FIELDS)
        edit = await begin_edit(connection, namespace, NAME)
        wanted = edit.base.spec.replace(**FIELDS)
        assert edit.base.spec == wanted
        assert edit.base.unmanaged_fields == ()
        exported = await export_serving(connection, namespace, NAME)
        assert from_yaml(exported.yaml) == wanted
        lines: list[str] = []
        assert await apply_all(
            connection,
            [from_yaml(exported.yaml)],
            PlatformSettings(),
            dry_run=False,
            stdout=lines.append,
            stderr=lines.append,
        )
        assert {one.rpartition(" ")[2] for one in lines} == {"unchanged"}


@pytest.mark.usefixtures("named_objects")
async def test_a_change_of_one_is_that_change_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        await create_own(connection, namespace, **FIELDS)
        for assignment, parts in EDITS:
            before = stored_pod(control_plane, namespace)
            run = await run_set(connection, namespace, assignment)
            assert run.saved, (assignment, run.err)
            after = stored_pod(control_plane, namespace)
            changed = [format_path(one.path) for one in find_differences(before, after)]
            assert changed, assignment
            assert [one for one in changed if not any(part in one for part in parts)] == []
            run = await run_set(connection, namespace, assignment, as_json=True)
            assert run.result["result"] == "unchanged", assignment


async def test_what_the_cluster_does_not_have_is_said_at_the_field(
    control_plane: ControlPlane, namespace: str
) -> None:
    spec = ServingSpec.model_validate(
        {
            "name": NAME,
            "namespace": namespace,
            "template": "vllm",
            "image": "vllm/vllm-openai:v0.33.0",
            "memory": "16Gi",
            "accelerator": "nvidia.com/gpu",
            "settings": {"model": "org/m"},
            "image_pull_secrets": "registry-x",
            "service_account": "models-x",
            "resource_claims": "nic=template/fast-x gpu=claim/shared-x",
            "runtime_class": "gvisor-x",
        }
    )
    async with open_connection(control_plane) as connection:
        inventory = ClusterInventory(connection, namespace)
        plan = await make_plan(connection, spec, PlatformSettings(), inventory)
        await inventory.close()
    found = [(one.field, one.is_error, one.message) for one in plan.issues]
    for field, is_error, words in (
        ("image_pull_secrets", False, "no Secret 'registry-x'"),
        ("service_account", True, "no ServiceAccount 'models-x'"),
        ("resource_claims", True, "no ResourceClaimTemplate 'fast-x'"),
        ("resource_claims", True, "no ResourceClaim 'shared-x'"),
        ("runtime_class", True, "no RuntimeClass 'gvisor-x'"),
    ):
        assert any(
            (one, kind) == (field, is_error) and words in text for one, kind, text in found
        ), (field, found)


@pytest.mark.usefixtures("named_objects")
async def test_the_platforms_defaults_are_those_of_a_new_serving(
    control_plane: ControlPlane, namespace: str
) -> None:
    defaults = {
        "tolerations": "team=ml:NoSchedule",
        "image_pull_secrets": "registry",
        "runtime_class": "nvidia",
    }
    document = ServingSpec.model_validate(
        {
            "name": NAME,
            "namespace": namespace,
            "template": "custom",
            "image": "x:1",
            "memory": "1Gi",
            "runtime_class": "",
        }
    )
    async with open_connection(control_plane) as connection:
        for platform in (PlatformSettings(defaults=defaults), PlatformSettings()):
            lines: list[str] = []
            assert await apply_all(
                connection,
                [document],
                platform,
                dry_run=False,
                stdout=lines.append,
                stderr=lines.append,
            ), lines
            spec = (await begin_edit(connection, namespace, NAME)).base.spec
            assert spec.tolerations == ("team=ml:NoSchedule",)
            assert spec.image_pull_secrets == ("registry",)
            assert spec.runtime_class == ""
