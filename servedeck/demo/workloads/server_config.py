"""What a container runs: engine, model and options, parsed from its command, args and env."""

# ruff: noqa: SIM905 - flags read best as a line of words

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from servedeck.demo.workloads.model_sizes import GIB, ModelInfo, find_model
from servedeck.serving.quantity import parse_quantity

Json = dict[str, Any]

_PROGRAMS = frozenset(
    "vllm furiosa-llm python python3 sh bash /bin/sh /bin/bash uvicorn gunicorn tritonserver "
    "trtllm-serve text-generation-launcher nginx node sleep /app/server".split()
)
"""Programs that the demo's images contain; other commands are not found in $PATH."""

_COMMON_FLAGS = frozenset(
    "--host --port --served-model-name --max-model-len --pipeline-parallel-size -pp "
    "--data-parallel-size -dp --revision --api-key --enable-prefix-caching "
    "--no-enable-prefix-caching --enable-auto-tool-choice --tool-call-parser --reasoning-parser "
    "--chat-template --trust-remote-code --max-num-batched-tokens --model".split()
)
_VLLM_FLAGS = _COMMON_FLAGS | frozenset(
    "--tensor-parallel-size -tp --dtype --quantization -q --gpu-memory-utilization "
    "--max-num-seqs --kv-cache-dtype --enforce-eager --root-path --shutdown-timeout "
    "--max-num-queued-reqs --max-num-queued-tokens --enable-chunked-prefill --seed --swap-space "
    "--disable-log-requests --enable-log-requests --enable-lora --lora-modules --max-loras "
    "--task --runner --convert --limit-mm-per-prompt --speculative-config --load-format "
    "--tokenizer --tokenizer-mode --config-format --uvicorn-log-level "
    "--distributed-executor-backend --enable-expert-parallel --block-size --cpu-offload-gb "
    "--download-dir --generation-config "
    "--override-generation-config --hf-overrides --compilation-config --disable-log-stats "
    "--show-hidden-metrics-for-version --allowed-origins --max-logprobs --rope-scaling".split()
)
_FURIOSA_FLAGS = _COMMON_FLAGS | frozenset(
    "--devices --max-concurrency --fxb --data-parallel-routing-policy --speculative-model".split()
)
_SWITCHES = frozenset(
    "--enable-prefix-caching --no-enable-prefix-caching --enable-auto-tool-choice "
    "--trust-remote-code --enforce-eager --enable-chunked-prefill --disable-log-requests "
    "--enable-log-requests --enable-lora --enable-expert-parallel --disable-log-stats".split()
)
_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")

VLLM = "vllm"
FURIOSA = "furiosa-llm"
OTHER = "other"
GATEWAY_IMAGE = "servedeck-gateway"


@dataclass(frozen=True)
class ServerConfig:
    """What a container runs. `usage_error`: the error of the argument parser, or "".
    `missing_program`: the command that its image does not contain, or ""."""

    engine: str
    version: str = ""
    model_name: str = ""
    model: ModelInfo | None = None
    served_name: str = ""
    port: int = 8000
    more_ports: tuple[int, ...] = ()
    tp: int = 1
    pp: int = 1
    dp: int = 1
    max_model_len: int = 0
    dtype: str = "auto"
    quantization: str = ""
    utilization: float = 0.92
    max_num_seqs: int = 256
    enforce_eager: bool = False
    api_key: str = ""
    has_hf_token: bool = False
    usage_error: str = ""
    missing_program: str = ""
    resource: str = ""
    accelerators: int = 0
    memory_limit_gib: float = 0.0
    """Memory limit in GiB; 0 for none."""
    is_prometheus: bool = False
    is_async_gateway: bool = False
    arguments: dict[str, str] = field(default_factory=dict)

    def listens_on(self, port: int) -> bool:
        return port == self.port or port in self.more_ports

    @property
    def pooling(self) -> bool:
        """Whether it computes embeddings instead of text."""
        return (
            self.arguments.get("--runner") == "pooling" or self.arguments.get("--task") == "embed"
        )

    @property
    def weights_gib(self) -> float:
        """GiB of weights on each accelerator."""
        if self.model is None:
            return 0.0
        return self.model.weights_gib(self.quantization) / max(1, self.tp * self.pp)


def parse_container(container: Json, env: Mapping[str, str]) -> ServerConfig:
    """Parses a container of a Pod's spec; `env` is its resolved environment."""
    image = str(container.get("image") or "")
    message = _command_line(container)
    engine = _detect_engine(image, message)
    limits = (container.get("resources") or {}).get("limits") or {}
    resource, count = _accelerator(limits)
    common: Json = {
        "engine": engine,
        "version": _image_version(image, engine),
        "resource": resource,
        "accelerators": count,
        "memory_limit_gib": _to_gib(limits.get("memory")),
        "missing_program": _missing_program(container, message),
        "port": _container_port(container),
        "is_prometheus": image.partition(":")[0].endswith("/prometheus"),
    }
    if engine == OTHER:
        common["is_async_gateway"] = image_name(image) == GATEWAY_IMAGE
        common["more_ports"] = tuple(
            int(one["containerPort"]) for one in (container.get("ports") or ())[1:]
        )
        return ServerConfig(**common)
    return _inference_server(engine, message, env, common)


def device_memory_gib(product: str) -> float:
    """GiB of memory of an accelerator, as its driver shows it, by product label."""
    for key, size in (
        ("H200", 139.8),
        ("H100", 79.2),
        ("A100", 79.2),
        ("L40S", 44.4),
        ("L4", 22.0),
    ):
        if key in product:
            return size
    return 48.0 if "rngd" in product.lower() else 79.2


def _inference_server(
    engine: str, message: Sequence[str], env: Mapping[str, str], common: Json
) -> ServerConfig:
    flags = _FURIOSA_FLAGS if engine == FURIOSA else _VLLM_FLAGS
    positional, options, usage = _parse_options(engine, message, flags)
    model_name = positional or options.get("--model", "")
    model = find_model(model_name) if model_name else None
    if not usage and not model_name:
        model_name, model = "Qwen/Qwen3-0.6B", find_model("Qwen/Qwen3-0.6B")
    usage = usage or _invalid_value(engine, options)

    def number(*names: str, default: int) -> int:
        text = next((options[name] for name in names if name in options), "")
        return int(text) if text.isdigit() else default

    max_len = _parse_token_count(options.get("--max-model-len", "")) or (
        model.max_model_len if model else 0
    )
    return ServerConfig(
        model_name=model_name,
        model=model,
        served_name=options.get("--served-model-name", model_name),
        tp=number("--tensor-parallel-size", "-tp", default=1) if engine == VLLM else 1,
        pp=number("--pipeline-parallel-size", "-pp", default=1),
        dp=number("--data-parallel-size", "-dp", default=1),
        max_model_len=max_len,
        dtype=options.get("--dtype", "auto"),
        quantization=options.get("--quantization", options.get("-q", "")),
        utilization=_parse_fraction(options.get("--gpu-memory-utilization", "")),
        max_num_seqs=number("--max-num-seqs", "--max-concurrency", default=256),
        enforce_eager="--enforce-eager" in options,
        api_key=options.get("--api-key", ""),
        has_hf_token=bool(env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN")),
        usage_error=usage,
        arguments=options,
        **(common | {"port": number("--port", default=8000)}),
    )


def _command_line(container: Json) -> list[str]:
    """Command and args in one list; a shell's "-c" script is split into its arguments."""
    message = [str(word) for word in (container.get("command") or [])]
    message += [str(word) for word in (container.get("args") or [])]
    if (
        len(message) > 2
        and message[0].rpartition("/")[2] in ("sh", "bash")
        and message[1] in ("-c", "-lc")
    ):
        try:
            script = shlex.split(message[2].replace("\\\n", " "))
        except ValueError:
            return message
        return [word for word in script if word != "exec"]
    return message


def _detect_engine(image: str, message: Sequence[str]) -> str:
    program = message[0].rpartition("/")[2] if message else ""
    if program == "furiosa-llm" or "furiosa-llm" in image:
        return FURIOSA
    if program == "vllm" or "vllm" in image or any(word.startswith("vllm.") for word in message):
        return VLLM
    return OTHER


def image_name(image: str) -> str:
    """The last part of the repository, "servedeck-gateway"."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _image_version(image: str, engine: str) -> str:
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
    match = re.match(r"v?(\d+\.\d+(?:\.\d+)*)", tag)
    if match:
        return match[1]
    return {VLLM: "0.33.0", FURIOSA: "2026.4.0"}.get(engine, "")


def _missing_program(container: Json, message: Sequence[str]) -> str:
    command = container.get("command") or []
    if not command:
        return ""
    program = str(command[0])
    return "" if program in _PROGRAMS or program.startswith("/") else program


def _parse_options(
    engine: str, message: Sequence[str], flags: frozenset[str]
) -> tuple[str, dict[str, str], str]:
    """(positional model, options, error) as argparse would parse them."""
    rest = list(message)
    while rest and not rest[0].startswith("-"):
        word = rest.pop(0).rpartition("/")[2]
        if word == "serve":
            break
        if word not in ("vllm", "furiosa-llm", "python", "python3"):
            rest.insert(0, word) if "/" not in message[0] else rest.insert(0, message[0])
            break
    if len(rest) > 1 and rest[0] == "-m":
        rest = rest[2:]
    positional, unknown = "", list[str]()
    options: dict[str, str] = {}
    index = 0
    while index < len(rest):
        word = rest[index]
        index += 1
        if not word.startswith("-"):
            if positional:
                unknown.append(word)
            positional = positional or word
            continue
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name = name.replace("_", "-")
        if name not in flags:
            unknown.append(word)
            if not equals and index < len(rest) and not rest[index].startswith("-"):
                unknown.append(rest[index])
                index += 1
            continue
        if not equals and name not in _SWITCHES:
            if index >= len(rest) or rest[index].startswith("--"):
                return positional, options, f"argument {name}: expected one argument"
            value = rest[index]
            index += 1
        options[name] = value
    return positional, options, f"unrecognized arguments: {' '.join(unknown)}" if unknown else ""


def _invalid_value(engine: str, options: Mapping[str, str]) -> str:
    for name in ("--tensor-parallel-size", "--port", "--max-num-seqs", "--pipeline-parallel-size"):
        text = options.get(name)
        if text is not None and not text.isdigit():
            return f"argument {name}: invalid int value: {text!r}"
    if (dtype := options.get("--dtype")) is not None and dtype not in _DTYPES:
        choices = ", ".join(repr(choice) for choice in _DTYPES)
        return f"argument --dtype: invalid choice: {dtype!r} (choose from {choices})"
    text = options.get("--gpu-memory-utilization")
    if text is not None and not 0 < _parse_fraction(text, bad=-1.0) <= 1:
        return f"argument --gpu-memory-utilization: invalid value: {text!r}"
    text = options.get("--max-model-len")
    if text is not None and text not in ("auto", "-1") and not _parse_token_count(text):
        return f"argument --max-model-len: invalid value: {text!r}"
    return ""


def _parse_token_count(text: str) -> int:
    """A number of tokens: "8192", "1k" is 1000 and "1K" is 1024, as vLLM reads them."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    if match is None:
        return 0
    return int(float(match[1]) * {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 2**20}[match[2]])


def _parse_fraction(text: str, bad: float = 0.92) -> float:
    try:
        return float(text) if text else 0.92
    except ValueError:
        return bad


def _accelerator(limits: Mapping[str, Any]) -> tuple[str, int]:
    for key, value in limits.items():
        if key.startswith(("nvidia.com/", "furiosa.ai/", "amd.com/")):
            return key, int(_quantity_or_zero(value))
    return "", 0


def _container_port(container: Json) -> int:
    ports = container.get("ports") or []
    return int(ports[0].get("containerPort") or 8080) if ports else 8080


def _to_gib(value: Any) -> float:
    return float(_quantity_or_zero(value)) / GIB


def _quantity_or_zero(value: Any) -> Fraction:
    """A quantity; 0 for a missing or invalid one."""
    try:
        return parse_quantity(str(value)) if value is not None else Fraction(0)
    except ValueError:
        return Fraction(0)
