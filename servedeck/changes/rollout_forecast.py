"""What a change of an existing serving means for its Pods, with what the cluster has now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from servedeck.changes.inventory import ClusterInventory
from servedeck.changes.object_lists import list_replicasets
from servedeck.cluster.apply import Preview
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.edit.restart_forecast import (
    RestartForecast,
    forecast_restart,
    last_rollout_duration,
    restarts_pods,
    unblocks_rollout,
)
from servedeck.serving.objects.change import ObjectChange
from servedeck.serving.objects.template_changes import normalize_template
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping
from servedeck.serving.status.revisions import read_revisions


async def forecast_rollout(
    connection: Connection,
    change: ObjectChange,
    previews: Iterable[Preview],
    inventory: ClusterInventory,
) -> RestartForecast | None:
    """The rollout as the API server's dry run has it; without one, by the change alone. None if no
    Pod is replaced."""
    live, changed = change.live[0], change.changed[0]
    preview = next((one for one in previews if one.ref.kind == "Deployment" and one.action), None)
    restarts = restarts_pods(live, changed) if preview is None else preview.restarts_pods
    if preview is not None and preview.stored is not None and preview.admission_changes:
        changed = preview.stored  # with what admission changes in its Pods
    if not restarts and not unblocks_rollout(live, changed):
        return None
    replicasets: list[JsonObject] | None = None
    with contextlib.suppress(ApiError):  # without them, the duration is not known
        replicasets = await list_replicasets(connection, live, from_cache=True)
    revisions = read_revisions(live, replicasets or [])
    current = next(one for one in revisions if one.is_current)
    wanted = normalize_template(as_mapping(changed, "spec", "template"))
    own_uids = {one.uid for one in revisions if one.uid}
    return forecast_restart(
        live,
        changed,
        inventory.node_capacities(),
        last_rollout_duration(live, current),
        reused=sum(one.current for one in revisions if one.uid and one.template == wanted),
        own_pods=inventory.pods_owned_by(own_uids) if replicasets is not None else None,
    )
