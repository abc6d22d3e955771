"""Authorization: 401, 403 and the access reviews used by clients."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.target import Target, eventually, scaled_down_deployment

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


def test_an_unknown_token(target: Target) -> None:
    status = target.rejected(401, "GET", "/api/v1/pods", user=None, token="nope")
    assert (status["reason"], status["message"]) == ("Unauthorized", "Unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        (
            "GET",
            "/api/v1/pods",
            'pods is forbidden: User "nobody" cannot list resource "pods" in API group "" at the '
            "cluster scope",
        ),
        (
            "GET",
            "/api/v1/pods?watch=1",
            'pods is forbidden: User "nobody" cannot watch resource "pods" in API group "" at the '
            "cluster scope",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x",
            'pods "x" is forbidden: User "nobody" cannot get resource "pods" in API group "" in '
            'the namespace "default"',
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x/log",
            'pods "x" is forbidden: User "nobody" cannot get resource "pods/log" in API group "" '
            'in the namespace "default"',
        ),
        (
            "POST",
            "/apis/apps/v1/namespaces/default/deployments",
            'deployments.apps is forbidden: User "nobody" cannot create resource "deployments" in '
            'API group "apps" in the namespace "default"',
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/default/deployments",
            'deployments.apps is forbidden: User "nobody" cannot deletecollection resource '
            '"deployments" in API group "apps" in the namespace "default"',
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/default/deployments/x/scale",
            'deployments.apps "x" is forbidden: User "nobody" cannot patch resource '
            '"deployments/scale" in API group "apps" in the namespace "default"',
        ),
        (
            "GET",
            "/api/v1/nodes/n",
            'nodes "n" is forbidden: User "nobody" cannot get resource "nodes" in API group "" at '
            "the cluster scope",
        ),
    ],
)
def test_what_is_forbidden_for_every_user(
    target: Target, method: str, path: str, message: str
) -> None:
    body: dict[str, Any] | None = {} if method in ("POST", "PATCH") else None
    status = target.rejected(403, method, path, body, user="nobody")
    assert (status["reason"], status["message"]) == ("Forbidden", message)


def test_a_path_that_is_no_resource(target: Target) -> None:
    status = target.rejected(403, "GET", "/foo", user="nobody")
    assert status["message"] == 'forbidden: User "nobody" cannot get path "/foo"'


def test_a_viewer_reads_and_does_not_write(target: Target, deployments: str, ns: str) -> None:
    def reads() -> bool:
        return target.send("GET", deployments, user="viewer").code == 200

    eventually(reads, "the viewer's rights to be known")
    status = target.rejected(403, "POST", deployments, scaled_down_deployment(), user="viewer")
    assert status["message"] == (
        'deployments.apps is forbidden: User "viewer" cannot create resource "deployments" in '
        f'API group "apps" in the namespace "{ns}"'
    )
    target.rejected(403, "GET", f"/api/v1/namespaces/{ns}/secrets", user="viewer")


def review(target: Target, user: str, **attributes: Any) -> bool:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    reply = target.send("POST", REVIEWS, body, user=user)
    assert reply.code == 201, reply.text
    assert reply.json["spec"]["resourceAttributes"] == attributes
    return bool(reply.json["status"]["allowed"])


def test_access_reviews(target: Target) -> None:
    pods = {"verb": "list", "resource": "pods", "namespace": "default"}
    assert review(target, "admin", **pods)
    assert not review(target, "nobody", **pods)
    assert review(target, "viewer", **pods)
    assert review(target, "viewer", **pods | {"verb": "get", "subresource": "log"})
    delete = {"verb": "delete", "resource": "deployments", "group": "apps"}
    assert not review(target, "viewer", **delete)
    assert not review(target, "viewer", verb="list", resource="secrets")


def test_a_review_without_a_question(target: Target) -> None:
    status = target.rejected(422, "POST", REVIEWS, {"spec": {}})
    assert status["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: null: exactly one of nonResourceAttributes or "
            "resourceAttributes must be specified",
            "field": "spec.resourceAttributes",
        }
    ]
    assert target.rejected(405, "GET", REVIEWS)["reason"] == "MethodNotAllowed"


def test_rules_of_a_namespace(target: Target) -> None:
    body = {"spec": {"namespace": "default"}}
    found = target.ok("POST", RULES, body)["status"]
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert everything in found["resourceRules"]
    assert found["incomplete"] is False
    nobody = target.ok("POST", RULES, body, user="nobody")["status"]["resourceRules"]
    assert everything not in nobody
    assert target.rejected(400, "POST", RULES, {"spec": {}})["message"] == "no namespace on request"


def test_who_am_i(target: Target) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    info = target.ok("POST", path, {}, user="viewer")["status"]["userInfo"]
    assert info["username"] == "viewer"
    assert "system:authenticated" in info["groups"]
