"""The expressions of each graph, for each server."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

import pytest

from servedeck.metrics.families import Metric, MetricName
from servedeck.metrics.graphs import (
    GRAPH_KINDS,
    POD_GRAPHS,
    GraphKey,
    GraphOptions,
    graph_lines,
    pod_lines,
)
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import format_expression
from tests.metrics.targets import PODS, target

SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
S = f'namespace="chat",pod=~"llama-{SAFE}{{7,10}}-{SAFE}{{5}}"'
WORKLOAD = (
    'reporter="destination",destination_workload="llama",destination_workload_namespace="chat"'
)
SERVICE = 'reporter="source",destination_service_name="llama",destination_service_namespace="chat"'
ROUTE = r'envoy_cluster_name=~"httproute/chat/llama/rule/\\d+"'
SHORT = GraphOptions(window=60, step=15)
LONG = GraphOptions(window=360, step=360)


def texts(
    key: GraphKey, of: MetricsTarget, options: GraphOptions = SHORT, *, by_pod: bool = False
) -> dict[str, str]:
    """The PromQL of each line by its label."""
    found = (pod_lines if by_pod else graph_lines)(key, of, options)
    labels = [one.label + one.suffix for one in found]
    assert len(set(labels)) == len(labels) or any(one.legend for one in found)
    return {one.label: format_expression(one.expression) for one in found}


def own(key: GraphKey, of: MetricsTarget, options: GraphOptions = SHORT) -> dict[str, str]:
    """The same without the alternatives of the proxies."""
    return {
        label: text.partition(" or histogram_quantile(0")[0].partition(" or sum(rate(istio")[0]
        for label, text in texts(key, of, options).items()
    }


def quantiles(name: str, factor: str = "") -> dict[str, str]:
    return {
        label: f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{{{S}}}[60s]))){factor}"
        for label, share in (("P50", "0.5"), ("P95", "0.95"), ("P99", "0.99"))
    }


# -- servers ------------------------------------------------------------------------------------


def test_the_graphs_of_vllm():
    vllm = target("vllm")
    assert own(GraphKey.REQUESTS, vllm) == {
        "requests": f"sum(rate(vllm:request_success_total{{{S}}}[60s]))"
    }
    latency = quantiles("vllm:e2e_request_latency_seconds")
    assert own(GraphKey.LATENCY, vllm) == latency
    assert texts(GraphKey.TTFT, vllm) == quantiles("vllm:time_to_first_token_seconds")
    new, old = "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"
    assert texts(GraphKey.ITL, vllm)["P95"] == (
        f"histogram_quantile(0.95, sum by (le) (rate({new}_bucket{{{S}}}[60s]) "
        f"or rate({old}_bucket{{{S}}}[60s])))"
    )
    assert texts(GraphKey.QUEUE, vllm) == {
        "running": f"sum(vllm:num_requests_running{{{S}}})",
        "waiting": f"sum(vllm:num_requests_waiting{{{S}}})",
    }
    assert texts(GraphKey.TOKENS, vllm) == {
        "prompt": f"sum(rate(vllm:prompt_tokens_total{{{S}}}[60s]))",
        "generated": f"sum(rate(vllm:generation_tokens_total{{{S}}}[60s]))",
    }
    cache = f"(vllm:kv_cache_usage_perc{{{S}}} or vllm:gpu_cache_usage_perc{{{S}}})"
    assert texts(GraphKey.KV_CACHE, vllm) == {"fullest Pod": f"max{cache}", "mean": f"avg{cache}"}
    hits, lookups = (
        f"sum(rate(vllm:prefix_cache_{one}_total{{{S}}}[60s]) "
        f"or rate(vllm:gpu_prefix_cache_{one}_total{{{S}}}[60s]))"
        for one in ("hits", "queries")
    )
    assert texts(GraphKey.PREFIX_CACHE, vllm) == {
        "hits": f"{hits} / {lookups} or avg(vllm:gpu_prefix_cache_hit_rate{{{S}}}) >= 0"
    }
    assert texts(GraphKey.PREEMPTIONS, vllm) == {
        "preemptions": f"sum(rate(vllm:num_preemptions_total{{{S}}}[60s]))"
    }


def test_the_graphs_of_furiosa_llm():
    furiosa = target("furiosa-llm")
    assert own(GraphKey.REQUESTS, furiosa) == {
        "requests": f"sum(rate(furiosa_llm_request_success_total{{{S}}}[60s]))"
    }
    assert own(GraphKey.LATENCY, furiosa) == quantiles("furiosa_llm_e2e_request_latency_seconds")
    assert texts(GraphKey.TTFT, furiosa) == quantiles("furiosa_llm_time_to_first_token_seconds")
    assert texts(GraphKey.ITL, furiosa) == quantiles("furiosa_llm_inter_token_latency_seconds")
    assert texts(GraphKey.QUEUE, furiosa) == {
        "running": f"sum(furiosa_llm_num_requests_running{{{S}}})",
        "waiting": f"sum(furiosa_llm_num_requests_waiting{{{S}}})",
    }
    cache = f"furiosa_llm_kv_cache_usage_percent{{{S}}}"  # from 0 to 1 in spite of its name
    assert texts(GraphKey.KV_CACHE, furiosa) == {
        "fullest Pod": f"max({cache})",
        "mean": f"avg({cache})",
    }
    assert graph_lines(GraphKey.PREEMPTIONS, furiosa, SHORT) == ()


@pytest.mark.parametrize(
    ("template", "running", "waiting", "cache"),
    [
        ("sglang", "sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage"),
        (
            "tensorrt-llm",
            "trtllm_num_requests_running",
            "trtllm_num_requests_waiting",
            "trtllm_kv_cache_utilization",
        ),
    ],
)
def test_the_queue_of_other_servers(template: str, running: str, waiting: str, cache: str):
    # names of https://github.com/kubernetes-sigs/gateway-api-inference-extension
    of = target(template)
    assert texts(GraphKey.QUEUE, of) == {
        "running": f"sum({running}{{{S}}})",
        "waiting": f"sum({waiting}{{{S}}})",
    }
    assert texts(GraphKey.KV_CACHE, of)["fullest Pod"] == f"max({cache}{{{S}}})"


def test_milliseconds_are_seconds():
    name = "nv_inference_first_response_histogram_ms"
    assert texts(GraphKey.TTFT, target("triton")) == quantiles(name, " * 0.001")


def test_a_server_without_a_histogram_has_that_of_the_proxies_alone():
    shown = texts(GraphKey.LATENCY, target("triton"))["P95"]
    assert shown.startswith(
        "histogram_quantile(0.95, sum by (le) "
        f"(rate(istio_request_duration_milliseconds_bucket{{{WORKLOAD}}}[60s]))) * 0.001 or "
    )


def test_every_graph_has_expressions_for_some_server():
    templates = ("vllm", "custom")
    for key in GraphKey:
        assert any(graph_lines(key, target(one), SHORT) for one in templates), key
        assert GRAPH_KINDS[key].absent
    assert set(GRAPH_KINDS) == set(GraphKey)


def test_between_points_far_apart_no_peak_of_a_gauge_is_lost():
    assert texts(GraphKey.QUEUE, target("vllm"), LONG) == {
        "running": f"sum(avg_over_time(vllm:num_requests_running{{{S}}}[360s]))",
        "waiting": f"sum(avg_over_time(vllm:num_requests_waiting{{{S}}}[360s]))",
    }


# -- custom -------------------------------------------------------------------------------------


def known(*names: str) -> GraphOptions:
    return GraphOptions(60, 15, frozenset(names))


def test_a_custom_serving_has_its_own_names_first():
    names = {Metric.REQUESTS: (MetricName("my_requests_total"),)}
    of = target("custom", own_names=names)
    options = known("my_requests_total", "vllm:request_success_total")
    assert texts(GraphKey.REQUESTS, of, options) == {
        "requests": " or ".join(
            [
                f"sum(rate(my_requests_total{{{S}}}[60s]))",
                f"sum(rate(istio_requests_total{{{WORKLOAD}}}[60s]))",
                f"sum(rate(istio_requests_total{{{SERVICE}}}[60s]))",
                f"sum(rate(envoy_cluster_upstream_rq_total{{{ROUTE}}}[60s]))",
            ]
        )
    }
    # of what it does not name, as without
    plain = target("custom")
    assert texts(GraphKey.LATENCY, of, options) == texts(GraphKey.LATENCY, plain, options)


def test_the_prefix_cache_of_a_custom_serving_has_the_names_that_it_gives():
    names = {
        Metric.PREFIX_HITS: (MetricName("my_hits_total"),),
        Metric.PREFIX_QUERIES: (MetricName("my_lookups_total"),),
    }
    of = target("custom", own_names=names)
    hits, lookups = (f"sum(rate(my_{one}_total{{{S}}}[60s]))" for one in ("hits", "lookups"))
    for options in (SHORT, known("my_hits_total", "my_lookups_total")):
        assert own(GraphKey.PREFIX_CACHE, of, options)["hits"].startswith(f"{hits} / {lookups}")


def test_the_kv_cache_of_a_pod_is_that_of_its_fullest_engine():
    cache = texts(GraphKey.KV_CACHE, target("sglang"), by_pod=True)[""]
    assert cache == f"max by (pod) (sglang:token_usage{{{S}}})"


def test_a_mean_of_the_kv_cache_is_none_of_its_peaks():
    cache = texts(GraphKey.KV_CACHE, target("sglang"), LONG)
    assert cache == {
        "fullest Pod": f"max(max_over_time(sglang:token_usage{{{S}}}[360s]))",
        "mean": f"avg(avg_over_time(sglang:token_usage{{{S}}}[360s]))",
    }


def test_no_query_is_too_long_for_an_address():
    # a proxy in front of Prometheus may refuse addresses of more than 8 KiB
    for template in ("vllm", "custom"):
        for key in GraphKey:
            for by_pod in (False, True):
                for shown in texts(key, target(template), by_pod=by_pod).values():
                    assert len(urlencode({"query": shown})) < 6000


def test_a_custom_serving_is_asked_of_the_proxies_and_then_of_what_its_pods_have():
    options = known("vllm:request_success_total", "vllm:e2e_request_latency_seconds_bucket")
    proxies = [
        f"sum(rate(istio_requests_total{{{WORKLOAD}}}[60s]))",
        f"sum(rate(istio_requests_total{{{SERVICE}}}[60s]))",
        f"sum(rate(envoy_cluster_upstream_rq_total{{{ROUTE}}}[60s]))",
    ]
    own_one = f"sum(rate(vllm:request_success_total{{{S}}}[60s]))"
    of = target("custom")
    assert texts(GraphKey.REQUESTS, of, options)["requests"] == " or ".join([*proxies, own_one])
    assert texts(GraphKey.REQUESTS, of, known("python_info"))["requests"] == " or ".join(proxies)
    quantile = texts(GraphKey.LATENCY, of, options)["P50"]
    assert quantile.split(" or ") == [
        *(
            f"histogram_quantile(0.5, sum by (le) (rate({name}{{{matchers}}}[60s]))) * 0.001"
            for name, matchers in (
                ("istio_request_duration_milliseconds_bucket", WORKLOAD),
                ("istio_request_duration_milliseconds_bucket", SERVICE),
                ("envoy_cluster_upstream_rq_time_bucket", ROUTE),
            )
        ),
        quantiles("vllm:e2e_request_latency_seconds")["P50"],
    ]
    assert graph_lines(GraphKey.KV_CACHE, of, options) == ()


def test_native_histograms_are_asked_where_the_names_are_those_of_them():
    name = "vllm:time_to_first_token_seconds"
    classic = quantiles(name)["P95"]
    native = f"histogram_quantile(0.95, sum(rate({name}{{{S}}}[60s])))"
    assert texts(GraphKey.TTFT, target(), known(name))["P95"] == f"{classic} or {native}"
    assert texts(GraphKey.TTFT, target(), known(f"{name}_bucket"))["P95"] == classic
    by_pod = texts(GraphKey.TTFT, target(), known(name), by_pod=True)[""]
    assert by_pod == (
        f"histogram_quantile(0.95, sum by (pod, le) (rate({name}_bucket{{{S}}}[60s]))) or "
        f"histogram_quantile(0.95, sum by (pod) (rate({name}{{{S}}}[60s])))"
    )


# -- errors -------------------------------------------------------------------------------------

STATUS = f'sum by (status) (rate(http_requests_total{{{S},status=~"[45].*"}}[60s]))'
CODE = f'sum by (code) (rate(http_requests_total{{{S},code=~"[45].*"}}[60s]))'
PROXY_ERRORS = " or ".join(
    [
        *(
            "sum by (response_code) (rate(istio_requests_total"
            f'{{{matchers},response_code=~"[45]..|0"}}[60s]))'
            for matchers in (WORKLOAD, SERVICE)
        ),
        "sum by (envoy_response_code_class) (rate(envoy_cluster_upstream_rq_xx"
        f'{{{ROUTE},envoy_response_code_class=~"[45]"}}[60s]))',
    ]
)


def errors(of: MetricsTarget, options: GraphOptions = SHORT) -> list[tuple[str, str, str]]:
    """The PromQL, the label that names the lines, and what is added to their names."""
    return [
        (format_expression(one.expression), one.legend, one.suffix)
        for one in graph_lines(GraphKey.ERRORS, of, options)
    ]


def test_errors_are_told_by_their_code():
    assert errors(target("vllm")) == [
        (STATUS, "status", ""),
        (PROXY_ERRORS, "response_code", " at the proxy"),
    ]
    assert errors(target("furiosa-llm")) == [(PROXY_ERRORS, "response_code", "")]
    aborted = f"sum(rate(sglang:num_aborted_requests_total{{{S}}}[60s]))"
    responses = f'sglang:http_responses_total{{{S},status_code=~"[45].*"}}'
    coded = f"sum by (status_code) (rate({responses}[60s]))"
    assert errors(target("sglang"))[:2] == [(aborted, "", ""), (coded, "status_code", "")]
    failed = f"sum by (err) (rate(tgi_request_failure{{{S}}}[60s]))"
    assert errors(target("tgi"))[0] == (failed, "err", "")


def test_a_name_that_several_servers_have_is_one_line():
    assert errors(target("custom"), known("http_requests_total")) == [
        (STATUS, "status", ""),
        (CODE, "code", " (code)"),
        (PROXY_ERRORS, "response_code", " at the proxy"),
    ]


# -- Pods ---------------------------------------------------------------------------------------


def test_the_lines_of_each_pod():
    vllm = target("vllm")
    expected = {
        GraphKey.QUEUE: f"sum by (pod) (vllm:num_requests_waiting{{{S}}})",
        GraphKey.TOKENS: f"sum by (pod) (rate(vllm:generation_tokens_total{{{S}}}[60s]))",
        GraphKey.TTFT: (
            "histogram_quantile(0.95, sum by (pod, le) "
            f"(rate(vllm:time_to_first_token_seconds_bucket{{{S}}}[60s])))"
        ),
    }
    for key, text in expected.items():
        [line] = pod_lines(key, vllm, SHORT)
        assert (format_expression(line.expression), line.legend) == (text, "pod")
    for key in GraphKey:
        found = pod_lines(key, vllm, SHORT)
        assert bool(found) == (key in POD_GRAPHS)
        assert all(one.legend == "pod" for one in found)


def test_a_gateway_is_no_pod_of_the_serving():
    # its series have the label `pod` too: that of the gateway
    for template in ("vllm", "custom"):
        for key in (GraphKey.REQUESTS, GraphKey.LATENCY):
            [shown] = texts(key, target(template), by_pod=True).values()
            assert 'reporter="destination"' in shown
            assert 'reporter="source"' not in shown and "envoy_" not in shown


def test_one_pod_has_its_own_series_alone():
    pod = target(pods=PODS[:1], is_whole=False)
    for key in GraphKey:
        for shown in texts(key, pod).values():
            assert f'pod=~"{PODS[0]}"' in shown and "istio" not in shown
    assert graph_lines(GraphKey.REPLICAS, pod, SHORT) == ()


# -- platform -----------------------------------------------------------------------------------

CONTAINERS = f'{S},container!="",container!="POD"'


def test_the_graphs_of_the_platform():
    assert texts(GraphKey.CPU, target()) == {
        "used": f"sum(rate(container_cpu_usage_seconds_total{{{CONTAINERS}}}[60s]))"
        f" or sum(servedeck_container_cpu_cores{{{S}}})"
    }
    assert texts(GraphKey.MEMORY, target()) == {
        "used": f"sum(container_memory_working_set_bytes{{{CONTAINERS}}})"
    }
    deployment = 'namespace="chat",deployment="llama"'
    assert texts(GraphKey.REPLICAS, target()) == {
        "wanted": f"max(kube_deployment_spec_replicas{{{deployment}}})",
        "ready": f"max(kube_deployment_status_replicas_ready{{{deployment}}})",
    }


def device(operator: str, name: str, more: str = "") -> str:
    exported = S.replace("namespace=", "exported_namespace=").replace("pod=~", "exported_pod=~")
    return f"{operator}({name}{{{exported}{more}}} or {name}{{{S}{more}}})"


def test_the_graphs_of_accelerators():
    use = ("DCGM_FI_DEV_GPU_UTIL", "furiosa_npu_core_utilization")
    assert texts(GraphKey.ACCELERATOR_USE, target()) == {
        label: " or ".join(f"{device(operator, one)} * 0.01" for one in use)
        for label, operator in (("mean", "avg"), ("most used", "max"))
    }
    used, dram = device("sum", "DCGM_FI_DEV_FB_USED"), device("sum", "furiosa_npu_dram_usage")
    assert texts(GraphKey.ACCELERATOR_MEMORY, target()) == {"used": f"{used} * 1048576 or {dram}"}
    peak = device("max", "furiosa_npu_hw_temperature", ',label="peak"')
    assert texts(GraphKey.ACCELERATOR_TEMPERATURE, target()) == {
        "hottest": f"{device('max', 'DCGM_FI_DEV_GPU_TEMP')} or {peak}"
    }
    power = device("sum", "furiosa_npu_hw_power", ',label="rms"')
    assert texts(GraphKey.ACCELERATOR_POWER, target()) == {
        "sum": f"{device('sum', 'DCGM_FI_DEV_POWER_USAGE')} or {power}"
    }


def all_texts(of: MetricsTarget) -> Iterable[str]:
    for key in GraphKey:
        yield from texts(key, of).values()
        yield from texts(key, of, by_pod=True).values()


def test_a_deployment_without_pods_keeps_its_past():
    assert list(all_texts(target(pods=[]))) == list(all_texts(target()))


def test_an_empty_pattern_is_never_asked():
    # it would match every series without the label
    for of in (target(pods=[], is_whole=False), target(pods=[], is_deployment=False)):
        assert all('pod=~""' not in one for one in all_texts(of))
        for key in (GraphKey.CPU, GraphKey.MEMORY, GraphKey.ACCELERATOR_USE, GraphKey.QUEUE):
            assert graph_lines(key, of, SHORT) == ()


def test_the_hits_of_a_custom_server_are_a_share_of_its_own_lookups():
    known = {"furiosa_llm_prefix_cache_hits_total", "furiosa_llm_prefix_cache_queries_total"}
    [line] = graph_lines(GraphKey.PREFIX_CACHE, target("custom"), GraphOptions(60, 15, known))
    text = format_expression(line.expression)
    hits, _, lookups = text.partition(" / ")
    assert "furiosa_llm_prefix_cache_hits_total" in hits
    assert "furiosa_llm_prefix_cache_queries_total" in lookups and "vllm" not in text
