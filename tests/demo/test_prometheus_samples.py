"""What the demo's Prometheus has scraped is what the Pods' pages said at these times."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import pytest

from servedeck.demo.prometheus import query_engine
from servedeck.demo.prometheus.replica_history import ReplicaHistory
from servedeck.demo.prometheus.scrape_times import NeededScrapes, ScrapeGrid
from servedeck.demo.workloads import instance_history, metrics
from servedeck.demo.workloads.failure_simulation import FailureCause
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.instance_history import InstanceHistory, InstancePlace
from servedeck.demo.workloads.server_config import OTHER, ServerConfig
from servedeck.promql.expressions import Expression
from servedeck.promql.parser import parse_expression
from servedeck.promql.samples import is_stale
from tests.demo.cluster_fixture import ClusterFixture, running_instance
from tests.demo.prometheus_fixture import NOW, PrometheusFixture, scenario_prometheus

DAY = 86_400.0
CHAT = 'namespace="chat",pod=~"llama-31-8b-.*"'
_LINE = re.compile(r"(?P<name>[a-z0-9_:]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")


@pytest.fixture(scope="module")
def prometheus() -> PrometheusFixture:
    return scenario_prometheus()


@pytest.fixture
def small(cluster: ClusterFixture) -> PrometheusFixture:
    """Of a cluster with one Pod."""
    return PrometheusFixture(cluster.controllers, cluster.clock)


def inference_instances(prometheus: PrometheusFixture) -> list[SimulatedInstance]:
    """Those that answer now."""
    now = prometheus.clock.time()
    history = prometheus.controllers.kubelet.history
    found = [past.instance for past in history.between(now, now)]
    return [one for one in found if one.server.engine != OTHER and one.listens(now)]


def test_samples_are_what_the_pages_said(prometheus: PrometheusFixture) -> None:
    compared = 0
    for instance in inference_instances(prometheus):
        own = f'namespace="{instance.namespace}",pod="{instance.pod}",job=~".*inference-servers"'
        grid = ScrapeGrid.of_target(_target(prometheus, own))
        scraped_at = grid.time(grid.last_until(NOW))
        page = metrics.render_metrics(instance, scraped_at)
        for line in page.splitlines():
            if line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            assert match is not None, line
            selector = ",".join(part for part in (own, match["labels"]) if part)
            found = prometheus.vector(f"{match['name']}{{{selector}}}")
            assert [value for _, value in found] == [float(match["value"])], line
            compared += 1
    assert compared > 1000


def _target(prometheus: PrometheusFixture, own: str) -> str:
    (found,) = prometheus.data("/api/v1/series", match=f"up{{{own}}}", start=NOW - 60)
    return str(found["instance"])


def test_counters_never_fall_while_an_instance_lives(prometheus: PrometheusFixture) -> None:
    history = prometheus.controllers.kubelet.history
    for past in history.between(NOW - DAY, NOW):
        instance = past.instance
        if instance.server.engine == OTHER or math.isinf(instance.ready_at):
            continue
        end = min(past.ended, NOW)
        begin = max(instance.started, end - 3 * 3600)
        times = [begin + (end - begin) * number / 60 for number in range(61)]
        states = [metrics.InstanceState(instance, time) for time in times]
        for family in metrics.metric_families(instance):
            if family.kind == "gauge":
                continue
            for series in family.series:
                values = [series.value(state) for state in states]
                assert all(b >= a for a, b in pairwise(values)), series.name


def test_the_total_of_a_day_is_the_integral_of_its_rate(prometheus: PrometheusFixture) -> None:
    load = prometheus.controllers.traffic.load("search/bge-m3")
    expected = load.integral(NOW).total - load.integral(NOW - DAY).total
    total = prometheus.value(
        'sum(increase(vllm:request_success_total{namespace="search",pod=~"bge-m3-.*"}[24h]))'
    )
    assert total == pytest.approx(expected, rel=0.01)


def test_the_buckets_give_the_quantiles_of_the_latency(prometheus: PrometheusFixture) -> None:
    """Of the log-normal times of fast and of slow requests, as far as the buckets tell."""
    instance = next(one for one in inference_instances(prometheus) if one.pod.startswith("bge"))
    rate = instance.traffic_share.rate(NOW - 300)
    slow = rate.slow / rate.total
    latency, slower = instance.request_time, instance.request_time.scaled(3.4)
    for share in (0.5, 0.95):
        found = prometheus.value(
            f"histogram_quantile({share}, sum by (le)(rate("
            'vllm:e2e_request_latency_seconds_bucket{namespace="search",pod=~"bge-m3-.*"}[10m])))'
        )
        below = max(edge for edge in (0.0, *metrics.E2E_BUCKETS) if edge < found)
        above = min(edge for edge in metrics.E2E_BUCKETS if edge >= found)

        def within(seconds: float) -> float:
            return (1 - slow) * latency.cdf(seconds) + slow * slower.cdf(seconds)

        assert within(below) - 0.02 < share < within(above) + 0.02


def test_the_last_day_has_a_peak_with_errors_a_scaling_and_a_rollout(
    prometheus: PrometheusFixture,
) -> None:
    start = NOW - DAY
    ((_, slow),) = prometheus.range(
        "histogram_quantile(0.95, sum by (le)(rate("
        f"vllm:e2e_request_latency_seconds_bucket{{{CHAT}}}[6m])))",
        start,
        NOW,
        360,
    )
    peak = max(value for time, value in slow if NOW - 5.3 * 3600 < time < NOW - 4.3 * 3600)
    usual = sorted(value for _, value in slow)[len(slow) // 2]
    assert peak > 1.4 * usual
    failed = f'sum(increase(http_requests_total{{{CHAT},status="5xx"}}[1h]))'
    assert prometheus.value(failed, NOW - 4.3 * 3600) > 100
    assert prometheus.value(failed, NOW - 10 * 3600) == 0
    ((_, ready),) = prometheus.range(
        'kube_deployment_status_replicas_ready{namespace="chat",deployment="llama-31-8b"}',
        start,
        NOW,
        60,
    )
    assert {3, 4} <= {value for _, value in ready}
    ((_, pods),) = prometheus.range(f"sum(up{{{CHAT}}})", start, NOW, 60)
    assert {2, 3, 4} <= {value for _, value in pods}
    for namespace, serving in (("chat", "llama-31-8b"), ("search", "bge-m3")):
        starts = prometheus.vector(
            f'max_over_time(process_start_time_seconds{{namespace="{namespace}",'
            f'pod=~"{serving}-.*"}}[24h]) > '
            f'min_over_time(process_start_time_seconds{{namespace="{namespace}",'
            f'pod=~"{serving}-.*"}}[24h])'
        )
        assert starts, f"a container of {serving} restarted in its Pod"


@pytest.mark.parametrize(
    "query",
    [
        f"sum(rate(vllm:request_success_total{{{CHAT}}}[2m]))",
        f"sum by (pod)(increase(vllm:generation_tokens_total{{{CHAT}}}[1h]))",
        "sum by (le)(rate(vllm:time_to_first_token_seconds_bucket"
        '{namespace="search"}[6m] offset 7m))',
        f"vllm:num_requests_running{{{CHAT}}}",
        'sum(up{namespace="search"}) + sum(rate(http_requests_total{namespace="search"}[5m]))',
        'kube_deployment_status_replicas_ready{namespace="chat"}',
        'max by (exported_pod)(DCGM_FI_DEV_GPU_TEMP{exported_namespace="search"})',
        f"max_over_time(vllm:num_requests_running{{{CHAT}}}[10m])",
    ],
)
def test_the_samples_that_are_left_out_make_no_difference(
    prometheus: PrometheusFixture, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    start, end, step = NOW - DAY, NOW, 360.0
    found = prometheus.range(query, start, end, step)
    assert found

    class AllScrapes(NeededScrapes):
        def __init__(self, expression: Expression, times: Sequence[float]) -> None:
            super().__init__(expression, times)

        def numbers(self, grid: ScrapeGrid, first: int, last: int) -> list[int]:
            return list(range(max(first, grid.last_until(self.start)), last + 1))

    monkeypatch.setattr(query_engine, "NeededScrapes", AllScrapes)
    complete = prometheus.range(query, start, end, step)
    assert [labels for labels, _ in complete] == [labels for labels, _ in found]
    for (_, some), (_, every) in zip(found, complete, strict=True):
        assert [time for time, _ in some] == [time for time, _ in every]
        assert [value for _, value in some] == pytest.approx([value for _, value in every])


def test_a_restart_resets_the_counters_of_the_same_series(
    cluster: ClusterFixture, small: PrometheusFixture
) -> None:
    pod = cluster.pod()
    cluster.controllers.kubelet.crash(pod["metadata"]["uid"], FailureCause.DEVICE_ERROR)
    cluster.advance(5)
    down = cluster.clock.time()
    cluster.until(cluster.ready)
    cluster.advance(300)
    now = cluster.clock.time()
    (name, counts) = small.range('sum by (pod)(http_requests_total{status="2xx"})', down - 120,
                                 now, 15)[0]  # fmt: skip
    assert name == {"pod": pod["metadata"]["name"]}
    falls = [b < a for (_, a), (_, b) in pairwise(counts)]
    assert falls.count(True) == 1
    gaps = [b - a for (a, _), (b, _) in pairwise(counts)]
    assert max(gaps) > 30, "while the server loads, its page cannot be scraped"
    (((_, up),)) = small.range("sum(up)", down - 60, now, 15)
    assert [value for _, value in up].count(0) >= 3
    assert small.value("sum(up)") == 1
    total = small.value(f'sum(increase(http_requests_total{{status="2xx"}}[{int(now - down)}s]))')
    instance = running_instance(cluster)
    counted = instance.traffic_share.counts_at(now).total
    assert 0.7 * counted < total < 1.3 * counted + 30


def test_a_pod_that_is_gone_is_known_at_the_next_scrape(
    cluster: ClusterFixture, small: PrometheusFixture
) -> None:
    assert len(small.vector("vllm:num_requests_running")) == 1
    cluster.edit(lambda obj: obj["spec"].update(replicas=0))
    cluster.advance(120)
    assert small.vector("vllm:num_requests_running") == []
    assert small.value("sum(rate(vllm:prompt_tokens_total[5m]))") > 0
    assert len(small.vector("vllm:num_requests_running", cluster.clock.time() - 150)) == 1


def test_a_server_that_hangs_is_not_scraped(
    cluster: ClusterFixture, small: PrometheusFixture
) -> None:
    cluster.controllers.kubelet.hang(cluster.pod()["metadata"]["uid"])
    cluster.advance(31)
    assert small.value("up") == 0
    assert small.vector("vllm:num_requests_running") == []


def test_real_requests_count_from_when_they_were_made(
    cluster: ClusterFixture, small: PrometheusFixture
) -> None:
    query = 'sum(http_requests_total{status="2xx"})'
    before = cluster.clock.time()
    instance = running_instance(cluster)
    expected = metrics.InstanceState(instance, before + 60).prompt_tokens
    cluster.advance(30)
    for _ in range(500):
        instance.log_request(cluster.clock.time(), "a line")
    instance.add_tokens(cluster.clock.time(), 7, 9)
    cluster.advance(30)
    assert small.value(query) - small.value(query, before) >= 500
    state = metrics.InstanceState(instance, cluster.clock.time())
    assert state.prompt_tokens == expected + 7
    assert metrics.InstanceState(instance, before).logged == 0


def test_nothing_is_known_of_the_future_or_of_long_ago(prometheus: PrometheusFixture) -> None:
    assert prometheus.vector("up", NOW + 3600) == []
    assert prometheus.vector("up", NOW - 27 * 3600) == []
    expression = parse_expression("up")
    needed = NeededScrapes(expression, [NOW - 60, NOW + 60])
    source = prometheus.engine._samples(needed, NOW - 400, NOW + 60)
    for series in source.select("up", (), NOW - 400, NOW + 60):
        assert all(a < b for a, b in pairwise(series.times))
        assert max(series.times) <= NOW
        assert not any(is_stale(value) for value in series.values[:-1])


def test_devices_are_used_by_one_pod_each_and_their_values_agree(
    prometheus: PrometheusFixture,
) -> None:
    used = prometheus.vector("DCGM_FI_DEV_FB_USED")
    free = {labels["UUID"]: value for labels, value in prometheus.vector("DCGM_FI_DEV_FB_FREE")}
    uuids = [labels["UUID"] for labels, _ in used]
    assert len(uuids) == len(set(uuids)) > 10
    for labels, value in used:
        assert labels["exported_pod"] and labels["Hostname"] and labels["gpu"].isdecimal()
        total = value + free[labels["UUID"]]
        assert 0 < value <= total
        assert total in (81101, 45466)
    busy = {one["UUID"]: value for one, value in prometheus.vector("DCGM_FI_DEV_GPU_UTIL")}
    hot = {one["UUID"]: value for one, value in prometheus.vector("DCGM_FI_DEV_GPU_TEMP")}
    power = {one["UUID"]: value for one, value in prometheus.vector("DCGM_FI_DEV_POWER_USAGE")}
    most, least = max(busy, key=busy.__getitem__), min(busy, key=busy.__getitem__)
    assert hot[most] > hot[least] + 5 and power[most] > power[least]
    assert all(25 < value < 90 for value in hot.values())
    ((_, curve), *_) = prometheus.range(
        'DCGM_FI_DEV_GPU_TEMP{exported_namespace="search"}', NOW - 7200, NOW, 60
    )
    assert all(abs(a - b) <= 8 for (_, a), (_, b) in pairwise(curve)), "smooth"
    npu = prometheus.vector('furiosa_npu_hw_temperature{label="peak"}')
    ambient = prometheus.vector('furiosa_npu_hw_temperature{label="ambient"}')
    assert len(npu) == 2 and min(v for _, v in npu) > max(v for _, v in ambient)


def test_the_kubelet_counts_the_time_of_containers(prometheus: PrometheusFixture) -> None:
    found = prometheus.vector(
        'sum by (pod)(rate(container_cpu_usage_seconds_total{namespace="chat"}[5m]))'
    )
    assert len(found) >= 6 and all(0 < value < 16 for _, value in found)
    memory = prometheus.vector('container_memory_working_set_bytes{namespace="monitoring"}')
    assert len(memory) == 1 and memory[0][0]["image"].startswith("quay.io/prometheus/prometheus:")


def test_istio_counts_what_the_server_counts(prometheus: PrometheusFixture) -> None:
    workload = 'reporter="destination",destination_workload="mistral-7b"'
    istio = prometheus.value(f'sum(istio_requests_total{{{workload},response_code="200"}})')
    own = prometheus.value(
        'sum(http_requests_total{namespace="research",pod=~"mistral-7b-.*",status="2xx"})'
    )
    assert istio == pytest.approx(own, rel=1e-4)
    milliseconds = prometheus.value(
        "histogram_quantile(0.95, sum by (le)(rate("
        f"istio_request_duration_milliseconds_bucket{{{workload}}}[10m])))"
    )
    assert 500 < milliseconds < 60_000


def test_a_custom_server_is_known_by_istio_alone(prometheus: PrometheusFixture) -> None:
    assert prometheus.vector('up{namespace="vision",pod=~"table-ocr-.*"}') == []
    workload = 'destination_workload="table-ocr",destination_workload_namespace="vision"'
    failed = prometheus.value(
        f'sum(increase(istio_requests_total{{{workload},response_code="503"}}[24h]))'
    )
    assert failed > 50
    assert (
        10
        < prometheus.value(
            "histogram_quantile(0.5, sum by (le)(rate("
            f"istio_request_duration_milliseconds_bucket{{{workload}}}[10m])))"
        )
        < 250
    )


def test_ended_instances_are_remembered_for_a_day_and_then_forgotten(
    cluster: ClusterFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = cluster.pod()["metadata"]["uid"]
    (first,) = cluster.controllers.kubelet.instances(pod)
    history = InstanceHistory()
    place = InstancePlace("gpu-1", "10.0.0.1", "10.1.0.1", "lab/llm", "image")
    start = cluster.clock.time()

    def add(number: int, started: float) -> SimulatedInstance:
        monkeypatch.setattr(history, "_until_prune", 1)
        made = SimulatedInstance(
            "lab", "llm", "uid", "server", number, started, ServerConfig(OTHER), first.plan,
            first.traffic_share,
        )  # fmt: skip
        history.add(made, place)
        return made

    old = add(0, start)
    add(1, start + 60)
    add(2, start + 25 * 3600)
    assert [past.instance for past in history.between(start, start + 10)] == [old]
    add(3, start + 27 * 3600)
    assert list(history.between(start, start + 10)) == []
    monkeypatch.setattr(instance_history, "MAX_ENDED_INSTANCES", 5)
    for number in range(4, 12):
        add(number, start + 27 * 3600 + number)
    kept = [past.instance.number for past in history.between(start, start + 1e6)]
    assert kept == [6, 7, 8, 9, 10, 11]


def test_the_replicas_of_a_deployment_have_a_bounded_past(cluster: ClusterFixture) -> None:
    history = ReplicaHistory(cluster.store, cluster.clock)
    history.resync()
    first = cluster.clock.time()
    cluster.advance(10)
    cluster.edit(lambda obj: obj["spec"].update(replicas=2))
    cluster.until(cluster.ready)
    (past,) = history.between(first, cluster.clock.time())
    assert past.counts_at(first).wanted == 1
    assert past.counts_at(cluster.clock.time())[1:] == (2, 2, 2)
    cluster.advance(30 * 3600)
    cluster.edit(lambda obj: obj["spec"].update(replicas=1))
    cluster.advance(60)
    assert past.created > first, "what is older than the retention is forgotten"
    assert past.counts_at(first + 60).wanted == 2
