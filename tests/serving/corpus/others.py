"""Workloads that are no servings: routers, caches, benchmarks, web UIs, training, notebooks."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    GKE,
    GPU,
    ISVC,
    KSERVE,
    QUEUE_PROXY,
    STACK,
    Workload,
    container,
    pod,
)

OTHERS: dict[str, Workload] = {
    name: Workload(source, pod(*containers))
    for name, source, *containers in (
        (
            "production-stack: cache server",
            STACK + "deployment-cache-server.yaml",
            container(
                "lmcache-server",
                "lmcache/vllm-openai:latest",
                command=["/opt/venv/bin/lmcache_server", "0.0.0.0", "8080"],
                ports=[8080],
            ),
        ),
        (
            "production-stack: router",
            STACK + "deployment-router.yaml",
            container(
                "router-container",
                "lmcache/lmstack-router:latest",
                ["--host", "0.0.0.0", "--port", "8000", "--service-discovery", "k8s"],
                ports=[8000],
            ),
        ),
        (
            "production-stack: router of the registry",
            STACK + "deployment-router.yaml",
            container(
                "router",
                "ghcr.io/vllm-project/production-stack/router:latest",
                ["--port", "8000"],
                ports=[("router-cport", 8000)],
            ),
        ),
        (
            "production-stack: LoRA controller",
            STACK + "deployment-lora-controller.yaml",
            container("manager", "lmcache/lora-controller:latest", command=["/manager"]),
        ),
        (
            "vLLM router",
            "https://github.com/vllm-project/router",
            container(
                "router", "vllm/vllm-router:latest", ["--policy", "cache_aware"], ports=[8000]
            ),
        ),
        (
            "vLLM bench",
            "https://docs.vllm.ai/en/latest/cli/bench/serve/",
            container(
                "bench",
                "vllm/vllm-openai:v0.10",
                command=["vllm", "bench", "serve", "--model", "org/m"],
                resource=GPU,
            ),
        ),
        (
            "vLLM bench in a shell",
            "https://docs.vllm.ai/en/latest/cli/bench/throughput/",
            container(
                "bench",
                "vllm/vllm-openai:v0.10",
                command=["bash", "-c"],
                args=["sleep 60; vllm bench throughput --model org/m; sleep infinity"],
                resource=GPU,
            ),
        ),
        (
            "benchmark script",
            "https://github.com/vllm-project/vllm/tree/main/benchmarks",
            container(
                "bench",
                "vllm/vllm-openai:v0.10",
                command=["python3", "/benchmarks/benchmark_serving.py", "--model", "org/m"],
            ),
        ),
        (
            "batch of vLLM",
            "https://docs.vllm.ai/en/latest/cli/run-batch/",
            container(
                "batch",
                "vllm/vllm-openai:v0.10",
                resource=GPU,
                command=[
                    "python",
                    "-m",
                    "vllm.entrypoints.openai.run_batch",
                    "--model",
                    "org/m",
                    "-i",
                    "in.jsonl",
                ],
            ),
        ),
        (
            "an idle container for debugging",
            "https://docs.vllm.ai/en/latest/deployment/docker/",
            container(
                "vllm",
                "vllm/vllm-openai:v0.10",
                command=["sleep", "infinity"],
                ports=[8000],
                resource=GPU,
            ),
        ),
        (
            "Ray worker",
            "https://docs.ray.io/en/latest/cluster/kubernetes/",
            container(
                "ray-worker",
                "vllm/vllm-openai:v0.10",
                command=["bash", "-lc", "ray start --address=head:6379 --block"],
                ports=[6379],
                resource=GPU,
            ),
        ),
        (
            "SGLang router",
            "https://docs.sglang.ai/advanced_features/router.html",
            container(
                "router",
                "lmsysorg/sglang:latest",
                ports=[30000],
                command=["python3", "-m", "sglang_router.launch_router", "--port", "30000"],
            ),
        ),
        (
            "SGLang router image",
            "https://github.com/sgl-project/sglang/tree/main/sgl-router",
            container(
                "router",
                "lmsysorg/sgl-router:latest",
                ["--worker-urls", "http://x:30000"],
                ports=[30000],
            ),
        ),
        (
            "SGLang load balancer",
            "https://docs.sglang.ai/advanced_features/pd_disaggregation.html",
            container(
                "lb",
                "lmsysorg/sglang:latest",
                ports=[8000],
                command=["python3", "-m", "sglang.srt.disaggregation.mini_lb"],
            ),
        ),
        (
            "SGLang benchmark",
            "https://docs.sglang.ai/developer_guide/bench_serving.html",
            container(
                "bench",
                "lmsysorg/sglang:latest",
                command=["python3", "-m", "sglang.bench_serving", "--model", "org/m"],
            ),
        ),
        (
            "llm-d endpoint picker",
            KSERVE + "config/llmisvcconfig/config-llm-scheduler.yaml",
            container(
                "main",
                "ghcr.io/llm-d/llm-d-inference-scheduler:v0.3",
                ["--pool-name", "llama", "--grpc-port", "9002"],
                ports=[("grpc", 9002), ("metrics", 9090)],
            ),
        ),
        (
            "Dynamo frontend",
            "https://github.com/ai-dynamo/dynamo",
            container(
                "main",
                "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.5.0",
                command=["python3", "-m", "dynamo.frontend", "--http-port", "8000"],
                ports=[("http", 8000)],
            ),
        ),
        (
            "AIBrix gateway",
            "https://github.com/vllm-project/aibrix/tree/main/config/gateway",
            container("gateway-plugin", "aibrix/gateway-plugins:v0.4", ports=[50052]),
        ),
        (
            "LiteLLM",
            "https://docs.litellm.ai/docs/proxy/deploy",
            container(
                "litellm",
                "ghcr.io/berriai/litellm:main",
                ["--config", "/app/config.yaml"],
                env={"LITELLM_MASTER_KEY": "x"},
                ports=[4000],
            ),
        ),
        (
            "Open WebUI",
            "https://github.com/open-webui/helm-charts",
            container(
                "open-webui",
                "ghcr.io/open-webui/open-webui:ollama",
                env={"OLLAMA_BASE_URL": "http://ollama:11434"},
                ports=[("http", 8080)],
            ),
        ),
        (
            "Ollama web UI",
            "https://github.com/ollama-webui/ollama-webui",
            container("ui", "ghcr.io/ollama-webui/ollama-webui:main", ports=[8080]),
        ),
        (
            "Ollama exporter",
            "https://github.com/frcooper/ollama-exporter",
            container("exporter", "ghcr.io/frcooper/ollama-exporter:latest", ports=[8000]),
        ),
        (
            "Ollama download",
            "https://docs.ollama.com/cli",
            container(
                "pull", "ollama/ollama", ["pull", "llama3"], env={"OLLAMA_HOST": "ollama:11434"}
            ),
        ),
        (
            "Triton client",
            "https://github.com/triton-inference-server/client",
            container(
                "client",
                "nvcr.io/nvidia/tritonserver:24.08-py3-sdk",
                command=["perf_analyzer", "-m", "resnet"],
                resource=GPU,
            ),
        ),
        (
            "an image whose path ends in nim",
            "https://github.com/nim-lang/Nim",
            container("web", "registry.corp/denim/shop:1", ports=[8000]),
        ),
        (
            "NIM operator",
            "https://docs.nvidia.com/nim-operator/latest/",
            container("manager", "nvcr.io/nvidia/cloud-native/k8s-nim-operator:v2", ["--leader"]),
        ),
        (
            "KServe controller",
            KSERVE + "config/manager/manager.yaml",
            container(
                "manager", "kserve/kserve-controller:v0.16", command=["/manager"], ports=[9443]
            ),
        ),
        (
            "KServe InferenceGraph router",
            KSERVE + "cmd/router",
            container(
                "user-container", "kserve/router:v0.16", ["--graph-json", "{}"], ports=[8080]
            ),
        ),
        (
            "training with torchrun",
            "https://docs.pytorch.org/docs/stable/elastic/run.html",
            container(
                "train",
                "pytorch/pytorch:2.8",
                ports=[29500],
                resource=GPU,
                count=8,
                command=["torchrun", "--nproc-per-node", "8", "finetune.py", "--model", "org/m"],
            ),
        ),
        (
            "training with accelerate",
            GKE + "gke-ray/raytrain",
            container(
                "gpu-job",
                "registry/gemma-fine-tuning:v1",
                command=["bash", "-c"],
                args=["accelerate launch --main_process_port 29500 run.py --model_id org/m"],
                env={"MODEL_NAME": "org/m"},
                ports=[29500],
                resource=GPU,
            ),
        ),
        (
            "notebook",
            "https://www.kubeflow.org/docs/components/notebooks/",
            container(
                "notebook",
                "quay.io/jupyter/pytorch-notebook:cuda12",
                env={"NB_PREFIX": "/"},
                ports=[8888],
                resource=GPU,
            ),
        ),
        (
            "notebook with a model",
            "https://jupyter-docker-stacks.readthedocs.io/",
            container(
                "lab",
                "acme/dev:1",
                command=["jupyter", "lab", "--port", "8888"],
                env={"MODEL_ID": "org/m"},
                ports=[8888],
                resource=GPU,
            ),
        ),
        (
            "notebook of an own image with a model",
            "https://www.kubeflow.org/docs/components/notebooks/container-images/",
            container("dev", "acme/dev:1", env={"MODEL_ID": "org/m"}, ports=[8888], resource=GPU),
        ),
        (
            "DCGM exporter",
            "https://github.com/NVIDIA/dcgm-exporter",
            container(
                "exporter",
                "nvcr.io/nvidia/k8s/dcgm-exporter:4.2",
                ports=[("metrics", 9400)],
                resource=GPU,
            ),
        ),
        (
            "stable diffusion web UI",
            "https://github.com/AUTOMATIC1111/stable-diffusion-webui",
            container(
                "sd",
                "goolashe/automatic1111-sd-webui",
                env={"CLI_ARGS": "--api --listen"},
                ports=[7860],
                resource=GPU,
            ),
        ),
        (
            "Gradio page",
            GKE + "gke-ray/rayserve/gradio.yaml",
            container(
                "gradio",
                "google-samples/containers/gke/gradio-app:v1.0.4",
                env={"MODEL_ID": "org/m", "HOST": "http://llm:8000"},
                ports=[7860],
            ),
        ),
        (
            "agent that uses vLLM",
            GKE + "adk-vllm/deploy-agent/deploy-agent.yaml",
            container(
                "adk-agent",
                "docker.pkg.dev/p/adk-repo/adk-agent:latest",
                env={"LLM_MODEL": "hosted_vllm/org/m"},
                ports=[8080],
            ),
        ),
        (
            "model download",
            "https://huggingface.co/docs/huggingface_hub/guides/cli",
            container(
                "copy",
                "vllm/vllm-openai:v0.10",
                command=["sh", "-c"],
                args=["pip install -U huggingface_hub && hf download org/m"],
            ),
        ),
        (
            "quantization",
            GKE + "llm-quantize/llm-compressor-gptq/job.yaml",
            container(
                "llm-compressor",
                "acme/compressor:1",
                command=["python", "main.py"],
                env={"MODEL_ID": "org/m"},
                resource=GPU,
            ),
        ),
        (
            "static files",
            "https://github.com/vercel/serve",
            container("web", "node:22", command=["serve", "-s", "build"], ports=[3000]),
        ),
        (
            "database",
            "https://hub.docker.com/_/redis",
            container("redis", "redis:7", command=["redis-server"], ports=[6379]),
        ),
        (
            "web server in a server's image",
            "https://docs.python.org/3/library/http.server.html",
            container(
                "web",
                "vllm/vllm-openai:v0.10",
                command=["python3", "-m", "http.server"],
                ports=[8000],
            ),
        ),
    )
} | {
    "KServe transformer": Workload(
        KSERVE + "docs/samples/v1beta1/transformer",
        pod(
            container(
                "kserve-container",
                "kserve/image-transformer:v0.16",
                ["--model_name", "iris", "--predictor_host", "iris-predictor"],
            ),
            QUEUE_PROXY,
        ),
        pod_labels={**ISVC, "component": "transformer"},
    ),
}
