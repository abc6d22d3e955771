"""Expressions of what the platform tells of a serving: replicas, and the use of its containers.

Sources: https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/deployment-metrics.md
and https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from servedeck.metrics.graph_line import GraphLine
from servedeck.metrics.queries import pod_matchers
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import Aggregation, Call, Expression, Matcher, Selector, total

CPU_SECONDS = "container_cpu_usage_seconds_total"
CPU_CORES = "servedeck_container_cpu_cores"
"""From metrics.k8s.io, which has no counter; read by servedeck itself."""
MEMORY_BYTES = "container_memory_working_set_bytes"
REPLICAS_READY = "kube_deployment_status_replicas_ready"
REPLICAS_WANTED = "kube_deployment_spec_replicas"

_CONTAINERS = (Matcher("container", "!=", ""), Matcher("container", "!=", "POD"))
"""Without the sums of a whole Pod, and without the sandbox of a Pod."""


def container_cpu(target: MetricsTarget, window: float, *by: str) -> Iterable[Expression]:
    """CPU cores in use."""
    pods = pod_matchers(target)
    if pods:
        matchers = (*pods, *_CONTAINERS)
        yield total(Call("rate", (Selector(CPU_SECONDS, matchers, window),)), *by)
        yield total(Selector(CPU_CORES, pods), *by)


def container_memory(target: MetricsTarget, *by: str) -> Iterable[Expression]:
    """Bytes of memory in use that cannot be freed."""
    pods = pod_matchers(target)
    if pods:
        yield total(Selector(MEMORY_BYTES, (*pods, *_CONTAINERS)), *by)


def replica_lines(target: MetricsTarget) -> Iterable[GraphLine]:
    if not (target.is_whole and target.is_deployment):
        return
    matchers = (
        Matcher("namespace", "=", target.namespace),
        Matcher("deployment", "=", target.name),
    )
    for label, name in (("wanted", REPLICAS_WANTED), ("ready", REPLICAS_READY)):
        yield GraphLine(label, Aggregation("max", Selector(name, matchers)))
