"""The roles in deploy/rbac permit what they say, on a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.object_writes import ObjectWrite, apply_writes
from servedeck.cluster import resources
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.spec import ServingSpec
from tests.control_plane.assertions import started_session
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import grant_role, make_spec, open_connection
from tests.control_plane.test_other_workloads import (
    daemon_set,
    inference_service,
    leader_worker_set,
    plain_pod,
    ray_cluster,
    ray_service,
    rollout,
    stateful_set,
)

ROLES = Path(__file__).parents[2] / "deploy" / "rbac"


def rules_of(*roles: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for role in roles:
        found += yaml.safe_load((ROLES / f"{role}.yaml").read_text())["rules"]
    return found


async def run_apply(
    connection: Connection, spec: ServingSpec, platform: PlatformSettings, *, force: bool = False
) -> tuple[bool, list[str]]:
    lines: list[str] = []
    good = await apply_all(
        connection,
        [spec],
        platform,
        dry_run=False,
        stdout=lines.append,
        stderr=lines.append,
        force=force,
    )
    return good, lines


@pytest.mark.parametrize("route", RouteKind)
async def test_an_operator_creates_changes_and_forces_a_removal(
    control_plane: ControlPlane, namespace: str, route: RouteKind
) -> None:
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main", route=route)
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        good, lines = await run_apply(connection, make_spec(namespace), platform)
        assert good, lines
        assert sum(line.endswith(" created") for line in lines) == 3, lines
        live = await fetch_live_objects(connection, namespace, "llama")
        kinds = [one["kind"] for one in live.objects]
        assert kinds == ["Deployment", "Service", str(route)]
        assert live.related.unlisted_kinds == frozenset()

        add_variable(control_plane, namespace)
        spec = from_yaml((await export_serving(connection, namespace, "llama")).yaml)
        assert [one.name for one in spec.env] == ["LEVEL"]
        moved = spec.replace(inference_port=9000, env=())
        good, lines = await run_apply(connection, moved, platform)
        assert not good
        assert any("kubectl-set set" in line for line in lines), lines
        good, lines = await run_apply(connection, moved, platform, force=True)
        assert good, lines
        assert any("env[LEVEL]" in line for line in lines), lines

        # Every kind can be updated: what a forced change of it would send.
        live = await fetch_live_objects(connection, namespace, "llama")
        for one in live.objects:
            labels = {**one["metadata"].get("labels", {}), "forced": "true"}
            body = {**one, "metadata": {**one["metadata"], "labels": labels}}
            write = ObjectWrite(ObjectRef.from_manifest(one), body, live=one)
            outcome = await apply_writes(connection, [write], force=True)
            assert outcome.rejection is None, outcome


async def test_an_operator_is_told_what_the_settings_of_the_pods_name_in_vain(
    control_plane: ControlPlane, namespace: str
) -> None:
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    spec = make_spec(namespace).replace(
        service_account="models-x", resource_claims=("nic=template/fast-x",)
    )
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        good, lines = await run_apply(connection, spec, PlatformSettings())
    assert not good
    for expected in ("no ServiceAccount 'models-x'", "no ResourceClaimTemplate 'fast-x'"):
        assert any(expected in line for line in lines), lines


def add_variable(plane: ControlPlane, namespace: str) -> None:
    container = {"name": "inference-server", "env": [{"name": "LEVEL", "value": "debug"}]}
    plane.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/llama?fieldManager=kubectl-set",
        {"spec": {"template": {"spec": {"containers": [container]}}}},
        content_type="application/strategic-merge-patch+json",
    )


async def test_a_viewer_may_read_every_kind(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    control_plane.create(path, stateful_set("llama"))
    control_plane.create(f"/api/v1/namespaces/{namespace}/pods", plain_pod("solo"))
    group = "leaderworkerset.x-k8s.io/v1"
    path = f"/apis/{group}/namespaces/{namespace}/leaderworkersets"
    control_plane.create(path, leader_worker_set("big"))
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
    control_plane.create(path, inference_service("bert"))
    for made in (daemon_set("each"), rollout("canary"), ray_service("llms"), ray_cluster("pool")):
        group, plural = made["apiVersion"], f"{made['kind'].lower()}s"
        control_plane.create(f"/apis/{group}/namespaces/{namespace}/{plural}", made)
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    kubeconfig = control_plane.write_kubeconfig("viewer", namespace=namespace)
    async with started_session(kubeconfig, namespace) as live:
        found = {view.kind for view in live.fleet.views()}
        assert found == {one.kind for one in resources.READONLY_WORKLOADS}
        assert live.state.missing_permissions == ()


async def test_a_viewer_exports_and_applies_without_a_change(
    control_plane: ControlPlane, namespace: str
) -> None:
    platform = PlatformSettings(host="ai.example.com", gateway="gateways/main")
    async with open_connection(control_plane) as admin:
        good, lines = await run_apply(admin, make_spec(namespace), platform)
        assert good, lines
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    async with open_connection(control_plane, user="viewer", namespace=namespace) as connection:
        spec = from_yaml((await export_serving(connection, namespace, "llama")).yaml)
        good, lines = await run_apply(connection, spec, platform)
        assert good, lines
        assert [line for line in lines if line.startswith("error")] == []
        assert sum(line.endswith(" unchanged") for line in lines) == 3, lines
        good, lines = await run_apply(connection, spec.replace(replicas=2), platform)
        assert not good
        assert any("patch" in line and "deployments" in line for line in lines), lines


async def test_a_viewer_of_one_async_queue_reads_its_view_key_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    core = f"/api/v1/namespaces/{namespace}"
    for name in ("llama-async", "llama-async-view", "bert-async-view"):
        body = {"metadata": {"name": name}, "data": {"view-key": "eA=="}}
        control_plane.create(f"{core}/secrets", body)
    for name in ("llama-async-admin", "llama"):
        body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
        control_plane.create(f"{core}/services", body)
    grant_role(control_plane, namespace, "viewer", rules_of("viewer", "async-viewer"))

    async with open_connection(control_plane, user="viewer", namespace=namespace) as connection:

        async def reason(path: str, method: str = "GET") -> str:
            try:
                await connection.request(method, f"{core}/{path}")
            except ApiError as error:
                return error.reason
            return ""

        assert await reason("secrets/llama-async-view") == ""
        for other in ("secrets/llama-async", "secrets/bert-async-view", "secrets"):
            assert await reason(other) == "Forbidden"
        queue = "services/llama-async-admin:80/proxy/-/async/queue"
        # Nothing is behind it, which is said to those alone who may ask.
        assert await reason(queue) in ("NotFound", "ServiceUnavailable")
        assert await reason(f"{queue}/pause", "POST") == "Forbidden"
        assert await reason("services/llama:80/proxy/v1/models") == "Forbidden"
