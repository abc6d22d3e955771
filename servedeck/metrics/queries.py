"""Expressions of the metrics of a serving.

Sources: the servers' own metrics in `families`; https://istio.io/latest/docs/reference/config/metrics/
and https://gateway.envoyproxy.io/docs/tasks/observability/proxy-metric/ for proxies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from servedeck.metrics.families import (
    METRIC_KINDS,
    MILLI,
    Metric,
    MetricKind,
    MetricName,
)
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import (
    Aggregation,
    AggregationOperator,
    Binary,
    Call,
    Expression,
    Matcher,
    Number,
    Selector,
    escape_regex,
    first_of,
    format_expression,
    quantile,
    total,
)
from servedeck.serving.objects.detection import CUSTOM_TEMPLATE

WINDOW_SECONDS = 120
"""Over how many seconds Prometheus computes a present rate: at least four scrapes at its usual
intervals of 15 and 30 s, and two at 60 s."""

KnownNames = Collection[str] | None
"""The names of the samples that the Pods have; None if that is not known."""


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """The series of one or several names of a metric."""

    names: tuple[MetricName, ...]
    """The newest first: of a Pod that has several, those of the first count."""
    matchers: tuple[Matcher, ...]
    is_proxy: bool = False
    """Whether a proxy in front of the Pods counts, which may be first seen after its first
    requests."""
    has_pods: bool = True
    """Whether the label `pod` is that of the serving's Pods; a gateway's series have its own."""


def metric_series(
    metric: Metric, target: MetricsTarget, known: KnownNames = None
) -> tuple[MetricSeries, ...]:
    """Where a metric may be, what comes first counts: the names that the serving gives itself, or
    those of its server, and those of the proxies. Of a server that is not known, the proxies come
    before all servers, as they count every request."""
    pods = pod_matchers(target)
    found = [MetricSeries(names, pods) for names in target.metric_names(metric, known) if pods]
    proxies = list(_proxy_series(metric, target))
    is_unknown = target.template == CUSTOM_TEMPLATE and metric not in target.own_names
    return tuple(proxies + found if is_unknown else found + proxies)


def counter_rate(series: MetricSeries, window: float, *by: str) -> Expression:
    """How fast counters increase, per second, summed over all series but those of `by`."""
    return total(_joined(series, lambda one: Call("rate", (one,)), window), *by)


def counter_increase(series: MetricSeries, seconds: float) -> Expression:
    """By how much they have increased in the last `seconds`.

    The increase of a counter that was first seen with requests misses those, and there is none of
    one that was seen once: a proxy's counters begin with their first request."""
    increase = total(_joined(series, lambda one: Call("increase", (one,)), seconds))
    if not series.is_proxy:
        return increase
    return Binary("or", increase, total(_joined(series, lambda one: newborn(one, seconds), 0.0)))


def newborn(selector: Selector, seconds: float) -> Expression:
    """The counters that were first seen in the last `seconds`, so that what they have counted is of
    this time."""
    return Binary("unless", selector, replace(selector, offset=seconds))


def gauge(
    series: MetricSeries,
    operator: AggregationOperator = "sum",
    *by: str,
    over: float = 0.0,
    function: str = "max_over_time",
) -> Expression:
    """The values of gauges, aggregated; `over` is the time, in seconds, of which the greatest of
    each counts."""
    if over:
        return Aggregation(operator, _joined(series, lambda one: Call(function, (one,)), over), by)
    return Aggregation(operator, _joined(series, lambda one: one, 0.0), by)


def latency_quantile(
    share: float, series: MetricSeries, window: float, known: KnownNames = None, *by: str
) -> Expression:
    """A quantile of histograms in seconds; native ones where the names are known to be such."""
    classic = MetricSeries(
        tuple(one._replace(name=f"{one.name}_bucket") for one in series.names), series.matchers
    )
    found: Expression = quantile(
        share, total(_joined(classic, _rate, window, scale=False), *by, "le")
    )
    if known is not None and any(one.name in known for one in series.names):
        native = quantile(share, total(_joined(series, _rate, window, scale=False), *by))
        found = Binary("or", found, native)
    return scaled(found, series.names[0].factor)


def error_rate(
    series: MetricSeries, window: float, *by: str, failures_only: bool = False
) -> Expression:
    """Errors per second of the only name of the series."""
    name = series.names[0]
    codes = name.failure_codes if failures_only else name.error_codes
    matchers = series.matchers
    if codes:
        matchers += (Matcher(name.code_label, "=~", codes),)
    return counter_rate(replace(series, names=(name,), matchers=matchers), window, *by)


def failure_share(series: MetricSeries, window: float) -> Expression | None:
    """Of the requests of a count of ERRORS, the share that the server failed to answer; None if no
    name tells which these are. Both numbers are of the same series, and no failure that was ever
    seen is a share of 0."""
    return first_of(_failure_share(one, window) for one in failure_series(series))


def _failure_share(series: MetricSeries, window: float) -> Expression:
    failed, answered = error_rate(series, window, failures_only=True), counter_rate(series, window)
    none_failed = Binary("*", answered, Number(0.0))
    return Binary("/", Binary("or", failed, none_failed), answered)


def failure_series(series: MetricSeries) -> Iterator[MetricSeries]:
    """Of a count of ERRORS, the series that say which requests the server failed to answer, name by
    name: of one name, those of different servers have different labels for the code."""
    for name in series.names:
        if name.failure_codes:
            with_code = (*series.matchers, Matcher(name.code_label, "!=", ""))
            yield replace(series, names=(name,), matchers=with_code)


def build_query(metric: Metric, target: MetricsTarget, window: int = WINDOW_SECONDS) -> str:
    """The PromQL of a metric now, one number; "" if there is none for the target. `window` is in
    seconds."""
    is_counter = METRIC_KINDS[metric] is MetricKind.COUNTER
    found = first_of(
        counter_rate(one, window) if is_counter else gauge(one)
        for one in metric_series(metric, target)
    )
    return format_expression(found) if found is not None else ""


def _rate(selector: Selector) -> Expression:
    return Call("rate", (selector,))


def _joined(
    series: MetricSeries,
    function: Callable[[Selector], Expression],
    window: float,
    *,
    scale: bool = True,
) -> Expression:
    """The series of the newest name, and those of older ones of Pods that do not have it."""
    found = first_of(
        scaled(function(Selector(one.name, series.matchers, window)), one.factor if scale else 1.0)
        for one in series.names
    )
    assert found is not None, "a metric has a name"
    return found


def scaled(expression: Expression, factor: float) -> Expression:
    """The values multiplied with a factor."""
    return expression if factor == 1.0 else Binary("*", expression, Number(factor))


# -- proxies ----------------------------------------------------------------------------------

ISTIO: Mapping[Metric, MetricName] = {
    Metric.REQUESTS: MetricName("istio_requests_total"),
    Metric.ERRORS: MetricName("istio_requests_total", 1.0, "response_code", "[45]..|0", "5.."),
    Metric.LATENCY: MetricName("istio_request_duration_milliseconds", MILLI),
}
"""The code 0 is that of a client that went away."""
ENVOY: Mapping[Metric, MetricName] = {
    Metric.REQUESTS: MetricName("envoy_cluster_upstream_rq_total"),
    Metric.ERRORS: MetricName(
        "envoy_cluster_upstream_rq_xx", 1.0, "envoy_response_code_class", "[45]", "5"
    ),
    Metric.LATENCY: MetricName("envoy_cluster_upstream_rq_time", MILLI),
}


def _proxy_series(metric: Metric, target: MetricsTarget) -> Iterator[MetricSeries]:
    """What a proxy in front of the Pods counts: Istio's in the Pods, Istio's in a gateway whose
    Pods have none, and Envoy Gateway's for the HTTPRoute of the serving's name."""
    if not target.is_whole or metric not in ISTIO:
        return
    name, namespace = target.name, target.namespace
    yield MetricSeries(
        (ISTIO[metric],),
        (
            Matcher("reporter", "=", "destination"),
            Matcher("destination_workload", "=", name),
            Matcher("destination_workload_namespace", "=", namespace),
        ),
        is_proxy=True,
    )
    yield MetricSeries(
        (ISTIO[metric],),
        (
            Matcher("reporter", "=", "source"),
            Matcher("destination_service_name", "=", name),
            Matcher("destination_service_namespace", "=", namespace),
        ),
        is_proxy=True,
        has_pods=False,
    )
    route = rf"httproute/{escape_regex(namespace)}/{escape_regex(name)}/rule/\d+"
    yield MetricSeries(
        (ENVOY[metric],),
        (Matcher("envoy_cluster_name", "=~", route),),
        is_proxy=True,
        has_pods=False,
    )


# -- Pods -------------------------------------------------------------------------------------

_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
POD_SUFFIX = f"{_SAFE}{{5}}"
"""What a controller adds to the name of a Pod (kubernetes apimachinery pkg/util/rand)."""
TEMPLATE_HASH = f"{_SAFE}{{7,10}}"
"""What a Deployment adds to the names of its ReplicaSets: the digits of a number of 32 bits, in
other characters; one of a thousand has fewer than seven."""

_GENERATED_NAME = re.compile(f"(.*){POD_SUFFIX}", re.DOTALL)
_MAX_GENERATED = 58
"""Characters of a name before the suffix (kubernetes apiserver storage/names)."""


def pod_matchers(target: MetricsTarget) -> tuple[Matcher, ...]:
    """() where no Pod is known: an empty pattern would match all series without the label."""
    pattern = pod_pattern(target)
    if not pattern:
        return ()
    return (Matcher("namespace", "=", target.namespace), Matcher("pod", "=~", pattern))


def pod_pattern(target: MetricsTarget) -> str:
    """A regular expression for the names of the Pods, which Prometheus matches as a whole. For a
    Deployment these are the names that its ReplicaSets give, also those that are deleted: as short
    for 2,000 Pods as for one, it includes those that have ended, and none of a Deployment
    `name-v2`."""
    patterns: dict[str, None] = {}
    whole = _deployment_pattern(target)
    if whole:
        patterns[whole] = None
    covering = re.compile(whole) if whole else None
    for pod in target.pods:
        generated = _GENERATED_NAME.fullmatch(pod.name) if target.is_whole else None
        if generated is not None:
            _add_generated(patterns, generated[1], covering)
        else:
            patterns[escape_regex(pod.name)] = None
    return "|".join(patterns)


def _deployment_pattern(target: MetricsTarget) -> str:
    """For the Pods of all ReplicaSets of a Deployment; "" if their names are too long to tell."""
    return f"{escape_regex(target.name)}-{TEMPLATE_HASH}-{POD_SUFFIX}" if names_pods(target) else ""


def names_pods(target: MetricsTarget) -> bool:
    """Whether the name of each Pod is that of the Deployment with a hash and a suffix."""
    return target.is_whole and target.is_deployment and len(target.name) + 12 <= _MAX_GENERATED


def _add_generated(patterns: dict[str, None], base: str, covering: re.Pattern[str] | None) -> None:
    if covering is None or covering.fullmatch(f"{base}bbbbb") is None:
        patterns[escape_regex(base) + POD_SUFFIX] = None
