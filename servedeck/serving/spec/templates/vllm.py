"""vLLM on GPUs: `vllm serve MODEL`, an OpenAI-compatible server.

Flags and defaults as in vLLM 0.33 (vllm/engine/arg_utils.py, vllm/entrypoints/cli/serve.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from servedeck.serving.servers.recognition import find_editable_program
from servedeck.serving.spec.fields import Field, InputKind
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.templates.arguments import flag_value, is_shell_script
from servedeck.serving.spec.templates.base import (
    ADDITIONAL_ARGUMENTS,
    MAX_WORKERS,
    SpecLike,
    SplitCommand,
    Template,
    TemplateSettings,
    additional_arguments,
    validate_additional_arguments,
    validate_model,
)

FLAGS = {
    "--tensor-parallel-size": "tensor_parallel_size",
    "-tp": "tensor_parallel_size",
    "--dtype": "dtype",
    "--max-model-len": "max_model_len",
    "--quantization": "quantization",
    "-q": "quantization",
    "--gpu-memory-utilization": "gpu_memory_utilization",
}
_API_SERVER_MODULE = "vllm.entrypoints.openai.api_server"
_MODEL_LENGTH_PATTERN = re.compile(r"\d+(?:\.\d+)?[kKmMgG]|[1-9]\d*|auto|-1")

_FIELDS = (
    Field(
        "model",
        "Model",
        "Model name or path (e.g., meta-llama/Llama-3.1-8B-Instruct)",
        required=True,
    ),
    Field(
        "tensor_parallel_size",
        "Tensor Parallel Size",
        "Number of GPUs to split the model across",
        InputKind.INTEGER,
        default=1,
    ),
    Field(
        "dtype",
        "Data Type",
        "Numeric representation for model operations; auto follows the model",
        InputKind.CHOICE,
        default="auto",
        choices=("auto", "half", "float16", "bfloat16", "float", "float32"),
    ),
    Field(
        "max_model_len",
        "Max Model Length",
        "Maximum tokens processed (input + output combined): 8192, 8k, auto; "
        "empty for the model's own",
    ),
    Field(
        "quantization",
        "Quantization",
        "Reduce model precision to save memory; empty for the model's own setting. The methods "
        "depend on vLLM's version: another can be entered",
        InputKind.SUGGESTION,
        choices=(
            "awq",
            "awq_marlin",
            "gptq",
            "gptq_marlin",
            "auto_awq",
            "auto_gptq",
            "fp8",
            "fp8_per_tensor",
            "fp8_per_block",
            "fp8_per_channel",
            "fbgemm_fp8",
            "fp_quant",
            "compressed-tensors",
            "modelopt",
            "modelopt_fp4",
            "modelopt_mxfp8",
            "modelopt_mixed",
            "nvfp4_per_token",
            "mxfp4",
            "gpt_oss_mxfp4",
            "mxfp8",
            "deepseek_v4_fp8",
            "experts_int8",
            "int8_per_channel_weight_only",
            "quark",
            "moe_wna16",
            "torchao",
            "inc",
            "humming",
            "online",
        ),
    ),
    Field(
        "gpu_memory_utilization",
        "GPU Memory Utilization",
        "Fraction of GPU memory vLLM will use (0.0–1.0)",
        InputKind.FLOAT,
        default=0.9,
    ),
    replace(ADDITIONAL_ARGUMENTS, help="Enter advanced vLLM settings directly"),
)


LOW_MEMORY_BYTES = 4 * 2**30
"""Bytes of memory below which the form warns. Heuristic: the interpreter, the CUDA libraries and
the buffers for loading weights all use the container's memory."""


class Vllm(Template):
    id = "vllm"
    label = "vLLM"
    help = "OpenAI-compatible server for language models on GPUs"
    order = 1
    image = "vllm/vllm-openai:v0.33.0"
    accelerator = "nvidia.com/gpu"
    fields: ClassVar = _FIELDS
    flags: ClassVar = {**FLAGS, "--model": "model"}
    # the default differs between releases
    unset_values: ClassVar = {"gpu_memory_utilization": None}
    # The image's entry point changed from api_server to `vllm serve` between releases; with an
    # explicit command, every release accepts the model as the first argument.
    command: ClassVar = ("vllm", "serve")
    readiness_path = "/health"
    liveness_path = "/health"
    api_paths: ClassVar = (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/embeddings",
        "/health",
        "/metrics",
    )

    def build_args(self, spec: SpecLike) -> list[str]:
        settings = spec.settings
        args = [str(settings["model"]), f"--port={spec.port}"]
        for flag, name in FLAGS.items():
            value = self.format_argument(name, settings[name])
            if flag.startswith("--") and value is not None:
                args.append(f"{flag}={value}")
        return [*args, *additional_arguments(spec)]

    def format_argument(self, field: str, value: object) -> str | None:
        # dtype auto is the server's default in every release. The default of the memory utilization
        # is not (0.9, then 0.92), so it is always written.
        return (
            None if field == "dtype" and value == "auto" else super().format_argument(field, value)
        )

    def split_command(self, command: Sequence[str], args: Sequence[str]) -> SplitCommand | None:
        words = (*command, *args)
        end = find_editable_program(self.id, self.image, command, args)
        if end:
            program = words[:end]
            is_usual = program == self.command or program[1:] == ("-m", _API_SERVER_MODULE)
            return SplitCommand(() if is_usual else program, end, end)
        if is_shell_script(command, args):
            return None
        return SplitCommand(tuple(command), len(command), len(command))

    def matches(self, image: str, command: Sequence[str], args: Sequence[str]) -> bool:
        return find_editable_program(self.id, image, command, args) is not None

    def propose_shared_memory(self, settings: TemplateSettings, accelerators: int) -> str:
        """Several workers of one server exchange tensors and messages through it
        (NCCL, vllm/distributed/device_communicators/shm_broadcast.py)."""
        size = settings["tensor_parallel_size"]
        tensor = size if isinstance(size, int) and 1 <= size <= MAX_WORKERS else 1
        additional = settings[ADDITIONAL_ARGUMENTS.name]
        stages, copies = _parallel_sizes(additional if isinstance(additional, tuple) else ())
        workers = tensor * stages * copies
        return "512Mi" if workers == 1 else f"{min(workers, MAX_WORKERS)}Gi"

    def validate(self, spec: SpecLike) -> list[Issue]:
        found: list[Issue] = []
        settings = spec.settings
        additional = additional_arguments(spec)
        found += validate_model(spec)
        length = str(settings["max_model_len"])
        if length and not _MODEL_LENGTH_PATTERN.fullmatch(length):
            found.append(
                error(
                    "settings.max_model_len",
                    f"{length!r} is not a number of tokens; enter 8192, 8k or auto, or leave it "
                    f"empty.",
                )
            )
        if any(c.isspace() for c in str(settings["quantization"])):
            found.append(
                error(
                    "settings.quantization", "A method's name must not contain spaces; remove them."
                )
            )
        found += _validate_gpu_memory_utilization(settings["gpu_memory_utilization"])
        found += validate_additional_arguments(spec, self.parsed_flags)
        found += _validate_parallelism(spec, additional)
        if not spec.accelerator and not spec.resource_claims:
            found.append(
                warning(
                    "accelerator",
                    "vLLM's usual images need a GPU; choose an accelerator, or an image for CPUs.",
                )
            )
        elif spec.accelerator.startswith("furiosa.ai/"):
            found.append(
                error(
                    "accelerator",
                    "vLLM does not run on a Furiosa NPU; choose the template furiosa-llm, "
                    "whose server takes other flags, or a GPU.",
                )
            )
        elif spec.memory is not None and spec.memory.value < LOW_MEMORY_BYTES:
            found.append(
                warning(
                    "memory",
                    f"{spec.memory} is low for an inference server, which loads the model through "
                    "memory; 8Gi or more is usual.",
                )
            )
        return found


def _validate_gpu_memory_utilization(value: object) -> list[Issue]:
    path = "settings.gpu_memory_utilization"
    if value is None:  # as in a Deployment not created by servedeck
        return [
            warning(
                path,
                "GPU Memory Utilization is not set, and vLLM's default differs between versions; "
                "enter a fraction such as 0.9.",
            )
        ]
    if not (isinstance(value, float) and 0 < value <= 1):
        return [error(path, f"{value} must be greater than 0 and at most 1, such as 0.9.")]
    return []


def _validate_parallelism(spec: SpecLike, additional: tuple[str, ...]) -> list[Issue]:
    path = "settings.tensor_parallel_size"
    size = spec.settings["tensor_parallel_size"]
    if not isinstance(size, int) or not 1 <= size <= 1024:
        return [error(path, "Tensor Parallel Size must be from 1 to 1024; enter how many GPUs.")]
    stages, copies = _parallel_sizes(additional)
    if spec.resource_claims and not spec.accelerator:
        return []  # how many devices a claim has is not known here
    needed = size * stages * copies
    have = spec.accelerator_count if spec.accelerator else 0
    product = (
        f"Tensor Parallel Size {size}"
        + (f" × pipeline {stages}" if stages > 1 else "")
        + (f" × data {copies}" if copies > 1 else "")
    )
    if needed > max(have, 1) or (needed > 1 and not have):
        return [
            error(
                path,
                f"{product} needs {needed} accelerators and each replica has {have}; "
                f"set Accelerator Count to {needed} or lower the size.",
            )
        ]
    if have > needed:
        return [
            warning(
                path,
                f"{product} uses {needed} of the {have} accelerators of each replica; "
                f"raise the size to {have} or set Accelerator Count to {needed}.",
            )
        ]
    if needed > 1 and spec.accelerator.startswith("nvidia.com/mig-"):
        return [
            warning(
                path,
                "A process sees one MIG slice only, so a model cannot be split across several; "
                "choose whole GPUs or a size of 1.",
            )
        ]
    return []


def _parallel_sizes(additional: tuple[str, ...]) -> tuple[int, int]:
    """Pipeline and data parallel size of the additional arguments."""
    return (
        _parse_parallel_size(flag_value(additional, "--pipeline-parallel-size", "-pp")),
        _parse_parallel_size(flag_value(additional, "--data-parallel-size", "-dp")),
    )


def _parse_parallel_size(text: str | None) -> int:
    if not text or not text.isascii() or not text.isdigit() or len(text) > 9:
        return 1
    return int(text) if 0 < int(text) <= 1024 else 1


TEMPLATE = Vllm()
