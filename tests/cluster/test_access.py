from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.access import Access
from servedeck.cluster.http.connection import Connection
from tests.cluster.api import Api, answers

RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
SINGLE = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def rule(verbs: str, groups: str, resources: str, names: str = "") -> dict[str, Any]:
    return {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "resourceNames": names.split(),
    }


class Rights:
    """What the server says we may do."""

    def __init__(self, api: Api, *rules: dict[str, Any], incomplete: bool = False) -> None:
        self.rules = rules
        self.incomplete = incomplete
        self.allowed = True
        self.asked: list[dict[str, Any]] = []
        api.answer(RULES, self._list)
        api.answer(SINGLE, self._single)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(json.loads(await request.read()))
        status = {"resourceRules": self.rules, "nonResourceRules": []}
        return web.json_response({"status": status | {"incomplete": self.incomplete}}, status=201)

    async def _single(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(json.loads(await request.read()))
        return web.json_response({"status": {"allowed": self.allowed}}, status=201)


async def test_rules_answer_without_asking_again(api: Api, connection: Connection) -> None:
    rights = Rights(
        api,
        rule("get list watch", "core", "pods pods/log"),
        rule("*", "apps", "*"),
        rule("update", "*", "*/scale"),
        rule("delete", "core", "pods", "mine"),
    )
    access = await Access.review(connection, "team")
    assert access.allowed("list", "pods", "team")
    assert access.allowed("get", "pods", "team", "log")
    assert access.allowed("get", "pods/log", "team")
    assert access.allowed("patch", "deployments.apps", "team")
    assert access.allowed("patch", "deployments.apps/scale", "team")
    assert access.allowed("update", "things.example.com", "team", "scale")
    assert access.allowed("delete", "pods", "team", name="mine")
    for verb, resource, sub in (
        ("create", "pods", "exec"),
        ("delete", "pods", ""),
        ("list", "services", ""),
        ("list", "pods.metrics.k8s.io", ""),
    ):
        denied = access.allowed(verb, resource, "team", sub)
        assert not denied
        assert denied.known
    assert access.allowed("create", "pods", "team", "exec").reason == (
        "Needs create on pods/exec in namespace team."
    )
    assert rights.asked[0]["spec"] == {"namespace": "team"}
    assert len(rights.asked) == 1


async def test_incomplete_rules_deny_nothing(api: Api, connection: Connection) -> None:
    rights = Rights(api, rule("get", "core", "pods"), incomplete=True)
    access = await Access.review(connection, "team")
    assert access.allowed("get", "pods", "team").known
    unknown = access.allowed("delete", "pods", "team")
    assert unknown
    assert not unknown.known
    rights.allowed = False
    assert not await access.check("delete", "pods", "team")
    assert not access.allowed("delete", "pods", "team")


async def test_single_answers_are_kept_for_a_while(api: Api, connection: Connection) -> None:
    now = 0.0
    rights = Rights(api)
    access = Access(connection, max_age=10.0, clock=lambda: now)
    assert await access.check("patch", "deployments.apps", "", "scale")
    rights.allowed = False
    assert await access.check("patch", "deployments.apps", "", "scale")
    now = 11.0
    denied = await access.check("patch", "deployments.apps", "", "scale")
    assert denied.reason == "Needs patch on deployments.apps/scale in the whole cluster."
    assert rights.asked[0]["spec"]["resourceAttributes"] == {
        "verb": "patch",
        "group": "apps",
        "resource": "deployments",
        "subresource": "scale",
        "namespace": "",
        "name": "",
    }
    assert len(rights.asked) == 2


@pytest.mark.parametrize("code", [401, 403, 429, 500, 503])
async def test_errors_are_never_a_no(api: Api, connection: Connection, code: int) -> None:
    now = 0.0
    rights = Rights(api, rule("get", "core", "pods"))
    access = Access(connection, max_age=10.0, clock=lambda: now)
    api.faults["other"] = [answers(code)] * 2
    await access.refresh("team")
    assert access.error
    assert access.allowed("delete", "pods", "team")
    unknown = await access.check("delete", "pods", "team")
    assert unknown
    assert not unknown.known
    await access.refresh("team")
    assert not access.error
    assert not access.allowed("delete", "pods", "team"), "the next answer counts"
    now = 11.0
    api.faults["other"] = [answers(code)]
    await access.refresh("team")
    assert access.allowed("get", "pods", "team").known, "an error leaves the old answer"
    assert len(rights.asked) == 1
