"""Client examples for a serving: API paths, curl commands, and the port-forward command."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from servedeck.serving.spec.templates import find_template
from servedeck.serving.text import one_line

_OPENAI_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/models")
_KSERVE_SERVERS = (
    *("sklearn", "xgboost", "lightgbm", "pmml", "paddle", "predictive", "autogluon"),
)
_API_PATHS_BY_TEMPLATE: dict[str, tuple[str, ...]] = {
    "sglang": (*_OPENAI_PATHS, "/generate", "/health", "/metrics"),
    "tgi": (
        "/v1/chat/completions",
        "/generate",
        "/generate_stream",
        "/info",
        "/health",
        "/metrics",
    ),
    "tei": ("/v1/embeddings", "/embed", "/rerank", "/info", "/health", "/metrics"),
    "ollama": ("/v1/chat/completions", "/api/chat", "/api/generate", "/api/tags"),
    "triton": ("/v2", "/v2/models", "/v2/health/ready"),
    "tensorrt-llm": (*_OPENAI_PATHS, "/health", "/metrics"),
    "llama.cpp": (*_OPENAI_PATHS, "/completion", "/health", "/metrics"),
    "lmdeploy": (*_OPENAI_PATHS, "/health", "/metrics"),
    "kserve-huggingface": ("/openai/v1/chat/completions", "/openai/v1/models", "/v1/models"),
    "nim": (*_OPENAI_PATHS, "/v1/health/ready", "/v1/metrics"),
    "infinity": ("/embeddings", "/rerank", "/models", "/health", "/metrics"),
    "tensorflow-serving": ("/v1/models",),
    "openvino": ("/v3/chat/completions", "/v1/config", "/v2/health/ready"),
    "torchserve": ("/ping", "/predictions"),
    "mlserver": ("/v2", "/v2/models", "/v2/health/ready"),
    **{
        f"kserve-{server}": ("/v1/models", "/v2/models", "/v2/health/ready", "/metrics")
        for server in _KSERVE_SERVERS
    },
    "localai": (*_OPENAI_PATHS, "/v1/embeddings", "/readyz", "/metrics"),
    "text-generation-webui": _OPENAI_PATHS,
    "xinference": (*_OPENAI_PATHS, "/v1/embeddings", "/v1/rerank", "/metrics"),
    "bentoml": ("/docs.json", "/readyz", "/livez", "/metrics"),
    "ray-serve": (*_OPENAI_PATHS, "/-/healthz", "/-/routes"),
    "mlc-llm": (*_OPENAI_PATHS, "/metrics"),
    "aphrodite": (*_OPENAI_PATHS, "/health", "/metrics"),
    "lightllm": ("/v1/chat/completions", "/generate", "/health", "/metrics"),
    "djl-serving": ("/invocations", "/v1/chat/completions", "/ping", "/models"),
    "max": (*_OPENAI_PATHS, "/health", "/metrics"),
    "mistral.rs": (*_OPENAI_PATHS, "/health"),
    "koboldcpp": (*_OPENAI_PATHS, "/api/v1/model"),
    "tabbyapi": (*_OPENAI_PATHS, "/health"),
    "mlflow": ("/invocations", "/ping", "/version"),
    "fastchat": ("/worker_generate", "/worker_get_status"),
    "llama-factory": ("/v1/chat/completions", "/v1/models"),
    "speaches": ("/v1/audio/transcriptions", "/v1/models", "/health"),
    "tgis": ("/api/v1/task/text-generation", "/health"),
    "mindie": ("/v1/chat/completions", "/generate", "/v2/health/ready"),
    "kaito": (*_OPENAI_PATHS, "/health", "/metrics"),
    "transformers": ("/v1/chat/completions", "/v1/responses", "/v1/models"),
    "huggingface-inference": ("/predict", "/health"),
    "llm-d-inference-sim": (*_OPENAI_PATHS, "/health", "/metrics"),
}
"""API paths of servers that have no template here."""


def api_paths(template: str, model: str = "") -> tuple[str, ...]:
    """API paths of the template's server, those of the model's task first, then the most used; only
    "/" if the server is unknown."""
    known = find_template(template)
    served = (known.api_paths if known else ()) or _API_PATHS_BY_TEMPLATE.get(template, ("/",))
    own = _PATH_SUFFIXES_BY_TASK.get(_detect_task(model), ())
    return tuple(sorted(served, key=lambda path: not path.endswith(own))) if own else served


_EMBEDDING_MODEL_PATTERN = re.compile(
    r"(?:^|[/_-])(?:bge|e5|gte|embed\w*)(?:[-_.]|$)", re.IGNORECASE
)
_RERANK_MODEL_PATTERN = re.compile(r"rerank|cross-encoder", re.IGNORECASE)
_PATH_SUFFIXES_BY_TASK: dict[str, tuple[str, ...]] = {
    "embed": ("/embeddings", "/embed"),
    "rerank": ("/rerank", "/score"),
}
"""Path suffixes of each task."""


def _detect_task(model: str) -> str:
    """Task of the model, guessed from its name (heuristic: BGE, E5, GTE and names with "embed" are
    embedding models); "" if it is unknown or text generation. A server rejects other tasks."""
    if _RERANK_MODEL_PATTERN.search(model):
        return "rerank"
    return "embed" if _EMBEDDING_MODEL_PATTERN.search(model) else ""


_STREAMED = ("/chat/completions", "/completions")
"""Ends of the paths whose requests may ask for a stream (OpenAI API reference)."""


def streaming_api_path(template: str, model: str) -> str:
    """The API path for a request to this model whose answer is streamed; "" if none is known."""
    if _detect_task(model):
        return ""
    return next((one for one in api_paths(template, model) if one.endswith(_STREAMED)), "")


def primary_api_path(template: str, model: str) -> str:
    """The API path for a request to this model."""
    return api_paths(template, model)[0]


_EXAMPLE_INPUT = "Hello"
_EXAMPLE_BODIES: dict[str, dict[str, object]] = {
    "chat/completions": {"messages": [{"role": "user", "content": _EXAMPLE_INPUT}]},
    "chat": {"messages": [{"role": "user", "content": _EXAMPLE_INPUT}]},
    "completions": {"prompt": _EXAMPLE_INPUT},
    "completion": {"prompt": _EXAMPLE_INPUT},
    "embeddings": {"input": _EXAMPLE_INPUT},
    "responses": {"input": _EXAMPLE_INPUT},
    "api/generate": {"prompt": _EXAMPLE_INPUT},
    "generate": {"inputs": _EXAMPLE_INPUT},
    "generate_stream": {"inputs": _EXAMPLE_INPUT},
    "embed": {"inputs": _EXAMPLE_INPUT},
    "rerank": {"query": _EXAMPLE_INPUT, "documents": [_EXAMPLE_INPUT]},
}
_PATHS_WITHOUT_MODEL = frozenset({"generate", "generate_stream", "embed", "completion"})


def curl_command(
    endpoint_url: str, path: str, model: str, asynchronous: bool = False, *, streams: bool = False
) -> str:
    """A multi-line curl command for `path` under the endpoint, quoted for a shell.

    A path that accepts requests gets a POST with a small example, others a GET. `asynchronous` adds
    the header that puts the request into the async queue; it only affects POST requests. With
    `streams` the answer comes, and is printed, token by token.
    """
    body = example_body(path, model)
    if body is None and asynchronous and path.strip("/") == "":
        body = {}
    if body is not None and streams:
        body["stream"] = True
    is_queued = asynchronous and body is not None
    headers = [_AUTHORIZATION, *(["-H 'X-Async: true'"] if is_queued else [])]
    return " \\\n  ".join(_curl_lines(endpoint_url, path, body, headers, streams=streams))


_AUTHORIZATION = "-H 'Authorization: Bearer <token>'"


def _curl_lines(
    base: str,
    path: str,
    body: dict[str, object] | None,
    headers: Sequence[str],
    *,
    streams: bool = False,
    options: str = "",
) -> list[str]:
    url = shell_quote(base.rstrip("/") + "/" + path.lstrip("/"))
    start = f"curl{' -N' if streams else ''}{options}"
    if body is None:
        return [f"{start} {url}", *headers]
    data = f"-d {shell_quote(json.dumps(body, ensure_ascii=False))}"
    return [f"{start} -X POST {url}", "-H 'Content-Type: application/json'", *headers, data]


_PROXY_PORT = 18001
"""Local port of `kubectl proxy` in the example: not its usual 8001, where another one may listen
that leads to another cluster."""


def proxy_request_command(
    proxy_path: str, path: str, model: str, *, kubectl: str = "kubectl"
) -> str:
    """A command that sends a request through the API server to `path` of the Service at
    `proxy_path`, for who has nothing but a kubeconfig. `kubectl` is the program with the options
    that name the cluster.

    `kubectl create --raw` would send one, too, but without a content type, which vLLM refuses.
    What is read is read with `kubectl get --raw`. The request has no Authorization header: it would
    be that of the API server.
    """
    body = example_body(path, model)
    if body is None:
        return f"{kubectl} get --raw {shell_quote(proxy_path + '/' + path.lstrip('/'))}"
    base = f"http://127.0.0.1:{_PROXY_PORT}{proxy_path}"
    wait = " -sS --retry 9 --retry-connrefused"
    lines = _curl_lines(base, path, body, (), options=wait)
    request = " \\\n  ".join(lines)
    # without the option, kubectl drops the path of a server such as https://rancher/k8s/clusters/a
    proxy = f"{kubectl} proxy --append-server-path --port={_PROXY_PORT}"
    return f"{proxy} & sleep 1\n{request}; kill $!"


def result_command(endpoint_url: str) -> str:
    """A multi-line curl command for the result of an asynchronous request, which waits for it."""
    url = f"{endpoint_url.rstrip('/')}/-/async/tasks/<id>/result"
    wait = "-H 'Prefer: wait=30'"
    return f"curl -H 'Authorization: Bearer <token>' {wait} \\\n  {shell_quote(url)}"


def async_forward_command(namespace: str, name: str) -> str:
    """servedeck's command that forwards a local port to the async gateway of the serving."""
    target = shell_quote(f"{namespace}/{name}", always=False)
    return f"servedeck port-forward {target} 8080 --async"


def example_body(path: str, model: str) -> dict[str, object] | None:
    """Example request body for a path, None for a GET."""
    last = path.strip("/").split("/")
    for length in (2, 1):
        key = "/".join(last[-length:])
        if key in _EXAMPLE_BODIES:
            if key in _PATHS_WITHOUT_MODEL:
                return dict(_EXAMPLE_BODIES[key])
            return {"model": model or "model-name", **_EXAMPLE_BODIES[key]}
    return None


def port_forward_command(key: tuple[str, str], port: int, *, kind: str = "deployment") -> str:
    """kubectl port-forward command, quoted for a shell, for `port` of the Deployment or Service
    (namespace, name). The local port is the same, or 8080 if that is privileged."""
    namespace, name = key
    local = port if port >= 1024 else 8080
    target = shell_quote(f"{kind}/{name}", always=False)
    return f"kubectl port-forward -n {shell_quote(namespace, always=False)} {target} {local}:{port}"


_SHELL_SAFE_PATTERN = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")


def shell_quote(text: str, *, always: bool = True, is_exact: bool = False) -> str:
    """`text` quoted as one word of a POSIX shell, on one line unless it `is_exact`; plain words are
    only quoted with `always`."""
    word = text if is_exact else one_line(text)
    if not always and _SHELL_SAFE_PATTERN.fullmatch(word) and not word.startswith("-"):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"
