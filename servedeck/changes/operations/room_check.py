"""Whether the nodes have room for the Pods that an operation starts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.object_lists import list_replicasets
from servedeck.changes.operations.operation import OperationPlan
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.capacity import NodeCapacity, PlacedPod, simulate_scheduling
from servedeck.serving.edit.restart_forecast import forecast_restart
from servedeck.serving.spec.mapping.json_values import as_mapping
from servedeck.serving.status.rollout_status import desired_replicas


def room_warnings(
    plan: OperationPlan,
    nodes: Sequence[NodeCapacity] | None,
    own_pods: Sequence[PlacedPod] | None = None,
) -> tuple[str, ...]:
    """What the nodes have no room for now, in sentences; () if they are unknown. More
    replicas need room for each new Pod, a rollout only where no old Pod stops before a new one is
    available. `own_pods` are those of the Deployment, None if they are unknown."""
    if nodes is None or plan.patch is None or plan.wanted is None or not plan.is_possible:
        return ()
    if desired_replicas(plan.wanted) > plan.replicas:
        pod_spec = as_mapping(plan.wanted, "spec", "template", "spec")
        found = simulate_scheduling(pod_spec, plan.new_pods, nodes)
        return () if found.schedulable_replicas >= plan.new_pods else (found.summary,)
    if not plan.needs_room:
        return ()
    forecast = forecast_restart(plan.patch.live, plan.wanted, nodes, own_pods=own_pods)
    return tuple(one.message for one in forecast.issues)


async def with_room_warnings(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """The plan with what the nodes have no room for; as it is if they may not be listed."""
    if not plan.starts_pods or not plan.is_possible:
        return plan
    inventory = ClusterInventory(connection, plan.operation.namespace)
    inventory.start(nodes_only=True)
    try:
        await inventory.wait_until_listed()
        own_pods = None
        if plan.needs_room and plan.patch is not None:
            with contextlib.suppress(ApiError):  # without them, it is not known what one frees
                owners = await list_replicasets(connection, plan.patch.live)
                own_pods = inventory.pods_owned_by(
                    {str(as_mapping(one, "metadata").get("uid")) for one in owners}
                )
        warnings = room_warnings(plan, inventory.node_capacities(), own_pods)
    finally:
        await inventory.close()
    return replace(plan, warnings=(*plan.warnings, *warnings))
