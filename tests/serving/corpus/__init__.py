"""Workloads in the shapes that other projects publish, with what they serve: our own minimal
versions, each with the place of the original."""

from tests.serving.corpus.kserve_servings import KSERVE_SERVINGS
from tests.serving.corpus.llm_servings import LLM_SERVINGS
from tests.serving.corpus.other_servings import OTHER_SERVINGS
from tests.serving.corpus.others import OTHERS
from tests.serving.corpus.variant_servings import VARIANT_SERVINGS
from tests.serving.corpus.vllm_servings import VLLM_SERVINGS
from tests.serving.corpus.workload import Serving, Workload

SERVINGS: dict[str, Serving] = {
    **VLLM_SERVINGS,
    **LLM_SERVINGS,
    **KSERVE_SERVINGS,
    **OTHER_SERVINGS,
    **VARIANT_SERVINGS,
}

__all__ = ["OTHERS", "SERVINGS", "Serving", "Workload"]
