"""What the kubelet's cAdvisor, kube-state-metrics and Istio say.

Sources: https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md,
https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics/workload and
https://istio.io/latest/docs/reference/config/metrics/.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from servedeck.demo.prometheus.exporters import (
    ExportedSeries,
    Exporter,
    InstanceExporter,
    sorted_labels,
    target_labels,
)
from servedeck.demo.prometheus.replica_history import DeploymentPast, ReplicaCounts
from servedeck.demo.prometheus.scrape_times import ScrapeGrid
from servedeck.demo.workloads.container_usage import cpu_seconds, working_set_bytes
from servedeck.demo.workloads.instance import SLOW_REQUEST_FACTOR
from servedeck.demo.workloads.instance_history import PastInstance
from servedeck.demo.workloads.metrics import InstanceState

MESH_NAMESPACES = frozenset(("research", "vision"))
"""Namespaces whose Pods have Istio's proxy."""
_ISTIO_BUCKETS = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000,
    1800000, 3600000,
)  # fmt: skip
"""Milliseconds: Envoy's default buckets."""


class ContainerExporter(InstanceExporter):
    """One container, in the kubelet's cAdvisor."""

    def __init__(self, past: PastInstance) -> None:
        instance, place = past.instance, past.place
        target = f"{place.host_address}:10250"
        labels = {
            "container": instance.container,
            "endpoint": "https-metrics",
            "id": f"/kubepods.slice/pod{instance.uid}/{instance.container}",
            "image": place.image,
            "instance": target,
            "job": "kubelet",
            "metrics_path": "/metrics/cadvisor",
            "namespace": instance.namespace,
            "node": place.node,
            "pod": instance.pod,
        }
        series = {
            "container_cpu_usage_seconds_total": (
                ExportedSeries(
                    sorted_labels({**labels, "cpu": "total"}),
                    lambda time: cpu_seconds(instance, time),
                ),
            ),
            "container_memory_working_set_bytes": (
                ExportedSeries(
                    sorted_labels(labels), lambda time: working_set_bytes(instance, time)
                ),
            ),
        }
        super().__init__(target, past, series)


class IstioExporter(InstanceExporter):
    """The requests to one server, in the proxy beside it."""

    def __init__(self, past: PastInstance) -> None:
        instance = past.instance
        name = past.place.serving.partition("/")[2]
        labels = {
            **target_labels(past),
            "container": "istio-proxy",
            "endpoint": "http-envoy-prom",
            "instance": f"{past.place.address}:15090",
            "job": f"{instance.namespace}/envoy-stats-monitor",
            "connection_security_policy": "mutual_tls",
            "destination_service": f"{name}.{instance.namespace}.svc.cluster.local",
            "destination_service_name": name,
            "destination_service_namespace": instance.namespace,
            "destination_workload": name,
            "destination_workload_namespace": instance.namespace,
            "reporter": "destination",
            "request_protocol": "http",
            "source_workload": "serving-gateway",
            "source_workload_namespace": "platform",
        }
        counts = (
            ("200", "-", lambda state: int(state.total) + state.logged),
            ("400", "-", lambda state: state.bad_requests),
            ("503", "UF", lambda state: int(state.failed)),
        )
        ok = {**labels, "response_code": "200", "response_flags": "-"}
        latency = instance.request_time
        slower = latency.scaled(SLOW_REQUEST_FACTOR)

        def count(state: InstanceState) -> float:
            return int(state.total) + state.logged

        def below(edge: float) -> ExportedSeries:
            fast, slow = latency.cdf(edge / 1000), slower.cdf(edge / 1000)

            def value(state: InstanceState) -> float:
                return min(count(state), int(state.fast * fast + state.slow * slow))

            return ExportedSeries(sorted_labels({**ok, "le": f"{edge:g}"}), value)

        name = "istio_request_duration_milliseconds"
        last = ExportedSeries(sorted_labels({**ok, "le": "+Inf"}), count)
        series = {
            "istio_requests_total": tuple(
                ExportedSeries(
                    sorted_labels({**labels, "response_code": code, "response_flags": flags}), value
                )
                for code, flags, value in counts
            ),
            f"{name}_bucket": (*map(below, _ISTIO_BUCKETS), last),
            f"{name}_count": (ExportedSeries(sorted_labels(ok), count),),
            f"{name}_sum": (
                ExportedSeries(
                    sorted_labels(ok),
                    lambda state: 1000 * (state.fast * latency.mean + state.slow * slower.mean),
                ),
            ),
        }
        super().__init__(labels["instance"], past, series)

    @property
    def begin(self) -> float:
        """When the server got its first requests."""
        times = self.past.instance.traffic_share.times
        return times[0] if times else math.inf

    def state(self, time: float) -> InstanceState:
        return InstanceState(self.past.instance, time)


class DeploymentExporter:
    """One Deployment, in kube-state-metrics."""

    def __init__(self, past: DeploymentPast) -> None:
        self._past = past
        self.grid = ScrapeGrid.of_target("kube-state-metrics")
        labels = sorted_labels(
            {
                "deployment": past.name,
                "instance": "10.42.0.8:8080",
                "job": "kube-state-metrics",
                "namespace": past.namespace,
            }
        )
        self.series = {
            "kube_deployment_spec_replicas": (
                ExportedSeries(labels, lambda counts: float(counts.wanted)),
            ),
            "kube_deployment_status_replicas": (
                ExportedSeries(labels, lambda counts: float(counts.created)),
            ),
            "kube_deployment_status_replicas_ready": (
                ExportedSeries(labels, lambda counts: float(counts.ready)),
            ),
        }

    @property
    def begin(self) -> float:
        return self._past.created

    @property
    def end(self) -> float:
        deleted = self._past.deleted
        return math.inf if deleted is None else deleted

    def state(self, time: float) -> ReplicaCounts:
        return self._past.counts_at(time)


def cluster_exporters(past: PastInstance) -> Iterator[Exporter]:
    """The exporters of a container's resources, and of the requests to it."""
    yield ContainerExporter(past)
    if past.instance.namespace in MESH_NAMESPACES:
        yield IstioExporter(past)
