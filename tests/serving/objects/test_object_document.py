"""Objects as documents for an editor: the same object comes back, and a mistake is a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from servedeck.serving.objects.object_document import (
    ObjectDocumentError,
    editable_part,
    read_document,
    write_document,
)
from tests.serving.foreign_manifests import foreign_objects

OBJECT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "chat",
        "namespace": "team",
        "uid": "1",
        "resourceVersion": "5",
        "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "helm"}],
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "example.com/at": "2026-01-01T00:00:00Z",
        },
    },
    "spec": {"replicas": 2},
    "status": {"replicas": 2},
}


def test_what_the_api_server_sets_is_left_out() -> None:
    assert editable_part(OBJECT) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "chat",
            "namespace": "team",
            "annotations": {"example.com/at": "2026-01-01T00:00:00Z"},
        },
        "spec": {"replicas": 2},
    }


@given(foreign_objects())
def test_an_unchanged_document_is_the_same_object(objects: Any) -> None:
    for one in objects:
        part = editable_part(one)
        assert read_document(write_document(part, ["A comment: # {x}"]), part) == part


def test_a_time_without_quotes_is_a_string() -> None:
    text = write_document(editable_part(OBJECT)).replace(
        '"2026-01-01T00:00:00Z"', "2026-01-01T00:00:00Z"
    )
    assert read_document(text, OBJECT) == editable_part(OBJECT)


def test_a_comment_of_any_text_stays_a_comment() -> None:
    part = editable_part(OBJECT)
    text = write_document(part, ["first\nspec: {}\x1b[31m " + "word " * 100])
    assert read_document(text, OBJECT) == part
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 120


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("replicas: 2", "replicas: [2", "This is not YAML: line "),
        ("replicas: 2", "replicas: 2\n  replicas: 3", "the field replicas is there twice."),
        ("name: chat", "name: other", "metadata.name cannot be changed: it is chat."),
        ("namespace: team", "namespace: x", "metadata.namespace cannot be changed: it is team."),
        ("kind: Deployment", "kind: Pod", "kind cannot be changed: it is Deployment."),
        ("replicas: 2", "? [a]\n  : 2", "a field's name must be text"),
    ],
)
def test_a_mistake_is_one_sentence(old: str, new: str, message: str) -> None:
    text = write_document(editable_part(OBJECT))
    assert old in text
    with pytest.raises(ObjectDocumentError) as error:
        read_document(text.replace(old, new), OBJECT)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("annotations", "[x]", "metadata.annotations must be names with values"),
        ("annotations", "text", "metadata.annotations must be names with values"),
        ("labels", "[{a: b}]", "metadata.labels must be names with values"),
        ("labels", "{a: 5}", "metadata.labels.a must be text; put its value in quotes."),
        ("annotations", "{a: null}", "metadata.annotations.a must be text"),
    ],
)
def test_labels_and_annotations_of_another_type_are_a_mistake(
    name: str, value: str, message: str
) -> None:
    text = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: chat, {name}: {value}}}\n"
    with pytest.raises(ObjectDocumentError, match=message):
        read_document(text, OBJECT)


def read_spec(spec: str) -> Any:
    text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: chat, namespace: team}\n"
    return read_document(f"{text}spec: {spec}\n", OBJECT)["spec"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30", "12:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("2026-01-01", "2026-01-01"),
        ("10", 10),
        ("-0x1F", -31),
        ("017", 15),
        ("0o17", 15),
        ("1e3", 1000),
        ("2.0", 2),
        ("1.5", 1.5),
        ("1_000", 1000),
        ("1.2.3", "1.2.3"),
        ("e3", "e3"),
        ("yes", True),
        ("null", None),
        ("10Gi", "10Gi"),
    ],
)
def test_a_value_is_what_kubernetes_reads(text: str, value: Any) -> None:
    found = read_spec(f"{{a: {text}}}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_a_name_is_what_kubernetes_reads() -> None:
    assert list(read_spec("{on: 1, 7: 2, 1.50: 3, x: 4, 12:30: 5}")) == [
        "true",
        "7",
        "1.5",
        "x",
        "12:30",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ('{a: "\\ud800"}', "spec.a has a character that is no Unicode text"),
        ('{"\\udfff": 1}', "has a character that is no Unicode text"),
        ('{a: !!int ""}', "This is not YAML"),
        ("{a: !!bool x}", "This is not YAML"),
        ("{a: !!timestamp x}", "This is not YAML"),
        ("{a: !!float x}", "This is not YAML"),
        ("{a: !!binary aGk=}", "spec.a has a type that the API server cannot store"),
        ("{a: [!!set {q}]}", "spec.a\\[0\\] has a type"),
        ("{a: !!timestamp 2020-01-01}", "spec.a has a type"),
        ("{a: .inf}", "spec.a is no number"),
        ("{a: .nan}", "spec.a is no number"),
        ("{on: 1, yes: 2}", "the field true is there twice"),
        ("{null: 1}", "a field's name must be text"),
        ("&x {a: *x}", "An alias"),
        ("[" * 3000, "nested too deeply"),
        ("{a: " + "9" * 5000 + "}", "a number is too long"),
    ],
)
def test_what_cannot_be_sent_is_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(ObjectDocumentError, match=message):
        read_spec(spec)


def test_metadata_that_are_no_map_are_a_mistake() -> None:
    with pytest.raises(ObjectDocumentError, match="metadata must be fields with values"):
        read_document("apiVersion: apps/v1\nkind: Deployment\nmetadata: [name]\n", OBJECT)


@pytest.mark.parametrize("text", ["", "- a\n", "text\n", "# only a comment\n"])
def test_a_text_without_an_object_is_refused(text: str) -> None:
    with pytest.raises(ObjectDocumentError, match="This is no object"):
        read_document(text, OBJECT)
