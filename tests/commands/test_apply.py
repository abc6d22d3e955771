from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import AnswerError, ApiError
from servedeck.commands.apply import export, platform
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE, Settings
from tests.cluster.api import Api, answers
from tests.cluster.conftest import api, connection

__all__ = ["api", "connection"]

CONFIGMAP = f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/configmaps/{PLATFORM_CONFIGMAP}"
DEPLOYMENT = "/apis/apps/v1/namespaces/chat/deployments/fresh"


def gives(value: Any) -> Any:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(value)

    return answer


@pytest.mark.parametrize("code", [403, 404])
async def test_without_a_configmap_the_settings_stand(
    api: Api, connection: Connection, code: int
) -> None:
    api.answer("/apis", gives({"groups": []}))
    api.answer(CONFIGMAP, answers(code))
    assert (
        await platform(connection, Settings(endpoint_host="ai.example.com"))
    ).host == "ai.example.com"


@pytest.mark.parametrize("code", [401, 429, 500, 503])
async def test_a_configmap_that_could_not_be_asked_for_is_an_error(
    api: Api, connection: Connection, code: int
) -> None:
    api.answer("/apis", gives({"groups": []}))
    api.answer(CONFIGMAP, answers(code))
    with pytest.raises(ApiError):
        await platform(connection, Settings())


@pytest.mark.parametrize("data", [5, ["host"], None, {"endpoint_host": 5}, {"endpoint_host": None}])
async def test_odd_data_of_the_configmap_is_passed_over(
    api: Api, connection: Connection, data: Any
) -> None:
    api.answer("/apis", gives({"groups": [5, {"name": ["x"]}, {}]}))
    api.answer(CONFIGMAP, gives({"data": data}))
    assert (await platform(connection, Settings())).host == ""


@pytest.mark.parametrize("groups", [{}, {"groups": 5}, {"groups": None}])
async def test_a_server_without_groups_is_said(
    api: Api, connection: Connection, groups: Any
) -> None:
    api.answer("/apis", gives(groups))
    with pytest.raises(AnswerError, match="is it a Kubernetes API"):
        await platform(connection, Settings())


@pytest.mark.parametrize("answer", [{}, {"kind": "Login"}, {"kind": ["Deployment"]}])
async def test_what_is_no_deployment_is_not_exported(
    api: Api, connection: Connection, answer: Any
) -> None:
    api.answer(DEPLOYMENT, gives(answer))
    with pytest.raises(AnswerError, match="no Deployment"):
        await export(connection, "chat", "fresh")
