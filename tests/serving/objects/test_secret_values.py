"""Masking of values that look secret in whole objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servedeck.serving.objects.secret_values import mask_secret_values
from servedeck.serving.text import MASK
from servedeck.serving.yaml_text import LAST_APPLIED

TOKEN = "hf_" + "a1B2c3D4e5" * 3


def container(**fields: Any) -> dict[str, Any]:
    return {"kind": "Pod", "spec": {"containers": [{"name": "server", **fields}]}}


@pytest.mark.parametrize(
    ("fields", "expected", "count"),
    [
        (
            {"env": [{"name": "HF_TOKEN", "value": "x"}, {"name": "MAX_TOKENS", "value": "5"}]},
            {"env": [{"name": "HF_TOKEN", "value": MASK}, {"name": "MAX_TOKENS", "value": "5"}]},
            1,
        ),
        (
            {"env": [{"name": "X", "value": TOKEN}, {"name": "API_KEY", "value": ""}]},
            {"env": [{"name": "X", "value": MASK}, {"name": "API_KEY", "value": ""}]},
            1,
        ),
        (
            {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}]},
            {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}]},
            0,
        ),
        (
            {"args": ["--api-key", "abc", "--model", "m", "--token=abc", "--max-tokens=5"]},
            {"args": ["--api-key", MASK, "--model", "m", f"--token={MASK}", "--max-tokens=5"]},
            2,
        ),
        (
            {"command": ["sh", "-c", f"export HF_TOKEN='abc'\nvllm serve m --api-key abc {TOKEN}"]},
            {
                "command": [
                    "sh",
                    "-c",
                    f"export HF_TOKEN='{MASK}'\nvllm serve m --api-key {MASK} {MASK}",
                ]
            },
            3,
        ),
        (
            {"args": ["--api-key", "--verbose", "--db=postgres://u:p@h/d"]},
            {"args": ["--api-key", "--verbose", f"--db={MASK}"]},
            1,
        ),
        (
            {"command": ["sh", "-c", "curl -H 'Authorization: Bearer abc' -H X-Api-Key:abc u:80"]},
            {
                "command": [
                    "sh",
                    "-c",
                    f"curl -H 'Authorization: Bearer {MASK}' -H X-Api-Key:{MASK} u:80",
                ]
            },
            2,
        ),
        (
            {"args": ["sh", "-c", "echo ${API_TOKEN:-none} ${API_TOKEN:?set it}"]},
            {"args": ["sh", "-c", "echo ${API_TOKEN:-none} ${API_TOKEN:?set it}"]},
            0,
        ),
        (
            {"command": ["sh", "-c", "serve --api-key \\\n  S16SECRET --token=\\\nS --port 80"]},
            {
                "command": [
                    "sh",
                    "-c",
                    f"serve --api-key \\\n  {MASK} --token=\\\n{MASK} --port 80",
                ]
            },
            2,
        ),
        (
            {"command": ["sh -c \"HF_TOKEN='S s' A='b' serve\" --api-key 'x'y"]},
            {"command": [f"sh -c \"HF_TOKEN='{MASK}' A='b' serve\" --api-key '{MASK}'"]},
            2,
        ),
        (
            {"args": ["--config", '{"api_key": "a\\"b c", "n": 1, "password":12, "m": "x"}']},
            {
                "args": [
                    "--config",
                    f'{{"api_key": "{MASK}", "n": 1, "password":"{MASK}", "m": "x"}}',
                ]
            },
            2,
        ),
        (
            {"args": ['sh -c "x --config={\\"api_keys\\": [\\"S\\"], \\"token\\":\\"T\\"}"']},
            {
                "args": [
                    f'sh -c "x --config={{\\"api_keys\\": \\"{MASK}\\", \\"token\\":\\"{MASK}\\"}}"'
                ]
            },
            2,
        ),
        (
            {"env": [{"name": "VLLM_ARGS", "value": "--port 80 --api-key S"}]},
            {"env": [{"name": "VLLM_ARGS", "value": MASK}]},
            1,
        ),
        ({"args": ["--api-key", 5, None]}, {"args": ["--api-key", 5, None]}, 0),
    ],
)
def test_a_container(fields: dict[str, Any], expected: dict[str, Any], count: int) -> None:
    value = container(**fields)
    before = json.dumps(value)
    assert mask_secret_values(value) == (container(**expected), count)
    assert json.dumps(value) == before


def test_a_config_map_and_a_trigger() -> None:
    config_map = {"kind": "ConfigMap", "data": {"password": "x", "model": "m", "n": 1}}
    masked = {"kind": "ConfigMap", "data": {"password": MASK, "model": "m", "n": 1}}
    assert mask_secret_values(config_map) == (masked, 1)
    triggers = [{"type": "prometheus", "metadata": {"apiKey": "x", "apikey": "x", "query": "q"}}]
    scaled = {"kind": "ScaledObject", "spec": {"triggers": triggers}}
    found, count = mask_secret_values(scaled)
    assert found["spec"]["triggers"][0]["metadata"]["apikey"] == MASK
    assert found["spec"]["triggers"][0]["metadata"]["query"] == "q"
    assert count == sum(one == MASK for one in found["spec"]["triggers"][0]["metadata"].values())


def test_the_key_of_a_route_of_openshift() -> None:
    """Its router takes a key from the text of the certificate, too."""
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    key = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
    tls = {"termination": "edge", "certificate": certificate, "key": key}
    found, count = mask_secret_values({"kind": "Route", "spec": {"tls": tls}})
    assert (found["spec"]["tls"], count) == ({**tls, "key": MASK}, 1)
    parameters = "-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n"
    before = (
        certificate,
        certificate + certificate,
        f"\n{certificate}",
        parameters,
        f"Bag Attributes\n    friendlyName: a\n{certificate}",
        "# the key\n  ",
    )
    for text in (f"{one}{key}" for one in before):
        found, count = mask_secret_values({"kind": "Route", "spec": {"tls": {"certificate": text}}})
        assert (found["spec"]["tls"]["certificate"], count) == (MASK, 1)


def test_every_value_of_a_secret() -> None:
    value = {"kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "YQ==", "b": ""}}
    found, count = mask_secret_values(value)
    assert (found["data"], count) == ({"a": MASK, "b": ""}, 1)


def test_the_object_as_it_was_applied_last_is_masked_if_it_has_a_secret() -> None:
    def annotated(inner: object) -> dict[str, Any]:
        return {"metadata": {"annotations": {LAST_APPLIED: json.dumps(inner), "note": "{"}}}

    secret = container(env=[{"name": "HF_TOKEN", "value": "x"}])
    found, count = mask_secret_values(annotated(secret))
    assert found["metadata"]["annotations"] == {LAST_APPLIED: MASK, "note": "{"}
    assert count == 1
    harmless = annotated(container(env=[{"name": "MODEL", "value": "x"}]))
    assert mask_secret_values(harmless) == (harmless, 0)


def test_an_annotation_whose_name_looks_secret() -> None:
    annotations = {"example.com/api-token": "x", "token.example.com/mode": "x", "note": "x"}
    found, count = mask_secret_values({"metadata": {"annotations": annotations}})
    assert found["metadata"]["annotations"] == annotations | {"example.com/api-token": MASK}
    assert count == 1


@pytest.mark.parametrize("value", [{}, {"spec": None}, {"kind": ["x"], "data": "text"}])
def test_an_object_of_any_shape(value: dict[str, Any]) -> None:
    assert mask_secret_values(value) == (value, 0)
