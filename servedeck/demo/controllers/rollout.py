"""Calculations of a Deployment's rollout: surge, unavailability, proportions, conditions.

Source: kubernetes pkg/controller/deployment/util/deployment_util.go.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import NamedTuple

from servedeck.demo.controllers.base import condition_time, find_condition
from servedeck.demo.store.objects import Json

HASH_LABEL = "pod-template-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
REVISION_HISTORY_ANNOTATION = "deployment.kubernetes.io/revision-history"
DESIRED_ANNOTATION = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS_ANNOTATION = "deployment.kubernetes.io/max-replicas"
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NO_DEADLINE = 2**31 - 1


class RolloutBounds(NamedTuple):
    """How many Pods may exist above the desired number, and be unavailable below it."""

    surge: int
    unavailable: int


def desired_replicas(obj: Json) -> int:
    found = (obj.get("spec") or {}).get("replicas")
    return 1 if found is None else int(found)


def is_rolling_update(deployment: Json) -> bool:
    strategy = deployment["spec"].get("strategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def rollout_bounds(deployment: Json) -> RolloutBounds:
    """Percentages count from the replicas; surge is rounded up, unavailable down; where both are
    zero, one may be unavailable (ResolveFenceposts)."""
    wanted = desired_replicas(deployment)
    if not is_rolling_update(deployment):
        return RolloutBounds(0, 0)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = _resolve_int_or_percent(rolling.get("maxSurge", "25%"), wanted, math.ceil)
    unavailable = _resolve_int_or_percent(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return RolloutBounds(surge, min(unavailable, wanted))


def _resolve_int_or_percent(value: object, of: int, rounded: object) -> int:
    text = str(value)
    if text.endswith("%"):
        share = int(text[:-1]) * of / 100
        return math.ceil(share) if rounded is math.ceil else math.floor(share)
    return int(text)


def template_hash(template: Json, collisions: int = 0) -> str:
    """The hash of a Pod template, in the letters of apimachinery's rand.SafeEncodeString."""
    text = json.dumps(without_hash(template), sort_keys=True) + str(collisions or "")
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    return "".join(_HASH_ALPHABET[ord(digit) % len(_HASH_ALPHABET)] for digit in str(number))


def without_hash(template: Json) -> Json:
    meta = dict(template.get("metadata") or {})
    meta["labels"] = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {k: v for k, v in meta.items() if v}}


def same_template(replicaset: Json, deployment: Json) -> bool:
    return without_hash(replicaset["spec"]["template"]) == without_hash(
        deployment["spec"]["template"]
    )


def total_replicas(replicasets: Iterable[Json]) -> int:
    return sum(desired_replicas(replicaset) for replicaset in replicasets)


def sum_status(replicasets: Iterable[Json], field: str) -> int:
    return sum(int((r.get("status") or {}).get(field, 0)) for r in replicasets)


def revision(obj: Json) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION, "0")
    return int(text) if text.isdigit() else 0


def new_replicaset_size(deployment: Json, replicasets: list[Json], new: Json) -> int:
    """Replicas of the new ReplicaSet (NewRSNewReplicas)."""
    wanted, have = desired_replicas(deployment), desired_replicas(new)
    if not is_rolling_update(deployment):
        return wanted
    most = wanted + rollout_bounds(deployment).surge
    count = total_replicas(replicasets)
    if count >= most:
        return have
    return have + min(most - count, wanted - have)


def is_saturated(deployment: Json, new: Json | None) -> bool:
    """Whether the new ReplicaSet has all replicas and all are available (IsSaturated)."""
    if new is None:
        return False
    recorded = (new["metadata"].get("annotations") or {}).get(DESIRED_ANNOTATION, "")
    wanted = desired_replicas(deployment)
    available = sum_status([new], "availableReplicas")
    return bool(recorded == str(wanted) and desired_replicas(new) == wanted == available)


def replicaset_proportion(
    replicaset: Json, deployment: Json, allowed: int, added: int, old_most: int | None
) -> int:
    """Replicas that a ReplicaSet gains or loses when a Deployment is scaled in the middle of a
    rollout (GetReplicaSetProportion)."""
    size = desired_replicas(replicaset)
    if size == 0 or allowed in (0, added):
        return 0
    most = desired_replicas(deployment) + rollout_bounds(deployment).surge
    before = old_most or desired_replicas(deployment)
    share = round(size * most / before) - size if before else 0
    left = allowed - added
    return min(share, left) if allowed > 0 else max(share, left)


def is_complete(deployment: Json, status: Json) -> bool:
    wanted = desired_replicas(deployment)
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    observed = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return bool(observed) and all(status.get(name, 0) == wanted for name in counts)


def has_progressed(deployment: Json, status: Json) -> bool:
    old = deployment.get("status") or {}

    def of(where: Json, field: str) -> int:
        return int(where.get(field, 0))

    return (
        of(status, "updatedReplicas") > of(old, "updatedReplicas")
        or of(status, "replicas") - of(status, "updatedReplicas")
        < of(old, "replicas") - of(old, "updatedReplicas")
        or of(status, "readyReplicas") > of(old, "readyReplicas")
        or of(status, "availableReplicas") > of(old, "availableReplicas")
    )


def progress_deadline(deployment: Json) -> int | None:
    """Seconds without progress after which a rollout has failed; None for no limit."""
    found = deployment["spec"].get("progressDeadlineSeconds", 600)
    return None if found is None or found >= _NO_DEADLINE else int(found)


def seconds_to_deadline(deployment: Json, status: Json, now: float) -> float | None:
    """Seconds until the progress deadline, 0 or less after it; None where there is none."""
    limit = progress_deadline(deployment)
    found = find_condition({"status": status}, "Progressing")
    if limit is None or found is None or found.get("reason") == "NewReplicaSetAvailable":
        return None
    if found.get("reason") == "ProgressDeadlineExceeded":
        return 0.0
    return condition_time(found, "lastUpdateTime") + limit - now


def set_condition(status: Json, new: Json) -> None:
    """Changes nothing where status and reason are the same; keeps the transition time where the
    status is the same (SetDeploymentCondition)."""
    old = find_condition({"status": status}, new["type"])
    if old is not None and old.get("status") == new["status"]:
        if old.get("reason") == new["reason"]:
            return
        new = new | {"lastTransitionTime": old.get("lastTransitionTime", new["lastUpdateTime"])}
    remove_condition(status, new["type"])
    status["conditions"] = [*status.get("conditions", ()), new]


def remove_condition(status: Json, type_: str) -> None:
    left = [c for c in status.get("conditions", ()) if c.get("type") != type_]
    if left:
        status["conditions"] = left
    else:
        status.pop("conditions", None)


def new_condition(
    type_: str, value: str, reason_and_message: tuple[str, str], stamp: str, **values: str
) -> Json:
    reason, message = reason_and_message
    return {
        "type": type_,
        "status": value,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message.format(**values),
    }
