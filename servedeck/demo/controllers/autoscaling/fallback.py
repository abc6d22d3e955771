"""What KEDA answers for a trigger that has failed too often.

Source: keda pkg/fallback/fallback.go.
"""

from __future__ import annotations

from servedeck.demo.controllers.autoscaling.scale_target import ScaleTarget
from servedeck.demo.controllers.autoscaling.triggers import Trigger
from servedeck.demo.store.objects import Json


class TriggerHealth:
    """How often each trigger has failed in a row."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}

    def failed(self, metric: str) -> int:
        """How often it has failed now."""
        self._failures[metric] = self._failures.get(metric, 0) + 1
        return self._failures[metric]

    def succeeded(self, metric: str) -> None:
        self._failures[metric] = 0

    @property
    def most_failures(self) -> int:
        return max(self._failures.values(), default=0)

    def to_json(self) -> Json:
        """For the status of the ScaledObject."""
        return {
            metric: {"numberOfFailures": count, "status": "Failing" if count else "Happy"}
            for metric, count in sorted(self._failures.items())
        }


def fallback_value(fallback: Json, trigger: Trigger, target: ScaleTarget | None) -> float:
    """The value with which the autoscaler sets the replicas of the fallback."""
    replicas = int(fallback["replicas"])
    current = 0 if target is None else target.wanted
    match fallback.get("behavior") or "static":
        case "currentReplicas":
            replicas = current
        case "currentReplicasIfHigher":
            replicas = max(current, replicas)
        case "currentReplicasIfLower":
            replicas = min(current, replicas)
    if trigger.metric_type == "Value":
        ready = 1 if target is None else max(1, len(target.ready_pods()))
        return trigger.target * replicas / ready
    return trigger.target * replicas
