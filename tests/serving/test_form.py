from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servedeck.serving.fields import Kind
from servedeck.serving.form import Draft, field_at, sections
from servedeck.serving.spec import ServingSpec
from servedeck.serving.templates import TEMPLATES
from tests.serving.specs import valid_specs


def good() -> Draft:
    draft = Draft()
    draft.choose_template("vllm")
    for path, text in (
        ("name", "llm"),
        ("project", "team-a"),
        ("memory", "16Gi"),
        ("settings.model", "org/model"),
    ):
        draft.set(path, text)
    return draft


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(valid_specs())
def test_a_serving_put_into_the_form_comes_out_the_same(spec: ServingSpec) -> None:
    draft = Draft.from_spec(spec)
    assert draft.spec() == spec
    assert Draft.from_json(draft.to_json()) == draft
    assert not [one for one in draft.check() if one.is_error]


def test_an_empty_form_shows_the_defaults() -> None:
    draft = Draft()
    shown = {path: draft.text(path) for one in sections(draft.template) for path, _ in one.fields}
    assert (shown["cpu"], shown["memory"], shown["accelerator_count"]) == ("0.5", "1Gi", "1")
    assert (shown["replicas"], shown["inference_port"], shown["accelerator"]) == ("1", "8000", "")
    assert shown["settings.gpu_memory_utilization"] == "0.9"
    assert (shown["settings.dtype"], shown["transformer.port"]) == ("auto", "8080")
    assert {one.field for one in draft.check() if one.is_error} == {
        "name",
        "project",
        "image",
        "settings.model",
    }


def test_every_field_of_the_console_is_in_the_form() -> None:
    labels = {field.label for one in sections("vllm") for _, field in one.fields}
    assert labels >= {
        "Service Name",
        "Description",
        "Service Template",
        "Image",
        "CPU",
        "Memory",
        "Accelerator",
        "Accelerator Count",
        "Replicas",
        "Model",
        "Tensor Parallel Size",
        "Data Type",
        "Max Model Length",
        "Quantization",
        "GPU Memory Utilization",
        "Additional Arguments",
        "PVC",
        "Mount Path",
        "Inference Port",
        "Command Override",
    }
    for template in TEMPLATES:
        for section in sections(template):
            for path, field in section.fields:
                assert field.help
                row = f"{section.rows}.0.{path}" if section.rows else path
                assert field_at(row, template) == field


def test_three_fields_are_enough_for_a_good_serving() -> None:
    draft = good()
    assert draft.text("image") == TEMPLATES["vllm"].image
    assert draft.text("accelerator") == "nvidia.com/gpu"
    assert draft.check() == []


def test_wrong_text_is_kept_and_named_and_the_rest_is_still_checked() -> None:
    draft = good()
    draft.set("replicas", "many")
    draft.set("settings.tensor_parallel_size", "4")
    draft.set("inference_port", "99999")
    assert draft.text("replicas") == "many"
    assert draft.spec() is None
    assert [one.field for one in draft.check()] == [
        "replicas",
        "settings.tensor_parallel_size",
        "inference_port",
    ]
    problem = draft.problem("replicas")
    assert problem and "not a whole number" in problem.message
    assert draft.problem("cpu") is None


def test_what_was_typed_for_a_template_comes_back_with_it() -> None:
    draft = good()
    draft.set("settings.dtype", "hal")
    draft.choose_template("furiosa-llm")
    assert draft.text("image") == TEMPLATES["furiosa-llm"].image
    assert draft.text("accelerator") == "furiosa.ai/rngd"
    assert draft.text("settings.model") == ""
    draft.set("image", "mine")
    draft.choose_template("vllm")
    assert (draft.text("image"), draft.text("accelerator")) == ("mine", "nvidia.com/gpu")
    assert (draft.text("settings.model"), draft.text("settings.dtype")) == ("org/model", "hal")


def test_rows_are_added_edited_and_removed() -> None:
    draft = good()
    assert draft.add_row("env", name="A", value="1") == 0
    assert draft.add_row("env", name="B", secret__name="s", secret__key="k") == 1
    draft.set("env.0.value", "2")
    assert draft.text("env.0.value") == "2"
    spec = draft.spec()
    assert spec and spec.env[1].secret and spec.env[1].secret.key == "k"
    draft.remove_row("env", 0)
    assert (draft.rows("env"), draft.text("env.0.name")) == (1, "B")
    with pytest.raises(KeyError):
        draft.set("env.7.name", "x")
    with pytest.raises(KeyError):
        draft.text("env.7.name")


def test_a_broken_row_is_named_and_the_others_are_checked() -> None:
    draft = good()
    draft.add_row("volumes", claim="c", mount_path="/a", read_only="perhaps")
    draft.add_row("volumes", claim="c", mount_path="relative")
    assert [one.field for one in draft.check()] == [
        "volumes.0.read_only",
        "volumes.1.mount_path",
    ]


def test_pasted_variables_replace_those_of_the_same_name_and_bad_lines_are_kept() -> None:
    draft = good()
    draft.add_row("env", name="A", secret__name="s", secret__key="k")
    bad = draft.paste_env("env", "A=1\nnonsense\nexport B='x y'")
    assert [one.line for one in bad] == [2]
    assert draft.env_text("env") == 'A=1\nB="x y"\n'
    assert [(one.field, one.message[:7]) for one in draft.check()] == [("env.unread.0", "Line 2:")]
    draft = Draft.from_json(draft.to_json())
    assert draft.unread("env")[0].text == "nonsense"
    draft.drop_unread("env", 0)
    assert draft.check() == []


def test_the_transformer_counts_only_while_it_is_on() -> None:
    draft = good()
    draft.set("transformer.image", "t")
    spec = draft.spec()
    assert spec and spec.transformer is None
    draft.has_transformer = True
    draft.set("transformer.port", "8000")
    assert [one.field for one in draft.check()] == ["transformer.port"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"texts": 1}', "null", '{"texts": {}}'])
def test_a_draft_that_cannot_be_read_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="start a new one"):
        Draft.from_json(text)


PATHS = [path for t in TEMPLATES for one in sections(t) if not one.rows for path, _ in one.fields]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS), st.text(max_size=12), max_size=6), st.booleans())
def test_any_text_in_any_field_is_kept_and_checked(texts: dict[str, str], on: bool) -> None:
    draft = good()
    draft.has_transformer = on
    draft.add_row("env", name="A")
    for path, text in texts.items():
        draft.set(path, text)
        assert draft.text(path) == text
    for problem in draft.check():
        assert problem.message.endswith((".", '"'))
    assert Draft.from_json(draft.to_json()) == draft


def test_kinds_of_input() -> None:
    kinds = {path: field.kind for one in sections("vllm") for path, field in one.fields}
    assert kinds["settings.quantization"] is Kind.SUGGESTION
    assert kinds["settings.dtype"] is Kind.CHOICE
    assert kinds["command"] is Kind.ARGUMENTS
