from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import servedeck
from servedeck.serving.spec.templates import TEMPLATES
from servedeck.serving.spec.templates.arguments import find_flag, flag_value, parse_flags
from tests.serving.spec.test_validation import furiosa_spec, vllm_spec


def test_vllm_s_command_line() -> None:
    spec = vllm_spec(
        accelerator_count=2,
        inference_port=9000,
        settings={
            "tensor_parallel_size": 2,
            "dtype": "half",
            "max_model_len": "8k",
            "quantization": "awq",
            "additional_arguments": "--enforce-eager --max-num-seqs 4",
        },
    )
    assert list(spec.template_definition.command) == ["vllm", "serve"]
    assert spec.template_definition.build_args(spec) == [
        "org/model",
        "--port=9000",
        "--tensor-parallel-size=2",
        "--dtype=half",
        "--max-model-len=8k",
        "--quantization=awq",
        "--gpu-memory-utilization=0.9",
        "--enforce-eager",
        "--max-num-seqs",
        "4",
    ]


def test_the_utilization_is_always_written_and_what_the_model_decides_is_not() -> None:
    spec = vllm_spec()
    assert spec.template_definition.build_args(spec) == [
        "org/model",
        "--port=8000",
        "--tensor-parallel-size=1",
        "--gpu-memory-utilization=0.9",
    ]


def test_furiosa_llm_s_command_line_has_no_flag_of_vllm() -> None:
    spec = furiosa_spec(settings={"max_model_len": 4096, "pipeline_parallel_size": 2})
    assert spec.template_definition.command == ()
    assert spec.template_definition.build_args(spec) == [
        "serve",
        "org/model",
        "--port=8000",
        "--max-model-len=4096",
        "--pipeline-parallel-size=2",
    ]


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (["vllm", "serve", "m", "--port", "9000", "-tp", "2", "--x", "y"], []),
        (["vllm", "serve"], ["m", "--port=9000", "-tp=2", "--x", "y"]),
        ([], ["--model", "m", "--port", "9000", "--tensor_parallel_size", "2", "--x", "y"]),
        ([], ["vllm", "serve", "m", "--port=9000", "--tensor-parallel-size=2", "--x", "y"]),
        (
            ["/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"],
            ["--model=m", "--x", "y", "--port=9000", "--tensor-parallel-size=2"],
        ),
    ],
)
def test_vllm_is_read_however_it_was_written(command: list[str], args: list[str]) -> None:
    read = TEMPLATES["vllm"].parse_command(command, args)
    assert read
    override, settings, port = read
    assert (override, port) == ((), 9000)
    assert settings["model"] == "m"
    assert settings["tensor_parallel_size"] == 2
    assert settings["additional_arguments"] == ("--x", "y")


def test_a_value_that_no_field_can_hold_stays_an_argument() -> None:
    read = TEMPLATES["vllm"].parse_command([], ["m", "--dtype=int3", "--port=x"])
    assert read
    assert read[1]["dtype"] == "auto"
    assert read[1]["additional_arguments"] == ("--dtype=int3", "--port=x")
    assert read[2] is None


def test_furiosa_llm_is_read_with_its_program_written_out() -> None:
    read = TEMPLATES["furiosa-llm"].parse_command(
        ["furiosa-llm", "serve", "m", "-dp", "2", "--a"], []
    )
    assert read
    assert read[0] == ()
    assert read[1]["data_parallel_size"] == 2
    assert read[1]["additional_arguments"] == ("--a",)


@pytest.mark.parametrize("template", ["vllm", "furiosa-llm"])
def test_what_cannot_be_expressed_is_not_read(template: str) -> None:
    assert TEMPLATES[template].parse_command(["sh", "-c", "vllm serve m"], []) is None
    assert TEMPLATES[template].parse_command([], []) is None


def test_flags_in_each_spelling() -> None:
    flags = parse_flags(["a", "--f", "1", "--g=2", "--f=3", "-x", "--f"], {"--f": "f", "--g": "g"})
    assert flags == ({"f": "3", "g": "2"}, ("a", "-x", "--f"))
    assert parse_flags(["--f", "-1"], {"--f": "f"}).values == {"f": "-1"}
    assert parse_flags(["--f", "-q"], {"--f": "f"}) == ({}, ("--f", "-q"))
    assert parse_flags(["--", "--f", "1"], {"--f": "f"}) == ({}, ("--", "--f", "1"))
    assert flag_value(["-pp", "2"], "--pipeline-parallel-size", "-pp") == "2"
    assert find_flag(["--a_b=1"], "--a-b") == "--a_b"


def test_templates_describe_their_fields_for_the_form() -> None:
    for template in TEMPLATES.values():
        assert template.label
        assert template.help
        for field in template.fields:
            assert field.label
            assert field.help
            assert field.parse(field.format(field.default)) == field.default


def test_a_fourth_template_is_one_new_file(tmp_path: Path) -> None:
    package = tmp_path / "servedeck"
    shutil.copytree(Path(servedeck.__file__).parent, package)
    (package / "serving/spec/templates/mine.py").write_text(
        "from servedeck.serving.spec.templates.custom import Custom\n"
        "class Mine(Custom):\n    id = 'mine'\n    label = 'Mine'\n    order = 9\n"
        "TEMPLATE = Mine()\n"
    )
    code = (
        "from servedeck.serving.spec.templates import TEMPLATES\n"
        "from servedeck.serving.objects import import_objects, manifests\n"
        "from servedeck.serving.spec.spec import ServingSpec\n"
        "spec = ServingSpec(name='a', template='mine', image='i', inference_port=8000, "
        "rollout='surge')\n"
        "assert import_objects.import_objects(manifests.build_manifests(spec)).spec == spec\n"
        "print(list(TEMPLATES))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "['vllm', 'furiosa-llm', 'custom', 'mine']"
