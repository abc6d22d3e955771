"""GET /metrics of an inference server, in Prometheus' text format.

Names, labels and buckets are those of vLLM 0.33 and furiosa-llm 2026.4. Counters are functions of
the requests so far, so they never fall while an instance lives, and every histogram's count is its
last bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

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
_FURIOSA_REASONS = ("stop", "length", "abort")
_NO_LABELS: Mapping[str, str] = {}
_BAD_REQUEST_SHARE = 0.006
"""Requests with a status of 400 to 499, as a share of the others."""
_PREEMPTION_SHARE = 0.05
"""Preemptions for each slow request: both come from a full KV cache."""
CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class InstanceState:
    """What an instance has done until `time` (seconds since the epoch). Real requests through the
    proxy count as finished with "stop"."""

    __slots__ = ("_instance", "failed", "fast", "finished", "logged", "slow", "time", "total")

    def __init__(self, instance: SimulatedInstance, time: float) -> None:
        self._instance = instance
        self.time = time
        self.total, self.slow, self.failed = instance.traffic_share.counts_at(time)
        self.fast = max(0.0, self.total - self.slow)
        self.logged = instance.count_logged_requests(time)
        shares = _FINISH_REASON_SHARES
        self.finished = sum([int(self.total * share) for _, share in shares]) + self.logged

    @property
    def running(self) -> int:
        return self._instance.request_counts(self.time)[0]

    @property
    def waiting(self) -> int:
        return self._instance.request_counts(self.time)[1]

    @property
    def cache_usage(self) -> float:
        return self._instance.cache_usage(self.time)

    @property
    def prompt_tokens(self) -> int:
        real, _ = self._instance.real_tokens(self.time)
        return int(self.total * self._instance.prompt_tokens) + real

    @property
    def output_tokens(self) -> int:
        _, real = self._instance.real_tokens(self.time)
        return int(self.total * self._instance.output_tokens) + real

    @property
    def bad_requests(self) -> int:
        return int(self.total * _BAD_REQUEST_SHARE)

    @property
    def http_requests(self) -> int:
        return int(self.total) + self.logged + self.bad_requests + int(self.failed)


Value = Callable[[InstanceState], float]


class MetricSeries(NamedTuple):
    """One line of the page, whose value follows from the state."""

    name: str
    labels: Mapping[str, str]
    value: Value


class MetricFamily(NamedTuple):
    """A metric with all its series. The series of an instance are always the same."""

    name: str
    kind: str
    text: str
    series: tuple[MetricSeries, ...]


def render_metrics(instance: SimulatedInstance, now: float) -> str:
    """The response body."""
    state = InstanceState(instance, now)
    lines = []
    for family in metric_families(instance):
        lines += [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}"]
        lines += [_sample(*series[:2], series.value(state)) for series in family.series]
    return "\n".join(lines) + "\n"


def metric_families(instance: SimulatedInstance) -> Iterator[MetricFamily]:
    """What the page of an instance has, in its order."""
    furiosa = instance.server.engine == FURIOSA
    prefix = "furiosa_llm_" if furiosa else "vllm:"
    labels = {"engine": "0", "model_name": instance.server.served_name}
    hits = 0.2 + sum(instance.server.model_name.encode()) % 50 / 100

    def one(
        name: str, kind: str, text: str, value: Value, more: Mapping[str, str] = _NO_LABELS
    ) -> MetricFamily:
        full = f"{prefix}{name}_total" if kind == "counter" else prefix + name
        return MetricFamily(full, kind, text, (MetricSeries(full, {**labels, **more}, value),))

    yield one(
        "num_requests_running",
        "gauge",
        "Number of requests in model execution batches.",
        lambda state: state.running,
    )
    yield one(
        "num_requests_waiting",
        "gauge",
        "Number of requests waiting to be processed.",
        lambda state: state.waiting,
    )
    yield one(
        "kv_cache_usage_percent" if furiosa else "kv_cache_usage_perc",
        "gauge",
        "KV-cache usage. 1 means 100 percent usage.",
        lambda state: state.cache_usage,
    )
    if not furiosa:
        yield one(
            "num_preemptions",
            "counter",
            "Cumulative number of preemption from the engine.",
            lambda state: int(state.slow * _PREEMPTION_SHARE),
        )
    yield one(
        "prefix_cache_queries",
        "counter",
        "Prefix cache queries, in number of queried tokens.",
        lambda state: state.prompt_tokens,
    )
    yield one(
        "prefix_cache_hits",
        "counter",
        "Prefix cache hits, in number of cached tokens.",
        lambda state: int(state.prompt_tokens * hits),
    )
    yield one(
        "prompt_tokens",
        "counter",
        "Number of prefill tokens processed.",
        lambda state: state.prompt_tokens,
    )
    yield one(
        "generation_tokens",
        "counter",
        "Number of generation tokens processed.",
        lambda state: state.output_tokens,
    )
    yield _finished_family(prefix, labels, furiosa=furiosa)
    yield one(
        "cache_config_info",
        "gauge",
        "Information of the LLMEngine CacheConfig",
        lambda _: 1.0,
        {"block_size": "16", "num_gpu_blocks": str(instance.cache_tokens // 16)},
    )
    yield from _latency_families(instance, prefix, labels)
    if not furiosa:
        yield from _queue_families(labels)
        yield from _http_families(instance)
    sizes = Latency(float(instance.prompt_tokens) * 0.8, 0.7)
    yield _histogram(
        f"{prefix}request_prompt_tokens",
        "Number of prefill tokens processed.",
        labels,
        TOKEN_BUCKETS,
        sizes,
        lambda state: state.finished,
        slow=1.0,
        slow_latency=sizes,
    )
    yield from _process_families(instance)


def _finished_family(prefix: str, labels: Mapping[str, str], *, furiosa: bool) -> MetricFamily:
    name = f"{prefix}request_success_total"

    def value(reason: str, share: float) -> Value:
        if reason == "stop":
            return lambda state: int(state.total * share) + state.logged
        return lambda state: int(state.total * share)

    series = [
        MetricSeries(name, {**labels, "finished_reason": reason}, value(reason, share))
        for reason, share in _FINISH_REASON_SHARES
        if not furiosa or reason in _FURIOSA_REASONS
    ]
    return MetricFamily(name, "counter", "Count of successfully processed requests.", tuple(series))


def _latency_families(
    instance: SimulatedInstance, prefix: str, labels: Mapping[str, str]
) -> Iterator[MetricFamily]:
    for name, text, buckets, latency in (
        (
            "e2e_request_latency_seconds",
            "Histogram of e2e request latency in seconds.",
            E2E_BUCKETS,
            instance.request_time,
        ),
        (
            "time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            TTFT_BUCKETS,
            instance.first_token,
        ),
    ):
        yield _histogram(
            prefix + name, text, labels, buckets, latency, lambda state: state.finished
        )
    tokens = float(instance.output_tokens)
    yield _histogram(
        f"{prefix}inter_token_latency_seconds",
        "Histogram of inter-token latency in seconds.",
        labels,
        ITL_BUCKETS,
        instance.inter_token,
        lambda state: int((state.fast + state.slow) * tokens),
        fast=tokens,
        slow=tokens,
    )


def _queue_families(labels: Mapping[str, str]) -> Iterator[MetricFamily]:
    yield _histogram(
        "vllm:request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        labels,
        E2E_BUCKETS,
        Latency(0.004, 1.1),
        lambda state: state.finished,
        slow=20.0,
    )
    name = "vllm:admission_rejections_total"
    rejections = [
        MetricSeries(name, {**labels, "reason": reason}, lambda _: 0.0)
        for reason in ("max_num_queued_reqs", "max_num_queued_tokens")
    ]
    yield MetricFamily(name, "counter", "Requests rejected at admission.", tuple(rejections))


def _http_families(instance: SimulatedInstance) -> Iterator[MetricFamily]:
    handler = "/v1/embeddings" if instance.server.pooling else "/v1/chat/completions"
    labels = {"handler": handler, "method": "POST"}
    name = "http_requests_total"
    values: tuple[tuple[str, Value], ...] = (
        ("2xx", lambda state: int(state.total) + state.logged),
        ("4xx", lambda state: state.bad_requests),
        ("5xx", lambda state: int(state.failed)),
    )
    yield MetricFamily(
        name,
        "counter",
        "Total number of requests by method, status and handler.",
        tuple(MetricSeries(name, {**labels, "status": code}, value) for code, value in values),
    )
    yield _histogram(
        "http_request_duration_seconds",
        "Latency with only few buckets by handler.",
        labels,
        HTTP_BUCKETS,
        instance.request_time,
        lambda state: state.http_requests,
    )


def _process_families(instance: SimulatedInstance) -> Iterator[MetricFamily]:
    started = instance.started

    def one(name: str, text: str, value: Value) -> MetricFamily:
        return MetricFamily(name, "gauge", text, (MetricSeries(name, _NO_LABELS, value),))

    yield one(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        lambda _: round(started, 2),
    )
    yield one(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        lambda state: round(4.1e9 + (state.time - started) % 977 * 1e5),
    )


def _histogram(
    name: str,
    text: str,
    labels: Mapping[str, str],
    buckets: tuple[float, ...],
    latency: Latency,
    count: Value,
    *,
    fast: float = 1.0,
    slow: float = 1.0,
    slow_latency: Latency | None = None,
) -> MetricFamily:
    """A histogram of `fast` observations for each fast request and of `slow` ones for each slow
    one. The shares below the edges do not depend on the time: they are computed once."""
    slower = slow_latency or latency.scaled(SLOW_REQUEST_FACTOR)

    def within(edge: float) -> Value:
        of_fast, of_slow = fast * latency.cdf(edge), slow * slower.cdf(edge)
        return lambda state: min(count(state), int(state.fast * of_fast + state.slow * of_slow))

    series = [
        MetricSeries(f"{name}_bucket", {**labels, "le": f"{float(edge)}"}, within(edge))
        for edge in buckets
    ]
    fast_sum, slow_sum = fast * latency.mean, slow * slower.mean
    series += [
        MetricSeries(f"{name}_bucket", {**labels, "le": "+Inf"}, count),
        MetricSeries(f"{name}_count", labels, count),
        MetricSeries(
            f"{name}_sum",
            labels,
            lambda state: state.fast * fast_sum + state.slow * slow_sum,
        ),
    ]
    return MetricFamily(name, "histogram", text, tuple(series))


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {float(value)}" if inner else f"{name} {float(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
