"""What is redacted in a bundle: known values in any encoding, objects, logs."""

from __future__ import annotations

import base64
import html
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.bundle.redaction import MIN_KNOWN_LENGTH, LogRedactor, Redactor
from servedeck.serving.text import MASK, sanitize
from servedeck.serving.yaml_text import LAST_APPLIED, object_text

SECRETS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co")),
    min_size=MIN_KNOWN_LENGTH,
    max_size=60,
).filter(lambda text: len(text.strip()) >= MIN_KNOWN_LENGTH and MASK not in text)


def secret(**data: str | bytes) -> dict[str, Any]:
    encoded = {
        key: base64.b64encode(one if isinstance(one, bytes) else one.encode()).decode()
        for key, one in data.items()
    }
    return {"kind": "Secret", "data": encoded}


def redactor_of(**data: str | bytes) -> Redactor:
    redactor = Redactor()
    redactor.add_secret(secret(**data))
    return redactor


def encodings(value: str) -> list[str]:
    """The encodings of a value that the documentation promises to redact."""
    data = value.encode()
    return [
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        html.escape(value),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
    ]


@given(st.lists(SECRETS, min_size=1, max_size=4), st.text(), st.text())
def test_no_known_value_stays_in_any_promised_encoding(
    values: list[str], before: str, after: str
) -> None:
    redactor = redactor_of(**{f"k{number}": value for number, value in enumerate(values)})
    for value in values:
        for encoded in encodings(value):
            found = redactor.mask_known(f"{before}{encoded}{after}")
            assert found.count(encoded) <= f"{before}{after}".count(encoded)
            assert MASK in found


@given(SECRETS, st.text(max_size=5))
def test_no_known_value_stays_in_basic_credentials(value: str, user: str) -> None:
    redactor = redactor_of(password=value)
    encoded = base64.b64encode(f"{user}:{value}:end".encode()).decode()
    found = redactor.mask_known(encoded)
    assert MASK in found
    head, _, tail = found.partition(MASK)
    left = base64.b64decode(head + "A" * (-len(head) % 4)) + base64.b64decode(
        "A" * (-len(tail) % 4) + tail
    )
    assert value.encode() not in left


def object_with(value: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"annotations": {"note": f"a {value} b", LAST_APPLIED: json.dumps([value])}},
        "spec": {"containers": [{"args": ["--x", value, f"a={value}"], "env": [{"value": value}]}]},
        "status": {"message": f"failed: {json.dumps(value)}"},
    }


@given(SECRETS)
@example("tatus:")
def test_no_known_value_stays_in_an_object_or_a_log(value: str) -> None:
    redactor = redactor_of(x=value)
    redacted, count = redactor.object(object_with(value))
    assert count
    text = object_text(redacted)
    begin = "2026-11-28T12:00:00Z "
    line = sanitize(f"{begin}{value}").replace("\n", " ")
    (logged,) = LogRedactor(redactor).lines([line])
    shown = sanitize(value).strip()
    # The names of the fields, and what else is there without the value, stay.
    for found, without in ((text, object_text(object_with(""))), (logged, begin)):
        if len(shown) >= MIN_KNOWN_LENGTH:
            assert found.count(shown) <= without.count(shown)
        assert found.count(value) <= without.count(value)


def test_a_value_that_is_part_of_another_one_leaves_nothing_of_it() -> None:
    redactor = redactor_of(a="abcdef", b="abcdefghij")
    assert redactor.mask_known("x abcdefghij y abcdef z") == f"x {MASK} y {MASK} z"


def test_a_short_value_and_a_public_name_stay() -> None:
    redactor = Redactor(public=["production"])
    redactor.add_secret(secret(a="abc", b="production"))
    assert redactor.mask_known("abc in production") == "abc in production"


def test_a_certificate_stays() -> None:
    redactor = redactor_of(**{"ca.crt": "a certificate", "token": "a token of it"})
    assert redactor.mask_known("a certificate, a token of it") == f"a certificate, {MASK}"


def test_a_binary_value_is_known_by_its_base64() -> None:
    raw = bytes(range(128, 160))
    redactor = redactor_of(key=raw)
    assert redactor.mask_known(f"key {base64.b64encode(raw).decode()}") == f"key {MASK}"


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("first line\nsecond line", "second line"),
        ('{"auths": {"host": {"password": "hunter2x", "n": 1}}}', "hunter2x"),
        ('["hunter2x"]', "hunter2x"),
        ("export API_KEY='hunter2x'\nLEVEL=debug", "hunter2x"),
        ("password: hunter2x", "hunter2x"),
        ("postgres://user:hunter2x@db/x", "hunter2x"),
    ],
)
def test_parts_of_a_value_are_known(value: str, part: str) -> None:
    assert redactor_of(config=value).mask_known(f"using {part}.") == f"using {MASK}."


def test_no_line_of_a_secret_of_several_lines_stays_in_a_log() -> None:
    lines = ["a-first-line", "another-line", "the-last-one"]
    redactor = redactor_of(config="\n".join(lines))
    assert LogRedactor(redactor).lines([f"> {one}" for one in lines]) == [f"> {MASK}"] * 3


def test_a_value_that_the_end_of_a_long_line_cuts_off_is_masked() -> None:
    (line,) = LogRedactor(redactor_of(a="hunter2x")).lines(["xx hunter2 … [9 more bytes]"])
    assert line == f"xx {MASK} … [9 more bytes]"


def env_object(value: str, **annotations: str) -> dict[str, Any]:
    env = [{"name": "API_TOKEN", "value": value}]
    return {
        "kind": "Deployment",
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"env": env, "args": [f"--db=postgres://u:{value}2@h/x"]}]},
    }


def test_a_value_of_an_object_is_known_in_texts_without_its_name() -> None:
    redactor = Redactor()
    redactor.learn_from(env_object("hunter2x"))
    assert redactor.text("got hunter2x") == f"got {MASK}"
    assert redactor.text("got hunter2x2!") == f"got {MASK}!"


def test_a_value_of_the_object_as_it_was_applied_is_known_and_nothing_else_of_it() -> None:
    redactor = Redactor()
    before = {**env_object("old-token-1"), "image": "vllm/vllm-openai:v1"}
    redactor.learn_from(env_object("hunter2x", **{LAST_APPLIED: json.dumps(before)}))
    text = "image vllm/vllm-openai:v1, Deployment, old-token-1"
    assert redactor.text(text) == f"image vllm/vllm-openai:v1, Deployment, {MASK}"


@pytest.mark.parametrize("value", ["disabled", "$(TOKEN_NAME)"])
def test_ordinary_words_and_references_are_not_learned(value: str) -> None:
    redactor = Redactor()
    redactor.learn_from(env_object(value))
    assert redactor.text(f"it is {value}") == f"it is {value}"


def test_an_object_is_redacted_by_name_at_any_place() -> None:
    obj = {
        "kind": "Custom",
        "metadata": {"annotations": {"example.com/api-token": "hunter2x", "auth-url": "http://a"}},
        "spec": {
            "apiKey": "hunter2x",
            "secretName": "hf",
            "maxTokens": 5,
            "note": "password=hunter2x",
        },
    }
    redacted, count = Redactor().object(obj)
    assert redacted == {
        "kind": "Custom",
        "metadata": {"annotations": {"example.com/api-token": MASK, "auth-url": "http://a"}},
        "spec": {"apiKey": MASK, "secretName": "hf", "maxTokens": 5, "note": f"password={MASK}"},
    }
    assert count == 3


def test_a_known_value_in_a_key_is_masked() -> None:
    obj = {"metadata": {"labels": {"hunter2x": "a"}}}
    assert redactor_of(a="hunter2x").object(obj)[0] == {"metadata": {"labels": {MASK: "a"}}}


def test_what_is_redacted_is_counted() -> None:
    redactor = redactor_of(a="hunter2x")
    redactor.text("hunter2x hunter2x password=abc")
    assert redactor.count == 3
