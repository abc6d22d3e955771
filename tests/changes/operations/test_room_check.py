"""Whether the nodes have room for the Pods that an operation starts."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from servedeck.changes.operations.deployment_plans import plan_deployment_operation
from servedeck.changes.operations.operation import Operation, OperationKind
from servedeck.changes.operations.room_check import room_warnings
from servedeck.serving.capacity import NodeCapacity
from tests.changes.operations.factories import deployment

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def node(name: str, cpu: int, **labels: str) -> NodeCapacity:
    resources = {"cpu": Fraction(cpu), "pods": Fraction(10)}
    return NodeCapacity(name, resources, resources, "", (), labels)


def asking(cpu: str, replicas: int = 1, unavailable: int = 0, **pod_spec: Any) -> dict[str, Any]:
    """A Deployment whose containers request the CPUs."""
    found = deployment(replicas)
    spec = found["spec"]["template"]["spec"]
    for one in spec["containers"]:
        one["resources"] = {"requests": {"cpu": cpu}}
    spec.update(pod_spec)
    rolling = {"maxSurge": 1, "maxUnavailable": unavailable}
    found["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return found


def warnings(
    kind: OperationKind, live: dict[str, Any], *nodes: NodeCapacity, replicas: int | None = None
) -> tuple[str, ...]:
    operation = Operation(kind, "chat", "llama", replicas)
    return room_warnings(plan_deployment_operation(operation, live, now=NOW), nodes)


def test_replicas_that_do_not_fit_are_said() -> None:
    live = asking("3")
    [found] = warnings(OperationKind.SCALE, live, node("a", 4), replicas=4)
    assert "1 of 3 replicas fits, the rest will stay Pending" in found
    [found] = warnings(OperationKind.START, asking("9", 0), node("a", 4), replicas=1)
    assert "will stay Pending" in found
    assert warnings(OperationKind.SCALE, live, node("a", 4), replicas=2) == ()
    assert warnings(OperationKind.SCALE, asking("9", 3), node("a", 4), replicas=1) == ()


def test_a_rollout_that_must_wait_for_room_is_said() -> None:
    [found] = warnings(OperationKind.RESTART, asking("9"), node("a", 4))
    assert "the rollout will wait" in found
    assert warnings(OperationKind.RESTART, asking("3"), node("a", 4)) == ()
    assert warnings(OperationKind.RESTART, asking("9", 2, 1), node("a", 4)) == ()


def test_only_the_nodes_that_the_pods_select_have_room_for_them() -> None:
    nodes = node("a", 8, pool="cpu"), node("b", 2, pool="gpu")
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["gpu"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    for pod_spec in (
        {"nodeSelector": {"pool": "gpu"}},
        {"affinity": {"nodeAffinity": required}},
    ):
        live = asking("3", **pod_spec)
        [found] = warnings(OperationKind.SCALE, live, *nodes, replicas=2)
        assert "will stay Pending" in found
        [found] = warnings(OperationKind.RESTART, live, *nodes)
        assert "the rollout will wait" in found


def test_unknown_nodes_are_no_warning() -> None:
    operation = Operation(OperationKind.SCALE, "chat", "llama", 5)
    assert room_warnings(plan_deployment_operation(operation, asking("9"), now=NOW), None) == ()
