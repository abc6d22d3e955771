"""ScaledObjects and HPAs as KEDA and the HPA controller leave them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
SCALED_AT = "2026-07-01T12:00:00Z"
READY = {"type": "Ready", "status": "True", "reason": "ScaledObjectReady", "message": "ok"}
ACTIVE = {"type": "Active", "status": "True", "reason": "ScalerActive", "message": "active"}
NO_FALLBACK = {"type": "Fallback", "status": "False", "reason": "NoFallbackFound", "message": "no"}
NOT_PAUSED = {"type": "Paused", "status": "Unknown"}
KEDA_CONDITIONS = (READY, ACTIVE, NO_FALLBACK, NOT_PAUSED)
ABLE = {
    "type": "AbleToScale",
    "status": "True",
    "reason": "ReadyForNewScale",
    "message": "recommended size matches current size",
}
SCALING = {
    "type": "ScalingActive",
    "status": "True",
    "reason": "ValidMetricFound",
    "message": "the HPA was able to successfully calculate a replica count",
}
NOT_LIMITED = {
    "type": "ScalingLimited",
    "status": "False",
    "reason": "DesiredWithinRange",
    "message": "the desired count is within the acceptable range",
}
LIMITED = {
    "type": "ScalingLimited",
    "status": "True",
    "reason": "TooManyReplicas",
    "message": "the desired replica count is more than the maximum replica count",
}
NO_METRIC = {
    "type": "ScalingActive",
    "status": "False",
    "reason": "FailedGetExternalMetric",
    "message": "the HPA was unable to compute the replica count: unable to get external metric",
}


def scaled_object(
    name: str = "chat",
    *,
    conditions: tuple[Json, ...] = KEDA_CONDITIONS,
    annotations: dict[str, str] | None = None,
    target: str = "chat",
    namespace: str = "prod",
    **spec: Any,
) -> Json:
    """A ScaledObject with both triggers that servedeck writes, and one on the CPU before them."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-so-{name}",
            "annotations": annotations or {},
        },
        "spec": {
            "scaleTargetRef": {"name": target},
            "minReplicaCount": 1,
            "maxReplicaCount": 10,
            "triggers": [
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
                {
                    "type": "prometheus",
                    "name": "response-time",
                    "metricType": "Value",
                    "metadata": {"threshold": "5000", "query": "…"},
                },
                {
                    "type": "prometheus",
                    "name": "waiting-requests",
                    "metadata": {"threshold": "10", "query": "…"},
                },
            ],
            **spec,
        },
        "status": {"conditions": list(conditions), "hpaName": f"keda-hpa-{name}", "health": {}}
        if conditions
        else {},
    }


def external(name: str, part: str, **values: str) -> Json:
    """A metric of KEDA in an HPA."""
    return {"type": "External", "external": {"metric": {"name": name}, part: values}}


def hpa(
    name: str = "keda-hpa-chat",
    *,
    conditions: tuple[Json, ...] = (ABLE, SCALING, NOT_LIMITED),
    current: int = 3,
    desired: int = 3,
    latency: str = "6200m",
    target: str = "chat",
    namespace: str = "prod",
    owner: str = "chat",
    **spec: Any,
) -> Json:
    """The HPA that KEDA makes of `scaled_object`; latency is in ms."""
    status: Json = {}
    if conditions:
        status = {
            "currentReplicas": current,
            "desiredReplicas": desired,
            "lastScaleTime": SCALED_AT,
            "conditions": list(conditions),
            "currentMetrics": [
                external("s2-prometheus", "current", averageValue="2500m"),
                external("s1-prometheus", "current", value=latency),
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "current": {"averageUtilization": 35}},
                },
            ],
        }
    reference = {"kind": "ScaledObject", "name": owner, "uid": f"uid-so-{owner}"}
    owners = [{**reference, "controller": True}] if owner else []
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-hpa-{name}",
            "ownerReferences": owners,
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1,
            "maxReplicas": 10,
            "metrics": [
                external("s1-prometheus", "target", type="Value", value="5"),
                external("s2-prometheus", "target", type="AverageValue", averageValue="10"),
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 70},
                    },
                },
            ],
            **spec,
        },
        "status": status,
    }
