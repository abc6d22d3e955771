"""A small cluster with a Prometheus, in which autoscalers act on a serving."""

from __future__ import annotations

from typing import Any

from servedeck.demo.controllers.base import find_condition
from servedeck.demo.resources import (
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    SCALED_OBJECTS,
)
from servedeck.demo.scenario import cluster_objects
from servedeck.demo.workloads import failure_simulation
from tests.demo.cluster_fixture import ClusterFixture

Json = dict[str, Any]
NAME, HPA = "llm", "keda-hpa-llm"
SELECTOR = (
    "&LabelSelector{MatchLabels:map[string]string{scaledobject.keda.sh/name:llm,},"
    "MatchExpressions:[]LabelSelectorRequirement{},}"
)
CALM, BUSY = "vector(1)", "vector(9)"


class AutoscalingFixture(ClusterFixture):
    """The Deployment llm in namespace lab is ready, and so is Prometheus."""

    def __init__(self, replicas: int = 1) -> None:
        super().__init__()
        self.node()
        self.create(NAMESPACES, {"metadata": {"name": cluster_objects.MONITORING_NAMESPACE}})
        for resource, obj in cluster_objects.prometheus_objects():
            if resource is DEPLOYMENTS:
                del obj["spec"]["template"]["spec"]["nodeSelector"]
            self.create(resource, obj)
        self.deploy(
            NAME,
            replicas=replicas,
            annotations={
                failure_simulation.REQUEST_RATE_ANNOTATION: "3",
                failure_simulation.LOADING_TIME_ANNOTATION: "20s",
            },
        )
        self.until(self.ready)
        self.advance(60)

    def scale_with(self, query: str = CALM, *, metadata: Json | None = None, **spec: Any) -> Json:
        """A ScaledObject with one trigger of prometheus, whose threshold is 3."""
        given = {
            "serverAddress": "http://prometheus.monitoring:9090",
            "threshold": "3",
            "query": query,
        }
        trigger = {
            "type": "prometheus",
            "name": "response-time",
            "metricType": spec.pop("metric_type", "AverageValue"),
            "metadata": {**given, **(metadata or {})},
        }
        body: Json = {
            "scaleTargetRef": {"name": NAME},
            "pollingInterval": 15,
            "minReplicaCount": 1,
            "maxReplicaCount": 4,
            "triggers": [trigger],
            **spec,
        }
        meta = {
            "namespace": "lab",
            "name": NAME,
            "annotations": body.pop("annotations", {}),
        }
        return self.create(SCALED_OBJECTS, {"metadata": meta, "spec": body})

    def set_query(self, query: str) -> None:
        def write(obj: Json) -> None:
            obj["spec"]["triggers"][0]["metadata"]["query"] = query

        self.store.mutate(SCALED_OBJECTS, "lab", NAME, write)

    def annotate(self, **annotations: str) -> None:
        def write(obj: Json) -> None:
            obj["metadata"]["annotations"] = {
                f"autoscaling.keda.sh/{key.replace('_', '-')}": value
                for key, value in annotations.items()
            }

        self.store.mutate(SCALED_OBJECTS, "lab", NAME, write)

    @property
    def wanted(self) -> int:
        found: int = self.deployment(NAME)["spec"]["replicas"]
        return found

    def autoscaler(self, name: str = HPA) -> Json:
        return self.store.get(HORIZONTAL_POD_AUTOSCALERS, "lab", name)

    def autoscaler_condition(self, type_: str, name: str = HPA) -> tuple[str, str, str]:
        """Status, reason and message; empty texts for none."""
        return _read(self.store.find(HORIZONTAL_POD_AUTOSCALERS, "lab", name), type_)

    def scaled_condition(self, type_: str) -> tuple[str, str, str]:
        """Status, reason and message; empty texts for none."""
        return _read(self.store.get(SCALED_OBJECTS, "lab", NAME), type_)

    def told(self, reason: str) -> set[str]:
        """Messages of the Events with this reason."""
        return {
            event["message"]
            for event in self.store.list(EVENTS, "lab")
            if event["reason"] == reason
        }


def _read(obj: Json | None, type_: str) -> tuple[str, str, str]:
    found = find_condition(obj or {}, type_) or {}
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")
