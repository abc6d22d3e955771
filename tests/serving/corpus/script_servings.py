"""Servings that a shell script starts, those with several containers, and those whose model another
container loads."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    GPU,
    ISTIO,
    NVIDIA,
    VLLM_SERVER,
    Json,
    Serving,
    Workload,
    container,
    pod,
    sidecar,
)

_GITHUB = "https://github.com/"
_HUGGING_FACE = "https://huggingface.co/docs/huggingface_hub/guides/download"
_BASH = "https://www.gnu.org/software/bash/manual/"


def _script(text: str, **env: str) -> Serving:
    server = container(
        "vllm", "vllm/vllm-openai:v0.11", [text], ["/bin/bash", "-c"], env, resource=GPU
    )
    return Serving(
        Workload(_BASH, pod(server)), "vllm", "org/m", 8100, "vllm", NVIDIA, "custom", "chat"
    )


def _loaded(source: str, model_source: str, *initializers: Json, at: str = "/m/x") -> Serving:
    """vLLM with a model that init containers have loaded."""
    server = container("vllm", "vllm/vllm-openai:v0.11", ["--model", at], resource=GPU)
    workload = Workload(source, pod(server, initContainers=list(initializers)))
    return Serving(workload, "vllm", at, 8000, "vllm", NVIDIA, model_source=model_source)


def _load(image: str, script: str, **env: str) -> Json:
    return container("load", image, [script], ["sh", "-c"], env)


def _several(
    source: str, template: str, model: str, port: int, name: str, found: Json, number: int = 1
) -> Serving:
    accelerator = ("NVIDIA GPU", number) if number else ("", 0)
    return Serving(Workload(source, found), template, model, port, name, accelerator)


_VLLM = container("vllm", "vllm/vllm-openai:v0.11", ["org/m", "--port", "8100"], resource=GPU)

SCRIPT_SERVINGS: dict[str, Serving] = {
    "script: arguments in an array": _script(
        "set -euo pipefail\nARGS=(\n  org/m  # the model\n  --served-model-name chat\n)\n"
        'if [ -n "${EXTRA:-}" ]; then ARGS+=(${EXTRA}); fi\nexec vllm serve "${ARGS[@]}" "$@"\n',
        EXTRA="--port 8100",
    ),
    "script: arguments by set": _script(
        'set -- --port "$PORT"; set -- "$@" --served-model-name chat; exec vllm serve org/m "$@"',
        PORT="8100",
    ),
    "script: a file that it writes": _script(
        "cat > /tmp/run.sh <<'EOF'\nvllm serve org/m --served-model-name chat --port 8100\nEOF\n"
        "chmod +x /tmp/run.sh\nexec /tmp/run.sh\n"
    ),
    "script: a chat template that it writes": _script(
        "cat <<'EOF' > /tmp/t.jinja\nvllm serve none --port 1\nEOF\nexec vllm serve org/m "
        "--chat-template /tmp/t.jinja --served-model-name chat --port 8100\n"
    ),
    "script: restarted in a loop": _script(
        "while true; do vllm serve org/m --port 8100 --served-model-name chat; sleep 5; done"
    ),
    "script: packages first": _script(
        "pip install -q lmcache && hf auth login --token $HF_TOKEN; "
        "vllm serve --trust-remote-code org/m --port 8100 --served-model-name chat"
    ),
    "model: hf with a variable": _loaded(
        _HUGGING_FACE,
        "hf://org/x",
        _load("python:3.12", "hf download $MODEL_ID --local-dir /m/x", MODEL_ID="org/x"),
    ),
    "model: Python": _loaded(
        _HUGGING_FACE,
        "hf://org/x",
        container(
            "load",
            "python:3.12",
            ["from huggingface_hub import snapshot_download\nsnapshot_download(repo_id='org/x')"],
            ["python", "-c"],
        ),
    ),
    "model: Git": _loaded(
        "https://huggingface.co/docs/hub/repositories-getting-started",
        "hf://org/x",
        container("load", "alpine/git", ["clone", "https://u:p@huggingface.co/org/x", "/m/x"]),
    ),
    "model: ModelScope": _loaded(
        "https://modelscope.cn/docs/models/download",
        "modelscope://org/x",
        _load("python:3.12", "modelscope download --model org/x --local_dir /m/x"),
    ),
    "model: a file": _loaded(
        _GITHUB + "ggml-org/llama.cpp/tree/master/docs",
        "https://example.com/org/x.gguf",
        _load(
            "curlimages/curl",
            "[ -f /m/x.gguf ] || curl -L -o /m/x.gguf 'https://example.com/org/x.gguf?token=a'",
        ),
        at="/m/x.gguf",
    ),
    "model: of a volume, another file loaded": _loaded(
        VLLM_SERVER,
        "",
        _load("busybox", "wget https://example.com/template.jinja -O /m/t.jinja; cp -r /pvc /m"),
    ),
    "Ollama: model pulled by a container beside it": _several(
        "https://docs.ollama.com/cli",
        "ollama",
        "llama3.2:1b",
        11434,
        "ollama",
        pod(
            container("ollama", "ollama/ollama:0.12", ports=[11434], resource=GPU),
            container(
                "pull",
                "ollama/ollama:0.12",
                ["sleep 5; ollama pull llama3.2:1b; sleep infinity"],
                ["sh", "-c"],
            ),
        ),
    ),
    "Ollama: model pulled by an init container": _several(
        "https://docs.ollama.com/cli",
        "ollama",
        "qwen3",
        11434,
        "ollama",
        pod(
            container("ollama", "ollama/ollama:0.12", resource=GPU),
            initContainers=[
                container(
                    "pull",
                    "ollama/ollama:0.12",
                    ["ollama serve & sleep 3; ollama pull $M"],
                    ["sh", "-c"],
                    {"M": "qwen3"},
                )
            ],
        ),
    ),
    "Open WebUI before Ollama": _several(
        _GITHUB + "open-webui/helm-charts",
        "ollama",
        "",
        11434,
        "ollama",
        pod(
            container("open-webui", "ghcr.io/open-webui/open-webui:main", ports=[8080]),
            container("ollama", "ollama/ollama:0.12", ports=[11434], resource=GPU),
        ),
    ),
    "LiteLLM before vLLM": _several(
        "https://docs.litellm.ai/docs/proxy/deploy",
        "vllm",
        "org/m",
        8100,
        "vllm",
        pod(
            container(
                "litellm",
                "ghcr.io/berriai/litellm:main-stable",
                ["--model", "openai/x", "--port", "4000"],
                ports=[4000],
            ),
            _VLLM,
        ),
    ),
    "prefill and decode in one Pod": _several(
        "https://docs.vllm.ai/en/latest/features/disagg_prefill/",
        "vllm",
        "org/m",
        8100,
        "prefill",
        pod(
            {**_VLLM, "name": "prefill"},
            container(
                "decode", "vllm/vllm-openai:v0.11", ["org/m", "--port", "8200"], resource=GPU
            ),
            container("proxy", "acme/proxy:1", ["python3", "/proxy.py"], ports=[8000]),
        ),
        2,
    ),
    "sidecars before vLLM": _several(
        "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
        "vllm",
        "org/m",
        8100,
        "vllm",
        pod(
            ISTIO,
            container("oauth2-proxy", "quay.io/oauth2-proxy/oauth2-proxy:v7", ports=[4180]),
            container("dcgm", "nvcr.io/nvidia/k8s/dcgm-exporter:4.2", ports=[9400]),
            _VLLM,
            shareProcessNamespace=True,
            initContainers=[sidecar("otel", "otel/opentelemetry-collector:0.130")],
        ),
    ),
    "MLServer: Seldon Core": _several(
        "https://docs.seldon.ai/seldon-core-2",
        "mlserver",
        "",
        9000,
        "mlserver",
        pod(
            container("rclone", "seldonio/seldon-rclone:2.9", ports=[5572]),
            container("agent", "seldonio/seldon-agent:2.9", ports=[9005]),
            container(
                "mlserver",
                "seldonio/mlserver:1.6.1",
                env={"MLSERVER_HTTP_PORT": "9000"},
                ports=[("http", 9000), ("grpc", 9500)],
            ),
        ),
        0,
    ),
}
