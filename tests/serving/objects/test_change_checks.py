"""What is said of fields that are not what is wanted after a change."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects import manifests
from servedeck.serving.objects.change_checks import check_change
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.port_checks import WrittenChange
from tests.serving.objects.edits import deployment, edit, reported
from tests.serving.spec.test_validation import vllm_spec

SECRET = "S16SECRET"
VARIABLES = [{"name": "HF_TOKEN", "value": SECRET}, {"name": "HF_HOME", "value": "/model-cache"}]


def said(fields: tuple[str, ...], **read: Any) -> list[tuple[str, str, str]]:
    """The issues of a change of `fields` after which these are read."""
    spec = vllm_spec(env=VARIABLES)
    current = import_objects(manifests.build_manifests(spec))
    objects = current.objects
    change = WrittenChange(
        objects, objects, current.spec, current.spec, fields, current.spec.replace(**read)
    )
    return [(one.severity.value, one.field, one.message) for one in check_change(change)]


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("env", [{"name": "HF_TOKEN", "value": SECRET}, {"name": "A", "value": SECRET}], " in A"),
        ("volumes", [{"pvc": SECRET, "mount_path": "/data"}], " in /data"),
        ("command", ["serve", SECRET], ""),
        ("settings", {"model": SECRET}, " in model"),
        ("transformer", {"image": SECRET}, ""),
    ],
)
def test_of_a_field_with_many_values_only_names_are_said(
    field: str, value: Any, shown: str
) -> None:
    [(severity, at, message)] = said(("description",), **{field: value})
    assert (severity, at) == ("warning", field)
    assert message.startswith(f"Another change to this serving changes it{shown}")
    assert SECRET not in message
    [(severity, at, message)] = said((field,), **{field: value})
    assert (severity, at) == ("error", field)
    assert SECRET not in message and f"so it differs{shown}" in message


@pytest.mark.parametrize(
    ("value", "shown"),
    [("--api-key " + SECRET, "••••••••."), ("x" * 500, f"{'x' * 80}….")],
)
def test_another_value_is_masked_and_short(value: str, shown: str) -> None:
    [(_, _, message)] = said(("replicas",), description=value)
    assert message == f"Another change to this serving makes it {shown}"


def test_what_a_refused_field_would_have_changed_is_not_said() -> None:
    changed = {"env": [{"name": "OTHER", "value": SECRET}], "model_cache_path": "/x"}
    assert [one[1] for one in said(("model_cache_path",), **changed)] == ["model_cache_path"]
    assert {one[1] for one in said(("replicas",), **changed)} == {"model_cache_path", "env"}


def test_a_cache_path_that_cannot_be_changed_shows_no_variable() -> None:
    mounts = [{"name": "models", "mountPath": "/model-cache"}]
    server = {"image": "vllm/vllm-openai:v0.9", "env": VARIABLES, "volumeMounts": mounts}
    one = deployment(
        server, volumes=[{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    )
    one["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "servedeck"}
    found = reported(edit(one, model_cache_path="/data"))
    assert [issue[:2] for issue in found if issue[1]] == [("error", "model_cache_path")]
    assert SECRET not in str(found)
