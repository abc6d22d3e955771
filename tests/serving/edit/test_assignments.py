"""Changes of fields as text: FIELD=VALUE and FIELD-."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.edit.assignments import (
    Assignment,
    AssignmentError,
    assign,
    assignment_path,
    parse_assignment,
)
from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.spec.spec import ServingSpec

SPEC = ServingSpec.model_validate(
    {
        "name": "chat",
        "namespace": "prod",
        "template": "vllm",
        "image": "vllm/vllm-openai:v1",
        "memory": "64Gi",
        "cpu": "8",
        "description": "for the chat",
        "accelerator": "nvidia.com/gpu",
        "accelerator_count": 2,
        "settings": {"model": "org/m", "max_model_len": "8k"},
        "inference_port": 8000,
        "env": [{"name": "A", "value": "1"}, {"name": "X.configMap", "value": "1"}],
        "volumes": [{"pvc": "data", "mount_path": "/data/"}],
        "transformer": {"image": "t:1", "env": [{"name": "B", "value": "1"}]},
    }
)


def changed(*texts: str, spec: ServingSpec = SPEC) -> ServingSpec:
    found, issues = assign(spec, [parse_assignment(one) for one in texts])
    assert issues == []
    assert found is not None
    return found


def differences(*texts: str) -> list[tuple[str, str, str]]:
    return [(one.name, one.old, one.new) for one in find_field_differences(SPEC, changed(*texts))]


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        ("image=x:2", ("image", "vllm/vllm-openai:v1", "x:2")),
        ("spec.image=x:2", ("image", "vllm/vllm-openai:v1", "x:2")),
        ("replicas=3", ("replicas", "1", "3")),
        ("memory=128Gi", ("memory", "64Gi", "128Gi")),
        ("memory=", ("memory", "64Gi", "none")),
        ("description=", ("description", "for the chat", "none")),
        ("acceleratorCount=4", ("acceleratorCount", "2", "4")),
        ("accelerator_count=4", ("acceleratorCount", "2", "4")),
        ("inferencePort=9000", ("inferencePort", "8000", "9000")),
        ("readinessPath=/ready", ("readinessPath", "/health", "/ready")),
        ("command=python -m 'a b'", ("command[0]", "none", "python")),
        ("settings.maxModelLen=16k", ("settings.maxModelLen", "8k", "16k")),
        ("settings.max_model_len=16k", ("settings.maxModelLen", "8k", "16k")),
        ("settings.maxModelLen=", ("settings.maxModelLen", "8k", "none")),
        ("env.A=2", ("env.A", "1", "2")),
        ("env.A=a=b", ("env.A", "1", "a=b")),
        ("env.NEW=", ("env.NEW", "none", '""')),
        ("env.A-", ("env.A", "1", "none")),
        ("env.X.configMap=2", ("env.X.configMap", "1", "2")),
        ("env.A.secret=hf/token", ("env.A", "1", "Secret hf key token")),
        ("env.C.configMap=c/k", ("env.C", "none", "ConfigMap c key k")),
        ("env.API_KEY=hunter2", ("env.API_KEY", "none", "••••••••")),
        ("volumes./data=other:ro", ("volumes./data", "PVC data", "PVC other, read-only")),
        ("volumes./new=data", ("volumes./new", "none", "PVC data")),
        ("volumes./data-", ("volumes./data", "PVC data", "none")),
        ("transformer.image=t:2", ("transformer.image", "t:1", "t:2")),
        ("transformer.port=81", ("transformer.port", "none", "81")),
        ("transformer.env.B=2", ("transformer.env.B", "1", "2")),
        ("transformer.env.B-", ("transformer.env.B", "1", "none")),
        ("transformer-", ("transformer", "t:1", "none")),
        ("transformer=", ("transformer", "t:1", "none")),
    ],
)
def test_an_assignment_changes_its_value(text: str, difference: tuple[str, str, str]) -> None:
    assert differences(text)[0] == difference


def test_several_assignments_are_made_together() -> None:
    found = differences("env.A=2", "env.B=3", "settings.dtype=half", "settings.maxModelLen=")
    assert [one[0] for one in found] == [
        "settings.dtype",
        "settings.maxModelLen",
        "env.A",
        "env.B",
    ]


def test_a_template_is_changed_before_its_settings() -> None:
    spec = changed("settings.arguments=--port 1", "template=custom")
    assert spec.settings == {"arguments": ("--port", "1")}


def test_what_is_not_assigned_stays() -> None:
    spec = changed("settings.dtype=half")
    assert spec.settings["max_model_len"] == "8k"
    assert spec.replace(settings=SPEC.settings) == SPEC


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image", "'image' is not FIELD=VALUE; enter one such as image=NAME, or env.NAME- to"),
        ("=x", "'=x' is not FIELD=VALUE"),
        ("-", "'-' is not FIELD=VALUE"),
        ("imgae=x", "There is no field imgae; use image."),
        ("maxModelLen=1", "There is no field maxModelLen; use settings.maxModelLen."),
        ("settings.maxlen=1", "There is no field settings.maxlen; use settings.maxModelLen, "),
        ("settings=1", "There is no field settings;"),
        ("foo=1", "There is no field foo; servedeck export prints the fields."),
        ("image.tag=1", "There is no field image.tag; use image"),
        ("name=x", "The name of a serving cannot be changed; clone it instead."),
        ("namespace=x", "The namespace of a serving cannot be changed"),
        ("env=A", "env is a list; change one entry, env.NAME=VALUE."),
        ("env.NOPE-", "There is no variable NOPE to remove."),
        ("env.A B=1", "A B"),
        ("env.T.secret=hf", "The value of env.T.secret is a name and a key, NAME/KEY."),
        ("volumes./nope-", "There is no volume at /nope to remove."),
        ("replicas-", "replicas is no entry of a list; write replicas= to clear it."),
        ("transformer=t:2", "The transformer has parts; write transformer.image=NAME."),
        ("transformer.foo=1", "There is no field transformer.foo; use transformer.image"),
        ("x\x1b[31m=1", "There is no field x;"),
    ],
)
def test_a_wrong_assignment_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(AssignmentError) as caught:
        assign(SPEC, [parse_assignment(text)])
    assert message in str(caught.value)


def test_a_part_of_a_missing_transformer_says_what_to_add_first() -> None:
    with pytest.raises(AssignmentError, match="add transformer"):
        assign(SPEC.replace(transformer=None), [Assignment("transformer.port", "81")])


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("replicas=x", "replicas", "'x' is not a whole number"),
        ("replicas=", "replicas", "A whole number is missing"),
        ("memory=1Q", "memory", "512Mi"),
        ("settings.dtype=int3", "settings.dtype", "choose"),
        ("template=nope", "template", "There is no template 'nope'"),
        ("transformer.port=x", "transformer.port", "'x' is not a whole number"),
        ("command='a", "command", "A quotation mark is not closed"),
        ("rollout=", "rollout", "A rollout is missing; choose surge, replace or recreate."),
        ("rollout=slow", "rollout", "choose surge, replace or recreate, or write maxSurge"),
    ],
)
def test_an_invalid_value_is_an_error_at_its_field(text: str, field: str, message: str) -> None:
    spec, issues = assign(SPEC, [parse_assignment(text)])
    assert spec is None
    assert [one.field for one in issues] == [field]
    assert message in issues[0].message


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("env.0.value", "env.A"),
        ("env.1.name", "env.X.configMap"),
        ("volumes.0.mount_path", "volumes./data"),
        ("transformer.env.0.secret.key", "transformer.env.B"),
        ("transformer.port", "transformer.port"),
        ("settings.max_model_len", "settings.maxModelLen"),
        ("env.9.value", "env.9.value"),
        ("", ""),
    ],
)
def test_an_issue_is_named_as_an_assignment_names_its_field(field: str, path: str) -> None:
    assert assignment_path(field, SPEC) == path


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("env.0.secret", "env.A.secret"),
        ("volumes.0.pvc", "volumes./data/"),
        ("settings.max_model_len", "settings.max-model-len"),
        ("memory", "Memory"),
    ],
)
def test_an_issue_of_an_assignment_is_named_as_it_was_written(field: str, path: str) -> None:
    assert assignment_path(field, SPEC, ["image", path]) == path


def test_a_variable_that_is_there_twice_is_not_changed() -> None:
    twice: list[Any] = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    with pytest.raises(AssignmentError, match="variable A twice"):
        changed("env.A=3", spec=SPEC.replace(env=twice))
