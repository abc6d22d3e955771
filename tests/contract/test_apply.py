"""Server-side apply with field fields_by_manager."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.apply_requests import applied, apply, with_image
from tests.contract.object_fields import Json, container, fields_by_manager
from tests.contract.target import (
    APPLY,
    Target,
    configmap,
    scaled_down_deployment,
)


def test_apply_creates_and_owns_what_it_names(target: Target, deployments: str) -> None:
    path = f"{deployments}/web?fieldManager=a"
    reply = target.send("PATCH", path, applied(), content_type=APPLY)
    assert reply.code == 201
    assert fields_by_manager(reply.json) == {
        ("a", "Apply", ""): {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}}}
                    },
                },
            },
        }
    }


def test_applying_the_same_again_changes_nothing(target: Target, configmaps: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap"} | configmap("a", k="v")
    path = f"{configmaps}/a?fieldManager=a"
    first = target.send("PATCH", path, body, content_type=APPLY)
    again = target.send("PATCH", path, body, content_type=APPLY)
    assert (first.code, again.code) == (201, 200)
    assert again.json == first.json


@pytest.mark.parametrize("query", ["", "&dryRun=All", "&force=true"])
def test_apply_with_a_uid_creates_nothing(target: Target, deployments: str, query: str) -> None:
    body = applied()
    body["metadata"]["uid"] = "7c0c1a2e-0000-4000-8000-000000000000"
    path = f"{deployments}/web?fieldManager=a{query}"
    status = target.rejected(409, "PATCH", path, body, content_type=APPLY)
    assert status["message"] == (
        'Operation cannot be fulfilled on deployments.apps "web": uid mismatch: the provided '
        "object specified uid 7c0c1a2e-0000-4000-8000-000000000000, and no existing object was "
        "found"
    )
    target.rejected(404, "GET", f"{deployments}/web")


def test_apply_needs_a_manager(target: Target, deployments: str) -> None:
    status = target.rejected(422, "PATCH", f"{deployments}/web", applied(), content_type=APPLY)
    assert status["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for '
        "apply patch"
    )


def test_another_value_of_an_owned_field_conflicts(target: Target, web: str) -> None:
    path = f"{web}?fieldManager=a"
    status = target.rejected(409, "PATCH", path, with_image("other"), content_type=APPLY)
    field = '.spec.template.spec.containers[name="c"].image'
    words = 'conflict with "creator" using apps/v1'
    assert status["message"] == f"Apply failed with 1 conflict: {words}: {field}"
    assert status["reason"] == "Conflict"
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": words, "field": field}
    ]


def test_several_conflicts_are_listed(target: Target, web: str) -> None:
    body = with_image("other")
    body["spec"]["paused"] = True
    target.patch(web, {"spec": {"paused": False, "minReadySeconds": 1}}, agent="second/1")
    body["spec"]["minReadySeconds"] = 2
    path = f"{web}?fieldManager=a"
    status = target.rejected(409, "PATCH", path, body, content_type=APPLY)
    assert status["message"] == (
        "Apply failed with 2 conflicts: "
        'conflicts with "creator" using apps/v1:\n'
        '- .spec.template.spec.containers[name="c"].image\n'
        'conflicts with "second" using apps/v1:\n'
        "- .spec.minReadySeconds"
    )


def test_force_takes_the_field(target: Target, web: str) -> None:
    forced = apply(target, web, with_image("other"), "a", "&force=true")
    assert container(forced)["image"] == "other"
    theirs = fields_by_manager(forced)[("creator", "Update", "")]["f:spec"]["f:template"]["f:spec"]
    assert "f:image" not in theirs["f:containers"]['k:{"name":"c"}']
    # an update by another manager takes it over again, without a conflict
    changed = target.patch(web, {"spec": {"replicas": 0, "paused": True}}, agent="third/1")
    assert "f:paused" in fields_by_manager(changed)[("third", "Update", "")]["f:spec"]


def test_the_same_value_is_shared(target: Target, web: str) -> None:
    shared = apply(target, web, applied(), "a")
    assert "f:replicas" in fields_by_manager(shared)[("a", "Apply", "")]["f:spec"]
    assert "f:replicas" in fields_by_manager(shared)[("creator", "Update", "")]["f:spec"]


def test_what_is_no_longer_applied_goes(target: Target, deployments: str) -> None:
    path = f"{deployments}/web"
    body = applied()
    side = {
        "name": "side",
        "image": "s",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "value": "1"}],
    }
    body["spec"]["template"]["spec"]["containers"].append(side)
    body["metadata"]["labels"]["more"] = "x"
    made = apply(target, path, body, "a")
    mine = fields_by_manager(made)[("a", "Apply", "")]["f:spec"]["f:template"]["f:spec"][
        "f:containers"
    ]
    assert mine['k:{"name":"side"}'] == {
        ".": {},
        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
        "f:image": {},
        "f:name": {},
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
    }
    less = apply(target, path, applied(), "a")
    assert [c["name"] for c in less["spec"]["template"]["spec"]["containers"]] == ["c"]
    assert less["metadata"]["labels"] == {"app": "web"}


def test_what_another_manager_owns_stays(target: Target, deployments: str) -> None:
    path = f"{deployments}/web"
    body = applied()
    body["metadata"]["labels"] |= {"both": "x", "mine": "x"}
    apply(target, path, body, "a")
    other = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"both": "x"}},
    }
    apply(target, path, other, "b")
    less = apply(target, path, applied(), "a")
    assert less["metadata"]["labels"] == {"app": "web", "both": "x"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"metadata": {"name": "web"}}, "invalid object type: /, Kind="),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}},
            "invalid object type: /v1, Kind=Pod",
        ),
        (
            scaled_down_deployment()
            | {"metadata": {"name": "web", "managedFields": [{"manager": "x"}]}},
            "metadata.managedFields must be nil",
        ),
    ],
)
def test_an_invalid_apply_configuration(
    target: Target, deployments: str, body: Json, message: str
) -> None:
    path = f"{deployments}/web?fieldManager=a"
    assert target.rejected(400, "PATCH", path, body, content_type=APPLY)["message"] == message


PROBE: Json = {"httpGet": {"path": "/health", "port": 80}, "periodSeconds": 7}


def with_container_fields(**fields: Any) -> Json:
    body = applied()
    container(body).update(fields)
    return body


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("livenessProbe", PROBE, None),
        ("lifecycle", {"preStop": {"httpGet": {"port": 80}}}, None),
        ("resources", {"limits": {"cpu": "1"}}, {}),
        ("env", [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}], None),
        ("ports", [{"containerPort": 80}], None),
    ],
)
def test_a_struct_that_is_no_longer_applied_goes_with_its_defaults(
    target: Target, deployments: str, name: str, value: Any, left: Any
) -> None:
    path = f"{deployments}/web"
    apply(target, path, with_container_fields(**{name: value}), "a")
    less = apply(target, path, applied(), "a")
    assert container(less).get(name) == left


def test_the_defaults_of_another_handler_replace_those_of_the_first(
    target: Target, deployments: str
) -> None:
    path = f"{deployments}/web"
    apply(target, path, with_container_fields(livenessProbe=PROBE), "a")
    other = {"tcpSocket": {"port": 80}}
    changed = apply(target, path, with_container_fields(livenessProbe=other), "a")
    assert container(changed)["livenessProbe"] == {
        "tcpSocket": {"port": 80},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_a_struct_stays_while_another_manager_owns_a_field_of_it(
    target: Target, deployments: str
) -> None:
    path = f"{deployments}/web"
    body = with_container_fields(livenessProbe=PROBE)
    apply(target, path, body, "a")
    other = with_container_fields(livenessProbe=PROBE | {"failureThreshold": 5})
    apply(target, path, other, "b")
    less = apply(target, path, applied(), "a")
    assert container(less)["livenessProbe"]["failureThreshold"] == 5
    assert container(less)["livenessProbe"]["httpGet"]["path"] == "/health"


def test_the_strategy_and_the_annotations_that_are_no_longer_applied_go(
    target: Target, deployments: str
) -> None:
    path = f"{deployments}/web"
    body = applied(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}})
    body["metadata"]["annotations"] = {"a": "x"}
    body["spec"]["template"]["metadata"]["annotations"] = {"a": "x"}
    body["spec"]["template"]["spec"]["securityContext"] = {"runAsUser": 5}
    apply(target, path, body, "a")
    less = apply(target, path, applied(), "a")
    assert "annotations" not in less["spec"]["template"]["metadata"]
    assert "a" not in less["metadata"].get("annotations", {})
    assert less["spec"]["template"]["spec"]["securityContext"] == {}
    assert less["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
