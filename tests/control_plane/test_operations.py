"""What operations on a serving do, on a real control plane, and that kubectl does the same."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from servedeck.changes.operations.execution import run_plan
from servedeck.changes.operations.operation import (
    Operation,
    OperationKind,
    OperationPlan,
    OperationResult,
    Outcome,
)
from servedeck.changes.operations.planner import plan_operation
from servedeck.cluster.http.connection import Connection
from servedeck.serving.objects.template_changes import RESTARTED_AT_ANNOTATION
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.test_deploy import is_deleted, open_connection
from tests.control_plane.test_rollouts import SERVER, Serving, serving
from tests.waiting import with_timeout

__all__ = ["serving"]

NEW_IMAGE = "vllm/vllm-openai:v0.11.0"


class Operator:
    """Plans and runs operations on the Deployment "llama"."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self.connection = connection
        self.namespace = namespace

    async def plan(
        self, kind: OperationKind, replicas: int | None = None, *, name: str = "llama", **more: Any
    ) -> OperationPlan:
        is_node = kind in (OperationKind.CORDON, OperationKind.UNCORDON)
        namespace = "" if is_node else self.namespace
        operation = Operation(kind, namespace, name, replicas, **more)
        return await plan_operation(self.connection, operation)

    async def plan_until(
        self, kind: OperationKind, replicas: int, condition: Callable[[OperationPlan], object]
    ) -> OperationPlan:
        """The first plan for which the condition holds: the API server reads a policy some time
        after it was created."""

        async def wait() -> OperationPlan:
            while not condition(plan := await self.plan(kind, replicas)):
                await asyncio.sleep(0.05)
            return plan

        return await with_timeout(wait())

    async def run(self, plan: OperationPlan) -> OperationResult:
        return await run_plan(self.connection, plan)

    async def do(
        self, kind: OperationKind, replicas: int | None = None, **more: Any
    ) -> OperationPlan:
        """Plan and run; returns the plan."""
        plan = await self.plan(kind, replicas, **more)
        assert plan.is_possible, plan.blocked or plan.unchanged
        result = await self.run(plan)
        assert result.outcome is Outcome.DONE, result.message
        return plan


@pytest.fixture
async def operator(
    control_plane: ControlPlane, namespace: str, serving: Serving
) -> AsyncIterator[Operator]:
    async with open_connection(control_plane, namespace=namespace) as connection:
        yield Operator(connection, namespace)


def template_of(serving: Serving) -> Any:
    return serving.deployment()["spec"]["template"]


def pod_uids(serving: Serving) -> set[str]:
    return {one["metadata"]["uid"] for one in serving.plane.list_pods(serving.namespace, "llama")}


# -- what each does -----------------------------------------------------------------------------


async def test_scaling_keeps_the_pods_and_the_revision(
    operator: Operator, serving: Serving
) -> None:
    before = pod_uids(serving)
    plan = await operator.do(OperationKind.SCALE, 3)
    assert not plan.needs_confirmation
    serving.wait_until_complete(1, 3)
    assert before < pod_uids(serving)
    assert len(serving.replicasets()) == 1


async def test_stopping_and_starting_goes_back_to_the_number_before(
    operator: Operator, serving: Serving
) -> None:
    plan = await operator.do(OperationKind.STOP)
    assert plan.needs_confirmation
    wait_for(lambda: not pod_uids(serving), "the Pods to stop")
    await operator.do(OperationKind.START)
    serving.wait_until_complete(1, 2)
    annotations = serving.deployment()["metadata"]["annotations"]
    assert not any("servedeck.dev" in key for key in annotations)
    assert len(serving.replicasets()) == 1


async def test_a_number_that_kubectl_has_scaled_over_is_not_started(
    operator: Operator, serving: Serving
) -> None:
    await operator.do(OperationKind.STOP)
    serving.kubectl("scale", "deployment/llama", "--replicas=4")
    serving.kubectl("scale", "deployment/llama", "--replicas=0")
    plan = await operator.plan(OperationKind.START)
    assert plan.effects == ("1 new Pod: 0 → 1 replica.",)
    assert "is not known" in plan.warnings[0]


async def test_a_restart_replaces_every_pod_and_a_second_one_again(
    operator: Operator, serving: Serving
) -> None:
    before = pod_uids(serving)
    # In one second, or in two: both restart.
    for _ in range(2):
        plan = await operator.do(OperationKind.RESTART)
        assert plan.needs_confirmation
    revisions = wait_for(
        lambda: found if (found := serving.rollouts()).current.number >= 2 else None, "a revision"
    )
    assert revisions is not None
    serving.wait_until_complete(revisions.current.number, 2)
    wait_for(lambda: not before & pod_uids(serving), "every Pod to be replaced")


async def test_a_rollback_makes_exactly_the_earlier_template(
    operator: Operator, serving: Serving
) -> None:
    first = template_of(serving)
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}={NEW_IMAGE}")
    serving.wait_until_complete(2)
    serving.kubectl("set", "env", "deployment/llama", "LEVEL=debug")
    serving.wait_until_complete(3)
    plan = await operator.do(OperationKind.ROLLBACK, revision=1)
    assert [(one.old, one.new) for one in plan.differences] == [
        (NEW_IMAGE, "vllm/vllm-openai:v0.10.0"),
        ("debug", "none"),
    ]
    assert template_of(serving) == first
    found = serving.wait_until_complete(4)
    assert found.current.previous_numbers == (1,)
    assert len(serving.replicasets()) == 3
    # And back, by what its plan says undoes it.
    assert plan.undo is not None
    await operator.run(await plan_operation(operator.connection, plan.undo))
    assert template_of(serving)["spec"]["containers"][0]["env"] == [
        {"name": "LEVEL", "value": "debug"}
    ]


async def test_a_paused_change_is_rolled_out_after_a_confirmed_resume(
    operator: Operator, serving: Serving
) -> None:
    before = pod_uids(serving)
    plan = await operator.do(OperationKind.PAUSE)
    assert not plan.needs_confirmation
    harmless = await operator.plan(OperationKind.RESUME)
    assert not harmless.needs_confirmation
    serving.kubectl("set", "image", "deployment/llama", f"{SERVER}={NEW_IMAGE}")
    restart = await operator.plan(OperationKind.RESTART)
    assert restart.blocked == "Its rollout is paused; resume it first."
    plan = await operator.plan(OperationKind.RESUME)
    assert plan.needs_confirmation
    assert [(one.old, one.new) for one in plan.differences] == [
        ("vllm/vllm-openai:v0.10.0", NEW_IMAGE)
    ]
    assert pod_uids(serving) == before
    assert (await operator.run(plan)).outcome is Outcome.DONE
    serving.wait_until_complete(2)


async def test_a_paused_deployment_is_scaled(operator: Operator, serving: Serving) -> None:
    await operator.do(OperationKind.PAUSE)
    await operator.do(OperationKind.SCALE, 3)
    wait_for(lambda: len(pod_uids(serving)) == 3, "the third Pod")


async def test_a_deletion_deletes_what_servedeck_made_and_nothing_else(
    control_plane: ControlPlane, namespace: str, operator: Operator, serving: Serving
) -> None:
    labels = {"app.kubernetes.io/managed-by": "servedeck", "servedeck.dev/serving": "llama"}
    services = f"/api/v1/namespaces/{namespace}/services"
    for name, given in (("llama", labels), ("foreign", {})):
        body = {
            "metadata": {"name": name, "labels": given},
            "spec": {"selector": {"app": "llama"}, "ports": [{"port": 80}]},
        }
        control_plane.create(services, body)
    control_plane.create(
        f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects",
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {
                "name": "llama",
                "annotations": {"autoscaling.keda.sh/paused": "true"},
            },
            "spec": {
                "scaleTargetRef": {"name": "llama"},
                "triggers": [{"type": "cron", "metadata": {}}],
            },
        },
    )
    claim = {"persistentVolumeClaim": {"claimName": "models"}, "name": "models"}
    serving.patch(template={"spec": {"volumes": [claim]}})
    plan = await operator.plan(OperationKind.DELETE)
    assert plan.kept == ("Service foreign", "ScaledObject llama", "PersistentVolumeClaim models")
    assert not is_deleted(control_plane, namespace, "", "services")  # a plan deletes nothing
    assert (await operator.run(plan)).outcome is Outcome.DONE
    wait_for(lambda: is_deleted(control_plane, namespace, "apps", "deployments"), "the Deployment")
    assert is_deleted(control_plane, namespace, "", "services")
    assert not is_deleted(control_plane, namespace, "", "services", "foreign")
    wait_for(lambda: not serving.replicasets() and not pod_uids(serving), "Pods to be collected")


async def test_a_deleted_pod_is_replaced(operator: Operator, serving: Serving) -> None:
    pod = serving.plane.list_pods(serving.namespace, "llama")[0]["metadata"]
    plan = await operator.do(OperationKind.DELETE_POD, name=pod["name"])
    assert plan.effects[1].startswith("ReplicaSet llama-")
    wait_for(
        lambda: len(pod_uids(serving)) == 2 and pod["uid"] not in pod_uids(serving), "a new Pod"
    )


async def test_cordoning_a_node_keeps_new_pods_off_it(
    control_plane: ControlPlane, operator: Operator
) -> None:
    [name] = control_plane.add_nodes(1, prefix=f"cordon-{operator.namespace}")
    await operator.do(OperationKind.CORDON, name=name)
    wait_for(lambda: name not in control_plane.ready_nodes(), "the taint of the cordoned node")
    assert (await operator.plan(OperationKind.CORDON, name=name)).unchanged
    await operator.do(OperationKind.UNCORDON, name=name)
    wait_for(lambda: name in control_plane.ready_nodes(), "the node to be schedulable again")


# -- the same as kubectl ------------------------------------------------------------------------

CAUSE = "kubernetes.io/change-cause"


def create_with_two_revisions(plane: ControlPlane, namespace: str, name: str) -> None:
    """A Deployment whose second revision has another image and change cause."""
    plane.create_deployment(namespace, name, replicas=2)
    target = ("-n", namespace, f"deployment/{name}")
    for cause in ("first", "second"):
        if cause == "second":
            plane.kubectl("set", "image", *target, f"{SERVER}={NEW_IMAGE}")
        plane.kubectl("annotate", *target, f"{CAUSE}={cause}", "--overwrite")
        plane.kubectl("rollout", "status", *target)
        wait_for(
            lambda cause=cause: cause in plane.kubectl("rollout", "history", *target),  # type: ignore[misc]
            "the cause to be copied to the ReplicaSet",
        )


def written(plane: ControlPlane, namespace: str, name: str) -> Any:
    """Spec and change cause of the Deployment, without its name and the time of a restart."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    deployment = plane.request("GET", path)
    annotations = deployment["spec"]["template"]["metadata"].get("annotations", {})
    if RESTARTED_AT_ANNOTATION in annotations:
        annotations[RESTARTED_AT_ANNOTATION] = "a time"
    spec = json.loads(json.dumps(deployment["spec"]).replace(f'"{name}"', '"NAME"'))
    return spec, deployment["metadata"]["annotations"].get(CAUSE)


@pytest.mark.parametrize(
    ("kind", "options", "before"),
    [
        (OperationKind.SCALE, {"replicas": 4}, ()),
        (OperationKind.RESTART, {}, ()),
        (OperationKind.ROLLBACK, {}, ()),
        (OperationKind.ROLLBACK, {"revision": 1}, ()),
        (OperationKind.PAUSE, {}, ()),
        (OperationKind.RESUME, {}, ("rollout", "pause")),
    ],
)
async def test_the_command_of_kubectl_writes_the_same(
    control_plane: ControlPlane,
    namespace: str,
    kind: OperationKind,
    options: dict[str, Any],
    before: tuple[str, ...],
) -> None:
    for name in ("ours", "theirs"):
        create_with_two_revisions(control_plane, namespace, name)
        if before:
            control_plane.kubectl(*before, f"deployment/{name}", "-n", namespace)
    start = written(control_plane, namespace, "ours")
    assert start == written(control_plane, namespace, "theirs")
    async with open_connection(control_plane, namespace=namespace) as connection:
        plan = await Operator(connection, namespace).do(kind, name="ours", **options)
    program, *words = shlex.split(plan.command.replace("deployment/ours", "deployment/theirs"))
    assert program == "kubectl"
    control_plane.kubectl(*words)
    changed = written(control_plane, namespace, "ours")
    assert changed == written(control_plane, namespace, "theirs")
    assert changed != start
