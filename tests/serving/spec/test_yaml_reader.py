"""Hostile and odd YAML: every text is read, or rejected with its line and one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.spec import yaml_reader
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.document_issues import DocumentError
from servedeck.serving.spec.spec import ServingSpec

HEAD = """\
apiVersion: servedeck.dev/v1
kind: Serving
metadata: {name: a, namespace: p}
spec:
  template: custom
"""


def read(fields: str) -> ServingSpec:
    return from_yaml(HEAD + fields)


def issue_of(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        from_yaml(text)
    [issue] = caught.value.issues
    return str(issue)


def test_a_pair_of_surrogates_is_one_character_as_in_json() -> None:
    spec = read(
        r"""
  description: "a \ud83d\ude00 b"
  command: ["\ud83d\ude00"]
  env: [{name: A, value: "\ud83d\ude00\uD83D\uDE00"}]
"""
    )
    assert spec.description == "a \U0001f600 b"
    assert spec.command == ("\U0001f600",)
    assert spec.env[0].value == "\U0001f600\U0001f600"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ('  description: "{}"', "line 6: spec.description"),
        ('  command: [a, "{}"]', "line 6: spec.command.1"),
        ('  env:\n  - name: A\n    value: "{}"', "line 8: spec.env.0.value"),
        ('  volumes:\n  - pvc: "{}"\n    mountPath: /a', "line 7: spec.volumes.0.pvc"),
        ('  volumes:\n  - pvc: a\n    mountPath: "/{}"', "line 8: spec.volumes.0.mountPath"),
        ('  settings:\n    arguments: "{}"', "line 7: spec.settings.arguments"),
        ('  transformer: {{image: i, command: "{}"}}', "line 6: spec.transformer.command"),
    ],
)
@pytest.mark.parametrize(
    ("escape", "code"),
    [(r"\ud83d", "U+D83D"), (r"\ude00\ud83d", "U+DE00"), (r"\U0000DFFF", "U+DFFF")],
)
def test_half_of_a_pair_is_rejected_in_every_field(
    fields: str, place: str, escape: str, code: str
) -> None:
    assert issue_of(HEAD + fields.format(escape)) == (
        f"{place}: {code} is only one half of a surrogate pair; write the character itself."
    )


def test_half_of_a_pair_in_the_name_of_a_field_is_rejected() -> None:
    with pytest.raises(DocumentError, match=r"line 6: spec: U\+D83D is only one half"):
        read('  "\\ud83d": 1')


@pytest.mark.parametrize("escape", [r"\U00110000", r"\UFFFFFFFF"])
def test_an_escape_out_of_range_is_named_by_line(escape: str) -> None:
    assert issue_of(f'{HEAD}  description: "a\n    {escape}"') == (
        "line 7: This is not YAML: an escape or a number is out of range; correct it."
    )


def test_a_number_of_a_directive_out_of_range_is_named_by_line() -> None:
    assert issue_of(f"%YAML 1.{'1' * 5000}\n---\n{HEAD}").startswith("line 1: This is not YAML:")


@pytest.mark.parametrize(
    ("character", "code"),
    [("\x00", "U+0000"), ("\x1b", "U+001B"), ("\x7f", "U+007F"), ("\ufffe", "U+FFFE")],
)
def test_a_character_that_yaml_does_not_allow_is_named_with_its_line(
    character: str, code: str
) -> None:
    assert issue_of(f"{HEAD}  description: a{character}b") == (
        f"line 6: This is not YAML: the character {code} is not allowed; remove it."
    )


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ("  ? [a]\n  : 1", "line 6: spec"),
        ("  ? {a: b}\n  : 1", "line 6: spec"),
        ("  settings:\n    ? [a]\n    : 1", "line 7: spec.settings"),
        ("  ?\n  : 1", "line 6: spec"),
        ('  "": 1', "line 6: spec"),
    ],
)
def test_a_name_of_a_field_that_is_no_text_is_rejected(fields: str, place: str) -> None:
    assert issue_of(HEAD + fields) == f"{place}: A field's name must be text; correct it."


def test_a_document_whose_first_name_is_no_text_is_rejected() -> None:
    assert issue_of("? [a]\n: b") == "line 1: A field's name must be text; correct it."


@pytest.mark.parametrize(
    "value",
    ["!!str null", "!!binary aGk=", "!!python/object:os.system ls", "!own a", "! a", "!!seq [a]"],
)
def test_tags_are_rejected(value: str) -> None:
    assert issue_of(f"{HEAD}  description: {value}") == (
        "line 6: YAML tags are not supported; remove the tag, and quote the value."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10_000_000, "line 1: This is nested too deeply; flatten it."),
        ("? " * 5_000_000, "line 1: This is nested too deeply; flatten it."),
        (
            "a: &a [x, x]\n" + "b: [*a, *a]\n" * 800_000,
            "line 2: YAML aliases are not supported; write the value out.",
        ),
        ("a" * 16_000_001, "The text is longer than 16 million characters."),
    ],
    ids=["lists", "keys", "aliases", "length"],
)
def test_a_long_hostile_text_is_rejected(text: str, message: str) -> None:
    assert issue_of(text) == message


def test_the_number_of_values_is_limited_over_all_documents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(yaml_reader, "MAX_VALUES", 100)
    assert issue_of("---\n- a\n- b\n" * 50) == (
        "line 101: The text has more than 100 values; split it into several files."
    )


@given(st.text(st.characters(exclude_categories=[]), max_size=20))
def test_any_text_in_double_quotes_is_read_as_json_reads_it_or_rejected(text: str) -> None:
    escaped = "".join(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else char for char in text)
    try:
        spec = read(f'  env: [{{name: A, value: "{escaped}"}}]')
    except DocumentError as error:
        assert error.issues[0].line == 6
    else:
        assert (
            spec.env[0].value.encode()
            == text.encode("utf-16", "surrogatepass").decode("utf-16").encode()
        )
