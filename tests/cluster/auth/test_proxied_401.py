"""A 401 to a request that the API server passes on: is it its own, or that of the Pod?"""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from servedeck.cluster.auth.credentials import CredentialManager
from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.http.connection import Connection
from tests.cluster.auth.credential_fixtures import (
    connected_as,
    count_runs,
    make_exec_user,
    plugin_script,
    write_script,
)
from tests.cluster.fake_api_server import FakeApiServer, make_status, serve

PROXY = "/api/v1/namespaces/chat/services/http:llama:80/proxy/v1/models"
UNAUTHORIZED = make_status(401, "Unauthorized", "Unauthorized")


class ProxyingServer(FakeApiServer):
    """Accepts only the tokens in `accepted`, and passes requests on to a Pod that answers with
    `pod_status` and `pod_body`."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted = {"t-1"}
        self.pod_status, self.pod_body = 200, {"data": []}
        self.add_route(PROXY, self._handle)
        self.add_route("/version", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.accepted:
            return web.json_response(UNAUTHORIZED, status=401)
        if request.path == PROXY:
            return web.json_response(self.pod_body, status=self.pod_status)
        return web.json_response({"major": "1", "minor": "34"})


async def ask(connection: Connection) -> tuple[int, bool]:
    """The status, and whether the API server answered it itself."""
    async with connection.proxied("GET", PROXY) as response:
        return response.status, response.error is not None


@pytest.mark.parametrize("body", [UNAUTHORIZED, {"kind": "Status", "reason": "Unauthorized"}])
async def test_a_401_of_the_pod_renews_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: dict[str, object]
) -> None:
    accepted: list[Credential] = []
    monkeypatch.setattr(CredentialManager, "accept", lambda _, one: accepted.append(one))
    api, count = ProxyingServer(), tmp_path / "count"
    api.pod_status, api.pod_body = 401, body
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="t-RUN"))
    async with serve(api), connected_as(api, tmp_path, make_exec_user(plugin)) as connection:
        for _ in range(3):
            assert await ask(connection) == (401, False)
        assert count_runs(count) == 1
        assert not accepted, "it says nothing of the credential"
        api.pod_status = 500
        assert await ask(connection) == (500, False)
        assert len(accepted) == 1


async def test_a_401_of_the_api_server_renews_the_login_once(tmp_path: Path) -> None:
    api, count = ProxyingServer(), tmp_path / "count"
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="t-RUN"))
    async with serve(api), connected_as(api, tmp_path, make_exec_user(plugin)) as connection:
        api.accepted = {"t-2"}
        assert await ask(connection) == (200, False)
        assert count_runs(count) == 2
        api.accepted = set()
        assert await ask(connection) == (401, True)
        assert count_runs(count) == 3
