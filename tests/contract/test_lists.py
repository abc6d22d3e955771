"""Lists: selectors, pagination, resource versions."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from tests.contract.target import Target, configmap


@pytest.fixture
def five_configmaps(target: Target, configmaps: str) -> str:
    for number in range(5):
        labels = {"app": "x", "odd": str(number % 2)} if number else {}
        target.ok("POST", configmaps, configmap(f"c{number}", labels))
    return configmaps


def names(target: Target, path: str) -> list[str]:
    return [item["metadata"]["name"] for item in target.ok("GET", path)["items"]]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=x", [1, 2, 3, 4]),
        ("app==x,odd=1", [1, 3]),
        ("app!=x", [0]),
        ("odd in (0, 1),odd notin (1)", [2, 4]),
        ("odd notin (1)", [0, 2, 4]),
        ("!app", [0]),
        ("odd", [1, 2, 3, 4]),
        ("odd>0", [1, 3]),
        ("app=", []),
    ],
)
def test_label_selectors(
    target: Target, five_configmaps: str, selector: str, found: list[int]
) -> None:
    query = f"labelSelector={quote(selector)}&fieldSelector=metadata.name!=kube-root-ca.crt"
    path = f"{five_configmaps}?{query}"
    assert names(target, path) == [f"c{number}" for number in found]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (
            "a b c",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("==", "found '==', expected: !, identifier, or 'end of string'"),
    ],
)
def test_bad_label_selectors(target: Target, selector: str, message: str) -> None:
    path = f"/apis/apps/v1/deployments?labelSelector={quote(selector)}"
    status = target.rejected(400, "GET", path)
    assert (status["reason"], status["message"]) == ("BadRequest", message)


def test_a_bad_label_value(target: Target) -> None:
    status = target.rejected(400, "GET", "/api/v1/pods?labelSelector=a%3D-b-")
    assert status["message"].startswith(
        'unable to parse requirement: values[0][a]: Invalid value: "-b-": a valid label must be '
        "an empty string or consist of alphanumeric characters"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/apis/apps/v1/deployments?fieldSelector=spec.replicas%3D1",
            '"spec.replicas" is not a known field selector: only "metadata.name", '
            '"metadata.namespace"',
        ),
        ("/api/v1/pods?fieldSelector=spec.foo%3D1", "field label not supported: spec.foo"),
        ("/api/v1/pods?fieldSelector=foo", "invalid selector: 'foo'; can't understand 'foo'"),
    ],
)
def test_bad_field_selectors(target: Target, path: str, message: str) -> None:
    assert target.rejected(400, "GET", path)["message"] == message


def test_a_field_selector(target: Target, five_configmaps: str) -> None:
    assert names(target, f"{five_configmaps}?fieldSelector=metadata.name%3Dc3") == ["c3"]


def test_pages_show_one_state(target: Target, five_configmaps: str) -> None:
    wanted = names(target, five_configmaps)
    page = target.ok("GET", f"{five_configmaps}?limit=2")
    version = page["metadata"]["resourceVersion"]
    assert page["metadata"]["remainingItemCount"] == len(wanted) - 2
    target.ok(
        "POST", five_configmaps, configmap("c9")
    )  # after the first page: not part of the list
    target.ok("DELETE", f"{five_configmaps}/c3")
    seen = [item["metadata"]["name"] for item in page["items"]]
    while token := page["metadata"].get("continue"):
        page = target.ok("GET", f"{five_configmaps}?limit=2&continue={token}")
        assert page["metadata"]["resourceVersion"] == version
        seen += [item["metadata"]["name"] for item in page["items"]]
    assert seen == wanted
    assert "remainingItemCount" not in page["metadata"]


def test_a_page_with_a_selector_does_not_count_the_rest(
    target: Target, five_configmaps: str
) -> None:
    page = target.ok("GET", f"{five_configmaps}?limit=1&labelSelector=app%3Dx")
    assert page["metadata"]["continue"]
    assert "remainingItemCount" not in page["metadata"]


def test_a_page_of_an_expired_list_is_gone(target: Target, five_configmaps: str) -> None:
    # the real server retains more than etcd does, but not the very first version
    start = {"v": "meta.k8s.io/v1", "rv": 1, "start": "/c1\0"}
    token = base64.urlsafe_b64encode(json.dumps(start).encode()).decode().rstrip("=")
    target.backend.compact()
    path = f"{five_configmaps}?limit=2&continue={token}"
    if target.name == "real" and target.send("GET", path).code == 200:
        pytest.skip("a real server that has just begun remembers everything")
    status = target.rejected(410, "GET", path)
    assert status["reason"] == "Expired"
    assert status["message"].startswith(
        "The provided continue parameter is too old to display a consistent list result."
    )
    rest = target.ok("GET", f"{five_configmaps}?continue={status['metadata']['continue']}")
    found = [item["metadata"]["name"] for item in rest["items"]]
    assert found[:3] == ["c2", "c3", "c4"]


def test_a_bad_continue_token(target: Target) -> None:
    status = target.rejected(400, "GET", "/api/v1/pods?limit=1&continue=abc")
    assert status["message"].startswith("invalid continue token: continue key is not valid: ")


def test_items_of_built_in_kinds_carry_no_kind(target: Target, five_configmaps: str) -> None:
    found = target.ok("GET", five_configmaps)
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert "kind" not in found["items"][0]


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("limit=abc", 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        (
            "resourceVersion=abc",
            400,
            'invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: '
            'parsing "abc": invalid syntax',
        ),
        (
            "resourceVersionMatch=Exact",
            422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Foo",
            422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Unsupported value: '
            '"Foo": supported values: "Exact", "NotOlderThan", ""',
        ),
    ],
)
def test_bad_parameters(target: Target, query: str, code: int, message: str) -> None:
    status = target.rejected(code, "GET", f"/apis/apps/v1/deployments?{query}")
    assert status["message"] == message


def test_a_too_large_resource_version(target: Target) -> None:
    reply = target.send("GET", "/apis/apps/v1/deployments?resourceVersion=99999999")
    assert (reply.code, reply.headers["Retry-After"]) == (504, "1")
    assert reply.json["reason"] == "Timeout"
    assert reply.message.startswith("Timeout: Too large resource version: 99999999, current: ")
    assert reply.json["details"]["causes"] == [
        {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    ]


def test_deletecollection_takes_what_is_selected(target: Target, five_configmaps: str) -> None:
    found = target.ok("DELETE", f"{five_configmaps}?labelSelector=odd%3D1")
    assert found["kind"] == "ConfigMapList"
    assert [item["metadata"]["name"] for item in found["items"]] == ["c1", "c3"]
    assert [n for n in names(target, five_configmaps) if n.startswith("c")] == ["c0", "c2", "c4"]


def test_metadata_alone(target: Target, five_configmaps: str) -> None:
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    found = target.ok("GET", f"{five_configmaps}?limit=1", accept=accept)
    assert found["kind"] == "PartialObjectMetadataList"
    assert set(found["items"][0]) == {"kind", "apiVersion", "metadata"}
