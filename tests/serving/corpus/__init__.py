"""Workloads in the shapes that other projects publish, with what they serve: our own minimal
versions, each with the place of the original."""

from tests.serving.corpus.device_servings import DEVICE_SERVINGS
from tests.serving.corpus.further_others import FURTHER_OTHERS
from tests.serving.corpus.further_servings import FURTHER_SERVINGS
from tests.serving.corpus.kserve_servings import KSERVE_SERVINGS
from tests.serving.corpus.llm_servings import LLM_SERVINGS
from tests.serving.corpus.other_servings import OTHER_SERVINGS
from tests.serving.corpus.others import OTHERS as _OTHERS
from tests.serving.corpus.script_servings import SCRIPT_SERVINGS
from tests.serving.corpus.variant_servings import VARIANT_SERVINGS
from tests.serving.corpus.vllm_servings import VLLM_SERVINGS
from tests.serving.corpus.workload import Serving, Workload

SERVINGS: dict[str, Serving] = {
    **VLLM_SERVINGS,
    **LLM_SERVINGS,
    **KSERVE_SERVINGS,
    **OTHER_SERVINGS,
    **VARIANT_SERVINGS,
    **FURTHER_SERVINGS,
    **DEVICE_SERVINGS,
    **SCRIPT_SERVINGS,
}
OTHERS: dict[str, Workload] = {**_OTHERS, **FURTHER_OTHERS}

__all__ = ["OTHERS", "SERVINGS", "Serving", "Workload"]
