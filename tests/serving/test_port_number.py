"""Ports in texts that anybody may have written, such as the arguments of a container."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.port_number import parse_port_number
from servedeck.serving.spec.mapping.container_ports import read_port_flag
from servedeck.serving.spec.templates import TEMPLATES
from tests.serving.test_service_address import ROUTING_SIDECAR, VLLM, deployment, resolve

LONG = ("9" * 5000, "000001" + "9" * 5000, "1" + "0" * 5000)
"""int() refuses numbers of more than 4300 digits."""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8000", 8000),
        ("0", 0),
        ("65535", 65535),
        ("0008080", 8080),
        ("0" * 5000 + "80", 80),
        ("0" * 5000, 0),
        *((text, None) for text in ("", "65536", "000655360", "-1", "+1", " 1", "1_0", "²", "١")),
        *((text, None) for text in LONG),
    ],
)
def test_a_port_number(text: str, number: int | None) -> None:
    assert parse_port_number(text) == number


@pytest.mark.parametrize("text", LONG)
def test_an_argument_of_a_container_that_is_no_port(text: str) -> None:
    container: dict[str, Any] = {"args": ["m", "--port", text]}
    assert read_port_flag(container) is None
    read = TEMPLATES["vllm"].parse_command([], ["m", f"--port={text}"])
    assert read is not None and read[2] is None
    sidecar = {**ROUTING_SIDECAR, "args": [f"--port={text}", "--vllm-port=8200"]}
    server = {**VLLM, "ports": [{"containerPort": 8200}]}
    assert resolve(deployment(server, initContainers=[sidecar])).port_forward_command == (
        "kubectl port-forward -n team-a deployment/llama 8000:8000"
    )


def test_an_argument_with_leading_zeros_is_the_port_that_it_says() -> None:
    assert read_port_flag({"args": ["m", "--port", "0008080"]}) == 8080
