from __future__ import annotations

import json
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.spec.document import (
    ServingDocument,
    all_from_yaml,
    from_yaml,
    read_documents,
    to_yaml,
    validate_identities,
)
from servedeck.serving.spec.document_issues import DocumentError
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.strategies import valid_specs

DOCUMENT_HEAD = "apiVersion: servedeck.dev/v1\nkind: Serving\n"


def make_document(text: str, metadata: str = "{name: a}") -> str:
    return f"{DOCUMENT_HEAD}metadata: {metadata}\nspec:\n" + textwrap.indent(
        textwrap.dedent(text), "  "
    )


def issue_texts(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        from_yaml(text)
    assert str(caught.value) == "\n".join(str(one) for one in caught.value.issues)
    return [str(one) for one in caught.value.issues]


@given(valid_specs())
def test_a_serving_is_read_back_from_its_document(spec: ServingSpec) -> None:
    assert from_yaml(to_yaml(spec)) == spec


def test_a_short_document_has_the_defaults() -> None:
    spec = from_yaml(make_document("template: vllm\nimage: i\nsettings: {model: m}"))
    wanted = {"template": "vllm", "image": "i", "settings": {"model": "m"}}
    assert spec == ServingSpec.model_validate({"name": "a", **wanted})


def test_scalars_keep_their_text() -> None:
    spec = from_yaml(
        make_document(
            """\
            template: custom
            image: 1.10
            cpu: 0.5
            env:
            - {name: A, value: yes}
            - {name: B, value: 0123}
            - {name: C, value: 1e3}
            - {name: D, value: "null"}
            - {name: E, value: ~}
            - {name: F, value: 2026-01-01}
            """
        )
    )
    assert spec.image == "1.10"
    assert [one.value for one in spec.env] == ["yes", "0123", "1e3", "null", "", "2026-01-01"]


def test_json_is_read_too() -> None:
    text = (
        '{"apiVersion": "servedeck.dev/v1", "kind": "Serving", "metadata": {"name": "a"}, '
        '"spec": {"template": "custom", "replicas": 2}}'
    )
    assert from_yaml(text).replicas == 2


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "The text contains no serving; start it with apiVersion: servedeck.dev/v1."),
        ("- a", "line 1: A serving is a mapping of fields."),
        ("kind: Serving", "line 1: apiVersion: This must be servedeck.dev/v1; correct it."),
        (
            "apiVersion: servedeck.dev/v1\nkind: Pod",
            "line 2: kind: This must be Serving; correct it.",
        ),
        (DOCUMENT_HEAD, "line 1: metadata: A mapping is missing here; add it."),
        (make_document("cpu: 1"), "line 4: spec.template: This field is missing; add it."),
        (
            make_document("template: vllm\nreplicas: two"),
            "line 6: spec.replicas: 'two' is not a whole number; enter a value such as 1.",
        ),
        (
            make_document("template: vllm\nsettings:\n  tensorParallelSize: x"),
            "line 7: spec.settings.tensorParallelSize: 'x' is not a whole number",
        ),
        (
            make_document("template: custom\nenv:\n- name: A\n- value: x"),
            "line 8: spec.env.1.name: This field is missing; add it.",
        ),
        (
            make_document("template: custom\ncpu: 1\ncpu: 2"),
            "line 7: spec.cpu: This field is already set on line 6; keep one of them.",
        ),
        (
            make_document("template: custom\nacceleratorcount: 1"),
            "line 6: spec.acceleratorcount: There is no such field",
        ),
        (
            make_document("name: b\ntemplate: custom"),
            "line 5: spec.name: The name and the namespace belong",
        ),
        (
            make_document("template: custom", "{name: a, labels: {}}"),
            "line 3: metadata.labels: Only name and namespace",
        ),
        ("a: [1,", "line 1: This is not YAML:"),
        ("a: b\n\tc: d", "line 2: This is not YAML:"),
        ("a: \x00", "line 1: This is not YAML:"),
        ("a: &x 1\nb: *x", "line 2: YAML aliases are not supported; write the value out."),
        ("[" * 30, "line 1: This is nested too deeply; flatten it."),
        (
            make_document("template: custom\nreplicas:"),
            "line 6: spec.replicas: A whole number is missing; enter a value such as 1.",
        ),
        (
            make_document("template: custom\nvolumes: [{pvc: a, mountPath: /a, readOnly: }]"),
            "line 6: spec.volumes.0.readOnly: A value is missing; enter true or false.",
        ),
    ],
)
def test_what_is_wrong_is_named_by_line_and_field(text: str, wanted: str) -> None:
    assert issue_texts(text)[0].startswith(wanted)


def test_all_problems_of_a_document_are_named() -> None:
    got = issue_texts(make_document("template: vllm\ncpu: x\nmemory: y"))
    assert [one.split(":")[0] for one in got] == ["line 6", "line 7"]


def test_several_documents() -> None:
    text = "---\n".join(
        make_document("template: custom", f"{{name: {name}}}") + "\n" for name in "ab"
    )
    assert [one.name for one in all_from_yaml(text)] == ["a", "b"]
    with pytest.raises(DocumentError, match="There are 2 servings"):
        from_yaml(text)


def test_an_export_as_long_as_kubernetes_allows_is_read_back() -> None:
    variables = [{"name": f"A{at}", "value": "x" * 120_000} for at in range(9)]
    spec = ServingSpec.model_validate({"name": "a", "template": "custom", "env": variables})
    written = to_yaml(spec)
    assert len(written) > 1_000_000
    assert from_yaml(written) == spec


def test_a_long_name_of_a_field_does_not_fill_the_terminal() -> None:
    [message] = issue_texts(make_document(f"template: custom\n? {'x' * 10_000}\n: 1"))
    assert len(message) < 300
    assert "There is no such field" in message


def test_a_command_line_that_takes_too_long_to_split_is_rejected() -> None:
    text = make_document(f"template: custom\ncommand: {'x' * 500_001}")
    assert issue_texts(text) == [
        "line 6: spec.command: This command line is too long; enter it as a list of arguments."
    ]


def documents_of(*metadata: str) -> list[ServingDocument]:
    text = "---\n".join(make_document("template: custom", one) + "\n" for one in metadata)
    return read_documents(text)


@pytest.mark.parametrize(
    "name", ["", "null", '""', ".", "..", "a/b", "A", "-a", "a..b", "a" * 254, '"a\\0"']
)
def test_a_name_that_no_object_can_have_is_named_by_line(name: str) -> None:
    documents = documents_of("{name: good}", f"{{name: {name}}}")
    [issue] = validate_identities(documents, "p")
    assert (issue.line, issue.field) == (9, "metadata.name")
    assert issue.message.startswith("The service name ")


def test_a_missing_name_is_at_the_line_of_metadata() -> None:
    [issue] = validate_identities(documents_of("{namespace: p}"), "p")
    assert str(issue).startswith("line 3: metadata.name: The service name is missing")


def test_an_existing_serving_of_another_origin_may_have_dots_in_its_name() -> None:
    assert validate_identities(documents_of("{name: a.b}"), "p") == []


@pytest.mark.parametrize("namespace", [".", "a.b", "a/b", "Team"])
def test_an_invalid_namespace_is_named_by_line(namespace: str) -> None:
    [issue] = validate_identities(documents_of(f"{{name: a, namespace: {namespace}}}"), "p")
    assert str(issue).startswith("line 3: metadata.namespace: The namespace may contain only")


def test_a_serving_that_is_there_twice_is_named_with_both_lines() -> None:
    documents = documents_of("{name: a}", "{name: a, namespace: q}", "{name: a, namespace: p}")
    assert validate_identities(documents, "other") == []
    [issue] = validate_identities(documents, "p")
    assert str(issue) == (
        "line 15: metadata.name: The serving a in namespace p is already on line 3; "
        "keep one of them."
    )


def test_a_form_takes_a_document_without_a_name() -> None:
    assert from_yaml(make_document("template: custom", "{name: ''}")).name == ""


@given(st.text(max_size=60))
def test_any_text_is_a_serving_or_a_document_error(text: str) -> None:
    for whole in (text, DOCUMENT_HEAD + text, make_document(text)):
        try:
            all_from_yaml(whole)
        except DocumentError as exc:
            assert exc.issues


def test_a_value_of_several_lines_is_written_as_a_block() -> None:
    spec = from_yaml(make_document("template: custom\ndescription: |\n  one\n  two"))
    assert "description: |-\n    one\n    two\n" in to_yaml(spec)


HOSTILE = (
    "bad\x1b]0;pwn\a",
    "\x1b[2J\n\x00\x07",
    "\x9b31m",
    "txt\u202eexe",
    "zero\u200bwidth",
    "a\u00a0b\u2028c\u2029d\ufeff",
    "back\\\x1b\\",
    "'\"\x7f",
    " ".join(["a long one\u202e"] * 30),
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_serving_writes_control_sequences(text: str) -> None:
    spec = ServingSpec.model_validate(
        {
            "name": "a",
            "template": "custom",
            "description": text,
            "command": ["sh", text],
            "env": [{"name": "A", "value": text}],
        }
    )
    written = to_yaml(spec)
    assert written.replace("\n", "").isprintable()
    assert from_yaml(written) == spec


@pytest.mark.parametrize("text", HOSTILE)
def test_no_message_about_a_document_writes_control_sequences(text: str) -> None:
    quoted = json.dumps(text)
    documents = (
        make_document(f"template: custom\n{quoted}: x"),
        make_document(f"template: {quoted}"),
        make_document(f"template: custom\nreplicas: {quoted}"),
        make_document(f"template: custom\ncpu: {quoted}"),
        make_document(f"template: vllm\nsettings: {{{quoted}: x}}"),
        f"{DOCUMENT_HEAD}{quoted}: x\n",
        f"{DOCUMENT_HEAD}metadata: {{{quoted}: x}}\nspec: {{{quoted}: 1, {quoted}: 2}}\n",
        f"kind: {quoted}\n",
        f"{quoted}\n",
        text,
    )
    for document in documents:
        for message in issue_texts(document):
            assert message.isprintable(), ascii(text)
