"""The one table of what the metrics of each inference server are called.

To add a server, add its row to `SERVER_METRICS`; to add a metric, a member of `Metric`, its
`MetricKind`, and its names in the rows. What Prometheus is asked, what is read from Pods, and what
is searched for on the page of an unknown server all derive from the table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum, StrEnum, auto
from typing import NamedTuple


class Metric(StrEnum):
    """What a server may tell. Times are in seconds and shares from 0 to 1, once a name's factor is
    applied."""

    REQUESTS = "requests"
    """Finished requests."""
    ERRORS = "errors"
    """Requests that were answered with an error, or failed."""
    LATENCY = "latency"
    """Time of a whole request."""
    TTFT = "ttft"
    """Time to first token: from the request to its first token."""
    ITL = "itl"
    """Inter-token latency: from one token to the next."""
    RUNNING = "running"
    """Requests in progress."""
    WAITING = "waiting"
    """Requests that wait to be started."""
    KV_CACHE = "kv-cache"
    """Share of the KV cache in use."""
    PREFIX_QUERIES = "prefix-queries"
    """Tokens that were looked up in the prefix cache."""
    PREFIX_HITS = "prefix-hits"
    """Tokens that were found there."""
    PREFIX_HIT_RATE = "prefix-hit-rate"
    """Share of them, of a server that counts neither."""
    PROMPT_TOKENS = "prompt-tokens"
    GENERATED_TOKENS = "generated-tokens"
    PREEMPTIONS = "preemptions"
    """Requests that were interrupted since the KV cache was full."""


class MetricKind(Enum):
    COUNTER = auto()
    GAUGE = auto()
    HISTOGRAM = auto()
    """Its samples are NAME_bucket, NAME_sum and NAME_count; in Prometheus it may be a native
    histogram."""


METRIC_KINDS: Mapping[Metric, MetricKind] = {
    Metric.REQUESTS: MetricKind.COUNTER,
    Metric.ERRORS: MetricKind.COUNTER,
    Metric.LATENCY: MetricKind.HISTOGRAM,
    Metric.TTFT: MetricKind.HISTOGRAM,
    Metric.ITL: MetricKind.HISTOGRAM,
    Metric.RUNNING: MetricKind.GAUGE,
    Metric.WAITING: MetricKind.GAUGE,
    Metric.KV_CACHE: MetricKind.GAUGE,
    Metric.PREFIX_QUERIES: MetricKind.COUNTER,
    Metric.PREFIX_HITS: MetricKind.COUNTER,
    Metric.PREFIX_HIT_RATE: MetricKind.GAUGE,
    Metric.PROMPT_TOKENS: MetricKind.COUNTER,
    Metric.GENERATED_TOKENS: MetricKind.COUNTER,
    Metric.PREEMPTIONS: MetricKind.COUNTER,
}


class MetricName(NamedTuple):
    """What a server calls a metric."""

    name: str
    factor: float = 1.0
    """What its value is multiplied with to be in the unit of the metric."""
    code_label: str = ""
    """Of ERRORS: the label that says which error it was; "" for none."""
    error_codes: str = ""
    """Of ERRORS: a regular expression of the codes that are errors; "" for all."""
    failure_codes: str = ""
    """Of ERRORS: the same for those that are the server's own; "" for all."""


MILLI = 0.001
MICRO = 0.000001
PERCENT = 0.01

HTTP_REQUESTS = MetricName("http_requests_total", 1.0, "status", "[45].*", "5.*")
"""Of the HTTP layer that most servers in Python have, `status` is "4xx" or "404"
(https://github.com/trallnag/prometheus-fastapi-instrumentator)."""

MetricNames = Mapping[Metric, tuple[MetricName, ...]]
"""The names of a metric in different versions of a server, the newest first: those of the first
that a Pod has count. Their series have the same labels, or both would count."""


def _names(*names: str) -> tuple[MetricName, ...]:
    return tuple(map(MetricName, names))


SERVER_METRICS: Mapping[str, MetricNames] = {
    # vllm 0.33 vllm/v1/metrics/loggers.py; older names: vllm/engine/metrics.py of v0
    "vllm": {
        Metric.REQUESTS: _names("vllm:request_success_total"),
        Metric.ERRORS: (HTTP_REQUESTS,),
        Metric.LATENCY: _names("vllm:e2e_request_latency_seconds"),
        Metric.TTFT: _names("vllm:time_to_first_token_seconds"),
        Metric.ITL: _names(
            "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"
        ),
        Metric.RUNNING: _names("vllm:num_requests_running"),
        Metric.WAITING: _names("vllm:num_requests_waiting"),
        Metric.KV_CACHE: _names("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        Metric.PREFIX_QUERIES: _names(
            "vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"
        ),
        Metric.PREFIX_HITS: _names(
            "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"
        ),
        Metric.PREFIX_HIT_RATE: _names("vllm:gpu_prefix_cache_hit_rate"),
        Metric.PROMPT_TOKENS: _names("vllm:prompt_tokens_total"),
        Metric.GENERATED_TOKENS: _names("vllm:generation_tokens_total"),
        Metric.PREEMPTIONS: _names("vllm:num_preemptions_total"),
    },
    # furiosa-llm 2026.4; kv_cache_usage_percent is from 0 to 1
    "furiosa-llm": {
        Metric.REQUESTS: _names("furiosa_llm_request_success_total"),
        Metric.LATENCY: _names("furiosa_llm_e2e_request_latency_seconds"),
        Metric.TTFT: _names("furiosa_llm_time_to_first_token_seconds"),
        Metric.ITL: _names("furiosa_llm_inter_token_latency_seconds"),
        Metric.RUNNING: _names("furiosa_llm_num_requests_running"),
        Metric.WAITING: _names("furiosa_llm_num_requests_waiting"),
        Metric.KV_CACHE: _names("furiosa_llm_kv_cache_usage_percent"),
        Metric.PREFIX_QUERIES: _names(
            "furiosa_llm_prefix_cache_queries_total", "furiosa_llm_prefix_cache_queries"
        ),
        Metric.PREFIX_HITS: _names(
            "furiosa_llm_prefix_cache_hits_total", "furiosa_llm_prefix_cache_hits"
        ),
        Metric.PREFIX_HIT_RATE: _names("furiosa_llm_prefix_cache_hit_rate"),
        Metric.PROMPT_TOKENS: _names("furiosa_llm_prompt_tokens_total"),
        Metric.GENERATED_TOKENS: _names("furiosa_llm_generation_tokens_total"),
    },
    # https://docs.sglang.io/references/production_metrics.html; its HTTP responses are those to
    # probes too, so that no share is computed of them: python/sglang/srt/utils/common.py
    "sglang": {
        Metric.REQUESTS: _names(
            "sglang:num_requests_total", "sglang:e2e_request_latency_seconds_count"
        ),
        Metric.ERRORS: (
            MetricName("sglang:num_aborted_requests_total"),
            MetricName("sglang:http_responses_total", 1.0, "status_code", "[45].*"),
        ),
        Metric.LATENCY: _names("sglang:e2e_request_latency_seconds"),
        Metric.TTFT: _names("sglang:time_to_first_token_seconds"),
        Metric.ITL: _names(
            "sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"
        ),
        Metric.RUNNING: _names("sglang:num_running_reqs"),
        Metric.WAITING: _names("sglang:num_queue_reqs"),
        Metric.KV_CACHE: _names("sglang:token_usage"),
        Metric.PREFIX_QUERIES: _names("sglang:prompt_tokens_total"),
        Metric.PREFIX_HITS: _names("sglang:cached_tokens_total"),
        Metric.PREFIX_HIT_RATE: _names("sglang:cache_hit_rate"),
        Metric.PROMPT_TOKENS: _names("sglang:prompt_tokens_total"),
        Metric.GENERATED_TOKENS: _names("sglang:generation_tokens_total"),
    },
    # https://huggingface.co/docs/text-generation-inference/reference/metrics; tgi_request_count are
    # those that arrived
    "tgi": {
        Metric.REQUESTS: _names("tgi_request_success"),
        Metric.ERRORS: (MetricName("tgi_request_failure", 1.0, "err"),),
        Metric.LATENCY: _names("tgi_request_duration"),
        Metric.ITL: _names("tgi_request_mean_time_per_token_duration"),
        Metric.RUNNING: _names("tgi_batch_current_size"),
        Metric.WAITING: _names("tgi_queue_size"),
        Metric.PROMPT_TOKENS: _names("tgi_request_input_length_sum"),
        Metric.GENERATED_TOKENS: _names("tgi_request_generated_tokens_sum"),
    },
    # https://github.com/huggingface/text-embeddings-inference: router/src/http/server.rs
    "tei": {
        Metric.REQUESTS: _names("te_request_success"),
        Metric.ERRORS: (MetricName("te_request_failure", 1.0, "err"),),
        Metric.LATENCY: _names("te_request_duration"),
        Metric.WAITING: _names("te_queue_size"),
    },
    # https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/
    # metrics.html; its durations are counters, so that it has no quantiles but of first responses
    "triton": {
        Metric.REQUESTS: _names("nv_inference_request_success"),
        Metric.ERRORS: (MetricName("nv_inference_request_failure", 1.0, "reason"),),
        Metric.TTFT: (MetricName("nv_inference_first_response_histogram_ms", MILLI),),
        Metric.WAITING: _names("nv_inference_pending_request_count"),
    },
    # https://github.com/NVIDIA/TensorRT-LLM: tensorrt_llm/metrics/collector.py
    "tensorrt-llm": {
        Metric.REQUESTS: _names("trtllm_request_success_total"),
        Metric.ERRORS: (MetricName("trtllm_request_error_total", 1.0, "http_code"),),
        Metric.LATENCY: _names("trtllm_e2e_request_latency_seconds"),
        Metric.TTFT: _names("trtllm_time_to_first_token_seconds"),
        Metric.ITL: _names("trtllm_time_per_output_token_seconds"),
        Metric.RUNNING: _names("trtllm_num_requests_running"),
        Metric.WAITING: _names("trtllm_num_requests_waiting"),
        Metric.KV_CACHE: _names("trtllm_kv_cache_utilization"),
        Metric.PREFIX_QUERIES: _names("trtllm_prompt_tokens_total"),
        Metric.PREFIX_HITS: _names("trtllm_prompt_cached_tokens_total"),
        Metric.PREFIX_HIT_RATE: _names("trtllm_kv_cache_hit_rate"),
        Metric.PROMPT_TOKENS: _names("trtllm_prompt_tokens_total"),
        Metric.GENERATED_TOKENS: _names("trtllm_generation_tokens_total"),
    },
    # https://github.com/ggml-org/llama.cpp: tools/server/README.md
    "llama.cpp": {
        Metric.RUNNING: _names("llamacpp:requests_processing"),
        Metric.WAITING: _names("llamacpp:requests_deferred"),
        Metric.KV_CACHE: _names("llamacpp:kv_cache_usage_ratio"),
        Metric.PROMPT_TOKENS: _names("llamacpp:prompt_tokens_total"),
        Metric.GENERATED_TOKENS: _names("llamacpp:tokens_predicted_total"),
    },
    # https://docs.nvidia.com/nim/large-language-models/latest/observability.html
    "nim": {
        Metric.REQUESTS: _names("request_success_total"),
        Metric.ERRORS: _names("request_failure_total"),
        Metric.LATENCY: _names("e2e_request_latency_seconds"),
        Metric.TTFT: _names("time_to_first_token_seconds"),
        Metric.ITL: _names("time_per_output_token_seconds"),
        Metric.RUNNING: _names("num_requests_running"),
        Metric.WAITING: _names("num_requests_waiting"),
        Metric.KV_CACHE: _names("gpu_cache_usage_perc"),
        Metric.PROMPT_TOKENS: _names("prompt_tokens_total"),
        Metric.GENERATED_TOKENS: _names("generation_tokens_total"),
    },
    # what web servers of any kind usually have: https://prometheus.io/docs/practices/naming/
    "http": {
        Metric.REQUESTS: _names("http_requests_total"),
        Metric.ERRORS: (
            HTTP_REQUESTS,
            MetricName("http_requests_total", 1.0, "code", "[45].*", "5.*"),
        ),
        Metric.LATENCY: _names(
            "http_request_duration_seconds", "http_server_request_duration_seconds"
        ),
        Metric.RUNNING: _names("http_requests_in_progress", "http_server_active_requests"),
    },
    # the same requests with other labels, so that they count only where the name above is absent
    "http-durations": {Metric.REQUESTS: _names("http_request_duration_seconds_count")},
}
"""By the name of the server in `serving.servers`; the last rows are those of no certain server."""


def server_names(
    metric: Metric, template: str, known: Collection[str] | None = None
) -> tuple[tuple[MetricName, ...], ...]:
    """The names of a metric that the Pods of a template may have: those of the server; of one
    without a row those of all servers, since its image may contain any. `known` are the names of
    the samples that the Pods have, and None if that is not known."""
    own = SERVER_METRICS.get(template)
    rows = [own] if own is not None else list(SERVER_METRICS.values())
    found: list[tuple[MetricName, ...]] = []
    for row in rows:
        names = row.get(metric, ())
        if own is None and known is not None:
            names = tuple(one for one in names if is_known(metric, one.name, known))
        if names and names not in found:
            found.append(names)
    return tuple(found)


def is_known(metric: Metric, name: str, known: Collection[str]) -> bool:
    """Whether a metric's name is among those of samples."""
    return any(one in known for one in sample_names(metric, name)) or name in known


def sample_names(metric: Metric, name: str) -> tuple[str, ...]:
    """The names of the samples of a metric that are needed."""
    if METRIC_KINDS[metric] is MetricKind.HISTOGRAM:
        return (f"{name}_bucket",)
    return (name,)


def all_sample_names(template: str) -> Iterator[str]:
    """The names of the samples that are read from the Pods of a template."""
    for metric in Metric:
        for names in server_names(metric, template):
            for one in names:
                yield from sample_names(metric, one.name)
