"""Images, models and ports of the known servers."""

from __future__ import annotations

import pytest

from servedeck.serving.servers.images import find_image_kind
from servedeck.serving.servers.kinds import KINDS_BY_TEMPLATE
from servedeck.serving.servers.recognition import ContainerFacts, Port, recognize
from servedeck.serving.servers.settings import find_port


@pytest.mark.parametrize(
    ("image", "template"),
    [
        ("vllm/vllm-openai", "vllm"),
        ("registry:5000/team/my-vllm_gpu.v2:1@sha256:0", "vllm"),
        ("quay.io/vllm/other", ""),
        ("acme/novllm", ""),
        ("acme/vllm-metrics-exporter", ""),
        ("nvcr.io/nim/meta/llama", "nim"),
        ("acme/denim/llama", ""),
        ("acme/team/nim", ""),
        ("tensorflow/serving:2.19", "tensorflow-serving"),
        ("acme/serving", ""),
        ("ghcr.io/huggingface/tgi-gaudi", "tgi"),
        ("opea/llm-tgi", ""),
        ("atinoda/text-generation-webui", "text-generation-webui"),
        ("nvcr.io/nvidia/tritonserver:24.08-py3-sdk", ""),
        ("", ""),
    ],
)
def test_names_of_images_are_compared_in_whole_parts(image: str, template: str) -> None:
    kind = find_image_kind(image)
    assert (kind.template if kind else "") == template


def port_of(
    template: str,
    image: str = "x",
    command: str = "",
    ports: tuple[Port, ...] = (),
    **env: str,
) -> int:
    facts = ContainerFacts(image, tuple(command.split()), (), tuple(env.items()), ports)
    assert recognize(facts).kind in (None, KINDS_BY_TEMPLATE[template])
    return find_port(facts, KINDS_BY_TEMPLATE[template]).number


@pytest.mark.parametrize(
    ("template", "command", "env", "port"),
    [
        ("vllm", "vllm serve m", {"VLLM_PORT": "5", "PORT": "6"}, 8000),
        ("vllm", "vllm serve m --port 5 --port=7", {}, 7),
        ("sglang", "python3 -m sglang.launch_server", {}, 30000),
        ("tgi", "text-generation-launcher", {"PORT": "3000"}, 3000),
        ("tgi", "text-generation-launcher -p 81", {"PORT": "3000"}, 81),
        ("tei", "text-embeddings-router --port=81", {}, 81),
        ("ollama", "ollama serve", {"OLLAMA_HOST": "http://0.0.0.0:81"}, 81),
        ("ollama", "ollama serve", {"OLLAMA_HOST": "0.0.0.0"}, 11434),
        ("triton", "tritonserver --http_port=81 --grpc-port 82", {}, 81),
        ("llama.cpp", "llama-server", {"LLAMA_ARG_PORT": "81"}, 81),
        ("lmdeploy", "lmdeploy serve api_server m --server_port 81", {}, 81),
        ("kserve-sklearn", "python -m sklearnserver --http_port=81", {}, 81),
        ("nim", "", {"NIM_HTTP_API_PORT": "81"}, 81),
        ("nim", "", {"NIM_SERVER_PORT": "82", "NIM_HTTP_API_PORT": "81"}, 82),
        ("tensorflow-serving", "tensorflow_model_server --port=81 --rest_api_port=82", {}, 82),
        ("openvino", "ovms --port 81 --rest_port 82", {}, 82),
        ("openvino", "ovms --port 81", {}, 81),
        ("torchserve", "torchserve", {"TS_INFERENCE_ADDRESS": "http://0.0.0.0:81"}, 81),
        ("mlserver", "mlserver start .", {"MLSERVER_HTTP_PORT": "81"}, 81),
        ("xinference", "xinference-local -p 81", {}, 81),
        ("localai", "local-ai run --address=:81", {}, 81),
        ("localai", "local-ai", {"ADDRESS": ":82"}, 82),
        ("bentoml", "bentoml serve .", {"PORT": "81"}, 81),
        ("infinity", "infinity_emb v2 --port 81", {}, 81),
    ],
)
def test_flags_and_variables_of_the_port(
    template: str, command: str, env: dict[str, str], port: int
) -> None:
    assert port_of(template, command=command, **env) == port


def test_declared_ports_say_where_it_listens_if_nothing_else_does() -> None:
    triton = (Port("grpc", 8001), Port("api", 9000), Port("metrics", 8002))
    assert port_of("triton", ports=triton) == 9000
    assert port_of("triton", ports=(*triton, Port("", 8000))) == 8000
    assert port_of("vllm", ports=(Port("dashboard", 8265), Port("", 6379))) == 8000
    assert port_of("tensorflow-serving", image="tensorflow/serving") == 8501
