"""The queries of the servings of `metrics_day`, written by hand: no code of ours makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from servedeck.metrics.graphs import GraphKey
from tests.control_plane.metrics_day import INTERVAL, Pod


class Written(NamedTuple):
    """The queries of a serving, by hand: $S stands for the matchers of its Pods, $W for the window
    and $G for the step of graphs whose points are more than a minute apart."""

    name: str
    template: str
    pods: str
    """Of `Day`."""
    figures: dict[str, str]
    """$R stands for the period."""
    graphs: dict[GraphKey, dict[str, str]]


def quantiles(buckets: str, factor: str = "") -> dict[str, str]:
    return {
        f"P{share * 100:.0f}": f"histogram_quantile({share}, sum by (le)({buckets})){factor}"
        for share in (0.5, 0.95, 0.99)
    }


def either(function: str, *names: str) -> str:
    return " or ".join(f"{function}({one})" for one in names)


ITL = either(
    "rate",
    "vllm:inter_token_latency_seconds_bucket{$S}[$W]",
    "vllm:time_per_output_token_seconds_bucket{$S}[$W]",
)
LATENCY = quantiles("rate(vllm:e2e_request_latency_seconds_bucket{$S}[$W])")
DCGM = 'exported_namespace="chat",exported_pod=~"$P"'

LLAMA = Written(
    "llama",
    "vllm",
    "llama",
    {
        "total_requests": "sum(increase(vllm:request_success_total{$S}[$R]))",
        "request_rate": "sum(rate(vllm:request_success_total{$S}[$W]))",
        "P50": LATENCY["P50"],
        "P95": LATENCY["P95"],
        "P99": LATENCY["P99"],
        "ttft": quantiles("rate(vllm:time_to_first_token_seconds_bucket{$S}[$W])")["P95"],
        "running": "sum(vllm:num_requests_running{$S})",
        "waiting": "sum(vllm:num_requests_waiting{$S})",
        "kv_cache": "max(vllm:kv_cache_usage_perc{$S} or vllm:gpu_cache_usage_perc{$S})",
        "error_share": (
            'sum(rate(http_requests_total{$S,status="5xx"}[$W])) '
            "/ sum(rate(http_requests_total{$S}[$W]))"
        ),
    },
    {
        GraphKey.REQUESTS: {"requests": "sum(rate(vllm:request_success_total{$S}[$W]))"},
        GraphKey.LATENCY: LATENCY,
        GraphKey.TTFT: quantiles("rate(vllm:time_to_first_token_seconds_bucket{$S}[$W])"),
        GraphKey.ITL: quantiles(ITL),
        GraphKey.ERRORS: {
            code: f'sum(rate(http_requests_total{{$S,status="{code}"}}[$W]))'
            for code in ("4xx", "5xx")
        },
        GraphKey.QUEUE: {
            "running": "sum($A(vllm:num_requests_running{$S}$g))",
            "waiting": "sum($A(vllm:num_requests_waiting{$S}$g))",
        },
        GraphKey.TOKENS: {
            "prompt": "sum(rate(vllm:prompt_tokens_total{$S}[$W]))",
            "generated": "sum(rate(vllm:generation_tokens_total{$S}[$W]))",
        },
        GraphKey.KV_CACHE: {
            label: f"{operator}({mark}(vllm:kv_cache_usage_perc{{$S}}$g) or "
            f"{mark}(vllm:gpu_cache_usage_perc{{$S}}$g))"
            for label, operator, mark in (("fullest Pod", "max", "$G"), ("mean", "avg", "$A"))
        },
        GraphKey.PREFIX_CACHE: {
            "hits": "sum(rate(vllm:prefix_cache_hits_total{$S}[$W])) "
            "/ sum(rate(vllm:prefix_cache_queries_total{$S}[$W]))"
        },
        GraphKey.REPLICAS: {
            "wanted": 'kube_deployment_spec_replicas{namespace="chat",deployment="llama"}',
            "ready": 'kube_deployment_status_replicas_ready{namespace="chat",deployment="llama"}',
        },
        GraphKey.CPU: {
            "used": 'sum(rate(container_cpu_usage_seconds_total{$S,container="server"}[$W]))'
        },
        GraphKey.MEMORY: {"used": 'sum(container_memory_working_set_bytes{$S,container="server"})'},
        GraphKey.ACCELERATOR_USE: {
            "mean": f"avg($A(DCGM_FI_DEV_GPU_UTIL{{{DCGM}}}$g)) / 100",
            "most used": f"max($G(DCGM_FI_DEV_GPU_UTIL{{{DCGM}}}$g)) / 100",
        },
        GraphKey.ACCELERATOR_MEMORY: {
            "used": f"sum($A(DCGM_FI_DEV_FB_USED{{{DCGM}}}$g)) * 1048576"
        },
        GraphKey.ACCELERATOR_TEMPERATURE: {"hottest": f"max($G(DCGM_FI_DEV_GPU_TEMP{{{DCGM}}}$g))"},
        GraphKey.ACCELERATOR_POWER: {"sum": f"sum($A(DCGM_FI_DEV_POWER_USAGE{{{DCGM}}}$g))"},
    },
)

FURI_LATENCY = quantiles("rate(furiosa_llm_e2e_request_latency_seconds_bucket{$S}[$W])")
FURI_TTFT = quantiles("rate(furiosa_llm_time_to_first_token_seconds_bucket{$S}[$W])")
FURIOSA = Written(
    "furi",
    "furiosa-llm",
    "furiosa",
    {
        "total_requests": "sum(increase(furiosa_llm_request_success_total{$S}[$R]))",
        "request_rate": "sum(rate(furiosa_llm_request_success_total{$S}[$W]))",
        **FURI_LATENCY,
        "ttft": FURI_TTFT["P95"],
        "running": "sum(furiosa_llm_num_requests_running{$S})",
        "waiting": "sum(furiosa_llm_num_requests_waiting{$S})",
        "kv_cache": "max(furiosa_llm_kv_cache_usage_percent{$S})",
        "error_share": "vector(0) < 0",
    },
    {
        GraphKey.REQUESTS: {"requests": "sum(rate(furiosa_llm_request_success_total{$S}[$W]))"},
        GraphKey.LATENCY: FURI_LATENCY,
        GraphKey.TTFT: FURI_TTFT,
        GraphKey.ITL: quantiles("rate(furiosa_llm_inter_token_latency_seconds_bucket{$S}[$W])"),
        GraphKey.ERRORS: {},
        GraphKey.QUEUE: {
            "running": "sum($A(furiosa_llm_num_requests_running{$S}$g))",
            "waiting": "sum($A(furiosa_llm_num_requests_waiting{$S}$g))",
        },
        GraphKey.KV_CACHE: {
            "fullest Pod": "max($G(furiosa_llm_kv_cache_usage_percent{$S}$g))",
            "mean": "avg($A(furiosa_llm_kv_cache_usage_percent{$S}$g))",
        },
        GraphKey.PREFIX_CACHE: {
            "hits": "sum(rate(furiosa_llm_prefix_cache_hits_total{$S}[$W])) "
            "/ sum(rate(furiosa_llm_prefix_cache_queries_total{$S}[$W]))"
        },
        GraphKey.PREEMPTIONS: {},
        GraphKey.ACCELERATOR_TEMPERATURE: {
            "hottest": 'max($G(furiosa_npu_hw_temperature{$S,label="peak"}$g))'
        },
        GraphKey.ACCELERATOR_POWER: {"sum": 'sum($A(furiosa_npu_hw_power{$S,label="rms"}$g))'},
    },
)


def istio(name: str, template: str, pods: str, matchers: str) -> Written:
    """A serving of which only the mesh tells; its histogram is in milliseconds."""
    latency = quantiles(
        f"rate(istio_request_duration_milliseconds_bucket{{{matchers}}}[$W])", " / 1000"
    )
    requests = f"istio_requests_total{{{matchers}}}"
    return Written(
        name,
        template,
        pods,
        {
            "total_requests": f"sum(increase({requests}[$R]))",
            "request_rate": f"sum(rate({requests}[$W]))",
            **latency,
            "ttft": "vector(0) < 0",
            "running": "vector(0) < 0",
            "waiting": "vector(0) < 0",
            "kv_cache": "vector(0) < 0",
            "error_share": (
                f'sum(rate(istio_requests_total{{{matchers},response_code=~"5.."}}[$W])) '
                f"/ sum(rate({requests}[$W]))"
            ),
        },
        {
            GraphKey.REQUESTS: {"requests": f"sum(rate({requests}[$W]))"},
            GraphKey.LATENCY: latency,
            GraphKey.ERRORS: {
                code: f'sum(rate(istio_requests_total{{{matchers},response_code="{code}"}}[$W]))'
                for code in ("400", "500", "503")
            },
            GraphKey.QUEUE: {},
            GraphKey.TTFT: {},
        },
    )


FRONT = istio(
    "front",
    "custom",
    "front",
    'reporter="destination",destination_workload="front",destination_workload_namespace="chat"',
)
GATED = istio(
    "gated",
    "custom",
    "gated",
    'reporter="source",destination_service_name="gated",destination_service_namespace="chat"',
)
HIDDEN = Written(
    "hidden",
    "custom",
    "hidden",
    {
        "total_requests": "sum(increase(sglang:num_requests_total{$S}[$R]))",
        "request_rate": "sum(rate(sglang:num_requests_total{$S}[$W]))",
        **quantiles("rate(sglang:e2e_request_latency_seconds_bucket{$S}[$W])"),
        "ttft": "vector(0) < 0",
        "running": "sum(sglang:num_running_reqs{$S})",
        "waiting": "sum(sglang:num_queue_reqs{$S})",
        "kv_cache": "vector(0) < 0",
        "error_share": "vector(0) < 0",
    },
    {
        GraphKey.REQUESTS: {"requests": "sum(rate(sglang:num_requests_total{$S}[$W]))"},
        GraphKey.LATENCY: quantiles("rate(sglang:e2e_request_latency_seconds_bucket{$S}[$W])"),
        GraphKey.QUEUE: {
            "running": "sum($A(sglang:num_running_reqs{$S}$g))",
            "waiting": "sum($A(sglang:num_queue_reqs{$S}$g))",
        },
    },
)
SERVINGS = (LLAMA, FURIOSA, FRONT, GATED, HIDDEN)


def window_of(step: int) -> int:
    """At least four scrapes, and the time since the last point."""
    return max(4 * INTERVAL, step)


def fill(text: str, pods: Sequence[Pod], step: int, seconds: int = 0) -> str:
    """A query whose placeholders are replaced. The Pods are named one by one, the ended ones too:
    the pattern `name-.*` would have those of `llama-v2`."""
    names = "|".join(one.name for one in pods)
    gauge, over = ("max_over_time", f"[{step}s]") if step > 60 else ("", "")
    for mark, value in (
        ("$S", 'namespace="chat",pod=~"$P"'),
        ("$P", names),
        ("$W", f"{window_of(step)}s"),
        ("$R", f"{seconds}s"),
        ("$G", gauge),
        ("$A", "avg_over_time" if gauge else ""),
        ("$g", over),
    ):
        text = text.replace(mark, value)
    return text
