"""The one table of what the metrics of each inference server are called, and the queries of it.

To add a server, add its row to `SERVER_METRICS`; to add a metric, a member of `Metric`, its
`MetricKind`, and its names in the rows. PromQL and the live scrape both derive from the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, StrEnum, auto

from servedeck.metrics.target import MetricsTarget
from servedeck.serving.objects.detection import CUSTOM_TEMPLATE

WINDOW_SECONDS = 120
"""Over how many seconds Prometheus computes a rate: at least four scrapes at its usual intervals of
15 and 30 s, and two at 60 s."""


class Metric(StrEnum):
    REQUEST_RATE = "requests per second"
    """Finished requests per second."""
    RUNNING_REQUESTS = "requests in progress"


class MetricKind(Enum):
    RATE = auto()
    """How fast a counter increases, per second, summed over all its series."""
    GAUGE = auto()
    """The present value, summed over all its series."""


METRIC_KINDS: Mapping[Metric, MetricKind] = {
    Metric.REQUEST_RATE: MetricKind.RATE,
    Metric.RUNNING_REQUESTS: MetricKind.GAUGE,
}

MetricNames = Mapping[Metric, tuple[str, ...]]
"""The names of a metric in different versions of a server: those of the first that a Pod has
count."""

SERVER_METRICS: Mapping[str, MetricNames] = {
    # vllm 0.33 vllm/v1/metrics/loggers.py; the same since vllm/engine/metrics.py of v0.
    "vllm": {
        Metric.REQUEST_RATE: ("vllm:request_success_total",),
        Metric.RUNNING_REQUESTS: ("vllm:num_requests_running",),
    },
    # furiosa-llm 2026.4
    "furiosa-llm": {
        Metric.REQUEST_RATE: ("furiosa_llm_request_success_total",),
        Metric.RUNNING_REQUESTS: ("furiosa_llm_num_requests_running",),
    },
    # https://docs.sglang.io/references/production_metrics.html
    "sglang": {
        Metric.REQUEST_RATE: (
            "sglang:num_requests_total",
            "sglang:e2e_request_latency_seconds_count",
        ),
        Metric.RUNNING_REQUESTS: ("sglang:num_running_reqs",),
    },
    # https://huggingface.co/docs/text-generation-inference/reference/metrics
    "tgi": {Metric.REQUEST_RATE: ("tgi_request_count",)},
}
"""By the name of the server in `serving.servers`."""


def metric_names(metric: Metric, template: str) -> tuple[tuple[str, ...], ...]:
    """The names of a metric that a server of a template may have: those of the server; of an
    unknown one those of all servers, since a custom image may contain any."""
    if template != CUSTOM_TEMPLATE:
        known = SERVER_METRICS.get(template, {}).get(metric, ())
        return (known,) if known else ()
    return tuple(row[metric] for row in SERVER_METRICS.values() if metric in row)


def build_query(metric: Metric, target: MetricsTarget, window: int = WINDOW_SECONDS) -> str:
    """The PromQL of a metric now, one number; "" if there is none for the target. `window` is in
    seconds."""
    alternatives = [
        f"sum({_joined(metric, names, target, window)})"
        for names in metric_names(metric, target.template)
        if target.pods
    ]
    if metric is Metric.REQUEST_RATE and target.is_whole:
        alternatives += [f"sum(rate({one}[{window}s]))" for one in _proxy_counters(target)]
    return " or ".join(alternatives)


def _joined(metric: Metric, names: tuple[str, ...], target: MetricsTarget, window: int) -> str:
    """The series of the newer name, and those of the older one of Pods that do not have it."""
    labels = f"{{namespace={quote(target.namespace)},pod=~{quote(pod_pattern(target))}}}"
    if METRIC_KINDS[metric] is MetricKind.RATE:
        return " or ".join(f"rate({name}{labels}[{window}s])" for name in names)
    return " or ".join(f"{name}{labels}" for name in names)


def _proxy_counters(target: MetricsTarget) -> tuple[str, ...]:
    """The requests that a proxy in front of the Pods counts: Istio's in the Pods, Istio's in a
    gateway, and Envoy Gateway's for the HTTPRoute of the serving's name."""
    name, namespace = quote(target.name), quote(target.namespace)
    workload = f"destination_workload={name},destination_workload_namespace={namespace}"
    route = rf"httproute/{escape_regex(target.namespace)}/{escape_regex(target.name)}/rule/\d+"
    return (
        f'istio_requests_total{{reporter="destination",{workload}}}',
        f'istio_requests_total{{reporter="source",{workload}}}',
        f"envoy_cluster_upstream_rq_total{{envoy_cluster_name=~{quote(route)}}}",
    )


POD_SUFFIX = "[bcdfghjklmnpqrstvwxz2456789]{5}"
"""What a controller adds to the name of a Pod (kubernetes apimachinery pkg/util/rand)."""

_GENERATED_NAME = re.compile(f"(.*){POD_SUFFIX}", re.DOTALL)


def pod_pattern(target: MetricsTarget) -> str:
    """A regular expression for the names of the Pods, which Prometheus matches as a whole. For a
    Deployment these are the names that its ReplicaSets give: as short for 2,000 Pods as for one,
    it includes those that have just ended, and none of a Deployment `name-v2`."""
    patterns: dict[str, None] = {}
    for pod in target.pods:
        generated = _GENERATED_NAME.fullmatch(pod.name) if target.is_whole else None
        if generated is not None:
            patterns[escape_regex(generated[1]) + POD_SUFFIX] = None
        else:
            patterns[escape_regex(pod.name)] = None
    return "|".join(patterns)


def escape_regex(text: str) -> str:
    """`text` as a regular expression (RE2) that matches it alone."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


def quote(text: str) -> str:
    """`text` as a string of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
