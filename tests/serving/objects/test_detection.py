from __future__ import annotations

from typing import Any

import msgspec
import pytest

from servedeck.serving.accelerators import accelerator_display_name, is_accelerator
from servedeck.serving.client_examples import api_paths
from servedeck.serving.objects import detection
from servedeck.serving.objects.records import PodTemplate
from servedeck.serving.servers.kinds import SERVER_KINDS
from tests.serving.factories import deployment

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def server_container(image: str = "acme/server:1", *command: str, **fields: Any) -> dict[str, Any]:
    return {"name": "main", "image": image, "command": list(command), **fields}


def env_vars(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


SERVER_CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "vllm serve": (
        server_container("r.io/x:1", "vllm", "serve", MODEL, "--port", "80"),
        "vllm",
        MODEL,
    ),
    "vllm flag": (server_container("x", "vllm", "serve", "--model", MODEL), "vllm", MODEL),
    "vllm flag with =": (server_container("x", "vllm", "serve", f"--model={MODEL}"), "vllm", MODEL),
    "vllm module": (
        server_container(
            "x", "python3", "-m", "vllm.entrypoints.openai.api_server", "--model", MODEL
        ),
        "vllm",
        MODEL,
    ),
    "vllm image, arguments only": (
        server_container("vllm/vllm-openai:v0.9", args=["--model", MODEL]),
        "vllm",
        MODEL,
    ),
    "vllm image, model first": (
        server_container("vllm/vllm-openai:v0.9", args=[MODEL, "--dtype", "auto"]),
        "vllm",
        MODEL,
    ),
    "vllm by digest": (
        server_container("r.io:5000/vllm/vllm-openai@sha256:0", args=[MODEL]),
        "vllm",
        MODEL,
    ),
    "a shell's script": (
        server_container(
            "x", "/bin/sh", "-c", f"pip list && exec vllm serve \\\n  '{MODEL}' --port 8000"
        ),
        "vllm",
        MODEL,
    ),
    "a script with an open quote": (
        server_container("x", "sh", "-c", f"vllm serve {MODEL} # it's"),
        "vllm",
        MODEL,
    ),
    "a variable of Kubernetes": (
        server_container("x", "vllm", "serve", "$(MODEL)", env=env_vars(MODEL=MODEL)),
        "vllm",
        MODEL,
    ),
    "a variable of the shell": (
        server_container("x", "bash", "-lc", "vllm serve ${MODEL}", env=env_vars(MODEL=MODEL)),
        "vllm",
        MODEL,
    ),
    "furiosa-llm": (
        server_container("furiosaai/furiosa-llm:2026.3.0", args=["serve", "furiosa-ai/Llama"]),
        "furiosa-llm",
        "furiosa-ai/Llama",
    ),
    "furiosa-llm command": (
        server_container("x", "furiosa-llm", "serve", "furiosa-ai/Llama"),
        "furiosa-llm",
        "furiosa-ai/Llama",
    ),
    "sglang": (
        server_container("x", "python", "-m", "sglang.launch_server", "--model-path", MODEL),
        "sglang",
        MODEL,
    ),
    "tgi by environment": (
        server_container(
            "ghcr.io/huggingface/text-generation-inference:3", env=env_vars(MODEL_ID=MODEL)
        ),
        "tgi",
        MODEL,
    ),
    "tgi by flag": (
        server_container("x", "text-generation-launcher", "--model-id", MODEL),
        "tgi",
        MODEL,
    ),
    "triton": (
        server_container(
            "nvcr.io/nvidia/tritonserver:26.01-py3", "tritonserver", "--model-store=/models"
        ),
        "triton",
        "/models",
    ),
    "ollama": (
        server_container("ollama/ollama", env=env_vars(OLLAMA_MODEL="llama3")),
        "ollama",
        "llama3",
    ),
    "llama.cpp": (
        server_container("x", "llama-server", "-m", "/m/a.gguf"),
        "llama.cpp",
        "/m/a.gguf",
    ),
    "tensorrt-llm": (server_container("x", "trtllm-serve", "serve", MODEL), "tensorrt-llm", MODEL),
    "nim": (
        server_container("nvcr.io/nim/meta/llama:1", env=env_vars(NIM_MODEL_NAME="m")),
        "nim",
        "m",
    ),
    "unknown, by a common flag": (
        server_container("x", "serve", "--model-name", "m"),
        "custom",
        "m",
    ),
    "only an alias": (
        server_container("vllm/vllm-openai", args=["--served-model-name", "chat"]),
        "vllm",
        "chat",
    ),
    "a flag without its value": (server_container("x", "vllm", "serve", "--model"), "vllm", ""),
}


@pytest.mark.parametrize("name", SERVER_CASES)
def test_template_and_model(name: str) -> None:
    container, template, model = SERVER_CASES[name]
    given = deployment(container)
    assert (detection.detect_template(given), detection.detect_model(given)) == (template, model)
    assert detection.is_serving(given) == (template != "custom")


def test_requests_name_the_alias() -> None:
    given = deployment(server_container("x", "vllm", "serve", MODEL, "--served-model-name", "chat"))
    assert detection.detect_served_model(given) == "chat"
    assert detection.detect_model(given) == MODEL
    assert (
        detection.detect_served_model(deployment(server_container("x", "vllm", "serve", MODEL)))
        == MODEL
    )


def test_the_label_decides_about_the_template() -> None:
    given = deployment(server_container("acme/llm"), labels={"servedeck.dev/template": "vllm"})
    assert detection.detect_template(given) == "vllm"


def test_an_adopted_serving_keeps_its_server() -> None:
    """Adopting adds the labels, with "custom" where the form has no template for the server."""
    labels = {"servedeck.dev/serving": "llama", "servedeck.dev/template": "custom"}
    given = deployment(server_container("lmsysorg/sglang", args=["--tp", "8"]), labels=labels)
    assert detection.detect_template(given) == "sglang"
    assert detection.detect_port(given) == 30000
    unknown = deployment(server_container("acme/llm"), labels=labels)
    assert detection.detect_template(unknown) == "custom"


@pytest.mark.parametrize(
    "container",
    [
        server_container("nginx:1"),
        server_container("acme/web", "python", "-m", "http.server"),
        server_container("acme/tool", "sh", "-c", "echo vllm serve is not run here"),
        server_container("busybox", args=["--model", "x"]),
    ],
)
def test_other_deployments_are_no_servings(container: dict[str, Any]) -> None:
    assert not detection.is_serving(deployment(container))


@pytest.mark.parametrize(
    "given",
    [
        deployment(server_container("x"), labels={"servedeck.dev/serving": "llama"}),
        deployment(server_container("x") | {"name": "inference-server"}),
        deployment(
            server_container(
                "acme/llm",
                args=["--model", MODEL],
                ports=[{"containerPort": 8000}],
                resources={"limits": {"furiosa.ai/rngd": "1"}},
            )
        ),
    ],
)
def test_a_label_a_containers_name_or_an_accelerated_server_make_a_serving(given: Any) -> None:
    assert detection.is_serving(given)
    assert detection.detect_template(given) == "custom"


def test_managed_requires_both_labels() -> None:
    labels = {"servedeck.dev/serving": "llama", "app.kubernetes.io/managed-by": "servedeck"}
    assert detection.is_managed(deployment(labels=labels))
    assert not detection.is_managed(deployment(labels=dict([*labels.items()][:1])))


def test_the_inference_server_is_distinguished_from_its_transformer() -> None:
    transformer = server_container("vllm/tools", "vllm", "serve", "other") | {"name": "transformer"}
    ours = server_container("acme/llm:7", "vllm", "serve", MODEL) | {"name": "inference-server"}
    given = deployment(transformer, ours)
    assert detection.detect_model(given) == MODEL
    found = detection.find_server_container(given)
    assert found is not None and found.image == "acme/llm:7"
    assert detection.find_server_container(deployment()) is None


@pytest.mark.parametrize(
    ("containers", "found"),
    [
        ([server_container(resources={"limits": {"nvidia.com/gpu": "2"}})], ("nvidia.com/gpu", 2)),
        ([server_container(resources={"requests": {"nvidia.com/gpu": 4}})], ("nvidia.com/gpu", 4)),
        (
            [
                server_container(
                    resources={
                        "limits": {"nvidia.com/gpu": "1", "cpu": "8"},
                        "requests": {"nvidia.com/gpu": "1", "memory": "1Gi"},
                    }
                ),
                server_container(resources={"limits": {"nvidia.com/gpu": "1"}}),
            ],
            ("nvidia.com/gpu", 2),
        ),
        (
            [server_container(resources={"limits": {"nvidia.com/mig-1g.5gb": "1"}})],
            ("nvidia.com/mig-1g.5gb", 1),
        ),
        ([server_container(resources={"limits": {"acme.com/npu": "8"}})], ("acme.com/npu", 8)),
        (
            [
                server_container(
                    resources={"limits": {"deviceclass.resource.kubernetes.io/gpu.acme.com": "2"}}
                )
            ],
            ("deviceclass.resource.kubernetes.io/gpu.acme.com", 2),
        ),
        ([server_container(resources={"limits": {"nvidia.com/gpu": "0"}})], ("", 0)),
        ([server_container(resources={"limits": {"nvidia.com/gpu": "many"}})], ("", 0)),
        ([server_container(resources={"limits": {"cpu": "1", "hugepages-2Mi": "1Gi"}})], ("", 0)),
        ([server_container(resources={"limits": {"rdma/hca": "1"}})], ("", 0)),
    ],
)
def test_accelerators_for_each_replica(
    containers: list[dict[str, Any]], found: tuple[str, int]
) -> None:
    assert detection.detect_accelerator(deployment(*containers)) == found


def test_accelerators_have_names_for_people() -> None:
    assert accelerator_display_name("nvidia.com/gpu") == "NVIDIA GPU"
    assert accelerator_display_name("furiosa.ai/rngd") == "Furiosa RNGD"
    assert accelerator_display_name("nvidia.com/mig-3g.20gb") == "NVIDIA MIG 3g.20gb"
    assert accelerator_display_name("acme.com/npu") == "acme.com/npu"
    assert accelerator_display_name("deviceclass.resource.kubernetes.io/gpu.a.com") == "gpu.a.com"
    assert not is_accelerator("deviceclass.resource.kubernetes.io/nic.acme.com")
    assert accelerator_display_name("huawei.com/Ascend310P-4c.3cpu") == "Huawei Ascend 310P-4c.3cpu"
    assert accelerator_display_name("rebellions.ai/ATOM") == "Rebellions ATOM"
    assert (
        accelerator_display_name("cambricon.com/mlu370.mim-2m.8gb") == "Cambricon mlu370.mim-2m.8gb"
    )
    assert not any(
        is_accelerator(share)
        for share in (
            "huawei.com/Ascend910B3-memory",
            "huawei.com/Ascend910B3-core",
            "hygon.com/dcumem",
            "hygon.com/dcucores",
            "enflame.com/gcu-memory",
            "cambricon.com/mlu.smlu.vmemory",
            "amd.com/gpu-memory",
            "nvidia.com/gpumem",
        )
    )
    assert not is_accelerator("cpu")
    assert not is_accelerator("example.kubernetes.io/gpu")


@pytest.mark.parametrize(
    ("container", "port"),
    [
        (server_container(ports=[{"containerPort": 9000}]), 9000),
        (
            server_container(ports=[{"containerPort": 9}, {"name": "http", "containerPort": 8080}]),
            8080,
        ),
        (server_container("x", "vllm", "serve", MODEL, "--port", "7000"), 7000),
        (server_container("x", "vllm", "serve", MODEL, "--port", "99999999999"), 8000),
        (server_container(), 8000),
    ],
)
def test_the_port_that_the_server_listens_on(container: dict[str, Any], port: int) -> None:
    assert detection.detect_port(deployment(container)) == port


def test_every_engine_has_paths() -> None:
    for kind in SERVER_KINDS:
        assert kind.is_grpc or api_paths(kind.template) != ("/",), kind.template
        assert kind.source
    assert api_paths("custom") == ("/",)


@pytest.mark.parametrize(
    ("labels", "owners", "owner"),
    [
        ({}, [], ""),
        ({}, [("LLMInferenceService", "llama", True)], "LLMInferenceService llama"),
        ({}, [("DynamoComponentDeployment", "d", True)], "DynamoComponentDeployment d"),
        ({}, [("Application", "a", False)], ""),
        ({"serving.kserve.io/inferenceservice": "iris"}, [], "InferenceService iris"),
        (
            {"serving.kserve.io/inferenceservice": "iris"},
            [("Revision", "iris-predictor-00001", True)],
            "InferenceService iris",
        ),
    ],
)
def test_the_object_that_manages_the_deployment(
    labels: dict[str, str], owners: list[tuple[str, str, bool]], owner: str
) -> None:
    references = [
        {"kind": kind, "name": name, "controller": is_controller}
        for kind, name, is_controller in owners
    ]
    given = deployment(server_container(), labels=labels, ownerReferences=references)
    assert detection.detect_owner(given) == owner


def test_several_claims_are_counted() -> None:
    container = server_container(resources={"claims": [{"name": "a"}, {"name": "b"}]})
    claims = [{"name": "a", "resourceClaimName": "gpu-0"}, {"name": "b"}, {"name": "unused"}]
    template = msgspec.convert(
        {"spec": {"containers": [container], "resourceClaims": claims}}, PodTemplate
    )
    assert detection.detect_accelerators(template) == ("resource claim", "", 2)
    one = msgspec.convert(
        {"spec": {"containers": [container], "resourceClaims": claims[:1]}}, PodTemplate
    )
    assert detection.detect_accelerators(one) == ("resource claim gpu-0", "", 1)


def test_the_inference_service_that_owns_the_deployment_names_its_model() -> None:
    references = [{"kind": "InferenceService", "name": "iris", "controller": True}]
    server = server_container("acme/model", "python", "-m", "model") | {"name": "kserve-container"}
    assert detection.detect_served_model(deployment(server, ownerReferences=references)) == "iris"
    references[0]["controller"] = False
    assert detection.detect_served_model(deployment(server, ownerReferences=references)) == ""


@pytest.mark.parametrize(
    ("command", "source"),
    [
        (["sh", "-c", "aws s3 sync s3://models/m /models/m"], "s3://models/m"),
        (["gsutil", "-m", "cp", "-r", "gs://models/m", "/models"], "gs://models/m"),
        (["huggingface-cli", "download", "org/m", "--local-dir", "/models/m"], "hf://org/m"),
        (["hf", "download", "--local-dir=/models/m", "org/m"], "hf://org/m"),
        (["hf", "download", "$MODEL"], ""),
        (["hf", "upload", "org/m"], ""),
        (["sh", "-c", "chown -R 1000 /models"], ""),
    ],
)
def test_the_source_of_a_model_is_what_an_init_container_downloads(
    command: list[str], source: str
) -> None:
    init = {"name": "download", "image": "x", "command": command}

    def find(model: str, **more: Any) -> str:
        pod = {
            "containers": [server_container("vllm/vllm-openai", "vllm", "serve", model)],
            "initContainers": [{**init, **more}],
        }
        template = msgspec.convert({"spec": pod}, PodTemplate)
        return detection.detect_server({}, template).model_source

    assert find("/models/m") == source
    assert find("org/m") == ""  # the server loads it itself
    assert find("/models/m", restartPolicy="Always") == ""
