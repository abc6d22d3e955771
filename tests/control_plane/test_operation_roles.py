"""Each operation under the roles in deploy/rbac, on a real API server: what a role does not permit
is known from the plan, with the missing verb."""

from __future__ import annotations

import pytest

from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import Operation, OperationKind, Outcome
from servedeck.changes.operations.planner import plan_operation
from tests.control_plane.control_plane import ControlPlane
from tests.control_plane.test_deploy import grant_role, open_connection
from tests.control_plane.test_operations import NEW_IMAGE, Operator
from tests.control_plane.test_other_workloads import stateful_set
from tests.control_plane.test_roles import rules_of
from tests.control_plane.test_rollouts import SERVER, Serving, serving

__all__ = ["serving"]

NODE_KINDS = (OperationKind.CORDON, OperationKind.UNCORDON)
OTHER_KINDS = (
    OperationKind.EDIT,
    OperationKind.ADOPT,
    OperationKind.RELEASE,
    OperationKind.EXEC,
    OperationKind.RUN,
    OperationKind.PORT_FORWARD,
)
"""Edits of whole objects, adoptions, commands in containers and port-forwards have tests of their
own; kubectl runs a shell."""
SERVING_KINDS = [one for one in OperationKind if one not in (*NODE_KINDS, *OTHER_KINDS)]


def make_operation(kind: OperationKind, one: Serving) -> Operation:
    """An operation for which there is something to do, once the Deployment is made so."""
    if kind is OperationKind.DELETE_POD:
        [pod, *_] = one.plane.list_pods(one.namespace, "llama")
        return Operation(kind, one.namespace, pod["metadata"]["name"])
    if kind is OperationKind.ROLLBACK:
        one.kubectl("set", "image", "deployment/llama", f"{SERVER}={NEW_IMAGE}")
        one.wait_until_complete(2)
    if kind is OperationKind.RESUME:
        one.kubectl("rollout", "pause", "deployment/llama")
    if kind is OperationKind.START:
        one.kubectl("scale", "deployment/llama", "--replicas=0")
    return Operation(kind, one.namespace, "llama", 3)


@pytest.mark.parametrize("kind", SERVING_KINDS)
async def test_a_viewer_is_told_the_missing_verb_and_changes_nothing(
    control_plane: ControlPlane, namespace: str, serving: Serving, kind: OperationKind
) -> None:
    grant_role(control_plane, namespace, "viewer", rules_of("viewer"))
    operation = make_operation(kind, serving)
    before = serving.deployment()["spec"]
    async with open_connection(control_plane, user="viewer", namespace=namespace) as connection:
        plan = await plan_operation(connection, operation)
    if kind is OperationKind.DELETE:
        assert plan.blocked == (
            "Deployment llama cannot be deleted: needs delete on deployments.apps in namespace "
            f"{namespace}."
        )
    else:
        verb, resource = operation.required_permission
        assert f'cannot {verb} resource "{resource.partition(".")[0]}"' in plan.blocked
    assert serving.deployment()["spec"] == before


@pytest.mark.parametrize("kind", SERVING_KINDS)
async def test_an_operator_may_do_each(
    control_plane: ControlPlane, namespace: str, serving: Serving, kind: OperationKind
) -> None:
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    operation = make_operation(kind, serving)
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        plan = await plan_operation(connection, operation)
        assert (plan.blocked, plan.warnings) in (
            ("", ()),
            # A start without a note of what was before.
            ("", ("How many replicas it had before is not known; it starts with 1.",)),
        )
        assert (await run_plan(connection, plan)).outcome is Outcome.DONE


async def test_nodes_need_a_role_in_the_whole_cluster(
    control_plane: ControlPlane, namespace: str
) -> None:
    [node] = control_plane.add_nodes(1, prefix=f"role-{namespace}")
    operation = Operation(OperationKind.CORDON, "", node)
    grant_role(control_plane, namespace, "member", rules_of("viewer", "operator"))
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        assert (
            'cannot get resource "nodes"' in (await plan_operation(connection, operation)).blocked
        )
        rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
        control_plane.grant("member", rules, name=namespace)
        found = await plan_operation(connection, operation)
        assert 'cannot patch resource "nodes"' in found.blocked
        rules[0]["verbs"].append("patch")
        control_plane.grant("member", rules, name=namespace)
        plan = await plan_operation(connection, operation)
        assert (await run_plan(connection, plan)).outcome is Outcome.DONE
    control_plane.revoke("member", name=namespace)
    control_plane.request("DELETE", f"/api/v1/nodes/{node}")  # it is cordoned


async def test_without_permission_for_autoscalers_a_warning_says_what_is_not_known(
    control_plane: ControlPlane, namespace: str, serving: Serving
) -> None:
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]
    grant_role(control_plane, namespace, "member", rules)
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        plan = await Operator(connection, namespace).plan(OperationKind.SCALE, 3)
    assert plan.is_possible
    assert plan.warnings == tuple(
        f"Without permission to list {one}, it is not known whether one sets the replicas."
        for one in ("horizontalpodautoscalers.autoscaling", "scaledobjects.keda.sh")
    )


async def test_a_deletion_is_blocked_before_anything_is_deleted(
    control_plane: ControlPlane, namespace: str, serving: Serving
) -> None:
    services = f"/api/v1/namespaces/{namespace}/services"
    labels = serving.deployment()["metadata"]["labels"]
    body = {
        "metadata": {"name": "llama", "labels": labels},
        "spec": {"selector": {"app": "llama"}, "ports": [{"port": 80}]},
    }
    control_plane.create(services, body)
    rules = [{"apiGroups": [""], "resources": ["services"], "verbs": ["delete"]}]
    grant_role(control_plane, namespace, "member", [*rules_of("viewer"), *rules])
    async with open_connection(control_plane, user="member", namespace=namespace) as connection:
        plan = await Operator(connection, namespace).plan(OperationKind.DELETE)
        assert [one.target for one in plan.deletions] == ["Service llama", "Deployment llama"]
        assert "needs delete on deployments.apps" in plan.blocked
        assert (await run_plan(connection, plan)).outcome is Outcome.REJECTED
    assert control_plane.request("GET", f"{services}/llama")


async def test_a_serving_that_is_no_deployment_is_named(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    control_plane.create(path, stateful_set("llama"))
    async with open_connection(control_plane, namespace=namespace) as connection:
        for kind in (OperationKind.RESTART, OperationKind.DELETE):
            plan = await Operator(connection, namespace).plan(kind)
            assert plan.blocked == (
                f"There is no Deployment llama in namespace {namespace}; the StatefulSet of that "
                "name is read-only here, use kubectl."
            )


async def test_a_webhook_that_cannot_be_called_blocks_the_plan(
    control_plane: ControlPlane, namespace: str, serving: Serving
) -> None:
    root = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    webhook = {
        "name": "replicas.tests.servedeck.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [
            {
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["UPDATE"],
                "resources": ["deployments"],
            }
        ],
    }
    control_plane.create(root, {"metadata": {"name": namespace}, "webhooks": [webhook]})
    try:
        async with open_connection(control_plane, namespace=namespace) as connection:
            operator = Operator(connection, namespace)
            plan = await operator.plan_until(OperationKind.SCALE, 3, lambda one: one.blocked)
        assert "failed calling webhook" in plan.blocked
    finally:
        control_plane.request("DELETE", f"{root}/{namespace}")
