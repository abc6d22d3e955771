"""The screen of one task over a real gateway behind an API server's Service proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.live_queue import LiveQueue
from tests.async_queue.conftest import api, client, connection, rig, server
from tests.async_queue.gateway_rig import SECRET, GatewayRig
from tests.gateway.process.rig import InferenceServer
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tests.tui.task_screen import CHAT, KEY
from tui.screens.task import TaskScreen

__all__ = ["api", "client", "connection", "rig", "server"]


@asynccontextmanager
async def open_task(
    client: AsyncQueueClient, id: str
) -> AsyncIterator[tuple[Pilot[None], TaskScreen]]:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_for_text(pilot, "NAME")
        live = LiveQueue(client, lambda: None)
        live.start()
        try:
            await wait_for(pilot, lambda: live.find(id) is not None, "the task in the list")
            task = live.find(id)
            assert task is not None
            screen = TaskScreen(KEY, live, client, task)
            app.push_screen(screen)
            await wait_for_text(pilot, f"Task {id}")
            yield pilot, screen
        finally:
            await live.close()


async def test_a_task_from_its_request_to_its_response(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    body = json.dumps(CHAT).encode()
    [first] = await rig.submit(1, body, Authorization="Bearer caller", X_Session="abc")
    async with open_task(client, first) as (pilot, _screen):
        await wait_for_text(pilot, "↻ Processing", "submitted with credentials")
        await pilot.press("3")
        await wait_for_text(pilot, "x-session: [hidden]", "Answer in 한국어, please.")
        await pilot.press("4")
        await wait_for_text(pilot, "There is no response yet: the task is being processed.")
        server.open.set()
        await wait_for_text(pilot, "✓ Completed", "Status 200", "[4 Response 200]", "Body")
        await pilot.press("2")
        await wait_for_text(pilot, "  1  ", "200")


async def test_the_place_of_a_task_that_waits(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    ids = await rig.submit(3)
    async with open_task(client, ids[2]) as (pilot, _screen):
        await wait_for_text(pilot, "1 task is taken before it")


async def test_a_large_body_is_read_and_saved_by_parts(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer, tmp_path: Path
) -> None:
    body = json.dumps({"prompt": "word " * 200_000}).encode()
    [id] = await rig.submit(1, body)
    path = tmp_path / "request.json"
    async with open_task(client, id) as (pilot, screen):
        await pilot.press("3")
        await wait_for_text(pilot, "JSON, 256.0 KiB of 976.6 KiB", "once all of it is read")
        await pilot.press("m")
        await wait_for_text(pilot, "Body JSON, 976.6 KiB;", "prompt")
        await pilot.press("s")
        await wait_for(pilot, lambda: pilot.app.screen is not screen, "the dialog")
        pilot.app.screen.line_input.input.value = str(path)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await wait_for_text(pilot, "Saved the body, 976.6 KiB,")
    assert path.read_bytes() == body


async def test_a_viewer_sees_all_but_the_bodies(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    server.open.set()
    [id] = await rig.submit()
    rig.set_secret(f"{SECRET}-view", {"view-key": "viewer"})
    rig.forbid(SECRET)
    async with open_task(client, id) as (pilot, _screen):
        await wait_for_text(pilot, "✓ Completed with status 200")
        await pilot.press("4")
        await wait_for_text(pilot, "Status 200", "The body is not shown:")


async def test_a_task_that_is_deleted(
    client: AsyncQueueClient, rig: GatewayRig, server: InferenceServer
) -> None:
    server.open.set()
    [id] = await rig.submit()
    async with open_task(client, id) as (pilot, _screen):
        await wait_for_text(pilot, "✓ Completed with status 200")
        await client.forget_tasks()
        await wait_for_text(pilot, "deleted", "its last state is shown")
