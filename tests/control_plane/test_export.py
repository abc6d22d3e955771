"""The file of an export says what a new serving made from it lacks; on a real API server, which
adds its defaults."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.export import ExportedServing, export_serving
from servedeck.serving.objects.diff import MISSING, find_differences, same_quantity
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import open_connection
from tests.serving.corpus import SERVINGS
from tests.serving.unmanaged_cases import CASES, UnmanagedCase, make_deployment

Json = dict[str, Any]

PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main")
_SET_BY_SERVER = frozenset(
    {
        *("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "status"),
        *("namespace", "clusterIP", "clusterIPs", "serviceAccount"),
    }
)


@pytest.fixture
def fresh(control_plane: ControlPlane) -> Iterator[str]:
    """Another empty namespace."""
    name = f"fresh-{secrets.token_hex(4)}"
    control_plane.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


def create(plane: ControlPlane, namespace: str, deployment: Json) -> ObjectRef:
    """A Deployment, and a Service as charts make it."""
    name = deployment["metadata"]["name"]
    deployment["metadata"]["namespace"] = namespace
    ref = ObjectRef("apps/v1", "Deployment", namespace, name)
    plane.create(ref.collection_path, deployment)
    labels = deployment["spec"]["selector"]["matchLabels"]
    ports = [{"name": "api", "port": 8000, "targetPort": 8000}]
    service = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"type": "NodePort", "selector": labels, "ports": ports},
    }
    plane.create(f"/api/v1/namespaces/{namespace}/services", service)
    return ref


async def apply_in(connection: Connection, namespace: str, exported: ExportedServing) -> bool:
    """Whether a new serving could be made from the file in a namespace."""
    lines: list[str] = []
    return await apply_all(
        connection,
        [from_yaml(exported.yaml).replace(namespace=namespace)],
        PLATFORM,
        dry_run=False,
        stdout=lines.append,
        stderr=lines.append,
    )


def find_losses(plane: ControlPlane, ref: ObjectRef, fresh: str, exported: ExportedServing) -> Any:
    """Fields of the objects that the new serving lacks or has otherwise, and the file does not
    say."""
    said: dict[str, list[Any]] = {}
    for one in exported.unmanaged_fields:
        said.setdefault(one.object.partition(" ")[0], []).append(one.steps)
    service = ObjectRef("v1", "Service", ref.namespace, ref.name)
    for old in (ref, service):
        new = old._replace(namespace=fresh)
        before, after = (plane.request("GET", one.path) for one in (old, new))
        for one in (before, after):  # the Deployment controller's, at some time
            annotations = one["metadata"].setdefault("annotations", {})
            annotations.pop("deployment.kubernetes.io/revision", None)
        if old.kind == "Deployment":  # every server of servedeck is in a container of one name
            containers = after["spec"]["template"]["spec"]["containers"]
            containers[0]["name"] = server_name(before)
        for one in find_differences(before, after):
            if one.old is MISSING or not _SET_BY_SERVER.isdisjoint(map(str, one.path)):
                continue
            if one.new is not MISSING and same_quantity(one.old, one.new):
                continue
            steps = said.get(old.kind, [])
            path = one.path
            if "tolerations" in path:  # named, not numbered
                path = path[: path.index("tolerations") + 1]
                steps = [step[: len(path)] for step in steps]
            if not any(path[: len(step)] == step for step in steps):
                yield old.kind, path, one.old, one.new


def server_name(deployment: Json) -> Any:
    return import_objects([deployment]).objects.container["name"]


def comments(exported: ExportedServing) -> list[str]:
    return [line for line in exported.yaml.split("\n") if line.startswith("#")]


async def test_every_field_that_a_new_serving_lacks_is_a_comment_of_the_file(
    control_plane: ControlPlane, namespace: str, fresh: str
) -> None:
    async with open_connection(control_plane) as connection:
        for number, (name, case) in enumerate(CASES.items()):
            ref = create(control_plane, namespace, make_deployment(case, f"case-{number}"))
            exported = await export_serving(connection, namespace, ref.name)
            assert any(case.comment in line for line in comments(exported)), name
            is_made = await apply_in(connection, fresh, exported)
            # One of a TCP port alone has no endpoint that a field says: it is refused, not dropped.
            assert is_made == (name != "startup probe"), name
            if is_made:
                assert [*find_losses(control_plane, ref, fresh, exported)] == [], name


async def test_new_servings_made_from_those_of_others_lack_nothing_in_silence(
    control_plane: ControlPlane, namespace: str, fresh: str
) -> None:
    made = 0
    async with open_connection(control_plane) as connection:
        for number, (name, serving) in enumerate(SERVINGS.items()):
            deployment = make_deployment(UnmanagedCase(), f"serving-{number}")
            pod = copy.deepcopy(serving.workload.pod)
            deployment["spec"]["template"]["spec"] = pod
            deployment["spec"]["template"]["metadata"]["annotations"] |= (
                serving.workload.annotations
            )
            ref = create(control_plane, namespace, deployment)
            exported = await export_serving(connection, namespace, ref.name)
            if await apply_in(connection, fresh, exported):
                assert [*find_losses(control_plane, ref, fresh, exported)] == [], name
                made += 1
    assert made > len(SERVINGS) // 2  # the others have no model or memory, for example


async def test_applying_the_unchanged_export_of_a_serving_of_others_writes_nothing(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        for number, (name, serving) in enumerate(SERVINGS.items()):
            deployment = make_deployment(UnmanagedCase(), f"serving-{number}")
            deployment["spec"]["replicas"] = 0
            deployment["spec"]["template"]["spec"] = copy.deepcopy(serving.workload.pod)
            ref = create(control_plane, namespace, deployment)
            exported = await export_serving(connection, namespace, ref.name)
            stdout: list[str] = []
            stderr: list[str] = []
            good = await apply_all(
                connection,
                [from_yaml(exported.yaml)],
                PLATFORM,
                dry_run=False,
                stdout=stdout.append,
                stderr=stderr.append,
            )
            unchanged = [line for line in stdout if line.endswith(" unchanged")]
            assert good, (name, stderr)
            assert stdout[:2] == unchanged[:2], (name, stdout)
            assert len(unchanged) >= 2, (name, stdout)
