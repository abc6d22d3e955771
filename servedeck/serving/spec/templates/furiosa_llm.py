"""Furiosa-LLM on RNGD cards: `furiosa-llm serve MODEL`, an OpenAI-compatible server.

Flags as in furiosa-llm 2026.4 (cli/serve.py); the Pod as in the vendor's guide "Deploying
Furiosa-LLM on Kubernetes". A model's parallelism over a card's cores, its data type and its
quantization are set when the model is built, so `serve` has no such flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import Any, ClassVar

from servedeck.serving.servers.recognition import find_editable_program
from servedeck.serving.spec.fields import Field, InputKind
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.templates.arguments import find_flag, is_shell_script
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

RNGD = "furiosa.ai/rngd"
CPU_PER_CARD = Fraction(10)
MEMORY_PER_CARD = Fraction(100 * 2**30)

FLAGS = {
    "--max-model-len": "max_model_len",
    "--pipeline-parallel-size": "pipeline_parallel_size",
    "-pp": "pipeline_parallel_size",
    "--data-parallel-size": "data_parallel_size",
    "-dp": "data_parallel_size",
}
_UNSUPPORTED_FLAGS = {
    "--tensor-parallel-size": "how a model is split is fixed when it is built",
    "-tp": "how a model is split is fixed when it is built",
    "--dtype": "the data type is fixed when the model is built",
    "--quantization": "the quantization is fixed when the model is built",
    "-q": "the quantization is fixed when the model is built",
    "--gpu-memory-utilization": "it applies to GPUs",
}

_FIELDS = (
    Field(
        "model",
        "Model",
        "Model name or path of a built model (e.g., furiosa-ai/Llama-3.1-8B-Instruct-FP8)",
        required=True,
    ),
    Field(
        "max_model_len",
        "Max Model Length",
        "Maximum tokens processed, at most what the model was built for; empty for that maximum",
        InputKind.INTEGER,
        default=None,
    ),
    Field(
        "pipeline_parallel_size",
        "Pipeline Parallel Size",
        "Number of stages that the model's layers are spread over; empty for the server's choice",
        InputKind.INTEGER,
        default=None,
    ),
    Field(
        "data_parallel_size",
        "Data Parallel Size",
        "Number of copies of the model in each replica; empty for the server's choice",
        InputKind.INTEGER,
        default=None,
    ),
    ADDITIONAL_ARGUMENTS,
)


class FuriosaLlm(Template):
    id = "furiosa-llm"
    label = "Furiosa-LLM"
    help = "OpenAI-compatible server for language models on Furiosa RNGD"
    order = 2
    image = "furiosaai/furiosa-llm:2026.3.0"
    accelerator = RNGD
    fields: ClassVar = _FIELDS
    flags: ClassVar = FLAGS
    readiness_path = "/health"
    liveness_path = "/health"
    api_paths: ClassVar = (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/embeddings",
        "/v1/responses",
        "/health",
        "/metrics",
    )
    security_context: ClassVar[Mapping[str, Any]] = {
        # The runtime's default seccomp profile does not allow the driver's system calls.
        "seccompProfile": {"type": "Unconfined"},
        "capabilities": {"drop": ["ALL"]},
    }

    def build_args(self, spec: SpecLike) -> list[str]:
        args = ["serve", str(spec.settings["model"]), f"--port={spec.port}"]
        for flag, name in FLAGS.items():
            value = spec.settings[name]
            if flag.startswith("--") and value is not None:
                args.append(f"{flag}={value}")
        return [*args, *additional_arguments(spec)]

    def split_command(self, command: Sequence[str], args: Sequence[str]) -> SplitCommand | None:
        words = (*command, *args)
        end = find_editable_program(self.id, self.image, command, args)
        if end:
            program = words[: end - 1]  # without "serve"
            is_usual = program == ("furiosa-llm",)
            return SplitCommand(() if is_usual else program, len(program), end)
        # the image's entry point, or a program of the operator's own before "serve"
        length = len(command)
        if words[length : length + 1] != ("serve",) or is_shell_script(command, args):
            return None
        return SplitCommand(tuple(command), length, length + 1)

    def matches(self, image: str, command: Sequence[str], args: Sequence[str]) -> bool:
        return find_editable_program(self.id, image, command, args) is not None

    def propose_shared_memory(self, settings: TemplateSettings, accelerators: int) -> str:
        sizes = (settings[one] for one in ("pipeline_parallel_size", "data_parallel_size"))
        parts = prod(one for one in sizes if isinstance(one, int) and one > 0)
        workers = max(parts, accelerators)
        return "512Mi" if workers <= 1 else f"{min(workers, MAX_WORKERS)}Gi"

    def validate(self, spec: SpecLike) -> list[Issue]:
        found = validate_model(spec)
        for name in ("max_model_len", "pipeline_parallel_size", "data_parallel_size"):
            value = spec.settings[name]
            if isinstance(value, int) and value < 1:
                found.append(
                    error(f"settings.{name}", f"{value} is below 1; enter more, or leave it empty.")
                )
        found += self._validate_arguments(spec)
        if spec.resource_claims and not spec.accelerator:
            return found  # a claim may be for cards
        if not spec.accelerator.startswith("furiosa.ai/"):
            found.append(
                error(
                    "accelerator",
                    f"Furiosa-LLM runs on Furiosa RNGD only; choose {RNGD}, "
                    "or the template vllm for GPUs.",
                )
            )
        else:
            found += _validate_resources_per_card(spec)
        return found

    def _validate_arguments(self, spec: SpecLike) -> list[Issue]:
        path = "settings.additional_arguments"
        additional = additional_arguments(spec)
        if repeated := validate_additional_arguments(spec, self.parsed_flags):
            return repeated
        for flag, reason in _UNSUPPORTED_FLAGS.items():
            if found := find_flag(additional, flag):
                return [
                    error(path, f"furiosa-llm serve does not support {found}: {reason}; remove it.")
                ]
        return []


def _validate_resources_per_card(spec: SpecLike) -> list[Issue]:
    cards = spec.accelerator_count
    found: list[Issue] = []
    if spec.cpu is not None and spec.cpu.value < CPU_PER_CARD * cards:
        found.append(
            warning(
                "cpu",
                f"Furiosa recommends 10 CPU cores per card; enter {10 * cards} for {cards} of "
                f"them.",
            )
        )
    if spec.memory is not None and spec.memory.value < MEMORY_PER_CARD * cards:
        found.append(
            warning(
                "memory",
                f"Furiosa recommends 100Gi of memory per card; enter {100 * cards}Gi for {cards}.",
            )
        )
    return found


TEMPLATE = FuriosaLlm()
