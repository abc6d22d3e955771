"""Servings on devices of further vendors, and those of speech, images and embeddings."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    GPU,
    NVIDIA,
    Json,
    Serving,
    Workload,
    container,
    pod,
)

_GITHUB = "https://github.com/"
_VLLM_KINDS: dict[str, tuple[str, str, str]] = {
    "Tenstorrent": (
        _GITHUB + "tenstorrent/tt-k8s-device-plugin",
        "tenstorrent.com/n150",
        "Tenstorrent n150",
    ),
    "Rebellions, REBEL": (
        "https://docs.rbln.ai/latest/software/system_management/kubernetes/npu_operator.html",
        "rebellions.ai/REBEL",
        "Rebellions REBEL",
    ),
    "IBM Spyre": (_GITHUB + "ibm-aiu/spyre-operator", "ibm.com/spyre_pf", "IBM Spyre"),
    "Ascend of a CCE cluster": (
        _GITHUB + "vllm-project/vllm-ascend/tree/main/tests/e2e/nightly/multi_node",
        "huawei.com/ascend-1980",
        "Huawei Ascend 1980",
    ),
    "Ascend shared by HAMi": (
        "https://project-hami.io/docs/userguide/ascend-device/enable-ascend-sharing",
        "huawei.com/Ascend910B3",
        "Huawei Ascend 910B3",
    ),
    "Hygon": (
        "https://project-hami.io/docs/userguide/hygon-device/enable-hygon-dcu-sharing",
        "hygon.com/dcunum",
        "Hygon DCU",
    ),
    "Enflame": (
        "https://project-hami.io/docs/userguide/enflame-device/enable-enflame-gcu-sharing",
        "enflame.com/gcu",
        "Enflame GCU",
    ),
    "a partition of an AMD GPU": (
        "https://instinct.docs.amd.com/projects/k8s-device-plugin/en/latest/",
        "amd.com/cpx_nps4",
        "AMD GPU cpx_nps4",
    ),
    "Gaudi": ("https://docs.habana.ai/en/latest/", "habana.ai/gaudi", "Intel Gaudi"),
    "Neuron": (
        "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/libraries/nxd-inference/",
        "aws.amazon.com/neuroncore",
        "AWS Neuron core",
    ),
}


def _on(resource: str) -> Json:
    return container("vllm", "acme/llm:1", ["org/m"], ["vllm", "serve"], resource=resource, count=2)


def _serving(
    source: str,
    template: str,
    model: str,
    port: int,
    main: Json,
    *,
    accelerator: tuple[str, int] = NVIDIA,
    served: str = "",
    is_grpc: bool = False,
    exported: str = "",
) -> Serving:
    return Serving(
        Workload(source, pod(main)),
        template,
        model,
        port,
        main["name"],
        accelerator,
        exported,
        served,
        is_grpc=is_grpc,
    )


DEVICE_SERVINGS: dict[str, Serving] = {
    **{
        f"vLLM on {name}": _serving(
            source, "vllm", "org/m", 8000, _on(resource), accelerator=(shown, 2)
        )
        for name, (source, resource, shown) in _VLLM_KINDS.items()
    },
    "vLLM: OPEA on Gaudi": _serving(
        _GITHUB + "opea-project/GenAIInfra/tree/main/helm-charts/common/vllm",
        "vllm",
        "org/m",
        2080,
        container(
            "vllm",
            "opea/vllm-gaudi:1.3",
            ["--model", "$(LLM_MODEL)", "--host", "0.0.0.0", "--port", "2080"],
            env={"LLM_MODEL": "org/m"},
            ports=[("http", 2080)],
            resource="habana.ai/gaudi",
        ),
        accelerator=("Intel Gaudi", 1),
    ),
    "vLLM: IPEX-LLM": _serving(
        _GITHUB + "intel/ipex-llm/tree/main/docker/llm/serving/xpu",
        "vllm",
        "/llm/m",
        8001,
        container(
            "server",
            "intelanalytics/ipex-llm-serving-xpu:2.2",
            [
                "python -m ipex_llm.vllm.xpu.entrypoints.openai.api_server "
                "--served-model-name chat --port 8001 --model /llm/m"
            ],
            ["bash", "-c"],
            resource="gpu.intel.com/xe",
        ),
        accelerator=("Intel GPU", 1),
        served="chat",
        exported="custom",
    ),
    "TensorRT-LLM: leader of Triton": _serving(
        _GITHUB + "triton-inference-server/tutorials/tree/main/Deployment/Kubernetes",
        "triton",
        "",
        8000,
        container(
            "triton",
            "nvcr.io/nvidia/tritonserver:24.11-trtllm-python-py3",
            ["./server.py", "leader", "--triton_model_repo_dir=$REPO", "--dt=0"],
            ["python3"],
            ports=[8000, 8001, 8002],
            resource=GPU,
        ),
    ),
    "llama.cpp: RamaLama": _serving(
        _GITHUB + "containers/ramalama/blob/main/docs/ramalama-serve.1.md",
        "llama.cpp",
        "/mnt/model.file",
        8081,
        container(
            "model-server",
            "quay.io/ramalama/ramalama:0.9",
            ["llama-server", "--port", "8081", "--model", "/mnt/model.file", "--alias", "granite"],
            ["/usr/libexec/ramalama/ramalama-serve-core"],
            ports=[8081],
            resource=GPU,
        ),
        served="granite",
    ),
    "llama.cpp: RamaLama, without a path": _serving(
        _GITHUB + "containers/ramalama",
        "llama.cpp",
        "/mnt/model.file",
        8081,
        container(
            "model-server",
            "quay.io/ramalama/rocm:0.6",
            ["llama-server", "--port", "8081", "--model", "/mnt/model.file"],
            ["ramalama-serve-core"],
            resource="amd.com/gpu",
        ),
        accelerator=("AMD GPU", 1),
    ),
    "llama-cpp-python": _serving(
        _GITHUB + "abetlen/llama-cpp-python/tree/main/docker",
        "llama-cpp-python",
        "/models/m.gguf",
        8000,
        container(
            "server",
            "ghcr.io/abetlen/llama-cpp-python:v0.3.4",
            env={"MODEL": "/models/m.gguf"},
            resource=GPU,
        ),
    ),
    "llama-cpp-python: its module": _serving(
        _GITHUB + "abetlen/llama-cpp-python",
        "llama-cpp-python",
        "/models/m.gguf",
        8010,
        container(
            "server",
            "acme/llm:1",
            ["--model", "/models/m.gguf", "--model_alias", "chat", "--port", "8010"],
            ["python3", "-m", "llama_cpp.server"],
            resource=GPU,
        ),
        served="chat",
    ),
    "Kokoro": _serving(
        _GITHUB + "remsky/Kokoro-FastAPI",
        "kokoro",
        "",
        8880,
        container("tts", "ghcr.io/remsky/kokoro-fastapi-gpu:v0.2.4", resource=GPU),
    ),
    "openedai-speech": _serving(
        _GITHUB + "matatonic/openedai-speech",
        "openedai-speech",
        "",
        8000,
        container("tts", "ghcr.io/matatonic/openedai-speech:0.18", resource=GPU),
    ),
    "Riva": _serving(
        "https://docs.nvidia.com/deeplearning/riva/user-guide/docs/installation/deploy-kubernetes",
        "riva",
        "",
        50051,
        container(
            "riva-speech-api",
            "nvcr.io/nvidia/riva/riva-speech:2.19.0",
            ["start-riva --riva-uri=0.0.0.0:50051 --asr_service=true"],
            ["/bin/sh", "-c"],
            ports=[("speech-grpc", 50051), ("http", 8000)],
            resource=GPU,
        ),
        is_grpc=True,
    ),
    "stable-diffusion.cpp": _serving(
        _GITHUB + "leejet/stable-diffusion.cpp/tree/master/examples/server",
        "stable-diffusion.cpp",
        "/models/flux.gguf",
        1234,
        container(
            "server",
            "ghcr.io/leejet/stable-diffusion.cpp:master-cuda",
            ["--diffusion-model", "/models/flux.gguf", "--listen-ip", "0.0.0.0"],
            ["/sd-server"],
            resource=GPU,
        ),
    ),
    "Weaviate's embeddings": _serving(
        "https://docs.weaviate.io/weaviate/model-providers/transformers",
        "weaviate-transformers",
        "",
        8080,
        container(
            "inference",
            "cr.weaviate.io/semitechnologies/transformers-inference:baai-bge-m3-onnx",
            env={"ENABLE_CUDA": "1"},
            resource=GPU,
        ),
    ),
    "CLIP as a service": _serving(
        "https://clip-as-service.jina.ai/",
        "clip-server",
        "",
        51000,
        container("clip", "jinaai/clip-server:0.8.3", resource=GPU),
        is_grpc=True,
    ),
    "Roboflow": _serving(
        _GITHUB + "roboflow/inference",
        "roboflow-inference",
        "",
        9001,
        container("inference", "roboflow/roboflow-inference-server-gpu:1.2", resource=GPU),
    ),
    "NIM: embeddings": _serving(
        "https://docs.nvidia.com/nim/nemo-retriever/text-embedding/latest/",
        "nim",
        "nvidia/nv-embedqa-e5-v5",
        8000,
        container(
            "nim",
            "nvcr.io/nim/nvidia/nv-embedqa-e5-v5:1.10",
            ports=[("http-openai", 8000)],
            resource=GPU,
        ),
    ),
    "NIM: speech": _serving(
        "https://docs.nvidia.com/nim/speech/latest/",
        "nim",
        "nvidia/parakeet-1-1b-ctc-en-us",
        9000,
        container(
            "nim",
            "nvcr.io/nim/nvidia/parakeet-1-1b-ctc-en-us:1.3",
            env={"NIM_HTTP_API_PORT": "9000", "NIM_GRPC_API_PORT": "50051"},
            ports=[9000, 50051],
            resource=GPU,
        ),
    ),
}
