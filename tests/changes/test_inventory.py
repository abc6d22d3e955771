from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from aiohttp import web

from servedeck.changes.inventory import ClusterInventory
from tests.cluster.fake_api_server import (
    FakeApiServer,
    open_connection,
    respond_with_status,
    serve,
    write_kubeconfig,
)

NAMESPACES = "/api/v1/namespaces"
PROJECTS = "/apis/project.openshift.io/v1/projects"
FORBIDDEN = respond_with_status(403, "Forbidden", "namespaces is forbidden")


async def list_namespaces(
    api: FakeApiServer, tmp_path: Path
) -> tuple[list[str] | None, tuple[str, ...]]:
    """The namespaces that a form offers, and why others are unknown."""
    async with serve(api):
        file = write_kubeconfig(tmp_path / "config", api.url)
        document = yaml.safe_load(file.read_text())
        document["contexts"][0]["context"]["namespace"] = "mine"
        file.write_text(yaml.safe_dump(document))
        connection = await open_connection(file)
        inventory = ClusterInventory(connection, "mine")
        inventory.start()
        try:
            await inventory.wait_until_listed(60.0)
            return inventory.namespaces(), inventory.unavailable_reasons
        finally:
            await inventory.close()
            await connection.close()


async def test_the_form_offers_the_namespaces_of_the_cluster(tmp_path: Path) -> None:
    api = FakeApiServer(NAMESPACES)
    api.objects = {one: {"metadata": {"name": one, "uid": one}} for one in ("team", "chat")}
    names, reasons = await list_namespaces(api, tmp_path)
    assert names == ["chat", "team"]
    assert not any("namespaces" in one for one in reasons)


async def test_where_namespaces_may_not_be_listed_the_form_offers_the_projects_of_openshift(
    tmp_path: Path,
) -> None:
    api = FakeApiServer(PROJECTS)
    api.objects = {one: {"metadata": {"name": one, "uid": one}} for one in ("team", "chat")}
    api.add_route(NAMESPACES, FORBIDDEN)
    names, reasons = await list_namespaces(api, tmp_path)
    assert names == ["chat", "team"]
    assert not any("namespaces" in one for one in reasons)


@pytest.mark.parametrize("code", [403, 404])
async def test_where_nothing_may_be_listed_the_form_offers_the_kubeconfigs_namespaces(
    tmp_path: Path, code: int
) -> None:
    api = FakeApiServer("/elsewhere")
    api.add_route(NAMESPACES, FORBIDDEN)

    async def refuse(request: web.Request) -> web.StreamResponse:
        return await respond_with_status(code, "Refused", "refused")(request)

    api.add_route(PROJECTS, refuse)
    names, reasons = await list_namespaces(api, tmp_path)
    assert names == ["mine"]
    assert any(one.startswith("Not all namespaces are known: ") for one in reasons)
