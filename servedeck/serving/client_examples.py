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
    "llama-cpp-python": (*_OPENAI_PATHS, "/v1/embeddings"),
    "kokoro": ("/v1/audio/speech", "/v1/audio/voices", "/health"),
    "openedai-speech": ("/v1/audio/speech", "/v1/models", "/health"),
    "stable-diffusion.cpp": ("/v1/images/generations", "/v1/models"),
    "weaviate-transformers": ("/vectors", "/meta", "/.well-known/ready"),
    "roboflow-inference": ("/info", "/model/registry"),
    "tgis": ("/api/v1/task/text-generation", "/health"),
    "mindie": ("/v1/chat/completions", "/generate", "/v2/health/ready"),
    "kaito": (*_OPENAI_PATHS, "/health", "/metrics"),
    "transformers": ("/v1/chat/completions", "/v1/responses", "/v1/models"),
    "huggingface-inference": ("/predict", "/health"),
    "llm-d-inference-sim": (*_OPENAI_PATHS, "/health", "/metrics"),
    "whisper.cpp": ("/inference", "/health"),
    "whisper-asr": ("/asr", "/detect-language"),
    "llama-swap": (*_OPENAI_PATHS, "/running", "/health"),
    "tabby": ("/v1/health", "/v1/chat/completions", "/v1/completions", "/metrics"),
    "docker-model-runner": ("/engines/v1/chat/completions", "/engines/v1/models", "/models"),
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


def readable_api_path(template: str, model: str) -> str:
    """The first API path that accepts a text or is read; "/" if all accept or answer with files."""
    paths = api_paths(template, model)
    return next((one for one in paths if not _file_lines(one, model)), "/")


_EXAMPLE_INPUT = "Hello"


def _example_fields(text: str) -> dict[str, dict[str, object]]:
    """Fields of a request with this text, by the end of the path."""
    return {
        "chat/completions": {"messages": [{"role": "user", "content": text}]},
        "chat": {"messages": [{"role": "user", "content": text}]},
        "completions": {"prompt": text},
        "completion": {"prompt": text},
        "embeddings": {"input": text},
        "responses": {"input": text},
        "api/generate": {"prompt": text},
        "generate": {"inputs": text},
        "generate_stream": {"inputs": text},
        "embed": {"inputs": text},
        "rerank": {"query": text, "documents": [text]},
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
    headers += [] if body is not None else _file_lines(path, model)
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


_UPLOADS = {
    "audio/transcriptions": ("file=@audio.wav", "model={model}"),
    "inference": ("file=@audio.wav",),
    "asr": ("audio_file=@audio.wav",),
    "detect-language": ("audio_file=@audio.wav",),
}
"""Parts of a form with a file, by the end of the path (OpenAI API reference; READMEs of
whisper-asr-webservice and of the server of whisper.cpp)."""
_FILE_ANSWERS: dict[str, tuple[dict[str, str], str]] = {
    "audio/speech": (
        {"model": "tts-1", "input": _EXAMPLE_INPUT, "voice": "alloy"},
        "speech.mp3",
    ),
    "images/generations": ({"prompt": _EXAMPLE_INPUT}, "image.json"),
    "vectors": ({"text": _EXAMPLE_INPUT}, "vector.json"),
}
"""Requests whose answer is better kept in a file, with its name. The model and the voice of speech
are names of OpenAI, which the servers of others take for one of theirs."""


def _file_lines(path: str, model: str) -> list[str]:
    """Options of curl that send a file, or keep the answer in one; [] for other paths."""
    words = path.strip("/").split("/")
    for key in ("/".join(words[-2:]), words[-1]):
        if parts := _UPLOADS.get(key):
            named = (one.format(model=model or "model-name") for one in parts)
            return [f"-F {shell_quote(one)}" for one in named]
        if answer := _FILE_ANSWERS.get(key):
            body = {**answer[0], **({"model": model} if model else {})}
            data = shell_quote(json.dumps(body, ensure_ascii=False))
            return ["-H 'Content-Type: application/json'", f"-d {data}", f"-o {answer[1]}"]
    return []


_PROXY_PORT = 18001
"""Local port of `kubectl proxy` in the example: not its usual 8001, where another one may listen
that leads to another cluster."""


def proxy_request_command(
    proxy_path: str, path: str, model: str, *, kubectl: str = "kubectl"
) -> str:
    """A command that sends a request through the API server to `path` of the Service at
    `proxy_path`, for who has nothing but a kubeconfig. `kubectl` is the program with the options
    that name the cluster.

    `kubectl create --raw` would send one, too, but without a content type, which vLLM refuses; and
    `kubectl get --raw` of 1.32 drops the path of a server such as https://rancher/k8s/clusters/a,
    as `kubectl proxy` does without its option. The request has no Authorization header: it would
    be that of the API server.
    """
    body = example_body(path, model)
    base = f"http://127.0.0.1:{_PROXY_PORT}{proxy_path}"
    wait = " -sS --retry 9 --retry-connrefused"
    files = [] if body is not None else _file_lines(path, model)
    lines = _curl_lines(base, path, body, files, options=wait)
    request = " \\\n  ".join(lines)
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


def example_body(path: str, model: str, text: str = _EXAMPLE_INPUT) -> dict[str, object] | None:
    """Example request body for a path, with `text` as its input; None for a GET."""
    last = path.strip("/").split("/")
    fields = _example_fields(text)
    for length in (2, 1):
        key = "/".join(last[-length:])
        if key in fields:
            if key in _PATHS_WITHOUT_MODEL:
                return fields[key]
            return {"model": model or "model-name", **fields[key]}
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
