"""The HTTP API of simulated inference servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servedeck.demo.api.kubelet_api import LogOptions, ProxyRequest, ProxyResponse
from servedeck.demo.workloads import failure_simulation
from servedeck.demo.workloads.instance_log import InstanceLog
from servedeck.demo.workloads.runtime import NodeRuntime
from tests.demo.cluster_fixture import ClusterFixture, metric_samples, read_lines, running_instance

Json = dict[str, Any]
CHAT = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}


async def ask(
    cluster: ClusterFixture, method: str, path: str, body: object = None, **headers: str
) -> ProxyResponse:
    runtime = NodeRuntime(cluster.controllers.kubelet, cluster.clock)
    data = b"" if body is None else json.dumps(body).encode()
    cluster.clock.start(speed=1000)
    try:
        return await runtime.proxy(cluster.pod(), 8000, ProxyRequest(method, path, {}, data))
    finally:
        cluster.clock.stop()


def body(response: ProxyResponse) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


async def test_health_models_and_version(cluster: ClusterFixture) -> None:
    assert (await ask(cluster, "GET", "/health")).status == 200
    (model,) = body(await ask(cluster, "GET", "/v1/models"))["data"]
    assert (model["id"], model["max_model_len"]) == ("Qwen/Qwen3-8B", 8192)
    assert body(await ask(cluster, "GET", "/version")) == {"version": "0.33.0"}
    page = await ask(cluster, "GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert (await ask(cluster, "GET", "/nope")).status == 404


async def test_a_chat_is_answered_counted_and_logged(cluster: ClusterFixture) -> None:
    before = metric_samples(cluster)
    answer = body(await ask(cluster, "POST", "/v1/chat/completions", CHAT))
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop"
    assert "Why is the sky blue?" in choice["message"]["content"]
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 10
    after = metric_samples(cluster)
    stop = (
        'vllm:request_success_total{engine="0",model_name="Qwen/Qwen3-8B",finished_reason="stop"}'
    )
    assert after[stop] > before[stop]
    lines = [
        line.text for line in InstanceLog(running_instance(cluster)).tail(400, cluster.clock.time())
    ]
    assert any('10.42.0.1:40022 - "POST /v1/chat/completions HTTP/1.1" 200 OK' in x for x in lines)


async def test_a_chat_is_streamed_as_server_sent_events(cluster: ClusterFixture) -> None:
    runtime = NodeRuntime(cluster.controllers.kubelet, cluster.clock)
    asked = {**CHAT, "stream": True, "max_tokens": 12, "stream_options": {"include_usage": True}}
    request = ProxyRequest("POST", "/v1/chat/completions", {}, json.dumps(asked).encode())
    cluster.clock.start(speed=1000)
    response = await runtime.proxy(cluster.pod(), 8000, request)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert not isinstance(response.body, bytes)
    chunks = [chunk async for chunk in response.body]
    cluster.clock.stop()
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
async def test_bad_requests_get_an_error_message(
    cluster: ClusterFixture, sent: object, status: int
) -> None:
    response = await ask(cluster, "POST", "/v1/chat/completions", sent)
    assert response.status == status
    assert body(response)["error"]["message"]


async def test_a_slow_model_takes_twenty_seconds(cluster: ClusterFixture) -> None:
    for stream in (False, True):
        before = cluster.clock.time()
        response = await ask(
            cluster, "POST", "/v1/chat/completions", {**CHAT, "model": "slow", "stream": stream}
        )
        assert response.status == 200
        if not isinstance(response.body, bytes):
            cluster.clock.start(speed=1000)
            chunks = [chunk async for chunk in response.body]
            cluster.clock.stop()
            assert len(chunks) > 10
        assert cluster.clock.time() - before >= 19.9


async def test_a_failing_model_is_overloaded_and_an_unreliable_one_at_times(
    cluster: ClusterFixture,
) -> None:
    async def statuses(model: str) -> set[int]:
        asked = {**CHAT, "model": model, "max_tokens": 1}
        answers = [await ask(cluster, "POST", "/v1/chat/completions", asked) for _ in range(40)]
        return {one.status for one in answers}

    assert await statuses("failing") == {503}
    assert await statuses("unreliable") == {200, 503}


async def test_an_embedding_server_embeds_and_does_not_chat() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy(
        args=["BAAI/bge-m3", "--runner", "pooling"],
        annotations={failure_simulation.REQUEST_RATE_ANNOTATION: "2"},
    )
    cluster.until(cluster.ready)
    cluster.advance(60)
    answer = body(await ask(cluster, "POST", "/v1/embeddings", {"input": ["one", "two", "one"]}))
    vectors = [entry["embedding"] for entry in answer["data"]]
    assert vectors[0] == vectors[2] != vectors[1] and len(vectors[0]) == 1024
    assert (await ask(cluster, "POST", "/v1/embeddings", {"input": 3})).status == 400
    rejected = await ask(cluster, "POST", "/v1/chat/completions", CHAT)
    assert "does not support Completions API" in body(rejected)["error"]["message"]
    lines = [
        line.text for line in InstanceLog(running_instance(cluster)).tail(50, cluster.clock.time())
    ]
    assert any('"POST /v1/embeddings HTTP/1.1" 200 OK' in line for line in lines)
    assert not any('/v1/chat/completions HTTP/1.1" 200' in line for line in lines)


async def test_a_transformer_forwards_to_the_inference_server_of_its_pod() -> None:
    cluster = ClusterFixture()
    cluster.node()
    cluster.deploy()
    transformer = {
        "name": "transformer",
        "image": "ghcr.io/acme/transformer:1.2",
        "ports": [{"name": "transformer", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": "transformer"}},
    }
    cluster.edit(lambda obj: obj["spec"]["template"]["spec"]["containers"].append(transformer))
    cluster.until(cluster.ready)
    runtime = NodeRuntime(cluster.controllers.kubelet, cluster.clock)
    models = await runtime.proxy(cluster.pod(), 8080, ProxyRequest("GET", "/v1/models"))
    assert body(models)["data"][0]["id"] == "Qwen/Qwen3-8B"
    health = await runtime.proxy(cluster.pod(), 8080, ProxyRequest("GET", "/health"))
    assert health.status == 200
    lines = await read_lines(runtime.logs(cluster.pod(), "transformer", LogOptions()))
    assert "INFO:     Uvicorn running on http://0.0.0.0:8080 (Press CTRL+C to quit)" in lines


async def test_connections_are_refused_while_the_model_loads_and_on_another_port(
    cluster: ClusterFixture,
) -> None:
    runtime = NodeRuntime(cluster.controllers.kubelet, cluster.clock)
    with pytest.raises(ConnectionRefusedError):
        await runtime.proxy(cluster.pod(), 9000, ProxyRequest("GET", "/health"))
    fresh = ClusterFixture()
    fresh.node()
    fresh.deploy()
    fresh.advance(45)
    with pytest.raises(ConnectionRefusedError):
        await ask(fresh, "GET", "/health")
