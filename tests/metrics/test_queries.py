"""PromQL for each server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.families import (
    HTTP_REQUESTS,
    METRIC_KINDS,
    SERVER_METRICS,
    Metric,
    MetricName,
)
from servedeck.metrics.queries import (
    MetricSeries,
    build_query,
    counter_increase,
    counter_rate,
    failure_share,
    metric_series,
    pod_pattern,
)
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import Expression, escape_regex, format_expression, quote
from tests.metrics.targets import PODS, target

SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
SUFFIX = f"{SAFE}{{5}}"
HASH = f"{SAFE}{{7,10}}"
LABELS = f'{{namespace="chat",pod=~"llama-{HASH}-{SUFFIX}"}}'
WORKLOAD = 'destination_workload="llama",destination_workload_namespace="chat"'
SERVICE = 'destination_service_name="llama",destination_service_namespace="chat"'
PROXIES = (
    f'sum(rate(istio_requests_total{{reporter="destination",{WORKLOAD}}}[120s]))'
    f' or sum(rate(istio_requests_total{{reporter="source",{SERVICE}}}[120s]))'
    " or sum(rate(envoy_cluster_upstream_rq_total"
    r'{envoy_cluster_name=~"httproute/chat/llama/rule/\\d+"}[120s]))'
)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("vllm", "vllm:request_success_total"),
        ("furiosa-llm", "furiosa_llm_request_success_total"),
        ("tgi", "tgi_request_success"),
        ("triton", "nv_inference_request_success"),
    ],
)
def test_requests_per_second(template: str, name: str):
    query = build_query(Metric.REQUESTS, target(template))
    assert query == f"sum(rate({name}{LABELS}[120s])) or {PROXIES}"


def test_the_series_of_two_names_are_joined():
    query = build_query(Metric.REQUESTS, target("sglang"), 60)
    new, old = "sglang:num_requests_total", "sglang:e2e_request_latency_seconds_count"
    assert query.startswith(f"sum(rate({new}{LABELS}[60s]) or rate({old}{LABELS}[60s])) or ")


def test_a_custom_serving_may_have_the_metrics_of_any_server():
    query = build_query(Metric.REQUESTS, target("custom"))
    for name in ("vllm:request_success_total", "furiosa_llm_request_success_total"):
        assert f" or sum(rate({name}{LABELS}[120s]))" in query
    # The proxies come first: they count every request, whatever the server is.
    assert query.startswith(f"{PROXIES} or ")


def test_a_metric_that_a_server_does_not_have_is_asked_of_the_proxies():
    quantile = Metric.LATENCY
    assert [one.is_proxy for one in metric_series(quantile, target("triton"))] == [True] * 3
    assert build_query(Metric.RUNNING, target("triton")) == ""


def test_requests_in_progress():
    query = build_query(Metric.RUNNING, target())
    assert query == f"sum(vllm:num_requests_running{LABELS})"


def test_one_pod_is_asked_by_its_name_and_not_of_the_proxies():
    query = build_query(Metric.REQUESTS, target(pods=PODS[:1], is_whole=False))
    labels = f'{{namespace="chat",pod=~"{PODS[0]}"}}'
    assert query == f"sum(rate(vllm:request_success_total{labels}[120s]))"


def test_the_pattern_of_the_pods_has_none_of_another_deployment():
    pattern = pod_pattern(target())
    assert all(re.fullmatch(pattern, one) for one in PODS)
    assert re.fullmatch(pattern, "llama-6d4f8b7c9-2222x")  # one that has just ended
    assert re.fullmatch(pattern, "llama-7d4f8b7c9-x7k2p")  # of a ReplicaSet that is deleted
    for other in (
        "llama-v2-6d4f8b7c9-x7k2p",
        "llama-bbbbbbb-6d4f8b7c9-x7k2p",  # of a Deployment that is named as a ReplicaSet
        "allama-6d4f8b7c9-x7k2p",
        "llama-6d4f8b7c9-x7k2p-0",
        "llama-6d4f8b7c9",
        "llama-0",
    ):
        assert not re.fullmatch(pattern, other)


def test_the_pattern_without_a_deployment_is_that_of_each_replica_set():
    pattern = pod_pattern(target(is_deployment=False))
    assert pattern == f"llama-6d4f8b7c9-{SUFFIX}|llama-55c7d8f6b-{SUFFIX}"
    assert all(re.fullmatch(pattern, one) for one in PODS)
    assert not re.fullmatch(pattern, "llama-7d4f8b7c9-x7k2p")


def test_the_pattern_is_as_short_for_many_pods():
    pods = [f"llama-6d4f8b7c9-{a}{b}xxx" for a in "bcdfgh" for b in "bcdfghjkl"]
    assert pod_pattern(target(pods=pods)) == f"llama-{HASH}-{SUFFIX}"
    assert pod_pattern(target(pods=pods, is_deployment=False)) == f"llama-6d4f8b7c9-{SUFFIX}"


def test_a_long_name_is_cut_where_the_api_server_cuts_it():
    # https://github.com/kubernetes/apiserver/blob/master/pkg/storage/names/generate.go: 63 - 5
    name = "llama-" + "a" * 50
    base = f"{name}-6d4f8b7c9-"[:58]
    pattern = pod_pattern(target(name=name, pods=[f"{base}x7k2p"]))
    assert pattern == f"{base}{SUFFIX}"


hostile = st.text(st.sampled_from('ab-.|()[]{}*+?^$\\"\n =~,#\u202e'), max_size=12)


@given(hostile, hostile)
def test_a_name_cannot_change_the_query(namespace: str, pod: str):
    query = build_query(Metric.RUNNING, target(pods=[pod], namespace=namespace))
    match = re.fullmatch(
        r"sum\(vllm:num_requests_running\{namespace=(\".*\"),pod=~(\".*\")\}\)", query, re.DOTALL
    )
    assert match is not None
    # The strings of PromQL that are made have the escapes of JSON.
    assert json.loads(match[1]) == namespace
    pattern = json.loads(match[2])
    assert re.fullmatch(pattern, pod)


@given(hostile, hostile)
def test_an_escaped_text_matches_itself_alone(text: str, other: str):
    assert bool(re.fullmatch(escape_regex(text), other)) == (text == other)
    assert re.fullmatch(escape_regex(text), text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_string_ends_where_it_should(text: str):
    assert re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', quote(text))


def test_every_metric_has_a_kind_and_every_name_is_valid():
    assert set(METRIC_KINDS) == set(Metric)
    for row in SERVER_METRICS.values():
        for names in row.values():
            assert names
            assert all(re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", one.name) for one in names)


def series_texts(metric: Metric, of: MetricsTarget, build: Callable[[MetricSeries], Any]) -> Any:
    found = [build(one) for one in metric_series(metric, of)]
    return [None if one is None else format_expression(one) for one in found]


def test_the_total_of_a_proxy_has_what_was_counted_before_it_was_first_seen():
    def increase(one: MetricSeries) -> Expression:
        return counter_increase(one, 3600)

    own, destination, source, envoy = series_texts(Metric.REQUESTS, target(), increase)
    assert own == f"sum(increase(vllm:request_success_total{LABELS}[3600s]))"
    for found, name, matchers in (
        (destination, "istio_requests_total", f'{{reporter="destination",{WORKLOAD}}}'),
        (source, "istio_requests_total", f'{{reporter="source",{SERVICE}}}'),
        (
            envoy,
            "envoy_cluster_upstream_rq_total",
            r'{envoy_cluster_name=~"httproute/chat/llama/rule/\\d+"}',
        ),
    ):
        seen = f"{name}{matchers}"
        assert found == f"sum(increase({seen}[3600s])) or sum({seen} unless {seen} offset 3600s)"


def test_the_share_of_failures_is_of_the_same_series():
    def share(one: MetricSeries) -> Expression | None:
        return failure_share(one, 60)

    own, destination, source, envoy = series_texts(Metric.ERRORS, target(), share)
    labels = LABELS.removesuffix("}")
    answered = f'sum(rate(http_requests_total{labels},status!=""}}[60s]))'
    failed = f'sum(rate(http_requests_total{labels},status!="",status=~"5.*"}}[60s]))'
    assert own == f"({failed} or {answered} * 0) / {answered}"
    for found, code in ((destination, '"5.."'), (source, '"5.."'), (envoy, '"5"')):
        assert found is not None and found.count(f"=~{code}") == 1
    # of several names, that which tells what failed
    names = {Metric.ERRORS: (MetricName("my_aborted_total"), HTTP_REQUESTS)}
    mine = target("custom", own_names=names)
    assert series_texts(Metric.ERRORS, mine, share)[0] == own
    for template in ("tgi", "sglang", "tensorrt-llm"):
        assert series_texts(Metric.ERRORS, target(template), share)[0] is None


def test_a_name_in_another_unit_is_multiplied():
    name = MetricName("my_total", 0.001)
    of = target("custom", own_names={Metric.REQUESTS: (name, MetricName("old_total"))})
    series = metric_series(Metric.REQUESTS, of)[0]
    assert format_expression(counter_rate(series, 60)) == (
        f"sum(rate(my_total{LABELS}[60s]) * 0.001 or rate(old_total{LABELS}[60s]))"
    )
