"""The logs of simulated crashes are recognized as what the simulation made them."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.workloads import furiosa_log, vllm_crash_log
from servedeck.demo.workloads.failure_simulation import FailureCause, InstancePlan
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.request_load import RequestLoad
from servedeck.demo.workloads.server_config import parse_container
from servedeck.demo.workloads.traffic import TrafficShare
from servedeck.serving.status.log_errors import CAUSE_LINES, find_log_error
from tests.demo.cluster_fixture import START

VLLM_CAUSES = {
    FailureCause.USAGE: ("unknown-argument", "does not know the arguments --max-length 8"),
    FailureCause.NO_MODEL: (
        "model-not-found",
        "cannot find the model Qwen/Qwen3-8B on the Hugging Face Hub, or may not see it",
    ),
    FailureCause.GATED: (
        "gated-model",
        "may not read the gated model Qwen/Qwen3-8B: it sent no token that has access",
    ),
    FailureCause.WORLD_SIZE: ("too-few-gpus", "wants 2 GPUs, but its Pod has 1"),
    FailureCause.NO_DEVICE: ("no-gpu", "found no GPU"),
    FailureCause.DEVICE_MEMORY: ("cuda-out-of-memory", "ran out of GPU memory: tried to allocate"),
    FailureCause.KV_CACHE: ("model-length-over-kv-cache", "needs "),
    FailureCause.DEVICE_ERROR: (
        "cuda-error",
        "stopped with a CUDA error: an illegal memory access was encountered",
    ),
}
FURIOSA_CAUSES = {
    FailureCause.USAGE: "unknown-argument",
    FailureCause.NO_MODEL: "model-not-found",
    FailureCause.GATED: "gated-model",
    FailureCause.NO_DEVICE: "npu-not-usable",
    FailureCause.DEVICE_MEMORY: "npu-out-of-memory",
    FailureCause.KV_CACHE: "npu-out-of-memory",
}
WITHOUT_LINES = {
    *(FailureCause.NONE, FailureCause.NO_PROGRAM, FailureCause.MEMORY_LIMIT, FailureCause.LEAK),
}
"""The container never started, or the kernel killed it."""


def crashed(cause: FailureCause, image: str, command: list[str]) -> SimulatedInstance:
    container: dict[str, Any] = {
        "image": image,
        "command": command,
        "args": ["Qwen/Qwen3-8B", "--max-length", "8", "--tensor-parallel-size", "2"],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    server = parse_container(container, {})
    plan = InstancePlan(None, 10.0, 1, "Error", cause)
    share = TrafficShare(RequestLoad(0.0, "seed"))
    return SimulatedInstance(
        *("lab", "llm-1", "uid", "inference-server", 0, START), server, plan, share
    )


def test_each_cause_that_writes_lines_is_expected_here() -> None:
    assert set(FailureCause) == VLLM_CAUSES.keys() | WITHOUT_LINES


@pytest.mark.parametrize("cause", VLLM_CAUSES)
def test_a_crash_of_vllm_is_recognized(cause: FailureCause) -> None:
    instance = crashed(cause, "vllm/vllm-openai:v0.33.0", ["vllm", "serve"])
    lines = [line.text for line in vllm_crash_log.crash_lines(instance, 10.0)]
    assert len(lines) < CAUSE_LINES
    found = find_log_error(lines)
    assert found is not None
    id_, text = VLLM_CAUSES[cause]
    assert found.error.id == id_
    assert found.text.startswith(text)


@pytest.mark.parametrize("cause", FURIOSA_CAUSES)
def test_a_crash_of_furiosa_llm_is_recognized(cause: FailureCause) -> None:
    instance = crashed(cause, "furiosaai/furiosa-llm:2026.4.0", ["furiosa-llm", "serve"])
    lines = [line.text for line in furiosa_log.crash_lines(instance, 10.0)]
    found = find_log_error(lines)
    assert found is not None
    assert found.error.id == FURIOSA_CAUSES[cause]
