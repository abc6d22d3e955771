from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.spec import validation
from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.spec import ServingSpec


def vllm_spec(**changes: Any) -> ServingSpec:
    given = {
        "name": "llm",
        "namespace": "team-a",
        "template": "vllm",
        "image": "vllm/vllm-openai:v0.33.0",
        "memory": "16Gi",
        "accelerator": "nvidia.com/gpu",
        **changes,
    }
    given["settings"] = {"model": "org/model", **given.get("settings", {})}
    return ServingSpec.model_validate(given)


def furiosa_spec(**changes: Any) -> ServingSpec:
    share = {"cpu": "10", "memory": "100Gi", "accelerator": "furiosa.ai/rngd"}
    return vllm_spec(**{"template": "furiosa-llm", "image": "f/f", **share, **changes})


def issues_by_field(spec: ServingSpec) -> dict[str, Issue]:
    return {one.field: one for one in validation.validate(spec)}


def test_good_servings_have_no_problems() -> None:
    assert validation.validate(vllm_spec()) == []
    assert validation.validate(furiosa_spec()) == []


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": "My_LLM"}, "name", "lowercase"),
        ({"name": ""}, "name", "missing"),
        ({"namespace": ""}, "namespace", "choose the namespace"),
        ({"description": "x" * 2001}, "description", "2001 characters"),
        ({"description": "a\0b"}, "description", "NUL"),
        ({"image": ""}, "image", "image is missing"),
        ({"image": "a b"}, "image", "spaces"),
        ({"cpu": "0"}, "cpu", "more than 0"),
        ({"cpu": "-1"}, "cpu", "more than 0"),
        ({"cpu": "0.0001"}, "cpu", "finer than 1m"),
        ({"cpu": "1G"}, "cpu", "more cores"),
        ({"memory": "16"}, "memory", "less than a container"),
        ({"memory": "100000000.5"}, "memory", "whole number of bytes"),
        ({"memory": "2Ei"}, "memory", "more memory"),
        ({"memory": "512Mi"}, "memory", "/dev/shm (dshm)"),
        ({"memory_limit": "64000000000.5"}, "memory_limit", "whole number of bytes"),
        ({"memory_limit": "2Ei"}, "memory_limit", "more memory"),
        ({"accelerator": "gpu"}, "accelerator", "not a resource name"),
        ({"accelerator_count": 0}, "accelerator_count", "from 1 to"),
        ({"replicas": -1}, "replicas", "0 or more"),
        ({"replicas": 100000000000}, "replicas", "at most 2147483647 replicas"),
        ({"inference_port": 0}, "inference_port", "1 to 65535"),
        ({"inference_port": 65536}, "inference_port", "1 to 65535"),
        ({"command": ["a\0"]}, "command", "NUL"),
        ({"command": [""]}, "command", "first word"),
        ({"command": ["x" * 140_000]}, "command", "128 KiB"),
        ({"readiness_path": "health"}, "readiness_path", "enter /health."),
        ({"startup_seconds": 5}, "startup_seconds", "from 10 to 86400 seconds"),
        ({"startup_seconds": 86405}, "startup_seconds", "from 10 to 86400 seconds"),
        ({"startup_seconds": 61}, "startup_seconds", "a multiple of 5"),
        (
            {"startup_seconds": 60, "readiness_path": "", "liveness_path": ""},
            "startup_seconds",
            "or clear the Start-up Time",
        ),
        ({"liveness_path": "/a b"}, "liveness_path", "spaces"),
        ({"settings": {"quantization": "a\0"}}, "settings.quantization", "NUL"),
        (
            {"settings": {"additional_arguments": ["--a", "\0"]}},
            "settings.additional_arguments",
            "NUL",
        ),
        ({"settings": {"model": ""}}, "settings.model", "model is missing"),
        ({"settings": {"model": "--x"}}, "settings.model", "hyphen"),
        ({"settings": {"max_model_len": "many"}}, "settings.max_model_len", "8192, 8k or auto"),
        (
            {"settings": {"gpu_memory_utilization": 0}},
            "settings.gpu_memory_utilization",
            "greater than 0",
        ),
        (
            {"settings": {"gpu_memory_utilization": 1.1}},
            "settings.gpu_memory_utilization",
            "at most 1",
        ),
        (
            {"settings": {"additional_arguments": "--tensor_parallel_size 4"}},
            "settings.additional_arguments",
            "--tensor_parallel_size has a field of its own",
        ),
        (
            {"settings": {"additional_arguments": "--foo -q=awq"}},
            "settings.additional_arguments",
            "-q has a field",
        ),
        (
            {"settings": {"tensor_parallel_size": 0}},
            "settings.tensor_parallel_size",
            "1 to 1024",
        ),
        (
            {"settings": {"tensor_parallel_size": 4}, "accelerator_count": 2},
            "settings.tensor_parallel_size",
            "Tensor Parallel Size 4 needs 4 accelerators and each replica has 2; "
            "set Accelerator Count to 4",
        ),
        (
            {"settings": {"additional_arguments": "-pp 2"}},
            "settings.tensor_parallel_size",
            "× pipeline 2 needs 2 accelerators and each replica has 1",
        ),
        (
            {"settings": {"tensor_parallel_size": 2}, "accelerator": ""},
            "settings.tensor_parallel_size",
            "each replica has 0",
        ),
        ({"accelerator": "furiosa.ai/rngd"}, "accelerator", "choose the template furiosa-llm"),
    ],
)
def test_an_invalid_value_is_an_error_with_its_fix(
    change: dict[str, Any], field: str, words: str
) -> None:
    problem = issues_by_field(vllm_spec(**change))[field]
    assert problem.is_error
    assert words in problem.message
    assert problem.message.endswith(".")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": "7b"}, "name", "before Kubernetes 1.36"),
        ({"memory": "1Gi"}, "memory", "8Gi or more is usual"),
        (
            {"settings": {"gpu_memory_utilization": ""}},
            "settings.gpu_memory_utilization",
            "differs between versions",
        ),
        ({"accelerator_count": 4}, "settings.tensor_parallel_size", "uses 1 of the 4"),
        ({"accelerator": ""}, "accelerator", "need a GPU"),
        (
            {
                "accelerator": "nvidia.com/mig-1g.10gb",
                "accelerator_count": 2,
                "settings": {"tensor_parallel_size": 2},
            },
            "settings.tensor_parallel_size",
            "MIG",
        ),
        ({"env": [{"name": "HF_TOKEN", "value": "x"}]}, "env.0.value", "take it from a Secret"),
        (
            {"env": [{"name": "HF_HOME", "value": "x"}]},
            "env.0.name",
            "overrides servedeck's /model-cache",
        ),
    ],
)
def test_a_doubtful_value_is_a_warning(change: dict[str, Any], field: str, words: str) -> None:
    problem = issues_by_field(vllm_spec(**change))[field]
    assert not problem.is_error
    assert words in problem.message


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"accelerator": "nvidia.com/gpu"}, "accelerator", "template vllm for GPUs"),
        ({"accelerator": ""}, "accelerator", "choose furiosa.ai/rngd"),
        (
            {"settings": {"additional_arguments": "--gpu-memory-utilization=0.5"}},
            "settings.additional_arguments",
            "does not support --gpu-memory-utilization",
        ),
        (
            {"settings": {"additional_arguments": "--tensor-parallel-size 8"}},
            "settings.additional_arguments",
            "fixed when it is built",
        ),
        (
            {"settings": {"additional_arguments": "--port 1"}},
            "settings.additional_arguments",
            "field of its own",
        ),
        ({"settings": {"max_model_len": 0}}, "settings.max_model_len", "below 1"),
    ],
)
def test_furiosa_llm_takes_other_flags(change: dict[str, Any], field: str, words: str) -> None:
    problem = issues_by_field(furiosa_spec(**change))[field]
    assert problem.is_error
    assert words in problem.message


def test_each_rngd_card_wants_its_share_of_cpu_and_memory() -> None:
    got = issues_by_field(furiosa_spec(accelerator_count=2))
    assert "enter 20 for 2" in got["cpu"].message
    assert "enter 200Gi" in got["memory"].message
    assert not got["cpu"].is_error


def volumes_at(*paths: str) -> dict[str, Any]:
    return {"volumes": [{"pvc": "data", "mount_path": path} for path in paths]}


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (volumes_at(""), "volumes.0.mount_path", "missing"),
        (volumes_at("data"), "volumes.0.mount_path", "not absolute"),
        (volumes_at("/a:b"), "volumes.0.mount_path", "':'"),
        (volumes_at("/a/../b"), "volumes.0.mount_path", "'..'"),
        (volumes_at("/"), "volumes.0.mount_path", "system directory"),
        (volumes_at("/proc/"), "volumes.0.mount_path", "system directory"),
        (volumes_at("/dev/shm/"), "volumes.0.mount_path", "used by dshm"),
        (volumes_at("//model-cache/"), "volumes.0.mount_path", "used by model-cache"),
        (volumes_at("/a", "/b", "/a/"), "volumes.2.mount_path", "/a is already used by data"),
        ({"volumes": [{"pvc": "A_b", "mount_path": "/a"}]}, "volumes.0.pvc", "lowercase"),
    ],
)
def test_volumes_do_not_collide(change: dict[str, Any], field: str, words: str) -> None:
    problem = issues_by_field(vllm_spec(**change))[field]
    assert problem.is_error
    assert words in problem.message


@pytest.mark.parametrize("where", ["env", "transformer"])
@pytest.mark.parametrize(
    ("variables", "field", "words"),
    [
        ([{"name": "1A"}], "env.0.name", "start with a digit"),
        ([{"name": "A"}, {"name": "B"}, {"name": "A"}], "env.2.name", "already set in row 1"),
        ([{"name": "A", "value": "a\0"}], "env.0.value", "NUL"),
        ([{"name": "A", "value": "x" * 140_000}], "env.0.value", "128 KiB"),
        ([{"name": "A", "secret": {"name": "", "key": "k"}}], "env.0.secret.name", "missing"),
        ([{"name": "A", "secret": {"name": "s", "key": "k/"}}], "env.0.secret.key", "letters"),
        (
            [{"name": "A", "config_map": {"name": "B", "key": "k"}}],
            "env.0.config_map.name",
            "lowercase",
        ),
        (
            [{"name": "A", "value": "x", "secret": {"name": "s", "key": "k"}}],
            "env.0",
            "a value and a source",
        ),
    ],
)
def test_environment(where: str, variables: list[Any], field: str, words: str) -> None:
    if where == "env":
        spec = vllm_spec(env=variables)
    else:
        spec = vllm_spec(transformer={"image": "t", "env": variables})
        field = f"transformer.{field}"
    problem = issues_by_field(spec)[field]
    assert problem.is_error
    assert words in problem.message


@pytest.mark.parametrize(
    ("transformer", "field", "words"),
    [
        ({"image": ""}, "transformer.image", "for no transformer"),
        ({"image": "t", "port": 8000}, "transformer.port", "Port 8000 is the inference server's"),
        ({"image": "t", "port": 0}, "transformer.port", "1 to 65535"),
        (
            {"image": "t", "cpu": "0"},
            "transformer.cpu",
            "The transformer's CPU must be more than 0",
        ),
        ({"image": "t", "cpu": "0.0001"}, "transformer.cpu", "finer than 1m"),
        ({"image": "t", "cpu": "1G"}, "transformer.cpu", "more cores"),
        ({"image": "t", "memory": "16"}, "transformer.memory", "less than a container"),
        ({"image": "t", "memory": "100000000.5"}, "transformer.memory", "whole number of bytes"),
        ({"image": "t", "memory": "2Ei"}, "transformer.memory", "more memory"),
        (
            {"image": "t", "env": [{"name": "PREDICTOR_URL", "value": "x"}]},
            "transformer.env.0.name",
            "always contains",
        ),
    ],
)
def test_transformer(transformer: dict[str, Any], field: str, words: str) -> None:
    problem = issues_by_field(vllm_spec(transformer=transformer))[field]
    assert problem.is_error
    assert words in problem.message
