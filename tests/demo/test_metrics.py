"""/metrics of simulated inference servers, and the load behind it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from servedeck.demo.workloads.request_load import LoadSettings, RequestLoad
from servedeck.demo.workloads.traffic import Traffic
from tests.demo.cluster_fixture import ClusterFixture, metric_samples


def test_metrics_have_the_names_of_vllm(cluster: ClusterFixture) -> None:
    labels = 'engine="0",model_name="Qwen/Qwen3-8B"'
    found = metric_samples(cluster)
    for name in (
        f"vllm:num_requests_running{{{labels}}}",
        f"vllm:num_requests_waiting{{{labels}}}",
        f"vllm:kv_cache_usage_perc{{{labels}}}",
        f"vllm:prompt_tokens_total{{{labels}}}",
        f"vllm:generation_tokens_total{{{labels}}}",
        f'vllm:request_success_total{{{labels},finished_reason="stop"}}',
        f'vllm:e2e_request_latency_seconds_bucket{{{labels},le="0.3"}}',
        f'vllm:time_to_first_token_seconds_bucket{{{labels},le="+Inf"}}',
        f"vllm:inter_token_latency_seconds_count{{{labels}}}",
        'http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"}',
    ):
        assert name in found, name
    total = sum(v for k, v in found.items() if k.startswith("vllm:request_success_total"))
    assert 1200 < total < 3000, "about 3 a second for ten minutes"
    assert total == found[f"vllm:e2e_request_latency_seconds_count{{{labels}}}"]


def test_histograms_are_consistent_and_counters_never_fall(cluster: ClusterFixture) -> None:
    before = metric_samples(cluster)
    for _ in range(40):
        cluster.advance(37)
        found = metric_samples(cluster)
        for name, value in found.items():
            if "_total" in name or "_bucket" in name or "_count" in name or "_sum" in name:
                assert value >= before[name], name
        for family in ("vllm:e2e_request_latency_seconds", "vllm:time_to_first_token_seconds"):
            buckets = [v for k, v in found.items() if k.startswith(f"{family}_bucket")]
            assert buckets == sorted(buckets)
            (count,) = [v for k, v in found.items() if k.startswith(f"{family}_count")]
            assert buckets[-1] == count
        before = found


def test_the_load_varies_over_the_day_and_is_shared_among_the_ready(
    cluster: ClusterFixture,
) -> None:
    load = RequestLoad(2.0, "seed")
    rates = [load.rate(hour * 3600.0) for hour in range(24)]
    assert min(rates) > 0 and max(rates) > 1.8 * min(rates)
    steps = [load.integral(t * 60.0)[0] for t in range(1440)]
    assert all(b > a for a, b in pairwise(steps))
    assert steps[-1] - steps[0] == pytest.approx(2.0 * 86_340, rel=0.05)
    traffic = Traffic(1)
    settings = LoadSettings(2.0)
    one, two = traffic.new_share("lab/x", settings), traffic.new_share("lab/x", settings)
    traffic.add_instance("lab/x", "one", one, 0.0)
    traffic.add_instance("lab/x", "two", two, 1000.0)
    traffic.remove_instance("lab/x", "one", 3000.0)
    whole = one.load.integral(5000.0)[0] - one.load.integral(0.0)[0]
    assert one.counts_at(5000.0)[0] + two.counts_at(5000.0)[0] == pytest.approx(whole)
    assert one.counts_at(5000.0) == one.counts_at(3000.0)
