"""Servings that others made, on a real API server: applying an export changes nothing, and an edit
changes what it says."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.serving.objects.diff import find_differences, format_path
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.spec import ServingSpec
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.control_plane.test_deploy import open_connection
from tests.serving.foreign_manifests import SIDECAR, foreign_objects

PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main")
NAME = "llm"

SERVER: dict[str, Any] = {
    "name": "vllm",
    "image": "vllm/vllm-openai:v0.9.2",
    "command": ["sh", "-c"],
    "args": ["exec vllm serve org/m --port 8000"],
    "ports": [{"containerPort": 8000}],
    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    "resources": {"limits": {"nvidia.com/gpu": "1"}},
    "readinessProbe": {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTPS"}},
}


def foreign_deployment() -> dict[str, Any]:
    labels = {"app": NAME}
    containers = copy.deepcopy([SIDECAR, SERVER])
    pod = {"containers": containers, "nodeSelector": {"gpu": "h100"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def create(plane: ControlPlane, namespace: str, manager: str, objects: list[Any]) -> list[str]:
    """Create the objects as another tool; returns their paths."""
    paths = []
    for one in objects:
        one["metadata"]["namespace"] = namespace
        ref = ObjectRef.from_manifest(one)
        plane.create(f"{ref.collection_path}?fieldManager={manager}", one)
        paths.append(ref.path)
    return paths


async def export_and_apply(
    connection: Connection, namespace: str, *, force: bool = False, **changes: Any
) -> tuple[bool, list[str], list[str]]:
    exported = await export_serving(connection, namespace, NAME)
    spec: ServingSpec = from_yaml(exported.yaml)
    stdout: list[str] = []
    stderr: list[str] = []
    good = await apply_all(
        connection,
        [spec.replace(**changes)],
        PLATFORM,
        dry_run=False,
        stdout=stdout.append,
        stderr=stderr.append,
        force=force,
    )
    return good, stdout, stderr


@settings(  # several requests for each example, in a shared namespace
    max_examples=25,
    suppress_health_check=[
        *settings.default.suppress_health_check,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(foreign_objects())
def test_applying_an_unchanged_export_writes_nothing(
    control_plane: ControlPlane, namespace: str, objects: list[dict[str, Any]]
) -> None:
    paths: list[str] = []
    try:
        for one in objects:
            paths += create(control_plane, namespace, "helm", [one])
    except RequestError as error:
        assume(error.status != 422)  # not valid for this release
        raise
    else:
        before = [control_plane.request("GET", path)["metadata"]["managedFields"] for path in paths]

        async def run() -> None:
            async with open_connection(control_plane) as connection:
                good, stdout, stderr = await export_and_apply(connection, namespace)
                assert good, stderr
                assert stdout
                assert all(line.endswith(" unchanged") for line in stdout), stdout

        asyncio.run(run())
        after = [control_plane.request("GET", path)["metadata"]["managedFields"] for path in paths]
        assert [managers(one) for one in after] == [managers(one) for one in before]
    finally:
        for path in paths:
            control_plane.request("DELETE", path)


def managers(entries: list[dict[str, Any]]) -> set[str]:
    """Who set fields, except for the controllers, which write the status."""
    return {one["manager"] for one in entries} - {"kube-controller-manager"}


@pytest.fixture
def foreign(control_plane: ControlPlane, namespace: str) -> str:
    """Path of a Deployment that Helm made."""
    return create(control_plane, namespace, "helm", [foreign_deployment()])[0]


async def test_an_edit_of_a_foreign_serving_is_a_conflict_until_it_is_forced(
    control_plane: ControlPlane, namespace: str, foreign: str
) -> None:
    before = control_plane.request("GET", foreign)
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(connection, namespace, replicas=3)
        assert not good
        assert any("helm set 1, the file says 3" in line for line in stderr), stderr
        good, stdout, _ = await export_and_apply(connection, namespace, replicas=3, force=True)
    assert good
    assert "  .spec.replicas: 1 -> 3" in stdout
    after = control_plane.request("GET", foreign)
    assert [format_path(one.path) for one in find_differences(before["spec"], after["spec"])] == [
        "replicas"
    ]


async def test_a_new_variable_of_a_foreign_serving_is_no_conflict(
    control_plane: ControlPlane, namespace: str, foreign: str
) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]
    async with open_connection(control_plane) as connection:
        good, stdout, stderr = await export_and_apply(connection, namespace, env=env)
    assert good, stderr
    assert '  .spec.template.spec.containers[vllm].env[C]: none -> {"name": "C", "value": "3"}' in (
        stdout
    )
    pod = control_plane.request("GET", foreign)["spec"]["template"]["spec"]
    assert pod["containers"][1]["env"] == env
    assert pod["containers"][1]["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert "limits" in pod["containers"][1]["resources"]


async def test_removing_a_variable_of_others_is_a_conflict_until_it_is_forced(
    control_plane: ControlPlane, namespace: str, foreign: str
) -> None:
    env = [{"name": "B", "value": "2"}]
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(connection, namespace, env=env)
        assert not good
        assert any("env[A]: helm set" in line for line in stderr), stderr
        good, _, stderr = await export_and_apply(connection, namespace, env=env, force=True)
        assert good, stderr
    pod = control_plane.request("GET", foreign)["spec"]["template"]["spec"]
    assert pod["containers"][1]["env"] == env
    assert pod["nodeSelector"] == {"gpu": "h100"}


async def test_an_edit_of_our_own_serving_removes_what_it_removes(
    control_plane: ControlPlane, namespace: str
) -> None:
    spec = ServingSpec(
        name=NAME,
        namespace=namespace,
        template="vllm",
        image="vllm/vllm-openai:v0.33.0",
        memory="16Gi",
        accelerator="nvidia.com/gpu",
        settings={"model": "org/m"},
        inference_port=8000,
        rollout="replace",
        startup_seconds=1800,
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        transformer={"image": "transformer:1"},
    )
    lines: list[str] = []

    async def apply(wanted: ServingSpec, connection: Connection) -> bool:
        return await apply_all(
            connection,
            [wanted],
            PlatformSettings(),
            dry_run=False,
            stdout=lines.append,
            stderr=lines.append,
        )

    async with open_connection(control_plane) as connection:
        assert await apply(spec, connection), lines
        smaller = spec.replace(env=[{"name": "B", "value": "2"}], transformer=None)
        assert await apply(smaller, connection), lines
        exported = await export_serving(connection, namespace, NAME)
        assert from_yaml(exported.yaml) == smaller
        other_port = smaller.replace(inference_port=9000, cpu=None)
        assert await apply(other_port, connection), lines
        assert from_yaml((await export_serving(connection, namespace, NAME)).yaml) == other_port
    ref = ObjectRef("apps/v1", "Deployment", namespace, NAME)
    [container] = control_plane.request("GET", ref.path)["spec"]["template"]["spec"]["containers"]
    assert [one["containerPort"] for one in container["ports"]] == [9000]


async def test_a_port_with_two_names_is_changed(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Server-side apply does not accept two entries of one port."""
    one = foreign_deployment()
    server = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.9.2",
        "args": ["org/m"],
        "ports": [
            {"containerPort": 8000, "name": "http"},
            {"containerPort": 8000, "name": "metrics"},
        ],
    }
    one["spec"]["template"]["spec"]["containers"] = [server]
    [path] = create(control_plane, namespace, "helm", [one])
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(connection, namespace, inference_port=9100)
        assert not good
        assert any("ports[" in line for line in stderr), stderr
        good, _, stderr = await export_and_apply(
            connection, namespace, inference_port=9100, force=True
        )
        assert good, stderr
    [changed] = control_plane.request("GET", path)["spec"]["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in changed["ports"]] == [9100, 9100]


async def test_a_variable_is_inserted_where_it_is_wanted(
    control_plane: ControlPlane, namespace: str, foreign: str
) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "X", "value": "9"}, {"name": "B", "value": "2"}]
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(connection, namespace, env=env)
        assert good, stderr
        good, stdout, stderr = await export_and_apply(connection, namespace, env=env)
    assert stdout == [f"deployment.apps/{NAME} unchanged"], stderr
    pod = control_plane.request("GET", foreign)["spec"]["template"]["spec"]
    assert pod["containers"][1]["env"] == env


async def test_the_key_of_a_secret_of_others_can_be_changed(
    control_plane: ControlPlane, namespace: str
) -> None:
    deployment = foreign_deployment()
    server = deployment["spec"]["template"]["spec"]["containers"][1]
    ref = {"name": "hf", "key": "token", "optional": True}
    server["env"] = [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": ref}}]
    [path] = create(control_plane, namespace, "helm", [deployment])
    secret = {"metadata": {"name": "hf"}, "stringData": {"other": "x"}}
    control_plane.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
    env = [{"name": "HF_TOKEN", "secret": {"name": "hf", "key": "other", "optional": True}}]
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(connection, namespace, env=env)
        assert not good
        assert any('"key": "other"' in line and '"name": "hf"' in line for line in stderr), stderr
        good, _, stderr = await export_and_apply(connection, namespace, env=env, force=True)
    assert good, stderr
    [variable] = container_of(control_plane, path)["env"]
    assert variable["valueFrom"]["secretKeyRef"] == {**ref, "key": "other"}


def container_of(plane: ControlPlane, path: str) -> Any:
    pod = plane.request("GET", path)["spec"]["template"]["spec"]
    return next(one for one in pod["containers"] if one["name"] == "vllm")


async def test_after_a_forced_removal_our_own_fields_are_no_conflict(
    control_plane: ControlPlane, namespace: str, foreign: str
) -> None:
    env = [{"name": "B", "value": "2"}, {"name": "X", "value": "1"}]
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(
            connection, namespace, env=env, replicas=2, force=True
        )
        assert good, stderr
        env[1]["value"] = "2"
        good, _, stderr = await export_and_apply(connection, namespace, env=env, replicas=3)
        assert good, stderr
        good, _, stderr = await export_and_apply(connection, namespace, env=env[:1])
        assert good, stderr
        good, _, stderr = await export_and_apply(connection, namespace, image="vllm:2")
        assert not good
        assert any("helm set" in line for line in stderr), stderr
    after = control_plane.request("GET", foreign)
    assert after["spec"]["replicas"] == 3
    assert container_of(control_plane, foreign)["env"] == env[:1]


async def test_what_is_missing_already_is_no_reason_to_reject_another_change(
    control_plane: ControlPlane, namespace: str
) -> None:
    deployment = foreign_deployment()
    pod = deployment["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "missing"}}]
    ref = {"name": "missing", "key": "token", "optional": True}
    pod["containers"][1]["env"] = [{"name": "T", "valueFrom": {"secretKeyRef": ref}}]
    pod["containers"][1]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    [path] = create(control_plane, namespace, "helm", [deployment])
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(connection, namespace, replicas=0, force=True)
    assert good, stderr
    assert any("warning" in line and "missing" in line for line in stderr), stderr
    assert control_plane.request("GET", path)["spec"]["replicas"] == 0


def with_variable(name: str, **source: Any) -> dict[str, Any]:
    deployment = foreign_deployment()
    server = deployment["spec"]["template"]["spec"]["containers"][1]
    server["env"].append({"name": name, "valueFrom": source})
    return deployment


@pytest.mark.parametrize(
    ("optional", "warnings"),
    [(False, ["has no Secret 'hf', so new Pods of the serving do not start."]), (True, [])],
)
async def test_a_secret_that_is_missing_already_is_a_warning_unless_it_is_optional(
    control_plane: ControlPlane, namespace: str, optional: bool, warnings: list[str]
) -> None:
    ref = {"name": "hf", "key": "token", "optional": optional}
    create(control_plane, namespace, "helm", [with_variable("HF_TOKEN", secretKeyRef=ref)])
    async with open_connection(control_plane) as connection:
        good, stdout, stderr = await export_and_apply(connection, namespace, replicas=2, force=True)
        assert good, stderr
        assert "  .spec.replicas: 1 -> 2" in stdout
        lines = [line for line in stderr if "hf" in line]
        assert len(lines) == len(warnings)
        for line, end in zip(lines, warnings, strict=True):
            assert line.startswith("warning: ")
            assert line.endswith(end)
        other = [{"name": "T", "secret": {"name": "other", "key": "token"}}]
        good, _, stderr = await export_and_apply(connection, namespace, env=other, force=True)
    assert not good
    assert any(line.endswith("no Secret 'other'; create it first.") for line in stderr), stderr


async def test_a_new_serving_needs_the_secret_that_its_document_names(
    control_plane: ControlPlane, namespace: str
) -> None:
    ref = {"name": "hf", "key": "token"}
    create(control_plane, namespace, "helm", [with_variable("HF_TOKEN", secretKeyRef=ref)])
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(connection, namespace, name="copy")
    assert not good
    assert any("no Secret 'hf'; create it first." in line for line in stderr), stderr


async def test_rules_about_volumes_of_ours_do_not_hold_for_a_serving_of_others(
    control_plane: ControlPlane, namespace: str, foreign: str
) -> None:
    env = [{"name": "HF_HOME", "value": "/models"}]
    async with open_connection(control_plane) as connection:
        good, _, stderr = await export_and_apply(
            connection, namespace, memory="96Mi", env=env, force=True
        )
    assert good, stderr
    assert not any("HF_HOME" in line or "/dev/shm" in line for line in stderr), stderr
    assert container_of(control_plane, foreign)["resources"]["limits"]["memory"] == "96Mi"


async def test_a_forced_removal_succeeds_while_controllers_write_the_object(
    control_plane: ControlPlane, namespace: str, foreign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = [{"name": "B", "value": "2"}]
    annotations = [{"metadata": {"annotations": {"seen": number}}} for number in ("1", "2")]
    status = {"status": {"conditions": [{"type": "Seen", "status": "True"}]}}
    writes = [(foreign, one) for one in annotations] + [(f"{foreign}/status", status)]
    async with open_connection(control_plane) as connection:
        request = connection.request

        async def intercepted(method: str, *args: Any, **options: Any) -> Any:
            if method == "PUT" and writes:
                path, body = writes.pop()
                content_type = "application/merge-patch+json"
                control_plane.request("PATCH", path, body, content_type=content_type)
            return await request(method, *args, **options)

        monkeypatch.setattr(connection, "request", intercepted)
        good, stdout, stderr = await export_and_apply(connection, namespace, env=env, force=True)
        assert good, stderr
        assert stdout[0] == f"deployment.apps/{NAME} configured"
        assert writes == []
        writes.append((foreign, {"spec": {"replicas": 2}}))
        good, _, stderr = await export_and_apply(connection, namespace, env=[], force=True)
    assert not good
    assert any("changed by somebody else at the same time (spec.replicas)" in one for one in stderr)
    after = control_plane.request("GET", foreign)
    assert after["metadata"]["annotations"]["seen"] == "1"
    assert after["spec"]["replicas"] == 2
    assert container_of(control_plane, foreign)["env"] == env
