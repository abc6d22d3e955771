"""The page about the YAML of a serving matches the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from servedeck.serving.spec import validation
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates import TEMPLATES
from servedeck.serving.spec.templates.base import to_camel_case
from servedeck.serving.spec.types import Quantity

PAGE = (Path(__file__).parents[3] / "docs/spec.md").read_text(encoding="utf-8")


def table_rows(title: str) -> dict[str, str]:
    """Field -> last column of the table under a heading."""
    part = re.split(r"^#+ ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[-1].strip("` ") for cells in lines}


def test_the_example_is_a_good_serving() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    assert validation.validate(from_yaml(example[1])) == []


def test_every_field_is_there_with_its_default() -> None:
    table = table_rows("spec")
    given = set(ServingSpec.model_fields) - {"name", "namespace"}
    assert set(table) == {to_camel_case(name) for name in given}
    spec = ServingSpec(name="a", template="custom")
    for name in ("accelerator_count", "replicas"):
        assert table[to_camel_case(name)] == str(getattr(spec, name))


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_setting_is_there_with_its_default(template: str) -> None:
    table = table_rows(f"settings of `{template}`")
    fields = TEMPLATES[template].fields
    assert list(table) == [to_camel_case(field.name) for field in fields]
    for field in fields:
        if field.default not in ("", None, ()):
            assert table[to_camel_case(field.name)] == field.format(field.default)


@pytest.mark.parametrize(
    ("template", "settings", "accelerators", "text"),
    [
        ("vllm", {}, 1, "vLLM 512Mi for one worker"),
        ("vllm", {"tensor_parallel_size": 4}, 4, "1Gi for each of several (tensor"),
        ("furiosa-llm", {}, 1, "Furiosa-LLM 512Mi for one card"),
        ("furiosa-llm", {}, 4, "1Gi for each of several cards"),
        ("custom", {}, 1, "custom 256Mi"),
        ("custom", {}, 4, "1Gi for each of several accelerators"),
    ],
)
def test_the_limit_of_shared_memory_is_that_of_the_page(
    template: str, settings: dict[str, int], accelerators: int, text: str
) -> None:
    accelerator = "furiosa.ai/rngd" if template == "furiosa-llm" else "nvidia.com/gpu"
    spec = ServingSpec(
        name="a", template=template, accelerator=accelerator, accelerator_count=accelerators
    )
    made = spec.replace(settings={**spec.settings, **settings})
    limit = made.shared_memory_limit
    words = " ".join(PAGE.split())
    assert text in words
    expected = re.search(r"\d+Mi", text)
    assert limit == Quantity(expected[0] if expected else f"{accelerators}Gi")
