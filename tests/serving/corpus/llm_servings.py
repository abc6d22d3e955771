"""Servings of other servers for language models."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    GKE,
    GPU,
    NVIDIA,
    Serving,
    Workload,
    container,
    pod,
)

LLM_SERVINGS: dict[str, Serving] = {
    "Furiosa-LLM": Serving(
        Workload(
            "https://developer.furiosa.ai/latest/en/cloud_native_toolkit/kubernetes/",
            pod(
                container(
                    "furiosa-llm",
                    "furiosaai/furiosa-llm:2026.3.0",
                    ["serve", "furiosa-ai/m", "-dp", "2"],
                    resource="furiosa.ai/rngd",
                )
            ),
        ),
        "furiosa-llm",
        "furiosa-ai/m",
        8000,
        "furiosa-llm",
        ("Furiosa RNGD", 1),
    ),
    "SGLang": Serving(
        Workload(
            "https://github.com/sgl-project/sglang/blob/main/docker/k8s-sglang-service.yaml",
            pod(
                container(
                    "sglang",
                    "lmsysorg/sglang:latest",
                    ["--model-path", "org/m", "--host", "0.0.0.0"],
                    ["python3", "-m", "sglang.launch_server"],
                    resource=GPU,
                    count=8,
                )
            ),
        ),
        "sglang",
        "org/m",
        30000,
        "sglang",
        ("NVIDIA GPU", 8),
    ),
    "SGLang: nsys": Serving(
        Workload(
            "https://docs.sglang.ai/developer_guide/benchmark_and_profiling.html",
            pod(
                container(
                    "sglang",
                    "lmsysorg/sglang:v0.5",
                    command=[
                        "nsys",
                        "profile",
                        "-t",
                        "cuda,nvtx",
                        "-o",
                        "/out",
                        "python3",
                        "-m",
                        "sglang.launch_server",
                        "--model-path",
                        "org/m",
                        "--port",
                        "30001",
                    ],
                )
            ),
        ),
        "sglang",
        "org/m",
        30001,
        "sglang",
    ),
    "SGLang: Dynamo worker in a shell": Serving(
        Workload(
            "https://github.com/ai-dynamo/dynamo/tree/main/components/backends/sglang/deploy",
            pod(
                container(
                    "main",
                    "nvcr.io/nvidia/ai-dynamo/sglang-runtime:0.5.0",
                    ["python3 -m dynamo.sglang --model-path org/m --served-model-name m"],
                    ["/bin/sh", "-c"],
                    resource=GPU,
                )
            ),
        ),
        "sglang",
        "org/m",
        30000,
        "main",
        NVIDIA,
        served="m",
    ),
    "TGI: port of its image": Serving(
        Workload(
            "https://huggingface.co/docs/text-generation-inference",
            pod(
                container(
                    "tgi",
                    "ghcr.io/huggingface/text-generation-inference:3",
                    ["--model-id", "org/m"],
                    resource=GPU,
                )
            ),
        ),
        "tgi",
        "org/m",
        80,
        "tgi",
        NVIDIA,
    ),
    "TGI: GKE, variables": Serving(
        Workload(
            GKE + "llm-serving-gemma/tgi",
            pod(
                container(
                    "inference-server",
                    "us-docker.pkg.dev/deeplearning-platform-release/gcr.io/"
                    "huggingface-text-generation-inference-cu124.2-3.ubuntu2204.py311",
                    ["--model-id=$(MODEL_ID)", "--num-shard=1"],
                    env={"MODEL_ID": "google/gemma-2b-it", "PORT": "8000"},
                    resource=GPU,
                )
            ),
        ),
        "tgi",
        "google/gemma-2b-it",
        8000,
        "inference-server",
        NVIDIA,
    ),
    "TGI: -p": Serving(
        Workload(
            "https://huggingface.co/docs/text-generation-inference/reference/launcher",
            pod(
                container(
                    "tgi",
                    "acme/llm",
                    command=["text-generation-launcher", "-p", "8090", "--model-id=org/m"],
                )
            ),
        ),
        "tgi",
        "org/m",
        8090,
        "tgi",
    ),
    "Ollama: chart, models pulled by a hook": Serving(
        Workload(
            "https://github.com/otwld/ollama-helm/blob/main/templates/deployment.yaml",
            pod(
                container(
                    "ollama",
                    "ollama/ollama:0.12",
                    env={"OLLAMA_HOST": "0.0.0.0:11434"},
                    ports=[("http", 11434)],
                    resource=GPU,
                    lifecycle={
                        "postStart": {
                            "exec": {
                                "command": [
                                    "/bin/sh",
                                    "-c",
                                    "while ! /bin/ollama ps > /dev/null 2>&1; do\n  sleep 5\ndone\n"
                                    "/bin/ollama pull --insecure llama3.2\n",
                                ]
                            }
                        }
                    },
                )
            ),
        ),
        "ollama",
        "llama3.2",
        11434,
        "ollama",
        NVIDIA,
    ),
    "Ollama: a shell, another port": Serving(
        Workload(
            "https://docs.ollama.com/faq",
            pod(
                container(
                    "ollama",
                    "ollama/ollama",
                    command=["/bin/sh", "-c"],
                    args=["ollama serve & sleep 5; ollama pull qwen3:8b; wait"],
                    env={"OLLAMA_HOST": "0.0.0.0:8080"},
                )
            ),
        ),
        "ollama",
        "qwen3:8b",
        8080,
        "ollama",
    ),
    "TensorRT-LLM": Serving(
        Workload(
            "https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/",
            pod(
                container(
                    "trtllm",
                    "nvcr.io/nvidia/tensorrt-llm/release:1.0",
                    command=["trtllm-llmapi-launch", "trtllm-serve", "org/m", "--port", "8001"],
                    resource=GPU,
                )
            ),
        ),
        "tensorrt-llm",
        "org/m",
        8001,
        "trtllm",
        NVIDIA,
    ),
    "llama.cpp": Serving(
        Workload(
            "https://github.com/ggml-org/llama.cpp/blob/master/docs/docker.md",
            pod(
                container(
                    "llama",
                    "ghcr.io/ggml-org/llama.cpp:server-cuda",
                    ["-m", "/models/a.gguf", "-c", "512", "--host", "0.0.0.0"],
                    resource=GPU,
                )
            ),
        ),
        "llama.cpp",
        "/models/a.gguf",
        8080,
        "llama",
        NVIDIA,
    ),
    "llama.cpp: variables": Serving(
        Workload(
            "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
            pod(
                container(
                    "llama",
                    "ghcr.io/ggml-org/llama.cpp:server",
                    env={
                        "LLAMA_ARG_HF_REPO": "org/m-GGUF",
                        "LLAMA_ARG_PORT": "8081",
                        "LLAMA_ARG_ALIAS": "m",
                    },
                )
            ),
        ),
        "llama.cpp",
        "org/m-GGUF",
        8081,
        "llama",
        served="m",
    ),
    "LMDeploy": Serving(
        Workload(
            "https://github.com/InternLM/lmdeploy/blob/main/k8s/deployment.yaml",
            pod(
                container(
                    "internlm",
                    "openmmlab/lmdeploy:latest",
                    command=["/bin/sh", "-c"],
                    args=["lmdeploy serve api_server org/m --server-port 23334"],
                    ports=[23334],
                    resource=GPU,
                )
            ),
        ),
        "lmdeploy",
        "org/m",
        23334,
        "internlm",
        NVIDIA,
    ),
    "LMDeploy: default port": Serving(
        Workload(
            "https://lmdeploy.readthedocs.io/en/latest/llm/api_server.html",
            pod(
                container(
                    "lmdeploy",
                    "openmmlab/lmdeploy:latest",
                    command=["lmdeploy", "serve", "api_server", "org/m"],
                )
            ),
        ),
        "lmdeploy",
        "org/m",
        23333,
        "lmdeploy",
    ),
    "NIM": Serving(
        Workload(
            "https://github.com/NVIDIA/nim-deploy/tree/main/helm",
            pod(
                container(
                    "nim-llm",
                    "nvcr.io/nim/meta/llama3-8b-instruct:1.0",
                    env={"NIM_CACHE_PATH": "/model-store", "NIM_SERVER_PORT": "8100"},
                    ports=[("http-openai", 8100)],
                    resource=GPU,
                )
            ),
        ),
        "nim",
        "meta/llama3-8b-instruct",
        8100,
        "nim-llm",
        NVIDIA,
    ),
    "NIM: served name": Serving(
        Workload(
            "https://docs.nvidia.com/nim/large-language-models/latest/",
            pod(
                container(
                    "nim",
                    "registry.corp:5000/nim/nvidia/llm-nim:1.14",
                    env={
                        "NIM_MODEL_NAME": "hf://org/m",
                        "NIM_SERVED_MODEL_NAME": "chat",
                        "NIM_HTTP_API_PORT": "8001",
                    },
                )
            ),
        ),
        "nim",
        "hf://org/m",
        8001,
        "nim",
        served="chat",
    ),
    "LocalAI": Serving(
        Workload(
            "https://github.com/mudler/LocalAI/tree/master/examples",
            pod(
                container(
                    "local-ai",
                    "quay.io/go-skynet/local-ai:master-ffmpeg-core",
                    ["phi-2"],
                    env={"THREADS": "4", "MODELS_PATH": "/models"},
                )
            ),
        ),
        "localai",
        "phi-2",
        8080,
        "local-ai",
    ),
    "text-generation-webui": Serving(
        Workload(
            "https://github.com/Atinoda/text-generation-webui-docker",
            pod(
                container(
                    "webui",
                    "atinoda/text-generation-webui:default-nvidia",
                    env={"EXTRA_LAUNCH_ARGS": '"--listen --api --model org_m"'},
                    ports=[("web", 7860), ("api", 5000)],
                    resource=GPU,
                )
            ),
        ),
        "text-generation-webui",
        "org_m",
        5000,
        "webui",
        NVIDIA,
    ),
    "DJL Serving": Serving(
        Workload(
            "https://docs.djl.ai/master/docs/serving/serving/docs/lmi/",
            pod(
                container(
                    "lmi",
                    "deepjavalibrary/djl-serving:0.33.0-lmi",
                    env={"HF_MODEL_ID": "org/m"},
                    resource=GPU,
                )
            ),
        ),
        "djl-serving",
        "org/m",
        8080,
        "lmi",
        NVIDIA,
    ),
    "MAX": Serving(
        Workload(
            "https://docs.modular.com/max/container/",
            pod(
                container(
                    "max",
                    "docker.modular.com/modular/max-nvidia-full:25.4",
                    ["--model-path=org/m"],
                    resource=GPU,
                )
            ),
        ),
        "max",
        "org/m",
        8000,
        "max",
        NVIDIA,
    ),
    "simulator of llm-d": Serving(
        Workload(
            "https://github.com/kubernetes-sigs/gateway-api-inference-extension/blob/main/config/"
            "manifests/vllm/sim-deployment.yaml",
            pod(
                container(
                    "vllm-sim",
                    "ghcr.io/llm-d/llm-d-inference-sim:v0.7.1",
                    ["--model", "org/m", "--port", "8000"],
                    ports=[("http", 8000)],
                )
            ),
        ),
        "llm-d-inference-sim",
        "org/m",
        8000,
        "vllm-sim",
    ),
}
