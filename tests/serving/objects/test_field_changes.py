from __future__ import annotations

import json
from typing import Any

import pytest

from servedeck.serving.objects.diff import MISSING, Difference, FieldPath, find_differences
from servedeck.serving.objects.field_changes import (
    FieldChange,
    FieldConflict,
    admission_changes,
    find_field_changes,
    format_differences,
    format_value_at,
    parse_conflicts,
)
from servedeck.serving.text import MASK


def deployment(**container: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"servedeck.dev/serving": "llm"}},
        "spec": {"template": {"spec": {"containers": [{"name": "server", **container}]}}},
    }


CONTAINER = ".spec.template.spec.containers[server]"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"image": "a:1"}, {"image": "a:2"}, [FieldChange(f"{CONTAINER}.image", "a:1", "a:2")]),
        ({}, {"tty": True}, [FieldChange(f"{CONTAINER}.tty", "none", "true")]),
        ({"image": "a"}, {"image": ""}, [FieldChange(f"{CONTAINER}.image", "a", '""')]),
        (
            {"args": ["m", "--b=1"]},
            {"args": ["m", "--a=1", "--b=1"]},
            [FieldChange(f"{CONTAINER}.args[1]", "none", "--a=1")],
        ),
        (
            {"args": ["m", "--a=1", "--b=1"]},
            {"args": ["m", "--b=2"]},
            [
                FieldChange(f"{CONTAINER}.args[1]", "--a=1", "--b=2"),
                FieldChange(f"{CONTAINER}.args[2]", "--b=1", "none"),
            ],
        ),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]},
            {"env": [{"name": "B", "value": "2"}]},
            [
                FieldChange(f"{CONTAINER}.env[A]", '{"name": "A", "value": "1"}', "none"),
                FieldChange(f"{CONTAINER}.env[B].value", "1", "2"),
            ],
        ),
        (
            {"env": [{"name": "A"}, {"name": "B"}]},
            {"env": [{"name": "B"}, {"name": "A"}]},
            [FieldChange(f"{CONTAINER}.env", '["A", "B"]', '["B", "A"]')],
        ),
        ({"image": "a:1"}, {"image": "a:1"}, []),
    ],
)
def test_changes_are_reported_field_by_field(
    before: dict[str, Any], after: dict[str, Any], expected: list[FieldChange]
) -> None:
    assert find_field_changes(deployment(**before), deployment(**after)) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"env": [{"name": "HF_TOKEN", "value": "hunter2"}]}),
        ({"env": []}, {"env": [{"name": "HF_TOKEN", "value": "hunter2"}]}),
        (
            {"env": [{"name": "HF_TOKEN", "value": "x"}]},
            {"env": [{"name": "HF_TOKEN", "value": "hunter2"}]},
        ),
        ({"args": ["m"]}, {"args": ["m", "--api-key=hunter2"]}),
        ({"args": ["m"]}, {"args": ["m", "--api-key", "hunter2"]}),
        ({}, {"args": ["m", "--api-key", "hunter2"]}),
        ({}, {"args": ["-c", "vllm serve m --api-key hunter2 --port=8000"]}),
        ({}, {"args": ["-c", "vllm serve m\n  --api-key=hunter2 \\\n  --port=8000"]}),
        ({}, {"args": ["-c", "export HF_TOKEN='hunter2'; exec vllm serve m"]}),
        ({}, {"args": ["-c", 'vllm serve m --api-key "hunter2 and more"']}),
        ({}, {"args": ["-c", "bash -c 'vllm serve m --api-key hunter2'"]}),
        (
            {"livenessProbe": {"httpGet": {"httpHeaders": [{"name": "A", "value": "x"}]}}},
            {"livenessProbe": {"httpGet": {"httpHeaders": [{"name": "A", "value": "hunter2"}]}}},
        ),
        (
            {"env": [{"name": "API_TOKEN", "value": "x"}, {"name": "API_TOKEN", "value": "y"}]},
            {
                "env": [
                    {"name": "API_TOKEN", "value": "x"},
                    {"name": "API_TOKEN", "value": "hunter2"},
                ]
            },
        ),
        ({}, {"args": ["curl", "-H", "Authorization: Bearer hunter2"]}),
        (
            {"lifecycle": {"exec": {"command": ["sh", "-c", "true"]}}},
            {
                "lifecycle": {
                    "exec": {"command": ["sh", "-c", 'curl -H "Authorization: Bearer hunter2" x']}
                }
            },
        ),
        ({"image": "a"}, {"image": "https://me:hunter2@registry.example.com/a"}),
    ],
)
def test_what_looks_secret_is_masked(before: dict[str, Any], after: dict[str, Any]) -> None:
    for one, other in ((before, after), (after, before)):
        found = find_field_changes(deployment(**one), deployment(**other))
        assert found
        assert "hunter2" not in repr(found)
        assert MASK in repr(found)


@pytest.mark.parametrize(
    "path",
    [
        ("metadata", "annotations", "example.com/api-token"),
        ("spec", "triggers", 0, "metadata", "password"),
        ("spec", "rules", 0, "filters", 0, "requestHeaderModifier", "set", 0, "value"),
    ],
)
def test_the_same_values_are_masked_as_in_the_whole_object(path: FieldPath) -> None:
    found = format_differences([Difference(path, "hunter2", "hunter3")])
    assert [(one.old, one.new) for one in found] == [(MASK, MASK)]
    assert "hunter" not in repr(format_differences([Difference(path, MISSING, "hunter2")]))
    assert "hunter" not in repr(admission_changes(at(path, "hunter2"), at(path, "hunter3")))


def at(path: FieldPath, value: Any) -> Any:
    """An object with a value at a path."""
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [value]
    return value


def test_a_toleration_is_not_secret() -> None:
    path = ("spec", "tolerations", 0, "value")
    [found] = format_differences([Difference(path, "true", "false")])
    assert (found.old, found.new) == ("true", "false")


def test_what_is_not_secret_in_a_script_stays() -> None:
    script = "set -e; exec vllm serve 'm' --max-tokens=5 --port 8000 --tokenizer \"a b\""
    (found,) = find_field_changes(deployment(), deployment(args=["-c", script]))
    assert found.new == json.dumps(["-c", script])


def test_a_value_is_as_long_as_asked_for() -> None:
    differences = list(find_differences({"a": "x" * 500}, {"a": "y" * 500}))
    assert [len(one.new) for one in format_differences(differences)] == [200]
    assert [len(one.new) for one in format_differences(differences, 1000)] == [500]


def test_changes_of_anybody_are_harmless_on_a_screen() -> None:
    hostile = "k\x1b]0;pwn\x07\n\u202e"
    found = find_field_changes(
        {"spec": {hostile: hostile}}, {"spec": {hostile: [hostile], "list": [{hostile: 1}]}}
    )
    assert found
    for text in (text for one in found for text in one):
        assert text.isprintable(), ascii(text)


IMAGE = '.spec.template.spec.containers[name="server"].image'


def test_a_conflict_names_whose_field_it_is_and_both_values() -> None:
    cause = {"field": IMAGE, "message": 'conflict with "kubectl-set" using apps/v1'}
    odd: list[dict[str, Any]] = [{}, {"field": 5, "message": 5}, {"field": ".x"}]
    found = parse_conflicts([cause, *odd], deployment(image="ours"), deployment(image="theirs"))
    assert found == (FieldConflict(IMAGE, "kubectl-set", "theirs", "ours"),)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (IMAGE, "a:1"),
        ('.spec.template.spec.containers[name="other"].image', "none"),
        (".metadata.labels.servedeck.dev/serving", "llm"),
        (".spec.replicas", "none"),
        ('.spec.template.spec.containers[name="server"].env[name="HF_TOKEN"].value', MASK),
        (
            '.spec.template.spec.containers[name="server"].ports[containerPort=80,protocol="TCP"]'
            ".name",
            "http",
        ),
        (".spec.template[", "none"),
        ("nonsense", "none"),
    ],
)
def test_a_value_is_found_by_the_path_that_the_server_writes(path: str, value: str) -> None:
    ports = [
        {"name": "udp", "containerPort": 80, "protocol": "UDP"},
        {"name": "http", "containerPort": 80, "protocol": "TCP"},
    ]
    env = [{"name": "HF_TOKEN", "value": "hunter2"}]
    assert format_value_at(deployment(image="a:1", ports=ports, env=env), path) == value


def test_an_added_secret_is_still_an_addition() -> None:
    path = ("metadata", "annotations", "api-token")
    [found] = admission_changes({"metadata": {"annotations": {}}}, at(path, "hunter2"))
    assert (found.sent, found.admitted) == ("", MASK)
