"""The file of an export: what its document lacks is said in comments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from servedeck.serving.objects import manifests
from servedeck.serving.objects.export_text import export_text
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import MASK
from tests.serving.foreign_manifests import foreign_objects
from tests.serving.objects.test_import_objects import json_values
from tests.serving.strategies import valid_specs
from tests.serving.unmanaged_cases import CASES, UnmanagedCase, make_deployment

Json = dict[str, Any]
PLATFORM = PlatformSettings(host="ai.example.com", gateway="gateways/main", model_cache="models")


def export(*objects: Json) -> str:
    return export_text(import_objects(objects))


def comments(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if line.startswith("#"))


@pytest.mark.parametrize("name", CASES)
def test_a_field_that_the_document_lacks_is_a_comment(name: str) -> None:
    assert CASES[name].comment in comments(export(make_deployment(CASES[name])))


@given(valid_specs())
def test_a_serving_of_ours_has_no_comments(spec: ServingSpec) -> None:
    assert comments(export(*manifests.build_manifests(spec, PLATFORM))) == ""


@given(foreign_objects())
def test_the_document_is_read_as_if_there_were_no_comments(objects: list[Json]) -> None:
    imported = import_objects(objects)
    assert from_yaml(export_text(imported)) == imported.spec


@given(json_values, json_values)
def test_no_value_ends_its_comment(one: Any, other: Any) -> None:
    deployment = make_deployment(UnmanagedCase(annotations={"a\u2028b\n": one}))
    deployment["spec"]["template"]["spec"]["x\x85\u202e"] = other
    text = export(deployment)
    assert text.replace("\n", "").isprintable()
    body = text[text.index("apiVersion") :]
    assert all(line[:1] in ("", "#") for line in body[body.index("\n\n") :].split("\n"))
    from_yaml(text)


def test_what_the_api_server_sets_is_no_comment() -> None:
    deployment = make_deployment(UnmanagedCase())
    before = export(deployment)
    deployment["metadata"] |= {"uid": "1", "generation": 3, "managedFields": [{"manager": "helm"}]}
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    deployment["status"] = {"replicas": 0}
    deployment["spec"] |= {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
    pod = deployment["spec"]["template"]["spec"]
    pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {}}
    pod |= {"schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30}
    [server] = pod["containers"]
    server |= {"imagePullPolicy": "IfNotPresent", "resources": {}}
    server["ports"][0]["protocol"] = "TCP"
    assert export(deployment) == before


@pytest.mark.parametrize(
    ("image", "policy", "is_default"),
    [
        ("vllm/vllm-openai:v0.9", "IfNotPresent", True),
        ("vllm/vllm-openai:v0.9", "Always", False),
        ("vllm/vllm-openai:latest", "Always", True),
        ("vllm/vllm-openai", "Always", True),
        ("vllm/vllm-openai", "Never", False),
        ("host:5000/vllm", "Always", True),
        ("vllm@sha256:0", "IfNotPresent", True),
    ],
)
def test_the_default_pull_policy_depends_on_the_tag(
    image: str, policy: str, is_default: bool
) -> None:
    case = UnmanagedCase(container={"image": image, "imagePullPolicy": policy})
    assert ("imagePullPolicy" not in export(make_deployment(case))) == is_default


def test_an_alias_that_the_api_server_adds_is_not_listed_twice() -> None:
    pod = {"serviceAccountName": "models", "serviceAccount": "models"}
    text = export(make_deployment(UnmanagedCase(pod=pod)))
    assert "serviceAccount: models" in text
    assert "serviceAccount" not in comments(text)


def test_another_value_of_a_new_serving_is_said() -> None:
    deployment = make_deployment(CASES["HTTPS probe"])
    deployment["spec"]["template"]["spec"]["enableServiceLinks"] = True
    text = comments(export(deployment))
    assert 'scheme: HTTPS\n#     in a new serving: "HTTP"' in text
    assert "enableServiceLinks: true\n#     in a new serving: false" in text


def test_tolerations_that_a_new_serving_has_too_are_not_listed() -> None:
    own = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    other = {"key": "team", "operator": "Gt", "value": "3"}
    case = UnmanagedCase(
        pod={"tolerations": [other, own]},
        container={"resources": {"limits": {"nvidia.com/gpu": "1"}}},
    )
    text = comments(export(make_deployment(case)))
    assert "tolerations[team]" in text
    assert "nvidia.com/gpu" not in text


def test_objects_that_a_new_serving_does_not_have_are_listed_whole() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "metrics", "uid": "1", "managedFields": []},
        "spec": {"selector": {"app": "llm"}, "ports": [{"port": 9090}]},
        "status": {"loadBalancer": {}},
    }
    route = {"apiVersion": "v1", "kind": "HTTPRoute", "metadata": {"name": "r"}, "spec": {}}
    usual = {**service, "metadata": {"name": "llm"}}
    text = comments(export(make_deployment(UnmanagedCase()), usual, service, route))
    assert "# Service metrics:\n#   apiVersion: v1" in text
    assert "# HTTPRoute r:\n#   apiVersion: v1" in text
    assert "uid" not in text
    assert "status" not in text


def test_the_route_of_others_is_not_taken_for_one_of_ours() -> None:
    """A new serving gets one by the settings, not by what the serving of others has."""
    built = manifests.build_manifests(
        ServingSpec(name="llm", namespace="a", template="custom", image="i"), PLATFORM
    )
    route = built[-1]
    assert "HTTPRoute llm:" in comments(export(make_deployment(UnmanagedCase()), route))


def test_values_that_look_secret_are_masked() -> None:
    key = "sk-proj-0123456789abcdefghijABCDEFGHIJ"
    proxy = {
        "name": "proxy",
        "image": "p",
        "env": [{"name": "API_TOKEN", "value": "hunter2"}],
        "args": ["--api-key", "hunter3", f"--key={key}"],
    }
    case = UnmanagedCase(
        pod={"initContainers": [proxy]}, sidecars=(proxy,), annotations={"db-password": "hunter4"}
    )
    deployment = make_deployment(case)
    text = export(deployment)
    assert MASK in text
    for secret in ("hunter2", "hunter3", "hunter4", key):
        assert secret not in text
    for one in import_objects([deployment]).unmanaged_fields:
        assert "hunter" not in one.describe(1000)
