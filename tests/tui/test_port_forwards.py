"""Port-forwards of the dashboard, on the demo cluster: the dialog, the list, the marks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servedeck.forwarding.port_forward import PortForward
from tests.tui import fakes
from tests.tui.edit_form import KEY, EditDriver
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, screen_text, wait_for_text
from tests.waiting import with_timeout
from tui.screens.port_forward import PortForwardDialog
from tui.screens.port_forwards import PortForwardsScreen

TITLE = f"Port-forward to {KEY}"


async def select(driver: EditDriver) -> None:
    await driver.wait_for(lambda: driver.app.servings.table.select(KEY), "the serving")


async def open_dialog(driver: EditDriver) -> PortForwardDialog:
    """The dialog of the serving, by its key on the list."""
    await select(driver)
    await driver.press("F")
    await driver.wait_for_text(
        TITLE, "New connections go to Pod", "--context demo port-forward -n chat"
    )
    dialog = driver.app.screen
    assert isinstance(dialog, PortForwardDialog)
    # It is suggested from a thread, and would replace what a test sets before.
    await driver.wait_for(lambda: dialog.line_input.text, "the suggested port")
    return dialog


async def start(driver: EditDriver) -> PortForward:
    """A port-forward to the serving, on any free port."""
    dialog = await open_dialog(driver)
    dialog.line_input.input.value = "0:8000"
    await driver.press("enter")
    await driver.wait_for_text("is forwarded to chat/llama-31-8b")
    return forwards(driver)[0]


def forwards(driver: EditDriver) -> tuple[PortForward, ...]:
    assert driver.app.port_forwards is not None
    return driver.app.port_forwards.forwards


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        await response.read()
        return response.status


async def test_a_forward_serves_requests_and_is_marked_and_listed(driver: EditDriver) -> None:
    forward = await start(driver)
    assert await with_timeout(status_of(f"http://{forward.where}/health")) == 200
    await driver.wait_for_text(f"forward {forward.where}")
    await driver.press("f")
    await driver.wait_for_text("LOCAL ADDRESS", forward.where, str(KEY))
    assert forward.traffic.connections == 1
    await driver.press("escape", "enter")
    await driver.wait_for_text("Basic Information", f"forward {forward.where}")


async def test_connect_has_the_url_of_a_forward(driver: EditDriver) -> None:
    forward = await start(driver)
    await driver.press("c", "G")
    await driver.wait_for_text(f"Forwarded here now: http://{forward.where}")


async def test_a_forward_is_stopped_from_the_list(driver: EditDriver) -> None:
    forward = await start(driver)
    await driver.press("f")
    await driver.wait_for_text(forward.where)
    await driver.press("ctrl+d")
    await driver.wait_for_text(f"{forward.where} is no longer forwarded", "No port is forwarded.")
    with pytest.raises(aiohttp.ClientConnectorError):
        await with_timeout(status_of(f"http://{forward.where}/health"))
    await driver.press("escape")
    await driver.wait_for(lambda: forward.where not in driver.text, "the mark to go")


async def test_a_port_in_use_is_said_under_the_input(driver: EditDriver) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    dialog = await open_dialog(driver)
    dialog.line_input.input.value = f"{port}:8000"
    await driver.press("enter")
    await driver.wait_for_text(f"127.0.0.1:{port} is in use by another program")
    dialog.line_input.input.value = "http"
    await driver.press("enter")
    await driver.wait_for_text("'http' is not a port")
    await driver.press("escape")
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert forwards(driver) == ()
    server.close()


async def test_the_key_on_the_page_lists_the_forward_that_it_has(driver: EditDriver) -> None:
    forward = await start(driver)
    await driver.press("enter")
    await driver.wait_for_text("Basic Information")
    await driver.press("F")
    await driver.wait_for_text("LOCAL ADDRESS", forward.where)
    await driver.press("n")
    await driver.wait_for_text(TITLE)


async def test_a_forward_from_a_pods_page_begins_with_that_pod(driver: EditDriver) -> None:
    await select(driver)
    view = driver.app.source.fleet.view(KEY)
    assert view is not None
    await driver.press("enter")
    await driver.wait_for_text("Basic Information")
    await driver.press("p", "G", "enter")
    await driver.wait_for_text("Pod chat/llama-31-8b-")
    pod = next(one for one in view.pods if f"Pod chat/{one.name}" in driver.text)
    assert pod is not view.pods[0]
    await driver.press("F")
    await driver.wait_for_text(f"go to Pod {pod.name}")
    assert isinstance(driver.app.screen, PortForwardDialog)
    driver.app.screen.line_input.input.value = "0:8000"
    await driver.press("enter")
    await driver.wait_for(lambda: forwards(driver), "the forward")
    assert forwards(driver)[0].pod == pod


async def test_the_forwards_end_with_the_app(tmp_path: Path) -> None:
    from servedeck.demo.cluster import DemoCluster
    from tests.tui.edit_form import run_app

    async with DemoCluster(live=False) as demo:
        async with run_app(demo, tmp_path) as driver:
            forward = await start(driver)
        with pytest.raises(aiohttp.ClientConnectorError):
            await with_timeout(status_of(f"http://{forward.where}/health"))


async def test_another_context_ends_them_and_says_so(driver: EditDriver) -> None:
    forward = await start(driver)
    other = next(one for one in driver.app.source.contexts if one != driver.app.source.context)
    await driver.app.show_context(other)
    assert forwards(driver) == ()
    await driver.wait_for_text("1 port-forward of context demo has ended.")
    assert forward.pod is not None


# -- why not --------------------------------------------------------------------------------------


async def press_for_reason(app: Any, *texts: str) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("F")
        await wait_for_text(pilot, *texts)
        assert app.screen is app.servings


async def test_without_permission_the_missing_verb_is_named(
    change_service: FakeChangeService,
) -> None:
    reason = "Needs create on pods/portforward in namespace team-a."
    change_service.operation_disabled_reasons["port-forward"] = reason
    app = make_app(change_service=change_service, port_forwards=no_forwards())
    await press_for_reason(app, reason)


async def test_readonly_forwards_nothing(change_service: FakeChangeService) -> None:
    app = make_app(change_service=change_service, port_forwards=no_forwards(), readonly=True)
    await press_for_reason(app, "servedeck runs with --readonly")


async def test_without_a_cluster_there_is_no_forward() -> None:
    await press_for_reason(make_app(), "Not connected to a cluster.")


def no_forwards() -> Any:
    from servedeck.forwarding.forwards import PortForwards

    source = fakes.FakeSource().add_views(*fakes.fleet())
    return PortForwards(lambda: None, source.fleet.view)


async def test_without_a_ready_pod_the_dialog_warns(change_service: FakeChangeService) -> None:
    app = make_app(change_service=change_service, port_forwards=no_forwards())
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("F")
        await wait_for_text(pilot, "No Pod is Ready: connections wait for one for a short time")


async def test_the_empty_list_says_how_to_start_one(change_service: FakeChangeService) -> None:
    app = make_app(change_service=change_service, port_forwards=no_forwards())
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("f")
        await wait_for_text(pilot, "No port is forwarded.", "F on a serving starts a port-forward.")
        assert isinstance(app.screen, PortForwardsScreen)
        await pilot.press("ctrl+d")
        assert "No port is forwarded." in screen_text(app)
