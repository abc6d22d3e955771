"""The HTTP API of an inference server: OpenAI's API, as far as chat clients use it."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from typing import Any

from servedeck.demo.api.kubelet_api import ProxyRequest, ProxyResponse
from servedeck.demo.clock import Clock
from servedeck.demo.workloads import furiosa_log, metrics, vllm_log
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.server_config import FURIOSA, OTHER

Json = dict[str, Any]

_JSON = {"content-type": "application/json"}
_TEXT = {"content-type": "text/plain; charset=utf-8"}
_PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
            405: "Method Not Allowed", 503: "Service Unavailable"}  # fmt: skip
SLOW_MODEL, FAILING_MODEL, UNRELIABLE_MODEL = "slow", "failing", "unreliable"
"""Each server knows these models besides its own, to try out an async queue: one takes
`_SLOW_SECONDS`, one is always answered with 503, and one half of the time."""
_SLOW_SECONDS = 20.0
_TRIAL_MODELS = (SLOW_MODEL, FAILING_MODEL, UNRELIABLE_MODEL)
_DIMENSIONS = 1024
_SPREAD = _DIMENSIONS**-0.5
_SENTENCES = (
    "The demo cluster has no model weights, so this answer is made of prepared sentences.",
    "The request itself is real: it was answered by this Pod.",
    "It is counted in the metrics and written to the log of the container.",
    "A larger model would take longer for each token.",
    "Scale the serving, and the load is shared by more replicas.",
    "Delete a Pod, and its ReplicaSet creates another.",
    "Ask another question to get another answer.",
)


async def handle_request(
    instance: SimulatedInstance, request: ProxyRequest, clock: Clock
) -> ProxyResponse:
    """The response of the server of `instance`, which must be listening."""
    path, _, _ = request.path.partition("?")
    health = instance.plan.health(clock.time() - instance.started)
    if health == -1:
        await clock.sleep(30.0)
        return _error_response(503, "the server does not answer")
    response = await _route(instance, request, path, health, clock)
    if path not in ("/health", "/metrics", "/ping", "/version", "/load"):
        _log_request(instance, request, path, response.status, clock)
    return response


async def _route(
    instance: SimulatedInstance, request: ProxyRequest, path: str, health: int, clock: Clock
) -> ProxyResponse:
    server = instance.server
    if path in ("/health", "/ping", "/healthz"):
        return ProxyResponse(health, _TEXT, b"")
    if server.engine == OTHER:
        return ProxyResponse(200, _JSON, b'{"status":"ok"}')
    if path == "/metrics":
        if request.method != "GET" and server.engine == FURIOSA:
            return _error_response(405, "Method Not Allowed")
        page = metrics.render_metrics(instance, clock.time())
        return ProxyResponse(200, {"content-type": metrics.CONTENT_TYPE}, page.encode())
    if path == "/version":
        return _json_response(200, {"version": server.version})
    if path == "/load":
        return _json_response(200, {"server_load": instance.request_counts(clock.time())[0]})
    if path.startswith("/v1/") and server.api_key and not _authorized(request, server.api_key):
        return _json_response(401, {"error": "Unauthorized"})
    if path == "/v1/models":
        return _json_response(200, _models(instance))
    if path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        if request.method != "POST":
            return _json_response(405, {"detail": "Method Not Allowed"})
        if path.endswith("embeddings") is not server.pooling:
            kind = "Embeddings" if path.endswith("embeddings") else "Completions"
            return _error_response(400, f"The model does not support {kind} API")
        if health != 200:
            return _error_response(
                503, "EngineCore encountered an issue. See stack trace for the root cause."
            )
        if _fails(instance):
            return _error_response(503, "The server is overloaded, try again later")
        if server.pooling:
            return await _embed(instance, request, clock)
        return await _complete(instance, request, clock, chat=path.endswith("chat/completions"))
    return _json_response(404, {"detail": "Not Found"})


def _fails(instance: SimulatedInstance) -> bool:
    """Whether a request meets one of the failures that an annotation asks for."""
    number = len(instance.logged_requests)
    return instance.rng(("fails", number)).random() < instance.plan.failing


def _model_fails(instance: SimulatedInstance, model: str) -> bool:
    if model == UNRELIABLE_MODEL:
        number = len(instance.logged_requests)
        return instance.rng(("unreliable", number)).random() < 0.5
    return model == FAILING_MODEL


def _models(instance: SimulatedInstance) -> Json:
    server = instance.server
    return {
        "object": "list",
        "data": [
            {
                "id": server.served_name,
                "object": "model",
                "created": int(instance.started),
                "owned_by": "furiosa-ai" if server.engine == FURIOSA else "vllm",
                "root": server.model_name,
                "parent": None,
                "max_model_len": server.max_model_len,
            }
        ],
    }


def _parse_body(instance: SimulatedInstance, request: ProxyRequest) -> Json | ProxyResponse:
    """The body of a request for this server's model, or an error response."""
    try:
        body = json.loads(request.body or b"null")
    except ValueError:
        return _error_response(400, "Invalid JSON in the body of the request")
    if not isinstance(body, dict):
        return _error_response(400, "The body of the request must be a JSON object")
    body["model"] = model = body.get("model") or instance.server.served_name
    known = (instance.server.served_name, *_TRIAL_MODELS)
    if model not in known and instance.server.engine != FURIOSA:
        return _error_response(404, f"The model `{model}` does not exist.", "NotFoundError")
    return body


async def _embed(instance: SimulatedInstance, request: ProxyRequest, clock: Clock) -> ProxyResponse:
    body = _parse_body(instance, request)
    if isinstance(body, ProxyResponse):
        return body
    asked = body.get("input")
    texts = [asked] if isinstance(asked, str) else asked
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        return _error_response(400, "1 validation error: 'input' is missing or has the wrong type")
    await clock.sleep(instance.first_token.median)
    data = []
    for index, text in enumerate(texts):
        rng = random.Random(text)  # noqa: S311 - the same text, the same vector
        vector = [rng.gauss(0, _SPREAD) for _ in range(_DIMENSIONS)]
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(max(1, len(text) // 4) for text in texts)
    instance.add_tokens(clock.time(), tokens, 0)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json_response(
        200, {"object": "list", "model": body["model"], "data": data, "usage": usage}
    )


async def _complete(
    instance: SimulatedInstance, request: ProxyRequest, clock: Clock, *, chat: bool
) -> ProxyResponse:
    body = _parse_body(instance, request)
    if isinstance(body, ProxyResponse):
        return body
    model = body["model"]
    if _model_fails(instance, model):
        return _error_response(503, f"The model `{model}` is overloaded, try again later")
    prompt = _prompt(body, chat=chat)
    if prompt is None:
        field = "messages" if chat else "prompt"
        return _error_response(
            400, f"1 validation error: '{field}' is missing or has the wrong type"
        )
    given = (body.get(name) for name in ("max_completion_tokens", "max_tokens"))
    limit = next((value for value in given if value is not None), 256)
    if not isinstance(limit, int) or limit < 1:
        return _error_response(400, f"max_tokens must be at least 1, got {limit}.")
    rng = instance.rng(("answer", prompt, len(instance.logged_requests)))
    words = _answer_text(instance, prompt, rng).split(" ")
    reason = "stop" if len(words) <= limit else "length"
    tokens = [word if index == 0 else f" {word}" for index, word in enumerate(words[:limit])]
    used = (max(1, len(prompt) // 4), len(tokens))
    instance.add_tokens(clock.time(), *used)
    identity = f"{'chatcmpl' if chat else 'cmpl'}-{rng.getrandbits(128):032x}"
    frame = {"id": identity, "created": int(clock.time()), "model": model}
    usage = {
        "prompt_tokens": used[0],
        "total_tokens": sum(used),
        "completion_tokens": used[1],
    }
    first, between = instance.first_token.median, instance.inter_token.median
    if model == SLOW_MODEL:
        first = between = _SLOW_SECONDS / (len(tokens) + 1)
    if body.get("stream"):
        wants = bool((body.get("stream_options") or {}).get("include_usage"))
        chunks = _stream(
            clock, frame, tokens, reason, usage if wants else None, (first, between), chat=chat
        )
        return ProxyResponse(200, {"content-type": "text/event-stream; charset=utf-8"}, chunks)
    await clock.sleep(first + between * len(tokens))
    text = "".join(tokens)
    choice: Json = {"index": 0, "logprobs": None, "finish_reason": reason}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    kind = "chat.completion" if chat else "text_completion"
    return _json_response(200, {**frame, "object": kind, "choices": [choice], "usage": usage})


async def _stream(
    clock: Clock,
    frame: Json,
    tokens: list[str],
    reason: str,
    usage: Json | None,
    delays: tuple[float, float],
    *,
    chat: bool,
) -> AsyncIterator[bytes]:
    """`delays`: seconds before the first token, and before each of the others."""
    first, between = delays
    kind = "chat.completion.chunk" if chat else "text_completion"

    def event(choices: list[Json], **more: object) -> bytes:
        body = {**frame, "object": kind, "choices": choices, **more}
        return f"data: {json.dumps(body)}\n\n".encode()

    def choice(text: str, end: str | None, **role: str) -> Json:
        inner: Json = {"delta": {**role, "content": text}} if chat else {"text": text}
        return {"index": 0, **inner, "logprobs": None, "finish_reason": end}

    await clock.sleep(first)
    if chat:
        yield event([choice("", None, role="assistant")])
    for token in tokens:
        await clock.sleep(between)
        yield event([choice(token, None)])
    yield event([choice("", reason)])
    if usage is not None:
        yield event([], usage=usage)
    yield b"data: [DONE]\n\n"


def _prompt(body: Json, *, chat: bool) -> str | None:
    if not chat:
        prompt = body.get("prompt")
        return prompt if isinstance(prompt, str) and prompt else None
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return " ".join(str(part) for part in parts)
    return content if isinstance(content, str) else None


def _answer_text(instance: SimulatedInstance, prompt: str, rng: random.Random) -> str:
    asked = " ".join(prompt.split())
    asked = asked if len(asked) <= 60 else f"{asked[:57]}..."
    opening = f'This is {instance.server.served_name} on {instance.pod}. You asked: "{asked}"'
    return " ".join([opening, *rng.sample(_SENTENCES, k=3)])


def _authorized(request: ProxyRequest, key: str) -> bool:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return headers.get("authorization") == f"Bearer {key}"


def _log_request(
    instance: SimulatedInstance, request: ProxyRequest, path: str, status: int, clock: Clock
) -> None:
    form = furiosa_log if instance.server.engine in (FURIOSA, OTHER) else vllm_log
    phrase = _PHRASES.get(status, "")
    line = form.access_line("10.42.0.1:40022", request.method, path, status, phrase)
    instance.log_request(clock.time(), line)


def _json_response(status: int, body: Json) -> ProxyResponse:
    return ProxyResponse(status, _JSON, json.dumps(body).encode())


def _error_response(status: int, message: str, kind: str = "BadRequestError") -> ProxyResponse:
    kind = {405: "MethodNotAllowed", 503: "ServiceUnavailableError"}.get(status, kind)
    body = {"error": {"message": message, "type": kind, "param": None, "code": status}}
    return _json_response(status, body)
