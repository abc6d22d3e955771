from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.spec.env_file import looks_secret, parse_env
from tests.serving.strategies import env_names, texts


def quote_value(value: str) -> str:
    escapes = {c: f"\\{c}" for c in '\\"$`'} | {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return f'"{value.translate(str.maketrans(escapes))}"'


def parse_pairs(text: str) -> list[tuple[str, str]]:
    return [(one.name, one.value) for one in parse_env(text).assignments]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("  export   A = b c  ", "b c"),
        ("A=b # note", "b"),
        ("A=b#c", "b#c"),
        ("A=#c", ""),
        ("A='b # c'", "b # c"),
        ('A="b # c" # note', "b # c"),
        ("A='$HOME \\n'", "$HOME \\n"),
        ('A="one\\ntwo\\t\\"\\\\\\$"', 'one\ntwo\t"\\$'),
        ('A="one\ntwo"', "one\ntwo"),
        ("A='one\n# no comment\ntwo'", "one\n# no comment\ntwo"),
        ("A=a=b=c", "a=b=c"),
        ("A=it's", "it's"),
        ('A={"a": "b"}', '{"a": "b"}'),
        ("\ufeffA=b\r\n", "b"),
        ("# note\n\n  # more\nA=b", "b"),
        ("A=$(B)/c", "$(B)/c"),
    ],
)
def test_a_value_is_read(text: str, value: str) -> None:
    assert parse_pairs(text) == [("A", value)]
    assert not parse_env(text).invalid_lines


def test_bad_lines_are_named_by_number_and_kept_while_the_others_are_read() -> None:
    text = "A=1\njust words\n1B=2\nC='open\nD=4\nE='x' y\n=5\nF=6"
    got = parse_env(text)
    assert [(one.line, one.name) for one in got.assignments] == [(1, "A"), (5, "D"), (8, "F")]
    assert [(one.line, one.text) for one in got.invalid_lines] == [
        (2, "just words"),
        (3, "1B=2"),
        (4, "C='open"),
        (6, "E='x' y"),
        (7, "=5"),
    ]
    assert all(one.message.endswith(".") for one in got.invalid_lines)


def test_the_line_after_a_value_of_several_lines_keeps_its_number() -> None:
    got = parse_env('A="one\ntwo"\nbad line\nB=1')
    assert [one.line for one in got.invalid_lines] == [3]
    assert [one.line for one in got.assignments] == [1, 4]


def test_a_name_that_comes_twice_is_kept_twice() -> None:
    assert parse_pairs("A=1\nA=2") == [("A", "1"), ("A", "2")]


@given(st.lists(st.tuples(env_names, texts)))
def test_what_is_quoted_is_read_back(variables: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}={quote_value(value)}\n" for name, value in variables)
    assert parse_pairs(text) == variables
    assert not parse_env(text).invalid_lines


@given(st.text())
def test_any_text_is_read_without_losing_a_line(text: str) -> None:
    got = parse_env(text)
    for one in got.invalid_lines:
        assert all(line in text.replace("\r\n", "\n") for line in one.text.split("\n"))
    kept = [one.line for one in got.assignments] + [one.line for one in got.invalid_lines]
    assert len(kept) == len(set(kept))
    meant = [
        at
        for at, line in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), 1)
        if line.strip(" \t\r\f\v") and not line.strip(" \t\r\f\v").startswith("#")
    ]
    assert not meant or kept


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "API_KEY",
        "OPENAI_APIKEY",
        "AWS_SECRET_ACCESS_KEY",
        "DB_PASSWORD",
        "PASSWD",
        "CLIENT_SECRET",
        "PRIVATE_KEY",
        "access.key",
        "GOOGLE_CREDENTIALS",
        "BASIC_AUTH",
        "accessKey",
        "clientSecret",
        "authToken",
        "DB_PASS",
        "LITELLM_MASTER_KEY",
        "X-Api-Key",
        "Authorization",
        "Set-Cookie",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name, "x")


@pytest.mark.parametrize(
    "name",
    [
        "MAX_TOKENS",
        "TOKENIZERS_PARALLELISM",
        "TOKEN_FILE",
        "PASSWORD_FILE",
        "PUBLIC_KEY",
        "KEYCLOAK_URL",
        "HF_HOME",
        "SECRET_NAME",
        "MONKEY",
        "VLLM_LOGGING_LEVEL",
        "AUTHOR",
        "KEY_COUNT",
        "CUDA_VISIBLE_DEVICES",
        "tokenizerMode",
        "maxTokens",
        "prompt_token_ids",
        "PASS",
        "BYPASS",
    ],
)
def test_names_of_no_secrets(name: str) -> None:
    assert not looks_secret(name, "x")


@pytest.mark.parametrize(
    "value",
    [
        "hf_abcdefghijklmnopqrstuvwxyz",
        "sk-proj-abcdefghijklmnop1234",
        "ghp_" + "a" * 36,
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "-----BEGIN RSA PRIVATE KEY-----\nabc",
        "postgres://user:pass@db/x",
        "ASIAABCDEFGHIJKLMNOP",
        "AIza" + "a" * 35,
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nabc",
    ],
)
def test_values_that_are_secret_under_any_name(value: str) -> None:
    assert looks_secret("X", value)
    assert not looks_secret("X", "https://example.com/a:b@c")
