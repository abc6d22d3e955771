"""Servings in other notations of the same projects: how the server is started, where it listens,
and where its model comes from."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    ISVC,
    KSERVE,
    VLLM_SERVER,
    Serving,
    Workload,
    container,
    initializer,
    pod,
)

_TEI = "https://github.com/huggingface/text-embeddings-inference"
_TRITON = "https://github.com/triton-inference-server/server"
_AIBRIX = "https://github.com/vllm-project/aibrix/tree/main/samples"
_TFS = "https://www.tensorflow.org/tfx/serving/docker"
_URI = {"internal.serving.kserve.io/storage-initializer-sourceuri": "s3://models/llama"}

_STARTS: dict[str, tuple[list[str], list[str]]] = {
    "a virtual environment": (["/opt/venv/bin/vllm", "serve", "org/m"], []),
    "its Python": (
        ["/opt/venv/bin/python3.12", "-m", "vllm.entrypoints.openai.api_server", "--model=org/m"],
        [],
    ),
    "its script, in arguments": ([], ["/opt/venv/bin/vllm", "serve", "org/m"]),
    "a shell that activates it": (
        ["bash", "-lc"],
        ["source /opt/venv/bin/activate && exec vllm serve org/m"],
    ),
    "lines of a shell": (["/bin/sh", "-c"], ["set -e\ncd /w\n/opt/venv/bin/vllm serve \\\n org/m"]),
    "tini": (["/usr/bin/tini", "--", "/opt/venv/bin/vllm", "serve", "org/m"], []),
    "conda": (["conda", "run", "-n", "vllm", "vllm", "serve", "org/m"], []),
    "Python with the script": (["python3", "/usr/local/bin/vllm", "serve", "org/m"], []),
}


def _serving(
    source: str,
    image: str,
    args: list[str],
    template: str,
    model: str,
    port: int,
    *,
    command: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    exported: str = "",
    served: str = "",
    is_grpc: bool = False,
    is_tls: bool = False,
    **fields: object,
) -> Serving:
    server = container("main", image, args, command, env, **fields)
    return Serving(
        Workload(source, pod(server)),
        template,
        model,
        port,
        "main",
        exported=exported,
        served=served,
        is_grpc=is_grpc,
        is_tls=is_tls,
    )


def _kserve(image: str, args: list[str], command: list[str], **pod_fields: object) -> Workload:
    server = container("kserve-container", image, args, command)
    return Workload(KSERVE + "docs/samples/v1beta1", pod(server, **pod_fields), pod_labels=ISVC)


VARIANT_SERVINGS: dict[str, Serving] = {
    **{
        f"vLLM, started by {name}": _serving(
            VLLM_SERVER,
            "acme/llm:1",
            args,
            "vllm",
            "org/m",
            8000,
            command=tuple(command),
            exported="custom" if "shell" in name else "",
        )
        for name, (command, args) in _STARTS.items()
    },
    "KServe: vLLM that is asked for the path": Serving(
        _kserve(
            "vllm/vllm-openai:v0.10",
            ["--model=/mnt/models", "--port=8080"],
            ["python", "-m", "vllm.entrypoints.openai.api_server"],
        )._replace(annotations=_URI),
        "vllm",
        "iris",
        8080,
        "kserve-container",
        served="/mnt/models",
        model_source="s3://models/llama",
    ),
    "KServe: SGLang with a name": Serving(
        _kserve(
            "lmsysorg/sglang:v0.5",
            ["--model-path=/mnt/models", "--served-model-name=chat", "--port=8080"],
            ["python3", "-m", "sglang.launch_server"],
            initContainers=[initializer("hf://org/m")],
        ),
        "sglang",
        "chat",
        8080,
        "kserve-container",
        model_source="hf://org/m",
    ),
    "KServe: TGI": Serving(
        _kserve("ghcr.io/huggingface/text-generation-inference:3", ["--model-id=/mnt/models"], []),
        "tgi",
        "iris",
        80,
        "kserve-container",
    ),
    "AIBrix: downloaded model": Serving(
        Workload(
            _AIBRIX,
            pod(
                container("vllm", "vllm/vllm-openai:v0.10", ["--model", "/models/m"]),
                initContainers=[
                    container(
                        "init-model",
                        "aibrix/runtime:v0.4",
                        ["--model-uri", "s3://bucket/m", "--local-dir", "/models/m"],
                        ["aibrix_download"],
                    )
                ],
            ),
        ),
        "vllm",
        "/models/m",
        8000,
        "vllm",
        model_source="s3://bucket/m",
    ),
    "llama.cpp: model downloaded by a shell": Serving(
        Workload(
            "https://huggingface.co/docs/huggingface_hub/guides/cli",
            pod(
                container("llama", "ghcr.io/ggml-org/llama.cpp:server", ["-m", "/models/m.gguf"]),
                initContainers=[
                    container(
                        "download",
                        "python:3.12",
                        ["pip install huggingface_hub && hf download org/m-GGUF --local-dir /m"],
                        ["sh", "-c"],
                    )
                ],
            ),
        ),
        "llama.cpp",
        "/models/m.gguf",
        8080,
        "llama",
        model_source="hf://org/m-GGUF",
    ),
    "TF Serving: variables of a shell": _serving(
        _TFS,
        "tensorflow/serving:2.19",
        [
            "tensorflow_model_server --rest_api_port=8502 --model_name=${MODEL_NAME} "
            "--model_base_path=${MODEL_BASE_PATH}/${MODEL_NAME}"
        ],
        "tensorflow-serving",
        "resnet",
        8502,
        command=("/bin/sh", "-c"),
        env={"MODEL_NAME": "resnet", "MODEL_BASE_PATH": "/models"},
    ),
    "NIM: several names": _serving(
        "https://docs.nvidia.com/nim/large-language-models/latest/configuration.html",
        "nvcr.io/nim/meta/llama3-8b-instruct:1.0",
        [],
        "nim",
        "meta/llama3-8b-instruct",
        8000,
        env={"NIM_SERVED_MODEL_NAME": "chat,llama3"},
        served="chat",
    ),
    "NIM: image of several models": _serving(
        "https://docs.nvidia.com/nim/large-language-models/latest/",
        "nvcr.io/nim/nvidia/llm-nim:1.14",
        [],
        "nim",
        "chat",
        8000,
        env={"NIM_SERVED_MODEL_NAME": "chat"},
    ),
    "llama.cpp: several names": _serving(
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        "ghcr.io/ggml-org/llama.cpp:server-cuda",
        ["-hf", "ggml-org/m-GGUF:Q4_K_M", "--alias", "m,m-small", "--port", "8081"],
        "llama.cpp",
        "ggml-org/m-GGUF:Q4_K_M",
        8081,
        served="m",
    ),
    "TEI: image for gRPC": _serving(
        _TEI,
        "ghcr.io/huggingface/text-embeddings-inference:1.7-grpc",
        ["--model-id", "BAAI/bge-m3"],
        "tei",
        "BAAI/bge-m3",
        80,
        is_grpc=True,
    ),
    "TEI: -p and the port in one word": _serving(
        _TEI,
        "ghcr.io/huggingface/text-embeddings-inference:1.7",
        ["--model-id=BAAI/bge-m3", "-p8081"],
        "tei",
        "BAAI/bge-m3",
        8081,
    ),
    "Triton: without HTTP": _serving(
        _TRITON,
        "nvcr.io/nvidia/tritonserver:24.08-py3",
        ["tritonserver", "--model-repository=/models", "--allow-http=false"],
        "triton",
        "/models",
        8001,
        is_grpc=True,
    ),
    "Triton: HTTP that is not turned off": _serving(
        _TRITON,
        "nvcr.io/nvidia/tritonserver:24.08-py3",
        ["tritonserver", "--model-repository=/models", "--allow-http=true", "--http_port=9000"],
        "triton",
        "/models",
        9000,
    ),
    "vLLM: startup probe over TLS": _serving(
        VLLM_SERVER,
        "vllm/vllm-openai:v0.10",
        ["org/m"],
        "vllm",
        "org/m",
        8000,
        is_tls=True,
        startupProbe={"httpGet": {"port": 8000, "path": "/health", "scheme": "HTTPS"}},
    ),
    "NIM: TLS": _serving(
        "https://docs.nvidia.com/nim/large-language-models/latest/configuration.html",
        "nvcr.io/nim/meta/llama3-8b-instruct:1.0",
        [],
        "nim",
        "meta/llama3-8b-instruct",
        8000,
        env={"NIM_SSL_MODE": "MTLS"},
        is_tls=True,
    ),
}
