"""What the API rejects, and the exact error messages."""

from __future__ import annotations

import pytest

from tests.contract.target import MERGE, STRATEGIC, Target, configmap, scaled_down_deployment

NOT_FOUND = "the server could not find the requested resource"
NOT_ALLOWED = "the server does not allow this method on the requested resource"


def test_a_missing_object_is_named_with_its_group(target: Target, deployments: str) -> None:
    status = target.rejected(404, "GET", f"{deployments}/nope")
    assert status["message"] == 'deployments.apps "nope" not found'
    assert status["reason"] == "NotFound"
    assert status["details"] == {"name": "nope", "group": "apps", "kind": "deployments"}


def test_a_core_object_is_named_without_group(target: Target, pods: str) -> None:
    status = target.rejected(404, "GET", f"{pods}/nope")
    assert status["message"] == 'pods "nope" not found'
    assert status["details"] == {"name": "nope", "kind": "pods"}


def test_a_name_is_taken_once(target: Target, configmaps: str) -> None:
    target.ok("POST", configmaps, configmap("a"))
    status = target.rejected(409, "POST", configmaps, configmap("a"))
    assert status["reason"] == "AlreadyExists"
    assert status["message"] == 'configmaps "a" already exists'
    assert status["details"] == {"name": "a", "kind": "configmaps"}


def test_a_namespace_must_exist(target: Target) -> None:
    path = "/api/v1/namespaces/contract-nowhere/configmaps"
    status = target.rejected(404, "POST", path, configmap("a"))
    assert status["message"] == 'namespaces "contract-nowhere" not found'


@pytest.mark.parametrize(
    "path",
    [
        "/apis/apps/v1/foos",
        "/api/v1/namespaces/default/foos",
        "/api/v1/namespaces/default/pods/x/foos",
    ],
)
def test_an_unknown_resource(target: Target, path: str) -> None:
    status = target.rejected(404, "GET", path)
    assert (status["reason"], status["message"]) == ("NotFound", NOT_FOUND)


@pytest.mark.parametrize("path", ["/foo", "/apis/nope.io/v1/foos", "/apis/nope.io/v1"])
def test_an_unknown_path_is_404(target: Target, path: str) -> None:
    assert target.send("GET", path).code == 404


@pytest.mark.parametrize(
    ("method", "suffix"), [("PUT", ""), ("POST", "/d"), ("OPTIONS", ""), ("FOO", "")]
)
def test_a_method_that_the_path_has_not(
    target: Target, deployments: str, method: str, suffix: str
) -> None:
    status = target.rejected(405, method, deployments + suffix, {} if method != "FOO" else None)
    assert (status["reason"], status["message"]) == ("MethodNotAllowed", NOT_ALLOWED)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b"{nope",
            "couldn't get version/kind; json parse error: invalid character 'n' looking for "
            "beginning of object key string ({nope)",
        ),
        (
            b"",
            "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)",
        ),
        (b"[]", "json: cannot unmarshal array into Go value of type struct"),
    ],
)
def test_a_body_that_is_no_object(
    target: Target, deployments: str, body: bytes, words: str
) -> None:
    status = target.rejected(400, "POST", deployments, body)
    assert status["reason"] == "BadRequest"
    start = "the object provided is unrecognized (must be of type Deployment): "
    assert status["message"].startswith(start)
    assert words in status["message"]


def test_a_body_of_another_kind(target: Target, deployments: str) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    status = target.rejected(400, "POST", deployments, body)
    assert status["message"].startswith(
        'Pod in version "v1" cannot be handled as a Deployment: converting (v1.Pod) to '
    )


def test_a_content_type_that_nobody_reads(target: Target, deployments: str) -> None:
    status = target.rejected(415, "POST", deployments, b"<x/>", content_type="text/xml")
    assert status["reason"] == "UnsupportedMediaType"
    assert status["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def test_an_invalid_patch(target: Target, deployments: str) -> None:
    status = target.rejected(415, "PATCH", f"{deployments}/x", {})
    assert status["message"] == "415: Unsupported Media Type"


def test_an_accept_header_that_nobody_can_meet(target: Target, deployments: str) -> None:
    status = target.rejected(406, "GET", deployments, accept="text/xml")
    assert status["reason"] == "NotAcceptable"


def test_a_body_that_is_too_large(target: Target, deployments: str) -> None:
    status = target.rejected(413, "POST", deployments, b'{"kind":"' + b"x" * (3 << 20) + b'"}')
    assert status["reason"] == "RequestEntityTooLarge"
    assert status["message"] == "Request entity too large: limit is 3145728"


def test_a_yaml_body_is_read(target: Target, configmaps: str) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dates}\ndata: {when: '2020-01-01'}\n"
    reply = target.send("POST", configmaps, body, content_type="application/yaml")
    assert reply.code == 201, reply.text
    assert reply.json["data"] == {"when": "2020-01-01"}


def test_names_in_body_and_url_must_agree(target: Target, deployments: str) -> None:
    target.ok("POST", deployments, scaled_down_deployment("web"))
    status = target.rejected(400, "PUT", f"{deployments}/web", scaled_down_deployment("other"))
    assert status["message"] == (
        "the name of the object (other) does not match the name on the URL (web)"
    )
    body = scaled_down_deployment("web")
    body["metadata"]["namespace"] = "kube-system"
    status = target.rejected(400, "POST", deployments, body)
    assert status["message"] == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (
            b"{nope",
            MERGE,
            "error decoding patch: invalid character 'n' looking for beginning of object key "
            "string",
        ),
        (
            b"[]",
            MERGE,
            "error decoding patch: json: cannot unmarshal array into Go value of type "
            "map[string]interface {}",
        ),
        (b"{nope", STRATEGIC, "invalid character 'n' looking for beginning of object key string"),
        (
            b"{}",
            "application/json-patch+json",
            "error decoding patch: json: cannot unmarshal object into Go value of type "
            "[]handlers.jsonPatchOp",
        ),
    ],
)
def test_a_patch_that_cannot_be_read(
    target: Target, deployments: str, body: bytes, kind: str, words: str
) -> None:
    target.ok("POST", deployments, scaled_down_deployment())
    status = target.rejected(400, "PATCH", f"{deployments}/web", body, content_type=kind)
    assert status["message"] == words


def test_a_terminating_namespace_accepts_no_new_objects(target: Target, ns: str) -> None:
    # a test finalizer, or the namespace might be gone before the request
    cm = configmap("held")
    cm["metadata"]["finalizers"] = ["contract.test/hold"]
    path = f"/api/v1/namespaces/{ns}/configmaps"
    target.ok("POST", path, cm)
    target.ok("DELETE", f"/api/v1/namespaces/{ns}")
    status = target.rejected(403, "POST", path, configmap("late"))
    target.patch(f"{path}/held", {"metadata": {"finalizers": None}})
    assert status["message"] == (
        'configmaps "late" is forbidden: unable to create new content in namespace '
        f"{ns} because it is being terminated"
    )
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
