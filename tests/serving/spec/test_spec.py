from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from servedeck.serving.spec.spec import FIELDS, Section, ServingSpec, parse_spec
from servedeck.serving.spec.templates import TEMPLATES
from servedeck.serving.spec.types import Quantity


def test_the_default_values_of_the_form() -> None:
    defaults = {name: field.default for name, field in FIELDS.items()}
    assert (defaults["cpu"], defaults["memory"], defaults["accelerator"]) == ("0.5", "1Gi", "")
    assert defaults["accelerator_count"] == defaults["replicas"] == 1
    assert defaults["inference_port"] == 8000


def test_what_is_not_given_is_not_set() -> None:
    spec = ServingSpec(name="a", template="vllm")
    assert (spec.cpu, spec.memory, spec.accelerator) == (None, None, "")
    assert (spec.accelerator_count, spec.replicas, spec.inference_port) == (1, 1, None)
    assert (spec.image, spec.description, spec.command, spec.env, spec.volumes) == (
        "",
        "",
        (),
        (),
        (),
    )
    assert spec.transformer is None
    assert spec.settings == {
        "model": "",
        "tensor_parallel_size": 1,
        "dtype": "auto",
        "max_model_len": "",
        "quantization": "",
        "gpu_memory_utilization": 0.9,
        "additional_arguments": (),
    }


def test_the_templates_are_found_in_the_order_of_the_form() -> None:
    assert list(TEMPLATES) == ["vllm", "furiosa-llm", "custom"]


@pytest.mark.parametrize(("one", "other"), [("500m", "0.5"), ("1Gi", "1024Mi"), ("2", "2000m")])
def test_quantities_are_compared_by_value(one: str, other: str) -> None:
    assert Quantity(one) == Quantity(other)
    assert hash(Quantity(one)) == hash(Quantity(other))
    assert str(Quantity(one)) == one


def test_text_as_it_is_typed_is_read() -> None:
    spec, found = parse_spec(
        {
            "name": " llm ",
            "template": "vllm",
            "acceleratorCount": "2",
            "accelerator": "nvidia.com/gpu",
            "cpu": "500m",
            "replicas": "3",
            "command": "sh -c 'echo hi'",
            "settings": {"tensorParallelSize": "2", "dtype": "BFloat16"},
            "volumes": [{"pvc": "c", "mountPath": "/d", "readOnly": "true"}],
        }
    )
    assert not found and spec
    assert (spec.name, spec.replicas, spec.accelerator_count) == ("llm", 3, 2)
    assert spec.command == ("sh", "-c", "echo hi")
    assert spec.settings["tensor_parallel_size"] == 2
    assert spec.settings["dtype"] == "bfloat16"
    assert spec.volumes[0].read_only


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": None}, "", ""),
        ({"template": "tgi"}, "template", "no template 'tgi'; choose vllm, furiosa-llm or custom"),
        ({"template": ""}, "template", "Choose a template"),
        ({"cpu": "lots"}, "cpu", "'lots' is not a quantity: enter a number such as 0.5, 500m or 8"),
        ({"memory": "big"}, "memory", "enter a number such as 512Mi, 1Gi or 64Gi"),
        ({"memory": []}, "memory", "must be text"),
        ({"replicas": "1.5"}, "replicas", "'1.5' is not a whole number"),
        ({"replicas": ""}, "replicas", "missing"),
        ({"replicas": "٣"}, "replicas", "not a whole number"),
        ({"replicas": True}, "replicas", "not a whole number"),
        ({"command": "echo 'hi"}, "command", "quotation mark is not closed"),
        ({"settings": {"dtype": "int3"}}, "settings.dtype", "choose auto, half"),
        ({"settings": {"tensor_parallel_size": "x"}}, "settings.tensor_parallel_size", "whole"),
        ({"settings": {"gpu_memory_utilization": "nan"}}, "settings.gpu_memory_utilization", "0.9"),
        ({"settings": {"temperature": "1"}}, "settings.temperature", "no such setting"),
        ({"settings": []}, "settings", "mapping"),
        ({"volumes": "x"}, "volumes", "list"),
        ({"volumes": ["x"]}, "volumes.0", "mapping"),
        ({"volumes": [{"pvc": "c"}]}, "volumes.0.mount_path", "missing"),
        ({"env": [{"name": "A", "value": []}]}, "env.0.value", "text"),
        ({"transformer": {"image": "i", "port": "x"}}, "transformer.port", "whole number"),
        ({"transformerr": {}}, "transformerr", "no such field"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(
    change: dict[str, Any], field: str, words: str
) -> None:
    spec, found = parse_spec({"name": "a", "template": "vllm", **change})
    if not field:
        assert spec and spec.name == ""
        return
    assert spec is None
    assert [one.field for one in found] == [field]
    assert words in found[0].message
    assert found[0].message.endswith(".")


def test_all_broken_fields_are_named_at_once() -> None:
    _, found = parse_spec(
        {
            "template": "vllm",
            "cpu": "x",
            "settings": {"dtype": "x", "tensor_parallel_size": "y"},
            "env": [{"value": "x"}],
        }
    )
    assert {one.field for one in found} == {
        "name",
        "cpu",
        "settings.dtype",
        "settings.tensor_parallel_size",
        "env.0.name",
    }


def test_values_equal_to_the_default_are_normalized() -> None:
    spec = ServingSpec.model_validate(
        {
            "name": "a",
            "template": "vllm",
            "accelerator": "None",
            "accelerator_count": 4,
            "command": ["vllm", "serve"],
            "readiness_path": "/health",
            "model_cache_path": "/model-cache",
            "env": [{"name": "HF_HOME", "value": "/model-cache"}],
        }
    )
    assert spec == ServingSpec(name="a", template="vllm")
    mine = spec.replace(env=[{"name": "HF_HOME", "value": "/models"}])
    assert [one.value for one in mine.env] == ["/models"]


def test_a_variable_of_the_model_cache_stays_until_its_path_is_known() -> None:
    env = [{"name": "HF_HOME", "value": "/model-cache"}]
    spec = ServingSpec.model_validate({"name": "a", "template": "custom", "env": env})
    assert len(spec.env) == len(spec.replace(replicas=2).env) == 1
    assert "model_cache_path" not in spec.replace(replicas=2).model_fields_set
    assert spec.replace(model_cache_path="/data").env == spec.env
    assert spec.replace(model_cache_path="").env == spec.without_system_env().env == ()


def test_a_spec_is_immutable() -> None:
    spec = ServingSpec(name="a", template="custom")
    with pytest.raises(ValidationError):
        spec.name = "b"
    assert spec.replace(replicas="2").replicas == 2
    with pytest.raises(ValidationError):
        spec.replace(replicas="x")


def test_the_form_has_the_labels_of_the_product_specification() -> None:
    common = {one.label for one in FIELDS.values()}
    assert common >= {
        *("Service Name", "Description", "Service Template", "Image", "CPU", "Memory"),
        *("Accelerator", "Accelerator Count", "Replicas", "Inference Port", "Command Override"),
    }
    assert {one.label for one in TEMPLATES["vllm"].fields} == {
        *("Model", "Tensor Parallel Size", "Data Type", "Max Model Length", "Quantization"),
        *("GPU Memory Utilization", "Additional Arguments"),
    }
    assert {str(section) for section in Section} >= {
        *("Basic Information", "Data Volumes", "Advanced Settings", "Environment Variables"),
        "Transformer",
    }
