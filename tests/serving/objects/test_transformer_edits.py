"""Adding, changing and removing a transformer: requests reach what they reached, or it is said."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.issues import errors
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.types import Quantity, Transformer
from servedeck.serving.spec.validation import validate
from tests.serving.objects.edits import (
    Json,
    container_of,
    deployment,
    edit,
    reported,
    service,
    targets,
)

SERVER: Json = {
    "name": "server",
    "image": "vllm/vllm-openai",
    "args": ["m"],
    "ports": [{"containerPort": 8000, "name": "http"}],
}
TRANSFORMER: Json = {
    "name": "transformer",
    "image": "t:1",
    "ports": [{"containerPort": 8080, "name": "in"}],
}
NEW = {"image": "t:1", "port": 8080}


def transformer(*objects: Json, **changes: Any) -> Any:
    """The transformer that is read from the objects, changed."""
    found = import_objects(objects).spec.transformer
    assert found is not None
    return found.model_copy(update=changes)


# -- adding -------------------------------------------------------------------------------------


def test_requests_are_led_to_a_new_transformer_and_metrics_are_not() -> None:
    change = edit(
        deployment(SERVER),
        service(
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "metrics", "port": 9090, "targetPort": 8000},
            {"name": "probe", "port": 53, "targetPort": 8000, "protocol": "UDP"},
        ),
        service({"port": 8000}, name="llm-metrics"),
        service({"name": "http-monitoring", "port": 1, "targetPort": "http"}, name="other"),
        transformer=NEW,
    )
    assert change.issues == ()
    assert targets(change) == ["transformer", 8000, 8000, None, "http"]


def test_a_serving_that_is_named_after_metrics_is_a_serving() -> None:
    own = deployment(SERVER)
    own["metadata"]["name"] = "llm-metrics"
    change = edit(
        own, service({"port": 80, "targetPort": 8000}, name="llm-metrics"), transformer=NEW
    )
    assert (change.issues, targets(change)) == ((), ["transformer"])


def test_clients_of_a_headless_service_bypass_a_new_transformer_and_it_is_said() -> None:
    headless = service({"port": 8000}, clusterIP="None")
    [(severity, field, message)] = reported(edit(deployment(SERVER), headless, transformer=NEW))
    assert (severity, field) == ("warning", "transformer")
    assert "port 8000 of the Pods themselves and bypass the transformer; let them" in message


def test_a_new_transformer_that_no_service_leads_to_is_a_warning() -> None:
    proxy = {"name": "proxy", "image": "p", "ports": [{"containerPort": 8443, "name": "https"}]}
    behind = edit(
        deployment(SERVER, proxy), service({"port": 443, "targetPort": "https"}), transformer=NEW
    )
    [(severity, field, message)] = reported(behind)
    assert (severity, field) == ("warning", "transformer")
    assert "Service llm targets the container proxy" in message
    elsewhere = edit(deployment(SERVER), service({"port": 80, "targetPort": 7}), transformer=NEW)
    [(severity, field, message)] = reported(elsewhere)
    assert (severity, field) == ("warning", "transformer")
    assert "No Service targets the inference server's port 8000" in message
    assert targets(elsewhere) == [7]
    assert edit(deployment(SERVER), transformer=NEW).issues == ()


def test_a_new_transformer_beside_a_service_for_metrics_alone_is_a_warning() -> None:
    metrics = service({"name": "metrics", "port": 9090, "targetPort": 8000}, name="llm-metrics")
    change = edit(deployment(SERVER), metrics, transformer=NEW)
    assert reported(change) == [
        (
            "warning",
            "transformer",
            "All Services of the serving are for metrics, so there is none for requests, and none "
            "targets the transformer; create one that does.",
        )
    ]
    assert targets(change) == [8000]


def test_a_new_transformer_needs_the_port_of_the_server() -> None:
    objects = [deployment({"image": "x"}), service({"port": 80, "targetPort": 8000})]
    [(severity, field, message)] = reported(edit(*objects, transformer=NEW))
    assert (severity, field) == ("error", "transformer")
    assert "enter the Inference Port first" in message
    both = edit(*objects, transformer=NEW, inference_port=8000, settings={"arguments": ["x"]})
    assert (both.issues, targets(both)) == ((), ["transformer"])
    [address, *_] = container_of(both, "transformer")["env"]
    assert address == {"name": "PREDICTOR_URL", "value": "http://127.0.0.1:8000"}


@pytest.mark.parametrize(
    ("other", "field", "expected"),
    [
        ({"ports": [{"containerPort": 8080}]}, "transformer.port", "proxy already has a port 8080"),
        (
            {"ports": [{"containerPort": 1, "name": "transformer"}]},
            "transformer",
            "proxy already has a port with the name transformer",
        ),
    ],
)
def test_a_port_of_a_new_transformer_that_is_taken_is_an_error(
    other: Json, field: str, expected: str
) -> None:
    proxy = {"name": "proxy", "image": "p", **other}
    for objects in (
        deployment(SERVER, proxy),
        deployment(SERVER, initContainers=[{**proxy, "restartPolicy": "Always"}]),
    ):
        [(severity, at, message)] = reported(edit(objects, transformer=NEW))
        assert (severity, at) == ("error", field)
        assert expected in message


def test_another_container_with_the_name_is_an_error() -> None:
    init = {"name": "transformer", "image": "x"}
    [(severity, field, message)] = reported(
        edit(deployment(SERVER, initContainers=[init]), transformer=NEW)
    )
    assert (severity, field) == ("error", "transformer")
    assert "already have a container transformer" in message


def test_a_new_transformer_without_a_port_gets_the_default() -> None:
    change = edit(
        deployment(SERVER), service({"port": 80, "targetPort": 8000}), transformer={"image": "t"}
    )
    assert change.issues == ()
    spec = import_objects(change.changed).spec
    assert spec.transformer is not None
    assert spec.transformer.port == 8080
    beside = edit(deployment(SERVER), transformer={"image": "t"}, inference_port=8080)
    assert beside.issues == ()
    assert container_of(beside, "transformer")["ports"][0]["containerPort"] == 8081


# -- changing its port --------------------------------------------------------------------------


def test_what_leads_to_the_transformer_follows_its_port() -> None:
    own = {
        **TRANSFORMER,
        "command": ["serve", "--listen=:8080"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
        "livenessProbe": {"tcpSocket": {"port": "in"}},
        "lifecycle": {"preStop": {"httpGet": {"path": "/stop", "port": 8080}}},
    }
    objects = [
        deployment(SERVER, own),
        service({"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "in"}),
    ]
    wanted = transformer(*objects, port=8082)
    change = edit(*objects, transformer=wanted)
    got = container_of(change, "transformer")
    assert got["ports"] == [{"containerPort": 8082, "name": "in"}]
    assert got["readinessProbe"]["httpGet"]["port"] == 8082
    assert got["livenessProbe"]["tcpSocket"]["port"] == "in"
    assert got["lifecycle"]["preStop"]["httpGet"]["port"] == 8082
    assert targets(change) == [8082, "in"]
    assert reported(change) == [
        (
            "warning",
            "transformer.port",
            "The command line still has --listen=:8080; change it there too.",
        )
    ]
    configured = wanted.model_copy(update={"command": ("serve", "--listen=:8082")})
    assert edit(*objects, transformer=configured).issues == ()


def test_a_transformer_that_may_not_listen_on_its_new_port_is_a_warning() -> None:
    objects = deployment(SERVER, TRANSFORMER)
    change = edit(objects, transformer=transformer(objects, port=8082))
    [(severity, field, message)] = reported(change)
    assert (severity, field) == ("warning", "transformer.port")
    assert "cannot set the port of the program in transformer" in message
    assert edit(objects, transformer=transformer(objects, image="t:2")).issues == ()


def test_what_else_mentions_the_transformers_port_is_a_warning() -> None:
    proxy = {"name": "proxy", "image": "p", "args": ["--upstream=http://localhost:8080"]}
    objects = deployment(SERVER, TRANSFORMER, proxy)
    for field, wanted in (
        ("transformer.port", transformer(objects, port=8082, command=("x",))),
        ("transformer", None),
    ):
        [(severity, at, message)] = reported(edit(objects, transformer=wanted))
        assert (severity, at) == ("warning", field)
        assert "In the container proxy, the command line still has --upstream" in message


def test_a_port_that_the_transformer_gives_up_is_not_the_servers_at_once() -> None:
    objects = [
        deployment(SERVER, TRANSFORMER),
        service({"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": 8000}),
    ]
    given_up = transformer(*objects, port=8082, command=("x",))
    at_once = edit(*objects, transformer=given_up, inference_port=8080)
    assert [(one.field, one.is_error) for one in at_once.issues] == [("inference_port", True)]
    unchanged_args = transformer(*objects, port=8082)
    [issue] = edit(*objects, transformer=unchanged_args, inference_port=8080).issues
    assert "change the transformer's port first" in issue.message
    first = edit(*objects, transformer=given_up)
    then = edit(*first.changed, inference_port=8080)
    assert (first.issues, then.issues, targets(then)) == ((), (), [8082, 8080])


def test_a_removed_transformers_port_is_free_for_the_server() -> None:
    proxy = {"name": "proxy", "image": "p", "args": ["--upstream=http://localhost:8080"]}
    objects = [deployment(SERVER, TRANSFORMER, proxy), service({"port": 80, "targetPort": "in"})]
    change = edit(*objects, transformer=None, inference_port=8080)
    assert (change.issues, targets(change)) == ((), ["http"])


# -- a transformer that declares no port --------------------------------------------------------

UNDECLARED = {"name": "transformer", "image": "t:1"}


def test_an_undeclared_port_is_unknown() -> None:
    current = import_objects([deployment(SERVER, UNDECLARED)]).spec
    assert current.transformer is not None
    assert current.transformer.port is None
    assert from_yaml(to_yaml(current)) == current
    assert "port: 80" not in to_yaml(current)


def test_an_undeclared_port_of_a_removed_or_changed_transformer_is_said() -> None:
    objects = [deployment(SERVER, UNDECLARED), service({"port": 80, "targetPort": 5000})]
    for field, wanted in (
        ("transformer", None),
        ("transformer.port", transformer(*objects, port=5001, command=("x",))),
    ):
        change = edit(*objects, transformer=wanted)
        assert reported(change) == [
            (
                "warning",
                field,
                "Port 80 of Service llm targets port 5000, which no container of the Pods has; "
                "change its targetPort.",
            )
        ]
        assert targets(change) == [5000]
    assert edit(*objects, transformer=transformer(*objects, image="t:2")).issues == ()


def test_an_undeclared_port_of_the_transformer_is_not_about_the_servers() -> None:
    objects = [deployment(SERVER, UNDECLARED), service({"port": 80, "targetPort": 5000})]
    assert edit(*objects, inference_port=9000).issues == ()


def test_a_port_that_its_command_line_says_is_known() -> None:
    own = {**UNDECLARED, "args": ["--port=5000"]}
    objects = [deployment(SERVER, own), service({"port": 80, "targetPort": 5000})]
    assert transformer(*objects).port == 5000
    change = edit(*objects, transformer=None)
    assert (change.issues, targets(change)) == ((), ["http"])


# -- removing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("has_metrics", [True, False])
def test_only_the_requests_of_a_removed_transformer_reach_the_server(has_metrics: bool) -> None:
    metrics = {"containerPort": 9100, "name": "metrics"}
    own = {**TRANSFORMER, "ports": [metrics, *TRANSFORMER["ports"]]}
    ports = [{"containerPort": 9000, "name": "metrics"}] if has_metrics else []
    objects = [
        deployment(own, {**SERVER, "ports": [*SERVER["ports"], *ports]}),
        service(
            {"port": 80, "targetPort": "in"},
            {"port": 81, "targetPort": 8080},
            {"port": 9100, "targetPort": "metrics"},
        ),
    ]
    change = edit(*objects, transformer=None)
    assert targets(change) == ["http", "http", "metrics"]
    if has_metrics:
        assert change.issues == ()
    else:
        [(severity, field, message)] = reported(change)
        assert (severity, field) == ("warning", "transformer")
        assert "Port 9100 of Service llm targets port metrics, which no container" in message


def test_a_removed_transformer_needs_the_port_of_the_server() -> None:
    objects = [
        deployment({"name": "main", "image": "x"}, TRANSFORMER),
        service({"port": 80, "targetPort": "in"}),
    ]
    found = reported(edit(*objects, transformer=None))
    assert found[0][:2] == ("error", "transformer")
    assert "enter the Inference Port first" in found[0][2]


def test_a_transformer_that_is_added_and_removed_leaves_nothing() -> None:
    objects = [deployment(SERVER), service({"port": 80, "targetPort": "http"})]
    added = edit(*objects, transformer=NEW)
    assert list(edit(*added.changed, transformer=None).changed) == objects


def test_a_port_that_the_document_omits_is_not_changed() -> None:
    objects = deployment(SERVER, TRANSFORMER)
    assert edit(objects, transformer={"image": "t:1"}).changed_fields == ()
    spec = ServingSpec(name="a", template="custom", transformer={"image": "t"})  # type: ignore[arg-type]
    assert "port" not in to_yaml(spec)


# -- what it requests -----------------------------------------------------------------------------

AMOUNTS = {
    **TRANSFORMER,
    "resources": {"requests": {"cpu": "2", "x/y": "1"}, "limits": {"cpu": "3"}},
}


def test_a_new_transformer_requests_what_the_form_suggests() -> None:
    change = edit(deployment(SERVER), transformer=NEW)
    container = container_of(change, "transformer")
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}}
    none = edit(deployment(SERVER), transformer={**NEW, "cpu": "", "memory": ""})
    assert "resources" not in container_of(none, "transformer")


def test_a_changed_request_leaves_the_other_amounts() -> None:
    objects = [deployment(SERVER, AMOUNTS)]
    assert str(transformer(*objects).cpu) == "2"
    assert transformer(*objects).memory is None
    change = edit(*objects, transformer=transformer(*objects, memory=Quantity("1Gi")))
    requests = {"cpu": "2", "x/y": "1", "memory": "1Gi"}
    assert change.issues == ()
    assert container_of(change, "transformer")["resources"] == {
        "requests": requests,
        "limits": {"cpu": "3"},
    }


def test_a_file_without_the_requests_leaves_them() -> None:
    objects = deployment(SERVER, AMOUNTS)
    assert edit(objects, transformer={"image": "t:1"}).changed_fields == ()
    assert edit(objects, transformer={"image": "t:1", "cpu": ""}).changed_fields == ("transformer",)


@pytest.mark.parametrize(
    ("part", "value", "expected"),
    [
        ("cpu", "0", "The transformer's CPU must be more than 0; enter cores such as 0.5 or 500m."),
        ("memory", "1Mi", "Memory 1Mi is less than a container can start with; enter a value "),
    ],
)
def test_a_request_that_no_container_starts_with_is_an_error(
    part: str, value: str, expected: str
) -> None:
    wanted = Transformer.model_validate({"image": "t:1", part: value})
    spec = ServingSpec(name="a", namespace="b", template="custom", image="i", transformer=wanted)
    found = {one.field: one.message for one in errors(validate(spec))}
    assert found[f"transformer.{part}"].startswith(expected)
