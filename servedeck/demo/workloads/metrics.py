"""GET /metrics of an inference server, in Prometheus' text format.

Names, labels and buckets are those of vLLM 0.33 and furiosa-llm 2026.4. Counters are functions of
the requests so far, so they never fall while an instance lives, and every histogram's count is its
last bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from servedeck.demo.workloads.instance import SLOW_REQUEST_FACTOR, Latency, SimulatedInstance
from servedeck.demo.workloads.server_config import FURIOSA

E2E_BUCKETS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0,
    240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
ITL_BUCKETS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0,
)  # fmt: skip
HTTP_BUCKETS = (0.1, 0.5, 1.0)
TOKEN_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)

_FINISH_REASON_SHARES = (
    ("stop", 0.861),
    ("length", 0.127),
    ("abort", 0.009),
    ("error", 0.002),
    ("repetition", 0.001),
)
_NO_LABELS: Mapping[str, str] = {}
CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


def render_metrics(instance: SimulatedInstance, now: float) -> str:
    """The response body."""
    return "\n".join(_metric_lines(instance, now)) + "\n"


def finished_requests(instance: SimulatedInstance, now: float) -> dict[str, int]:
    """Finished requests by reason; real requests through the proxy count as "stop"."""
    total, _ = instance.traffic_share.counts_at(now)
    counts = {reason: int(total * share) for reason, share in _FINISH_REASON_SHARES}
    counts["stop"] += len(instance.logged_requests)
    return counts


def _metric_lines(instance: SimulatedInstance, now: float) -> Iterator[str]:
    furiosa = instance.server.engine == FURIOSA
    prefix = "furiosa_llm_" if furiosa else "vllm:"
    labels = {"engine": "0", "model_name": instance.server.served_name}
    total, slow = instance.traffic_share.counts_at(now)
    fast = max(0.0, total - slow)
    running, waiting = instance.request_counts(now)
    prompt = int(total * instance.prompt_tokens) + instance.request_tokens[0]
    output = int(total * instance.output_tokens) + instance.request_tokens[1]
    usage = "kv_cache_usage_percent" if furiosa else "kv_cache_usage_perc"
    hits = 0.2 + sum(instance.server.model_name.encode()) % 50 / 100

    def one(
        name: str, kind: str, text: str, value: float, more: Mapping[str, str] = _NO_LABELS
    ) -> Iterator[str]:
        yield from _header(prefix + name, kind, text)
        suffix = "_total" if kind == "counter" else ""
        yield _sample(prefix + name + suffix, {**labels, **more}, value)

    yield from one(
        "num_requests_running", "gauge", "Number of requests in model execution batches.", running
    )
    yield from one(
        "num_requests_waiting", "gauge", "Number of requests waiting to be processed.", waiting
    )
    yield from one(
        usage, "gauge", "KV-cache usage. 1 means 100 percent usage.", instance.cache_usage(now)
    )
    yield from one(
        "prefix_cache_queries",
        "counter",
        "Prefix cache queries, in number of queried tokens.",
        prompt,
    )
    yield from one(
        "prefix_cache_hits",
        "counter",
        "Prefix cache hits, in number of cached tokens.",
        int(prompt * hits),
    )
    yield from one("prompt_tokens", "counter", "Number of prefill tokens processed.", prompt)
    yield from one("generation_tokens", "counter", "Number of generation tokens processed.", output)
    yield from _header(
        f"{prefix}request_success", "counter", "Count of successfully processed requests."
    )
    counts = finished_requests(instance, now)
    for reason, count in counts.items():
        if not furiosa or reason in ("stop", "length", "abort"):
            yield _sample(
                f"{prefix}request_success_total", {**labels, "finished_reason": reason}, count
            )
    yield from one(
        "cache_config_info",
        "gauge",
        "Information of the LLMEngine CacheConfig",
        1.0,
        {"block_size": "16", "num_gpu_blocks": str(instance.cache_tokens // 16)},
    )
    count = sum(counts.values())
    tokens = (fast + slow) * instance.output_tokens
    for name, text, buckets, latency, times, number in (
        (
            "e2e_request_latency_seconds",
            "e2e request latency in seconds.",
            E2E_BUCKETS,
            instance.request_time,
            1.0,
            count,
        ),
        (
            "time_to_first_token_seconds",
            "time to first token in seconds.",
            TTFT_BUCKETS,
            instance.first_token,
            1.0,
            count,
        ),
        (
            "inter_token_latency_seconds",
            "inter-token latency in seconds.",
            ITL_BUCKETS,
            instance.inter_token,
            float(instance.output_tokens),
            int(tokens),
        ),
    ):
        yield from _header(prefix + name, "histogram", f"Histogram of {text}")
        yield from _histogram(
            prefix + name, labels, buckets, latency, fast * times, slow * times, number
        )
    if not furiosa:
        yield from _queue_metrics(labels, fast, slow, count)
        yield from _http_metrics(instance, total, fast, slow)
    yield from _header(
        f"{prefix}request_prompt_tokens", "histogram", "Number of prefill tokens processed."
    )
    sizes = Latency(float(instance.prompt_tokens) * 0.8, 0.7)
    yield from _histogram(
        f"{prefix}request_prompt_tokens", labels, TOKEN_BUCKETS, sizes, total, 0.0, count
    )
    yield from _process_metrics(instance, now)


def _queue_metrics(
    labels: Mapping[str, str], fast: float, slow: float, count: int
) -> Iterator[str]:
    name = "vllm:request_queue_time_seconds"
    yield from _header(name, "histogram", "Histogram of time spent in WAITING phase for request.")
    yield from _histogram(name, labels, E2E_BUCKETS, Latency(0.004, 1.1), fast, slow * 20, count)
    yield from _header("vllm:admission_rejections", "counter", "Requests rejected at admission.")
    for reason in ("max_num_queued_reqs", "max_num_queued_tokens"):
        yield _sample("vllm:admission_rejections_total", {**labels, "reason": reason}, 0)


def _http_metrics(
    instance: SimulatedInstance, total: float, fast: float, slow: float
) -> Iterator[str]:
    handler = "/v1/embeddings" if instance.server.pooling else "/v1/chat/completions"
    yield from _header(
        "http_requests", "counter", "Total number of requests by method, status and handler."
    )
    bad = int(total * 0.006)
    for status, count in (("2xx", int(total) + len(instance.logged_requests)), ("4xx", bad)):
        labels = {"handler": handler, "method": "POST", "status": status}
        yield _sample("http_requests_total", labels, count)
    name = "http_request_duration_seconds"
    yield from _header(name, "histogram", "Latency with only few buckets by handler.")
    number = int(total) + len(instance.logged_requests) + bad
    labels = {"handler": handler, "method": "POST"}
    yield from _histogram(name, labels, HTTP_BUCKETS, instance.request_time, fast, slow, number)


def _process_metrics(instance: SimulatedInstance, now: float) -> Iterator[str]:
    yield from _header(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
    )
    yield f"process_start_time_seconds {instance.started:.2f}"
    yield from _header("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.")
    yield f"process_resident_memory_bytes {4.1e9 + (now - instance.started) % 977 * 1e5:.0f}"


def _histogram(
    name: str,
    labels: Mapping[str, str],
    buckets: tuple[float, ...],
    latency: Latency,
    fast: float,
    slow: float,
    count: int,
) -> Iterator[str]:
    slower = latency.scaled(SLOW_REQUEST_FACTOR)
    for edge in buckets:
        within = int(fast * latency.cdf(edge) + slow * slower.cdf(edge))
        yield _sample(f"{name}_bucket", {**labels, "le": f"{float(edge)}"}, min(count, within))
    yield _sample(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
    yield _sample(f"{name}_count", labels, count)
    yield _sample(f"{name}_sum", labels, fast * latency.mean + slow * slower.mean)


def _header(name: str, kind: str, text: str) -> Iterator[str]:
    shown = f"{name}_total" if kind == "counter" else name
    yield f"# HELP {shown} {text}"
    yield f"# TYPE {shown} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {float(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
