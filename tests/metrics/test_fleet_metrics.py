"""The figures of many servings in one query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from servedeck.metrics.families import Metric, MetricName
from servedeck.metrics.fleet_metrics import (
    FleetKey,
    ServingFigures,
    read_figures,
    read_recent_rates,
    with_recent_rates,
)
from servedeck.metrics.fleet_queries import Rate, figures_expression, rates_expression
from servedeck.metrics.period import TimeGrid
from servedeck.metrics.queries import POD_SUFFIX, TEMPLATE_HASH
from servedeck.metrics.source import MetricsSource
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import format_expression
from servedeck.promql.parser import parse_expression
from servedeck.promql.samples import SampleSeries
from tests.metrics.sampled_source import SampledSource
from tests.metrics.targets import target

RATE = Rate(120.0)
NOW = 1_700_000_000.0
TIMES = [NOW - 15.0 * number for number in range(130, -1, -1)]
HASH = f"-{TEMPLATE_HASH}-{POD_SUFFIX}"
SERVING = f'"serving", "$1", "pod", "(.+){HASH}"'
LLAMA_POD, OTHER_POD = "llama-6d4f8b7c9-x7k2p", "llama-55c7d8f6b-zz2z9"


def counter(
    name: str, per_second: float, pod: str, namespace: str = "chat", **labels: str
) -> SampleSeries:
    """A counter that increases steadily."""
    found = {"namespace": namespace, "pod": pod, **labels}
    values = [1000.0 + per_second * (time - TIMES[0]) for time in TIMES]
    return SampleSeries(name, tuple(sorted(found.items())), TIMES, values)


def gauge(name: str, value: float, pod: str, namespace: str = "chat") -> SampleSeries:
    found = {"namespace": namespace, "pod": pod}
    return SampleSeries(name, tuple(sorted(found.items())), TIMES, [value] * len(TIMES))


def histogram(
    name: str, per_second: dict[str, float], pod: str, namespace: str = "chat"
) -> Iterator[SampleSeries]:
    """Of cumulative rates by the bound of their bucket."""
    for bound, rate in per_second.items():
        yield counter(f"{name}_bucket", rate, pod, namespace, le=bound)


VLLM, LATENCY, WAITING = (
    "vllm:request_success_total",
    "vllm:e2e_request_latency_seconds",
    "vllm:num_requests_waiting",
)


# -- the text -----------------------------------------------------------------------------------


def test_one_expression_for_all_figures():
    targets = [target(), target(name="mistral", namespace="b.c")]
    text = format_expression(figures_expression(targets, RATE))
    pods = rf'namespace=~"b\\.c|chat",pod=~"(?:llama|mistral){HASH}"'
    rate = f"sum by (namespace, pod) (rate({VLLM}{{{pods}}}[120s]))"
    assert text.startswith(
        f"label_replace(sum by (namespace, serving) (label_replace({rate}, {SERVING})) or "
    )
    buckets = f"sum by (namespace, pod, le) (rate({LATENCY}_bucket{{{pods}}}[120s]))"
    assert (
        "histogram_quantile(0.95, sum by (namespace, serving, le)"
        f" (label_replace({buckets}, {SERVING})))" in text
    )
    waiting = f"sum by (namespace, pod) ({WAITING}{{{pods}}})"
    assert text.endswith(
        f" or label_replace(sum by (namespace, serving) (label_replace({waiting}, {SERVING})),"
        ' "figure", "waiting", "", "")'
    )
    assert text.count('"figure", "rate", "", ""') == text.count('"figure", "p95", "", ""') == 1
    assert "__name__" not in text


def test_the_length_does_not_depend_on_the_pods():
    few, many = target(), target(pods=[f"llama-6d4f8b7c9-{n:05}" for n in range(2000)])
    assert figures_expression([few], RATE) == figures_expression([many], RATE)


def test_names_of_one_server_are_alternatives_of_a_pod():
    text = format_expression(rates_expression([target("sglang")], RATE))
    pods = f'namespace=~"chat",pod=~"llama{HASH}"'
    assert (
        f"sum by (namespace, pod) (rate(sglang:num_requests_total{{{pods}}}[120s])) or "
        "sum by (namespace, pod)"
        f" (rate(sglang:e2e_request_latency_seconds_count{{{pods}}}[120s]))" in text
    )


@pytest.mark.parametrize("name", ['a"b', "a{b}", "a|b", "a.*", "$1", "a\\", "a\nb", "(", "x" * 200])
def test_hostile_names_are_names(name):
    targets = [target(name=name, namespace=name, pods=[f"{name}-b-bbbbb"]), target()]
    expression = figures_expression(targets, RATE)
    assert parse_expression(format_expression(expression)) == expression


def test_hundreds_of_names_are_not_nested_too_deep():
    targets = [
        target("custom", name=f"s{n}", own_names={Metric.REQUESTS: (MetricName(f"r{n}"),)})
        for n in range(500)
    ]
    text = format_expression(rates_expression(targets, RATE))
    assert text.count("rate(r") == 500
    parse_expression(text)


def test_nothing_is_asked_of_what_has_nothing():
    pod = target("llama.cpp", name="x" * 60, pods=())
    assert figures_expression([], RATE) is None
    assert "llamacpp" not in format_expression(figures_expression([pod], RATE))


# -- the values ---------------------------------------------------------------------------------


async def read_fleet(
    source: MetricsSource, targets: Sequence[MetricsTarget], now: float
) -> dict[FleetKey, ServingFigures]:
    """The figures with their recent rates."""
    figures, _warning = await read_figures(source, targets, now)
    return with_recent_rates(figures, await read_recent_rates(source, targets, now))


async def test_each_serving_has_its_own_figures():
    source = SampledSource(
        [
            counter(VLLM, 1.5, LLAMA_POD, reason="stop"),
            counter(VLLM, 0.5, LLAMA_POD, reason="length"),
            counter(VLLM, 2.0, OTHER_POD, reason="stop"),
            counter(VLLM, 40.0, "llama-v2-6d4f8b7c9-x7k2p"),
            counter(VLLM, 7.0, LLAMA_POD, "other"),
            gauge(WAITING, 3.0, LLAMA_POD),
            gauge(WAITING, 4.0, OTHER_POD),
            gauge(WAITING, 90.0, "llama-0"),
            counter("furiosa_llm_request_success_total", 5.0, "npu-6d4f8b7c9-x7k2p"),
        ]
    )
    npu = target("furiosa-llm", name="npu")
    found = await read_fleet(source, [target(), npu, target(name="gone")], NOW)
    llama = found["chat", "llama"]
    assert (llama.rate, llama.waiting, llama.p95) == (pytest.approx(4.0), 7.0, None)
    assert len(llama.recent_rates) == 31
    assert llama.recent_rates[-1] == pytest.approx(4.0)
    assert found["chat", "npu"].rate == pytest.approx(5.0)
    assert found["chat", "npu"].waiting is None
    assert set(found) == {("chat", "llama"), ("chat", "npu")}
    assert len(source.queries) == 2


async def test_a_quantile_is_that_of_all_pods():
    # nine of ten requests at the fast Pod: the mean of the two quantiles would be 5.2 s
    source = SampledSource(
        [
            *histogram(LATENCY, {"1": 99.0, "10": 99.0, "+Inf": 99.0}, LLAMA_POD),
            *histogram(LATENCY, {"1": 0.0, "10": 1.0, "+Inf": 1.0}, OTHER_POD),
        ]
    )
    found = (await read_figures(source, [target()], NOW)).figures["chat", "llama"]
    assert found.p95 == pytest.approx(0.95 * 100 / 99)


async def test_a_pod_with_old_and_new_names_counts_once():
    new, old = "sglang:num_requests_total", "sglang:e2e_request_latency_seconds_count"
    source = SampledSource(
        [counter(new, 2.0, LLAMA_POD), counter(old, 2.0, LLAMA_POD), counter(old, 3.0, OTHER_POD)]
    )
    found = await read_figures(source, [target("sglang")], NOW)
    assert found.figures["chat", "llama"].rate == pytest.approx(5.0)


async def test_labels_of_the_series_do_not_matter():
    source = SampledSource(
        [
            counter(VLLM, 1.0, LLAMA_POD, serving="x", figure="p95"),
            counter(VLLM, 2.0, LLAMA_POD, serving="y", figure="p95"),
        ]
    )
    found = await read_figures(source, [target()], NOW)
    assert found.figures == {("chat", "llama"): ServingFigures(pytest.approx(3.0))}


def proxied(per_second: float, reporter: str, **labels: str) -> SampleSeries:
    return counter("istio_requests_total", per_second, "any", "mesh", reporter=reporter, **labels)


WORKLOAD = {"destination_workload": "llama", "destination_workload_namespace": "chat"}
SERVICE = {"destination_service_name": "llama", "destination_service_namespace": "chat"}


async def test_proxies_count_where_the_server_does_not():
    source = SampledSource(
        [
            proxied(6.0, "destination", **WORKLOAD),
            proxied(9.0, "source", **SERVICE),
            counter(
                "envoy_cluster_upstream_rq_total",
                3.0,
                "gateway",
                "gateway",
                envoy_cluster_name="httproute/chat/embed/rule/0",
            ),
        ]
    )
    targets = [target("triton"), target("triton", name="embed")]
    found = (await read_fleet(source, targets, NOW)).items()
    rates = {name: one.rate for (_namespace, name), one in found}
    assert rates == {"llama": pytest.approx(6.0), "embed": pytest.approx(3.0)}


async def test_the_own_count_comes_first_but_for_an_unknown_server():
    series = [counter(VLLM, 1.0, LLAMA_POD), proxied(6.0, "destination", **WORKLOAD)]
    known = await read_figures(SampledSource(series), [target()], NOW)
    assert known.figures["chat", "llama"].rate == pytest.approx(1.0)
    custom = await read_figures(SampledSource(series), [target("custom")], NOW)
    assert custom.figures["chat", "llama"].rate == pytest.approx(6.0)


async def test_own_names_and_their_unit():
    own = {
        Metric.REQUESTS: (MetricName("my_total"),),
        Metric.LATENCY: (MetricName("my_ms", 0.001),),
    }
    source = SampledSource(
        [
            counter("my_total", 2.0, LLAMA_POD),
            counter(VLLM, 50.0, LLAMA_POD),
            *histogram("my_ms", {"1000": 10.0, "+Inf": 10.0}, LLAMA_POD),
        ]
    )
    found = await read_figures(source, [target("custom", own_names=own)], NOW)
    figures = found.figures["chat", "llama"]
    assert (figures.rate, figures.p95) == (pytest.approx(2.0), pytest.approx(0.95))


async def test_a_name_that_is_too_long_for_its_pods():
    name = "a" * 55
    pod = f"{name}-6dx7k2p"
    source = SampledSource([counter(VLLM, 2.0, pod), counter(VLLM, 1.0, LLAMA_POD)])
    found = await read_figures(source, [target(name=name, pods=[pod]), target()], NOW)
    assert found.figures["chat", name].rate == pytest.approx(2.0)
    assert found.figures["chat", "llama"].rate == pytest.approx(1.0)


async def test_no_requests_are_no_quantile():
    source = SampledSource(
        [
            counter(VLLM, 0.0, LLAMA_POD),
            *histogram(LATENCY, {"1": 0.0, "+Inf": 0.0}, LLAMA_POD),
        ]
    )
    found = await read_figures(source, [target()], NOW)
    assert found.figures["chat", "llama"] == ServingFigures(0.0, None, None)


class EmptySource(SampledSource):
    """Counts its queries."""

    async def query_range(self, expression, grid: TimeGrid):
        raise AssertionError("nothing can be asked for")


async def test_without_servings_nothing_is_asked_for():
    assert await read_fleet(EmptySource([]), [], NOW) == {}
