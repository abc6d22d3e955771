"""Servings of vLLM."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    FLUENT_BIT,
    GKE,
    GPU,
    ISTIO,
    ISVC,
    LLMD,
    NVIDIA,
    STACK,
    VLLM_SERVER,
    Serving,
    Workload,
    container,
    pod,
    sidecar,
)

VLLM_SERVINGS: dict[str, Serving] = {
    "vLLM: documentation, a shell": Serving(
        Workload(
            VLLM_SERVER,
            pod(
                container(
                    "mistral-7b",
                    "vllm/vllm-openai:latest",
                    ["vllm serve org/m --trust-remote-code --enable-chunked-prefill"],
                    ["/bin/sh", "-c"],
                    ports=[8000],
                    resource=GPU,
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "mistral-7b",
        NVIDIA,
        "custom",
    ),
    "vLLM: module": Serving(
        Workload(
            GKE + "llm-serving-gemma/vllm",
            pod(
                container(
                    "inference-server",
                    "docker.io/vllm/vllm-openai:v0.10.0",
                    ["--model=$(MODEL_ID)", "--tensor-parallel-size=2"],
                    ["python3", "-m", "vllm.entrypoints.openai.api_server"],
                    {"MODEL_ID": "google/gemma-7b"},
                    resource=GPU,
                    count=2,
                )
            ),
        ),
        "vllm",
        "google/gemma-7b",
        8000,
        "inference-server",
        ("NVIDIA GPU", 2),
    ),
    "vLLM: arguments of the image only": Serving(
        Workload(
            "https://github.com/kubernetes-sigs/gateway-api-inference-extension/blob/main/config/"
            "manifests/vllm/gpu-deployment.yaml",
            pod(
                container("vllm", "vllm/vllm-openai:v0.9", ["--model", "org/m", "--port", "8200"]),
                initContainers=[sidecar("lora-adapter-syncer", "gaie/lora-syncer:main")],
            ),
        ),
        "vllm",
        "org/m",
        8200,
        "vllm",
    ),
    "vLLM: production-stack": Serving(
        Workload(
            STACK + "deployment-vllm-multi.yaml",
            pod(
                container(
                    "vllm",
                    "lmcache/vllm-openai:v0.3",
                    command=[
                        "/opt/venv/bin/vllm",
                        "serve",
                        "org/m",
                        "--host",
                        "0.0.0.0",
                        "--port",
                        "8000",
                        "--enable-lora",
                        "--gpu_memory_utilization",
                        "0.9",
                    ],
                    env={"HF_HOME": "/tmp", "LMCACHE_USE_EXPERIMENTAL": "True"},
                    ports=[("container-port", 8000), ("zmq-port", 55555), ("ucx-port", 9999)],
                    resource=GPU,
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "vllm",
        NVIDIA,
    ),
    "vLLM: AIBrix, a runtime beside it": Serving(
        Workload(
            "https://github.com/vllm-project/aibrix/blob/main/samples/adapter/base.yaml",
            pod(
                container(
                    "aibrix-runtime",
                    "aibrix/runtime:v0.4",
                    command=["aibrix_runtime", "--port", "8080"],
                    ports=[("http", 8080)],
                ),
                container(
                    "vllm-openai",
                    "vllm/vllm-openai:v0.10",
                    command=[
                        "vllm",
                        "serve",
                        "--host",
                        "0.0.0.0",
                        "--port",
                        "8000",
                        "--model",
                        "org/m",
                        "--served-model-name",
                        "coder",
                    ],
                    ports=[8000],
                    resource=GPU,
                ),
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "vllm-openai",
        NVIDIA,
        served="coder",
    ),
    "vLLM: llm-d decode behind its routing sidecar": Serving(
        Workload(
            LLMD + "output-pd.yaml",
            pod(
                container(
                    "vllm",
                    "ghcr.io/llm-d/llm-d-cuda:latest",
                    ["org/m", "--port", "8200", "--served-model-name", "org/m"],
                    ["vllm", "serve"],
                    {"VLLM_NIXL_SIDE_CHANNEL_PORT": "5600", "VLLM_PORT": "7777"},
                    [8200, 5600],
                    GPU,
                ),
                initContainers=[
                    sidecar(
                        "routing-proxy",
                        "ghcr.io/llm-d/llm-d-routing-sidecar:latest",
                        args=["--port=8000", "--vllm-port=8200"],
                        ports=[8000],
                    )
                ],
            ),
        ),
        "vllm",
        "org/m",
        8200,
        "vllm",
        NVIDIA,
    ),
    "vLLM: llm-d with resource claims": Serving(
        Workload(
            LLMD + "output-dra.yaml",
            pod(
                container(
                    "vllm",
                    "intel/vllm:0.10.0-xpu",
                    ["org/m", "--port", "8000", "--served-model-name", "random/model"],
                    ["vllm", "serve"],
                    resources={"claims": [{"name": "gaudi"}]},
                ),
                resourceClaims=[{"name": "gaudi", "resourceClaimTemplateName": "gaudi-claim"}],
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "vllm",
        ("resource claim gaudi-claim", 1),
        served="random/model",
    ),
    "vLLM: uv": Serving(
        Workload(
            "https://docs.vllm.ai/en/latest/getting_started/quickstart/",
            pod(
                container(
                    "app",
                    "acme/llm:1",
                    command=["uv", "run", "--with", "vllm", "vllm", "serve", "org/m"],
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "app",
    ),
    "vLLM: leader of a group with Ray": Serving(
        Workload(
            "https://github.com/kubernetes-sigs/lws/blob/main/docs/examples/vllm/GPU/lws.yaml",
            pod(
                container(
                    "vllm-leader",
                    "vllm/vllm-openai:latest",
                    command=[
                        "sh",
                        "-c",
                        "bash /vllm-workspace/examples/online_serving/multi-node-serving.sh leader "
                        "--ray_cluster_size=$(LWS_GROUP_SIZE); python3 -m "
                        "vllm.entrypoints.openai.api_server --port 8080 --model org/m "
                        "--tensor-parallel-size 8 --pipeline_parallel_size 2",
                    ],
                    ports=[8080],
                    resource=GPU,
                    count=8,
                )
            ),
        ),
        "vllm",
        "org/m",
        8080,
        "vllm-leader",
        ("NVIDIA GPU", 8),
        "custom",
    ),
    "vLLM: ray start, then the server": Serving(
        Workload(
            "https://docs.vllm.ai/en/latest/serving/parallelism_scaling/",
            pod(
                container(
                    "head",
                    "vllm/vllm-openai:v0.10",
                    command=["bash", "-lc"],
                    args=["ray start --head --port=6379 && vllm serve org/m -tp 8"],
                    ports=[6379, 8265],
                    resource=GPU,
                    count=8,
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "head",
        ("NVIDIA GPU", 8),
        "custom",
    ),
    "vLLM: TPU": Serving(
        Workload(
            GKE + "llm-serving-vllm-tpu",
            pod(
                container(
                    "vllm-tpu",
                    "vllm/vllm-tpu:nightly",
                    ["--host=0.0.0.0", "--port=8000", "--tensor-parallel-size=8", "--model=org/m"],
                    ["python3", "-m", "vllm.entrypoints.openai.api_server"],
                    ports=[8000],
                    resource="google.com/tpu",
                    count=8,
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "vllm-tpu",
        ("Google TPU", 8),
    ),
    "vLLM: AMD, numactl": Serving(
        Workload(
            "https://rocm.docs.amd.com/en/latest/how-to/rocm-for-ai/inference/",
            pod(
                container(
                    "vllm",
                    "rocm/vllm:latest",
                    command=["numactl", "-N", "0", "-m", "0", "vllm", "serve", "org/m"],
                    resource="amd.com/gpu",
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "vllm",
        ("AMD GPU", 1),
    ),
    "vLLM: TLS": Serving(
        Workload(
            "https://docs.vllm.ai/en/latest/cli/serve/",
            pod(
                container(
                    "vllm",
                    "vllm/vllm-openai:v0.10",
                    ["org/m", "--ssl-keyfile", "/tls/key", "--ssl-certfile", "/tls/crt"],
                    ports=[("https", 8000)],
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "vllm",
        is_tls=True,
    ),
    "vLLM: Dynamo worker": Serving(
        Workload(
            "https://github.com/ai-dynamo/dynamo/blob/main/components/backends/vllm/deploy/agg.yaml",
            pod(
                container(
                    "main",
                    "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.5.0",
                    ["--model", "org/m"],
                    ["python3", "-m", "dynamo.vllm"],
                    {"DYN_SYSTEM_PORT": "9090"},
                    [("system", 9090)],
                    GPU,
                )
            ),
        ),
        "vllm",
        "org/m",
        9090,
        "main",
        NVIDIA,
        "custom",
    ),
    "vLLM: OpenShift AI": Serving(
        Workload(
            "https://github.com/opendatahub-io/odh-model-controller/blob/main/config/runtimes/"
            "vllm-cuda-template.yaml",
            pod(
                container(
                    "kserve-container",
                    "quay.io/modh/vllm:rhoai-2.20-cuda",
                    ["--port=8080", "--model=/mnt/models", "--served-model-name=iris"],
                    ["python", "-m", "vllm.entrypoints.openai.api_server"],
                    ports=[8080],
                    resource=GPU,
                )
            ),
            pod_labels=ISVC,
            annotations={
                "internal.serving.kserve.io/storage-initializer-sourceuri": "oci://models/iris:1"
            },
        ),
        "vllm",
        "iris",
        8080,
        "kserve-container",
        NVIDIA,
        model_source="oci://models/iris:1",
    ),
    "vLLM: a start script in its image": Serving(
        Workload(
            "https://github.com/vllm-project/vllm/tree/main/examples",
            pod(
                container(
                    "vllm",
                    "vllm/vllm-openai:v0.10",
                    command=["/bin/bash", "/scripts/run.sh"],
                    env={"MODEL_NAME": "org/m"},
                    ports=[("http", 8000)],
                    resource=GPU,
                )
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "vllm",
        NVIDIA,
        "custom",
    ),
    "vLLM: log sidecar first": Serving(
        Workload(
            "https://docs.fluentbit.io/manual/installation/kubernetes",
            pod(
                FLUENT_BIT,
                ISTIO,
                container(
                    "server", "vllm/vllm-openai:v0.10", ["org/m"], ports=[8000], resource=GPU
                ),
            ),
        ),
        "vllm",
        "org/m",
        8000,
        "server",
        NVIDIA,
    ),
}
