"""The logs of simulated inference servers."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from servedeck.demo.api.kubelet_api import LogOptions
from servedeck.demo.api.status import StatusError
from servedeck.demo.workloads import metrics
from servedeck.demo.workloads.instance_log import InstanceLog
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.demo.cluster_fixture import ClusterFixture, read_lines, running_instance

Json = dict[str, Any]


def furiosa() -> ClusterFixture:
    found = ClusterFixture()
    found.node()
    labels = {"furiosa.ai/npu.product": "rngd"}
    amounts = {"cpu": "96", "memory": "1000Gi", "furiosa.ai/rngd": "4", "pods": "110"}
    from servedeck.demo.resources import NODES

    found.create(
        NODES,
        {"metadata": {"name": "rngd-1", "labels": labels}, "status": {"allocatable": amounts}},
    )
    found.deploy(
        image="furiosaai/furiosa-llm:2026.4.0",
        command=["furiosa-llm"],
        args=["serve", "furiosa-ai/Llama-3.1-8B-Instruct"],
    )

    def card(obj: Json) -> None:
        container = obj["spec"]["template"]["spec"]["containers"][0]
        limits = {"memory": "100Gi", "furiosa.ai/rngd": "1"}
        container["resources"] = {"limits": limits, "requests": dict(limits)}

    found.edit(card)
    found.until(found.ready)
    found.advance(600)
    return found


async def test_the_log_has_the_start_then_requests_and_throughput(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    lines = await read_lines(runtime.logs(cluster.pod(), "inference-server", LogOptions()))
    joined = "\n".join(lines)
    for words in (
        "vLLM API server version 0.33.0",
        "Loading safetensors checkpoint shards: 100% Completed | 5/5",
        "Model loading took",
        "GPU KV cache size: ",
        "Maximum concurrency for 8,192 tokens per request: ",
        "Application startup complete.",
        '"POST /v1/chat/completions HTTP/1.1" 200 OK',
    ):
        assert words in joined
    pattern = re.compile(
        r"\(APIServer pid=1\) INFO \d\d-\d\d \d\d:\d\d:(\d\d) \[loggers\.py:\d+\] Engine 000: "
        r"Avg prompt throughput: [\d.]+ tokens/s, Avg generation throughput: [\d.]+ tokens/s, "
        r"Running: \d+ reqs, Waiting: \d+ reqs, GPU KV cache usage: [\d.]+%, "
        r"Prefix cache hit rate: [\d.]+%"
    )
    assert 55 <= sum(bool(pattern.fullmatch(line)) for line in lines) <= 61, "every ten seconds"


async def test_timestamps_rise_and_since_and_tail_cut(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    pod, name = cluster.pod(), "inference-server"
    whole = await read_lines(runtime.logs(pod, name, LogOptions(timestamps=True)))
    stamps = [line.partition(" ")[0] for line in whole]
    assert stamps == sorted(stamps)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", stamps[0])
    assert (
        await read_lines(runtime.logs(pod, name, LogOptions(timestamps=True, tail=7))) == whole[-7:]
    )
    moment = datetime.fromtimestamp(cluster.clock.time() - 30, UTC)
    recent = await read_lines(runtime.logs(pod, name, LogOptions(timestamps=True, since=moment)))
    wanted = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
    assert recent == [line for line in whole if line.partition(" ")[0] >= wanted]
    assert 0 < len(recent) < len(whole)


def test_the_log_read_in_parts_is_the_log_read_at_once(cluster: ClusterFixture) -> None:
    log = InstanceLog(running_instance(cluster))
    now = cluster.clock.time()
    whole = [line for block in log.blocks(0, now) for line in block]
    begin = log.instance.started
    edges = [begin + 17.3 * step for step in range(int((now - begin) / 17.3) + 1)]
    parts: list[Any] = []
    for begin, end in pairwise([*edges, now]):
        for block in log.blocks(begin, end):
            parts += [line for line in block if begin < line.time <= end]
    assert parts == whole


async def test_follow_continues_until_the_container_ends(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    pod = cluster.pod()
    stream = runtime.logs(pod, "inference-server", LogOptions(follow=True, tail=1))
    lines = (await anext(stream)).decode().splitlines()
    assert len(lines) == 1
    cluster.clock.start(speed=300)
    try:
        while len(lines) < 40:
            lines += (await anext(stream)).decode().splitlines()
        assert len(set(lines)) >= 39
        from servedeck.demo.resources import DEPLOYMENTS

        async def to_the_end() -> list[str]:
            return [line async for chunk in stream for line in chunk.decode().splitlines()]

        cluster.clock.stop()  # stepped from here, so that the reader keeps up on a busy machine
        cluster.store.delete(DEPLOYMENTS, "lab", "llm")
        reader = asyncio.create_task(to_the_end())
        while not reader.done():
            cluster.advance(0.1)
            await asyncio.sleep(0)
        rest = reader.result()
        assert any("Application shutdown complete." in line for line in rest)
    finally:
        cluster.clock.stop()


@pytest.mark.parametrize("before_end", [10.0, 1.0, 0.06, 0.04, 0.02, 0.001])
def test_a_reader_gets_the_last_lines_however_late_it_read_before(
    cluster: ClusterFixture, before_end: float
) -> None:
    log = InstanceLog(running_instance(cluster))
    ends = cluster.clock.time()
    read = [line for block in log.blocks(0, ends - before_end) for line in block]
    assert log.next_time(ends - before_end) is not None
    log.instance.ended = ends
    rest = log.lines_after(ends - before_end, ends + 0.3)
    assert [line.text.partition("INFO:     ")[2] for line in rest[-4:]] == [
        "Shutting down",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        "Finished server process [1]",
    ]
    assert not set(read) & set(rest)
    assert log.next_time(ends + 0.3) is None and not log.lines_after(ends + 0.3, ends + 9)


async def test_there_is_no_previous_log_without_a_previous_instance(
    cluster: ClusterFixture, runtime: NodeRuntime
) -> None:
    options = LogOptions(previous=True)
    with pytest.raises(StatusError, match=r"previous terminated container .* not found") as caught:
        await read_lines(runtime.logs(cluster.pod(), "inference-server", options))
    assert caught.value.code == 400


async def test_a_furiosa_server_has_its_own_log_and_metrics() -> None:
    cluster = furiosa()
    runtime = NodeRuntime(cluster.controllers.kubelet, cluster.clock)
    joined = "\n".join(
        await read_lines(runtime.logs(cluster.pod(), "inference-server", LogOptions()))
    )
    assert "furiosa-llm 2026.4.0" in joined and "Uvicorn running on http://0.0.0.0:8000" in joined
    page = metrics.render_metrics(running_instance(cluster), cluster.clock.time())
    assert "furiosa_llm_request_success_total{" in page
    assert "furiosa_llm_kv_cache_usage_percent{" in page
    assert "furiosa_llm_e2e_request_latency_seconds_bucket{" in page
    assert "vllm:" not in page
