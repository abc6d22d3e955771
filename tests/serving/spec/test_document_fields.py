"""A document has the fields of the documentation, in no other spelling."""

from __future__ import annotations

import pytest

from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.document_issues import DocumentError
from servedeck.serving.spec.spec import ServingSpec

HEAD = "apiVersion: servedeck.dev/v1\nkind: Serving\nmetadata: {name: a}\nspec:\n  template: vllm\n"
UNKNOWN = "There is no such field; correct its name or remove it."


def issues_of(fields: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        from_yaml(HEAD + fields)
    return [str(one) for one in caught.value.issues]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ("  cpu_limit: 2", "line 6: spec.cpu_limit: {use cpuLimit}"),
        ("  cpuLimit: 1\n  cpu_limit: 2", "line 7: spec.cpu_limit: {use cpuLimit}"),
        ("  acceleratorcount: 2", "line 6: spec.acceleratorcount: {use acceleratorCount}"),
        ("  readiness-path: /a", "line 6: spec.readiness-path: {use readinessPath}"),
        (
            "  volumes:\n  - pvc: a\n    mount_path: /a",
            "line 8: spec.volumes.0.mount_path: {use mountPath}",
        ),
        (
            "  volumes:\n  - pvc: a\n    mountPath: /a\n    mount_path: /b",
            "line 9: spec.volumes.0.mount_path: {use mountPath}",
        ),
        (
            "  env:\n  - name: A\n    config_map: {name: a, key: b}",
            "line 8: spec.env.0.config_map: {use configMap}",
        ),
        (
            "  transformer:\n    image: i\n    env: [{name: A, config_map: {}}]",
            "line 8: spec.transformer.env.0.config_map: {use configMap}",
        ),
        (
            "  settings: {max_model_len: 8k}",
            "line 6: spec.settings.max_model_len: {use maxModelLen}",
        ),
        (
            "  settings: {maxModelLen: 8k, max_model_len: 16k}",
            "line 6: spec.settings.max_model_len: {use maxModelLen}",
        ),
        (
            "  settings: {max_model_len: 16k, maxModelLen: 8k}",
            "line 6: spec.settings.max_model_len: {use maxModelLen}",
        ),
    ],
)
def test_another_spelling_of_a_field_is_an_error_that_names_the_right_one(
    fields: str, wanted: str
) -> None:
    place, _, right = wanted.rstrip("}").partition("{")
    assert issues_of(fields) == [f"{place}There is no such field; {right}."]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ("  cpu: 1\n  foo_bar: 1", f"line 7: spec.foo_bar: {UNKNOWN}"),
        ("  FooBar: 1", f"line 6: spec.FooBar: {UNKNOWN}"),
        ("  env:\n  - name: A\n    vlaue: b", f"line 8: spec.env.0.vlaue: {UNKNOWN}"),
        (
            "  env: [{name: A, secret: {name: a, key: b, c: d}}]",
            f"line 6: spec.env.0.secret.c: {UNKNOWN}",
        ),
    ],
)
def test_an_unknown_field_is_named_as_it_is_written(fields: str, wanted: str) -> None:
    assert issues_of(fields) == [wanted]


def test_an_unknown_setting_is_named_with_those_of_the_template() -> None:
    [issue] = issues_of("  settings:\n    top_k: 1")
    assert issue.startswith(
        "line 7: spec.settings.top_k: The template vllm has no such setting; it has: model, "
    )


def test_invalid_values_are_named_beside_unknown_fields() -> None:
    assert issues_of("  cpu_limit: 2\n  replicas: two") == [
        "line 6: spec.cpu_limit: There is no such field; use cpuLimit.",
        "line 7: spec.replicas: 'two' is not a whole number; enter a value such as 1.",
    ]


def test_code_sets_fields_by_their_names_in_code() -> None:
    spec = ServingSpec(name="a", template="vllm", settings={"max_model_len": "8k"})
    assert spec.replace(accelerator_count=2, cpu_limit="2").settings["max_model_len"] == "8k"
