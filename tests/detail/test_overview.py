"""The cards of a serving's Overview."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.detail.cards import Card, CardRow, SecretRef
from servedeck.detail.overview import CARD_TITLES, setting_cards, status_rows
from servedeck.serving.conventions import SERVING_LABEL
from tests.detail.objects import deployment
from tests.tui import fakes


def cards(value: dict[str, Any] | None, **view: Any) -> dict[str, Card]:
    found = setting_cards(fakes.serving("llama-70b-chat", **view), value)
    return {card.key: card for card in found}


def values(card: Card) -> dict[str, str]:
    return {row.label: row.value or row.note for row in card.rows}


def rows(card: Card) -> dict[str, CardRow]:
    return {row.label: row for row in card.rows}


def test_the_cards_of_the_product_specification_in_their_order():
    assert [card.title for card in cards(deployment()).values()] == list(CARD_TITLES.values())
    assert list(CARD_TITLES.values()) == [
        "Basic Information",
        "Container",
        "Resources",
        "Command & Arguments",
        "Environment Variables",
        "Volumes",
        "Transformer",
    ]


def test_the_status_says_what_is_ready_why_not_and_what_to_do():
    error = fakes.fleet()[0]
    found = {row.label: row.value for row in status_rows(error)}
    assert found == {
        "Ready Replicas": "0/2, 2 failing",
        "Health": "✗ Error: OOMKilled",
        "Reason": error.message,
        "Recovery": error.status.recovery,
        "Auto Scaling": "off",
        "Created": "",
    }
    assert [row.time for row in status_rows(error)][-1] == error.created


def test_the_values_are_those_of_the_objects():
    found = cards(deployment())
    assert values(found["basic"])["Description"] == "Chat of the help desk"
    assert values(found["container"])["Image"] == "vllm/vllm-openai:v0.11.0"
    assert values(found["container"])["Inference Port"] == "8000"
    assert values(found["resources"]) == {
        "CPU": "8",
        "Memory": "64Gi",
        "Memory Limit": "80Gi",
        "Accelerator": "NVIDIA GPU",
        "Accelerator Count": "4",
        "Replicas": "2",
    }
    assert values(found["command"])["Model"] == "meta-llama/Llama-3.3-70B"
    assert "--model meta-llama/Llama-3.3-70B" in values(found["command"])["Arguments"]


def test_a_container_without_a_memory_limit_says_so():
    found = cards(deployment(resources={"requests": {"memory": "64Gi"}}))
    assert values(found["resources"])["Memory"] == "64Gi"
    assert values(found["resources"])["Memory Limit"] == "no limit"


def test_an_empty_card_says_so():
    found = cards(deployment())
    assert not found["env"].rows
    assert found["env"].empty_text == "No environment variables."
    assert found["volumes"].empty_text == "No volumes are mounted."
    assert found["transformer"].empty_text == "No transformer."


def test_variables_of_every_source_and_masked_ones():
    env = [
        {"name": "PLAIN", "value": "1"},
        {"name": "API_TOKEN", "value": "abc"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "mode"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    ]
    value = deployment(env=env, envFrom=[{"secretRef": {"name": "all"}}])
    found = rows(cards(value)["env"])
    assert found["PLAIN"].value == "1" and not found["PLAIN"].looks_secret
    assert found["API_TOKEN"].looks_secret
    assert found["HF_TOKEN"].secret == SecretRef("hf", "token")
    assert not found["HF_TOKEN"].value
    assert found["HF_TOKEN"].note == "Secret hf, key token"
    assert found["MODE"].note == "ConfigMap cfg, key mode"
    assert found["IP"].note == "field status.podIP of the Pod"
    assert found["CORES"].note == "limits.cpu"
    assert found["every key of Secret"].value == "all"


def test_a_secret_in_the_command_line_is_masked():
    found = rows(cards(deployment(args=["--api-key", "sk-very-secret-value"]))["command"])
    assert found["Arguments"].looks_secret


def test_volumes_with_their_source_and_mount():
    value = deployment(
        volumeMounts=[
            {"name": "data", "mountPath": "/data", "readOnly": True, "subPath": "a"},
            {"name": "dshm", "mountPath": "/dev/shm"},
            {"name": "gone", "mountPath": "/gone"},
        ],
        pod_spec={
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "datasets"}},
                {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            ]
        },
    )
    found = rows(cards(value)["volumes"])
    assert (found["data"].value, found["data"].note) == (
        "PVC datasets",
        "/data, subPath a, read-only",
    )
    assert (found["dshm"].value, found["dshm"].note) == (
        "emptyDir Memory up to 1Gi",
        "/dev/shm, system default",
    )
    assert found["gone"].value == ""


def test_sidecars_init_containers_and_the_transformer():
    server = deployment()["spec"]["template"]["spec"]["containers"][0]
    value = deployment(
        pod_spec={
            "containers": [
                {"name": "istio-proxy", "image": "istio/proxyv2:1"},
                server,
                {
                    "name": "transformer",
                    "image": "acme/pre:1",
                    "env": [{"name": "A", "value": "b"}],
                    "resources": {"requests": {"cpu": "250m"}},
                },
            ],
            "initContainers": [
                {"name": "fetch", "image": "acme/fetch:1"},
                {"name": "log", "image": "fluent-bit:3", "restartPolicy": "Always"},
            ],
        }
    )
    found = cards(value)
    shown = [(row.label, row.value, row.note) for row in found["container"].rows]
    assert ("Sidecar", "istio-proxy", "istio/proxyv2:1") in shown
    assert ("Init Container", "fetch", "acme/fetch:1") in shown
    assert ("Sidecar", "log", "fluent-bit:3") in shown
    assert values(found["transformer"])["Image"] == "acme/pre:1"
    assert values(found["transformer"])["A"] == "b"
    requests = [(row.label, row.value, row.note) for row in found["transformer"].rows[2:4]]
    assert requests == [("CPU", "250m", ""), ("Memory", "", "no request")]


def test_a_deployment_of_another_tool_says_so_and_what_is_not_shown():
    value = deployment(securityContext={"runAsUser": 1000})
    value["metadata"]["labels"] = {"app": "llama"}
    found = rows(cards(value, managed=False)["basic"])
    assert found["Created by"].value == "another tool, not servedeck"
    assert "securityContext" in found["Other settings"].whole_value
    assert "that the cards do not show" in found["Other settings"].value


@pytest.mark.parametrize("value", [None, deployment()], ids=["from the list", "read"])
@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ({"managed": False}, ("another tool", "A adopts it")),
        (
            {"managed": False, "labels": {SERVING_LABEL: "llama"}},
            ("another tool", "adopted by servedeck"),
        ),
        (
            {"managed": False, "owner": "InferenceService llama"},
            ("another tool, not servedeck", ""),
        ),
    ],
    ids=["foreign", "adopted", "owned"],
)
def test_what_can_be_adopted_says_how_and_what_was_adopted_says_so(
    value: dict[str, Any] | None, view: dict[str, Any], shown: tuple[str, str]
) -> None:
    if value is not None:
        value["metadata"]["labels"] = {}
    found = setting_cards(fakes.serving("llama", **view), value, adopt_hint="A adopts it")
    row = rows(found[0])["Created by"]
    assert (row.value, row.note) == shown


def test_what_servedeck_made_has_no_row_about_its_origin() -> None:
    found = setting_cards(fakes.serving("llama"), None, adopt_hint="A adopts it")
    assert "Created by" not in rows(found[0])


def test_without_the_deployment_the_cards_have_what_the_list_knows():
    found = cards(None)
    assert values(found["container"]) == {"Image": "vllm/vllm-openai:v0.11.0"}
    assert values(found["resources"])["Accelerator"] == "NVIDIA GPU"


def test_objects_of_any_shape_have_cards():
    for broken in ({}, {"spec": []}, {"spec": {"template": {"spec": {"containers": [1, {}]}}}}):
        assert cards({"kind": "Deployment", **broken})
