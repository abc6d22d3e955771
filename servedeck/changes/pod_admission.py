"""Whether the API server would admit the Pods that a change starts: quota, LimitRange, Pod security
and admission webhooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from servedeck.cluster import apply
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.cluster.resources import RESOURCE_QUOTA
from servedeck.serving.quota import find_quota_room
from servedeck.serving.spec.mapping.json_values import JsonObject, mappings

_PREVIEW_POD_PATTERN = re.compile(r'^pods? "[^"]*" is (?:forbidden|invalid): ', re.IGNORECASE)
"""The beginning of the API server's message, with the generated name of the Pod of
`preview_pod`."""


class PodAdmission(NamedTuple):
    rejection: Rejection | None = None
    """Why no new Pod would be admitted."""
    warning: str = ""
    """What keeps some of the new Pods from starting, in a sentence: the quota has no room for all,
    or none beside the old ones."""


async def check_pod_admission(
    connection: Connection, deployment: JsonObject, *, new_pods: int, starts_pods: bool = True
) -> PodAdmission:
    """Try the creation of one Pod of `deployment` in a dry run. A full quota rejects it only if
    more Pods than before are wanted, `new_pods` of them: old Pods that end leave theirs. Of several
    new Pods, the quotas tell how many they allow, if they may be listed. Raises ClusterError."""
    preview = await apply.preview_pod(connection, deployment)
    rejection = preview.rejection
    if rejection is None:
        if new_pods > 1 and preview.pod is not None:
            return PodAdmission(
                warning=await _quota_warning(connection, deployment, preview.pod, new_pods)
            )
        return PodAdmission()
    name = deployment["metadata"]["name"]
    message = _PREVIEW_POD_PATTERN.sub(f"Pods of {name} are rejected: ", rejection.message)
    rejection = replace(rejection, message=message)
    if rejection.reason is not RejectionReason.QUOTA or new_pods > 0:
        return PodAdmission(rejection)
    warning = f"{message.rstrip('.')}; new Pods wait until old ones have ended."
    return PodAdmission(warning=warning if starts_pods else "")


async def _quota_warning(
    connection: Connection, deployment: JsonObject, pod: Mapping[str, Any], new_pods: int
) -> str:
    """How many of several new Pods the quotas of the namespace allow, in a sentence; "" if they
    allow all, or may not be listed."""
    path = RESOURCE_QUOTA.collection_path(deployment["metadata"]["namespace"])
    try:
        quotas = mappings((await connection.get_json(path)).get("items"))
    except ApiError:
        return ""
    room = find_quota_room(pod, quotas)
    if room is None or room.pods >= new_pods:
        return ""
    return (
        f"Quota {room.quota} allows {room.pods:,} of {new_pods:,} new Pods ({room.usage}); the "
        "others are created when it has room."
    )
