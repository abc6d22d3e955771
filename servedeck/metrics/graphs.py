"""The graphs of a serving: what each shows, and the expressions of its lines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from servedeck.metrics import queries
from servedeck.metrics.accelerator_queries import AcceleratorFact, accelerator_lines
from servedeck.metrics.families import SERVER_METRICS, Metric, is_known, server_names
from servedeck.metrics.graph_line import GraphLine
from servedeck.metrics.platform_queries import (
    container_cpu,
    container_memory,
    replica_lines,
)
from servedeck.metrics.queries import KnownNames, MetricSeries, metric_series
from servedeck.metrics.target import MetricsTarget
from servedeck.metrics.units import Unit
from servedeck.promql.expressions import (
    AggregationOperator,
    Binary,
    Expression,
    Number,
    first_of,
)


class GraphKey(StrEnum):
    """In the order in which they are shown."""

    REQUESTS = "requests"
    LATENCY = "latency"
    ERRORS = "errors"
    QUEUE = "queue"
    TTFT = "ttft"
    ITL = "itl"
    TOKENS = "tokens"
    KV_CACHE = "kv-cache"
    PREFIX_CACHE = "prefix-cache"
    PREEMPTIONS = "preemptions"
    REPLICAS = "replicas"
    ACCELERATOR_USE = "accelerator-use"
    ACCELERATOR_MEMORY = "accelerator-memory"
    ACCELERATOR_TEMPERATURE = "temperature"
    ACCELERATOR_POWER = "power"
    CPU = "cpu"
    MEMORY = "memory"


QUANTILES: tuple[tuple[str, float], ...] = (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))


@dataclass(frozen=True, slots=True)
class GraphKind:
    """What a graph shows, of any serving."""

    key: GraphKey
    title: str
    unit: Unit
    absent: str
    """What is missing where there are no values, after "no record of" and "does not export"."""


GRAPH_KINDS: Mapping[GraphKey, GraphKind] = {
    one.key: one
    for one in (
        GraphKind(GraphKey.REQUESTS, "Requests", Unit.PER_SECOND, "finished requests"),
        GraphKind(GraphKey.LATENCY, "Latency", Unit.SECONDS, "times of requests"),
        GraphKind(GraphKey.ERRORS, "Errors", Unit.PER_SECOND, "errors by code"),
        GraphKind(GraphKey.QUEUE, "Running and waiting", Unit.COUNT, "running requests"),
        GraphKind(GraphKey.TTFT, "Time to first token", Unit.SECONDS, "times to the first token"),
        GraphKind(GraphKey.ITL, "Inter-token latency", Unit.SECONDS, "times between tokens"),
        GraphKind(GraphKey.TOKENS, "Tokens", Unit.TOKENS_PER_SECOND, "counts of tokens"),
        GraphKind(GraphKey.KV_CACHE, "KV cache", Unit.PERCENT, "the use of the KV cache"),
        GraphKind(
            GraphKey.PREFIX_CACHE, "Prefix cache hits", Unit.PERCENT, "hits of the prefix cache"
        ),
        GraphKind(GraphKey.PREEMPTIONS, "Preemptions", Unit.PER_SECOND, "preemptions"),
        GraphKind(GraphKey.REPLICAS, "Replicas", Unit.COUNT, "the number of replicas"),
        GraphKind(
            GraphKey.ACCELERATOR_USE, "Accelerators", Unit.PERCENT, "the use of accelerators"
        ),
        GraphKind(
            GraphKey.ACCELERATOR_MEMORY,
            "Accelerator memory",
            Unit.BYTES,
            "the memory of accelerators",
        ),
        GraphKind(
            GraphKey.ACCELERATOR_TEMPERATURE,
            "Accelerator temperature",
            Unit.CELSIUS,
            "the temperature of accelerators",
        ),
        GraphKind(
            GraphKey.ACCELERATOR_POWER, "Accelerator power", Unit.WATTS, "the power of accelerators"
        ),
        GraphKind(GraphKey.CPU, "CPU", Unit.CORES, "the CPU use of the containers"),
        GraphKind(GraphKey.MEMORY, "Memory", Unit.BYTES, "the memory use of the containers"),
    )
}


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """Of what time the lines tell, in seconds."""

    window: float
    """Of which a rate is computed."""
    step: float
    """Between two points. Of gauges whose points are far apart the mean since the last point is
    shown, and where the greatest is shown, the greatest since then."""
    known: KnownNames = None
    """The names of the samples that the Pods have; None if that is not known."""


def graph_lines(
    key: GraphKey, target: MetricsTarget, options: GraphOptions
) -> tuple[GraphLine, ...]:
    """The lines of a graph; () if nothing that it could show is known of the serving."""
    build = _BUILDERS[key]
    return tuple(build(target, options))


def pod_lines(key: GraphKey, target: MetricsTarget, options: GraphOptions) -> tuple[GraphLine, ...]:
    """A line for each Pod, of which the label `pod` is the name; () for a graph that has none."""
    build = _POD_BUILDERS.get(key)
    return tuple(build(target, options)) if build is not None else ()


POD_GRAPHS: Mapping[GraphKey, str] = {
    GraphKey.REQUESTS: "requests",
    GraphKey.LATENCY: "P95",
    GraphKey.QUEUE: "waiting",
    GraphKey.TTFT: "P95 to first token",
    GraphKey.ITL: "P95 between tokens",
    GraphKey.TOKENS: "generated tokens",
    GraphKey.KV_CACHE: "KV cache",
    GraphKey.CPU: "CPU",
    GraphKey.MEMORY: "memory",
}
"""The graphs that can be shown for each Pod, and what is shown then."""

Builder = Callable[[MetricsTarget, GraphOptions], Iterable[GraphLine]]


def _line(label: str, alternatives: Iterable[Expression], legend: str = "") -> list[GraphLine]:
    found = first_of(dict.fromkeys(alternatives))
    return [] if found is None else [GraphLine(label, found, legend)]


def _rates(
    metric: Metric, target: MetricsTarget, options: GraphOptions, *by: str
) -> list[Expression]:
    return [
        queries.counter_rate(one, options.window, *by)
        for one in _series(metric, target, options, by)
    ]


def _gauges(
    metric: Metric,
    target: MetricsTarget,
    options: GraphOptions,
    operator: AggregationOperator = "sum",
    *by: str,
) -> list[Expression]:
    # A sum of the greatest values of several Pods would be more than there ever was.
    function = "max_over_time" if operator == "max" else "avg_over_time"
    return [
        queries.gauge(one, operator, *by, over=_gauge_window(options), function=function)
        for one in _series(metric, target, options, by)
    ]


def _gauge_window(options: GraphOptions) -> float:
    """Seconds that a point stands for; 0 where points are so close that the value itself is
    shown."""
    return options.step if options.step > 60 else 0.0


def _quantiles(
    metric: Metric, target: MetricsTarget, options: GraphOptions, share: float, *by: str
) -> list[Expression]:
    return [
        queries.latency_quantile(share, one, options.window, options.known, *by)
        for one in _series(metric, target, options, by)
    ]


def _series(
    metric: Metric, target: MetricsTarget, options: GraphOptions, by: Collection[str]
) -> Iterable[MetricSeries]:
    """Of lines by Pod without those of a gateway, whose Pods are not the serving's."""
    found = metric_series(metric, target, options.known)
    return [one for one in found if one.has_pods] if "pod" in by else found


def _requests(target: MetricsTarget, options: GraphOptions) -> list[GraphLine]:
    return _line("requests", _rates(Metric.REQUESTS, target, options))


def _latencies(metric: Metric) -> Builder:
    def build(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
        for label, share in QUANTILES:
            yield from _line(label, _quantiles(metric, target, options, share))

    return build


def _errors(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    """A line for each family, as they count different errors; of the proxies the first. A name
    that several servers have is counted once."""
    own: dict[Expression, str] = {}
    proxies: list[Expression] = []
    label = ""
    for series in metric_series(Metric.ERRORS, target, options.known):
        for name in series.names:
            one = replace(series, names=(name,))
            by = (name.code_label,) if name.code_label else ()
            expression = queries.error_rate(one, options.window, *by)
            if series.is_proxy:
                proxies.append(expression)
                label = label or name.code_label
            else:
                own[expression] = name.code_label
    is_named = False
    for expression, code_label in own.items():
        yield GraphLine("failed", expression, code_label, f" ({code_label})" if is_named else "")
        is_named = is_named or bool(code_label)
    for line in _line("failed", proxies, label):
        yield replace(line, suffix=" at the proxy") if own else line


def _queue(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    yield from _line("running", _gauges(Metric.RUNNING, target, options))
    yield from _line("waiting", _gauges(Metric.WAITING, target, options))


def _tokens(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    yield from _line("prompt", _rates(Metric.PROMPT_TOKENS, target, options))
    yield from _line("generated", _rates(Metric.GENERATED_TOKENS, target, options))


def _kv_cache(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    yield from _line("fullest Pod", _gauges(Metric.KV_CACHE, target, options, "max"))
    yield from _line("mean", _gauges(Metric.KV_CACHE, target, options, "avg"))


def _prefix_servers(target: MetricsTarget, known: KnownNames) -> Iterable[str]:
    """The servers whose hits the Pods may have, one at a time: hits are a share of what the same
    server has looked up."""
    if target.template in SERVER_METRICS or Metric.PREFIX_HITS in target.own_names:
        return (target.template,)
    return (one for one in SERVER_METRICS if _has_prefix_cache(one, known))


def _has_prefix_cache(server: str, known: KnownNames) -> bool:
    """Whether Pods with those names may have the hits of a server."""
    names = server_names(Metric.PREFIX_HITS, server)
    return known is None or any(
        is_known(Metric.PREFIX_HITS, one.name, known) for group in names for one in group
    )


def _prefix_cache(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    shares: list[Expression] = []
    for server in _prefix_servers(target, options.known):
        one = replace(target, template=server)
        hits = _rates(Metric.PREFIX_HITS, one, options)
        lookups = _rates(Metric.PREFIX_QUERIES, one, options)
        if hits and lookups:
            shares.append(Binary("/", hits[0], lookups[0]))
    # Where it is off, it is -1 in older versions.
    shares += [
        Binary(">=", rate, Number(0))
        for rate in _gauges(Metric.PREFIX_HIT_RATE, target, options, "avg")
    ]
    yield from _line("hits", shares)


def _preemptions(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    yield from _line("preemptions", _rates(Metric.PREEMPTIONS, target, options))


def _cpu(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    yield from _line("used", container_cpu(target, options.window))


def _memory(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
    yield from _line("used", container_memory(target))


def _accelerators(fact: AcceleratorFact) -> Builder:
    return lambda target, options: accelerator_lines(fact, target, _gauge_window(options))


_BUILDERS: Mapping[GraphKey, Builder] = {
    GraphKey.REQUESTS: _requests,
    GraphKey.LATENCY: _latencies(Metric.LATENCY),
    GraphKey.ERRORS: _errors,
    GraphKey.QUEUE: _queue,
    GraphKey.TTFT: _latencies(Metric.TTFT),
    GraphKey.ITL: _latencies(Metric.ITL),
    GraphKey.TOKENS: _tokens,
    GraphKey.KV_CACHE: _kv_cache,
    GraphKey.PREFIX_CACHE: _prefix_cache,
    GraphKey.PREEMPTIONS: _preemptions,
    GraphKey.REPLICAS: lambda target, _: replica_lines(target),
    GraphKey.ACCELERATOR_USE: _accelerators("use"),
    GraphKey.ACCELERATOR_MEMORY: _accelerators("memory"),
    GraphKey.ACCELERATOR_TEMPERATURE: _accelerators("temperature"),
    GraphKey.ACCELERATOR_POWER: _accelerators("power"),
    GraphKey.CPU: _cpu,
    GraphKey.MEMORY: _memory,
}


def _pod_quantile(metric: Metric) -> Builder:
    def build(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
        return _line("", _quantiles(metric, target, options, 0.95, "pod"), "pod")

    return build


def _pod_rate(metric: Metric) -> Builder:
    def build(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
        return _line("", _rates(metric, target, options, "pod"), "pod")

    return build


def _pod_gauge(metric: Metric, operator: AggregationOperator = "sum") -> Builder:
    def build(target: MetricsTarget, options: GraphOptions) -> Iterable[GraphLine]:
        return _line("", _gauges(metric, target, options, operator, "pod"), "pod")

    return build


_POD_BUILDERS: Mapping[GraphKey, Builder] = {
    GraphKey.REQUESTS: _pod_rate(Metric.REQUESTS),
    GraphKey.LATENCY: _pod_quantile(Metric.LATENCY),
    GraphKey.QUEUE: _pod_gauge(Metric.WAITING),
    GraphKey.TTFT: _pod_quantile(Metric.TTFT),
    GraphKey.ITL: _pod_quantile(Metric.ITL),
    GraphKey.TOKENS: _pod_rate(Metric.GENERATED_TOKENS),
    # a Pod has a share for each of its engines
    GraphKey.KV_CACHE: _pod_gauge(Metric.KV_CACHE, "max"),
    GraphKey.CPU: lambda target, options: _line(
        "", container_cpu(target, options.window, "pod"), "pod"
    ),
    GraphKey.MEMORY: lambda target, _: _line("", container_memory(target, "pod"), "pod"),
}
