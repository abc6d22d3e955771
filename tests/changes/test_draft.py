import json

import pytest

from servedeck.changes.draft import EMPTY_VARIABLE, Draft
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.types import EnvVar, KeyRef, Transformer, Volume


def make_draft(**texts: str) -> Draft:
    draft = Draft("vllm", "team-a")
    draft.texts |= {"name": "llama", "settings.model": "meta-llama/Llama-3.1-8B-Instruct"}
    draft.texts |= texts
    return draft


def test_name_and_model_are_all_that_a_new_vllm_serving_needs() -> None:
    spec, problems = make_draft().validate()
    assert errors(problems) == []
    assert spec is not None
    assert (str(spec.cpu), str(spec.memory), spec.replicas, spec.inference_port) == (
        "0.5",
        "1Gi",
        1,
        8000,
    )
    assert (spec.accelerator, spec.accelerator_count) == ("nvidia.com/gpu", 1)


def test_another_template_replaces_only_what_the_last_one_proposed() -> None:
    draft = make_draft()
    draft.set_template("furiosa-llm")
    assert draft.texts["accelerator"] == "furiosa.ai/rngd"
    assert "furiosa" in draft.texts["image"]
    assert draft.texts["settings.model"] == "meta-llama/Llama-3.1-8B-Instruct"
    draft.texts["image"] = "registry.local/mine:1"
    draft.set_template("vllm")
    assert draft.texts["image"] == "registry.local/mine:1"


def test_a_field_that_cannot_be_read_does_not_hide_what_is_wrong_elsewhere() -> None:
    draft = make_draft(name="Bad_Name", cpu="lots")
    spec, problems = draft.validate()
    assert spec is None
    assert {problem.field for problem in errors(problems)} >= {"name", "cpu"}
    assert draft.texts["cpu"] == "lots"


def test_a_bad_row_is_named_by_its_own_number_and_the_good_ones_are_checked() -> None:
    draft = make_draft()
    draft.rows["volumes"] = [
        {"pvc": "a", "mount_path": "/data", "read_only": "perhaps"},
        {"pvc": "b", "mount_path": "relative", "read_only": "false"},
    ]
    fields = {problem.field for problem in errors(draft.validate()[1])}
    assert "volumes.0.read_only" in fields


@pytest.mark.parametrize(
    ("accelerator", "rollout"), [("nvidia.com/gpu", "replace"), ("", "surge"), ("None", "surge")]
)
def test_what_is_deployed_has_the_default_rollout_for_its_accelerator(
    accelerator: str, rollout: str
) -> None:
    draft = make_draft(accelerator=accelerator)
    spec, _ = draft.validate()
    assert spec is not None
    assert (draft.texts["rollout"], spec.rollout) == ("", rollout)
    draft.texts["rollout"] = "recreate"
    spec, _ = draft.validate()
    assert spec is not None
    assert spec.rollout == "recreate"


def test_a_draft_of_a_spec_reads_as_that_spec() -> None:
    spec = ServingSpec(
        name="llama",
        namespace="team-a",
        description="chat",
        template="vllm",
        image="vllm/vllm-openai:v1",
        accelerator="nvidia.com/gpu",
        accelerator_count=2,
        settings={"model": "m", "tensor_parallel_size": 2, "additional_arguments": ("--x", "a b")},
        volumes=(Volume(pvc="data", mount_path="/data", read_only=True),),
        command=("bash", "-c", "echo 'it is'"),
        rollout="surge",
        env=(
            EnvVar(name="A", value="  b "),
            EnvVar(name="HF_TOKEN", secret=KeyRef(name="hf", key="token")),
        ),
        transformer=Transformer(image="t:1", port=9000, env=(EnvVar(name="X", value="y"),)),
        liveness_path="",
    )
    again, _ = Draft.from_spec(spec).validate()
    assert again == spec


def test_a_draft_of_a_template_that_is_gone_still_opens() -> None:
    saved = json.loads(json.dumps(make_draft().to_dict()))
    saved["texts"]["template"] = "of-a-later-version"
    draft = Draft.from_saved_dict(saved)
    assert draft.template.id in ("vllm", "custom", "furiosa-llm")
    assert {problem.field for problem in draft.validate()[1]} >= {"template"}


def test_a_line_that_is_no_variable_is_kept_and_keeps_the_others_checked() -> None:
    draft = make_draft()
    unread = {"value": "FOO BAR", "source": "line", "ref": "3", "key": "It has no '='."}
    draft.rows["env"] = [
        {**EMPTY_VARIABLE, **unread},
        {**EMPTY_VARIABLE, "name": "1st", "value": "x"},
    ]
    problems = {problem.field: problem.message for problem in errors(draft.validate()[1])}
    assert problems["env.0"] == "Line 3: It has no '='."
    assert "env.1.name" in problems
    assert Draft.from_saved_dict(json.loads(json.dumps(draft.to_dict()))) == draft


def test_a_transformer_without_an_image_is_reported_and_not_left_out() -> None:
    draft = make_draft(**{"transformer.command": "serve --fast"})
    assert {problem.field for problem in errors(draft.validate()[1])} == {"transformer.image"}


@pytest.mark.parametrize("path", ["env.²", "env.².name", f"env.{'9' * 5000}.name"])
def test_a_path_of_a_damaged_file_that_names_no_row_is_forgotten(path: str) -> None:
    saved = Draft("vllm", "team-a").to_saved_dict()
    draft = Draft.from_saved_dict({**saved, "step": 2, "field": path, "lost": [path, "env.0"]})
    assert (draft.step, draft.focused_field) == (2, "")
    assert draft.omitted_secrets == {"env.0"}
