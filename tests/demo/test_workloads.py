from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from servedeck.demo.api.kubelet_api import LogOptions, ProxyRequest, ProxyResponse
from servedeck.demo.api.status import StatusError
from servedeck.demo.workloads import failure_simulation, metrics, server_config
from servedeck.demo.workloads.instance import Instance
from servedeck.demo.workloads.instance_log import Log
from servedeck.demo.workloads.model_sizes import find
from servedeck.demo.workloads.runtime import Runtime
from servedeck.demo.workloads.traffic import Load, Traffic
from tests.demo.cluster_fixture import World

Json = dict[str, Any]
CHAT = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}


@pytest.fixture
def world() -> World:
    found = World()
    found.node()
    found.deploy(annotations={failure_simulation.LOAD: "3"})
    found.until(found.ready)
    found.advance(600)
    return found


@pytest.fixture
def runtime(world: World) -> Runtime:
    return Runtime(world.controllers.kubelet, world.clock)


def instance(world: World) -> Instance:
    (found,) = world.controllers.kubelet.instances(world.pod()["metadata"]["uid"])
    return found


def furiosa() -> World:
    found = World()
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


# -- what a container runs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (["vllm", "serve"], ["Qwen/Qwen3-8B", "-tp", "2", "--max-model-len=8k"]),
        (
            None,
            ["--model", "Qwen/Qwen3-8B", "--tensor-parallel-size", "2", "--max-model-len", "8000"],
        ),
        (["sh", "-c", "exec vllm serve Qwen/Qwen3-8B \\\n -tp 2 --max-model-len 8000"], None),
        (
            ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            ["--model=Qwen/Qwen3-8B", "--tensor_parallel_size", "2", "--max-model-len", "8000"],
        ),
    ],
)
def test_command_and_arguments_are_read_as_the_server_reads_them(
    command: list[str] | None, args: list[str] | None
) -> None:
    container = {"image": "vllm/vllm-openai:v0.33.0", "command": command, "args": args}
    found = server_config.read(container, {})
    assert (found.usage, found.missing_program) == ("", "")
    assert (found.engine, found.version) == ("vllm", "0.33.0")
    assert (found.model_name, found.tp, found.max_len) == ("Qwen/Qwen3-8B", 2, 8000)


@pytest.mark.parametrize(
    ("name", "exists"),
    [("Qwen/Qwen3-14B", True), ("/models/mine", True), ("Qwen/Nope", False), ("acme/x-7B", False)],
)
def test_models_exist_or_not(name: str, exists: bool) -> None:
    assert (find(name) is not None) is exists


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("3m20s", 200), ("1h", 3600), ("", None), (None, None), ("soon", None)],
)
def test_durations_of_annotations(text: str | None, seconds: float | None) -> None:
    assert failure_simulation.duration(text) == seconds


# -- logs -----------------------------------------------------------------------------------------


async def text(chunks: AsyncIterator[bytes]) -> list[str]:
    return b"".join([chunk async for chunk in chunks]).decode().splitlines()


async def test_the_log_tells_the_start_and_then_requests_and_throughput(
    world: World, runtime: Runtime
) -> None:
    lines = await text(runtime.logs(world.pod(), "inference-server", LogOptions()))
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


async def test_timestamps_rise_and_since_and_tail_cut(world: World, runtime: Runtime) -> None:
    pod, name = world.pod(), "inference-server"
    whole = await text(runtime.logs(pod, name, LogOptions(timestamps=True)))
    stamps = [line.partition(" ")[0] for line in whole]
    assert stamps == sorted(stamps)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", stamps[0])
    assert await text(runtime.logs(pod, name, LogOptions(timestamps=True, tail=7))) == whole[-7:]
    moment = datetime.fromtimestamp(world.clock.time() - 30, UTC)
    recent = await text(runtime.logs(pod, name, LogOptions(timestamps=True, since=moment)))
    wanted = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
    assert recent == [line for line in whole if line.partition(" ")[0] >= wanted]
    assert 0 < len(recent) < len(whole)


def test_the_log_read_in_parts_is_the_log_read_at_once(world: World) -> None:
    log = Log(instance(world))
    now = world.clock.time()
    whole = [line for block in log.blocks(0, now) for line in block]
    begin = log.instance.started
    edges = [begin + 17.3 * step for step in range(int((now - begin) / 17.3) + 1)]
    parts: list[Any] = []
    for begin, end in pairwise([*edges, now]):
        for block in log.blocks(begin, end):
            parts += [line for line in block if begin < line.time <= end]
    assert parts == whole


async def test_follow_goes_on_and_ends_with_the_container(world: World, runtime: Runtime) -> None:
    pod = world.pod()
    stream = runtime.logs(pod, "inference-server", LogOptions(follow=True, tail=1))
    lines = (await anext(stream)).decode().splitlines()
    assert len(lines) == 1
    world.clock.run(speed=300)
    try:
        while len(lines) < 40:
            lines += (await anext(stream)).decode().splitlines()
        assert len(set(lines)) >= 39
        from servedeck.demo.resources import DEPLOYMENTS

        async def to_the_end() -> list[str]:
            return [line async for chunk in stream for line in chunk.decode().splitlines()]

        world.clock.stop()  # stepped from here, so that the reader keeps up on a busy machine
        world.store.delete(DEPLOYMENTS, "lab", "llm")
        reader = asyncio.create_task(to_the_end())
        while not reader.done():
            world.advance(0.1)
            await asyncio.sleep(0)
        rest = reader.result()
        assert any("Application shutdown complete." in line for line in rest)
    finally:
        world.clock.stop()


async def test_there_is_no_previous_log_without_a_previous_instance(
    world: World, runtime: Runtime
) -> None:
    options = LogOptions(previous=True)
    with pytest.raises(StatusError, match=r"previous terminated container .* not found") as caught:
        await text(runtime.logs(world.pod(), "inference-server", options))
    assert caught.value.code == 400


async def test_a_furiosa_server_logs_and_counts_in_its_own_way() -> None:
    world = furiosa()
    runtime = Runtime(world.controllers.kubelet, world.clock)
    joined = "\n".join(await text(runtime.logs(world.pod(), "inference-server", LogOptions())))
    assert "furiosa-llm 2026.4.0" in joined and "Uvicorn running on http://0.0.0.0:8000" in joined
    page = metrics.expose(instance(world), world.clock.time())
    assert "furiosa_llm_request_success_total{" in page
    assert "furiosa_llm_kv_cache_usage_percent{" in page
    assert "furiosa_llm_e2e_request_latency_seconds_bucket{" in page
    assert "vllm:" not in page


# -- metrics --------------------------------------------------------------------------------------


def samples(world: World) -> dict[str, float]:
    page = metrics.expose(instance(world), world.clock.time())
    found = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in found, f"{name} comes twice"
            found[name] = float(value)
    return found


def test_metrics_have_the_names_of_vllm(world: World) -> None:
    labels = 'engine="0",model_name="Qwen/Qwen3-8B"'
    found = samples(world)
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


def test_histograms_are_consistent_and_counters_never_fall(world: World) -> None:
    before = samples(world)
    for _ in range(40):
        world.advance(37)
        found = samples(world)
        for name, value in found.items():
            if "_total" in name or "_bucket" in name or "_count" in name or "_sum" in name:
                assert value >= before[name], name
        for family in ("vllm:e2e_request_latency_seconds", "vllm:time_to_first_token_seconds"):
            buckets = [v for k, v in found.items() if k.startswith(f"{family}_bucket")]
            assert buckets == sorted(buckets)
            (count,) = [v for k, v in found.items() if k.startswith(f"{family}_count")]
            assert buckets[-1] == count
        before = found


def test_the_load_varies_over_the_day_and_is_shared_among_the_ready(world: World) -> None:
    load = Load(2.0, "seed")
    rates = [load.rate(hour * 3600.0) for hour in range(24)]
    assert min(rates) > 0 and max(rates) > 1.8 * min(rates)
    steps = [load.integral(t * 60.0)[0] for t in range(1440)]
    assert all(b > a for a, b in pairwise(steps))
    assert steps[-1] - steps[0] == pytest.approx(2.0 * 86_340, rel=0.05)
    traffic = Traffic(1)
    one, two = traffic.share("lab/x", 2.0), traffic.share("lab/x", 2.0)
    traffic.ready("lab/x", "one", one, 0.0)
    traffic.ready("lab/x", "two", two, 1000.0)
    traffic.gone("lab/x", "one", 3000.0)
    whole = one.load.integral(5000.0)[0] - one.load.integral(0.0)[0]
    assert one.at(5000.0)[0] + two.at(5000.0)[0] == pytest.approx(whole)
    assert one.at(5000.0) == one.at(3000.0)


# -- answers --------------------------------------------------------------------------------------


async def ask(
    world: World, method: str, path: str, body: object = None, **headers: str
) -> ProxyResponse:
    runtime = Runtime(world.controllers.kubelet, world.clock)
    data = b"" if body is None else json.dumps(body).encode()
    world.clock.run(speed=1000)
    try:
        return await runtime.proxy(world.pod(), 8000, ProxyRequest(method, path, {}, data))
    finally:
        world.clock.stop()


def body(response: ProxyResponse) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


async def test_health_models_and_version(world: World) -> None:
    assert (await ask(world, "GET", "/health")).status == 200
    (model,) = body(await ask(world, "GET", "/v1/models"))["data"]
    assert (model["id"], model["max_model_len"]) == ("Qwen/Qwen3-8B", 8192)
    assert body(await ask(world, "GET", "/version")) == {"version": "0.33.0"}
    page = await ask(world, "GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert (await ask(world, "GET", "/nope")).status == 404


async def test_a_chat_is_answered_counted_and_logged(world: World) -> None:
    before = samples(world)
    answer = body(await ask(world, "POST", "/v1/chat/completions", CHAT))
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop"
    assert "Why is the sky blue?" in choice["message"]["content"]
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 10
    after = samples(world)
    stop = (
        'vllm:request_success_total{engine="0",model_name="Qwen/Qwen3-8B",finished_reason="stop"}'
    )
    assert after[stop] > before[stop]
    lines = [line.text for line in Log(instance(world)).tail(400, world.clock.time())]
    assert any('10.42.0.1:40022 - "POST /v1/chat/completions HTTP/1.1" 200 OK' in x for x in lines)


async def test_a_chat_is_streamed_as_server_sent_events(world: World) -> None:
    runtime = Runtime(world.controllers.kubelet, world.clock)
    asked = {**CHAT, "stream": True, "max_tokens": 12, "stream_options": {"include_usage": True}}
    request = ProxyRequest("POST", "/v1/chat/completions", {}, json.dumps(asked).encode())
    world.clock.run(speed=1000)
    response = await runtime.proxy(world.pod(), 8000, request)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert not isinstance(response.body, bytes)
    chunks = [chunk async for chunk in response.body]
    world.clock.stop()
    assert chunks[-1] == b"data: [DONE]\n\n"
    events = [json.loads(chunk.removeprefix(b"data: ")) for chunk in chunks[:-1]]
    deltas = [e["choices"][0]["delta"].get("content", "") for e in events if e["choices"]]
    assert "".join(deltas).startswith("This is Qwen/Qwen3-8B")
    assert len([d for d in deltas if d]) == 12, "one token at a time"
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (None, 400),
        ([], 400),
        ({"messages": "hello"}, 400),
        ({**CHAT, "model": "other"}, 404),
        ({**CHAT, "max_tokens": 0}, 400),
        ({**CHAT, "max_tokens": "many"}, 400),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(world: World, sent: object, status: int) -> None:
    response = await ask(world, "POST", "/v1/chat/completions", sent)
    assert response.status == status
    assert body(response)["error"]["message"]


async def test_an_embedding_server_embeds_and_does_not_chat() -> None:
    world = World()
    world.node()
    world.deploy(
        args=["BAAI/bge-m3", "--runner", "pooling"], annotations={failure_simulation.LOAD: "2"}
    )
    world.until(world.ready)
    world.advance(60)
    answer = body(await ask(world, "POST", "/v1/embeddings", {"input": ["one", "two", "one"]}))
    vectors = [entry["embedding"] for entry in answer["data"]]
    assert vectors[0] == vectors[2] != vectors[1] and len(vectors[0]) == 1024
    assert (await ask(world, "POST", "/v1/embeddings", {"input": 3})).status == 400
    refused = await ask(world, "POST", "/v1/chat/completions", CHAT)
    assert "does not support Completions API" in body(refused)["error"]["message"]
    lines = [line.text for line in Log(instance(world)).tail(50, world.clock.time())]
    assert any('"POST /v1/embeddings HTTP/1.1" 200 OK' in line for line in lines)
    assert not any('/v1/chat/completions HTTP/1.1" 200' in line for line in lines)


async def test_a_transformer_hands_on_to_the_inference_server_beside_it() -> None:
    world = World()
    world.node()
    world.deploy()
    transformer = {
        "name": "transformer",
        "image": "ghcr.io/acme/transformer:1.2",
        "ports": [{"name": "transformer", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": "transformer"}},
    }
    world.edit(lambda obj: obj["spec"]["template"]["spec"]["containers"].append(transformer))
    world.until(world.ready)
    runtime = Runtime(world.controllers.kubelet, world.clock)
    models = await runtime.proxy(world.pod(), 8080, ProxyRequest("GET", "/v1/models"))
    assert body(models)["data"][0]["id"] == "Qwen/Qwen3-8B"
    health = await runtime.proxy(world.pod(), 8080, ProxyRequest("GET", "/health"))
    assert health.status == 200
    lines = await text(runtime.logs(world.pod(), "transformer", LogOptions()))
    assert "INFO:     Uvicorn running on http://0.0.0.0:8080 (Press CTRL+C to quit)" in lines


async def test_nobody_listens_while_the_model_loads_or_on_another_port(world: World) -> None:
    runtime = Runtime(world.controllers.kubelet, world.clock)
    with pytest.raises(ConnectionRefusedError):
        await runtime.proxy(world.pod(), 9000, ProxyRequest("GET", "/health"))
    fresh = World()
    fresh.node()
    fresh.deploy()
    fresh.advance(45)
    with pytest.raises(ConnectionRefusedError):
        await ask(fresh, "GET", "/health")
