"""Creating a serving on a real API server: the preview, and what remains after an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from servedeck.changes.draft import EMPTY_VARIABLE, Draft
from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.plan import ChangePlan, make_plan
from servedeck.cluster.apply import PreviewAction, apply, delete_created, preview
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ReadOnlyError
from servedeck.cluster.rejection import RejectionReason
from servedeck.serving.objects import manifests
from servedeck.serving.objects.field_changes import FieldChange, FieldConflict
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.spec import ServingSpec
from tests.control_plane.control_plane import ControlPlane, RequestError, wait_for


@asynccontextmanager
async def open_connection(plane: ControlPlane, **options: Any) -> AsyncIterator[Connection]:
    user = options.pop("user", "admin")
    server = options.pop("server", None)
    file = plane.write_kubeconfig(user, server=server)
    connection = await Connection.open(ConnectionOptions(kubeconfig=(file,), **options))
    try:
        yield connection
    finally:
        await connection.close()


def make_spec(namespace: str, **texts: str) -> ServingSpec:
    draft = Draft("vllm", namespace)
    draft.texts |= {"name": "llama", "settings.model": "meta-llama/Llama-3.1-8B-Instruct"}
    draft.texts |= texts
    spec, problems = draft.validate()
    assert spec is not None, problems
    return spec


async def plan_changes(
    connection: Connection, spec: ServingSpec, platform: PlatformSettings | None = None
) -> ChangePlan:
    inventory = ClusterInventory(connection, spec.namespace)
    inventory.start()
    try:
        await inventory.wait_until_listed()
        return await make_plan(connection, spec, platform or PlatformSettings(), inventory)
    finally:
        await inventory.close()


def grant_role(plane: ControlPlane, namespace: str, user: str, rules: list[dict[str, Any]]) -> None:
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    plane.create(f"{rbac}/roles", {"metadata": {"name": user}, "rules": rules})
    plane.create(
        f"{rbac}/rolebindings",
        {
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        },
    )
    plane.wait_until_allowed(user, rules, namespace)


async def test_a_new_serving_is_reviewed_and_then_deployed_as_reviewed(
    control_plane: ControlPlane, namespace: str
) -> None:
    platform = PlatformSettings(host="serve.example.com", gateway="gateways/main")
    async with open_connection(control_plane) as connection:
        spec = make_spec(namespace)
        plan = await plan_changes(connection, spec, platform)
        assert plan.errors == []
        assert [(one.ref.kind, one.action) for one in plan.previews] == [
            ("Deployment", PreviewAction.CREATE),
            ("Service", PreviewAction.CREATE),
            ("HTTPRoute", PreviewAction.CREATE),
        ]
        assert all(one.admission_changes == () for one in plan.previews)
        assert "fits" in plan.scheduling_summary
        with pytest.raises(RequestError):  # a preview stores nothing
            control_plane.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/llama")
        outcome = await apply(connection, plan.manifests, create=True)
        assert outcome.rejection is None
        assert [one.created for one in outcome.applied] == [True, True, True]
        again = await preview(connection, plan.manifests)
        assert [one.action for one in again] == [PreviewAction.UNCHANGED] * 3
    wait_for(
        lambda: control_plane.request(
            "GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/llama"
        )["status"].get("readyReplicas"),
        "the serving to be ready",
    )


async def test_a_taken_name_is_reported_with_its_manager(
    control_plane: ControlPlane, namespace: str
) -> None:
    create_foreign_service(control_plane, namespace)
    async with open_connection(control_plane) as connection:
        plan = await plan_changes(connection, make_spec(namespace))
        [problem] = plan.errors
        assert problem.field == "name"
        assert "kubectl" in problem.message
        outcome = await apply(connection, plan.manifests, create=True)
        assert outcome.rejection and outcome.rejection.reason is RejectionReason.ALREADY_EXISTS
        assert outcome.failed_ref and outcome.failed_ref.kind == "Service"
        assert [one.ref.kind for one in outcome.applied] == ["Deployment"]
        assert await delete_created(connection, outcome.applied) == ()
    wait_for(lambda: is_deleted(control_plane, namespace, "apps", "deployments"), "undo")
    assert not is_deleted(control_plane, namespace, "", "services")


async def test_what_an_attempt_before_made_is_not_taken(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        spec = make_spec(namespace)
        [deployment, *_] = manifests.build_manifests(spec)
        outcome = await apply(connection, [deployment], create=True)
        inventory = ClusterInventory(connection, spec.namespace)
        own = [one.ref for one in outcome.applied]
        plan = await make_plan(connection, spec, PlatformSettings(), inventory, own_objects=own)
    assert plan.errors == []
    assert [one.action for one in plan.previews] == [PreviewAction.UNCHANGED, PreviewAction.CREATE]


def create_foreign_service(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "service", "clusterip", "llama", "--tcp=80", "-n", namespace)


def is_deleted(
    plane: ControlPlane, namespace: str, group: str, plural: str, name: str = "llama"
) -> bool:
    root = f"/apis/{group}/v1" if group else "/api/v1"
    try:
        plane.request("GET", f"{root}/namespaces/{namespace}/{plural}/{name}")
    except RequestError as error:
        return error.status == 404
    return False


async def test_delete_created_leaves_an_object_that_another_client_created_since(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        objects = manifests.build_manifests(make_spec(namespace))
        outcome = await apply(connection, objects, create=True)
        control_plane.kubectl("delete", "service", "llama", "-n", namespace)
        control_plane.kubectl(
            "create", "service", "clusterip", "llama", "--tcp=80", "-n", namespace
        )
        assert await delete_created(connection, outcome.applied) == ()
    assert not is_deleted(control_plane, namespace, "", "services")


async def test_quota_is_known_before_anything_is_made(
    control_plane: ControlPlane, namespace: str
) -> None:
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}}
    control_plane.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    wait_for(
        lambda: control_plane.request("GET", f"/api/v1/namespaces/{namespace}/resourcequotas/gpus")[
            "status"
        ].get("used"),
        "the quota to count",
    )
    async with open_connection(control_plane) as connection:
        settings = {"accelerator_count": "2", "settings.tensor_parallel_size": "2", "memory": "8Gi"}
        plan = await plan_changes(connection, make_spec(namespace, **settings))
    [problem] = plan.errors
    assert "exceeded quota" in problem.message
    assert not plan.can_deploy


async def test_a_missing_namespace_claim_or_secret_key_is_named_at_its_field(
    control_plane: ControlPlane, namespace: str
) -> None:
    secret = {"metadata": {"name": "hf"}, "stringData": {"token": "x"}}
    control_plane.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
    async with open_connection(control_plane) as connection:
        plan = await plan_changes(connection, make_spec("no-such-namespace"))
        assert [problem.field for problem in plan.errors][:1] == ["namespace"]
        draft = Draft.from_spec(make_spec(namespace))
        draft.rows["env"] = [
            {"name": "A", "value": "", "source": "secret", "ref": "hf", "key": "token"},
            {"name": "B", "value": "", "source": "secret", "ref": "hf", "key": "tokn"},
            {"name": "C", "value": "", "source": "config_map", "ref": "gone", "key": "x"},
            {
                **EMPTY_VARIABLE,
                "name": "D",
                "source": "secret",
                "ref": "gone",
                "key": "x",
                "optional": "true",
            },
        ]
        spec, _ = draft.validate()
        assert spec
        plan = await plan_changes(connection, spec)
        assert [problem.field for problem in plan.errors] == ["env.1", "env.2"]
        draft.rows["env"] = []
        draft.rows["volumes"] = [{"pvc": "nope", "mount_path": "/data", "read_only": "false"}]
        spec, _ = draft.validate()
        assert spec
        plan = await plan_changes(connection, spec)
        assert [problem.field for problem in plan.errors] == ["volumes.0.pvc"]


async def test_capacity_says_how_many_replicas_stay_pending(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        plan = await plan_changes(
            connection,
            make_spec(
                namespace,
                replicas="30",
                accelerator_count="8",
                memory="64Gi",
                **{"settings.tensor_parallel_size": "8"},
            ),
        )
    assert "will stay Pending" in plan.scheduling_summary
    assert plan.can_deploy  # it may be intended: nodes can be added


async def test_a_missing_permission_is_named(control_plane: ControlPlane, namespace: str) -> None:
    grant_role(
        control_plane,
        namespace,
        "member",
        [
            {
                "apiGroups": ["apps"],
                "resources": ["deployments"],
                "verbs": ["get", "patch", "create"],
            }
        ],
    )
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        plan = await plan_changes(connection, make_spec(namespace))
        [problem] = plan.errors
        assert "services" in problem.message and "403" in problem.message
        assert any("nodes" in sentence for sentence in plan.unchecked)
        assert plan.scheduling_summary == ""


async def test_pod_security_rejects_before_anything_is_made(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl(
        "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    async with open_connection(control_plane) as connection:
        plan = await plan_changes(connection, make_spec(namespace))
    assert any("PodSecurity" in problem.message for problem in plan.errors)


async def test_a_field_of_another_manager_is_a_conflict_and_nothing_is_overwritten(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        spec = make_spec(namespace)
        await apply(connection, manifests.build_manifests(spec), create=True)
        control_plane.kubectl("scale", "deployment", "llama", "--replicas=3", "-n", namespace)
        [deployment, _] = manifests.build_manifests(spec.replace(replicas=2))
        outcome = await apply(connection, [deployment])
        assert outcome.rejection and outcome.rejection.reason is RejectionReason.CONFLICT
        assert ".spec.replicas" in outcome.rejection.fields
        [shown] = await preview(connection, [deployment])
        assert shown.rejection and shown.rejection.reason is RejectionReason.CONFLICT
        assert shown.rejection.conflicts == (FieldConflict(".spec.replicas", "kubectl", "3", "2"),)
        [forced] = await preview(connection, [deployment], force=True)
        assert forced.field_changes == (FieldChange(".spec.replicas", "3", "2"),)
        assert not forced.restarts_pods
    stored = control_plane.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/llama")
    assert stored["spec"]["replicas"] == 3


async def test_the_api_server_is_lost_between_the_objects(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane) as connection:
        objects = manifests.build_manifests(make_spec(namespace))
        loop = asyncio.get_running_loop()
        killed = loop.create_future()

        def kill(made: object) -> None:
            control_plane.kill("kube-apiserver")
            killed.set_result(made)

        outcome = await apply(connection, objects, create=True, on_applied=kill)
        assert killed.done()
        assert outcome.rejection and outcome.rejection.reason is RejectionReason.SERVER_ERROR
        assert [one.ref.kind for one in outcome.applied] == ["Deployment"]
        await asyncio.to_thread(control_plane.start)
        assert await delete_created(connection, outcome.applied) == ()
    wait_for(lambda: is_deleted(control_plane, namespace, "apps", "deployments"), "undo")


async def test_readonly_previews_and_writes_nothing(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane, readonly=True) as connection:
        plan = await plan_changes(connection, make_spec(namespace))
        assert plan.errors == []
        outcome = await apply(connection, plan.manifests, create=True)
        assert outcome.applied == ()
        assert outcome.rejection and "readonly" in outcome.rejection.message
        with pytest.raises(ReadOnlyError):
            await connection.request("DELETE", f"/api/v1/namespaces/{namespace}")
