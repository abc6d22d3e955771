"""Whether the API server would admit the Pods that a change starts: quota, LimitRange, Pod security
and admission webhooks."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from servedeck.cluster import apply
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.cluster.resources import RESOURCE_QUOTA
from servedeck.serving.quota_room import quota_shortage
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, mappings

_PREVIEW_POD_PATTERN = re.compile(r'^pods? "[^"]*" is (?:forbidden|invalid): ', re.IGNORECASE)
"""The beginning of the API server's message, with the generated name of the Pod of
`preview_pod`."""


class PodAdmission(NamedTuple):
    rejection: Rejection | None = None
    """Why no new Pod would be admitted."""
    waiting: str = ""
    """What new Pods wait for, in a sentence: the quota has no room beside the old ones, or not for
    all of them."""


async def check_pod_admission(
    connection: Connection,
    deployment: JsonObject,
    *,
    needs_more: bool,
    starts_pods: bool = True,
    new_pods: int = 0,
) -> PodAdmission:
    """Try the creation of one Pod of `deployment` in a dry run. A full quota rejects it only if
    more Pods than before are wanted (`needs_more`): old Pods that end leave theirs. `new_pods` are
    started beside those that run. Raises ClusterError."""
    rejection = await apply.preview_pod(connection, deployment)
    if rejection is None:
        if new_pods < 2:
            return PodAdmission()
        return PodAdmission(waiting=await _find_quota_shortage(connection, deployment, new_pods))
    name = deployment["metadata"]["name"]
    message = _PREVIEW_POD_PATTERN.sub(f"Pods of {name} are rejected: ", rejection.message)
    rejection = replace(rejection, message=message)
    if rejection.reason is not RejectionReason.QUOTA or needs_more:
        return PodAdmission(rejection)
    waiting = f"{message.rstrip('.')}; new Pods wait until old ones have ended."
    return PodAdmission(waiting=waiting if starts_pods else "")


async def _find_quota_shortage(
    connection: Connection, deployment: JsonObject, new_pods: int
) -> str:
    """Which quota has no room for all new Pods, in a sentence; "" if each has, or if they may not
    be listed."""
    path = RESOURCE_QUOTA.collection_path(deployment["metadata"]["namespace"])
    try:
        response = await connection.get_json(path)
    except ApiError as error:
        if error.code in (403, 404):
            return ""
        raise
    pod_spec = as_mapping(deployment, "spec", "template", "spec")
    return quota_shortage(mappings(response.get("items")), pod_spec, new_pods)
