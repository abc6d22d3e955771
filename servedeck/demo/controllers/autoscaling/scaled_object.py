"""What a ScaledObject asks for, and the HorizontalPodAutoscaler that KEDA makes of it.

Sources: keda apis/keda/v1alpha1/scaledobject_types.go, controllers/keda/hpa.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from servedeck.demo.api.defaults import set_defaults
from servedeck.demo.controllers.autoscaling.triggers import Trigger
from servedeck.demo.controllers.base import owner_reference
from servedeck.demo.resources import HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS
from servedeck.demo.store.objects import Json
from servedeck.serving.quantity import format_quantity

VERSION = "2.21.0"
NAME_LABEL = "scaledobject.keda.sh/name"
PAUSED_ANNOTATION = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS_ANNOTATION = "autoscaling.keda.sh/paused-replicas"
PAUSED_SCALE_IN_ANNOTATION = "autoscaling.keda.sh/paused-scale-in"
PAUSED_SCALE_OUT_ANNOTATION = "autoscaling.keda.sh/paused-scale-out"
_POLLING_SECONDS = 30.0
_COOLDOWN_SECONDS = 300.0
_MAX_REPLICAS = 100


class ScalingWishes:
    """The fields of a ScaledObject, with KEDA's defaults."""

    def __init__(self, scaled: Json) -> None:
        self._spec = scaled.get("spec") or {}
        self._annotations = scaled["metadata"].get("annotations") or {}

    @property
    def target(self) -> Json:
        """The scaleTargetRef."""
        found: Json = self._spec.get("scaleTargetRef") or {}
        return found

    @property
    def polling_seconds(self) -> float:
        return float(self._spec.get("pollingInterval") or _POLLING_SECONDS)

    @property
    def cooldown_seconds(self) -> float:
        return float(self._spec.get("cooldownPeriod", _COOLDOWN_SECONDS))

    @property
    def initial_cooldown_seconds(self) -> float:
        return float(self._spec.get("initialCooldownPeriod", 0))

    @property
    def least(self) -> int:
        return int(self._spec.get("minReplicaCount") or 0)

    @property
    def most(self) -> int:
        found = self._spec.get("maxReplicaCount")
        return _MAX_REPLICAS if found is None else int(found)

    @property
    def idle(self) -> int | None:
        found = self._spec.get("idleReplicaCount")
        return None if found is None else int(found)

    @property
    def fallback(self) -> Json | None:
        found: Json | None = self._spec.get("fallback")
        return found

    @property
    def triggers(self) -> list[Json]:
        return list(self._spec.get("triggers") or ())

    @property
    def restores_replicas(self) -> bool:
        advanced = self._spec.get("advanced") or {}
        return bool(advanced.get("restoreToOriginalReplicaCount"))

    @property
    def behavior(self) -> Json | None:
        """Of its autoscaler, with the directions that an annotation has paused."""
        advanced = self._spec.get("advanced") or {}
        found: Json = (advanced.get("horizontalPodAutoscalerConfig") or {}).get("behavior") or {}
        for direction, annotation in (
            ("scaleDown", PAUSED_SCALE_IN_ANNOTATION),
            ("scaleUp", PAUSED_SCALE_OUT_ANNOTATION),
        ):
            if self._is_set(annotation):
                rules = {**(found.get(direction) or {}), "selectPolicy": "Disabled"}
                found = {**found, direction: rules}
        return found or None

    @property
    def is_paused(self) -> bool:
        return self._is_set(PAUSED_ANNOTATION) or self.paused_replicas is not None

    @property
    def pauses_a_direction(self) -> bool:
        return self._is_set(PAUSED_SCALE_IN_ANNOTATION) or self._is_set(PAUSED_SCALE_OUT_ANNOTATION)

    @property
    def pauses_scale_in(self) -> bool:
        return self._is_set(PAUSED_SCALE_IN_ANNOTATION)

    @property
    def pauses_scale_out(self) -> bool:
        return self._is_set(PAUSED_SCALE_OUT_ANNOTATION)

    @property
    def paused_replicas(self) -> int | None:
        text = str(self._annotations.get(PAUSED_REPLICAS_ANNOTATION, ""))
        return int(text) if text.isdecimal() else None

    def _is_set(self, annotation: str) -> bool:
        return str(self._annotations.get(annotation, "")).lower() == "true"


def autoscaler_name(scaled: Json) -> str:
    config = ((scaled["spec"].get("advanced") or {}).get("horizontalPodAutoscalerConfig")) or {}
    return str(config.get("name") or f"keda-hpa-{scaled['metadata']['name']}")


def metric_selector(scaled: Json) -> Json:
    return {"matchLabels": {NAME_LABEL: scaled["metadata"]["name"]}}


def build_autoscaler(scaled: Json, triggers: Sequence[Trigger]) -> Json:
    """The HorizontalPodAutoscaler, with the API server's defaults."""
    wishes, meta = ScalingWishes(scaled), scaled["metadata"]
    name = autoscaler_name(scaled)
    own = {
        "app.kubernetes.io/managed-by": "keda-operator",
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": meta["name"],
        "app.kubernetes.io/version": VERSION,
        NAME_LABEL: meta["name"],
    }
    spec: Json = {
        "scaleTargetRef": {
            "apiVersion": wishes.target.get("apiVersion") or "apps/v1",
            "kind": wishes.target.get("kind") or "Deployment",
            "name": wishes.target.get("name", ""),
        },
        "minReplicas": max(1, wishes.least),
        "maxReplicas": wishes.most,
        "metrics": [_metric(scaled, trigger) for trigger in triggers],
    }
    if wishes.behavior is not None:
        spec["behavior"] = wishes.behavior
    found = {
        "metadata": {
            "namespace": meta["namespace"],
            "name": name,
            "labels": {**(meta.get("labels") or {}), **own},
            "ownerReferences": [owner_reference(SCALED_OBJECTS, scaled)],
        },
        "spec": spec,
    }
    set_defaults(HORIZONTAL_POD_AUTOSCALERS, found)
    return found


def _metric(scaled: Json, trigger: Trigger) -> Json:
    field = "value" if trigger.metric_type == "Value" else "averageValue"
    amount = format_quantity(Fraction(round(trigger.target * 1000), 1000))
    return {
        "type": "External",
        "external": {
            "metric": {"name": trigger.metric, "selector": metric_selector(scaled)},
            "target": {"type": trigger.metric_type, field: amount},
        },
    }
