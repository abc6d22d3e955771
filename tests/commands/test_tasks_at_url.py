"""`servedeck tasks` and `servedeck async-queue status` on a real gateway at the URL of the
settings."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from servedeck import cli
from servedeck.async_queue.tasks import TaskState
from servedeck.cluster.http.connection import Connection
from servedeck.commands.async_queue_text import read_report, report_lines
from servedeck.config import Settings
from servedeck.serving.conventions import ASYNC_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL
from tests.async_queue.conftest import api, connection, rig, server
from tests.async_queue.gateway_rig import GatewayRig
from tests.cluster.fake_api_server import FakeApiServer, write_kubeconfig
from tests.gateway.process.rig import InferenceServer
from tests.waiting import wait_until, with_timeout

__all__ = ["api", "connection", "rig", "server"]

DEPLOYMENTS = "/apis/apps/v1/namespaces/chat/deployments"


@pytest.fixture
def settings_file(rig: GatewayRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It names the gateway, and the file with its key."""
    file = tmp_path / "servedeck" / "settings.toml"
    file.parent.mkdir()
    file.write_text(
        f'async_admin_url = "http://127.0.0.1:{rig.gateway.admin_port}"\n'
        f'async_key_file = "{tmp_path / "admin-key"}"\n'
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return file


async def run(tmp_path: Path, *words: str) -> int:
    """Run the command in a thread, as it has an event loop of its own."""
    kubeconfig = write_kubeconfig(tmp_path / "nowhere", "https://127.0.0.1:1")
    words = ("tasks", *words, "--kubeconfig", str(kubeconfig))
    return await with_timeout(asyncio.to_thread(cli.main, words))


async def test_tasks_are_listed_and_cancelled_without_an_api_server(
    rig: GatewayRig, settings_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [id] = await rig.submit()
    assert await run(tmp_path, "chat/llama", "list", "-o", "json") == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["items"]] == [id]
    assert await run(tmp_path, "chat/llama", "cancel", id, "-y") == 0
    assert capsys.readouterr().out == "The task was cancelled.\n"
    assert await rig.state(id) is TaskState.CANCELLED


async def test_the_url_of_another_serving(
    settings_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(tmp_path, "chat/mistral", "list") == 1
    assert "is the async gateway of chat/llama, not of chat/mistral" in capsys.readouterr().err


async def test_a_url_that_cannot_be_used(
    settings_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings_file.write_text('async_admin_url = "http://gateways.test"')
    assert await run(tmp_path, "chat/llama", "list") == 1
    assert "async_admin_url must begin with https://" in capsys.readouterr().err


async def test_the_status_is_read_at_the_url(
    rig: GatewayRig,
    api: FakeApiServer,
    connection: Connection,
    server: InferenceServer,
    tmp_path: Path,
) -> None:
    async def deployment(request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        labels = {MANAGED_BY_LABEL: FIELD_MANAGER, ASYNC_LABEL: "llama"}
        return web.json_response(
            {"kind": "Deployment", "metadata": {"name": name, "labels": labels}}
        )

    async def no_groups(request: web.Request) -> web.StreamResponse:
        return web.json_response({"groups": []})

    api.add_route(f"{DEPLOYMENTS}/*", deployment)
    api.add_route("/apis", no_groups)
    await rig.submit(2)
    await wait_until(lambda: server.arrived)
    settings = Settings(
        async_admin_url=f"http://127.0.0.1:{rig.gateway.admin_port}",
        async_key_file=str(tmp_path / "view-key"),
    )
    lines = [*report_lines(await read_report(connection, "chat", "llama", settings))]
    assert any("1 pending, 1 processing" in one for one in lines), lines
    assert not [one.path for one in api.requests if "/proxy" in one.path]
    wrong = Settings(async_admin_url="http://gateways.test")
    lines = [*report_lines(await read_report(connection, "chat", "llama", wrong))]
    assert any("  queue: async_admin_url must begin" in one for one in lines), lines
