from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from servedeck.cluster.http.errors import ApiError, ConnectionLostError, InvalidResponseError
from tests.cluster.fake_api_server import (
    FakeApiServer,
    open_connection,
    respond_with_status,
    serve,
    write_kubeconfig,
)
from tui.log_service import ClusterLogService

PATH = "/api/v1/namespaces"


def namespace(name: object) -> dict[str, object]:
    return {"metadata": {"name": name, "uid": f"uid-{name}"}}


async def list_names(api: FakeApiServer, tmp_path: Path) -> list[str]:
    async with serve(api):
        connection = await open_connection(write_kubeconfig(tmp_path / "config", api.url))
        try:
            return await ClusterLogService(lambda: connection).list_namespaces()
        finally:
            await connection.close()


async def test_namespaces_come_in_pages(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)
    api.objects = {str(index): namespace(f"ns-{index:04}") for index in range(1201)}
    assert await list_names(api, tmp_path) == [f"ns-{index:04}" for index in range(1201)]
    assert [request.query["limit"] for request in api.requests] == ["500"] * 3
    assert [request.query.get("continue") for request in api.requests] == [None, "500", "1000"]


async def test_an_invalid_namespace_hides_no_others_and_writes_no_control_sequences(
    tmp_path: Path,
) -> None:
    api = FakeApiServer(PATH)
    odd: list[object] = [5, None, [], {}, namespace(None), {"metadata": 5}, namespace("chat")]
    items = [*odd, namespace("b\x1b]0;pwn\x07ad\nnews\u202e")]

    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=json.dumps({"metadata": {}, "items": items}))

    api.faults["list"] = [page]
    assert await list_names(api, tmp_path) == ["bad news", "chat"]


def forbid_namespaces(api: FakeApiServer) -> None:
    api.faults["list"] = [respond_with_status(403, "Forbidden", "namespaces is forbidden")]


async def test_where_namespaces_may_not_be_listed_the_projects_of_openshift_are(
    tmp_path: Path,
) -> None:
    api = FakeApiServer(PATH)
    forbid_namespaces(api)

    async def projects(_: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {}, "items": [namespace("team"), namespace("chat")]})

    api.add_route("/apis/project.openshift.io/v1/projects", projects)
    assert await list_names(api, tmp_path) == ["chat", "team"]


@pytest.mark.parametrize("code", [403, 404])
async def test_where_nothing_may_be_listed_the_kubeconfigs_namespaces_are_offered(
    tmp_path: Path, code: int
) -> None:
    api = FakeApiServer(PATH)
    forbid_namespaces(api)
    api.add_route("/apis/project.openshift.io/v1/projects", respond_with_status(code))
    async with serve(api):
        file = write_kubeconfig(tmp_path / "config", api.url)
        document = yaml.safe_load(file.read_text())
        contexts = document["contexts"]
        contexts[0]["context"]["namespace"] = "mine"
        for name, cluster, where in (
            ("b", "cluster", "also"),
            ("c", "other", "elsewhere"),
            ("d", "cluster", None),
        ):
            contexts.append({"name": name, "context": {"cluster": cluster, "namespace": where}})
        file.write_text(yaml.safe_dump(document))
        connection = await open_connection(file)
        try:
            names = await ClusterLogService(lambda: connection).list_namespaces()
        finally:
            await connection.close()
    assert names == ["also", "mine"]


async def test_an_error_of_the_server_is_not_taken_for_a_missing_permission(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)
    api.faults["list"] = [respond_with_status(500)]
    with pytest.raises(ApiError):
        await list_names(api, tmp_path)


async def test_a_login_page_in_place_of_the_namespaces_is_reported(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)

    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>", content_type="text/html")

    api.faults["list"] = [page]
    with pytest.raises(InvalidResponseError, match="login"):
        await list_names(api, tmp_path)


async def test_without_a_connection_there_are_none() -> None:
    with pytest.raises(ConnectionLostError):
        await ClusterLogService(lambda: None).list_namespaces()
