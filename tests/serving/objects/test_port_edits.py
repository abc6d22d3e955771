"""Changing the inference port: what leads to it follows, and what does not is said."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects.import_objects import import_objects
from tests.serving.objects.edits import (
    Json,
    container_of,
    deployment,
    edit,
    reported,
    service,
    targets,
)

DECLARED = {"ports": [{"containerPort": 8000, "name": "http"}]}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"args": ["--model", "a/b"]}, "make sure that it listens on 9100"),
        ({"args": ["--model-id", "a/b", "-p", "8000"]}, "command line still has -p 8000"),
        ({"args": ["--http_port=8000"]}, "command line still has --http_port=8000"),
        ({"args": ["--bind", "0.0.0.0:8000"]}, "command line still has 0.0.0.0:8000"),
        ({"command": ["sh", "-c", "serve -p 8000"]}, "command line still has -p 8000"),
        ({"env": [{"name": "PORT", "value": "8000"}]}, "variable PORT still has port 8000"),
        (
            {"args": ["--port=$(P)", "--max-model-len", "8000"]},
            "make sure that it listens on 9100",
        ),
        (
            {"readinessProbe": {"exec": {"command": ["curl", "http://localhost:8000/health"]}}},
            "readinessProbe still has port 8000",
        ),
    ],
)
def test_a_server_whose_port_cannot_be_set_is_a_warning(container: Json, expected: str) -> None:
    objects = [
        deployment({"name": "main", "image": "x/server:9", **DECLARED, **container}),
        service({"port": 80, "targetPort": 8000}),
    ]
    assert import_objects(objects).spec.template == "custom"
    change = edit(*objects, inference_port=9100)
    [(severity, field, message)] = reported(change)
    assert (severity, field) == ("warning", "inference_port")
    assert expected in message
    assert targets(change) == [9100]


def test_a_server_whose_flag_changes_in_the_same_edit_is_no_warning() -> None:
    for container, fields in (
        ({"args": ["-p", "8000"]}, {"settings": {"arguments": ["-p", "9100"]}}),
        (
            {"env": [{"name": "PORT", "value": "8000"}]},
            {"env": [{"name": "PORT", "value": "9100"}]},
        ),
        ({"command": ["serve", "--port=8000"]}, {"command": ["serve", "--port=9100"]}),
    ):
        objects = deployment({"image": "x", **DECLARED, **container})
        assert edit(objects, inference_port=9100, **fields).issues == ()


def test_an_argument_that_looks_secret_is_not_shown() -> None:
    for argument, expected in (
        ("--token=localhost:8000", "still has --token;"),
        ("--url=http://hf_abcdefghijklmnop:x@localhost:8000", "--url=http://localhost:8000;"),
    ):
        container = {"image": "x", **DECLARED, "args": [argument]}
        [(_, _, message)] = reported(edit(deployment(container), inference_port=9100))
        assert expected in message


def test_a_server_whose_flag_is_written_is_no_warning() -> None:
    objects = deployment({"image": "vllm/vllm-openai", "args": ["m", "--port=8000"], **DECLARED})
    assert edit(objects, inference_port=9100).issues == ()


def test_every_name_of_the_port_gets_the_new_number() -> None:
    ports = [
        {"containerPort": 8000, "name": "http"},
        {"containerPort": 8000, "name": "metrics"},
        {"containerPort": 8000, "name": "quic", "protocol": "UDP"},
    ]
    objects = [
        deployment({"image": "vllm/vllm-openai", "args": ["m"], "ports": ports}),
        service({"port": 80, "targetPort": "http"}, {"port": 9090, "targetPort": "metrics"}),
    ]
    change = edit(*objects, inference_port=9100)
    assert change.issues == ()
    numbers = [one["containerPort"] for one in container_of(change, "c0")["ports"]]
    assert numbers == [9100, 9100, 8000]
    assert targets(change) == ["http", "metrics"]


@pytest.mark.parametrize("is_native", [False, True])
def test_a_port_of_another_container_is_an_error(is_native: bool) -> None:
    proxy: Json = {"name": "proxy", "image": "envoy", "ports": [{"containerPort": 9000}]}
    server = {"image": "vllm/vllm-openai", "args": ["m"], **DECLARED}
    if is_native:
        objects = deployment(server, initContainers=[{**proxy, "restartPolicy": "Always"}])
    else:
        objects = deployment(server, proxy)
    assert reported(edit(objects, inference_port=9000)) == [
        (
            "error",
            "inference_port",
            "The container proxy already has a port 9000; choose another.",
        )
    ]


def test_a_port_of_a_container_that_has_ended_or_of_another_protocol_is_free() -> None:
    init = {"name": "init", "image": "x", "ports": [{"containerPort": 9000}]}
    udp = {"name": "dns", "image": "x", "ports": [{"containerPort": 9000, "protocol": "UDP"}]}
    server = {"image": "vllm/vllm-openai", "args": ["m"], **DECLARED}
    assert edit(deployment(server, udp, initContainers=[init]), inference_port=9000).issues == ()


def test_what_else_mentions_the_old_port_is_a_warning() -> None:
    objects = [
        deployment(
            {"name": "server", "image": "vllm/vllm-openai", "args": ["m"], **DECLARED},
            {"name": "proxy", "image": "p", "args": ["--upstream=http://localhost:8000"]},
            {
                "name": "transformer",
                "image": "t",
                "ports": [{"containerPort": 8080}],
                "env": [{"name": "PREDICTOR_URL", "value": "http://localhost:8000/"}],
            },
            {"name": "other", "image": "o", "args": ["http://localhost:80001", "--limit=8000"]},
        ),
        service({"port": 80, "targetPort": 8080}),
    ]
    pods = objects[0]["spec"]["template"]["metadata"]
    pods["annotations"] = {"prometheus.io/port": "8000", "checksum": "80001"}
    change = edit(*objects, inference_port=9100)
    assert reported(change) == [
        (
            "warning",
            "inference_port",
            "In the container proxy, the command line still has --upstream=http://localhost:8000; "
            "change it there too.",
        ),
        (
            "warning",
            "inference_port",
            "In the container transformer, the variable PREDICTOR_URL still has port 8000; "
            "change it there too.",
        ),
        (
            "warning",
            "inference_port",
            "The annotation prometheus.io/port of the Pods still has 8000; change it there too.",
        ),
    ]
    assert edit(*objects, image="vllm/vllm-openai:2").issues == ()


@pytest.mark.parametrize(
    "container",
    [
        {"env": [{"name": "HTTP_PROXY", "value": "http://proxy.corp:8000"}]},
        {"args": ["--otlp-traces-endpoint", "http://otel.obs:8000"]},
        {"args": ["--image=reg:8000/x", "-L", "[fd00::1]:8000"]},
        {"args": ["--cuda-graph-sizes", "1", "8000"]},
        {"args": ["8000", "$(HOST):8000", "localhost:80001", "llm:8000", "fd00::8000"]},
    ],
)
def test_a_number_that_is_no_port_of_the_pods_is_not_mentioned(container: Json) -> None:
    server = {"name": "server", "image": "vllm/vllm-openai", "args": ["m"], **DECLARED}
    objects = deployment(server, {"name": "other", "image": "o", **container})
    annotations = {
        "checksum/config": "sha256:8000ab12",
        "max-tokens": "8000",
        "support": "reg:8000",
    }
    objects["spec"]["template"]["metadata"]["annotations"] = annotations
    found = service({"port": 8000, "targetPort": 8000})
    assert edit(objects, found, inference_port=9100).issues == ()


@pytest.mark.parametrize(
    "word",
    [
        ":8000",
        "*:8000",
        "localhost:8000",
        "http://127.0.0.1:8000/v1",
        "tcp://0.0.0.0:8000",
        "http://[::]:8000",
        "http://[::1]:8000/",
        "LOCALHOST:8000",
        "http://pods:8000",
        "http://pods.team-a.svc.cluster.local:8000/v1",
        "http://proxy.corp:8000,http://localhost:8000",
    ],
)
def test_an_address_of_the_pods_is_mentioned(word: str) -> None:
    server = {"name": "server", "image": "vllm/vllm-openai", "args": ["m"], **DECLARED}
    objects = deployment(server, {"name": "other", "image": "o", "args": [f"--upstream={word}"]})
    headless = service({"port": 1}, name="pods", clusterIP="None")
    [(severity, field, message)] = reported(edit(objects, headless, inference_port=9100))
    assert (severity, field) == ("warning", "inference_port")
    assert "In the container other, the command line still has --upstream" in message


def test_every_place_that_mentions_the_old_port_is_named() -> None:
    container = {
        "args": ["--http-port", "8000", "--upstream", "proxy.corp:8000"],
        "env": [{"name": "PORT", "value": "8000"}],
        "readinessProbe": {"exec": {"command": ["nc", "-z", "localhost", "8000"]}},
    }
    change = edit(deployment({"image": "x", **DECLARED, **container}), inference_port=9100)
    assert [message for _, _, message in reported(change)] == [
        "The command line still has --http-port 8000; change it there too.",
        "The variable PORT still has port 8000; change it there too.",
        "The readinessProbe still has port 8000; change it there too.",
    ]


def test_a_port_of_the_node_follows_on_the_nodes_network_alone() -> None:
    ports = [{"containerPort": 8000, "hostPort": 8000}]
    server = {"image": "vllm/vllm-openai", "args": ["m"], "ports": ports}
    on_node = edit(deployment(server, hostNetwork=True), inference_port=9100)
    assert container_of(on_node, "c0")["ports"] == [{"containerPort": 9100, "hostPort": 9100}]
    forwarded = edit(deployment(server), inference_port=9100)
    assert container_of(forwarded, "c0")["ports"] == [{"containerPort": 9100, "hostPort": 8000}]


def test_clients_of_a_headless_service_keep_their_own_port_and_it_is_said() -> None:
    server = {"image": "vllm/vllm-openai", "args": ["m"], **DECLARED}
    headless = service({"port": 8000}, clusterIP="None")
    [(severity, field, message)] = reported(edit(deployment(server), headless, inference_port=9100))
    assert (severity, field) == ("warning", "inference_port")
    assert "is headless, so its clients connect to port 8000" in message


def test_an_unknown_port_is_declared_and_no_service_is_assumed_to_lead_to_it() -> None:
    objects = [
        deployment({"image": "x", "args": ["serve"]}),
        service({"port": 80, "targetPort": 5000}),
    ]
    assert import_objects(objects).spec.inference_port is None
    change = edit(*objects, inference_port=9100)
    assert container_of(change, "c0")["ports"] == [
        {"name": "http", "containerPort": 9100, "protocol": "TCP"}
    ]
    assert targets(change) == [5000]
    messages = [message for _, _, message in reported(change)]
    assert len(messages) == 2
    assert "make sure that it listens on 9100" in messages[0]
    assert "targets port 5000, which no container of the Pods has" in messages[1]
    assert import_objects(change.changed).spec.inference_port == 9100


@pytest.mark.parametrize("field", ["readiness_path", "liveness_path"])
def test_a_probe_needs_a_known_port(field: str) -> None:
    edited: dict[str, Any] = {field: "/health"}
    [(severity, at, message)] = reported(edit(deployment({"image": "x"}), **edited))
    assert (severity, at) == ("error", field)
    assert "enter the Inference Port first" in message
    assert edit(deployment({"image": "x", **DECLARED}), **edited).issues == ()


# -- a flag --port that servedeck does not write ------------------------------------------------


def test_a_flag_that_says_which_of_several_ports_it_is_must_be_changed_with_it() -> None:
    ports = [{"containerPort": 8001, "name": "admin"}, {"containerPort": 30000, "name": "api"}]
    command = ["python3", "-m", "sglang.launch_server", "--port", "30000"]
    objects = deployment({"image": "lmsysorg/sglang", "command": command, "ports": ports})
    assert reported(edit(objects, inference_port=31000)) == [
        (
            "error",
            "inference_port",
            "The command line still has --port 30000; change it there at the same time.",
        )
    ]
    both = edit(objects, inference_port=31000, command=[*command[:-1], "31000"])
    assert both.issues == ()
    assert import_objects(both.changed).spec.inference_port == 31000


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [
        ("settings", {"args": ["--port", "8000"]}, {"arguments": ["--port", "9000"]}),
        ("settings", {"args": ["serve"]}, {"arguments": ["serve", "--port=9000"]}),
        ("command", {"command": ["x", "--port", "8000"]}, ["x", "--port", "9000"]),
    ],
)
def test_a_flag_that_differs_from_the_port_is_a_warning(
    field: str, before: Json, after: Any
) -> None:
    objects = deployment({"image": "x", **DECLARED, **before})
    change = edit(objects, **{field: after})
    assert reported(change) == [
        (
            "warning",
            field,
            "The command line now has --port 9000, but the Inference Port is 8000; change one of "
            "them.",
        )
    ]
    assert edit(*change.changed, image="y").issues == ()
    assert edit(objects, inference_port=9000, **{field: after}).issues == ()


def test_a_flag_that_is_the_port_itself_is_one_warning() -> None:
    objects = deployment({"image": "x", "args": ["--port", "8000"]})
    change = edit(objects, settings={"arguments": ["--port", "9000"]})
    assert reported(change) == [
        ("warning", "inference_port", "Another change to this serving makes it 9000.")
    ]


def test_a_server_whose_flag_has_the_new_port_already_is_no_warning() -> None:
    ports = [{"containerPort": 9000}]
    objects = deployment({"image": "x", "args": ["--port", "8000"], "ports": ports})
    assert import_objects([objects]).spec.inference_port == 9000
    assert edit(objects, inference_port=8000).issues == ()
