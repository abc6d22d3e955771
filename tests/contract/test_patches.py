"""JSON, merge and strategic merge patches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.object_fields import Json, container
from tests.contract.target import (
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    Target,
)

REJECTED = "the server rejected our request due to an error in our request"


def test_a_merge_patch_replaces_lists_and_removes_with_null(target: Target, web: str) -> None:
    pod = {"containers": [{"name": "d", "image": "j"}]}
    change = {"metadata": {"labels": {"app": None}}, "spec": {"template": {"spec": pod}}}
    changed = target.patch(web, change)
    assert [c["name"] for c in changed["spec"]["template"]["spec"]["containers"]] == ["d"]
    assert "labels" not in changed["metadata"] or not changed["metadata"]["labels"]


def test_a_strategic_patch_merges_lists_by_key(target: Target, web: str) -> None:
    def send(*containers: Json, **more: Any) -> Json:
        pod = {"containers": list(containers)} | more
        found: Json = target.patch(web, {"spec": {"template": {"spec": pod}}}, STRATEGIC)
        return found

    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    send({"name": "c", "image": "j", "env": env})
    changed = send(
        {"name": "side", "image": "s"}, {"name": "c", "env": [{"name": "B", "value": "3"}]}
    )
    by_name = {c["name"]: c for c in changed["spec"]["template"]["spec"]["containers"]}
    assert by_name["c"]["image"] == "j"
    assert by_name["c"]["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    gone = send({"name": "side", "$patch": "delete"})
    assert [c["name"] for c in gone["spec"]["template"]["spec"]["containers"]] == ["c"]
    replaced = send({"name": "c", "image": "k", "env": [{"$patch": "replace"}]})
    assert "env" not in container(replaced)


def test_a_strategic_patch_orders_and_retains(target: Target, web: str) -> None:
    order = {
        "$setElementOrder/containers": [{"name": "side"}, {"name": "c"}],
        "containers": [{"name": "side", "image": "s"}],
    }
    changed = target.patch(web, {"spec": {"template": {"spec": order}}}, STRATEGIC)
    names = [c["name"] for c in changed["spec"]["template"]["spec"]["containers"]]
    assert names == ["side", "c"]
    recreate = {"$retainKeys": ["type"], "type": "Recreate"}
    changed = target.patch(web, {"spec": {"strategy": recreate}}, STRATEGIC)
    assert changed["spec"]["strategy"] == {"type": "Recreate"}


def test_a_json_patch(target: Target, web: str) -> None:
    path = "/spec/template/spec/containers"
    changed = target.patch(
        web,
        [
            {"op": "test", "path": f"{path}/0/name", "value": "c"},
            {"op": "replace", "path": f"{path}/0/image", "value": "j"},
            {"op": "add", "path": f"{path}/-", "value": {"name": "d", "image": "k"}},
            {"op": "add", "path": "/metadata/labels/a~1b", "value": "x"},
            {"op": "copy", "from": "/metadata/labels/app", "path": "/metadata/labels/copy"},
            {"op": "remove", "path": "/metadata/labels/app"},
        ],
        JSON_PATCH,
    )
    assert container(changed)["image"] == "j"
    assert container(changed, 1)["name"] == "d"
    assert changed["metadata"]["labels"] == {"a/b": "x", "copy": "web"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/nope/x", "value": 1},
        {"op": "remove", "path": "/spec/nope"},
        {"op": "test", "path": "/spec/replicas", "value": 5},
        {"op": "foo", "path": "/spec/replicas", "value": 5},
        {"op": "add", "path": "/spec/replicas/x", "value": 1},
        {"op": "add", "path": "/spec/template/spec/containers/9", "value": {"name": "d"}},
        {"op": "move", "from": "/spec/nope", "path": "/spec/replicas"},
        {"op": "remove", "path": None},
        None,
    ],
)
def test_a_json_patch_that_cannot_be_done(target: Target, web: str, operation: Json) -> None:
    status = target.rejected(422, "PATCH", web, [operation], content_type=JSON_PATCH)
    assert (status["reason"], status["message"]) == ("Invalid", REJECTED)


def test_a_value_that_a_json_patch_leaves_out_is_null(target: Target, web: str) -> None:
    operations = [
        {"op": "add", "path": "/spec/replicas", "value": 3},
        {"op": "add", "path": "/spec/replicas"},
    ]
    assert target.patch(web, operations, JSON_PATCH)["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        (
            {"op": "remove", "path": 5},
            "number into Go struct field jsonPatchOp.path of type string",
        ),
        ({"op": [], "path": "/a"}, "array into Go struct field jsonPatchOp.op of type string"),
        (
            {"op": "copy", "from": True, "path": "/a"},
            "bool into Go struct field jsonPatchOp.from of type string",
        ),
        ("x", "string into Go value of type handlers.jsonPatchOp"),
        ([], "array into Go value of type handlers.jsonPatchOp"),
    ],
)
def test_a_json_patch_that_cannot_be_decoded(
    target: Target, web: str, operation: Any, wrong: str
) -> None:
    status = target.rejected(400, "PATCH", web, [operation], content_type=JSON_PATCH)
    assert status["message"] == f"error decoding patch: json: cannot unmarshal {wrong}"


def test_the_selector_is_immutable(target: Target, web: str) -> None:
    labels = {"app": "y"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}},
    }
    status = target.rejected(422, "PATCH", web, {"spec": spec}, content_type=MERGE)
    assert status["message"] == (
        'Deployment.apps "web" is invalid: spec.selector: Invalid value: '
        '{"matchLabels":{"app":"y"}}: field is immutable'
    )
