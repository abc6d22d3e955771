"""The PromQL of the scaler's triggers, one number each.

Names of metrics: those of `servedeck.metrics.families`, which is not imported here; a test compares
them. KEDA fails on an empty result (`ignoreNullValues: "false"`), and the HorizontalPodAutoscaler
then keeps the replicas: so a quiet serving must give 0, and one whose metrics are missing nothing,
or a Prometheus that lost the Pods would scale a busy serving in.
"""

from __future__ import annotations

import re

from servedeck.serving.spec.mapping.reporters import Proxy, Reporter
from servedeck.serving.spec.scaling import RESPONSE_TIME

WINDOW = "2m"
"""At least four scrapes at the usual intervals of 15 and 30 s."""

_HASH_LENGTH = 10
"""Characters that a Deployment adds to the names of its ReplicaSets, at most."""
_MAX_GENERATED = 58
"""Characters of the name of a Pod before its suffix."""
_GENERATED = "[b-df-hj-np-tv-xz24-9]"
"""The letters of hashes and suffixes (kubernetes apimachinery pkg/util/rand), without vowels."""

_LATENCY = {
    "vllm": "vllm:e2e_request_latency_seconds",
    "furiosa-llm": "furiosa_llm_e2e_request_latency_seconds",
}
_WAITING = {
    "vllm": "vllm:num_requests_waiting",
    "furiosa-llm": "furiosa_llm_num_requests_waiting",
}
_RUNNING = {
    "vllm": "vllm:num_requests_running",
    "furiosa-llm": "furiosa_llm_num_requests_running",
}
_ISTIO_LATENCY = "istio_request_duration_milliseconds"
_ENVOY_LATENCY = "envoy_cluster_upstream_rq_time"
"""Both in ms."""


def build_scaling_query(
    trigger: str, template: str, namespace: str, name: str, reporter: Reporter, *, is_woken: bool
) -> str:
    """The query of a trigger in the unit of its target: ms, or requests; "" if no metric is known
    for the template. `reporter` counts where the server has no histogram of its response times.
    With `is_woken` the serving may have no Pod, and no series is 0, too."""
    if trigger == RESPONSE_TIME:
        return _latency_query(template, namespace, name, reporter, is_woken=is_woken)
    metric = _WAITING.get(template)
    if metric is None:
        return ""
    query = f"sum({metric}{{{_pods(namespace, name)}}})"
    return f"{query} or vector(0)" if is_woken else query


def build_activity_query(template: str, namespace: str, name: str) -> str:
    """How many requests the servers have, running and waiting; 0 without a Pod, "" if no metric is
    known for the template."""
    running, waiting = _RUNNING.get(template), _WAITING.get(template)
    if running is None or waiting is None:
        return ""
    pods = _pods(namespace, name)
    return f"sum({running}{{{pods}}} + {waiting}{{{pods}}}) or vector(0)"


def has_latency_metric(template: str) -> bool:
    """Whether the servers of a template report their response times themselves."""
    return template in _LATENCY


def unknown_metric_text(trigger: str) -> str:
    """Why there is no query, in one sentence."""
    if trigger == RESPONSE_TIME:
        return (
            "Nothing reports the response time of this serving: its server has no metric of it, "
            "its route is none of Istio or Envoy Gateway, and its Pods have no sidecar or waypoint "
            "of Istio; give it one of them, or write a trigger of your own in the ScaledObject."
        )
    return (
        "No metric of waiting requests is known for this template; choose response-time, or write "
        "a trigger of your own in the ScaledObject."
    )


def _latency_query(
    template: str, namespace: str, name: str, reporter: Reporter, *, is_woken: bool
) -> str:
    factor = ""
    if metric := _LATENCY.get(template):
        factor, series = "1000 * ", [_pods(namespace, name)]
    elif reporter.proxy is Proxy.ISTIO:
        metric = _ISTIO_LATENCY
        host = f"{_regex(reporter.service)}\\\\.{_regex(namespace)}\\\\.svc\\\\..+"
        # Who sends the requests counts where no sidecar receives them: it may not know the
        # workload then, but the Service (https://github.com/istio/istio/issues/20538).
        series = [
            f'reporter="destination",destination_workload="{name}",'
            f'destination_workload_namespace="{namespace}"',
            f'reporter=~"source|waypoint",destination_service=~"{host}"',
        ]
    elif reporter.proxy is Proxy.ENVOY_GATEWAY:
        metric = _ENVOY_LATENCY
        series = [f'envoy_cluster_name=~"httproute/{_regex(namespace)}/{_regex(name)}/rule/[0-9]+"']
    else:
        return ""
    buckets = " or ".join(
        f"sum by (le) (rate({metric}_bucket{{{one}}}[{WINDOW}]))" for one in series
    )
    counts = " or ".join(f"sum(rate({metric}_count{{{one}}}[{WINDOW}]))" for one in series)
    counts = f"({counts})" if len(series) > 1 else counts
    idle = "vector(0)" if is_woken else f"0 * {counts}"
    # Without requests the quantile is NaN, which is greater than nothing.
    return f"({factor}histogram_quantile(0.95, {buckets}) > 0) or ({idle})"


def _pods(namespace: str, name: str) -> str:
    """As the Deployment names them: those of another serving, name-v2, do not match. The API server
    cuts a long name before the suffix (kubernetes apiserver storage/names); the name of another
    serving, name-canary, may end there, and only its letters tell it from a hash."""
    pattern = f"{_regex(name)}-[a-z0-9]+-[a-z0-9]{{5}}"
    kept = _MAX_GENERATED - len(name) - len("-")
    if kept < _HASH_LENGTH + len("-"):
        pattern = f"{_regex(f'{name}-'[:_MAX_GENERATED])}{_GENERATED}{{{max(kept, 0) + 5}}}"
        if kept > 1:  # a short hash is not cut
            pattern += f"|{_regex(name)}-{_GENERATED}{{1,{kept - 1}}}-{_GENERATED}{{5}}"
    return f'namespace="{namespace}",pod=~"{pattern}"'


def _regex(text: str) -> str:
    """The text as a regular expression within quotes of PromQL."""
    return re.escape(text).replace("\\-", "-").replace("\\", "\\\\")
