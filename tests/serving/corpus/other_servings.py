"""Servings of other models, and of unknown servers."""

from __future__ import annotations

from tests.serving.corpus.workload import (
    GKE,
    GPU,
    KSERVE,
    NVIDIA,
    Serving,
    Workload,
    container,
    pod,
)

OTHER_SERVINGS: dict[str, Serving] = {
    "TEI": Serving(
        Workload(
            "https://huggingface.co/docs/text-embeddings-inference",
            pod(
                container(
                    "tei",
                    "ghcr.io/huggingface/text-embeddings-inference:cpu-1.7",
                    ["--model-id", "BAAI/bge-m3", "--port", "8080"],
                )
            ),
        ),
        "tei",
        "BAAI/bge-m3",
        8080,
        "tei",
    ),
    "Triton": Serving(
        Workload(
            GKE + "gke-online-serving-single-gpu/src/gke-config/deployment-triton.yaml",
            pod(
                container(
                    "triton",
                    "nvcr.io/nvidia/tritonserver:24.08-py3",
                    ["tritonserver", "--model-repository=gs://bucket/models"],
                    ports=[("grpc", 8001), ("http-triton", 8000), ("metrics", 8002)],
                    resource=GPU,
                )
            ),
        ),
        "triton",
        "gs://bucket/models",
        8000,
        "triton",
        NVIDIA,
    ),
    "Infinity": Serving(
        Workload(
            "https://github.com/michaelfeil/infinity",
            pod(container("infinity", "michaelf34/infinity:0.0.76", ["v2", "--model-id", "org/m"])),
        ),
        "infinity",
        "org/m",
        7997,
        "infinity",
    ),
    "TF Serving": Serving(
        Workload(
            GKE + "gke-online-serving-single-gpu/src/gke-config/deployment-tfserve.yaml",
            pod(
                container(
                    "tfserve-server",
                    "tensorflow/serving:2.13.1-gpu",
                    [
                        "--model_name=$MODEL_NAME",
                        "--model_base_path=/data/$MODEL_NAME",
                        "--rest_api_port=8000",
                    ],
                    ["tensorflow_model_server"],
                    {"MODEL_NAME": "mnist"},
                    [("http", 8000), ("grpc", 8500)],
                    GPU,
                )
            ),
        ),
        "tensorflow-serving",
        "mnist",
        8000,
        "tfserve-server",
        NVIDIA,
    ),
    "TF Serving: image": Serving(
        Workload(
            "https://www.tensorflow.org/tfx/serving/docker",
            pod(container("serving", "tensorflow/serving", env={"MODEL_NAME": "half_plus_two"})),
        ),
        "tensorflow-serving",
        "half_plus_two",
        8501,
        "serving",
    ),
    "TF Serving: gRPC only": Serving(
        Workload(
            "https://www.tensorflow.org/tfx/serving/serving_kubernetes",
            pod(
                container(
                    "resnet",
                    "gcr.io/acme/resnet-serving",
                    [
                        "-c",
                        "tensorflow_model_server --port=8500 --model_name=resnet "
                        "--model_base_path=/models/resnet",
                    ],
                    ["/bin/sh"],
                    ports=[8500],
                )
            ),
        ),
        "tensorflow-serving",
        "resnet",
        8500,
        "resnet",
        is_grpc=True,
    ),
    "OVMS": Serving(
        Workload(
            KSERVE + "config/runtimes/kserve-openvino.yaml",
            pod(
                container(
                    "ovms",
                    "openvino/model_server:2025.0",
                    [
                        "--model_name=iris",
                        "--model_path=/models/iris",
                        "--port=9000",
                        "--rest_port=8080",
                    ],
                )
            ),
        ),
        "openvino",
        "iris",
        8080,
        "ovms",
    ),
    "TorchServe": Serving(
        Workload(
            "https://github.com/pytorch/serve/blob/master/kubernetes/Helm/templates/torchserve.yaml",
            pod(
                container(
                    "torchserve",
                    "pytorch/torchserve:latest-gpu",
                    [
                        "torchserve",
                        "--start",
                        "--model-store",
                        "/models",
                        "--models",
                        "mnist=mnist.mar",
                    ],
                    ports=[("preds", 8080), ("mdl-mgmt", 8081), ("metrics", 8082)],
                    resource=GPU,
                )
            ),
        ),
        "torchserve",
        "mnist",
        8080,
        "torchserve",
        NVIDIA,
    ),
    "MLServer": Serving(
        Workload(
            KSERVE + "config/runtimes/kserve-mlserver.yaml",
            pod(
                container(
                    "kserve-container",
                    "docker.io/seldonio/mlserver:1.5.0",
                    env={
                        "MLSERVER_MODEL_NAME": "iris",
                        "MLSERVER_HTTP_PORT": "8085",
                        "MLSERVER_GRPC_PORT": "9000",
                    },
                )
            ),
        ),
        "mlserver",
        "iris",
        8085,
        "kserve-container",
    ),
    "Xinference": Serving(
        Workload(
            "https://github.com/xorbitsai/xinference-helm-charts",
            pod(
                container(
                    "supervisor",
                    "xprobe/xinference:v1.2.0",
                    ["--host", "0.0.0.0", "--port", "9999"],
                    ["xinference-supervisor"],
                    ports=[("web", 9997), ("oscar", 9999)],
                )
            ),
        ),
        "xinference",
        "",
        9999,
        "supervisor",
    ),
    "BentoML": Serving(
        Workload(
            "https://docs.bentoml.com/en/latest/get-started/packaging-for-deployment.html",
            pod(
                container(
                    "main",
                    "registry/summarization:abc",
                    command=["/bin/sh", "-c"],
                    args=["cd src && exec bentoml serve --production ."],
                    env={"PORT": "3001"},
                    ports=[("http", 3001)],
                )
            ),
        ),
        "bentoml",
        "",
        3001,
        "main",
    ),
    "Ray Serve": Serving(
        Workload(
            "https://docs.ray.io/en/latest/serve/llm/index.html",
            pod(
                container(
                    "serve",
                    "rayproject/ray-llm:2.46.0-py311-cu124",
                    command=["serve", "run", "/config/serve.yaml"],
                    ports=[("gcs", 6379), ("serve", 8000)],
                    resource=GPU,
                )
            ),
        ),
        "ray-serve",
        "",
        8000,
        "serve",
        NVIDIA,
    ),
    "JetStream": Serving(
        Workload(
            GKE + "llm-serving-gemma/jetstream/pytorch",
            pod(
                container(
                    "jetstream-http",
                    "cloud-tpu-images/inference/jetstream-http:v0.2.3",
                    ports=[8000],
                ),
                container(
                    "jetstream-pytorch-server",
                    "us-docker.pkg.dev/cloud-tpu-images/inference/jetstream-pytorch-server:v0.2.4",
                    ["--model_id=google/gemma-7b-it"],
                    ports=[9000],
                    resource="google.com/tpu",
                    count=8,
                ),
            ),
        ),
        "jetstream",
        "google/gemma-7b-it",
        9000,
        "jetstream-pytorch-server",
        ("Google TPU", 8),
        is_grpc=True,
    ),
    "an unknown server with an accelerator": Serving(
        Workload(
            GKE + "maxdiffusion-tpu/serve_sdxl_v5e.yaml",
            pod(
                container(
                    "serve",
                    "registry/gke-llm/max-diffusion:latest",
                    env={"MODEL_NAME": "stable_diffusion"},
                    ports=[("http", 8000)],
                    resource="google.com/tpu",
                )
            ),
        ),
        "custom",
        "stable_diffusion",
        8000,
        "serve",
        ("Google TPU", 1),
    ),
    "an unknown server whose command line says its port": Serving(
        Workload(
            "https://github.com/vllm-project/aibrix/tree/main/samples",
            pod(
                container(
                    "xdit-dev",
                    "aibrix/xdit-dev:customized-v1",
                    command=[
                        "sh",
                        "-c",
                        "python3 entrypoints/launch.py --model_path /models/sd3 --port 6000",
                    ],
                    resource=GPU,
                )
            ),
        ),
        "custom",
        "/models/sd3",
        6000,
        "xdit-dev",
        NVIDIA,
    ),
    "adopted, of unknown kind": Serving(
        Workload(
            "https://github.com/sgl-project/sglang",
            pod(
                container(
                    "main",
                    "lmsysorg/sglang:v0.5",
                    ["--port", "30001"],
                    ["python3", "-m", "sglang.launch_server", "--model-path", "org/m"],
                )
            ),
            labels={"servedeck.dev/serving": "x", "servedeck.dev/template": "custom"},
        ),
        "sglang",
        "org/m",
        30001,
        "main",
    ),
}
