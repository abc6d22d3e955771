"""Servings that scale with their response time, by KEDA."""

from __future__ import annotations

from typing import NamedTuple

from servedeck.demo.resources import SCALED_OBJECTS
from servedeck.demo.scenario.cluster_objects import MONITORING_NAMESPACE, ResourceObject
from servedeck.demo.scenario.serving_objects import mark_applied, serving_spec
from servedeck.demo.scenario.servings import DemoServing
from servedeck.demo.store.objects import Json, Key
from servedeck.serving.objects import manifests
from servedeck.serving.spec.mapping.reporters import Reporter
from servedeck.serving.spec.mapping.scaling_queries import build_scaling_query
from servedeck.serving.spec.scaling import RESPONSE_TIME

SECONDS_AGO = 25.0
"""When they were created: later than their scale-in delay before the demo opens, so that it always
opens with the same replicas."""


class Scaling(NamedTuple):
    """Auto scaling of a serving. `target`: P95 response time in milliseconds."""

    least: int
    most: int
    target: int
    scale_in_delay: int = 60
    """Seconds."""


SCALED_SERVINGS: dict[Key, Scaling] = {
    ("chat", "llama-31-8b"): Scaling(1, 3, 5000),
}
"""Its load rises and falls every twelve minutes."""


def scaled_object(serving: DemoServing) -> ResourceObject:
    """The ScaledObject of one of SCALED_SERVINGS."""
    labels = dict(manifests.serving_labels(serving_spec(serving)))
    meta = {"namespace": serving.namespace, "name": serving.name, "labels": labels}
    spec = _spec(serving, SCALED_SERVINGS[serving.key])
    obj = {
        "apiVersion": SCALED_OBJECTS.api_version,
        "kind": SCALED_OBJECTS.kind,
        "metadata": meta,
        "spec": spec,
    }
    return SCALED_OBJECTS, mark_applied(SCALED_OBJECTS, obj)


def _spec(serving: DemoServing, scaling: Scaling) -> Json:
    query = build_scaling_query(
        RESPONSE_TIME,
        serving.template,
        serving.namespace,
        serving.name,
        Reporter(),
        is_woken=False,
    )
    return {
        "scaleTargetRef": {"name": serving.name},
        "pollingInterval": 15,
        "cooldownPeriod": scaling.scale_in_delay,
        "minReplicaCount": scaling.least,
        "maxReplicaCount": scaling.most,
        "advanced": {
            "restoreToOriginalReplicaCount": True,
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleDown": {
                        "stabilizationWindowSeconds": scaling.scale_in_delay,
                        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                    },
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0,
                        "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
                    },
                }
            },
        },
        "triggers": [
            {
                "type": "prometheus",
                "name": RESPONSE_TIME,
                "metricType": "Value",
                "useCachedMetrics": True,
                "metadata": {
                    "serverAddress": f"http://prometheus.{MONITORING_NAMESPACE}:9090",
                    "threshold": str(scaling.target),
                    "ignoreNullValues": "false",
                    "query": query,
                },
            }
        ],
    }
