"""A day of the metrics of some servings, from a fixed seed, and what is true of it.

Time 0 is the present; the samples go on after it, for queries of a little later. All servings are
scraped every minute, but for an hour in which Prometheus was down.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

INTERVAL = 60
"""Seconds between two scrapes."""
HOUR = 3600
BEGIN, END = -25 * HOUR, 2 * HOUR
NOON = -12 * HOUR
"""When the Deployment `llama` is rolled out to the next version."""
GAP = (-6 * HOUR, -5 * HOUR)
"""After the first of these times nothing is scraped, until the other one."""
RESET = -3 * HOUR
"""When a server of `llama` is restarted."""

LATENCY_BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 20.0)
TTFT_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
ITL_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1)


@dataclass(frozen=True)
class Request:
    time: float
    """When the scrape that counted it first was."""
    latency: float
    ttft: float
    itl: float
    code: int


@dataclass
class Pod:
    """A server from its first scrape to its last one."""

    namespace: str
    name: str
    begin: float
    end: float
    requests: list[Request] = field(default_factory=list)
    restarts: Sequence[float] = ()

    @property
    def labels(self) -> str:
        return f'namespace="{self.namespace}",pod="{self.name}"'

    def scrapes(self) -> Iterator[int]:
        for time in range(BEGIN, END + 1, INTERVAL):
            if self.begin <= time <= self.end and not GAP[0] < time < GAP[1]:
                yield time

    def handle(self, seed: int, per_second: Callable[[float], float], slow: float = 1.0) -> Pod:
        """Have it answer requests at a rate."""
        chance = random.Random(seed)
        for time in range(BEGIN, END + 1, INTERVAL):
            if not self.begin < time <= self.end:
                continue
            expected = per_second(time) * INTERVAL
            for _ in range(int(expected + chance.random())):
                code = chance.choices((200, 400, 500, 503), (90, 5, 3, 2))[0]
                self.requests.append(
                    Request(
                        time,
                        chance.lognormvariate(math.log(1.2 * slow), 0.6),
                        chance.lognormvariate(math.log(0.08 * slow), 0.7),
                        chance.lognormvariate(math.log(0.03 * slow), 0.4),
                        code,
                    )
                )
        return self

    def between(self, begin: float, end: float) -> list[Request]:
        """The requests that were counted after `begin`, until `end`."""
        times = [one.time for one in self.requests]
        return self.requests[bisect.bisect_right(times, begin) : bisect.bisect_right(times, end)]

    def running(self, time: float) -> int:
        return int(4 + 3 * math.sin(time / 5000) + sum(map(ord, self.name)) % 3)

    def cache(self, time: float) -> float:
        return 0.1 * self.running(time) + 0.05


@dataclass(frozen=True)
class Names:
    """What a server calls its metrics; "" for what it does not have."""

    requests: str
    latency: str
    ttft: str = ""
    itl: str = ""
    running: str = ""
    waiting: str = ""
    cache: str = ""
    tokens: str = ""
    """Before "prompt_tokens_total" and "generation_tokens_total"."""
    hits: str = ""
    """Before "_queries_total" and "_hits_total" of the prefix cache."""
    http: str = ""
    finish_label: str = "finished_reason"


VLLM = Names(
    "vllm:request_success_total",
    "vllm:e2e_request_latency_seconds",
    "vllm:time_to_first_token_seconds",
    "vllm:inter_token_latency_seconds",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:",
    "vllm:prefix_cache",
    "http_requests_total",
)
VLLM_V0 = Names(
    "vllm:request_success_total",
    "vllm:e2e_request_latency_seconds",
    "vllm:time_to_first_token_seconds",
    "vllm:time_per_output_token_seconds",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:gpu_cache_usage_perc",
    "vllm:",
    "",
    "http_requests_total",
)
FURIOSA = Names(
    "furiosa_llm_request_success_total",
    "furiosa_llm_e2e_request_latency_seconds",
    "furiosa_llm_time_to_first_token_seconds",
    "furiosa_llm_inter_token_latency_seconds",
    "furiosa_llm_num_requests_running",
    "furiosa_llm_num_requests_waiting",
    "furiosa_llm_kv_cache_usage_percent",
    "furiosa_llm_",
    "furiosa_llm_prefix_cache",
)
VLLM_LATENCY = Names(
    "vllm:request_success_total",
    "vllm:e2e_request_latency_seconds",
    running="vllm:num_requests_running",
)
SGLANG = Names(
    "sglang:num_requests_total",
    "sglang:e2e_request_latency_seconds",
    running="sglang:num_running_reqs",
    waiting="sglang:num_queue_reqs",
    finish_label="",
)


class Counters:
    """The counters of one server, that begin at 0."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, name: str, labels: str, value: float) -> None:
        key = f"{name}{{{labels}}}"
        self.values[key] = self.values.get(key, 0.0) + value

    def observe(self, name: str, labels: str, bounds: Sequence[float], value: float | None) -> None:
        """Into a classic histogram; None only creates its series."""
        for bound in (*bounds, math.inf):
            text = "+Inf" if bound == math.inf else f"{bound:g}" if bound != 1 else "1.0"
            counted = value is not None and value <= bound
            self.add(f"{name}_bucket", f'{labels},le="{text}"', float(counted))
        self.add(f"{name}_count", labels, float(value is not None))
        self.add(f"{name}_sum", labels, value or 0.0)

    def lines(self, time: float) -> Iterator[str]:
        for key, value in self.values.items():
            yield f"{key} {value!r} {time}"


def server_lines(pod: Pod, names: Names, present: int) -> Iterator[str]:
    """What is scraped from a server."""
    labels = f'{pod.labels},model_name="org/m"'
    counters = Counters()
    histograms = [
        (name, bounds, index)
        for index, (name, bounds) in enumerate(
            (
                (names.latency, LATENCY_BUCKETS),
                (names.ttft, TTFT_BUCKETS),
                (names.itl, ITL_BUCKETS),
            )
        )
        if name
    ]

    def start() -> None:
        counters.values.clear()
        for name, bounds, _ in histograms:
            counters.observe(name, labels, bounds, None)
        for reason in ("stop", "length"):
            counters.add(names.requests, finish(reason), 0.0)

    def finish(reason: str) -> str:
        return f'{labels},{names.finish_label}="{reason}"' if names.finish_label else labels

    def count(one: Request) -> None:
        values = (one.latency, one.ttft, one.itl)
        for name, bounds, index in histograms:
            counters.observe(name, labels, bounds, values[index])
        counters.add(names.requests, finish("stop" if one.latency < 2 else "length"), 1.0)
        if names.tokens:
            counters.add(f"{names.tokens}prompt_tokens_total", labels, 100.0)
            counters.add(f"{names.tokens}generation_tokens_total", labels, 40.0)
        if names.hits:
            counters.add(f"{names.hits}_queries_total", labels, 100.0)
            counters.add(f"{names.hits}_hits_total", labels, 30.0)
        if names.http:
            more = f'{pod.labels},handler="/v1/completions",status="{one.code // 100}xx"'
            counters.add(names.http, more, 1.0)

    start()
    last = pod.begin
    for time in pod.scrapes():
        yield f"up{{{pod.labels}}} 1 {present + time}"
        for restart in pod.restarts:
            if last < restart <= time:
                start()
        for one in pod.between(last, time):
            count(one)
        last = time
        at = present + time
        yield from counters.lines(at)
        gauges = {
            names.running: pod.running(time),
            names.waiting: max(pod.running(time) - 5, 0),
            names.cache: pod.cache(time),
        }
        yield from (f"{name}{{{labels}}} {value} {at}" for name, value in gauges.items() if name)


def istio_lines(pod: Pod, reporters: Mapping[str, str], present: int) -> Iterator[str]:
    """What Istio counts of the requests of a Pod, for each reporter with its own labels. Its
    counters begin with their first request."""
    counters = Counters()
    buckets = [one * 1000 for one in LATENCY_BUCKETS]
    last = pod.begin
    for time in pod.scrapes():
        for one in pod.between(last, time):
            for reporter, more in reporters.items():
                labels = f'reporter="{reporter}",{more}'
                coded = f'{labels},response_code="{one.code}"'
                counters.add("istio_requests_total", coded, 1.0)
                counters.observe(
                    "istio_request_duration_milliseconds", labels, buckets, one.latency * 1000
                )
        last = time
        yield from counters.lines(present + time)


class Day:
    """The servings. Those of the Deployment `llama` are of two versions of vLLM."""

    def __init__(self) -> None:
        def busy(time: float) -> float:
            return 0.15 + 0.1 * math.sin(time / 9000)

        chat = "chat"
        self.old = [
            Pod(chat, f"llama-55c7d8f6b-{one}", BEGIN, NOON).handle(seed, busy)
            for seed, one in enumerate(("bbbbb", "ccccc"))
        ]
        self.new = [
            Pod(chat, "llama-6d4f8b7c9-ddddd", NOON, END, restarts=(RESET,)).handle(3, busy),
            Pod(chat, "llama-6d4f8b7c9-fffff", NOON, END).handle(4, busy, 1.5),
        ]
        self.llama = self.old + self.new
        self.neighbour = [
            Pod(chat, "llama-v2-6d4f8b7c9-ggggg", BEGIN, END).handle(5, lambda _: 0.5, 3.0)
        ]
        self.furiosa = [Pod(chat, "furi-7c9d5b6f8-bbbbb", BEGIN, END).handle(6, busy)]
        self.front = [Pod(chat, "front-84c5f9d6b-bbbbb", BEGIN, END).handle(7, busy)]
        self.gated = [Pod(chat, "gated-84c5f9d6b-ccccc", BEGIN, END).handle(8, busy)]
        self.hidden = [Pod(chat, "hidden-84c5f9d6b-ddddd", BEGIN, END).handle(9, busy)]
        self.idle = [Pod(chat, "idle-84c5f9d6b-fffff", BEGIN, END)]

    def lines(self, present: int) -> Iterator[str]:
        """The samples, where the present is a time in seconds since the epoch."""
        for pods, names in (
            (self.old, VLLM_V0),
            (self.new, VLLM),
            (self.neighbour, VLLM_LATENCY),
            (self.furiosa, FURIOSA),
            (self.hidden, SGLANG),
            (self.idle, VLLM_LATENCY),
        ):
            for pod in pods:
                yield from server_lines(pod, names, present)
        for pod, reporters in (
            (self.front[0], ("destination", "source")),
            (self.gated[0], ("source",)),
        ):
            name = pod.name.partition("-")[0]
            workload = (
                f'destination_workload="{name}",destination_workload_namespace="chat",'
                f'destination_service_name="{name}",destination_service_namespace="chat"'
            )
            gateway = 'namespace="istio-system",pod="gateway-5d8f7c9b4-bbbbb"'
            own = {
                one: f"{workload},{pod.labels if one == 'destination' else gateway}"
                for one in reporters
            }
            yield from istio_lines(pod, own, present)
        for pod in self.llama + self.furiosa:
            yield from self._platform_lines(pod, present)
        for time in self.idle[0].scrapes():
            for name, wanted in (("llama", 2), ("idle", 1)):
                labels = f'namespace="chat",deployment="{name}"'
                ready = wanted - (name == "llama" and NOON - 600 <= time < NOON)
                yield f"kube_deployment_spec_replicas{{{labels}}} {wanted} {present + time}"
                yield f"kube_deployment_status_replicas_ready{{{labels}}} {ready} {present + time}"
        # of a time that no graph shows
        yield f"vllm:ancient{{{self.new[0].labels}}} 1 {present - 96 * HOUR}"

    def _platform_lines(self, pod: Pod, present: int) -> Iterator[str]:
        exported = f'exported_namespace="{pod.namespace}",exported_pod="{pod.name}"'
        exporter = 'namespace="gpu-operator",pod="dcgm-exporter-bbbbb"'
        used = 0.0
        for time in pod.scrapes():
            at, load = present + time, pod.running(time)
            used += INTERVAL * load / 4
            container = f'{pod.labels},container="server"'
            for labels in (container, f'{pod.labels},container=""'):  # the second one is their sum
                yield f"container_cpu_usage_seconds_total{{{labels}}} {used} {at}"
                yield f"container_memory_working_set_bytes{{{labels}}} {load * 2**30} {at}"
            if pod in self.furiosa:
                labels = f'{pod.labels},device="npu0"'
                for kind, value in (("peak", 50 + load), ("ambient", 90)):
                    yield f'furiosa_npu_hw_temperature{{{labels},label="{kind}"}} {value} {at}'
                yield f'furiosa_npu_hw_power{{{labels},label="rms"}} {30 + load} {at}'
                continue
            for gpu in ("0", "1"):
                labels = f'{exported},{exporter},gpu="{gpu}"'
                for name, value in (
                    ("GPU_UTIL", 10 * load + int(gpu)),
                    ("FB_USED", 1000 * load),
                    ("GPU_TEMP", 40 + load + int(gpu)),
                    ("POWER_USAGE", 100 + 10 * load),
                ):
                    yield f"DCGM_FI_DEV_{name}{{{labels}}} {value} {at}"


def requests_of(pods: Sequence[Pod], begin: float, end: float) -> list[Request]:
    return [one for pod in pods for one in pod.between(begin, end)]


def bucket_of(
    share: float, values: Sequence[float], bounds: Sequence[float]
) -> tuple[float, float]:
    """The bounds of the buckets in which the quantile may be: those of the values next to it."""
    ordered = sorted(values)
    rank = share * len(ordered)
    low = ordered[max(math.ceil(rank) - 1, 0)]
    high = ordered[min(math.floor(rank), len(ordered) - 1)]
    edges = (0.0, *bounds)
    below = [one for one in edges if one < low]
    above = [one for one in edges if one >= high]
    return max(below, default=0.0), min(above, default=edges[-1])
