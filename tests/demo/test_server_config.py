"""What a container runs, as its command and arguments say."""

from __future__ import annotations

import pytest

from servedeck.demo.workloads import failure_simulation, server_config
from servedeck.demo.workloads.model_sizes import find_model


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (["vllm", "serve"], ["Qwen/Qwen3-8B", "-tp", "2", "--max-model-len=8k"]),
        (
            None,
            ["--model", "Qwen/Qwen3-8B", "--tensor-parallel-size", "2", "--max-model-len", "8000"],
        ),
        (["sh", "-c", "exec vllm serve Qwen/Qwen3-8B \\\n -tp 2 --max-model-len 8000"], None),
        (
            ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            ["--model=Qwen/Qwen3-8B", "--tensor_parallel_size", "2", "--max-model-len", "8000"],
        ),
    ],
)
def test_command_and_arguments_are_read_as_the_server_reads_them(
    command: list[str] | None, args: list[str] | None
) -> None:
    container = {"image": "vllm/vllm-openai:v0.33.0", "command": command, "args": args}
    found = server_config.parse_container(container, {})
    assert (found.usage_error, found.missing_program) == ("", "")
    assert (found.engine, found.version) == ("vllm", "0.33.0")
    assert (found.model_name, found.tp, found.max_model_len) == ("Qwen/Qwen3-8B", 2, 8000)


@pytest.mark.parametrize(
    ("name", "exists"),
    [("Qwen/Qwen3-14B", True), ("/models/mine", True), ("Qwen/Nope", False), ("acme/x-7B", False)],
)
def test_models_exist_or_not(name: str, exists: bool) -> None:
    assert (find_model(name) is not None) is exists


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("3m20s", 200), ("1h", 3600), ("", None), (None, None), ("soon", None)],
)
def test_durations_of_annotations(text: str | None, seconds: float | None) -> None:
    assert failure_simulation.parse_duration(text) == seconds
