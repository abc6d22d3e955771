"""Further workloads that are no servings although their images or commands are named after one."""

from __future__ import annotations

from tests.serving.corpus.workload import GPU, Workload, container, pod

_GITHUB = "https://github.com/"

FURTHER_OTHERS: dict[str, Workload] = {
    "LiteLLM": Workload(
        "https://docs.litellm.ai/docs/proxy/deploy",
        pod(
            container(
                "litellm",
                "ghcr.io/berriai/litellm:main-stable",
                ["--config", "/app/config.yaml", "--port", "4000"],
                ports=[4000],
            )
        ),
    ),
    "Open WebUI with Ollama's name": Workload(
        _GITHUB + "open-webui/open-webui",
        pod(container("open-webui", "ghcr.io/open-webui/open-webui:ollama", ports=[8080])),
    ),
    "Envoy AI Gateway": Workload(
        _GITHUB + "envoyproxy/ai-gateway/tree/main/manifests/charts",
        pod(container("controller", "docker.io/envoyproxy/ai-gateway-controller:v0.4")),
    ),
    "SGLang model gateway": Workload(
        _GITHUB + "sgl-project/sglang/tree/main/sgl-model-gateway",
        pod(container("gateway", "lmsysorg/sgl-model-gateway:v0.3", ports=[30000])),
    ),
    "SGLang model gateway: its program": Workload(
        _GITHUB + "sgl-project/sglang/tree/main/sgl-model-gateway",
        pod(
            container(
                "gateway",
                "lmsysorg/sglang:v0.5.6",
                ["smg", "launch", "--worker-urls", "http://a:30000"],
                ports=[30000],
            )
        ),
    ),
    "semantic router of vLLM": Workload(
        _GITHUB + "vllm-project/semantic-router",
        pod(
            container(
                "router", "ghcr.io/vllm-project/semantic-router/vllm-sr:latest", ports=[50051]
            )
        ),
    ),
    "Llama Stack with a remote vLLM": Workload(
        _GITHUB + "llamastack/llama-stack",
        pod(container("stack", "llamastack/distribution-remote-vllm:0.2", ports=[8321])),
    ),
    "vLLM without a model: render": Workload(
        _GITHUB + "vllm-project/vllm/tree/main/vllm/entrypoints/cli",
        pod(container("render", "vllm/vllm-openai:v0.14.0", ["vllm", "launch", "render", "org/m"])),
    ),
    "vLLM's benchmark as arguments": Workload(
        "https://docs.vllm.ai/en/latest/cli/bench/serve/",
        pod(
            container(
                "bench",
                "nvcr.io/nvidia/vllm:25.09-py3",
                ["vllm", "bench", "serve", "--model", "org/m"],
                resource=GPU,
            )
        ),
    ),
    "NIM operator": Workload(
        _GITHUB + "NVIDIA/k8s-nim-operator",
        pod(container("manager", "nvcr.io/nvidia/cloud-native/k8s-nim-operator:v2.0.0")),
    ),
    "Dynamo's operator": Workload(
        _GITHUB + "ai-dynamo/dynamo/tree/main/deploy",
        pod(container("manager", "nvcr.io/nvidia/ai-dynamo/kubernetes-operator:0.6.0")),
    ),
    "KubeAI": Workload(
        _GITHUB + "substratusai/kubeai",
        pod(container("server", "substratusai/kubeai:v0.23", ports=[8000])),
    ),
    "Ollama operator": Workload(
        _GITHUB + "nekomeowww/ollama-operator",
        pod(container("manager", "ghcr.io/nekomeowww/ollama-operator:0.10", command=["/manager"])),
    ),
    "MLflow's tracking server": Workload(
        "https://mlflow.org/docs/latest/self-hosting/",
        pod(
            container(
                "mlflow",
                "ghcr.io/mlflow/mlflow:v3.5.0",
                ["mlflow", "server", "--host", "0.0.0.0"],
                ports=[5000],
            )
        ),
    ),
    "Milvus on a GPU": Workload(
        _GITHUB + "milvus-io/milvus-helm",
        pod(
            container(
                "standalone",
                "milvusdb/milvus:v2.5-gpu",
                ["milvus", "run", "standalone"],
                ports=[19530],
                resource=GPU,
            )
        ),
    ),
    "GPUStack": Workload(
        _GITHUB + "gpustack/gpustack",
        pod(container("worker", "gpustack/gpustack:latest", ["--token", "t"], resource=GPU)),
    ),
    "FastChat's controller": Workload(
        _GITHUB + "lm-sys/FastChat",
        pod(
            container(
                "controller",
                "lmsysorg/fastchat:latest",
                ["-m", "fastchat.serve.controller"],
                ["python3"],
                ports=[21001],
            )
        ),
    ),
    "LMDeploy's proxy": Workload(
        "https://lmdeploy.readthedocs.io/en/latest/llm/proxy_server.html",
        pod(
            container(
                "proxy",
                "openmmlab/lmdeploy:latest",
                ["lmdeploy", "serve", "proxy", "--server-port", "8000"],
                ports=[8000],
            )
        ),
    ),
    "TensorRT-LLM's router of prefill and decode": Workload(
        "https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html",
        pod(
            container(
                "router",
                "nvcr.io/nvidia/tensorrt-llm/release:1.1.0",
                ["trtllm-serve disaggregated -c /c.yaml"],
                ["bash", "-c"],
                ports=[8000],
            )
        ),
    ),
    "NIM that fills a cache": Workload(
        "https://docs.nvidia.com/nim/large-language-models/latest/utilities.html",
        pod(
            container("load", "nvcr.io/nim/meta/llama3-8b:1.0", ["download-to-cache"], resource=GPU)
        ),
    ),
    "Riva's model builder": Workload(
        "https://docs.nvidia.com/deeplearning/riva/user-guide/",
        pod(container("init", "nvcr.io/nvidia/riva/riva-speech:2.15.0-servicemaker")),
    ),
    "stable-diffusion.cpp's command": Workload(
        _GITHUB + "leejet/stable-diffusion.cpp",
        pod(
            container(
                "cli", "ghcr.io/leejet/stable-diffusion.cpp:master", ["-m", "/m.gguf", "-p", "cat"]
            )
        ),
    ),
    "Weaviate": Workload(
        "https://docs.weaviate.io/deploy/installation-guides/k8s-installation",
        pod(container("weaviate", "cr.weaviate.io/semitechnologies/weaviate:1.33", ports=[8080])),
    ),
    "a server's image that writes its start script and does not run it": Workload(
        "https://docs.vllm.ai/en/latest/deployment/docker/",
        pod(
            container(
                "dev",
                "vllm/vllm-openai:v0.11",
                ["cat > /run.sh <<EOF\nvllm serve org/m\nEOF\nsleep infinity"],
                ["sh", "-c"],
                resource=GPU,
            )
        ),
    ),
}
