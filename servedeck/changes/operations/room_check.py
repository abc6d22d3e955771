"""Whether the nodes have room for the Pods that an operation starts beside the old ones."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.object_lists import list_replicasets
from servedeck.changes.operations.operation import OperationPlan
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.edit.restart_forecast import forecast_restart
from servedeck.serving.spec.mapping.json_values import as_mapping


async def with_room_warnings(connection: Connection, plan: OperationPlan) -> OperationPlan:
    """The plan with a warning where no old Pod stops before a new one is available, and no node has
    room for that. Raises ClusterError if the server cannot be reached."""
    if not plan.needs_room or plan.patch is None or plan.wanted is None:
        return plan
    live = plan.patch.live
    inventory = ClusterInventory(connection, plan.operation.namespace)
    inventory.start()
    try:
        await inventory.wait_until_listed()
        own_pods = None
        with contextlib.suppress(ApiError):  # without them, it is not known what an old Pod frees
            owners = await list_replicasets(connection, live)
            own_pods = inventory.pods_owned_by(
                {str(as_mapping(one, "metadata").get("uid")) for one in owners}
            )
        forecast = forecast_restart(
            live, plan.wanted, inventory.node_capacities(), own_pods=own_pods
        )
    finally:
        await inventory.close()
    warnings = (one.message for one in forecast.issues)
    return replace(plan, warnings=(*plan.warnings, *warnings))
