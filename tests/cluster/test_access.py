from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.access import AccessChecker
from servedeck.cluster.http.connection import Connection
from tests.cluster.fake_api_server import FakeApiServer, respond_with_status

RULES_REVIEW_PATH = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
ACCESS_REVIEW_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def make_rule(verbs: str, groups: str, resources: str, names: str = "") -> dict[str, Any]:
    return {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "resourceNames": names.split(),
    }


class FakeReviewApi:
    """What the server permits the user to do."""

    def __init__(
        self, api: FakeApiServer, *rules: dict[str, Any], incomplete: bool = False
    ) -> None:
        self.rules = rules
        self.incomplete = incomplete
        self.allowed = True
        self.review_requests: list[dict[str, Any]] = []
        api.add_route(RULES_REVIEW_PATH, self._rules_review)
        api.add_route(ACCESS_REVIEW_PATH, self._access_review)

    async def _rules_review(self, request: web.Request) -> web.StreamResponse:
        self.review_requests.append(json.loads(await request.read()))
        status = {"resourceRules": self.rules, "nonResourceRules": []}
        return web.json_response({"status": status | {"incomplete": self.incomplete}}, status=201)

    async def _access_review(self, request: web.Request) -> web.StreamResponse:
        self.review_requests.append(json.loads(await request.read()))
        return web.json_response({"status": {"allowed": self.allowed}}, status=201)


async def test_rules_are_cached(api: FakeApiServer, connection: Connection) -> None:
    review_api = FakeReviewApi(
        api,
        make_rule("get list watch", "core", "pods pods/log"),
        make_rule("*", "apps", "*"),
        make_rule("update", "*", "*/scale"),
        make_rule("delete", "core", "pods", "mine"),
    )
    access = await AccessChecker.load(connection, "team")
    assert access.cached_decision("list", "pods", "team")
    assert access.cached_decision("get", "pods", "team", "log")
    assert access.cached_decision("get", "pods/log", "team")
    assert access.cached_decision("patch", "deployments.apps", "team")
    assert access.cached_decision("patch", "deployments.apps/scale", "team")
    assert access.cached_decision("update", "things.example.com", "team", "scale")
    assert access.cached_decision("delete", "pods", "team", name="mine")
    for verb, resource, sub in (
        ("create", "pods", "exec"),
        ("delete", "pods", ""),
        ("list", "services", ""),
        ("list", "pods.metrics.k8s.io", ""),
    ):
        denied = access.cached_decision(verb, resource, "team", sub)
        assert not denied
        assert denied.known
    assert access.cached_decision("create", "pods", "team", "exec").reason == (
        "Needs create on pods/exec in namespace team."
    )
    assert review_api.review_requests[0]["spec"] == {"namespace": "team"}
    assert len(review_api.review_requests) == 1


async def test_incomplete_rules_deny_nothing(api: FakeApiServer, connection: Connection) -> None:
    review_api = FakeReviewApi(api, make_rule("get", "core", "pods"), incomplete=True)
    access = await AccessChecker.load(connection, "team")
    assert access.cached_decision("get", "pods", "team").known
    unknown = access.cached_decision("delete", "pods", "team")
    assert unknown
    assert not unknown.known
    review_api.allowed = False
    assert not await access.check("delete", "pods", "team")
    assert not access.cached_decision("delete", "pods", "team")


async def test_access_reviews_are_cached(api: FakeApiServer, connection: Connection) -> None:
    now = 0.0
    review_api = FakeReviewApi(api)
    access = AccessChecker(connection, max_age=10.0, clock=lambda: now)
    assert await access.check("patch", "deployments.apps", "", "scale")
    review_api.allowed = False
    assert await access.check("patch", "deployments.apps", "", "scale")
    now = 11.0
    denied = await access.check("patch", "deployments.apps", "", "scale")
    assert denied.reason == "Needs patch on deployments.apps/scale in the whole cluster."
    assert review_api.review_requests[0]["spec"]["resourceAttributes"] == {
        "verb": "patch",
        "group": "apps",
        "resource": "deployments",
        "subresource": "scale",
        "namespace": "",
        "name": "",
    }
    assert len(review_api.review_requests) == 2


@pytest.mark.parametrize("code", [401, 403, 429, 500, 503])
async def test_errors_are_not_taken_for_denials(
    api: FakeApiServer, connection: Connection, code: int
) -> None:
    now = 0.0
    review_api = FakeReviewApi(api, make_rule("get", "core", "pods"))
    access = AccessChecker(connection, max_age=10.0, clock=lambda: now)
    api.faults["other"] = [respond_with_status(code)] * 2
    await access.refresh("team")
    assert access.last_error
    assert access.cached_decision("delete", "pods", "team")
    unknown = await access.check("delete", "pods", "team")
    assert unknown
    assert not unknown.known
    await access.refresh("team")
    assert not access.last_error
    assert not access.cached_decision("delete", "pods", "team"), "the next answer counts"
    now = 11.0
    api.faults["other"] = [respond_with_status(code)]
    await access.refresh("team")
    assert access.cached_decision("get", "pods", "team").known, "an error leaves the old answer"
    assert len(review_api.review_requests) == 1
