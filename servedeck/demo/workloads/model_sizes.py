"""The models of the demo's inference servers, with the sizes that decide whether they fit."""

# ruff: noqa: E501 - a table of models

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 2**30

_BYTES = {
    "fp8": 1.05,
    "int8": 1.05,
    "awq": 0.57,
    "gptq": 0.57,
    "mxfp4": 0.56,
    "fp4": 0.56,
    "experts_int8": 1.05,
}
"""Bytes per parameter of a quantized model, scales included; 2 for all others."""


@dataclass(frozen=True)
class ModelInfo:
    """`params` in billions. `layers`, `kv_heads` and `head_dim` determine the KV cache per token;
    they are from the models' published config.json."""

    name: str
    params: float
    layers: int
    kv_heads: int
    head_dim: int
    max_model_len: int
    architecture: str
    gated: bool = False
    shards: int = 4
    quantization: str = ""

    def weights_gib(self, quantization: str = "") -> float:
        """Size of the weights in GiB."""
        scheme = (quantization or self.quantization).lower()
        each = next((size for key, size in _BYTES.items() if key in scheme), 2.0)
        return self.params * 1e9 * each / GIB

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of KV cache per token, in 16 bit."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2


_LLAMA = "LlamaForCausalLM"
_QWEN3 = "Qwen3ForCausalLM"
_EXAONE = "ExaoneForCausalLM"

MODELS: tuple[ModelInfo, ...] = (
    ModelInfo("meta-llama/Llama-3.1-8B-Instruct", 8.03, 32, 8, 128, 131072, _LLAMA, True, 4),
    ModelInfo("meta-llama/Llama-3.2-3B-Instruct", 3.21, 28, 8, 128, 131072, _LLAMA, True, 2),
    ModelInfo("meta-llama/Llama-3.3-70B-Instruct", 70.6, 80, 8, 128, 131072, _LLAMA, True, 30),
    ModelInfo("Qwen/Qwen3-4B-Instruct-2507", 4.02, 36, 8, 128, 262144, _QWEN3, False, 3),
    ModelInfo("Qwen/Qwen3-8B", 8.19, 36, 8, 128, 40960, _QWEN3, False, 5),
    ModelInfo("Qwen/Qwen3-32B", 32.8, 64, 8, 128, 40960, _QWEN3, False, 17),
    ModelInfo("Qwen/Qwen3-32B-AWQ", 32.8, 64, 8, 128, 40960, _QWEN3, False, 4, "awq"),
    ModelInfo("Qwen/Qwen3-Embedding-8B", 7.57, 36, 8, 128, 40960, _QWEN3, False, 4),
    ModelInfo("Qwen/Qwen2.5-VL-7B-Instruct", 8.29, 28, 4, 128, 128000, "Qwen2_5_VLForConditionalGeneration", False, 5),
    ModelInfo("Qwen/Qwen2.5-Coder-32B-Instruct", 32.8, 64, 8, 128, 32768, "Qwen2ForCausalLM", False, 14),
    ModelInfo("LGAI-EXAONE/EXAONE-4.0-32B", 32.0, 64, 8, 128, 131072, "Exaone4ForCausalLM", False, 14),
    ModelInfo("LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct", 7.82, 32, 8, 128, 32768, _EXAONE, False, 7),
    ModelInfo("mistralai/Mistral-Small-3.2-24B-Instruct-2506", 24.0, 40, 8, 128, 131072, "MistralForCausalLM", False, 10),
    ModelInfo("mistralai/Mistral-7B-Instruct-v0.3", 7.25, 32, 8, 128, 32768, "MistralForCausalLM", True, 3),
    ModelInfo("google/gemma-3-12b-it", 12.2, 48, 8, 240, 131072, "Gemma3ForConditionalGeneration", True, 5),
    ModelInfo("openai/gpt-oss-20b", 20.9, 24, 8, 64, 131072, "GptOssForCausalLM", False, 3, "mxfp4"),
    ModelInfo("BAAI/bge-m3", 0.57, 24, 16, 64, 8192, "XLMRobertaModel", False, 1),
    ModelInfo("furiosa-ai/Llama-3.1-8B-Instruct", 8.03, 32, 8, 128, 131072, _LLAMA, False, 4),
    ModelInfo("furiosa-ai/Llama-3.3-70B-Instruct", 70.6, 80, 8, 128, 131072, _LLAMA, False, 30),
    ModelInfo("furiosa-ai/EXAONE-3.5-7.8B-Instruct", 7.82, 32, 8, 128, 32768, _EXAONE, False, 7),
    ModelInfo("furiosa-ai/Qwen3-32B-FP8", 32.8, 64, 8, 128, 40960, _QWEN3, False, 7, "fp8"),
)  # fmt: skip

_BY_NAME = {model.name.lower(): model for model in MODELS}
_SIZE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*[bB](?![a-zA-Z])")
_PUBLISHERS = frozenset(model.name.partition("/")[0].lower() for model in MODELS)


def find_model(name: str) -> ModelInfo | None:
    """The model of that name; None for one that does not exist.

    A name that is not in the table exists if it has a known publisher and a size
    ("Qwen/Qwen3-14B"); a path ("/models/x") always exists.
    """
    known = _BY_NAME.get(name.lower())
    if known is not None:
        return known
    local = name.startswith(("/", "./"))
    if not local and name.partition("/")[0].lower() not in _PUBLISHERS:
        return None
    size = _SIZE.search(name)
    if size is None and not local:
        return None
    params = float(size[1]) if size else 8.0
    layers = 32 if params < 20 else 64 if params < 60 else 80
    shards = max(1, round(params / 2.4))
    return ModelInfo(name, params, layers, 8, 128, 32768, _LLAMA, False, shards)
