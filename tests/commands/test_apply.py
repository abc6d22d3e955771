from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from servedeck import cli
from servedeck.changes.platform_settings import load_platform_settings
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError
from servedeck.commands.export import export_serving
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE, Settings
from tests.cluster.conftest import api, connection
from tests.cluster.fake_api_server import FakeApiServer, respond_with_status, write_kubeconfig

__all__ = ["api", "connection"]

CONFIGMAP = f"/api/v1/namespaces/{PLATFORM_NAMESPACE}/configmaps/{PLATFORM_CONFIGMAP}"
DEPLOYMENT = "/apis/apps/v1/namespaces/chat/deployments/fresh"


def respond_json(value: Any) -> Any:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(value)

    return answer


@pytest.mark.parametrize("code", [403, 404])
async def test_without_a_configmap_the_settings_stand(
    api: FakeApiServer, connection: Connection, code: int
) -> None:
    api.add_route("/apis", respond_json({"groups": []}))
    api.add_route(CONFIGMAP, respond_with_status(code))
    assert (
        await load_platform_settings(connection, Settings(endpoint_host="ai.example.com"))
    ).host == "ai.example.com"


@pytest.mark.parametrize("code", [401, 429, 500, 503])
async def test_a_configmap_that_could_not_be_asked_for_is_an_error(
    api: FakeApiServer, connection: Connection, code: int
) -> None:
    api.add_route("/apis", respond_json({"groups": []}))
    api.add_route(CONFIGMAP, respond_with_status(code))
    with pytest.raises(ApiError):
        await load_platform_settings(connection, Settings())


@pytest.mark.parametrize("data", [5, ["host"], None, {"endpoint_host": 5}, {"endpoint_host": None}])
async def test_odd_data_of_the_configmap_is_passed_over(
    api: FakeApiServer, connection: Connection, data: Any
) -> None:
    api.add_route("/apis", respond_json({"groups": [5, {"name": ["x"]}, {}]}))
    api.add_route(CONFIGMAP, respond_json({"data": data}))
    assert (await load_platform_settings(connection, Settings())).host == ""


@pytest.mark.parametrize("groups", [{}, {"groups": 5}, {"groups": None}])
async def test_a_server_without_groups_is_reported(
    api: FakeApiServer, connection: Connection, groups: Any
) -> None:
    api.add_route("/apis", respond_json(groups))
    with pytest.raises(InvalidResponseError, match="is it a Kubernetes API"):
        await load_platform_settings(connection, Settings())


@pytest.mark.parametrize("answer", [{}, {"kind": "Login"}, {"kind": ["Deployment"]}])
async def test_what_is_no_deployment_is_not_exported(
    api: FakeApiServer, connection: Connection, answer: Any
) -> None:
    api.add_route(DEPLOYMENT, respond_json(answer))
    api.add_route("/apis", respond_json({"groups": []}))  # all is read at the same time
    with pytest.raises(InvalidResponseError, match="not a Deployment"):
        await export_serving(connection, "chat", "fresh")


def make_file(folder: Path, *metadata: str) -> Path:
    """A file with a serving for each metadata."""
    file = folder / "servings.yaml"
    head, body = "apiVersion: servedeck.dev/v1\nkind: Serving\n", "spec: {template: custom}\n"
    file.write_text("---\n".join(f"{head}metadata: {one}\n{body}" for one in metadata))
    return file


@pytest.mark.parametrize("name", ["", "null", '""', "."])
async def test_an_invalid_name_is_reported_before_any_request(
    api: FakeApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = make_file(tmp_path, "{name: good}", f"{{name: {name}}}")
    config = write_kubeconfig(tmp_path / "config", api.url)
    code = await asyncio.to_thread(
        cli.main, ["apply", "-f", str(file), "--kubeconfig", str(config)]
    )
    written = capsys.readouterr()
    assert (code, written.out, api.requests) == (1, "", [])
    assert written.err.startswith(f"servedeck: {file}: line 8: metadata.name: The service name ")
    assert len(written.err.splitlines()) == 1


async def test_a_serving_that_is_twice_in_a_file_is_reported_before_any_request(
    api: FakeApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_file(tmp_path, "{name: a}", "{name: a, namespace: chat}")
    config = write_kubeconfig(tmp_path / "config", api.url)
    code = await asyncio.to_thread(
        cli.main, ["apply", "-f", str(file), "--kubeconfig", str(config), "-n", "chat"]
    )
    assert (code, api.requests) == (1, [])
    assert capsys.readouterr().err == (
        f"servedeck: {file}: line 8: metadata.name: The serving a in namespace chat is already on "
        "line 3; keep one of them.\n"
    )
