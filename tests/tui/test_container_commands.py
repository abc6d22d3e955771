"""A command in a container: the prompt, its history, the output and the exit code."""

from __future__ import annotations

import asyncio
from typing import Any

from textual.pilot import Pilot

from servedeck.cluster.exec import CommandTarget
from tests.tui import fakes
from tests.tui.edit_form import EditDriver
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_port_forwards import select
from tui.app import ServedeckApp
from tui.screens.command_output import CommandOutputScreen
from tui.screens.serving import ServingScreen

TARGET = CommandTarget("team-a", "llama-0", "inference-server")


def make(change_service: FakeChangeService, **options: Any) -> ServedeckApp:
    view = fakes.serving("llama", pods=(fakes.pod("llama-0"),))
    return make_app(fakes.FakeSource().add_views(view), change_service=change_service, **options)


async def open_prompt(pilot: Pilot[Any]) -> None:
    """The prompt, from the page of the serving."""
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, ServingScreen), "the page")
    await wait_for_text(pilot, "llama-0")
    await pilot.press("x")
    await wait_for_text(pilot, "Run a command in", "without input")


async def enter(pilot: Pilot[Any], text: str) -> None:
    pilot.app.screen.line_input.input.value = text  # type: ignore[attr-defined]
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, CommandOutputScreen), "the output")


async def test_a_command_of_the_demo_from_a_pods_page(driver: EditDriver) -> None:
    await select(driver)
    await driver.press("enter")
    await driver.wait_for_text("Basic Information")
    await driver.press("p", "enter")
    await driver.wait_for_text("Pod chat/llama-31-8b-")
    await driver.press("x")
    await driver.wait_for_text("container inference-server of Pod chat/llama-31-8b-")
    await enter(driver.pilot, "cat /etc/hostname /x")
    await driver.wait_for_text("exit code 0")
    await driver.press("x")
    await driver.wait_for_text("Run a command in")
    await enter(driver.pilot, "cat /x")
    await driver.wait_for_text("exit code 1", "cat: /x: No such file or directory")
    await driver.press("x")
    await enter(driver.pilot, "vim")
    await driver.wait_for_text("could not be run", "executable file not found")


async def test_the_equivalent_command_of_kubectl_is_shown(
    change_service: FakeChangeService,
) -> None:
    async with make(change_service).run_test(size=(120, 30)) as pilot:
        await open_prompt(pilot)
        await pilot.press(*"env|sort")
        await wait_for_text(pilot, "-n team-a exec llama-0 -c inference-server -- sh -c 'env|sort'")


async def test_the_command_runs_once_and_its_output_is_shown(
    change_service: FakeChangeService,
) -> None:
    change_service.command_lines = ["[red]one", "two"]
    change_service.command_exit_code = 3
    async with make(change_service).run_test(size=(120, 30)) as pilot:
        await open_prompt(pilot)
        await enter(pilot, "ls -l")
        await wait_for_text(pilot, "[red]one", "two", "exit code 3 after")
        assert change_service.commands == [(TARGET, ["ls", "-l"])]
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, ServingScreen), "the page")


async def test_esc_ends_a_command_that_runs_and_then_closes(
    change_service: FakeChangeService,
) -> None:
    change_service.command_lines = ["begun"]
    change_service.command_gate = asyncio.Event()
    async with make(change_service).run_test(size=(120, 30)) as pilot:
        await open_prompt(pilot)
        await enter(pilot, "sleep 1000")
        await wait_for_text(pilot, "running for", "begun", "esc end")
        await pilot.press("x")
        await wait_for_text(pilot, "The command still runs; esc ends it.")
        await pilot.press("escape")
        await wait_for_text(pilot, "The connection to the command was closed")
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, ServingScreen), "the page")


async def test_an_error_is_shown_in_place_of_an_exit_code(
    change_service: FakeChangeService,
) -> None:
    change_service.connection_error = "Connection refused by the server."
    async with make(change_service).run_test(size=(120, 30)) as pilot:
        await open_prompt(pilot)
        await enter(pilot, "ls")
        await wait_for_text(pilot, "Connection refused by the server.")
        assert "exit code" not in screen_text(pilot.app)


async def test_earlier_commands_are_offered_again(change_service: FakeChangeService) -> None:
    async with make(change_service).run_test(size=(120, 30)) as pilot:
        await open_prompt(pilot)
        for command in ("one", "two", "one"):
            await enter(pilot, command)
            await wait_for_text(pilot, "exit code 0")
            await pilot.press("x")
            await wait_for_text(pilot, "Run a command in")
        await pilot.press(*"typed", "up")
        found = pilot.app.screen.line_input  # type: ignore[attr-defined]
        assert found.text == "one"
        await pilot.press("up", "up")
        assert found.text == "two"
        await pilot.press("down", "down")
        assert found.text == "typed"


async def test_without_a_command_nothing_runs(change_service: FakeChangeService) -> None:
    async with make(change_service).run_test(size=(120, 30)) as pilot:
        await open_prompt(pilot)
        await pilot.press("enter")
        await wait_for_text(pilot, "Enter a command, or close with esc.")
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, ServingScreen), "the page")
        assert change_service.commands == []


async def test_a_production_context_is_named(change_service: FakeChangeService) -> None:
    app = make(change_service, is_production_context=lambda _name: True)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_prompt(pilot)
        await wait_for_text(pilot, f"{app.source.context} is a production context.")


async def test_a_missing_permission_is_named(change_service: FakeChangeService) -> None:
    reason = "Needs create on pods/exec in namespace team-a."
    change_service.operation_disabled_reasons["run"] = reason
    async with make(change_service).run_test(size=(120, 30)) as pilot:
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-0")
        await pilot.press("x")
        await wait_for_text(pilot, reason)
        assert change_service.commands == []


async def test_readonly_runs_nothing(change_service: FakeChangeService) -> None:
    async with make(change_service, readonly=True).run_test(size=(120, 30)) as pilot:
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-0")
        await pilot.press("x")
        await wait_for_text(pilot, "servedeck runs with --readonly")


async def test_a_container_that_does_not_run_has_no_commands(
    change_service: FakeChangeService,
) -> None:
    pod = fakes.crashing_pod("llama-0")
    view = fakes.serving("llama", pods=(pod,), server_container=pod.container)
    app = make_app(fakes.FakeSource().add_views(view), change_service=change_service)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-0")
        await pilot.press("x")
        await wait_for_text(pilot, f"The container {pod.container} does not run.")
