"""The servings of the demo scenario."""

# ruff: noqa: E501 - a table of servings

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from servedeck.demo.workloads import failure_simulation
from servedeck.serving.spec.rollouts import RECREATE

GPU = "nvidia.com/gpu"
NPU = "furiosa.ai/rngd"
H100, A100, L40S = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB", "NVIDIA-L40S"
VLLM_IMAGE = "vllm/vllm-openai:v0.33.0"
OLDER_VLLM_IMAGE = "vllm/vllm-openai:v0.32.1"
FURIOSA_IMAGE = "furiosaai/furiosa-llm:2026.4.0"


@dataclass(frozen=True)
class DemoServing:
    """One serving. `uses_hf_token`: its container gets HF_TOKEN from a Secret of the namespace."""

    namespace: str
    name: str
    model: str
    age_days: float
    """Days since its creation."""
    template: str = "vllm"
    command: tuple[str, ...] = ()
    """Of a custom server; the other templates have their own."""
    args: tuple[str, ...] = ()
    image: str = VLLM_IMAGE
    resource: str = GPU
    count: int = 1
    memory: str = "48Gi"
    cpu: str = "8"
    replicas: int = 1
    product: str = ""
    uses_hf_token: bool = False
    requests_per_second: float = 1.0
    description: str = ""
    load_replicas: int = 0
    """How many replicas its load is meant for; 0: `replicas`."""
    load_swing: str = ""
    """How often the load rises and falls again, from the opening of the demo on: "10m"."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    managed: bool = True
    rollout: str = "maxSurge 25%, maxUnavailable 25%"
    """The default of Kubernetes, with which most Deployments were made."""

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


SERVINGS: tuple[DemoServing, ...] = (
    DemoServing(
        "chat", "llama-31-8b", "meta-llama/Llama-3.1-8B-Instruct", 12.4, replicas=3, uses_hf_token=True,
        args=("--max-model-len", "32768", "--gpu-memory-utilization", "0.9"), product=H100, requests_per_second=4.2,
        image=OLDER_VLLM_IMAGE, description="General chat behind the help desk", load_replicas=2, load_swing="12m",
        annotations={failure_simulation.SLOWDOWN_ANNOTATION: "0.27"},
    ),
    DemoServing(
        "chat", "llama-33-70b", "meta-llama/Llama-3.3-70B-Instruct", 9.1, replicas=2, uses_hf_token=True,
        args=("--tensor-parallel-size", "4", "--max-model-len", "65536", "--gpu-memory-utilization", "0.92"),
        count=4, memory="192Gi", cpu="16", product=H100, requests_per_second=1.6,
        annotations={failure_simulation.SLOWDOWN_ANNOTATION: "3", failure_simulation.FAILING_ANNOTATION: "0.25"},
        description="Long answers and summaries",
    ),
    DemoServing(
        "chat", "exaone-40-32b", "LGAI-EXAONE/EXAONE-4.0-32B", 5.8, replicas=3,
        args=("--tensor-parallel-size", "2", "--max-model-len", "32768", "--gpu-memory-utilization", "0.9"),
        count=2, memory="96Gi", product=A100, requests_per_second=0.9, description="Korean chat",
    ),
    DemoServing(
        "search", "bge-m3", "BAAI/bge-m3", 20.2, replicas=2, memory="16Gi", cpu="4", product=L40S,
        args=("--runner", "pooling", "--max-model-len", "8192"), requests_per_second=6.5,
        description="Embeddings for the document index",
    ),
    DemoServing(
        "search", "qwen3-embedding-8b", "Qwen/Qwen3-Embedding-8B", 0.021, memory="6Gi", product=L40S,
        args=("--runner", "pooling", "--max-model-len", "16384"), requests_per_second=2.0,
        description="Trial of a larger embedding model", rollout=RECREATE,
    ),
    DemoServing(
        "vision", "qwen25-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct", 0.012, product=L40S,
        image="vllm/vllm-openai:v0.33.O", args=("--max-model-len", "16384"), requests_per_second=0.8,
        description="Reads invoices", rollout=RECREATE,
    ),
    DemoServing(
        "vision", "gemma-3-12b", "google/gemma-3-12b-it", 0.016, product=H100,
        args=("--max-model-len", "16384"), requests_per_second=0.7, description="Captions for the catalog",
    ),
    DemoServing(
        "vision", "table-ocr", "", 7.3, "custom", command=("/app/server",), args=("--workers", "4"),
        image="registry.acme.example/vision/table-ocr:2.4.1", resource="", count=0, memory="8Gi", cpu="4", replicas=2,
        requests_per_second=1.2, description="Tables of scanned pages, without accelerators",
    ),
    DemoServing(
        "agents", "qwen3-32b-awq", "Qwen/Qwen3-32B-AWQ", 0.0013, product=L40S, requests_per_second=1.4,
        args=("--quantization", "awq", "--max-model-len", "16384", "--gpu-memory-utilization", "0.9"),
        annotations={failure_simulation.LOADING_TIME_ANNOTATION: "3m20s"}, description="Tool calls of the agents", rollout=RECREATE,
    ),
    DemoServing(
        "agents", "mistral-small-24b", "mistralai/Mistral-Small-3.2-24B-Instruct-2506", 0.018,
        args=("--tensor-parallel-size", "8", "--max-model-len", "65536"), count=8, memory="128Gi",
        product=A100, requests_per_second=1.0, description="Router of the agents",
    ),
    DemoServing(
        "agents", "gpt-oss-20b", "openai/gpt-oss-20b", 3.3, replicas=0, product=H100,
        args=("--max-model-len", "65536",), requests_per_second=1.1, description="Runs in the evenings only",
    ),
    DemoServing(
        "npu-lab", "exaone-35-78b", "furiosa-ai/EXAONE-3.5-7.8B-Instruct", 6.6, "furiosa-llm",
        image=FURIOSA_IMAGE, resource=NPU, replicas=2, memory="100Gi", cpu="10", requests_per_second=1.9,
        description="First serving on RNGD",
    ),
    DemoServing(
        "npu-lab", "llama-31-8b", "furiosa-ai/Llama-3.1-8B-Instruct", 0.008, "furiosa-llm",
        image=FURIOSA_IMAGE, resource=NPU, memory="100Gi", cpu="10", uses_hf_token=True, requests_per_second=0.9,
        description="Compared with the same model on GPUs", rollout=RECREATE,
    ),
    DemoServing(
        "research", "llama-32-3b", "meta-llama/Llama-3.2-3B-Instruct", 0.9, replicas=3, uses_hf_token=True,
        memory="24Gi", cpu="4", product=L40S, args=("--max-model-len", "8192",), requests_per_second=0.5,
        description="Experiments with drafts",
    ),
    DemoServing(
        "research", "mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3", 31.0, uses_hf_token=True,
        memory="32Gi", cpu="4", args=("--max-model-len", "16384",), image=OLDER_VLLM_IMAGE, requests_per_second=0.4,
        managed=False,
    ),
)  # fmt: skip
