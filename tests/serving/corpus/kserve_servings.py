"""Servings of KServe."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    GPU,
    ISTIO,
    ISVC,
    KSERVE,
    NVIDIA,
    QUEUE_PROXY,
    Serving,
    Workload,
    container,
    initializer,
    pod,
    sidecar,
)

_KSERVE_LLM_SCRIPT = """
if [ "$KSERVE_INFER_ROCE" = "true" ]; then
  active=()
  for dir in /sys/class/infiniband/mlx5_*; do
    if [ -d "$dir" ] && grep -q "ACTIVE" "$dir/state" 2>/dev/null; then active+=("$dir"); fi
  done
  export NCCL_IB_HCA=${NCCL_IB_HCA:-${active[0]}}
fi
# older releases of vLLM (vllm serve) do not know the flag
VLLM_VERSION=$(vllm --version 2>/dev/null | awk '{print $NF}')
LOG_ARGS="--disable-uvicorn-access-log"
if [[ "$VLLM_VERSION" =~ ^[0-9]+ ]] && [ "$(printf '%s' "$VLLM_VERSION")" = "0.16.0" ]; then
  LOG_ARGS="--disable-access-log-for-endpoints /health,/metrics"
fi
eval "exec vllm serve /mnt/models \\
  --served-model-name "org/llama" "publishers/team-a/models/llama" \\
  --port 8001 \\
  ${LOG_ARGS} \\
  --enable-ssl-refresh --ssl-certfile /tls/tls.crt --ssl-keyfile /tls/tls.key \\
  ${VLLM_ADDITIONAL_ARGS} \\
  $@"
"""

KSERVE_SERVINGS: dict[str, Serving] = {
    "vLLM: KServe LLMInferenceService": Serving(
        Workload(
            KSERVE + "config/llmisvcconfig/config-llm-decode-template.yaml",
            pod(
                container(
                    "main",
                    "ghcr.io/llm-d/llm-d-cuda:v0.9.0",
                    command=["/bin/bash", "-c", _KSERVE_LLM_SCRIPT, "--"],
                    env={"VLLM_ADDITIONAL_ARGS": "--max-model-len 8192"},
                    ports=[8001],
                    resource=GPU,
                    readinessProbe={"httpGet": {"port": 8001, "scheme": "HTTPS"}},
                ),
                initContainers=[
                    initializer("hf://org/llama"),
                    sidecar(
                        "llm-d-routing-sidecar",
                        "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v1",
                        command=["/app/pd-sidecar", "--port=8000", "--vllm-port=8001"],
                        ports=[8000],
                    ),
                ],
            ),
        ),
        "vllm",
        "org/llama",
        8001,
        "main",
        NVIDIA,
        "custom",
        model_source="hf://org/llama",
        is_tls=True,
    ),
    "vLLM: KServe runtime": Serving(
        Workload(
            KSERVE + "config/runtimes/kserve-vllmserver.yaml",
            pod(
                container(
                    "kserve-container",
                    "vllm/vllm-openai:latest",
                    ["--port=8080", "--served-model-name=iris", "--model=/mnt/models"],
                    ["python", "-m", "vllm.entrypoints.openai.api_server"],
                    ports=[("h2c", 8080)],
                ),
                QUEUE_PROXY,
                initContainers=[initializer("s3://models/llama")],
            ),
            pod_labels=ISVC,
        ),
        "vllm",
        "iris",
        8080,
        "kserve-container",
        model_source="s3://models/llama",
    ),
    "Triton: KServe": Serving(
        Workload(
            KSERVE + "config/runtimes/kserve-tritonserver.yaml",
            pod(
                container(
                    "kserve-container",
                    "nvcr.io/nvidia/tritonserver:23.05-py3",
                    [
                        "tritonserver",
                        "--model-store=/mnt/models",
                        "--grpc-port=9000",
                        "--http-port=8080",
                    ],
                ),
                initContainers=[initializer("gs://kfserving-examples/models/torchscript")],
            ),
            pod_labels=ISVC,
        ),
        "triton",
        "iris",
        8080,
        "kserve-container",
        model_source="gs://kfserving-examples/models/torchscript",
    ),
    "KServe: Hugging Face": Serving(
        Workload(
            KSERVE + "config/runtimes/kserve-huggingfaceserver.yaml",
            pod(
                ISTIO,
                QUEUE_PROXY,
                container(
                    "kserve-container",
                    "kserve/huggingfaceserver:v0.16-gpu",
                    ["--model_name=iris", "--model_id=org/m"],
                    resource=GPU,
                ),
            ),
            labels={"serving.kserve.io/inferenceservice": "iris"},
        ),
        "kserve-huggingface",
        "org/m",
        8080,
        "kserve-container",
        NVIDIA,
        served="iris",
    ),
    "KServe: scikit-learn": Serving(
        Workload(
            KSERVE + "config/runtimes/kserve-sklearnserver.yaml",
            pod(
                container(
                    "kserve-container",
                    "kserve/sklearnserver:v0.16",
                    ["--model_name=iris", "--model_dir=/mnt/models", "--http_port=8080"],
                ),
                initContainers=[initializer("gs://kfserving-examples/models/sklearn/1.0/model")],
            ),
            pod_labels=ISVC,
        ),
        "kserve-sklearn",
        "iris",
        8080,
        "kserve-container",
        model_source="gs://kfserving-examples/models/sklearn/1.0/model",
    ),
    **{
        f"KServe: {name}": Serving(
            Workload(
                KSERVE + f"config/runtimes/kserve-{server}.yaml",
                pod(
                    container(
                        "kserve-container",
                        f"kserve/{server}:v0.16",
                        ["--model_name=iris", "--model_dir=/mnt/models"],
                    )
                ),
            ),
            f"kserve-{name}",
            "iris",
            8080,
            "kserve-container",
        )
        for name, server in (
            ("xgboost", "xgbserver"),
            ("lightgbm", "lgbserver"),
            ("pmml", "pmmlserver"),
            ("paddle", "paddleserver"),
        )
    },
    "KServe: a server of one's own": Serving(
        Workload(
            KSERVE + "docs/samples/v1beta1/custom",
            pod(
                container("kserve-container", "acme/model:1", command=["python", "-m", "model"]),
                QUEUE_PROXY,
            ),
            pod_labels=ISVC,
        ),
        "custom",
        "iris",
        8000,
        "kserve-container",
    ),
}
